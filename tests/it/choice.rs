//! Which agent a run takes, with which key, and where its calls may go: what is refused, what is noted, what is said of
//! it. The agents are fakes.

use serde_json::Value;

use crate::agent_world::{ACP, CLAUDE, CODEX, Cli, OPENCODE, REAL_KEY, World, words};
use crate::env::{Env, prd};
use crate::runs::WRITES_A_FILE;

/// A repository with an approved PRD of one requirement.
fn world() -> Env {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "first")]));
    env.commit("prd");
    env
}

/// The same with a configuration.
fn configured(config: &str) -> Env {
    let env = world();
    env.write(".flow/maestro/config.yaml", config);
    env.commit("config");
    env
}

const NO_MODEL: Cli = Cli { model: None, ..OPENCODE };

fn notes(env: &Env) -> Vec<String> {
    let report = env.report();
    report["notes"].as_array().unwrap().iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

// --- keys and addresses ---

#[test]
fn opencode_without_a_key_runs_past_no_gateway() {
    let mut world = World::new("").install(&OPENCODE);
    for command in ["run", "check"] {
        let args = [&[command][..], &world.args(&NO_MODEL, &[])].concat();
        world.env.run(&args).exits(6).says("agent `opencode` needs an API key").says("OPENAI_API_KEY");
    }
    let auto: Vec<&str> = world.args(&Cli { name: "auto", ..NO_MODEL }, &[]);
    world.env.run(&auto).exits(6).says("no agent can work here");
    world.env.set("ANTHROPIC_API_KEY", REAL_KEY);
    let args = [&["check"][..], &world.args(&OPENCODE, &[])].concat();
    world.env.run(&args).exits(6).says("OPENAI_API_KEY is not set");
    let foreign = Cli { model: Some("opencode/big-pickle"), ..OPENCODE };
    let args = [&["check"][..], &world.args(&foreign, &[])].concat();
    world.env.run(&args).exits(2).says("does not serve `opencode`").says("openai/…");
    assert_eq!(world.server.total().requests, 0);
}

#[test]
fn an_upstream_that_nobody_asks_for_is_refused() {
    for (upstream, says) in [
        ("antropic: https://a.example", "did you mean `anthropic`?"),
        ("opencode: https://a.example", "have no one API"),
        ("mine: https://a.example", "the protocol `acp` have no one API"),
        ("anthropic: http://a.example", "plain http"),
        ("anthropic: 'a.example/v1'", "expected an address"),
    ] {
        let agents = "agents: {mine: {protocol: acp, command: a}}";
        let config = format!("{agents}\ngateway: {{upstream: {{{upstream}}}}}\n");
        configured(&config).run(&["--prd", "prd.md", "--agent-cmd", "true"]).exits(2).says(says).says("config.yaml:2");
    }
    let mut world = World::new("").with(&CLAUDE, "ok");
    world.env.set("ANTHROPIC_BASE_URL", "http://127.0.0.1.evil.example");
    world.env.run(&world.args(&CLAUDE, &[])).exits(2).says("ANTHROPIC_BASE_URL: ").says("plain http");
}

#[test]
fn the_password_of_an_address_is_never_shown() {
    let world = World::new("").with(&CLAUDE, "ok");
    let address = world.server.url("ok", "it").replace("http://", "http://user:secret@");
    let world = world.set(&format!("gateway.upstream.claude={address}"));
    let run = world.env.run(&[&["check"][..], &world.args(&CLAUDE, &[])].concat()).exits(0);
    let run = run.prints("claude → gateway → anthropic at http://127.0.0.1:").prints("with ANTHROPIC_API_KEY");
    assert!(!run.stdout.contains("secret") && !run.stderr.contains("secret"), "{}\n{}", run.stdout, run.stderr);
}

#[test]
fn calls_that_nobody_counts_are_noted() {
    let mut env = world();
    let unmetered = "its calls are not metered";
    env.run(&["check", "--prd", "prd.md", "--agent-cmd", "true"]).exits(0).prints(unmetered);
    env.run_prd(WRITES_A_FILE, &[]).exits(0);
    assert!(notes(&env).iter().any(|note| note.contains(unmetered)), "{:?}", notes(&env));
    env.set("OPENAI_API_KEY", REAL_KEY);
    let run = env.run(&["check", "--prd", "prd.md", "--agent-cmd", "true"]).exits(0);
    assert!(!run.stdout.contains(unmetered), "{}", run.stdout);
    let world = World::new("").install(&ACP);
    let run = world.env.run(&[&["check"][..], &world.args(&ACP, &[])].concat()).exits(0);
    run.prints("agent `acp`: no key of an API that the gateway serves is set");
}

#[test]
fn without_the_gateway_auto_takes_an_agent_that_has_a_login() {
    let mut world = World::new("").install(&CLAUDE).install(&CODEX).set("gateway.enabled=false");
    let auto = Cli { name: "auto", model: None, ..CLAUDE };
    world.env.run(&world.args(&auto, &[])).exits(6).says("CLAUDE_CODE_OAUTH_TOKEN").says("CODEX_API_KEY");
    world.env.set("CODEX_API_KEY", REAL_KEY);
    let run = world.env.run(&world.args(&auto, &["--dry-run"])).exits(0);
    run.prints("agent: codex");
    let args = [&["check"][..], &world.args(&CLAUDE, &[])].concat();
    world.env.run(&args).exits(6).says("agent `claude` has no login").says("claude setup-token");
}

// --- names ---

#[test]
fn roles_are_compared_without_case_and_one_that_nobody_has_is_noted() {
    let config = "agents:\n  a: {command: 'echo a > who.txt'}\n  b: {command: 'echo b > who.txt'}\n\
                  agent: {default: a, roles: {testing: b, docs: a}}\n";
    let env = configured(config);
    let task = "\n## Tasks\n\n### T-001: test it\n\n- Requirements: FR-1\n- Role: Testing\nAs well as you can.\n";
    env.write("prd.md", &format!("{}{task}", prd(&[("FR-1", "first")])));
    env.commit("task");
    let check = env.run(&["check", "--prd", "prd.md"]).exits(0);
    let check = check.prints("agent       a\n").prints("            role testing: b\n");
    let check = check.prints("`agent.roles.docs`: no task of the plan has this role");
    assert!(!check.stdout.contains("agent.roles.testing"), "{}", check.stdout);
    let run = env.run(&["--prd", "prd.md"]).exits(0);
    env.check_run(&run);
    assert_eq!(env.show("maestro/feature", "who.txt").as_deref(), Some("b\n"));
    assert!(notes(&env).iter().any(|note| note.contains("agent.roles.docs")));
}

#[test]
fn a_dry_run_says_which_agent_there_is_not_and_limits_in_words() {
    let env = world();
    env.run(&["--prd", "prd.md", "--dry-run", "--agent", "codx"]).exits(6).says("did you mean `codex`?");
    let sets = ["--dry-run", "--max-cost", "1.5", "--set", "resource_limits.task.max_tokens=20000"];
    let run = env.run_prd("true", &sets).exits(0);
    let run = run.prints("agent: command").prints("budget: 1 h 0 min, 1.0M tokens, 1000 API calls, $1.50\n");
    run.prints("20.0k tokens\n");
}

#[test]
fn a_flag_wins_over_a_variable_and_an_empty_variable_is_none() {
    let mut env = configured("agents:\n  a: {command: 'echo a > who.txt'}\n");
    env.set("MAESTRO_CI_AGENT_CMD", "echo b > who.txt");
    env.set("MAESTRO_CI_MAX_COST", "");
    env.set("MAESTRO_CI_MAX_TOKENS", "");
    env.set("MAESTRO_CI_FORCE", "");
    env.run(&["--prd", "prd.md", "--agent", "a"]).exits(0);
    assert_eq!(env.show("maestro/feature", "who.txt").as_deref(), Some("a\n"));
    env.set("MAESTRO_CI_AGENT", "a");
    env.run(&["--prd", "prd.md"]).exits(2).says("MAESTRO_CI_AGENT and MAESTRO_CI_AGENT_CMD");
    env.run(&["--prd", "prd.md", "--agent", "a", "--agent-cmd", "true"]).exits(2).says("`--agent` and `--agent-cmd`");
    env.set("MAESTRO_CI_MODEL", "gpt-5.5");
    env.run(&["--prd", "prd.md", "--agent-cmd", "echo c > who.txt", "--branch", "other"]).exits(0);
    assert_eq!(env.show("other", "who.txt").as_deref(), Some("c\n"));
}

#[test]
fn a_model_for_what_has_none_is_refused() {
    let env = configured("agents:\n  s: {protocol: steps}\n");
    let model = ["--model", "gpt-5.5"];
    env.run_prd("true", &model).exits(2).says("--model gpt-5.5").says("has no model to choose");
    env.run(&[&["--prd", "prd.md", "--agent", "s"][..], &model].concat()).exits(2).says("`s` (steps)");
}

#[test]
fn a_wrapped_agent_has_its_own_version() {
    let world = World::new("").with(&CLAUDE, "ok").set("agents.claude={protocol: claude, command: nice claude}");
    let check = world.env.run(&[&["check"][..], &world.args(&CLAUDE, &[])].concat()).exits(0);
    check.prints("2.1.329 (tested with maestro-ci)");
    world.run(&CLAUDE, &[]).exits(0);
    assert_eq!(world.env.report()["agents"][0]["version"], "2.1.329");
}

// --- resume ---

#[test]
fn a_resume_takes_no_flag_that_it_cannot_follow() {
    let env = world();
    for (flag, says) in [("--dry-run", "run --dry-run"), ("--fresh", "run --fresh"), ("--force", "needs no force")] {
        env.run(&["resume", flag]).exits(2).says(flag).says(says);
    }
}

#[test]
fn what_a_resume_changes_is_in_the_report() {
    let env = world();
    let agent = "test -e ../../../later || exit 75; echo x > x";
    let agent = agent.replace("../../../later", &env.path("later").display().to_string());
    let run = env.run_prd(&agent, &["--set", "error_recovery.max_retry_attempts=0"]).exits(7);
    assert!(!notes(&env).iter().any(|note| note.contains("gateway.enabled")));
    let session = env.report()["session"].as_str().unwrap().to_owned();
    run.says(&format!("→ go on: maestro-ci resume {session} --allow-unsandboxed · reports: "));
    let status = env.run(&["status"]).exits(0).prints(&format!("Go on    maestro-ci resume {session}"));
    status.prints("Reports  ").prints(&format!(".flow/maestro/sessions/{session}\n"));
    std::fs::write(env.path("later"), "").unwrap();
    let run = env.run(&["resume", "--set", "gateway.enabled=false"]).exits(0).says("– gateway.enabled is false");
    env.check_run(&run);
    let note = "since a resume: gateway.enabled is false";
    assert!(notes(&env).iter().any(|n| n.starts_with(note)), "{:?}", notes(&env));
    assert!(!run.stderr.contains("go on:"), "{}", run.stderr);
}

// --- words ---

#[test]
fn a_refused_key_is_named_with_its_variable_and_its_api() {
    let world = World::new("").with(&CLAUDE, "401").once();
    let run = world.run(&CLAUDE, &[]).exits(7);
    let run = run.says("claude → anthropic at http://127.0.0.1:").says("HTTP 401, key of ANTHROPIC_API_KEY");
    run.says("→ go on: maestro-ci resume ");
    let report = world.env.report();
    assert_eq!(words(&report, "agent"), ["claude"]);
    assert_eq!(report["agents"][0]["apis"][0]["key"], "ANTHROPIC_API_KEY");
}

#[test]
fn help_names_the_agents_and_what_can_be_resumed() {
    let env = world();
    let help = env.run(&["run", "--help"]).exits(0);
    help.prints("claude, codex, gemini, opencode, qwen").prints("auto");
    env.run(&["resume", "--help"]).exits(0).prints("7");
}
