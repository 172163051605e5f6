//! The command line: flags become typed requests, results become text and an exit code.
//!
//! In: arguments and the environment. Out: what was asked for on standard output, everything else on standard
//! error. One file per subcommand; none of them decides what a run does.

mod agents;
mod approve;
mod check;
mod ci;
mod clean;
mod context;
mod delivery;
mod demo;
mod dress;
mod error;
#[expect(clippy::doc_markdown, reason = "its comments are the help that people read")]
mod flags;
mod flags_forge;
mod flags_init;
#[expect(clippy::doc_markdown, reason = "its comments are the help that people read")]
mod flags_output;
mod forge;
mod forge_words;
mod gates;
mod history;
mod init;
mod log;
mod output;
mod outputs;
mod plan;
mod prices;
mod progress;
mod prove;
mod publish;
mod publisher;
mod remembered;
mod report;
mod resume;
mod rollback;
mod run;
mod schema;
mod secrets;
mod session;
mod sessions;
mod signals;
mod start;
mod status;
mod teller;
mod upstreams;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};

use crate::core::Verdict;
use crate::text;
use error::CliError;
use flags::{Cli, Command, RunArgs};

/// Parses, runs, reports; returns the process's exit code.
pub fn main() -> ExitCode {
    output::before_the_log(&ci::masks());
    let redactor = secrets::redactor(&agents::Env::own(), None, None).map(output::keep_out);
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => {
            print_clap(&error);
            if !error.use_stderr() {
                return ExitCode::SUCCESS;
            }
            ci::finish(Verdict::Usage);
            return ExitCode::from(Verdict::Usage.code());
        }
    };
    output::start_logging(&cli.global);
    let is_run = matches!(cli.command, None | Some(Command::Run(_) | Command::Resume(_) | Command::Publish(_)));
    let verdict = redactor.and_then(|()| dispatch(cli)).unwrap_or_else(|error| {
        output::error(&error);
        error.verdict
    });
    if is_run {
        ci::finish(verdict);
    }
    ExitCode::from(verdict.code())
}

/// clap prints help and version to standard output, errors to standard error. An error quotes arguments and variables,
/// which in CI may hold what a runner takes for its command.
fn print_clap(error: &clap::Error) {
    if !error.use_stderr() || io::stderr().is_terminal() {
        let _ = error.print();
        return;
    }
    let page = error.render().to_string();
    let indent = |line: &str| " ".repeat(line.len() - line.trim_start_matches(' ').len());
    let lines: Vec<String> = page.lines().map(|l| indent(l) + &text::terminal_line(l)).collect();
    output::before_the_log(&lines);
}

/// A flag of `run` in front of another subcommand would be taken and forgotten; it is refused instead.
fn parse() -> Result<Cli, clap::Error> {
    let mut command = without_empty_variables(Cli::command());
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    if let (Some(name), Some(flag)) = (matches.subcommand_name(), stray_flag(&command, &matches)) {
        let message = format!("`--{flag}` is a flag of `run`; put it behind `{name}` if it takes it");
        return Err(command.error(ErrorKind::ArgumentConflict, message));
    }
    let mut cli = Cli::from_arg_matches(&matches)?;
    let own = matches.subcommand().map_or(&matches, |(_, own)| own);
    if let Some(run) = run_args(&mut cli) {
        settle_agent(run, own).map_err(|message| command.error(ErrorKind::ArgumentConflict, message))?;
    }
    Ok(cli)
}

/// CI systems set variables that they have no value for; an empty one is none.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |arg: &clap::Arg| {
        arg.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()))
    };
    let command = command.mut_args(|arg| if is_empty(&arg) { arg.env(None::<&str>) } else { arg });
    command.mut_subcommands(without_empty_variables)
}

/// The flags of a run, where the command has them.
fn run_args(cli: &mut Cli) -> Option<&mut RunArgs> {
    match &mut cli.command {
        None => Some(&mut cli.run),
        Some(Command::Run(args) | Command::Check(args)) => Some(args),
        Some(Command::Plan(args)) => Some(&mut args.run),
        Some(Command::Resume(args)) => Some(&mut args.run),
        Some(_) => None,
    }
}

/// Of `--agent` and `--agent-cmd` there can be one. A flag drops what variables say beside it; a model goes along with
/// its agent. The error is a message.
fn settle_agent(run: &mut RunArgs, matches: &clap::ArgMatches) -> Result<(), String> {
    let is_typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    if is_typed("agent_cmd") && !is_typed("model") {
        run.model = None;
    }
    if run.agent.is_none() || run.agent_cmd.is_none() {
        return Ok(());
    }
    match (is_typed("agent"), is_typed("agent_cmd")) {
        (true, false) => run.agent_cmd = None,
        (false, true) => run.agent = None,
        (true, true) => return Err("`--agent` and `--agent-cmd` both name the agent; give one of them".to_owned()),
        (false, false) => {
            let message = "MAESTRO_CI_AGENT and MAESTRO_CI_AGENT_CMD both name the agent; set one of them";
            return Err(message.to_owned());
        }
    }
    Ok(())
}

/// A flag of `run` that was given in front of a subcommand.
fn stray_flag(command: &clap::Command, matches: &clap::ArgMatches) -> Option<String> {
    let own = command.get_arguments().filter(|a| !a.is_global_set());
    let mut given = own.filter(|a| matches.value_source(a.get_id().as_str()) == Some(ValueSource::CommandLine));
    given.next()?.get_long().map(str::to_owned)
}

fn dispatch(cli: Cli) -> Result<Verdict, CliError> {
    let global = &cli.global;
    match cli.command {
        None => run::run(global, &cli.run),
        Some(Command::Run(args)) => run::run(global, &args),
        Some(Command::Check(args)) => check::check(global, &args),
        Some(Command::Plan(args)) => plan::plan(global, &args),
        Some(Command::Resume(args)) => resume::resume(global, &args),
        Some(Command::Status(args)) => status::status(global, &args),
        Some(Command::Sessions(args)) => sessions::sessions(global, &args),
        Some(Command::Report(args)) => report::report(global, &args),
        Some(Command::Rollback(args)) => rollback::rollback(global, &args),
        Some(Command::Approve(args)) => approve::approve(global, &args),
        Some(Command::Clean(args)) => clean::clean(global, &args),
        Some(Command::Demo(args)) => demo::demo(global, &args),
        Some(Command::Publish(args)) => publish::publish(global, &args),
        Some(Command::Init(args)) => init::init(global, &args),
        Some(Command::Log(args)) => log::log(global, &args),
        Some(Command::Schema(args)) => schema::schema(&args),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "maestro-ci", &mut io::stdout());
            Ok(Verdict::Passed)
        }
    }
}
