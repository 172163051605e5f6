//! Every subcommand and the flags of a run, as a user meets them: exit code, standard output, what is left behind.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::env::{Env, Run, prd, wait_until};
use crate::runs::WRITES_A_FILE;

/// A repository with a committed PRD of two requirements that do not depend on each other.
fn world() -> Env {
    let env = Env::new();
    env.write("prd.md", &two_requirements());
    env.commit("prd");
    env
}

fn two_requirements() -> String {
    prd(&[("FR-1", "the first"), ("FR-2", "the second")])
}

/// An agent that notes outside of the repository which task it did.
fn counted(env: &Env) -> String {
    format!("echo \"$MAESTRO_TASK\" >> '{}'; {WRITES_A_FILE}", env.path("runs").display())
}

/// The tasks that agents did, in their order.
fn done(env: &Env) -> Vec<String> {
    let text = fs::read_to_string(env.path("runs")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn sessions(env: &Env) -> Vec<Value> {
    env.run(&["sessions", "--json"]).exits(0).json()["sessions"].as_array().unwrap().clone()
}

/// A session that did one of two tasks and stopped at its budget.
fn stopped_at_its_budget() -> Env {
    let env = world();
    env.run_prd(&counted(&env), &["--jobs", "1", "--max-api-calls", "1"]).exits(5);
    assert_eq!(done(&env), ["T-001"]);
    env
}

/// Fails where a value is not what a schema says; also where the schema is none.
#[track_caller]
fn check_schema(schema: &Value, value: &Value) {
    let validator = jsonschema::validator_for(schema).expect("a JSON Schema");
    let errors: Vec<String> = validator.iter_errors(value).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

fn schema(env: &Env, of: &str) -> Value {
    env.run(&["schema", of]).exits(0).json()
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

fn lines(run: &Run) -> Vec<Value> {
    run.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// A command under way; it is killed where the test ends before it does.
pub struct Started {
    child: Child,
}

impl Started {
    /// Starts the command under test; what it prints is thrown away.
    pub fn new(env: &Env, args: &[&str]) -> Self {
        let child = env.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { child }
    }

    /// Its exit code; fails the test where it has not ended after `limit`.
    #[track_caller]
    pub fn ends(&mut self, limit: Duration) -> Option<i32> {
        let mut status = None;
        wait_until("the command to end", limit, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|s| s.code())
    }

    fn interrupt(&self) {
        let kill = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

// --- run ---------------------------------------------------------------------------------------------------------

#[test]
fn run_is_a_subcommand_and_what_happens_without_one() {
    for subcommand in [&["run"][..], &[]] {
        let env = world();
        let mut args = subcommand.to_vec();
        args.extend(["--prd", "prd.md", "--agent-cmd", WRITES_A_FILE]);
        let run = env.run(&args).exits(0);
        assert_eq!(run.stdout, "", "standard output carries only what was asked for");
        env.check_run(&run);
        assert_eq!(sessions(&env).len(), 1);
    }
}

#[test]
fn every_flag_has_an_environment_variable() {
    let mut env = world();
    env.set("MAESTRO_CI_PRD", "prd.md");
    env.set("MAESTRO_CI_AGENT_CMD", WRITES_A_FILE);
    env.set("MAESTRO_CI_BRANCH", "from-env");
    let run = env.run(&[]).exits(0);
    env.check_run(&run);
    assert!(env.show("from-env", "T-001.txt").is_some());
}

#[test]
fn the_same_command_after_a_passed_run_has_nothing_to_do_unless_it_is_asked_to() {
    let env = world();
    let agent = counted(&env);
    env.run_prd(&agent, &[]).exits(0);
    let junit = env.path("again.xml").display().to_string();
    env.run_prd(&agent, &["--junit", &junit]).exits(0).says("nothing to do");
    assert!(fs::read_to_string(&junit).unwrap().contains("T-002"), "the reports are written all the same");
    assert_eq!((sessions(&env).len(), done(&env).len()), (1, 2));
    let run = env.run_prd(&agent, &["--fresh"]).exits(0);
    env.check_run(&run);
    assert_eq!((sessions(&env).len(), done(&env).len()), (2, 4));
}

#[test]
fn the_same_command_goes_on_with_an_unfinished_session() {
    let env = stopped_at_its_budget();
    let run = env.run_prd(&counted(&env), &["--jobs", "1", "--max-api-calls", "10"]).exits(0).says("Going on");
    env.check_run(&run);
    assert_eq!(done(&env), ["T-001", "T-002"], "only what was missing is done");
    assert_eq!(sessions(&env).len(), 1);
}

#[test]
fn fresh_starts_anew_although_a_session_could_go_on() {
    let env = stopped_at_its_budget();
    let run = env.run_prd(&counted(&env), &["--jobs", "1", "--max-api-calls", "10", "--fresh"]).exits(0);
    env.check_run(&run);
    assert_eq!(done(&env), ["T-001", "T-001", "T-002"]);
    assert_eq!(sessions(&env).len(), 2);
}

#[test]
fn a_dry_run_shows_plan_budget_and_prompts_and_leaves_nothing() {
    let env = world();
    let before = env.checkout();
    let run = env.run_prd(&counted(&env), &["--dry-run"]).exits(0);
    run.prints("T-001").prints("budget").prints("prompt of T-002").prints("the second");
    assert!(done(&env).is_empty());
    assert!(!env.repo.join(".flow").exists());
    assert_eq!(env.checkout(), before);
    assert_eq!(sessions(&env).len(), 0);
}

#[test]
fn branch_names_the_result() {
    let env = world();
    let run = env.run_prd(WRITES_A_FILE, &["--branch", "out/here"]).exits(0);
    env.check_run(&run);
    assert!(env.show("out/here", "T-002.txt").is_some());
    assert!(env.git(&["for-each-ref", "refs/heads/maestro"]).is_empty());
    env.run_prd(WRITES_A_FILE, &["--branch", "a..b"]).exits(2).says("a..b");
    env.run_prd(WRITES_A_FILE, &["--branch", "main"]).exits(6).says("checked out");
}

#[test]
fn a_branch_of_somebody_else_is_not_taken() {
    let env = world();
    let commit = env.git(&["commit-tree", "-m", "mine", "-p", "HEAD", "HEAD^{tree}"]);
    env.git(&["branch", "maestro/feature", &commit]);
    env.run_prd(&counted(&env), &[]).exits(6).says("maestro/feature").says("--branch");
    assert_eq!(env.git(&["rev-parse", "maestro/feature"]), commit);
    assert!(done(&env).is_empty());
}

#[test]
fn base_names_the_commit_to_start_from() {
    let env = world();
    env.write("later.txt", "");
    env.commit("later");
    let run = env.run_prd(WRITES_A_FILE, &["--base", "HEAD~1", "--branch", "from-base"]).exits(0);
    env.check_run(&run);
    assert_eq!(env.show("from-base", "later.txt"), None);
    assert_eq!(env.git(&["merge-base", "main", "from-base"]), env.git(&["rev-parse", "main~1"]));
    assert_eq!(env.report()["base"]["commit"], env.git(&["rev-parse", "main~1"]));
    env.run_prd(WRITES_A_FILE, &["--base", "nope"]).exits(6).says("nope");
}

#[test]
fn the_three_report_files_are_written_and_agree() {
    let env = world();
    let path = |name: &str| env.path("out/deep").join(name).display().to_string();
    let (json, junit, markdown) = (path("r.json"), path("r.xml"), path("r.md"));
    let flags = ["--json", &json, "--junit", &junit, "--markdown", &markdown];
    let run = env.run_prd(WRITES_A_FILE, &flags).exits(0);
    env.check_run(&run);
    let read = |path: &str| fs::read_to_string(path).unwrap();
    let report: Value = serde_json::from_str(&read(&json)).unwrap();
    assert_eq!(report, env.report(), "what was written is what the journal gives");
    assert_eq!(read(&junit), env.run(&["report", "--format", "junit"]).stdout);
    assert_eq!(read(&markdown), env.run(&["report", "--format", "markdown"]).stdout);
    let suites = quick_junit::Report::deserialize_from_str(&read(&junit)).unwrap().test_suites;
    for (suite, list) in [("tasks", "tasks"), ("requirements", "requirements")] {
        let cases = suites.iter().find(|s| s.name.as_str() == suite).unwrap().test_cases.len();
        assert_eq!(cases, report[list].as_array().unwrap().len(), "{suite}");
    }
    assert!(read(&markdown).contains("Tasks: 2 of 2"));
}

#[test]
fn a_session_keeps_its_journal_and_every_view_derived_from_it() {
    let env = world();
    env.run_prd(WRITES_A_FILE, &[]).exits(0);
    let dir = env.session_dir();
    for view in ["metadata.json", "decisions.json", "checkpoints.json", "plan.json", "report.json"] {
        let value: Value = serde_json::from_slice(&fs::read(dir.join(view)).unwrap()).unwrap();
        assert!(!value.is_null(), "{view}");
    }
    for name in ["journal.jsonl", "execution-log.md", "final-report.md", "junit.xml", "tasks/T-001/attempt-1/prompt.md"]
    {
        assert!(!fs::read(dir.join(name)).unwrap().is_empty(), "{name}");
    }
    let metadata: Value = serde_json::from_slice(&fs::read(dir.join("metadata.json")).unwrap()).unwrap();
    for key in ["session_id", "feature_request", "status", "current_phase", "start_time", "git_context", "statistics"] {
        assert!(metadata.get(key).is_some(), "metadata.json lacks {key}: {metadata}");
    }
    assert_eq!(metadata["statistics"]["tasks_completed"], 2);
    assert_eq!(metadata["statistics"]["tasks_remaining"], 0);
    assert_eq!(metadata["git_context"]["initial_commit"], env.git(&["rev-parse", "main"]));
}

#[test]
fn a_session_adds_to_the_history_of_decisions() {
    let env = world();
    env.run_prd(WRITES_A_FILE, &[]).exits(0);
    assert!(env.repo.join(".flow/maestro/decisions/task-ordering.json").exists(), "decisions/task-ordering.json");
}

#[test]
fn an_implemented_prd_is_nothing_to_do_unless_forced() {
    let env = Env::new();
    env.write("prd.md", &two_requirements().replace("status: approved", "status: implemented"));
    env.commit("prd");
    env.run_prd(&counted(&env), &[]).exits(0).says("nothing to do");
    assert!(done(&env).is_empty());
    assert_eq!(sessions(&env).len(), 0);
    let run = env.run_prd(&counted(&env), &["--force"]).exits(0);
    env.check_run(&run);
    assert_eq!(done(&env).len(), 2);
}

#[test]
fn a_second_session_on_a_branch_is_told_who_holds_it() {
    let env = world();
    let (running, second_ran) = (env.path("running"), env.path("second-ran"));
    let agent = format!("touch '{}'; sleep 30", running.display());
    let mut first = Started::new(&env, &["--prd", "prd.md", "--agent-cmd", &agent]);
    wait_until("the first agent", Duration::from_secs(10), || running.exists());
    let pid = format!("pid {}", first.child.id());
    assert_eq!(env.run(&["status", "--json"]).exits(0).json()["verdict"], "running");
    let second = format!("touch '{}'", second_ran.display());
    env.run_prd(&second, &[]).exits(6).says(&pid);
    env.run_prd(&second, &["--fresh"]).exits(6).says(&pid);
    env.run(&["resume", "--agent-cmd", &agent]).exits(6).says(&pid);
    env.run(&["rollback", "--to", "0"]).exits(6).says(&pid);
    env.run(&["clean", "--older-than", "0s"]).exits(0).prints("0 sessions");
    assert!(!second_ran.exists(), "the second agent never started");
    first.interrupt();
    assert_eq!(first.ends(Duration::from_secs(10)), Some(130));
    env.check_nothing_left();
    assert_eq!(env.report()["exit_code"], 130);
    assert_eq!(env.report()["resumable"], true);
    let run = env.run_prd(WRITES_A_FILE, &[]).exits(0);
    env.check_run(&run);
}

#[test]
fn two_prds_run_side_by_side() {
    let env = world();
    env.write("other.md", &two_requirements().replace("feature_name: feature", "feature_name: other"));
    env.commit("other");
    let before = env.checkout();
    let agent = format!("sleep 0.2; {WRITES_A_FILE}");
    let mut runs = ["prd.md", "other.md"].map(|prd| Started::new(&env, &["--prd", prd, "--agent-cmd", &agent]));
    for run in &mut runs {
        assert_eq!(run.ends(Duration::from_secs(30)), Some(0));
    }
    assert_eq!(env.checkout(), before);
    assert!(env.show("maestro/feature", "T-002.txt").is_some());
    assert!(env.show("maestro/other", "T-002.txt").is_some());
    assert_eq!(sessions(&env).len(), 2);
    env.check_nothing_left();
    env.git(&["fsck", "--no-dangling", "--no-progress"]);
}

// --- check and plan ----------------------------------------------------------------------------------------------

#[test]
fn check_tells_what_a_run_would_use_and_changes_nothing() {
    let env = world();
    let before = env.checkout();
    let run = env.run(&["check", "--prd", "prd.md", "--agent-cmd", &counted(&env)]).exits(0);
    run.prints("2 requirements").prints("FR-2").prints("approved").prints("agent       command").prints("gate");
    env.run(&["check", "--prd", "prd.md"]).exits(6).says("no agent").says("--agent-cmd");
    env.write("draft.md", &two_requirements().replace("status: approved", "status: draft"));
    env.run(&["check", "--prd", "draft.md", "--agent-cmd", "true"]).exits(4).says("draft");
    fs::remove_file(env.repo.join("draft.md")).unwrap();
    assert!(done(&env).is_empty());
    assert!(!env.repo.join(".flow").exists());
    assert_eq!(env.checkout(), before);
}

#[test]
fn plan_as_json_is_the_contract_for_scripts() {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "the first"), ("FR-2", "the second, after FR-1")]));
    let plan = env.run(&["plan", "--prd", "prd.md", "--format", "json"]).exits(0).json();
    check_schema(&schema(&env, "plan"), &plan);
    assert_eq!(ids(&plan["requirements"]), ["FR-1", "FR-2"]);
    assert!(!plan["epics"].as_array().unwrap().is_empty());
    assert_eq!(ids(&plan["tasks"]), ["T-001", "T-002"]);
    let second = &plan["tasks"][1];
    assert_eq!(second["requirements"], json!(["FR-2"]));
    assert_eq!(second["depends_on"], json!(["T-001"]));
    assert!(second["role"].is_string() && second["owns"].is_array(), "{second}");
    assert!(!env.repo.join(".flow").exists(), "a plan starts nothing");
}

#[test]
fn plan_can_be_read_and_drawn() {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "the first"), ("FR-2", "the second, after FR-1")]));
    let plan = |format: &str| env.run(&["plan", "--prd", "prd.md", "--format", format]).exits(0);
    plan("text").prints("2 tasks").prints("T-002").prints("after T-001");
    assert_eq!(env.run(&["plan", "--prd", "prd.md"]).exits(0).stdout, plan("text").stdout);
    let mermaid = plan("mermaid").prints("T_001 --> T_002");
    assert!(mermaid.stdout.starts_with("flowchart"), "{}", mermaid.stdout);
    let dot = plan("dot").prints("\"T-001\" -> \"T-002\"");
    assert!(dot.stdout.starts_with("digraph"), "{}", dot.stdout);
    env.run(&["plan", "--prd", "prd.md", "--format", "svg"]).exits(2).says("mermaid");
}

