//! Hard limits on agents that would go on for ever: what the server bills never passes one, and log, JSON, `JUnit` and
//! exit code say which it was. And what a limit on cost means for a model whose price nobody knows.

use serde_json::Value;

use crate::agent_world::model_server::{Billed, Count};
use crate::agent_world::{
    CLAUDE, Cli, GEMINI, OPENCODE, QWEN, World, attempt, attempts, check_books, check_bounds, each, tokens, words,
};
use crate::env::{Env, Run, prd};

/// One, a tenth, two and ten dollars for a million tokens.
fn priced(cli: &Cli) -> String {
    let price = "{input: 1, cached_input: 0.1, cache_write: 2, output: 10}";
    format!("agents.{0}={{protocol: {0}, price: {price}}}", cli.name)
}

/// What a bill is worth at that price, millionths of a dollar.
fn worth(billed: &Billed) -> u64 {
    (billed.fresh() * 10 + billed.cached + billed.cache_write * 20 + billed.output * 100).div_ceil(10)
}

/// A limit, as it is set and as it is told.
struct Limit {
    /// The key's last word and its value.
    key: &'static str,
    value: &'static str,
    /// As `report.json` names the resource, and as the log does.
    resource: &'static str,
    in_log: &'static str,
    most: u64,
    /// How much of it the server's bill is.
    taken: fn(&Count) -> u64,
}

const CALLS: Limit = Limit {
    key: "max_api_calls",
    value: "5",
    resource: "api_calls",
    in_log: "the budget of API calls",
    most: 5,
    taken: |count| count.requests,
};
const TOKENS: Limit = Limit {
    key: "max_tokens",
    value: "20000",
    resource: "tokens",
    in_log: "the budget of tokens",
    most: 20_000,
    taken: |count| tokens(&count.billed),
};
const COST: Limit = Limit {
    key: "max_cost_usd",
    value: "0.03",
    resource: "cost",
    in_log: "the budget of cost",
    most: 30_000,
    taken: |count| worth(&count.billed),
};

/// An agent whose model never ends, under a limit of the session (`resource_limits`) or of the task.
fn holds(cli: &Cli, scope: &str, limit: &Limit) {
    let key = format!("{scope}.{}={}", limit.key, limit.value);
    let world = World::new("").with(cli, "loop").set(&priced(cli)).set(&key);
    world.run(cli, &[]).exits(5).says(limit.in_log);
    let (report, count) = (world.env.report(), world.count("loop"));
    assert!(count.calls > 2, "it hardly began: {count:?}");
    assert!((limit.taken)(&count) <= limit.most, "the server took more: {count:?}");
    check_books(&report, &count);
    let stopped = &report["budget"]["stopped_by"];
    assert_eq!((&stopped["resource"], &stopped["limit"]), (&limit.resource.into(), &limit.most.into()));
    assert!(stopped["used"].as_u64().unwrap() <= limit.most, "{stopped}");
    assert_eq!((&report["verdict"], &report["resumable"]), (&"budget".into(), &true.into()));
    assert_eq!(report["tasks"][0]["status"], "parked");
    let fault = &attempt(&report)["fault"];
    assert_eq!((&fault["class"], &fault["reason"]), (&"budget".into(), &"call_refused".into()));
    assert_eq!(fault["limit"]["resource"], limit.resource);
    assert!(world.journal().contains("\"call_refused\""), "the refused call is not on record");
    let junit = world.env.run(&["report", "--format", "junit"]).exits(0);
    junit.prints("name=\"verdict\" value=\"budget\"").prints(limit.in_log).prints("budget: call_refused");
}

/// Both scopes, and agents of three APIs.
fn holds_everywhere(limit: &Limit) {
    each(&[CLAUDE, GEMINI, QWEN], |cli| holds(cli, "resource_limits", limit));
    each(&[CLAUDE, GEMINI, QWEN], |cli| holds(cli, "resource_limits.task", limit));
}

#[test]
fn no_agent_makes_more_calls_than_it_may() {
    holds_everywhere(&CALLS);
}

#[test]
fn no_agent_takes_more_tokens_than_it_may() {
    holds_everywhere(&TOKENS);
}

#[test]
fn no_agent_spends_more_than_it_may() {
    holds_everywhere(&COST);
}

