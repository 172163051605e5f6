//! The two ways out: standard output for what was asked for, standard error for the log. Whatever is written goes
//! through here, one thing after the other, so that bars, groups and lines keep out of each other's way.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use super::dress::{self, Groups};
use super::error::CliError;
use super::flags::{Global, LogFormat};
use super::flags_output::{ColorMode, ProgressMode};
use super::progress::Bars;
use crate::config::LogLevel;
use crate::core::State;
use crate::driver::Told;
use crate::text::{self, Redactor};

/// How the log is written; set once, when it starts.
struct Style {
    quiet: bool,
    json: bool,
    /// Only how it ended.
    outcomes: bool,
    color: bool,
    bars: bool,
    /// The GitHub runner reads along, in whatever form the log is.
    runner: bool,
    filter: reload::Handle<EnvFilter, Registry>,
    /// True where flags or the environment have spoken and the configuration has no say.
    fixed: bool,
}

/// What stands on the screen besides lines.
struct Screen {
    bars: Option<Bars>,
    groups: Groups,
    /// Finds what is not to be printed.
    redactor: Option<Redactor>,
}

static STYLE: OnceLock<Style> = OnceLock::new();
static SCREEN: Mutex<Screen> = Mutex::new(Screen { bars: None, groups: Groups::new(), redactor: None });

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
    let lines = fmt::layer().with_writer(Event::new).with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    if json {
        registry.with(lines.json()).init();
    } else {
        registry.with(lines.with_ansi(false).without_time()).init();
    }
    let _ = STYLE.set(style(global, json, handle, fixed));
}

fn style(global: &Global, json: bool, filter: reload::Handle<EnvFilter, Registry>, fixed: bool) -> Style {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    // What cannot move its cursor cannot have bars, and a terminal that is none has no colours.
    let is_screen = io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let runner = std::env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true");
    let output = global.output;
    let bars = match output.progress {
        ProgressMode::Auto => is_screen && !is_set("CI"),
        ProgressMode::Bar => is_screen,
        ProgressMode::Plain | ProgressMode::None => false,
    };
    let color = match output.color {
        ColorMode::Auto => is_screen && !is_set("NO_COLOR"),
        ColorMode::Always => true,
        ColorMode::Never => false,
    };
    let outcomes = output.progress == ProgressMode::None;
    Style {
        quiet: global.quiet,
        json,
        outcomes,
        color: color && !json,
        bars: bars && !json && !global.quiet,
        runner,
        filter,
        fixed,
    }
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

/// From here on nothing is printed that this finds.
pub fn keep_out(redactor: Redactor) {
    screen().redactor = Some(redactor);
}

/// A text without the secrets that are not to be printed.
pub fn clean(text: &str) -> String {
    screen().clean(text).into_owned()
}

/// Prints what was asked for. A reader that went away is no error. In a GitHub job the runner reads it, too: no line of
/// it is a command there.
pub fn print(text: &str) {
    let guarded = STYLE.get().filter(|style| style.runner).map(|_| text::runner_page(text));
    let text = clean(guarded.as_deref().unwrap_or(text));
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = out.write_all(b"\n");
    }
    let _ = out.flush();
}

/// Takes what a driver tells.
pub fn tell(told: Told<'_>) {
    match told {
        Told::Line(line) => log_line(line),
        Told::State(state) => show_state(state),
        Told::Records(_) => {}
    }
}

/// Prints a line of the run's log. It is expected to be safe for a terminal. Quiet leaves failures only.
pub fn log_line(line: &str) {
    let Some(style) = STYLE.get() else { return };
    if (style.quiet && !line.contains('✗')) || (style.outcomes && !dress::is_outcome(line)) {
        return;
    }
    let mut screen = screen();
    let lines = match style {
        Style { json: true, .. } => vec![object(&serde_json::json!({"level": "RUN", "message": line}))],
        Style { runner: true, .. } => screen.groups.lines(line),
        _ => vec![line.to_owned()],
    };
    let painted = |line: &String| if style.color { dress::painted(line) } else { line.clone() };
    screen.write(&lines.iter().map(painted).collect::<Vec<_>>());
}

/// Takes the state of a run in, for the bars.
fn show_state(state: &State) {
    let Some(style) = STYLE.get().filter(|style| style.bars) else { return };
    screen().bars.get_or_insert_with(|| Bars::new(style.color)).see(state);
}

/// Takes the bars off the screen, and closes what is open in the log of a job.
pub fn end_run() {
    let mut screen = screen();
    if let Some(mut bars) = screen.bars.take() {
        bars.clear();
    }
    let close = screen.groups.close();
    screen.write(&Vec::from_iter(close));
}

/// Writes lines before there is a log.
pub fn before_the_log(lines: &[String]) {
    screen().write(lines);
}

/// Writes workflow commands for the GitHub runner, each a line; nothing elsewhere.
pub fn commands(lines: &[String]) {
    if STYLE.get().is_some_and(|style| style.runner) {
        screen().write(lines);
    }
}

/// Prints an error with what to do about it.
pub fn error(error: &CliError) {
    end_run();
    let is_json = STYLE.get().is_some_and(|style| style.json);
    screen().write(&if is_json { vec![error_object(error)] } else { error_lines(error) });
    let hint = error.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    let title = format!("maestro-ci: {}", error.verdict);
    commands(&[text::workflow_command("error", &[("title", &title)], &format!("{}{hint}", error.message))]);
}

/// One value in one line, for programs that read the log.
fn object(value: &serde_json::Value) -> String {
    text::json_safe(&value.to_string())
}

fn error_object(error: &CliError) -> String {
    let CliError { message, hint, .. } = error;
    let verdict = error.verdict.to_string();
    object(&serde_json::json!({"level": "ERROR", "message": message, "hint": hint, "verdict": verdict}))
}

fn error_lines(error: &CliError) -> Vec<String> {
    let mut lines = Vec::new();
    for (i, line) in error.message.lines().enumerate() {
        // A caret under a source line is lost without the spaces before it.
        let prefix = if i == 0 { "error: " } else { &line[..line.len() - line.trim_start_matches(' ').len()] };
        lines.push(format!("{prefix}{}", text::terminal_line(line)));
    }
    lines.extend(error.hint.as_ref().map(|hint| format!("hint: {}", text::terminal_line(hint))));
    lines
}

fn screen() -> MutexGuard<'static, Screen> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Screen {
    fn clean<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.redactor.as_ref().map_or(Cow::Borrowed(text), |redactor| redactor.text(text))
    }

    /// Writes lines to standard error. A reader that went away is no error.
    fn write(&mut self, lines: &[String]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let text = self.clean(&text);
        let print = || {
            let mut err = io::stderr().lock();
            let _ = err.write_all(text.as_bytes());
        };
        match &self.bars {
            Some(bars) => bars.beside(print),
            None => print(),
        }
    }
}

/// One event of the diagnostic log, written as a whole when it is complete. What it holds may be anybody's text.
struct Event(Vec<u8>);

impl Event {
    fn new() -> Self {
        Self(Vec::new())
    }
}

impl Write for Event {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        let json = STYLE.get().is_some_and(|style| style.json);
        let text = String::from_utf8_lossy(&self.0);
        let safe = |line: &str| if json { text::json_safe(line) } else { text::terminal_line(line) };
        screen().write(&text.lines().map(safe).collect::<Vec<_>>());
    }
}