// --- resume ------------------------------------------------------------------------------------------------------

#[test]
fn resume_without_anything_to_resume_says_what_to_do() {
    let env = world();
    env.run(&["resume"]).exits(2).says("no session").says("hint: ");
    env.run_prd(WRITES_A_FILE, &[]).exits(0);
    env.run(&["resume"]).exits(6).says("cannot go on").says("hint: ");
    env.run(&["resume", "no-such-session"]).exits(2).says("no-such-session").says("maestro-ci sessions");
}

#[test]
fn resume_goes_on_where_the_session_stopped() {
    let env = stopped_at_its_budget();
    env.run(&["resume", "--jobs", "1", "--max-api-calls", "1"]).exits(5);
    assert_eq!(done(&env), ["T-001"], "the budget counts over all resumes");
    let run = env.run(&["resume", "--jobs", "1", "--max-api-calls", "10"]).exits(0);
    env.check_run(&run);
    assert_eq!(done(&env), ["T-001", "T-002"]);
    assert_eq!(env.report()["timing"]["resumes"], 2);
    assert_eq!(sessions(&env).len(), 1);
    assert!(env.show("maestro/feature", "T-001.txt").is_some() && env.show("maestro/feature", "T-002.txt").is_some());
}

#[test]
fn resume_of_a_session_whose_tasks_are_all_done_brings_it_to_its_end() {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "the only one")]));
    env.commit("prd");
    // A last line without its end is read when the agent has ended, so that the limit cannot end the agent first.
    let agent = format!("{}; printf '{{\"usage\":{{\"input_tokens\":100}}}}'", counted(&env));
    env.run_prd(&agent, &["--max-tokens", "50"]).exits(5);
    let run = env.run(&["resume", "--max-tokens", "5000"]).exits(0);
    env.check_run(&run);
    assert_eq!(done(&env), ["T-001"]);
    assert!(env.show("maestro/feature", "prd.md").unwrap().contains("status: implemented"));
}

