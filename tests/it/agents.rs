//! Every CLI of the built-in adapters and an ACP agent behind the gateway and the walls: work, books, keys, roles,
//! fallbacks, `check`, and life without the gateway. The agent is the fake; everything else is real.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::agent_world::{
    ACP, CLAUDE, CLIS, CODEX, Cli, GEMINI, OPENCODE, QWEN, REAL_KEY, World, attempt, attempts, check_books, each,
    tokens, words,
};

#[test]
fn every_agent_does_its_task_and_used_to_the_token_what_was_billed() {
    each(&CLIS, |cli| {
        let world = World::new("").with(cli, "ok");
        world.run(cli, &[]).exits(0).says("isolation L1");
        assert_eq!(world.env.show("maestro/feature", "hello.txt").as_deref(), Some("hello maestro\n"));
        let report = world.env.report();
        let attempt = attempt(&report);
        assert_eq!(attempt["terminal"]["state"], "completed");
        assert_eq!(attempt["usage"]["source"], "gateway");
        assert_eq!(report["isolation"]["level"], "L1");
        let agent = &report["agents"][0];
        assert_eq!((agent["name"].as_str(), agent["version"].as_str()), (Some(cli.name), cli.version));
        let count = world.count("ok");
        assert_eq!(count.calls, 3);
        check_books(&report, &count);
    });
}

#[test]
fn what_an_agent_says_of_its_usage_is_kept_and_binds_nobody() {
    each(&[CODEX, GEMINI], |cli| {
        let world = World::new(",usage_lies").with(cli, "ok");
        world.run(cli, &[]).exits(0);
        let report = world.env.report();
        let count = world.count("ok");
        check_books(&report, &count);
        let said = &attempt(&report)["reported_usage"];
        let said = said["input_tokens"].as_u64().unwrap() + said["output_tokens"].as_u64().unwrap();
        assert!(said < tokens(&count.billed) / 10, "it said {said}");
    });
}

// --- keys ---

/// Headers in which keys travel.
const KEY_HEADERS: [&str; 3] = ["authorization", "x-api-key", "x-goog-api-key"];

#[test]
fn the_real_key_reaches_the_server_and_no_agent() {
    each(&CLIS, |cli| {
        let world = World::new(&format!(",leak={REAL_KEY}")).with(cli, "ok");
        world.run(cli, &[]).exits(0);
        let leak = leaked(&world);
        let env = leak["env"].to_string();
        assert!(!env.contains(REAL_KEY), "it has the key: {env}");
        assert!(env.contains("maestro-ci"), "it has nothing in place of a key: {env}");
        assert_eq!(leak["found"], Value::Array(Vec::new()), "it found the key in another process");
        let seen = world.server.seen();
        assert_eq!(seen.len(), 3);
        for request in seen {
            let keys = request.headers.iter().filter(|(name, _)| KEY_HEADERS.contains(&name.as_str()));
            let keys: Vec<&str> = keys.map(|(_, value)| value.trim_start_matches("Bearer ")).collect();
            assert_eq!(keys, [REAL_KEY], "{}", request.line);
        }
    });
}

/// What the misbehaviour `leak` found out.
#[track_caller]
fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn leaked(world: &World) -> Value {
    serde_json::from_str(&world.env.show("maestro/feature", "leak.json").unwrap()).unwrap()
}

// --- the repository's settings ---

/// Arguments and variables with which an agent leaves them alone, and those with which it trusts the checkout.
fn about_the_repository(agent: &str) -> (&[&str], &[&str]) {
    match agent {
        "claude" => (&["--setting-sources", "--strict-mcp-config"], &[]),
        "codex" => (&["--ignore-rules"], &["--trust", "--dangerously-bypass-hook-trust"]),
        "gemini" => (&[], &["GEMINI_CLI_TRUST_WORKSPACE=true"]),
        "opencode" => (&["--pure", "OPENCODE_PURE=1", "OPENCODE_DISABLE_PROJECT_CONFIG=1"], &[]),
        "qwen" => (&["--safe-mode", "QWEN_CODE_SAFE_MODE=1"], &[]),
        _ => (&["OPENCODE_DISABLE_PROJECT_CONFIG=1", "QWEN_CODE_SAFE_MODE=1"], &["GEMINI_CLI_TRUST_WORKSPACE=true"]),
    }
}

