//! What the gateway guards against, from outside: bodies that would be bounded far too high, keys that come back, ways
//! past the meter, agents that crowd out others. And that what it refuses by itself stands in the records.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use maestro_ci::core::{CallAnswer, CallTrouble};
use serde_json::{Value, json};

use crate::agent_world::{self, REAL_KEY, attempt};
use crate::env::wait_until;
use crate::gateway_world::{ANTHROPIC, Budget, CHAT, DIALECTS, PATIENCE, World, all, post_in_chunks, send};
use crate::upstream::{INPUT, Manner, Server};

const ONE_TRY: [&str; 2] = ["--set", "error_recovery.max_retry_attempts=0"];

fn unlimited() -> Budget {
    Box::new(|_| Some(CallAnswer::Unlimited))
}

/// A request of each dialect with an image of so many bytes, at its path.
fn with_image(data: &str) -> [(&'static str, Value); 4] {
    let source = json!({"type": "base64", "media_type": "image/png", "data": data});
    let url = format!("data:image/png;base64,{data}");
    let image = json!([{"role": "user", "content": [{"type": "image", "source": source}]}]);
    let image_url = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]);
    let input_image = json!([{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]);
    let inline = json!([{"parts": [{"inlineData": {"mimeType": "image/png", "data": data}}]}]);
    [
        ("/anthropic/v1/messages", json!({"model": "m", "max_tokens": 1000, "messages": image})),
        ("/openai/v1/chat/completions", json!({"model": "m", "max_tokens": 1000, "messages": image_url})),
        ("/openai/v1/responses", json!({"model": "m", "max_output_tokens": 1000, "input": input_image})),
        ("/gemini/v1beta/models/m:generateContent", json!({"contents": inline})),
    ]
}

#[test]
fn a_picture_is_bounded_as_a_picture_and_not_by_its_bytes() {
    let server = Server::that(Manner::Well);
    for (path, body) in with_image(&"A".repeat(60_000)) {
        let world = World::new(&server.url, all());
        assert_eq!(world.post(path, &body).status, 200, "{path}");
        let text = body.to_string().len() - 60_000;
        let bound = world.asks()[0].input_tokens;
        // Some of the text is the picture's own: the beginning of its URL.
        assert!((16_000..=16_000 + text as u64 / 2 + 1).contains(&bound), "{path}: {bound}");
    }
}

#[test]
fn what_is_added_to_a_small_request_does_not_make_a_large_one_dear() {
    let server = Server::that(Manner::Well);
    let world = World::new(&server.url, all());
    let small = (CHAT.body)(false);
    world.post((CHAT.path)(false), &small);
    let mut large = (CHAT.body)(false);
    large["messages"][0]["content"] = "x".repeat(60_000).into();
    world.post((CHAT.path)(false), &large);
    let bytes = |body: &Value| body.to_string().len() as u64;
    let added = INPUT - bytes(&small).div_ceil(2);
    assert_eq!(world.asks()[1].input_tokens, bytes(&large).div_ceil(2) + added);
}

#[test]
fn a_request_without_a_cap_gets_that_of_its_model() {
    let server = Server::that(Manner::Well);
    for (model, expected) in [("gpt-4o", 16_384), ("mystery-1", 32_000)] {
        let world = World::new(&server.url, all());
        let body = json!({"model": model, "input": "hi"});
        world.post("/openai/v1/responses", &body);
        assert_eq!(world.asks()[0].output_tokens, expected);
        assert_eq!(server.seen().pop().unwrap().body["max_output_tokens"], expected);
    }
}

#[test]
fn where_no_limit_depends_on_it_the_output_is_as_the_request_has_it() {
    let server = Server::that(Manner::Silent);
    let world = World::new(&server.url, unlimited());
    world.post("/openai/v1/responses", &json!({"model": "mystery-1", "input": "hi"}));
    assert_eq!(server.seen().pop().unwrap().body, json!({"model": "mystery-1", "input": "hi"}));
    assert_eq!(world.end().0.output_tokens, 32_000, "what nobody counted counts as what was asked for");
    for dialect in &DIALECTS {
        World::new(&server.url, unlimited()).post((dialect.path)(true), &(dialect.body)(true));
        assert_eq!(server.seen().pop().unwrap().body.pointer(dialect.cap), Some(&json!(1000)));
    }
}

