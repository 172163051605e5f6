//! The gateway from outside: real HTTP on loopback, between an agent and an API that are both the test's own.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread;

use maestro_ci::core::{CallAnswer, CallAsk, CallFault, CallTrouble, Input, Usage, UsageSource};
use serde_json::json;

use crate::env::wait_until;
use crate::gateway_world::{ANTHROPIC, Answer, CHAT, DIALECTS, PATIENCE, PRICE, STALL, World, all, granted, send};
use crate::upstream::{INPUT, Manner, OUTPUT, Server};

#[test]
fn every_dialect_is_counted_exactly_streaming_and_not() {
    let server = Server::that(Manner::Well);
    for (dialect, stream) in DIALECTS.iter().flat_map(|d| [(d, false), (d, true)]) {
        let world = World::new(&server.url, all());
        let answer = world.post((dialect.path)(stream), &(dialect.body)(stream));
        assert!(answer.status == 200 && answer.whole && answer.body.contains("do"), "{answer:?}");
        let (usage, fault) = world.end();
        let uncached = INPUT - 300 - dialect.cache_write_tokens;
        assert_eq!((usage.input_tokens, usage.cached_tokens, usage.output_tokens), (INPUT, 300, OUTPUT), "{answer:?}");
        assert_eq!(usage.cache_write_tokens, dialect.cache_write_tokens);
        assert_eq!(usage.cost_microusd, uncached + 30 + 2 * dialect.cache_write_tokens + 10 * OUTPUT);
        assert_eq!((usage.api_calls, usage.estimated_tokens, usage.unpriced_calls), (1, 0, 0));
        assert_eq!((usage.source, fault), (UsageSource::Gateway, None));
    }
}

#[test]
fn an_ask_bounds_what_the_call_can_take() {
    let server = Server::that(Manner::Well);
    let world = World::new(&server.url, all());
    let body = (ANTHROPIC.body)(false);
    world.post("/anthropic/v1/messages", &body);
    world.post("/anthropic/v1/messages", &body);
    let (asks, bytes) = (world.asks(), body.to_string().len() as u64);
    assert_eq!((asks[0].model.as_str(), asks[0].output_tokens, asks[0].min_output_tokens), ("m", 1000, 256));
    assert_eq!((asks[0].input_tokens, asks[0].price), (bytes.div_ceil(2), Some(PRICE)));
    assert!(asks[1].input_tokens > asks[0].input_tokens, "it learns from what a call really took: {asks:?}");
}

#[test]
fn the_granted_cap_is_what_the_api_sees_and_the_key_is_ours() {
    let server = Server::that(Manner::Well);
    for (dialect, stream) in DIALECTS.iter().flat_map(|d| [(d, false), (d, true)]) {
        let world = World::new(&server.url, Box::new(|_| granted(300)));
        let url = format!("{}{}", world.access.base_url, (dialect.path)(stream));
        let keys = "authorization: Bearer placeholder\r\nx-api-key: placeholder\r\nx-goog-api-key: placeholder\r\n\
                    cookie: placeholder\r\naccept-encoding: gzip\r\n";
        send(&url, "POST", keys, &(dialect.body)(stream).to_string()).read();
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.body.pointer(dialect.cap), Some(&json!(300)), "{seen:?}");
        let shown = format!("{seen:?}");
        assert!(!shown.contains("placeholder") && shown.contains("real-key"), "{shown}");
        assert_eq!(seen.header("accept-encoding"), Some("identity"));
        let bearer = world.access.base_url.rsplit('/').next().unwrap();
        assert!(!shown.contains(bearer), "the bearer is the gateway's alone: {shown}");
    }
}