#[test]
fn settings_of_the_repository_are_let_in_by_the_configuration_alone() {
    each(&CLIS, |cli| {
        for is_let_in in [false, true] {
            let cli = &Cli { entry: None, ..*cli };
            let command = if cli.name == "acp" { "command: claude-agent-acp, " } else { "" };
            let entry = format!("{{protocol: {}, {command}repo_settings: {is_let_in}}}", cli.name);
            let world = World::new(",leak=nothing");
            world.env.write(".flow/maestro/config.yaml", &format!("agents:\n  {}: {entry}\n", cli.name));
            world.env.commit("configuration");
            let world = world.with(cli, "ok");
            world.run(cli, &[]).exits(0);
            let leak = leaked(&world);
            let arguments = leak["argv"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap().to_owned());
            let variables = leak["env"].as_object().unwrap().iter();
            let variables = variables.map(|(name, value)| format!("{name}={}", value.as_str().unwrap()));
            let words: Vec<String> = arguments.chain(variables).collect();
            let has = |word: &str| words.iter().any(|own| own == word);
            let (alone, trusted) = about_the_repository(cli.name);
            assert!(alone.iter().all(|word| has(word) != is_let_in), "{}, {is_let_in}: {words:?}", cli.name);
            assert!(trusted.iter().all(|word| has(word) == is_let_in), "{}, {is_let_in}: {words:?}", cli.name);
            let report = world.env.report();
            assert_eq!(report["agents"][0]["repo_settings"], is_let_in);
            check_books(&report, &world.count("ok"));
        }
    });
}

#[test]
fn check_says_whose_settings_of_the_repository_are_loaded_and_a_command_has_none() {
    let entry = "agents.claude={protocol: claude, repo_settings: true}";
    let world = World::new("").with(&CLAUDE, "ok").set(entry);
    let check = world.env.run(&[&["check"][..], &world.args(&CLAUDE, &[])].concat()).exits(0);
    check.prints("claude loads the settings, hooks and servers of the repository");
    let wrong = ["--set", "agents.own={protocol: command, command: cat, repo_settings: true}"];
    let check = world.env.run(&[&["check"][..], &world.args(&CLAUDE, &wrong)].concat()).exits(2);
    check.says("agents of the protocol `command` are kept from no settings of the repository");
}

#[test]
fn without_the_gateway_an_agent_has_the_key_and_its_word_is_all_there_is() {
    each(&[CLAUDE, GEMINI, QWEN], |cli| {
        let entry = format!("agents.{0}={{protocol: {0}, env_pass: [{1}]}}", cli.name, cli.address);
        let world = World::new(",leak=digests").with(cli, "ok").set("gateway.enabled=false").set(&entry);
        world.run(cli, &[]).exits(0);
        assert_eq!(leaked(&world)["env"][cli.key], sha256(REAL_KEY));
        let report = world.env.report();
        assert_eq!(report["budget"]["source"], "reported");
        assert_eq!(attempt(&report)["usage"]["source"], "reported");
        assert_eq!(report["budget"]["tokens"]["used"], tokens(&world.count("ok").billed));
        let notes: Vec<&str> = report["notes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let note = notes.iter().find(|note| note.contains("gateway.enabled is false"));
        assert!(note.is_some_and(|note| note.contains("limit")), "nothing says what it costs: {notes:?}");
        // What an agent does not say is unknown, and not nothing.
        let cost = report["budget"]["cost_microusd"]["used"].as_u64().unwrap();
        assert!(cost > 0 || report["budget"]["unpriced_calls"].as_u64().unwrap() > 0);
    });
}

// --- several agents ---

/// A PRD with this many independent tasks, each with a role and a file of its own.
fn roles(count: usize) -> String {
    let mut text =
        "---\nprd:\n  feature_name: feature\n  status: approved\n---\n\n# PRD: feature\n\n## Requirements\n\n\
        | ID | Requirement | Priority |\n|---|---|---|\n"
            .to_owned();
    for n in 1..=count {
        text.push_str(&format!("| FR-{n} | part {n} | P1 |\n"));
    }
    text.push_str("\n## Tasks\n");
    for n in 1..=count {
        text.push_str(&format!("\n### T-00{n}: part {n}\n\n- Requirements: FR-{n}\n- Role: role-{n}\n\n"));
        text.push_str(&format!("fake: delay=0.02 fake-file: part-{n}.txt\n"));
    }
    text
}

#[test]
fn four_agents_side_by_side_follow_their_roles_and_share_one_ledger() {
    let world = World::of(&roles(4));
    let world = [CLAUDE, CODEX, GEMINI, QWEN].iter().fold(world, |world, cli| world.with(cli, "slow-5"));
    let world = world.set("agent.roles={role-2: codex, role-3: gemini, role-4: qwen}");
    let world = world.set("agents.qwen={protocol: qwen, model: gpt-5.5}");
    world.run(&Cli { model: None, ..CLAUDE }, &["-j4"]).exits(0);
    let report = world.env.report();
    for (task, cli) in [CLAUDE, CODEX, GEMINI, QWEN].iter().enumerate() {
        let attempts = attempts(&report, task);
        assert_eq!((attempts.len(), attempts[0]["agent"].as_str()), (1, Some(cli.name)));
        assert!(world.env.show("maestro/feature", &format!("part-{}.txt", task + 1)).is_some(), "{}", cli.name);
    }
    let names: Vec<&str> = report["agents"].as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["claude", "codex", "gemini", "qwen"]);
    check_books(&report, &world.count("slow-5"));
}

