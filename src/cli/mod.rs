//! The command line: flags become typed requests, results become text and an exit code.
//!
//! In: arguments and the environment. Out: what was asked for on standard output, everything else on standard
//! error. One file per subcommand; none of them decides what a run does.

mod approve;
mod check;
mod clean;
mod context;
mod demo;
mod error;
mod flags;
mod log;
mod output;
mod plan;
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

use clap::{CommandFactory, Parser};

use crate::core::Verdict;
use error::CliError;
use flags::{Cli, Command};

/// Parses, runs, reports; returns the process's exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
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
