//! The two ways out: standard output for what was asked for, standard error for the log.

use std::io::{self, Write};
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use super::error::CliError;
use super::flags::{Global, LogFormat};
use crate::config::LogLevel;
use crate::text;

/// How the log is written; set once, when it starts.
struct Style {
    quiet: bool,
    json: bool,
    filter: reload::Handle<EnvFilter, Registry>,
    /// True where flags or the environment have spoken and the configuration has no say.
    fixed: bool,
}

static STYLE: OnceLock<Style> = OnceLock::new();

/// Starts the diagnostic log on standard error. `MAESTRO_CI_LOG` takes filter directives.
pub fn start_logging(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    let asked = EnvFilter::try_from_env("MAESTRO_CI_LOG");
    let fixed = asked.is_ok() || global.quiet || global.verbose > 0;
    let (filter, handle) = reload::Layer::new(asked.unwrap_or_else(|_| directives(level)));
    let json = global.log_format == LogFormat::Json;
    let lines = fmt::layer().with_writer(io::stderr).with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    if json {
        registry.with(lines.json()).init();
    } else {
        registry.with(lines.with_ansi(false).without_time()).init();
    }
    let _ = STYLE.set(Style { quiet: global.quiet, json, filter: handle, fixed });
}

fn directives(level: &str) -> EnvFilter {
    EnvFilter::new(format!("maestro_ci={level}"))
}

/// Takes `logging.level` over, unless a flag or the environment said otherwise.
pub fn configure(level: LogLevel) {
    let name = serde_json::to_value(level).unwrap_or_default();
    if let (Some(style), Some(name)) = (STYLE.get(), name.as_str())
        && !style.fixed
    {
        // The default of the configuration is `info`, which for diagnostics is one level more than people want.
        let name = if name == "info" { "warn" } else { name };
        let _ = style.filter.reload(directives(name));
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

/// Prints a line of the run's log. It is expected to be safe for a terminal. Quiet leaves failures only.
pub fn log_line(line: &str) {
    let (quiet, json) = STYLE.get().map_or((false, false), |s| (s.quiet, s.json));
    if quiet && !line.contains('✗') {
        return;
    }
    let mut err = io::stderr().lock();
    let _ = if json {
        writeln!(err, "{}", text::json_safe(&serde_json::json!({"level": "RUN", "message": line}).to_string()))
    } else {
        writeln!(err, "{line}")
    };
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