#[test]
fn a_key_that_the_api_echoes_does_not_come_back() {
    for status in [400, 401, 500] {
        let server = Server::that(Manner::Echoes(status));
        let world = World::new(&server.url, all());
        let answer = world.post((CHAT.path)(true), &(CHAT.body)(true));
        assert!(answer.status == status && answer.whole && answer.body.contains("Bearer ***"), "{answer:?}");
        let (_, fault) = world.end();
        let list = send(&format!("{}/openai/v1/models", world.access.base_url), "GET", "", "").read();
        assert!(list.status == status && list.body.contains("Bearer ***"), "{list:?}");
        let shown = format!("{answer:?} {fault:?} {list:?}");
        assert!(!shown.contains("real-key") && answer.headers.contains("x-heard: [("), "{shown}");
    }
}

#[test]
fn a_whole_response_may_take_longer_than_a_stream_may_be_silent() {
    let stall = Duration::from_millis(200);
    let server = Server::that(Manner::Late(700));
    let world = World::with(&server.url, stall, all());
    assert_eq!(world.post((CHAT.path)(false), &(CHAT.body)(false)).status, 200);
    assert_eq!(world.end().1, None);
    let world = World::with(&server.url, stall, all());
    assert_eq!(world.post((CHAT.path)(true), &(CHAT.body)(true)).status, 504);
    assert_eq!(world.end().1.map(|fault| fault.trouble), Some(CallTrouble::Stalled));
}

