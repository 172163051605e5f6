//! What goes wrong between an agent and its model API, and with the agent itself: what it is called, what follows, how
//! the run ends, and that the books hold: nothing that was billed is missing, and what nobody counted is estimated.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::agent_world::{
    ACP, CLAUDE, CLIS, CODEX, Cli, GEMINI, OPENCODE, QWEN, World, attempt, attempts, check_books, check_bounds, each,
    end_of, words,
};
use crate::env::{SLACK, wait_until};

const FIVE: [Cli; 5] = [CLAUDE, CODEX, GEMINI, OPENCODE, QWEN];

/// How an attempt has to have ended: class and reason of its fault, and what its stream ended as.
#[track_caller]
fn ended(attempt: &Value, class: &str, reason: &str, terminal: &str) {
    let fault = &attempt["fault"];
    let found = [&fault["class"], &fault["reason"], &attempt["terminal"]["state"]];
    assert_eq!(found, [class, reason, terminal], "{fault}");
}

// --- the API refuses ---

/// Two refusals, which the agent gets over by itself.
fn gets_over(cli: &Cli, scenario: &str) {
    let world = World::new("").with(cli, scenario);
    world.run(cli, &[]).exits(0);
    let (report, count) = (world.env.report(), world.count(scenario));
    assert_eq!(attempt(&report)["terminal"]["state"], "completed");
    assert_eq!((count.requests, count.refused, count.calls), (5, 2, 3));
    check_books(&report, &count);
    assert_eq!(world.journal().matches("\"trouble\":").count(), 2, "both refusals are on record");
}

#[test]
fn a_429_that_an_agent_gets_over_costs_calls_and_nothing_else() {
    // Codex never tries again after one.
    each(&[CLAUDE, GEMINI, OPENCODE, QWEN, ACP], |cli| gets_over(cli, "429x2"));
}

#[test]
fn a_broken_server_that_an_agent_gets_over_costs_calls_and_nothing_else() {
    each(&CLIS, |cli| gets_over(cli, "500x2"));
}

#[test]
fn an_agent_that_gives_up_on_a_429_is_tried_again_when_the_api_said_so() {
    let world = World::new("").with(&CODEX, "429x1");
    world.run(&CODEX, &[]).exits(0);
    let (report, count) = (world.env.report(), world.count("429x1"));
    let attempts = attempts(&report, 0);
    ended(&attempts[0], "transient", "rate", "unavailable");
    assert_eq!(words(&report, "strategy"), ["first", "retry"]);
    let resume_after = attempts[0]["fault"]["resume_after_ms"].as_i64().unwrap();
    // Two clocks of one millisecond each.
    assert!(attempts[1]["started_ms"].as_i64().unwrap() + 5 >= resume_after, "{report}");
    check_books(&report, &count);
}

/// An API that does not serve this key, now or later.
fn not_served(cli: &Cli, scenario: &str, why: &str) {
    let world = World::new("").with(cli, scenario);
    world.run(cli, &[]).exits(7).says(scenario);
    let (report, count) = (world.env.report(), world.count(scenario));
    let attempt = attempt(&report);
    ended(attempt, "agent", why, "unavailable");
    assert_eq!(attempt["terminal"]["why"], why);
    assert_eq!((&report["verdict"], &report["resumable"]), (&"agent".into(), &true.into()));
    assert_eq!(report["tasks"][0]["status"], "parked");
    assert_eq!(report["resume_after"], Value::Null, "nobody said when");
    check_books(&report, &count);
}

#[test]
fn an_api_that_does_not_know_the_key_ends_in_exit_seven() {
    each(&CLIS, |cli| not_served(cli, "401", "auth"));
}

#[test]
fn an_api_that_wants_money_ends_in_exit_seven() {
    each(&CLIS, |cli| not_served(cli, "402", "quota"));
}

#[test]
fn a_429_for_ever_ends_in_exit_seven_and_says_when_to_come_back() {
    each(&[CLAUDE, CODEX, GEMINI, QWEN, ACP], |cli| {
        let world = World::new("").with(cli, "429").once();
        world.run(cli, &[]).exits(7);
        let (report, count) = (world.env.report(), world.count("429"));
        let attempt = attempt(&report);
        ended(attempt, "transient", "rate", "unavailable");
        let told = attempt["fault"]["resume_after_ms"].as_i64().unwrap();
        assert!(told >= attempt["started_ms"].as_i64().unwrap() + 1000, "retry-after was a second");
        assert!(report["resume_after"].is_string() && report["resumable"] == true, "{}", report["resume_after"]);
        check_books(&report, &count);
    });
}

