//! What a CI gets without being asked: secrets masked before anything is printed; where the session is when it begins;
//! and at the end of a run, however it ended, outputs, then, when all is delivered, annotations and the job's summary
//! on GitHub, and a dotenv report where a path for one is given.
//!
//! A report flows in; the runner's files and its log take what comes out. None of it decides anything: a file that
//! cannot be written is a warning.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, fstat};

use super::flags::RunArgs;
use super::{output, secrets};
use crate::core::{SessionId, Verdict};
use crate::forge::{Ci, Runner, write_dotenv};
use crate::journal::SessionDir;
use crate::report::{self, Report};
use crate::text::workflow_masks;

/// Variables of a dotenv report are not flags of ours for the next job that gets them.
const DOTENV_PREFIX: &str = "MAESTRO_RESULT_";

/// This process's environment, as far as it is text.
pub fn environment() -> BTreeMap<String, String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// What is known of the job, with GitHub's event where there is one.
pub fn detect(env: &BTreeMap<String, String>) -> Ci {
    let ci = Ci::from_env(env);
    match ci.event_path.as_ref().and_then(|path| std::fs::read_to_string(path).ok()) {
        Some(event) => ci.with_event(&event),
        None => ci,
    }
}

/// The commands that have the runner hide every secret of the environment. None where standard error is a file: a
/// runner does not read along there, and the file would hold what is to be hidden.
pub fn masks() -> Vec<String> {
    let is_file =
        fstat(std::io::stderr()).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    let env = environment();
    if is_file || !Ci::from_env(&env).is_github() {
        return Vec::new();
    }
    masks_of(&env)
}

fn masks_of(env: &BTreeMap<String, String>) -> Vec<String> {
    let variables = env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    secrets::of_environment(variables).iter().flat_map(|secret| workflow_masks(secret)).collect()
}

/// When a session begins: where it is.
pub fn put_session(id: &SessionId, dir: &SessionDir) {
    let env = environment();
    if Ci::from_env(&env).is_github() {
        let pairs = [("session", id.to_string()), ("session_dir", dir.path().display().to_string())];
        warn(Runner::from_env(&env).add_outputs(&pairs));
    }
}

/// Before a run with a session is delivered, which can take long: its variables.
pub fn put_outputs(args: &RunArgs, report: &Report, dir: &SessionDir) {
    output::end_run();
    let env = environment();
    let pairs = pairs(args, report, dir.path());
    put_dotenv(args, report, &pairs);
    if Ci::from_env(&env).is_github() {
        warn(Runner::from_env(&env).add_outputs(&pairs));
    }
}

/// When it is delivered: how it ended in all, once.
pub fn tell(args: &RunArgs, report: &Report, dir: &SessionDir) {
    put_dotenv(args, report, &pairs(args, report, dir.path()));
    let env = environment();
    let ci = detect(&env);
    if ci.is_github() {
        tell_github(&ci, report, &Runner::from_env(&env));
    }
}

fn put_dotenv(args: &RunArgs, report: &Report, pairs: &[(&str, String)]) {
    let Some(path) = &args.dotenv else { return };
    let code = report.exit_code.map(|code| code.to_string()).unwrap_or_default();
    let ended = [("verdict", report.verdict.clone()), ("exit_code", code)];
    let all: Vec<(&str, String)> = ended.into_iter().chain(pairs.iter().cloned()).collect();
    warn(write_dotenv(path, DOTENV_PREFIX, &all));
}

/// Variables of a finished report and how its run ended, in a job that has nothing else of its session. The other
/// reports are looked for beside it.
pub fn hand_over_report(path: &Path, report: &Report) {
    let env = environment();
    let ci = detect(&env);
    if ci.is_github() {
        let args = RunArgs { json: Some(path.to_owned()), ..RunArgs::default() };
        let dir = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let runner = Runner::from_env(&env);
        warn(runner.add_outputs(&pairs(&args, report, dir.parent().unwrap_or(&dir))));
        tell_github(&ci, report, &runner);
    }
}

fn tell_github(ci: &Ci, report: &Report, runner: &Runner) {
    output::commands(&report::annotations(report));
    let page = report::job_summary(report, ci.job_url.as_deref(), true);
    warn(runner.add_summary(&page, "_Cut here: a job summary takes no more. All of it is in `final-report.md`._"));
}

/// At the end of the process, whatever it did: how it ended.
pub fn finish(verdict: Verdict) {
    output::end_run();
    let env = environment();
    if Ci::from_env(&env).is_github() {
        let ended = [("verdict", verdict.name().to_owned()), ("exit_code", verdict.code().to_string())];
        warn(Runner::from_env(&env).add_outputs(&ended));
    }
}

fn warn(written: Result<(), crate::forge::RunnerError>) {
    if let Err(error) = written {
        tracing::warn!("{error}");
    }
}

/// The outputs of a run, apart from how its process ended. What is not known is empty.
fn pairs(args: &RunArgs, report: &Report, dir: &Path) -> Vec<(&'static str, String)> {
    let budget = &report.budget;
    let known = |used: Option<u64>| used.map(|n| n.to_string()).unwrap_or_default();
    let cost = budget.cost_microusd.used.map(|n| format!("{}.{:06}", n / 1_000_000, n % 1_000_000));
    let file = |asked: &Option<PathBuf>, name: &str| {
        let own = dir.join(name);
        let path = asked.clone().or_else(|| own.is_file().then_some(own));
        path.map(|path| std::path::absolute(&path).unwrap_or(path).display().to_string()).unwrap_or_default()
    };
    let moved = report.result.branch_commit.clone().filter(|_| report.result.moved);
    vec![
        ("session", report.session.clone()),
        ("session_dir", dir.display().to_string()),
        ("branch", report.result.branch.clone()),
        ("commit", moved.unwrap_or_default()),
        ("branch_moved", report.result.moved.to_string()),
        ("junit", file(&args.junit, "junit.xml")),
        ("json", file(&args.json, "report.json")),
        ("markdown", file(&args.markdown, "final-report.md")),
        ("html", file(&args.html, "report.html")),
        ("sarif", file(&args.sarif, "report.sarif")),
        ("tokens", known(budget.tokens.used)),
        ("api_calls", known(budget.api_calls.used)),
        ("cost_usd", cost.unwrap_or_default()),
        ("duration_seconds", (report.timing.elapsed_ms / 1000).to_string()),
        ("resume_after", report.resume_after.clone().unwrap_or_default()),
        ("resumable", report.resumable.to_string()),
        ("isolation", report.isolation.level.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_made_of_each_line_of_a_secret_and_of_no_switch() {
        let env = [
            ("ANTHROPIC_API_KEY", "sk-ant-0123456789"),
            ("MAESTRO_CI_APP_KEY", "-----BEGIN-----\nMIIabcdefgh\n"),
            ("DEBUG_TOKEN", "true"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        let expected = ["::add-mask::sk-ant-0123456789", "::add-mask::-----BEGIN-----", "::add-mask::MIIabcdefgh"];
        assert_eq!(masks_of(&env), expected);
    }
}