#[test]
fn resume_refuses_another_prd_configuration_or_agent() {
    let env = stopped_at_its_budget();
    let resume = |more: &[&str]| {
        let mut args = vec!["resume", "--jobs", "1", "--max-api-calls", "10"];
        args.extend(more);
        env.run(&args)
    };
    env.write("prd.md", &two_requirements().replace("the second", "another"));
    resume(&[]).exits(4).says("prd.md").says("hint: ");
    env.write("prd.md", &two_requirements());
    env.write(".flow/maestro/config.yaml", "error_recovery: {max_retry_attempts: 1}\n");
    resume(&[]).exits(6).says("configuration").says("hint: ");
    fs::remove_file(env.repo.join(".flow/maestro/config.yaml")).unwrap();
    resume(&["--agent-cmd", "true"]).exits(6).says("agent");
    assert_eq!(done(&env), ["T-001"]);
    resume(&[]).exits(0);
}

#[test]
fn resume_keeps_the_base_although_the_branch_moved_on() {
    let env = stopped_at_its_budget();
    let base = env.git(&["rev-parse", "main"]);
    env.write("later.txt", "");
    env.commit("later");
    let run = env.run(&["resume", "--jobs", "1", "--max-api-calls", "10"]).exits(0);
    env.check_run(&run);
    assert_eq!(env.git(&["merge-base", "main", "maestro/feature"]), base);
}