#[test]
fn what_cannot_be_metered_is_told() {
    let server = Server::that(Manner::Well);
    let world = World::new(&server.url, all());
    let base = &world.access.base_url;
    let requests = [
        ("openai/v1/responses", "", r#"{"model":"m","previous_response_id":"r"}"#, "`previous_response_id`"),
        ("openai/v1/responses", "", r#"{"model":"m","service_tier":"priority"}"#, "`service_tier`"),
        ("openai/v1/responses", "", r#"{"model":"m","input":[{"image_url":"http://x"}]}"#, "points at input elsewhere"),
        ("anthropic/v1/messages", "content-encoding: zstd\r\n", "{}", "not compressed"),
        ("anthropic/v1/files", "", "{}", "does not serve POST anthropic/v1/files"),
    ];
    for (path, headers, body, why) in requests {
        send(&format!("{base}/{path}"), "POST", headers, body).read();
        let told = world.unmeterable().pop().unwrap();
        assert!(told.contains(why), "{path}: {told}");
    }
    let endless = format!(r#"{{"model":"m","service_tier":"{}"}}"#, "x".repeat(50_000));
    send(&format!("{base}/openai/v1/responses"), "POST", "", &endless).read();
    assert!(world.unmeterable().pop().unwrap().chars().count() <= 500);
    send(&format!("{base}/anthropic/v1/organizations"), "GET", "", "").read();
    assert_eq!((world.unmeterable().len(), world.asks().len(), server.seen().len()), (6, 0, 0));
}

#[test]
fn a_models_name_is_kept_short() {
    let server = Server::that(Manner::Well);
    let world = World::new(&server.url, all());
    let mut body = (ANTHROPIC.body)(false);
    body["model"] = "m".repeat(50_000).into();
    world.post((ANTHROPIC.path)(false), &body);
    assert_eq!(world.asks()[0].model.chars().count(), 200);
}

#[test]
fn no_get_becomes_a_call() {
    let server = Server::that(Manner::Well);
    let world = World::new(&server.url, all());
    let get = |path: &str| {
        let headers = "X-HTTP-Method-Override: POST\r\nX-Method-Override: POST\r\nX-HTTP-Method: POST\r\n";
        send(&format!("{}{path}", world.access.base_url), "GET", headers, r#"{"contents":[]}"#).read().status
    };
    assert_eq!(get("/gemini/v1beta/models/gemini-2.5-pro:generateContent"), 404);
    assert!(server.seen().is_empty());
    assert_eq!(get("/gemini/v1beta/models/gemini-2.5-pro"), 200);
    let seen = server.seen().pop().unwrap();
    assert!(!format!("{seen:?}").contains("override") && seen.header("x-http-method").is_none(), "{seen:?}");
    assert_eq!((&seen.body, seen.header("content-length")), (&Value::Null, None));
}

#[test]
fn an_agent_that_asks_for_everything_at_once_waits_for_itself() {
    let server = Server::that(Manner::Mute);
    let world = World::with(&server.url, PATIENCE, all());
    let url = format!("{}{}", world.access.base_url, (CHAT.path)(true));
    let body = (CHAT.body)(true).to_string();
    let open: Vec<_> = (0..32).map(|_| send(&url, "POST", "", &body)).collect();
    wait_until("the calls", PATIENCE, || server.seen().len() == 32);
    let answer = send(&url, "POST", "", &body).read();
    assert!(answer.status == 429 && answer.body.contains("rate_limit_error"), "{answer:?}");
    drop(open);
    wait_until("their ends", PATIENCE, || world.ends().len() == 32);
    assert_eq!(send(&format!("{}/openai/v1/files", world.access.base_url), "GET", "", "").read().status, 404);
}

#[test]
fn memory_is_given_back_after_bodies_of_unknown_length() {
    let (server, patience) = (Server::that(Manner::Well), Duration::from_secs(2));
    // An attempt's own memory is that of one request of the largest size.
    let world = World::with(&server.url, patience, all());
    let url = format!("{}{}", world.access.base_url, (CHAT.path)(false));
    let mut body = (CHAT.body)(false);
    body["messages"][0]["content"] = "x".repeat(40_000).into();
    for n in 0..8 {
        assert_eq!(post_in_chunks(&url, body.to_string().as_bytes()).status, 200, "call {n}");
    }
    // All together have 256 MiB.
    let world = World::sized(&server.url, patience, 64 << 20, all());
    let url = format!("{}/anthropic/v1/messages/count_tokens", world.access.base_url);
    let body = vec![b'x'; 60 << 20];
    for n in 0..5 {
        assert_eq!(post_in_chunks(&url, &body).status, 200, "count {n}");
    }
}

#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    let server = Server::that(Manner::Well);
    let world = World::with(&server.url, PATIENCE, all());
    let address = format!("127.0.0.1:{}", world.gateway.port());
    let idle: Vec<_> = (0..600).map(|_| TcpStream::connect(&address).unwrap()).collect();
    assert_eq!(world.post((CHAT.path)(false), &(CHAT.body)(false)).status, 200);
    drop(idle);
}

/// A run of one command that sends one request to the gateway and fails with what it gets; the server has a manner.
fn run_of(manner: Manner, path: &str, body: &str) -> agent_world::World {
    let server = Server::that(manner);
    let mut world = agent_world::World::new("");
    let script = format!(
        "import os, sys\nfrom urllib.error import HTTPError\nfrom urllib.request import Request, urlopen\n\
         try: urlopen(Request(os.environ['OPENAI_BASE_URL'] + '{path}', data=b'''{body}'''))\n\
         except HTTPError as error: sys.exit(error.read().decode() + str(error.headers))\n"
    );
    world.env.write("ask.py", &script);
    world.env.commit("ask");
    world.env.set("OPENAI_BASE_URL", &format!("{}/v1", server.url));
    world.env.set("OPENAI_API_KEY", REAL_KEY);
    world
}

fn texts_below(dir: &Path, check: &impl Fn(&Path, &str)) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => texts_below(&entry.path(), check),
            kind if kind.is_file() => check(&entry.path(), &String::from_utf8_lossy(&fs::read(entry.path()).unwrap())),
            _ => {}
        }
    }
}

#[test]
fn a_key_that_the_api_echoes_is_in_no_record() {
    let world = run_of(Manner::Echoes(401), "/responses", r#"{"model":"m","input":"hi"}"#);
    let run = world.env.run_prd("python3 ask.py", &ONE_TRY);
    run.exits(7).says("not with").says("Bearer ***");
    let check = |path: &Path, text: &str| assert!(!text.contains(REAL_KEY), "{}: {text}", path.display());
    texts_below(&world.env.session_dir(), &check);
}

#[test]
fn what_the_gateway_refuses_by_itself_is_why_the_attempt_failed() {
    let world = run_of(Manner::Well, "/responses", r#"{"model":"m","input":"hi","previous_response_id":"r"}"#);
    let run = world.env.run_prd("python3 ask.py", &ONE_TRY);
    run.exits(7).says("`previous_response_id`");
    let report = world.env.report();
    let fault = &attempt(&report)["fault"];
    assert_eq!((&fault["class"], &fault["reason"]), (&"agent".into(), &"call_refused".into()));
    assert!(world.journal().contains("\"why\":\"unmeterable\""));
}

#[test]
fn an_agent_that_never_stops_asking_for_what_is_not_metered_is_ended() {
    let world = run_of(Manner::Well, "/responses", r#"{"model":"m","background":true}"#);
    let run = world.env.run_prd("while :; do python3 ask.py; done", &ONE_TRY);
    run.exits(7).says("`background`");
    let refused = world.journal().matches("\"why\":\"unmeterable\"").count();
    assert!((41..60).contains(&refused), "{refused}");
}
