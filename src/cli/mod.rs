//! The command line: flags become typed requests, results become text and an exit code.
//!
//! In: arguments and the environment. Out: what was asked for on standard output, everything else on standard
//! error. One file per subcommand; none of them decides what a run does.

mod agents;
mod approve;
mod check;
mod clean;
mod context;
mod demo;
mod error;
#[expect(clippy::doc_markdown, reason = "its comments are the help that people read")]
mod flags;
mod gates;
mod history;
mod log;
mod output;
mod plan;
mod prove;
mod report;
mod resume;
mod rollback;
mod run;
mod schema;
mod session;
mod sessions;
mod start;
mod status;

use std::io;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};

use crate::core::Verdict;
use error::CliError;
use flags::{Cli, Command};

/// Parses, runs, reports; returns the process's exit code.
pub fn main() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap prints help and version to standard output, errors to standard error.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Verdict::Usage.code() } else { 0 });
        }
    };
    output::start_logging(&cli.global);
    match dispatch(cli) {
        Ok(verdict) => ExitCode::from(verdict.code()),
        Err(error) => {
            output::error(&error);
            ExitCode::from(error.verdict.code())
        }
    }
}

/// A flag of `run` in front of another subcommand would be taken and forgotten; it is refused instead.
fn parse() -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    if let (Some(name), Some(flag)) = (matches.subcommand_name(), stray_flag(&command, &matches)) {
        let message = format!("`--{flag}` is a flag of `run`; put it behind `{name}` if it takes it");
        return Err(command.error(ErrorKind::ArgumentConflict, message));
    }
    Cli::from_arg_matches(&matches)
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
        Some(Command::Log(args)) => log::log(global, &args),
        Some(Command::Schema(args)) => schema::schema(&args),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "maestro-ci", &mut io::stdout());
            Ok(Verdict::Passed)
        }
    }
}
