//! What a CI gets without being asked: secrets masked before anything is printed, and at the end of a run, however it
//! ended, annotations, outputs and the job's summary on GitHub, and a dotenv report where a path for one is given.
//!
//! A report flows in; the runner's files and its log take what comes out. None of it decides anything: a file that
//! cannot be written is a warning.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, fstat};

use super::flags::RunArgs;
use super::output;
use crate::core::{Record, Verdict};
use crate::forge::{Ci, Runner, write_dotenv};
use crate::journal::SessionDir;
use crate::report::{self, Report};
use crate::text::{workflow_command, workflow_masks};

/// Names of variables that hold secrets end like this.
const SECRET_ENDS: [&str; 9] =
    ["_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_PASSWD", "_CREDENTIALS", "_PAT", "_PASSPHRASE", "_AUTH"];
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
    let is_secret = |name: &str| {
        let name = name.to_ascii_uppercase();
        SECRET_ENDS.iter().any(|end| name.ends_with(end) || name == end[1..])
    };
    // A key may be named by its file, and a path is no secret.
    let is_path = |value: &str| value.starts_with('/') && Path::new(value).exists();
    let secrets = env.iter().filter(|(name, value)| is_secret(name) && !is_path(value));
    secrets.flat_map(|(_, value)| workflow_masks(value)).collect()
}

/// At the end of a run with a session: everything that the report has for the job. `verdict` is the process's own,
/// which may be worse than the session's.
pub fn hand_over(args: &RunArgs, records: &[Record], dir: &SessionDir, verdict: Verdict) {
    output::end_run();
    let env = environment();
    let ci = detect(&env);
    let runner = Runner::from_env(&env);
    if !ci.is_github() && args.dotenv.is_none() {
        return;
    }
    // What contradicts itself has been said by then.
    let Ok(report) = Report::from_records(records) else { return };
    let pairs = pairs(args, &report, dir.path());
    if let Some(path) = &args.dotenv {
        let all: Vec<(&str, String)> = ended(verdict).into_iter().chain(pairs.iter().cloned()).collect();
        warn(write_dotenv(path, DOTENV_PREFIX, &all));
    }
    if ci.is_github() {
        output::commands(&worse(&report, verdict));
        tell_github(&ci, &report, &pairs, &runner);
    }
}

/// The same again where the process ends worse than was handed over: what that changes.
pub fn hand_over_again(args: &RunArgs, records: &[Record], dir: &SessionDir, verdict: Verdict) {
    let Ok(report) = Report::from_records(records) else { return };
    if let Some(path) = &args.dotenv {
        let all: Vec<_> = ended(verdict).into_iter().chain(pairs(args, &report, dir.path())).collect();
        warn(write_dotenv(path, DOTENV_PREFIX, &all));
    }
    if Ci::from_env(&environment()).is_github() {
        output::commands(&worse(&report, verdict));
    }
}

/// The same of a finished report, in a job that has nothing else of its session. The other reports are looked for
/// beside it.
pub fn hand_over_report(path: &Path, report: &Report) {
    let env = environment();
    let ci = detect(&env);
    if ci.is_github() {
        let args = RunArgs { json: Some(path.to_owned()), ..RunArgs::default() };
        let dir = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let pairs = pairs(&args, report, dir.parent().unwrap_or(&dir));
        tell_github(&ci, report, &pairs, &Runner::from_env(&env));
    }
}

fn tell_github(ci: &Ci, report: &Report, pairs: &[(&str, String)], runner: &Runner) {
    output::commands(&report::annotations(report));
    warn(runner.add_outputs(pairs));
    let page = report::job_summary(report, ci.job_url.as_deref(), true);
    warn(runner.add_summary(&page, "_Cut here: a job summary takes no more. All of it is in `final-report.md`._"));
}

/// At the end of the process, whatever it did: how it ended.
pub fn finish(verdict: Verdict) {
    output::end_run();
    let env = environment();
    if Ci::from_env(&env).is_github() {
        warn(Runner::from_env(&env).add_outputs(&ended(verdict)));
    }
}

fn warn(written: Result<(), crate::forge::RunnerError>) {
    if let Err(error) = written {
        tracing::warn!("{error}");
    }
}

fn ended(verdict: Verdict) -> [(&'static str, String); 2] {
    [("verdict", verdict.name().to_owned()), ("exit_code", verdict.code().to_string())]
}

/// An annotation where the process ends worse than its session: the report cannot know that.
fn worse(report: &Report, verdict: Verdict) -> Vec<String> {
    if report.exit_code.is_none_or(|code| code == verdict.code()) {
        return Vec::new();
    }
    let message =
        "the work is done, but something that was asked for besides could not be delivered; the log says what";
    let title = format!("maestro-ci: {verdict}");
    vec![workflow_command("error", &[("title", &title)], message)]
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
    fn secrets_are_masked_by_their_names_and_paths_and_switches_are_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().display().to_string();
        let env = [
            ("ANTHROPIC_API_KEY", "sk-ant-0123456789"),
            ("GITHUB_TOKEN", "ghs_0123456789"),
            ("MAESTRO_CI_APP_KEY", "-----BEGIN-----\nMIIabcdefgh\n"),
            ("SSH_KEY", &file),
            ("DEBUG_TOKEN", "true"),
            ("MAESTRO_CI_BRANCH", "maestro/feature"),
            ("KEYBOARD", "something-long"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        let expected = [
            "::add-mask::sk-ant-0123456789",
            "::add-mask::ghs_0123456789",
            "::add-mask::-----BEGIN-----",
            "::add-mask::MIIabcdefgh",
        ];
        assert_eq!(masks_of(&env), expected);
    }

    #[test]
    fn a_process_that_ends_worse_than_its_session_says_so() {
        let report = Report { exit_code: Some(0), ..Report::default() };
        assert!(worse(&report, Verdict::Passed).is_empty());
        assert!(worse(&report, Verdict::Report)[0].starts_with("::error title=maestro-ci%3A report::"));
    }
}
