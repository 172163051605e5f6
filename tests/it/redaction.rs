//! Invariant 8: whatever agents and gates print or write down, no secret of the run is in a file that it leaves, in its
//! log, or on its branch.

use std::fs;
use std::path::Path;

use crate::env::{Env, Run, prd};

/// With a quote, so that JSON and XML show it in another way.
const SECRET: &str = "pA55\"w0rd/for-tests";
const IN_JSON: &str = "pA55\\\"w0rd/for-tests";
/// Characters of its base64 that depend on no neighbour.
const IN_BASE64: &str = "cEE1NSJ3MHJkL2Zvci10ZXN0";

/// What other programs make of a secret. Each line of output is one of them and nothing else.
const SHOWN: &str = r#"
import os, json, html, base64, subprocess, urllib.parse
s = os.environ["APP_PASSWORD"]
go = json.dumps(s, ensure_ascii=False)[1:-1].replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
bash = lambda script: subprocess.run(["bash", "-c", script], capture_output=True, text=True)
shown = [s, json.dumps(s)[1:-1], json.dumps(json.dumps(s))[3:-3], go, repr(s)[1:-1]]
shown += [html.escape(s), html.escape(s).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")]
shown += [html.escape(s).replace("&#x27;", "&apos;"), s.encode().hex(), s.encode().hex().upper()]
shown += [urllib.parse.quote(s), urllib.parse.quote(s, safe=""), urllib.parse.quote_plus(s)]
shown += [urllib.parse.quote(s, safe="!'()*-._~"), bash('printf %q "$APP_PASSWORD"').stdout]
shown += [bash('set -x; : "$APP_PASSWORD"').stderr[len("+ : "):-1].strip("'")]
print("\n".join(shown))
open(os.environ["MAESTRO_TASK"] + ".txt", "w").write("done")
"#;

/// Prints the secret in every way, in small pieces, on both streams, and in an event.
const TELLS: &str = r#"
printf '%s' "$APP_PASSWORD" | base64
printf 'err %s' "$APP_PASSWORD" >&2; echo " and more" >&2
printf 'pA55"w'; sleep 0.2; printf '0rd/for-tests\n'
printf '{"type":"result","result":"it is pA55\\"w0rd/for-tests"}\n'
echo done > $MAESTRO_TASK.txt
"#;

/// A repository with an approved PRD and a secret that agents may see.
fn world() -> Env {
    let mut env = Env::new();
    env.write(
        "prd.md",
        &prd(&[("FR-1", "the first"), ("FR-2", "never write pA55\\\"w0rd/for-tests down, after FR-1")]),
    );
    env.commit("prd");
    env.set("APP_PASSWORD", SECRET);
    env.set("GITHUB_ACTIONS", "true");
    for (variable, file) in [("GITHUB_STEP_SUMMARY", "summary"), ("GITHUB_OUTPUT", "output")] {
        env.set(variable, env.path(file).to_str().unwrap());
    }
    env
}

fn run(env: &Env, agent: &str, more: &[&str]) -> Run {
    env.run_prd(&env.script("agent.sh", agent), &[&["--set", "sandbox.env_pass=[APP_PASSWORD]"], more].concat())
}

#[track_caller]
fn check_text(what: &str, text: &str) {
    // The commands by which the runner is told what to hide.
    let text: String =
        text.lines().filter(|line| !line.starts_with("::add-mask::")).map(|l| format!("{l}\n")).collect();
    for shape in [SECRET, IN_JSON, IN_BASE64] {
        assert!(!text.contains(shape), "{what} holds {shape}:\n{text}");
    }
}

/// Looks into every file below a directory; returns how many there were.
fn check_files(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let check = |path: std::path::PathBuf| {
        if path.is_dir() {
            return check_files(&path);
        }
        check_text(&path.display().to_string(), &String::from_utf8_lossy(&fs::read(&path).unwrap()));
        1
    };
    entries.map(check).sum()
}

/// What a run printed, and every file that it left.
#[track_caller]
fn check_all(env: &Env, run: &Run) {
    check_text("standard error", &run.stderr);
    check_text("standard output", &run.stdout);
    check_text("the summary", &fs::read_to_string(env.path("summary")).unwrap());
    assert!(check_files(&env.session_dir()) > 10);
}

#[test]
fn what_agents_and_gates_print_of_a_secret_is_nowhere_to_be_read() {
    let env = world();
    // Gates do not get the variable; what they print comes from the tree, or from an agent.
    let gate = "printf 'gate pA55\"w0rd/for-tests\\n'; \
                printf '<testsuite name=\"s\"><testcase classname=\"c\" name=\"pA55&quot;w0rd/for-tests\">\
                <failure message=\"pA55&quot;w0rd/for-tests\"/></testcase></testsuite>' > r.xml; exit 1";
    let gate = env.script("gate.sh", gate);
    let gate = format!("validation.gates.g={{run: {gate}, report: r.xml}}");
    let run = run(&env, TELLS, &["--set", &gate]).exits(1);
    check_all(&env, &run);
    let report = env.report();
    let case = &report["gates"][0]["cases"][0];
    assert_eq!((case["name"].as_str(), case["message"].as_str()), (Some("***"), Some("***")), "{report:#}");
    // What was held back for its sake is there, and the agent's event came through.
    let attempt = env.session_dir().join("tasks/T-001/attempt-1");
    assert_eq!(fs::read_to_string(attempt.join("stderr.log")).unwrap(), "err *** and more\n");
    let stream = fs::read_to_string(attempt.join("stream.jsonl")).unwrap();
    assert!(stream.ends_with("***\n{\"type\":\"result\",\"result\":\"it is ***\"}\n"), "{stream}");
}

#[test]
fn a_change_that_adds_a_secret_is_refused_and_told_without_it() {
    let env = world();
    let run = run(&env, "printf 'a\\n%s\\n' \"$APP_PASSWORD\" > $MAESTRO_TASK.txt", &[]).exits(1);
    check_all(&env, &run);
    let report = env.report();
    let attempt = &report["tasks"][0]["attempts"][0];
    assert_eq!(
        (attempt["fault"]["class"].as_str(), attempt["fault"]["reason"].as_str()),
        (Some("policy"), Some("secret"))
    );
    let findings = report["findings"].as_array().unwrap();
    let found = findings.iter().find(|f| f["rule"] == "secret-in-change" && f["level"] == "error").expect("a finding");
    assert_eq!((found["path"].as_str(), found["line"].as_u64()), (Some("T-001.txt"), Some(2)));
    assert!(run.stderr.contains("::error file=T-001.txt,line=2"), "{}", run.stderr);
    assert!(!findings.iter().any(|f| f["rule"] == "policy-violation"), "{findings:#?}");
    assert_eq!(env.show("maestro/feature", "T-001.txt"), None);
}

#[test]
fn what_only_looks_like_a_token_is_let_in_with_a_warning() {
    let env = world();
    let token = format!("ghp_{}", "a1".repeat(18));
    let run = run(&env, &format!("echo '{token}' > $MAESTRO_TASK.txt"), &[]).exits(0);
    assert_eq!(env.show("maestro/feature", "T-001.txt"), Some(format!("{token}\n")));
    let report = env.report();
    let found = report["findings"].as_array().unwrap().iter().find(|f| f["rule"] == "secret-in-change");
    assert_eq!(found.map(|f| f["level"].as_str()), Some(Some("warning")), "{report:#}");
    assert!(!run.stderr.contains(&token));
}

#[test]
fn what_other_programs_make_of_a_secret_is_masked_as_well() {
    let mut env = world();
    env.set("APP_PASSWORD", "Tr0ub&dor'3-s\u{e9}cret \"x\\y/z");
    run(&env, &format!("python3 - <<'END'\n{SHOWN}END"), &[]).exits(0);
    let stream = fs::read_to_string(env.session_dir().join("tasks/T-001/attempt-1/stream.jsonl")).unwrap();
    let open: Vec<&str> = stream.lines().filter(|line| line.trim_matches('$').trim_matches('\'') != "***").collect();
    assert!(open.is_empty() && stream.lines().count() >= 16, "{open:#?}");
}

#[test]
fn an_ordinary_word_in_a_variable_named_like_a_secret_does_no_harm() {
    let mut env = world();
    env.write("prd.md", &prd(&[("FR-1", "sort by created_at")]));
    env.write("old.txt", "s3cr3t-value\n");
    env.commit("words");
    env.set("SORT_KEY", "created_at");
    env.set("OLD_KEY", "s3cr3t-value");
    env.set("LONG_KEY", "ordered_by_created_at");
    let agent = "echo created_at > a.txt; echo ordered_by_created_at > b.txt; mv old.txt new.txt";
    run(&env, agent, &["--set", "sandbox.not_secret=[LONG_KEY]"]).exits(0);
    let prompt = fs::read_to_string(env.session_dir().join("tasks/T-001/attempt-1/prompt.md")).unwrap();
    assert!(prompt.contains("sort by created_at"), "{prompt}");
    assert_eq!(env.show("maestro/feature", "new.txt").as_deref(), Some("s3cr3t-value\n"));
}

#[test]
fn a_secret_in_a_name_or_in_a_file_with_a_null_byte_is_found() {
    for agent in ["echo a > \"f-$APP_PASSWORD\"", "printf 'a\\0\\n%s\\n' \"$APP_PASSWORD\" > x.txt"] {
        let mut env = world();
        env.set("APP_PASSWORD", "s3cr3t-value");
        run(&env, agent, &[]).exits(1);
        let report = env.report();
        assert_eq!(report["tasks"][0]["attempts"][0]["fault"]["reason"], "secret", "{agent}: {report:#}");
    }
}

#[test]
fn a_resume_says_which_flag_it_needs_again() {
    let env = world();
    let agent = env.script("agent.sh", "[ -e $0.again ] || { touch $0.again; sleep 5; }; echo x > $MAESTRO_TASK.txt");
    let gate = "validation.gates.g.run=echo 'pA55\"w0rd/for-tests'";
    let write = format!("sandbox.write=[{}]", env.path("").display());
    let stopped = env.run_prd(&agent, &["--set", gate, "--set", &write, "--max-duration", "1s"]).exits(5);
    let stopped = stopped.says("`resume` needs it again: --set validation.gates.g.run=…");
    assert!(stopped.stderr.contains(" --set validation.gates.g.run=… "), "{}", stopped.stderr);
    env.run(&["resume", "--max-duration", "1m"]).exits(6).says("give this again: --set validation.gates.g.run=…");
    env.run(&["resume", "--max-duration", "1m", "--set", gate]).exits(0);
}

#[test]
fn a_cut_through_a_secret_leaves_nothing_of_it() {
    let env = world();
    let report = "s='pA55&quot;w0rd/for-tests'; name=$(printf '%0990d' 0); \
                  printf '<testsuite name=\"s\"><testcase name=\"%s%s\"><failure/></testcase></testsuite>' \
                  \"$name\" \"$s\" > r.xml; exit 1";
    let gate = format!("validation.gates.g={{run: {}, report: r.xml}}", env.script("gate.sh", report));
    run(&env, TELLS, &["--set", &gate]).exits(1);
    let name = env.report()["gates"][0]["cases"][0]["name"].as_str().unwrap().to_owned();
    assert_eq!(name, format!("{}***", "0".repeat(990)));
}