#[test]
fn where_an_agent_is_not_served_the_next_one_takes_over() {
    let world = World::new("").with(&CLAUDE, "401").with(&CODEX, "ok").set("agent.fallback=[codex]");
    world.run(&Cli { model: None, ..CLAUDE }, &[]).exits(0).says("fall back to another agent");
    let report = world.env.report();
    assert_eq!(words(&report, "agent"), ["claude", "codex"]);
    assert_eq!(words(&report, "strategy"), ["first", "fallback"]);
    assert_eq!(attempts(&report, 0)[0]["fault"]["reason"], "auth");
    let (refused, served) = (world.count("401"), world.count("ok"));
    assert_eq!(report["budget"]["tokens"]["used"], tokens(&served.billed));
    assert_eq!(report["budget"]["api_calls"]["used"], refused.requests + served.requests);
}

#[test]
fn a_model_that_the_api_does_not_know_is_no_poor_work() {
    let world = World::new("").with(&CLAUDE, "404");
    let run = world.run(&CLAUDE, &[]).exits(7).says("--model");
    assert!(run.stderr.contains(&format!("`{}`", CLAUDE.model.unwrap())), "{}", run.stderr);
    let report = world.env.report();
    assert_eq!(attempts(&report, 0).len(), 1, "another approach does not make the model known");
    let fault = &attempt(&report)["fault"];
    assert_eq!((&fault["class"], &fault["reason"]), (&"agent".into(), &"model".into()));
    let world = World::new("").with(&CLAUDE, "404").with(&CODEX, "ok").set("agent.fallback=[codex]");
    world.run(&Cli { model: None, ..CLAUDE }, &[]).exits(0);
    assert_eq!(words(&world.env.report(), "agent"), ["claude", "codex"]);
}

#[test]
fn an_agent_that_is_silent_because_its_api_is_is_not_blamed() {
    let world = World::new("").with(&CLAUDE, "stall+whole").once().set("resource_limits.idle_seconds=4");
    world.run(&CLAUDE, &[]).exits(7);
    let fault = attempt(&world.env.report())["fault"].clone();
    assert_eq!((&fault["class"], &fault["reason"]), (&"transient".into(), &"rate".into()), "{fault}");
}

#[test]
fn where_a_limit_and_an_api_both_leave_work_undone_both_are_told() {
    let world = World::of(&roles(2)).with(&CLAUDE, "429").once().set("agent.roles={role-2: own}");
    let world = world.set("agents.own={protocol: command, command: 'echo x > a; echo x > b'}");
    let world = world.set("resource_limits.task.max_changed_files=1");
    world.run(&Cli { model: None, ..CLAUDE }, &[]).exits(5);
    let report = world.env.report();
    assert_eq!(report["budget"]["stopped_by"]["task"], "T-002");
    assert!(report["resume_after"].is_string(), "the API said when it serves T-001 again");
}