#[test]
fn a_refused_call_never_leaves() {
    let server = Server::that(Manner::Well);
    for dialect in &DIALECTS {
        let message = "the budget is used up".to_owned();
        let refused = move |_: &CallAsk| Some(CallAnswer::Refused { message: message.clone() });
        let world = World::new(&server.url, Box::new(refused));
        let answer = world.post((dialect.path)(true), &(dialect.body)(true));
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains("the budget is used up"), "{answer:?}");
        assert!(world.ends().is_empty());
    }
    assert!(server.seen().is_empty());
}

#[test]
fn what_is_no_call_is_forwarded_free_or_not_at_all() {
    let server = Server::that(Manner::Well);
    let world = World::new(&server.url, all());
    let get = |path: &str| send(&format!("{}{path}", world.access.base_url), "GET", "", "").read();
    assert_eq!(get("/openai/v1/models").status, 200);
    assert_eq!(server.seen().len(), 1);
    assert_eq!(server.seen()[0].header("authorization"), Some("Bearer real-key"));
    for path in ["/openai/v1/files", "/openai/v1/models/../files", "/mistral/v1/models", "/anthropic/v1/messages"] {
        assert_eq!(get(path).status, 404, "{path}");
    }
    let port = world.gateway.port();
    for path in ["", "x", "x/openai/v1/models", "/openai/v1/models"] {
        let answer = send(&format!("http://127.0.0.1:{port}/{path}"), "GET", "", "").read();
        assert_eq!((answer.status, answer.body.as_str()), (404, ""), "{path}");
    }
    assert_eq!((server.seen().len(), world.asks().len()), (1, 0));
}

#[test]
fn a_request_that_cannot_be_read_is_refused() {
    let server = Server::that(Manner::Well);
    let world = World::new(&server.url, all());
    let url = format!("{}/anthropic/v1/messages", world.access.base_url);
    let large = format!("{{\"model\":\"{}\"}}", "x".repeat(1 << 16));
    for (headers, body) in [("", "{"), ("", large.as_str()), ("content-encoding: zstd\r\n", "{}")] {
        assert_eq!(send(&url, "POST", headers, body).read().status, 400, "{headers}");
    }
    assert!(server.seen().is_empty() && world.asks().is_empty());
}

/// One streaming call to an API with a manner: what the agent gets, what it cost, what went wrong.
#[track_caller]
fn check_trouble(manner: Manner, status: u16, trouble: CallTrouble) -> (Answer, Usage, CallFault) {
    let server = Server::that(manner.clone());
    let world = World::with(&server.url, STALL, all());
    let answer = world.post((CHAT.path)(true), &(CHAT.body)(true));
    let (usage, fault) = world.end();
    let fault = fault.unwrap_or_else(|| panic!("{manner:?}: no fault, {answer:?}"));
    assert_eq!((answer.status, fault.trouble), (status, trouble), "{manner:?}: {answer:?} {fault:?}");
    assert_eq!((usage.api_calls, server.seen().len()), (1, 1), "{manner:?}: nothing is tried twice");
    (answer, usage, fault)
}

#[test]
fn a_response_that_does_not_end_costs_its_worst_case() {
    let broken = [
        (Manner::Stalls, 200, CallTrouble::Stalled),
        (Manner::Mute, 504, CallTrouble::Stalled),
        (Manner::Cuts, 200, CallTrouble::Cut),
        (Manner::Floods(2 << 20), 200, CallTrouble::TooLarge),
    ];
    for (manner, status, trouble) in broken {
        let (answer, usage, _) = check_trouble(manner, status, trouble);
        assert_eq!(answer.whole, status != 200, "{answer:?}");
        assert_eq!(usage.output_tokens, 1000);
        assert_eq!(usage.estimated_tokens, usage.tokens());
        assert_eq!(usage.cost_microusd, 2 * usage.input_tokens + 10 * 1000);
    }
}