#[test]
fn an_agent_that_goes_on_when_its_model_is_done_is_held_too() {
    let world = World::new(",loop").with(&CLAUDE, "text");
    world.run(&CLAUDE, &["--max-api-calls", "6"]).exits(5);
    let (report, count) = (world.env.report(), world.count("text"));
    assert_eq!(count.requests, 6);
    assert_eq!(report["budget"]["stopped_by"]["resource"], "api_calls");
    check_books(&report, &count);
}

#[test]
fn an_agent_that_tries_broken_answers_again_for_ever_is_held_too() {
    let world = World::new("").with(&OPENCODE, "cut");
    world.run(&OPENCODE, &["--max-tokens", "200000"]).exits(5);
    let (report, count) = (world.env.report(), world.count("cut"));
    assert!(report["budget"]["tokens"]["used"].as_u64().unwrap() <= 200_000);
    check_bounds(&report, &count);
}

/// Four tasks that run at once, with one limit for all.
fn four(scenario: &str, limit: &str, code: i32) -> (Value, Count) {
    let texts: Vec<String> = (1..=4).map(|n| format!("part {n}. fake: delay=0.02 fake-file: part-{n}.txt")).collect();
    let ids = ["FR-1", "FR-2", "FR-3", "FR-4"];
    let requirements: Vec<(&str, &str)> = ids.into_iter().zip(texts.iter().map(String::as_str)).collect();
    let world = World::of(&prd(&requirements)).with(&CLAUDE, scenario).set(&format!("resource_limits.{limit}"));
    world.run(&CLAUDE, &["-j4"]).exits(code);
    (world.env.report(), world.count(scenario))
}

#[test]
fn four_agents_that_race_for_the_last_tokens_never_take_more_than_there_is() {
    let (report, count) = four("loop", "max_tokens=60000", 5);
    assert!(tokens(&count.billed) <= 60_000 && count.calls > 4, "{count:?}");
    assert_eq!(report["budget"]["stopped_by"]["resource"], "tokens");
    check_books(&report, &count);
}

#[test]
fn four_agents_that_race_for_the_last_calls_never_make_more_than_there_are() {
    let (report, count) = four("loop", "max_api_calls=6", 5);
    assert_eq!(count.requests, 6);
    assert_eq!(report["budget"]["stopped_by"]["resource"], "api_calls");
    check_books(&report, &count);
}

#[test]
fn work_that_fits_is_not_stopped_by_what_is_only_set_aside() {
    // All four together take less than 20,000 tokens; calls under way are set aside at their worst.
    let (report, count) = four("slow-10", "max_tokens=60000", 0);
    assert_eq!(report["budget"]["stopped_by"], Value::Null);
    check_books(&report, &count);
}

#[test]
fn a_run_that_a_limit_stopped_goes_on_with_a_higher_one_and_adds_up() {
    let world = World::new("").with(&CLAUDE, "ok");
    world.run(&CLAUDE, &["--max-api-calls", "2"]).exits(5);
    let first = world.env.report();
    assert_eq!(first["budget"]["api_calls"]["used"], 2);
    let run = world.env.run(&["resume", "--max-api-calls", "100"]).exits(0).says("Going on with session");
    world.env.check_run(&run);
    let report = world.env.report();
    assert_eq!(report["session"], first["session"]);
    assert_eq!(attempts(&report, 0).len(), 2);
    assert_eq!(words(&report, "agent"), ["claude", "claude"]);
    check_books(&report, &world.count("ok"));
}

#[test]
fn enough_is_enough_to_pass() {
    let world = World::new("").with(&CLAUDE, "ok");
    world.run(&CLAUDE, &["--max-api-calls", "3"]).exits(0);
    let report = world.env.report();
    assert_eq!(report["budget"]["stopped_by"], Value::Null);
    check_books(&report, &world.count("ok"));
}

// --- cost ---

/// A model that no table has.
const MYSTERY: Cli = Cli { model: Some("mystery-1"), ..CLAUDE };

/// A run with a limit on cost that works to its end.
#[track_caller]
fn passes(cli: &Cli, sets: &[&str]) -> (Value, Count) {
    let world = World::new("").with(cli, "ok").set("resource_limits.max_cost_usd=1");
    let world = sets.iter().fold(world, |world, key| world.set(key));
    world.run(cli, &[]).exits(0);
    let (report, count) = (world.env.report(), world.count("ok"));
    check_books(&report, &count);
    (report, count)
}

