//! SIGINT at random moments while agents and gates ignore signals: reports are all there and tell the same as the exit
//! code. `ci/cancel.sh` does it at 50 moments and reads every format; this is the part for every day.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::env::{Env, Run, SLACK, end_of, prd};
use crate::shared::Rng;

/// What somebody who cancels is promised.
const PROMISED: Duration = Duration::from_secs(3);
const MOMENTS: u64 = 5;

const AGENT: &str = "trap '' INT TERM HUP\nsetsid sleep 20 &\nsleep 0.2\necho x > \"$MAESTRO_TASK.txt\"\nsleep 0.1\n";
const CONFIG: &str = "validation: {gates: {test: {kind: test, run: \"trap '' INT TERM; sleep 0.3; ls T-*.txt\"}}}\n";
/// The reports that are asked for, by their flags.
const REPORTS: [&str; 5] = ["junit", "json", "markdown", "html", "sarif"];

struct World {
    env: Env,
    agent: String,
}

impl World {
    fn new() -> Self {
        let env = Env::new();
        env.write("prd.md", &prd(&[("FR-1", "first"), ("FR-2", "second, after FR-1"), ("FR-3", "third")]));
        env.write(".flow/maestro/config.yaml", CONFIG);
        env.commit("prd");
        let agent = env.script("agent.sh", AGENT);
        Self { env, agent }
    }

    fn out(&self, form: &str) -> PathBuf {
        self.env.path(&format!("out.{form}"))
    }

    fn start(&self) -> Child {
        let mut args = vec!["--prd".to_owned(), "prd.md".to_owned(), "--agent-cmd".to_owned(), self.agent.clone()];
        args.extend(REPORTS.iter().flat_map(|form| [format!("--{form}"), self.out(form).display().to_string()]));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.env.command(&args).spawn().unwrap()
    }

    fn has_session(&self) -> bool {
        let sessions = fs::read_dir(self.env.repo.join(".flow/maestro/sessions")).into_iter().flatten().flatten();
        sessions.filter_map(|s| fs::metadata(s.path().join("journal.jsonl")).ok()).any(|file| file.len() > 0)
    }

    fn read(&self, form: &str) -> String {
        fs::read_to_string(self.out(form)).unwrap_or_else(|e| panic!("the {form} report: {e}"))
    }

    /// All reports are there, can be read, and say how it ended.
    fn check_reports(&self, run: &Run) {
        let report: Value = serde_json::from_str(&self.read("json")).expect("report.json is JSON");
        let verdict = report["verdict"].as_str().unwrap();
        assert_eq!(report["exit_code"], run.code, "report.json says {verdict}\n{}", run.stderr);
        let session = report["session"].as_str().unwrap();
        let junit = quick_junit::Report::deserialize_from_str(&self.read("junit")).expect("junit.xml is JUnit");
        let red = junit.test_suites.iter().any(|s| s.failures + s.errors > 0);
        assert_eq!(red, run.code != 0, "exit code {}, and junit.xml says something else", run.code);
        let sarif: Value = serde_json::from_str(&self.read("sarif")).expect("report.sarif is JSON");
        assert_eq!(sarif["runs"][0]["invocations"][0]["executionSuccessful"], run.code == 0, "{sarif}");
        let page = self.read("markdown");
        assert!(page.contains(&format!("**{verdict}**")) && page.contains(session), "{page}");
        let html = self.read("html");
        assert!(html.trim_end().ends_with("</html>") && html.contains(verdict) && html.contains(session));
    }
}

fn cancel_at(moment: Duration) -> Run {
    let world = World::new();
    let child = world.start();
    std::thread::sleep(moment);
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let run = end_of(child, Instant::now(), Duration::from_secs(30));
    let took = run.took;
    assert!(took < PROMISED + SLACK, "cancelled after {moment:?} it took {took:?}\n{}", run.stderr);
    world.env.check_nothing_left();
    if world.has_session() {
        // A signal that comes after the end changes nothing.
        assert!(run.code == 130 || run.code == 0, "exit code {}\n{}", run.code, run.stderr);
        world.check_reports(&run);
    }
    run
}

#[test]
fn cancelled_at_any_moment_all_reports_tell_the_same() {
    let whole = World::new();
    let run = end_of(whole.start(), Instant::now(), Duration::from_mins(1)).exits(0);
    whole.check_reports(&run);
    // The same moments every time; what they meet depends on the machine.
    let mut rng = Rng(4);
    let length = u64::try_from(run.took.as_millis()).unwrap();
    let moments: Vec<u64> = (0..MOMENTS).map(|n| length * n / MOMENTS + rng.below(length / MOMENTS)).collect();
    let mut codes = Vec::new();
    for moment in moments {
        let run = cancel_at(Duration::from_millis(moment));
        println!("cancelled after {moment} of {length} ms: {:?} to the end", run.took);
        codes.push(run.code);
    }
    assert!(codes.contains(&130), "no moment met a run at work: {codes:?}");
}