// --- status, sessions, report, log -------------------------------------------------------------------------------

#[test]
fn status_shows_the_latest_session_or_a_named_one() {
    let env = world();
    env.run(&["status"]).exits(2).says("no session");
    env.run_prd(WRITES_A_FILE, &[]).exits(0);
    let first = sessions(&env)[0]["session"].as_str().unwrap().to_owned();
    env.run_prd("true", &["--set", "error_recovery.max_retry_attempts=0"]).exits(1);
    env.run(&["status"]).exits(0).prints("failed").prints("0/2").prints("T-002");
    env.run(&["status", &first]).exits(0).prints("passed").prints("2/2").prints(&first);
    let status = env.run(&["status", "--json"]).exits(0).json();
    assert_eq!(status["verdict"], "failed");
    check_schema(&schema(&env, "report"), &status);
    env.run(&["status", "zzz"]).exits(2).says("zzz");
}

#[test]
fn sessions_are_listed_with_their_verdicts() {
    let env = world();
    assert_eq!(env.run(&["sessions"]).exits(0).stdout, "");
    assert_eq!(sessions(&env), Vec::<Value>::new());
    env.run_prd(WRITES_A_FILE, &[]).exits(0);
    env.run_prd("true", &["--set", "error_recovery.max_retry_attempts=0", "--branch", "second"]).exits(1);
    let text = env.run(&["sessions"]).exits(0).stdout;
    let text: Vec<&str> = text.lines().collect();
    assert!(text.len() == 2 && text[0].contains("passed") && text[1].contains("failed"), "{text:?}");
    let list = sessions(&env);
    let get = |key: &str| list.iter().map(|s| s[key].clone()).collect::<Vec<_>>();
    assert_eq!(get("verdict"), ["passed", "failed"]);
    assert_eq!(get("exit_code"), [0, 1]);
    assert_eq!(get("branch"), ["maestro/feature", "second"]);
    assert_eq!(list[0]["metrics"]["autonomy_ratio"], 1.0);
    let totals = &env.run(&["sessions", "--json"]).exits(0).json()["totals"];
    assert_eq!((&totals["sessions"], &totals["verdicts"]["failed"]), (&Value::from(2), &Value::from(1)));
    assert_eq!(totals["metrics"]["counts"]["tasks"], 4);
    assert!(totals["metrics"]["autonomy_ratio"].as_f64() < Some(1.0), "{totals}");
}