#[test]
fn an_agent_that_waits_for_an_api_without_end_is_not_blamed_for_it() {
    // It tries again for ever and says nothing meanwhile: the silence is the API's. An interpreter has to start in it.
    let world = World::new("").with(&OPENCODE, "429").once().set("resource_limits.idle_seconds=4");
    world.run(&OPENCODE, &[]).exits(7);
    let (report, count) = (world.env.report(), world.count("429"));
    let fault = &attempt(&report)["fault"];
    assert_eq!((&fault["class"], &fault["reason"]), (&"transient".into(), &"rate".into()), "{fault}");
    check_books(&report, &count);
}

#[test]
fn a_request_that_the_api_finds_wrong_is_a_failure_of_the_attempt() {
    each(&CLIS, |cli| {
        let world = World::new("").with(cli, "400").once();
        world.run(cli, &[]).exits(1);
        let report = world.env.report();
        ended(attempt(&report), "implementation", "agent_failed", "failed");
        assert!(attempt(&report)["terminal"]["reason"].as_str().unwrap().contains("scripted 400"));
        check_books(&report, &world.count("400"));
    });
}

// --- answers that break off ---

/// Answers that never come whole, and the reason and exit code that each CLI makes of them. Opencode would try again
/// until a limit holds it.
fn breaks_off(scenario: &str, expected: &[(Cli, &str, i32); 5]) {
    each(&expected.each_ref().map(|(cli, ..)| *cli), |cli| {
        // What is assumed adds up with every try: no limit may end it before the agent does.
        let world = World::new("").with(cli, scenario).once().set("resource_limits.max_tokens=10000000");
        let run = world.run(cli, &[]);
        let (report, count) = (world.env.report(), world.count(scenario));
        let reason = attempt(&report)["fault"]["reason"].as_str().unwrap().to_owned();
        let (_, why, code) = expected.iter().find(|(of, ..)| of.name == cli.name).unwrap();
        assert_eq!((reason.as_str(), run.code), (*why, *code), "{}: {}", cli.name, run.stderr);
        assert!(report["budget"]["estimated_tokens"].as_u64().unwrap() > 0);
        check_bounds(&report, &count);
    });
}

#[test]
fn of_an_answer_that_is_cut_the_worst_is_assumed() {
    // Claude falls back to an answer that is not streamed, which comes and writes nothing.
    let expected = [(CLAUDE, "no_change", 1), (CODEX, "cut", 7), (GEMINI, "cut", 7), (QWEN, "cut", 7), (ACP, "cut", 7)];
    breaks_off("cut", &expected);
}

#[test]
fn of_an_answer_that_is_no_json_the_worst_is_assumed() {
    let expected = [(CLAUDE, "no_change", 1), (CODEX, "cut", 7), (GEMINI, "cut", 7), (QWEN, "cut", 7), (ACP, "cut", 7)];
    breaks_off("garbage", &expected);
}

#[test]
fn of_an_answer_that_never_began_the_worst_is_assumed() {
    let expected = [(CLAUDE, "rate", 7), (CODEX, "rate", 7), (GEMINI, "rate", 7), (QWEN, "rate", 7), (ACP, "rate", 7)];
    breaks_off("close", &expected);
}

#[test]
fn an_answer_without_usage_counts_at_its_worst_and_the_work_is_done() {
    each(&CLIS, |cli| {
        let world = World::new("").with(cli, "no_usage");
        world.run(cli, &[]).exits(0);
        let (report, count) = (world.env.report(), world.count("no_usage"));
        let budget = &report["budget"];
        assert_eq!(budget["estimated_tokens"], budget["tokens"]["used"], "nobody said a number");
        check_bounds(&report, &count);
    });
}

