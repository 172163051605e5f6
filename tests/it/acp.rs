//! The ACP client as a process, and in a run: a script plays the agent.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::env::{BINARY, Env, Run, prd};

/// Answers up to the prompt; what it does with that is up to the test.
const HANDSHAKE: &str = r#"
while read -r line; do
  case "$line" in
    *'"initialize"'*) echo '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":1}}' ;;
    *'"session/new"'*) echo '{"jsonrpc":"2.0","id":2,"result":{"sessionId":"s","modes":{"availableModes":[{"id":"yolo"}]}}}' ;;
    *'"session/set_mode"'*) echo '{"jsonrpc":"2.0","id":4,"result":{}}' ;;
    *'"session/prompt"'*) break ;;
  esac
done
"#;
const DONE: &str = r#"echo '{"jsonrpc":"2.0","id":3,"result":{"stopReason":"end_turn"}}'"#;

fn start(program: &[&str]) -> Child {
    let mut command = Command::new(BINARY);
    command.args(["__acp", r#"{"cwd":"/"}"#, "--"]).args(program);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"do it").unwrap();
    child
}

fn agent(rest: &str) -> (Output, Duration) {
    let started = Instant::now();
    let output = start(&["sh", "-c", &format!("{HANDSHAKE}{rest}")]).wait_with_output().unwrap();
    (output, started.elapsed())
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_turn_that_ends_exits_with_success_and_what_was_said_is_on_record() {
    let ask = r#"echo '{"jsonrpc":"2.0","id":"p","method":"session/request_permission","params":{"toolCall":{"toolCallId":"t"},"options":[{"optionId":"x","kind":"reject_once"},{"optionId":"y","kind":"allow_once"}]}}'
read -r answer; echo "$answer" >&2
echo '{"jsonrpc":"2.0","id":9,"method":"fs/read_text_file","params":{}}'
read -r answer; echo "$answer" >&2
"#;
    let (output, _) = agent(&format!("{ask}{DONE}"));
    assert_eq!(output.status.code(), Some(0));
    let answers = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(answers.contains(r#""optionId":"y""#) && answers.contains("-32601"), "{answers}");
    let said = stdout(&output);
    assert!(said.contains(r#""did":"set""#) && said.contains(r#""outcome":"allow_once""#), "{said}");
    assert!(said.contains(r#"{"jsonrpc":"2.0","id":3,"result":{"stopReason":"end_turn"}}"#), "{said}");
}

#[test]
fn an_agent_that_stays_is_ended_after_two_seconds() {
    let (output, took) = agent(&format!("{DONE}; exec sleep 60"));
    assert_eq!(output.status.code(), Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(stdout(&output).contains(r#""killed":true"#));
}

#[test]
fn an_agent_that_dies_is_told_by_its_signal() {
    let (output, _) = agent("kill -9 $$");
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains(r#""signal":9"#));
}

#[test]
fn a_program_that_is_not_there_is_127() {
    let output = start(&["/nobody/here"]).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(127));
    assert!(stdout(&output).contains(r#""did":"failed""#));
}

#[test]
fn a_line_without_end_is_passed_over() {
    let (output, _) = agent(&format!("head -c 9000000 /dev/zero | tr '\\0' x; echo; {DONE}"));
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains(r#""did":"skipped""#));
    assert!(output.stdout.len() < 1 << 20);
}

#[test]
fn a_prompt_that_is_larger_than_a_pipe_meets_an_agent_that_talks_first() {
    let talk = "head -c 1000000 /dev/zero | tr '\\0' '\\n'";
    let script = format!("{talk}\n{HANDSHAKE}{DONE}");
    let mut command = Command::new(BINARY);
    command.args(["__acp", r#"{"cwd":"/"}"#, "--", "sh", "-c", &script]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&vec![b'a'; 1 << 20]).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

/// Stops an agent in its turn, which goes on with `rest`: what was said until the end, and the client's exit code.
fn stopped(rest: &str) -> (String, Option<i32>) {
    let mut child = start(&["sh", "-c", &format!("{HANDSHAKE}echo '{{\"ready\":1}}'; {rest}")]);
    let (mut out, mut said) = (BufReader::new(child.stdout.take().unwrap()), String::new());
    while !said.contains("ready") {
        assert!(out.read_line(&mut said).unwrap() > 0, "it ended before its turn: {said}");
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    out.read_to_string(&mut said).unwrap();
    (said, child.wait().unwrap().code())
}

#[test]
fn a_stop_cancels_the_turn() {
    // The script hears of the cancel, and answers as the protocol wants it.
    let rest = r#"while read -r line; do case "$line" in *session/cancel*)
      echo '{"jsonrpc":"2.0","id":3,"result":{"stopReason":"cancelled"}}' ;; esac; done"#;
    let (said, code) = stopped(rest);
    assert_eq!(code, Some(1));
    assert!(said.contains(r#""stop":"cancelled""#), "{said}");
}

#[test]
fn an_agent_that_dies_of_our_stop_has_not_crashed() {
    let rest = r#"while read -r line; do case "$line" in *session/cancel*) kill -9 $$ ;; esac; done"#;
    let (said, _) = stopped(rest);
    assert!(said.contains(r#""signal":null"#), "{said}");
}

/// A repository where the agent `it` is a script that speaks ACP.
fn scripted(turn: &str) -> Env {
    let mut env = Env::new();
    env.unset("MAESTRO_CI_ALLOW_UNSANDBOXED");
    env.write("prd.md", &prd(&[("FR-1", "write the file")]));
    env.write(".qwen/settings.json", "{\"old\": true}\n");
    env.commit("prd");
    std::fs::write(env.path("agent.sh"), format!("{HANDSHAKE}{turn}\n{DONE}")).unwrap();
    env
}

fn run(env: &Env, more: &[&str]) -> Run {
    let script = env.path("agent.sh").display().to_string();
    let (agent, read) =
        (format!("agents.it={{protocol: acp, command: sh {script}}}"), format!("sandbox.read=[{script}]"));
    env.run(&[&["--prd", "prd.md", "--agent", "it", "--set", &agent, "--set", &read], more].concat())
}

#[test]
fn a_model_that_is_not_offered_is_a_matter_of_the_configuration() {
    let env = scripted("");
    let ended = run(&env, &["--model", "nobody"]).exits(7).says("lets no client choose its model");
    env.check_run(&ended);
    let report = env.report();
    let attempts = report["tasks"][0]["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    assert_eq!((&attempts[0]["fault"]["class"], &attempts[0]["terminal"]["why"]), (&"agent".into(), &"model".into()));
}

#[test]
fn a_file_that_the_program_rewrites_by_itself_is_no_change() {
    let env = scripted("echo '{\"new\": true}' > .qwen/settings.json; echo hello > hello.txt");
    let ended = run(&env, &[]).exits(0);
    env.check_run(&ended);
    let changed: Vec<String> =
        env.report()["changes"]["files"].as_array().unwrap().iter().map(|f| f["path"].to_string()).collect();
    assert_eq!(changed, ["\"hello.txt\""]);
}

#[test]
fn what_an_agent_says_that_it_used_counts_where_no_gateway_saw_it() {
    let usage = r#"echo '{"jsonrpc":"2.0","id":3,"result":{"stopReason":"end_turn","usage":{"inputTokens":900,"outputTokens":100}}}'; exec sleep 1"#;
    let mut env = scripted(&format!("echo hello > hello.txt; {usage}"));
    env.set("ANTHROPIC_API_KEY", "real-key");
    env.set("ANTHROPIC_BASE_URL", "http://127.0.0.1:9");
    let ended = run(&env, &[]).exits(0);
    env.check_run(&ended);
    let budget = &env.report()["budget"];
    assert_eq!((&budget["tokens"]["used"], &budget["source"]), (&1000.into(), &"reported".into()));
}
