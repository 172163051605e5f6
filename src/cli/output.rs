//! The two ways out: standard output for what was asked for, standard error for the log.

use std::io::{self, Write};

use super::error::CliError;
use super::flags::{Global, LogFormat};
use crate::text;

/// Starts the diagnostic log on standard error. `MAESTRO_CI_LOG` takes filter directives.
pub fn start_logging(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("MAESTRO_CI_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("maestro_ci={level}")));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    match global.log_format {
        LogFormat::Text => builder.with_ansi(false).without_time().init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Prints what was asked for. A reader that went away is no error.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = out.write_all(b"\n");
    }
    let _ = out.flush();
}

/// Prints a line of the run's log. It is expected to be safe for a terminal.
pub fn log_line(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Prints an error with what to do about it.
pub fn error(error: &CliError) {
    let mut err = io::stderr().lock();
    for (i, line) in error.message.lines().enumerate() {
        // A caret under a source line is lost without the spaces before it.
        let prefix = if i == 0 { "error: " } else { &line[..line.len() - line.trim_start_matches(' ').len()] };
        let _ = writeln!(err, "{prefix}{}", text::terminal_line(line));
    }
    if let Some(hint) = &error.hint {
        let _ = writeln!(err, "hint: {}", text::terminal_line(hint));
    }
}