#[test]
fn an_api_that_falls_silent_is_given_up() {
    // One falls back to an answer that is not streamed, which comes and writes nothing; others give up.
    for (cli, scenario, code, reason) in
        [(CLAUDE, "stall", 1, "no_change"), (ACP, "stall", 7, "rate"), (ACP, "stall_head", 7, "rate")]
    {
        let world = World::new("").with(&cli, scenario).once().set("gateway.stall_seconds=1");
        let run = world.run(&cli, &[]).exits(code);
        assert!(run.took < Duration::from_secs(10), "{:?}", run.took);
        let (report, count) = (world.env.report(), world.count(scenario));
        assert_eq!(attempt(&report)["fault"]["reason"], reason);
        assert!(world.journal().contains("\"trouble\":\"stalled\""));
        check_bounds(&report, &count);
    }
}

#[test]
fn usage_in_the_last_bytes_is_counted() {
    each(&FIVE, |cli| {
        let world = World::new("").with(cli, "late_usage");
        world.run(cli, &[]).exits(0);
        check_books(&world.env.report(), &world.count("late_usage"));
    });
}

// --- how an agent ends ---

/// One attempt of an agent that misbehaves; it fails.
fn fails(cli: &Cli, wish: &str) -> (World, Value) {
    let world = World::new(&format!(",{wish}")).with(cli, "ok").once();
    world.run(cli, &[]).exits(1);
    let report = world.env.report();
    assert_eq!(report["tasks"][0]["status"], "failed");
    assert!(world.env.git(&["for-each-ref", "refs/heads/maestro"]).is_empty(), "the branch moved");
    (world, report)
}

#[test]
fn an_agent_that_hangs_after_its_last_word_is_ended_and_its_work_counts() {
    // Five seconds it is given. Opencode has no last word.
    each(&[CLAUDE, CODEX, GEMINI], |cli| {
        let world = World::new(",hang_after_result").with(cli, "ok");
        let run = world.run(cli, &[]).exits(0);
        assert!(run.took < Duration::from_secs(20), "{:?}", run.took);
        let report = world.env.report();
        assert_eq!(attempt(&report)["terminal"]["state"], "completed");
        check_books(&report, &world.count("ok"));
    });
}

#[test]
fn exit_zero_without_a_last_event_is_no_success() {
    each(&CLIS, |cli| {
        let (world, report) = fails(cli, "no_result");
        ended(attempt(&report), "implementation", "no_terminal_event", "no_terminal_event");
        check_books(&report, &world.count("ok"));
    });
}

#[test]
fn exit_zero_without_a_word_is_no_success() {
    each(&FIVE, |cli| {
        let (_, report) = fails(cli, "exit0_nothing");
        ended(attempt(&report), "implementation", "no_terminal_event", "no_terminal_event");
    });
}

#[test]
fn an_attempt_that_called_nobody_used_nothing() {
    let (world, report) = fails(&CLAUDE, "exit0_nothing");
    // The gateway saw every call there was: none.
    check_books(&report, &world.count("ok"));
}

#[test]
fn a_good_word_with_a_bad_exit_is_no_success() {
    // An ACP agent has ended its turn before it ends; how it exits says nothing any more.
    each(&FIVE, |cli| {
        let (world, report) = fails(cli, "exit1_complete");
        ended(attempt(&report), "implementation", "agent_failed", "failed");
        check_books(&report, &world.count("ok"));
    });
}

#[test]
fn denied_tools_are_counted_and_named() {
    // Codex and ACP agents have no event for it.
    each(&[CLAUDE, OPENCODE, QWEN], |cli| {
        let (world, report) = fails(cli, "deny");
        let attempt = attempt(&report);
        ended(attempt, "implementation", "refused", "refused");
        assert_eq!(attempt["denied_tools"].as_array().map(Vec::is_empty), Some(false));
        for file in ["execution-log.md", "final-report.md", "junit.xml"] {
            let text = std::fs::read_to_string(world.env.session_dir().join(file)).unwrap();
            assert!(text.contains("attempt 1: 2 tool calls were denied: "), "{file}: {text}");
        }
        assert_eq!((&attempt["terminal"]["denials"], &attempt["events"]["denials"]), (&2.into(), &2.into()));
        assert!(attempt["fault"]["message"].as_str().unwrap().contains("2 tool calls were denied: "));
    });
}

#[test]
fn an_agent_that_is_done_and_changed_nothing_is_no_success() {
    each(&CLIS, |cli| {
        let world = World::new("").with(cli, "text").once();
        world.run(cli, &[]).exits(1);
        let report = world.env.report();
        ended(attempt(&report), "implementation", "no_change", "completed");
        check_books(&report, &world.count("text"));
    });
}