#[test]
fn after_a_second_failure_the_next_agent_takes_over() {
    let world = World::new("").with(&CLAUDE, "text").with(&CODEX, "ok").set("agent.fallback=[codex]");
    world.run(&Cli { model: None, ..CLAUDE }, &[]).exits(0);
    let report = world.env.report();
    assert_eq!(words(&report, "agent"), ["claude", "claude", "codex"]);
    assert_eq!(words(&report, "strategy"), ["first", "alternative", "fallback"]);
    let decisions = world.env.run(&["log", "--kind", "decision"]).exits(0);
    decisions.prints("fall back to another agent").prints("`codex`");
}

#[test]
fn a_misspelt_agent_is_told_before_anything_starts() {
    for key in ["agent.roles={docs: codx}", "agent.fallback=[codx]", "agent.default=codx"] {
        let world = World::new("").with(&CLAUDE, "ok").with(&CODEX, "ok").set(key);
        let mut args = world.args(&CLAUDE, &[]);
        if key.starts_with("agent.default") {
            args.retain(|arg| !["--agent", "claude"].contains(arg));
        }
        let run = world.env.run(&args).exits(6).says("`codx`").says("did you mean `codex`?");
        assert!(!run.stderr.contains("Phase"), "it began: {}", run.stderr);
        assert_eq!(world.server.total().requests, 0);
        assert!(!world.env.repo.join(".flow/maestro/sessions").exists(), "a session was made");
    }
}

#[test]
fn an_agent_without_a_key_or_a_program_is_told_before_anything_starts() {
    let world = World::new("").install(&CLAUDE);
    world.env.run(&world.args(&CLAUDE, &[])).exits(6).says("ANTHROPIC_API_KEY is not set").says("gateway.enabled");
    let world = World::new("").with(&Cli { program: "elsewhere", ..CLAUDE }, "ok");
    let world = world.set("agents.claude={protocol: claude, command: nowhere}");
    world.env.run(&world.args(&CLAUDE, &[])).exits(6).says("the program `nowhere` is not installed");
}

#[test]
fn auto_is_the_first_installed_agent_that_has_a_key() {
    let world = World::new("").install(&CLAUDE).install(&QWEN).with(&GEMINI, "ok");
    let mut args = world.args(&Cli { model: None, ..CLAUDE }, &[]);
    args.retain(|arg| !["--agent", "claude"].contains(arg));
    let run = world.env.run(&args).exits(0);
    world.env.check_run(&run);
    assert_eq!(words(&world.env.report(), "agent"), ["gemini"]);
}

// --- check ---

#[test]
fn check_shows_each_agent_and_proves_a_tool_call_at_no_cost() {
    each(&CLIS, |cli| {
        let world = World::new("").with(cli, "ok");
        let args = world.args(cli, &[]);
        let run = world.env.run(&[&["check"][..], &args[..]].concat()).exits(0);
        let run = run.prints(&format!("{} → gateway → ", cli.name)).prints(&world.server.url("ok", ""));
        let run = run.prints(&format!("{}: its tools and a shell command work inside the walls", cli.name));
        run.prints(cli.version.unwrap_or("version not known"));
        assert_eq!(world.server.total().requests, 0, "the proof was paid for");
        world.env.check_nothing_left();
    });
}

#[test]
fn check_finds_the_agent_whose_tools_do_nothing() {
    for (cli, last) in [(CLAUDE, "exit 0"), (CODEX, "echo no sandbox here >&2; exit 1"), (OPENCODE, "exit 0")] {
        let world = World::new("").with(&Cli { program: "unused", ..cli }, "ok");
        let program = world.env.path("bin").join(cli.program);
        fs::write(&program, format!("#!/bin/sh\n[ \"$1\" != --version ] || echo 2.1.329\n{last}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let args = world.args(&cli, &[]);
        let run = world.env.run(&[&["check"][..], &args[..]].concat()).exits(6).says("cannot use its tools here");
        assert!(cli.name != "codex" || run.stderr.contains("no sandbox here"), "its last words are missing");
    }
}

#[test]
fn an_agent_may_speak_acp_under_any_name() {
    let entry = "agents.mine={protocol: acp, command: claude-agent-acp}";
    let world = World::new("").with(&ACP, "two").set(entry);
    world.run(&Cli { name: "mine", ..ACP }, &[]).exits(0);
    let report = world.env.report();
    assert_eq!(attempt(&report)["agent"], "mine");
    check_books(&report, &world.count("two"));
}