#[test]
fn the_price_of_an_agent_is_what_its_calls_cost() {
    each(&[MYSTERY, GEMINI], |cli| {
        let (report, count) = passes(cli, &[&priced(cli), "resource_limits.unknown_cost=fail"]);
        let (cost, exact) = (report["budget"]["cost_microusd"]["used"].as_u64().unwrap(), worth(&count.billed));
        // Each call is rounded up.
        assert!((exact..=exact + count.calls).contains(&cost), "{cost} for what is worth {exact}");
        assert_eq!(report["budget"]["unpriced_calls"], 0);
    });
}

#[test]
fn a_price_that_is_not_known_is_told_as_that_and_not_as_nothing() {
    for mode in ["token_cap", "allow"] {
        let (report, count) = passes(&MYSTERY, &[&format!("resource_limits.unknown_cost={mode}")]);
        assert_eq!(report["budget"]["unpriced_calls"], count.calls);
        assert_eq!(attempt(&report)["usage"]["unpriced_calls"], count.calls);
    }
}

/// A run with a limit on cost that no call may leave.
#[track_caller]
fn lets_nothing_out(sets: &[&str]) {
    let world = World::new("").with(&MYSTERY, "ok").set("resource_limits.max_cost_usd=1");
    let world = sets.iter().fold(world, |world, key| world.set(key));
    world.run(&MYSTERY, &[]).exits(6).says("`mystery-1`").says("give `price` for the agent");
    let (report, count) = (world.env.report(), world.count("ok"));
    assert_eq!(count.requests, 0);
    assert_eq!(attempt(&report)["fault"]["reason"], "unpriced");
    assert_eq!((&report["verdict"], &report["resumable"]), (&"setup".into(), &true.into()));
}

#[test]
fn where_unknown_cost_is_a_failure_nothing_is_spent() {
    lets_nothing_out(&["resource_limits.unknown_cost=fail"]);
}

#[test]
fn tokens_cap_an_unknown_cost_only_where_they_are_limited() {
    lets_nothing_out(&["resource_limits.unknown_cost=token_cap", "resource_limits.max_tokens=null"]);
}

#[test]
fn without_a_limit_on_cost_nobody_asks_for_the_price() {
    let world = World::new("").with(&MYSTERY, "ok").set("resource_limits.unknown_cost=fail");
    world.run(&MYSTERY, &[]).exits(0);
    assert_eq!(world.env.report()["budget"]["unpriced_calls"], 3);
}

#[test]
fn who_gives_the_price_that_was_missing_may_go_on() {
    let world = World::new("").with(&MYSTERY, "ok").set("resource_limits.max_cost_usd=1");
    let world = world.set("resource_limits.unknown_cost=fail");
    world.run(&MYSTERY, &[]).exits(6);
    let run = world.env.run(&["resume", "--set", "agents.claude.price={input: 3, output: 15}"]).exits(0);
    world.env.check_run(&run);
    let report = world.env.report();
    assert_eq!(report["budget"]["unpriced_calls"], 0);
    check_books(&report, &world.count("ok"));
}

#[test]
fn the_table_of_prices_is_named_where_it_was_used() {
    let (report, _) = passes(&CLAUDE, &[]);
    let prices = &report["budget"]["prices"];
    assert!(prices["source"].as_str().unwrap().contains("litellm") && prices["date"].is_string(), "{prices}");
    let (report, _) = passes(&CLAUDE, &[&priced(&CLAUDE)]);
    assert_eq!(report["budget"]["prices"], Value::Null);
}

#[test]
fn a_price_that_lacks_a_part_is_no_price() {
    let world = World::new("").with(&CLAUDE, "ok");
    let check = |price: &str, words: &str| {
        let set = format!("agents.claude.price={price}");
        world.env.run(&["check", "--prd", "prd.md", "--set", &set]).exits(2).says(words);
    };
    check("{input: 3}", "output");
    check("{output: 15}", "input");
    check("{input: 3, output: 15, cache_write: -5}", "an amount of US dollars, 0 or more");
}

// --- what agents report ---