#[test]
fn an_agent_that_never_says_a_word_is_ended_at_once() {
    each(&FIVE, |cli| {
        let world = World::new(",silent").with(cli, "ok").once().set("resource_limits.startup_seconds=1");
        world.run(cli, &[]).exits(7);
        let report = world.env.report();
        ended(attempt(&report), "agent", "no_output", "no_terminal_event");
        // Of a limit of one second; it would have been silent for ever.
        assert!(attempt(&report)["duration_ms"].as_u64().unwrap() < 10_000);
    });
}

#[test]
fn what_no_reader_understands_is_passed_over() {
    each(&CLIS, |cli| {
        let world = World::new(",invalid_utf8,flood_line=20").with(cli, "ok");
        world.run(cli, &[]).exits(0);
        let report = world.env.report();
        assert_eq!(attempt(&report)["terminal"]["state"], "completed");
        check_books(&report, &world.count("ok"));
    });
}

#[test]
fn an_agent_that_falls_silent_is_ended_and_its_tool_with_it() {
    // An interpreter has to start in the time of silence.
    let world = World::new("").with(&CLAUDE, "hang_tool").once().set("resource_limits.idle_seconds=4");
    world.run(&CLAUDE, &[]).exits(5);
    let report = world.env.report();
    ended(attempt(&report), "budget", "idle", "no_terminal_event");
    check_books(&report, &world.count("hang_tool"));
}

// --- cancelled, killed ---

#[test]
fn a_cancelled_run_ends_its_agent_in_the_middle_of_a_call_and_keeps_the_books() {
    let world = World::new("").with(&CLAUDE, "loop");
    let child = world.env.command(&world.args(&CLAUDE, &[])).spawn().unwrap();
    wait_until("some calls", Duration::from_secs(20), || world.server.total().requests >= 4);
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let run = end_of(child).exits(143);
    assert!(run.took < Duration::from_secs(3) + SLACK, "{:?}", run.took);
    world.env.check_run(&run);
    let report = world.env.report();
    assert_eq!((&report["tasks"][0]["status"], &report["resumable"]), (&"waiting".into(), &true.into()));
    assert_eq!(attempt(&report)["fault"]["reason"], "stopped");
    check_bounds(&report, &world.count("loop"));
}

/// Kills maestro-ci in the middle of a call, and resumes.
fn resumed_after_a_lost_call(world: &World) {
    let mut child = world.env.command(&world.args(&CLAUDE, &[])).spawn().unwrap();
    wait_until("a call under way", Duration::from_secs(20), || world.server.total().open == 1);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the end of every process", Duration::from_secs(2) + SLACK, || world.env.processes().is_empty());
    let run = world.env.run(&["resume"]).exits(0).says("Going on with session");
    world.env.check_run(&run);
}

#[test]
fn a_lost_call_of_a_model_that_costs_nothing_leaves_no_cost_unknown() {
    let price = "agents.claude.price={input: 0, output: 0}";
    let world = World::new("").with(&CLAUDE, "slow-200").set(price);
    resumed_after_a_lost_call(&world);
    let budget = &world.env.report()["budget"];
    assert!(budget["estimated_tokens"].as_u64().unwrap() > 0, "{budget}");
    assert_eq!((&budget["cost_microusd"]["used"], &budget["unpriced_calls"]), (&0.into(), &0.into()), "{budget}");
}

#[test]
fn killed_in_the_middle_of_a_call_it_goes_on_and_counts_the_lost_call_at_its_worst() {
    let world = World::new("").with(&CLAUDE, "slow-200");
    resumed_after_a_lost_call(&world);
    let (report, count) = (world.env.report(), world.count("slow-200"));
    assert_eq!(words(&report, "strategy"), ["first", "requeue"]);
    let lost = &attempts(&report, 0)[0];
    assert_eq!(lost["fault"]["class"], "lost");
    assert_eq!(lost["usage"]["api_calls"], 1);
    assert!(lost["usage"]["estimated_tokens"].as_u64().unwrap() > 0, "{}", lost["usage"]);
    assert_eq!(attempts(&report, 0)[1]["usage"]["estimated_tokens"], 0);
    assert_eq!((count.requests, report["timing"]["resumes"].as_u64()), (4, Some(1)));
    check_bounds(&report, &count);
    assert_eq!(world.env.show("maestro/feature", "hello.txt").as_deref(), Some("hello maestro\n"));
}