#[test]
fn a_response_without_usage_costs_its_worst_case() {
    for manner in [Manner::Silent, Manner::Garbage] {
        let server = Server::that(manner);
        let world = World::new(&server.url, all());
        let answer = world.post((CHAT.path)(false), &(CHAT.body)(false));
        assert!(answer.status == 200 && answer.whole);
        let (usage, _) = world.end();
        assert_eq!((usage.output_tokens, usage.estimated_tokens), (1000, usage.tokens()));
    }
}

#[test]
fn an_error_is_passed_on_and_costs_no_tokens() {
    let retry = "retry-after: 7".to_owned();
    let (answer, usage, fault) = check_trouble(Manner::Status(429, retry), 429, CallTrouble::Rate);
    assert!(answer.headers.contains("retry-after: 7\r\n") && answer.body.contains("scripted"), "{answer:?}");
    assert_eq!((usage.tokens(), usage.cost_microusd), (0, 0));
    assert!(fault.resume_after_ms.is_some() && fault.status == Some(429), "{fault:?}");
    for (status, trouble) in [
        (401, CallTrouble::Auth),
        (404, CallTrouble::Request),
        (500, CallTrouble::Server),
        (529, CallTrouble::Overloaded),
    ] {
        let (_, usage, _) = check_trouble(Manner::Status(status, String::new()), status, trouble);
        assert_eq!(usage.tokens(), 0);
    }
    check_trouble(Manner::Status(302, "location: http://127.0.0.1:1/".to_owned()), 502, CallTrouble::Network);
}

#[test]
fn an_api_that_is_not_there_costs_no_tokens() {
    let world = World::new("http://127.0.0.1:1", all());
    assert_eq!(world.post((CHAT.path)(true), &(CHAT.body)(true)).status, 502);
    let (usage, fault) = world.end();
    assert_eq!((usage.tokens(), usage.api_calls), (0, 1));
    assert_eq!(fault.map(|f| f.trouble), Some(CallTrouble::Network));
}

#[test]
fn an_agent_that_hangs_up_pays_for_what_it_began() {
    let server = Server::that(Manner::Stalls);
    let world = World::with(&server.url, PATIENCE, all());
    let url = format!("{}{}", world.access.base_url, (CHAT.path)(true));
    let sent = send(&url, "POST", "", &(CHAT.body)(true).to_string());
    wait_until("the call", PATIENCE, || !server.seen().is_empty());
    drop(sent);
    let (usage, fault) = world.end();
    assert_eq!((usage.output_tokens, fault.map(|f| f.trouble)), (1000, Some(CallTrouble::Abandoned)));
}

#[test]
fn a_close_ends_what_is_under_way_before_it_returns() {
    for manner in [Manner::Mute, Manner::Stalls] {
        let server = Server::that(manner);
        let world = World::with(&server.url, PATIENCE, all());
        let url = format!("{}{}", world.access.base_url, (CHAT.path)(true));
        let sent = send(&url, "POST", "", &(CHAT.body)(true).to_string());
        wait_until("the call", PATIENCE, || !server.seen().is_empty());
        world.access.close();
        let ends = world.ends();
        assert_eq!(ends.len(), 1, "the end is told when the close returns");
        assert_eq!((ends[0].1.output_tokens, ends[0].1.api_calls), (1000, 1));
        assert_eq!(ends[0].2.as_ref().map(|f| f.trouble), Some(CallTrouble::Abandoned));
        assert!(!sent.read().body.contains("[DONE]"));
        assert_eq!(world.post((CHAT.path)(true), &(CHAT.body)(true)).status, 404);
        world.access.close();
        assert_eq!(world.ends().len(), 1);
    }
}

#[test]
fn a_grant_that_nobody_waits_for_is_given_back() {
    let server = Server::that(Manner::Well);
    let world = World::with(&server.url, PATIENCE, Box::new(|_| None));
    let url = format!("{}{}", world.access.base_url, (CHAT.path)(true));
    let sent = send(&url, "POST", "", &(CHAT.body)(true).to_string());
    wait_until("the ask", PATIENCE, || !world.asks().is_empty());
    world.access.close();
    assert_eq!((world.ends().len(), sent.read().status), (0, 503));
    world.gateway.answer(1, CallAnswer::Granted { max_output_tokens: 5 });
    let (usage, _) = world.end();
    assert_eq!((usage.tokens(), usage.api_calls), (0, 0));
    assert!(server.seen().is_empty());
}