#[test]
fn one_damaged_session_does_not_hide_the_others() {
    let env = world();
    env.run_prd(WRITES_A_FILE, &[]).exits(0);
    let damaged = env.session_dir();
    env.run_prd(WRITES_A_FILE, &["--fresh"]).exits(0);
    let journal = fs::read_to_string(damaged.join("journal.jsonl")).unwrap();
    fs::write(damaged.join("journal.jsonl"), journal.replacen("\"seq\":2,", "\"seq\":7,", 1)).unwrap();
    let list = sessions(&env);
    assert_eq!(list[0]["verdict"], "unreadable");
    assert_eq!(list[1]["verdict"], "passed");
    let id = damaged.file_name().unwrap().to_string_lossy().into_owned();
    env.run(&["status", &id]).exits(70).says("journal");
    fs::write(damaged.join("journal.jsonl"), "nonsense\nnonsense\n").unwrap();
    env.run(&["status", &id]).exits(70).says("journal");
}

#[test]
fn reports_are_rebuilt_from_the_journal_in_every_format() {
    let env = world();
    env.run_prd(WRITES_A_FILE, &[]).exits(0);
    let dir = env.session_dir();
    for derived in ["report.json", "junit.xml", "final-report.md"] {
        fs::remove_file(dir.join(derived)).unwrap();
    }
    let report = env.report();
    check_schema(&schema(&env, "report"), &report);
    assert_eq!(report["verdict"], "passed");
    assert_eq!(report["prd"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(report["isolation"]["level"], "L0");
    assert_eq!(ids(&report["tasks"]), ["T-001", "T-002"]);
    assert_eq!(report["requirements"][0]["status"], "unverified");
    assert!(report["requirements"][0]["evidence"].is_array() && report["budget"].is_object());
    assert!(report["gates"].is_array() && report.get("resume_after").is_some() && report["metrics"].is_object());
    let junit = env.run(&["report", "--format", "junit"]).exits(0).stdout;
    let suites = quick_junit::Report::deserialize_from_str(&junit).unwrap().test_suites;
    let names: Vec<&str> = suites.iter().map(|s| s.name.as_str()).collect();
    for name in ["plan", "tasks", "requirements"] {
        assert!(names.contains(&name), "{names:?}");
    }
    env.run(&["report", "--format", "pdf"]).exits(2).says("junit");
}

#[test]
fn the_final_report_has_its_sections_in_order() {
    let env = world();
    env.run_prd(WRITES_A_FILE, &[]).exits(0);
    let page = env.run(&["report"]).exits(0).stdout;
    assert_eq!(page, fs::read_to_string(env.session_dir().join("final-report.md")).unwrap());
    let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let wanted = ["Summary", "Decisions", "Changes", "Testing", "Quality Gates", "Checkpoints", "Budget", "Next Steps"];
    let found: Vec<&str> = sections.into_iter().filter(|s| wanted.contains(s)).collect();
    assert_eq!(found, wanted);
    assert!(page.contains("2 unverified"), "{page}");
}

#[test]
fn log_shows_one_kind_of_record() {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "the first")]));
    env.commit("prd");
    let agent = "[ $MAESTRO_ATTEMPT = 2 ] || exit 3; echo x > x; echo '{\"usage\":{\"input_tokens\":7}}'";
    let gate = "validation.gates.look.run=true";
    env.run_prd(agent, &["--set", gate, "--set", "validation.gates.look.kind=test"]).exits(0);
    let log = |kind: &str| env.run(&["log", "--kind", kind]).exits(0);
    log("decision").prints("Decision");
    log("fault").prints("T-001").prints("attempt 1 failed");
    log("gate").prints("look");
    log("task").prints("T-001 integrated");
    let types = |kind: &str| {
        let records = lines(&env.run(&["log", "--kind", kind, "--json"]).exits(0));
        records.iter().map(|r| r["event"]["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(types("spend").contains(&"usage_reported".to_owned()));
    assert_eq!(types("fault"), ["attempt_failed"]);
    assert!(types("decision").iter().all(|t| t == "decided"));
    assert!(types("gate").contains(&"gate_ended".to_owned()));
    env.run(&["log", "--kind", "weather"]).exits(2).says("decision");
}

#[test]
fn log_shows_one_task_and_every_record_is_what_the_schema_says() {
    let env = world();
    env.run_prd(WRITES_A_FILE, &[]).exits(0);
    let of_task = lines(&env.run(&["log", "--task", "T-002", "--json"]).exits(0));
    assert!(!of_task.is_empty());
    for record in &of_task {
        let event = &record["event"];
        assert!(event["task"] == "T-002" || event["decision"]["task"] == "T-002", "{record}");
    }
    let all = lines(&env.run(&["log", "--json"]).exits(0));
    assert_eq!(all[0]["event"]["type"], "session_started");
    let schema = schema(&env, "event");
    for (i, record) in all.iter().enumerate() {
        check_schema(&schema, record);
        assert_eq!(record["seq"].as_u64().unwrap() - all[0]["seq"].as_u64().unwrap(), i as u64);
    }
    env.run(&["log", "--task", "T-999"]).exits(2).says("T-999");
}

// --- rollback, approve, clean ------------------------------------------------------------------------------------

#[test]
fn rollback_puts_the_branch_back_and_leaves_the_checkout() {
    let env = world();
    env.run_prd(WRITES_A_FILE, &[]).exits(0);
    let before = env.checkout();
    let checkpoints = env.report()["checkpoints"].clone();
    let commit = |n: usize| checkpoints[n]["commit"].as_str().unwrap().to_owned();
    let at = || env.git(&["rev-parse", "maestro/feature"]);
    assert_eq!(at(), commit(2));
    env.run(&["rollback"]).exits(0).prints("checkpoint 1");
    assert_eq!(at(), commit(1));
    env.run(&["rollback", "--to", "0"]).exits(0).prints("checkpoint 0");
    assert_eq!(at(), env.git(&["rev-parse", "main"]));
    env.run(&["rollback", "--to", "99"]).exits(2).says("no such checkpoint").says("0, 1, 2");
    env.run(&["rollback", "--to", "2"]).exits(0);
    assert_eq!(at(), commit(2));
    assert_eq!(env.checkout(), before);
}

#[test]
fn rollback_leaves_a_branch_that_is_checked_out() {
    let env = world();
    env.run_prd(WRITES_A_FILE, &[]).exits(0);
    let at = env.git(&["rev-parse", "maestro/feature"]);
    env.git(&["checkout", "-q", "maestro/feature"]);
    env.run(&["rollback", "--to", "0"]).exits(6).says("checked out").says("hint: ");
    assert_eq!(env.git(&["rev-parse", "maestro/feature"]), at);
}

#[test]
fn rollback_leaves_a_branch_that_somebody_moved() {
    let env = world();
    env.run_prd(WRITES_A_FILE, &[]).exits(0);
    let theirs = env.git(&["commit-tree", "-m", "theirs", "-p", "maestro/feature", "maestro/feature^{tree}"]);
    env.git(&["update-ref", "refs/heads/maestro/feature", &theirs]);
    env.run(&["rollback", "--to", "0"]).exits(6).says("no checkpoint of this session").says("hint: ");
    assert_eq!(env.git(&["rev-parse", "maestro/feature"]), theirs);
    env.git(&["branch", "-q", "-D", "maestro/feature"]);
    env.run(&["rollback", "--to", "0"]).exits(6).says("does not exist");
}

#[test]
fn approve_binds_the_prd_to_its_content_and_keeps_every_other_byte() {
    let env = Env::new();
    let draft = two_requirements().replace("status: approved", "status: draft # not yet");
    env.write("prd.md", &draft);
    env.run_prd(&counted(&env), &[]).exits(4);
    env.run(&["approve", "--prd", "prd.md"]).exits(0).prints("prd.md");
    let approved = fs::read_to_string(env.repo.join("prd.md")).unwrap();
    let others = |text: &str| {
        let lines = text.lines().filter(|l| !l.contains("status:") && !l.contains("approved_sha256:"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(others(&approved), others(&draft));
    assert!(approved.contains("  status: approved # not yet\n"), "{approved}");
    assert_eq!(approved.lines().count(), draft.lines().count() + 1);
    env.run(&["check", "--prd", "prd.md", "--agent-cmd", "true"]).exits(0).prints("bound to this content");
    env.run(&["approve", "--prd", "prd.md"]).exits(0);
    assert_eq!(fs::read_to_string(env.repo.join("prd.md")).unwrap(), approved, "approving twice changes nothing");
    env.commit("approved");
    let run = env.run_prd(WRITES_A_FILE, &[]).exits(0);
    env.check_run(&run);
}

#[test]
fn an_edit_after_the_approval_is_refused_and_shown() {
    let env = Env::new();
    env.write("prd.md", &two_requirements().replace("status: approved", "status: draft"));
    env.run(&["approve", "--prd", "prd.md"]).exits(0);
    env.commit("approved");
    let approved = fs::read_to_string(env.repo.join("prd.md")).unwrap();
    env.write("prd.md", &approved.replace("the second", "the worst"));
    let refused = || env.run_prd(&counted(&env), &[]).exits(4).says("line 13").says("the second").says("the worst");
    refused().says("approve");
    env.commit("edited");
    refused();
    assert!(done(&env).is_empty());
    env.run(&["approve", "--prd", "prd.md"]).exits(0);
    env.commit("approved again");
    env.run_prd(&counted(&env), &[]).exits(0);
}

#[test]
fn what_cannot_be_planned_is_not_approved() {
    let env = Env::new();
    let cycle = prd(&[("FR-1", "a, after FR-2"), ("FR-2", "b, after FR-1")]);
    for bad in [cycle, "---\nstatus: draft\n---\n# Nothing\n".to_owned()] {
        let bad = bad.replace("status: approved", "status: draft");
        env.write("prd.md", &bad);
        env.run(&["approve", "--prd", "prd.md"]).exits(3).says("prd.md:");
        assert_eq!(fs::read_to_string(env.repo.join("prd.md")).unwrap(), bad);
    }
    env.run(&["approve", "--prd", "missing.md"]).exits(2).says("missing.md");
    env.run(&["approve"]).exits(2).says("--prd");
}

#[test]
fn clean_removes_old_sessions_and_keeps_results() {
    let env = world();
    env.run_prd(WRITES_A_FILE, &[]).exits(0);
    env.run(&["clean"]).exits(0).prints("0 sessions removed");
    assert_eq!(sessions(&env).len(), 1);
    let (branch, tags) = (env.git(&["rev-parse", "maestro/feature"]), env.git(&["tag"]));
    env.run(&["clean", "--older-than", "0s"]).exits(0).prints("1 sessions removed");
    assert_eq!(sessions(&env).len(), 0);
    assert_eq!(env.git(&["rev-parse", "maestro/feature"]), branch);
    assert_eq!(env.git(&["tag"]), tags);
    assert_eq!(env.git(&["for-each-ref", "refs/maestro"]), "");
    for age in ["x", "", "d", "-1d", "1w", "9999999999999999d"] {
        env.run(&["clean", &format!("--older-than={age}")]).exits(2).says("--older-than");
    }
    let run = env.run_prd(WRITES_A_FILE, &[]).exits(0);
    env.check_run(&run);
}

// --- demo, schema, completions, help -----------------------------------------------------------------------------

#[test]
fn the_demo_passes_and_recovers_one_task() {
    let env = Env::new();
    let dir = env.path("demo");
    let dir = dir.to_str().unwrap();
    let run = env.run(&["demo", dir]).exits(0).prints("final-report.md");
    let report = env.run(&["report", "--repo", dir, "--format", "json"]).exits(0).json();
    check_schema(&schema(&env, "report"), &report);
    assert_eq!(report["verdict"], "passed");
    let tasks = report["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 7);
    let attempts: Vec<usize> = tasks.iter().map(|t| t["attempts"].as_array().unwrap().len()).collect();
    assert_eq!(attempts, [1, 1, 1, 1, 2, 1, 1]);
    assert_eq!((&tasks[4]["id"], &tasks[4]["status"]), (&json!("T-005"), &json!("done")));
    assert!(report["requirements"].as_array().unwrap().iter().all(|r| r["status"] == "met"));
    assert_eq!(report["metrics"]["recovery_rate"], 1.0);
    let session = Path::new(dir).join(".flow/maestro/sessions").join(report["session"].as_str().unwrap());
    for name in ["final-report.md", "report.json", "junit.xml", "journal.jsonl"] {
        assert!(session.join(name).exists(), "{name}");
    }
    assert_eq!(env.git(&["-C", dir, "status", "--porcelain"]), "");
    env.git(&["-C", dir, "fsck", "--no-dangling", "--no-progress"]);
    // What it says to try next works as it stands.
    let advice = run.stdout.lines().find_map(|l| l.trim().strip_prefix("maestro-ci ")).unwrap();
    let advice: Vec<&str> = advice.split(' ').collect();
    env.run(&advice).exits(0).prints("7/7");
}

#[test]
fn the_demo_takes_no_directory_that_is_in_use() {
    let env = Env::new();
    env.run(&["demo", env.repo.to_str().unwrap()]).exits(2).says("not empty");
    assert_eq!(env.git(&["status", "--porcelain"]), "");
    let file = env.path("file");
    fs::write(&file, "").unwrap();
    let run = env.run(&["demo", file.to_str().unwrap()]);
    assert!(run.code == 2 || run.code == 6, "{}: {}", run.code, run.stderr);
}

#[test]
fn the_demo_runs_behind_walls_without_a_flag() {
    let mut env = Env::new();
    env.unset("MAESTRO_CI_ALLOW_UNSANDBOXED");
    let dir = env.path("demo");
    env.run(&["demo", dir.to_str().unwrap()]).exits(0).says("isolation L1");
}

#[test]
fn every_schema_is_a_json_schema_that_refuses_something() {
    let env = Env::new();
    for of in ["config", "prd", "plan", "report", "event"] {
        let schema = schema(&env, of);
        assert!(schema["$schema"].as_str().unwrap().contains("json-schema.org"), "{of}");
        let validator = jsonschema::validator_for(&schema).unwrap_or_else(|e| panic!("{of}: {e}"));
        assert!(!validator.is_valid(&json!([1, 2])), "{of} accepts anything");
    }
    env.run(&["schema", "weather"]).exits(2).says("config");
    env.run(&["schema"]).exits(2);
}

#[test]
fn the_config_schema_knows_good_from_bad() {
    let env = Env::new();
    let schema = schema(&env, "config");
    // examples/demo/config.yaml, by hand.
    let demo = json!({
        "agent": {"default": "steps"},
        "agents": {"steps": {"protocol": "steps"}},
        "validation": {"gates": {
            "test": {
                "kind": "test",
                "run": "sh tests/run.sh",
                "report": "report.xml",
                "requirements": ["FR-1", "FR-2", "FR-3", "FR-4", "FR-5"],
            },
            "syntax": {"kind": "lint", "run": "for file in lib/*.sh bin/textkit; do sh -n \"$file\" || exit 1; done"},
        }},
    });
    check_schema(&schema, &demo);
    check_schema(&schema, &json!({}));
    check_schema(&schema, &json!({"orchestrator": {"jobs": "auto"}}));
    check_schema(&schema, &json!({"orchestrator": {"jobs": 4}}));
    let validator = jsonschema::validator_for(&schema).unwrap();
    for bad in [
        json!({"resource_limit": {}}),
        json!({"resource_limits": {"max_tokens": -5}}),
        json!({"resource_limits": {"max_tokens": 0}}),
        json!({"resource_limits": {"max_duration_seconds": "1h"}}),
        json!({"agents": {"x": {"protocol": "comand"}}}),
        json!({"validation": []}),
    ] {
        assert!(!validator.is_valid(&bad), "{bad}");
    }
}

#[test]
fn the_prd_and_plan_schemas_fit_what_a_session_keeps() {
    let env = world();
    env.run_prd(WRITES_A_FILE, &[]).exits(0);
    let kept: Value = serde_json::from_slice(&fs::read(env.session_dir().join("plan.json")).unwrap()).unwrap();
    check_schema(&schema(&env, "plan"), &kept);
}

#[test]
fn completions_are_printed_for_every_shell() {
    let env = Env::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        env.run(&["completions", shell]).exits(0).prints("maestro-ci").prints("rollback").prints("agent-cmd");
    }
    env.run(&["completions", "cobol"]).exits(2).says("bash");
}

#[test]
fn help_lists_every_exit_code_and_every_subcommand() {
    let env = Env::new();
    let help = env.run(&["--help"]).exits(0);
    let codes = ["0 passed", "1 failed", "2 usage", "3 invalid PRD", "4 not approved", "5 budget", "6 setup"];
    let more = ["7 agent", "8 report", "9 rolled back", "70 internal", "130, 143 interrupted"];
    let subcommands = ["run", "check", "plan", "resume", "status", "sessions", "report", "rollback", "approve"];
    let others = ["clean", "demo", "log", "schema", "completions"];
    for part in codes.iter().chain(&more).chain(&subcommands).chain(&others) {
        assert!(help.stdout.contains(part), "--help lacks {part}");
    }
    for &subcommand in subcommands.iter().chain(&others) {
        env.run(&[subcommand, "--help"]).exits(0).prints("Usage:");
    }
    env.run(&["--version"]).exits(0).prints(env!("CARGO_PKG_VERSION"));
}

#[test]
fn what_the_command_line_does_not_know_is_exit_code_2() {
    let env = world();
    env.run_prd("true", &["--weather"]).exits(2).says("--weather");
    env.run(&["weather"]).exits(2).says("weather");
    env.run(&["--prd", "prd.md", "--agent-cmd", "true", "--agent", "x"]).exits(2);
    env.run(&["--agent-cmd", "true"]).exits(2).says("--prd");
    env.run(&["status", "a", "b"]).exits(2);
    assert_eq!(sessions(&env).len(), 0);
}

#[test]
fn global_flags_stand_before_or_behind_the_subcommand() {
    let env = world();
    env.run_prd(WRITES_A_FILE, &[]).exits(0);
    let repo = env.repo.to_str().unwrap();
    let behind = env.run(&["status", "--repo", repo]).exits(0).stdout;
    assert_eq!(env.run(&["--repo", repo, "status"]).exits(0).stdout, behind);
    env.run(&["-q", "--log-format", "json", "sessions"]).exits(0).prints("passed");
}

#[test]
fn a_note_is_told_once() {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "the first")]));
    env.commit("prd");
    let run = env.run_prd("echo done > done.txt", &["--set", "gateway.enabled=false"]).exits(0);
    assert_eq!(run.stderr.matches("gateway.enabled is false").count(), 1, "{}", run.stderr);
}