/// A command that works and says these fields of its usage, with no gateway and a limit of a cent.
fn reports(usage: &str, sets: &[&str]) -> (Env, Run) {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "one file")]));
    env.commit("prd");
    let words = if usage.is_empty() { String::new() } else { format!("echo '{{\"usage\":{{{usage}}}}}'\n") };
    let command = env.script("agent.sh", &format!("echo done > done.txt\n{words}"));
    let mut args = vec!["--max-cost", "0.01usd", "--set", "gateway.enabled=false"];
    for key in sets {
        args.extend(["--set", key]);
    }
    let run = env.run_prd(&command, &args);
    (env, run)
}

const MUCH: &str = "\"input_tokens\":900000";

#[test]
fn reported_usage_without_a_cost_fails_where_unknown_cost_does_until_its_price_is_given() {
    let (env, run) = reports(MUCH, &["resource_limits.unknown_cost=fail"]);
    run.exits(6).says("give `price` for the agent");
    let report = env.report();
    assert_eq!(attempt(&report)["fault"]["reason"], "unpriced");
    assert_eq!(report["budget"]["cost_microusd"]["used"], Value::Null);
    assert_eq!(report["budget"]["tokens"]["used"], 900_000);
    env.run(&["status"]).exits(0).prints("cost unknown of $0.01");
    env.run(&["report", "--format", "markdown"]).exits(0).prints("| Cost | USD 0.01 | unknown |");
    let price = "agents.command.price={input: 0.001, output: 0.001}";
    env.run(&["resume", "--allow-unsandboxed", "--max-tokens", "5M", "--set", price]).exits(0);
    let budget = &env.report()["budget"]["cost_microusd"];
    assert_eq!((&budget["used"], &budget["at_least"]), (&900.into(), &true.into()));
}

#[test]
fn reported_usage_without_a_cost_goes_on_where_something_stands_in_for_the_limit() {
    for mode in ["token_cap", "allow"] {
        let (env, run) = reports(MUCH, &[&format!("resource_limits.unknown_cost={mode}")]);
        run.exits(0).says("cost not known");
        assert_eq!(env.report()["budget"]["unpriced_calls"], 1);
    }
    let (_, run) = reports(MUCH, &["resource_limits.max_tokens=null"]);
    run.exits(6);
}

#[test]
fn reported_tokens_cost_what_the_configured_price_says() {
    let (env, run) = reports(MUCH, &["agents.command.price={input: 3, output: 15}"]);
    run.exits(5);
    assert_eq!(env.report()["budget"]["cost_microusd"]["used"], 2_700_000);
}

#[test]
fn a_cost_that_is_told_is_known() {
    let (env, run) = reports(&format!("{MUCH},\"cost_usd\":0.005"), &["resource_limits.unknown_cost=fail"]);
    run.exits(0);
    let cost = &env.report()["budget"]["cost_microusd"];
    assert_eq!((&cost["used"], &cost["at_least"]), (&5000.into(), &false.into()));
}

#[test]
fn of_an_agent_that_says_nothing_nothing_is_known() {
    let (env, run) = reports("", &[]);
    run.exits(0);
    let budget = &env.report()["budget"];
    assert_eq!((&budget["tokens"]["used"], &budget["cost_microusd"]["used"]), (&Value::Null, &Value::Null));
    env.run(&["status"]).exits(0).prints("unknown of 1.0M tokens");
}

#[test]
fn check_says_what_an_agent_costs_or_what_follows_where_nobody_knows() {
    let world = World::new("").with(&CLAUDE, "ok");
    let check = |model: &'static str, more: &[&'static str], words: &str| {
        let cli = Cli { model: Some(model), ..CLAUDE };
        let args: Vec<&str> = std::iter::once("check").chain(world.args(&cli, more)).collect();
        world.env.run(&args).exits(0).prints(words);
    };
    check("claude-sonnet-4-5", &[], "claude price: $3 in, $0.3 cached, $3.75 into a cache, $15 out, a million tokens");
    check("mystery-1", &[], "not known for `mystery-1`: only tokens and calls are counted");
    check("mystery-1", &["--max-cost", "1usd"], "the limit on tokens stands in for the one on cost");
    let fail = ["--max-cost", "1usd", "--set", "resource_limits.unknown_cost=fail"];
    check("mystery-1", &fail, "every call will be refused");
    let price = "agents.claude.price={input: 2, output: 8}";
    check("mystery-1", &["--set", price], "$8 out, a million tokens, as configured");
}