#[test]
fn a_gateway_that_ends_tells_the_end_of_every_call() {
    let server = Server::that(Manner::Mute);
    let World { gateway, access, told } = World::with(&server.url, PATIENCE, all());
    let sent = send(&format!("{}{}", access.base_url, (CHAT.path)(true)), "POST", "", &(CHAT.body)(true).to_string());
    wait_until("the call", PATIENCE, || !server.seen().is_empty());
    // The thread that answers may just hold it.
    wait_until("the last owner", PATIENCE, || Arc::strong_count(&gateway) == 1);
    drop(gateway);
    let ends = told.lock().unwrap().iter().filter(|input| matches!(input, Input::CallEnded { .. })).count();
    assert_eq!(ends, 1);
    assert_ne!(sent.read().status, 200);
}

#[test]
fn what_the_api_claims_is_what_is_counted_even_beyond_the_cap() {
    let server = Server::that(Manner::Claims(5000));
    let world = World::new(&server.url, all());
    world.post((CHAT.path)(true), &(CHAT.body)(true));
    let (usage, _) = world.end();
    assert_eq!((usage.output_tokens, usage.estimated_tokens), (5000, 0));
}

#[test]
fn a_thousand_calls_of_many_agents_never_go_over_the_budget() {
    const LIMIT: u64 = 400_000;
    let server = Server::start(|seen| match seen.body["max_tokens"].as_u64().unwrap_or(0) % 5 {
        0 => Manner::Silent,
        1 => Manner::Cuts,
        2 => Manner::Garbage,
        3 => Manner::Status(500, String::new()),
        _ => Manner::Well,
    });
    let aside = Arc::new(Mutex::new(Vec::<u64>::new()));
    let of_budget = Arc::clone(&aside);
    let budget = move |ask: &CallAsk| {
        let mut aside = of_budget.lock().unwrap();
        let left = LIMIT - aside.iter().sum::<u64>();
        let cap = left.saturating_sub(ask.input_tokens).min(ask.output_tokens);
        if cap < ask.min_output_tokens {
            return Some(CallAnswer::Refused { message: "no".to_owned() });
        }
        // Nothing is given back here: the worst cases together are what must hold.
        aside.push(ask.input_tokens + cap);
        granted(cap)
    };
    let world = World::new(&server.url, Box::new(budget));
    let url = format!("{}{}", world.access.base_url, (CHAT.path)(true));
    thread::scope(|scope| {
        for agent in 0..20_u64 {
            let url = &url;
            scope.spawn(move || {
                for n in 0..50 {
                    let mut body = (CHAT.body)(n % 2 == 0);
                    // Long enough for the bound of its input to hold.
                    body["messages"][0]["content"] = "x".repeat(2500).into();
                    body["max_tokens"] = (300 + (agent * 50 + n) * 7919 % 1000).into();
                    send(url, "POST", "", &body.to_string()).read();
                }
            });
        }
    });
    let granted = aside.lock().unwrap().len();
    wait_until("the end of every call", PATIENCE, || world.ends().len() >= granted);
    let ends = world.ends();
    let distinct: BTreeSet<u64> = ends.iter().map(|(call, ..)| *call).collect();
    assert_eq!((ends.len(), distinct.len()), (granted, granted), "each call that was granted ends once");
    assert!(granted > 50 && world.asks().len() == 1000, "{granted}");
    let used: u64 = ends.iter().map(|(_, usage, _)| usage.tokens()).sum();
    assert!(used <= LIMIT, "{used} of {LIMIT}");
}
