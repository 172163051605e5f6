//! The client against small servers on loopback: where requests go, which of them carry the token, and what a comment
//! does when things go wrong.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::ci::ForgeKind;
use super::client::BETWEEN_WRITES;
use super::comment::Done;
use super::retry::Failure;
use super::testing::{Server, answer, connect, run, soon};

const MARKER: &str = "<!-- maestro-ci:report v1 prd=x -->";
const USER: &str = r#"{"login":"me","type":"User"}"#;

/// A comment of ours, as the API shows it.
fn ours(id: u64, text: &str) -> String {
    serde_json::json!([{ "id": id, "user": { "login": "me", "type": "User" }, "body": text }]).to_string()
}

#[test]
fn a_base_address_keeps_its_path_and_the_token_its_form() {
    let server = Server::new(|_| answer(200, "", "{}"));
    run(async {
        for kind in [ForgeKind::GitHub, ForgeKind::GitLab] {
            let forge = connect(kind, &format!("{}/api/v3/", server.url), &[]).await.unwrap();
            forge.api.get("/repos/o/r/pulls?x=1", soon()).await.unwrap();
        }
    });
    let seen = server.seen();
    assert_eq!(server.lines(), ["GET /api/v3/repos/o/r/pulls?x=1"; 2]);
    assert_eq!(seen[0].header("authorization"), Some("Bearer t0ken"));
    assert_eq!((seen[1].header("authorization"), seen[1].header("private-token")), (None, Some("t0ken")));
    assert_eq!(seen[0].header("host"), server.url.strip_prefix("http://"));
}

#[test]
fn graphql_lies_beside_the_api() {
    let server = Server::new(|_| answer(200, "", "{}"));
    run(async {
        for base in [format!("{}/api/v3", server.url), server.url.clone()] {
            let forge = connect(ForgeKind::GitHub, &base, &[]).await.unwrap();
            forge.api.graphql("query { viewer { login } }", soon()).await.unwrap();
        }
    });
    assert_eq!(server.lines(), ["POST /api/graphql", "POST /graphql"]);
}

#[test]
fn a_redirect_within_the_forge_is_followed_and_one_to_another_host_gets_nothing() {
    let other = Server::new(|_| answer(200, "", "{}"));
    let elsewhere = other.url.clone();
    let server = Server::new(move |seen| match seen.line.as_str() {
        "POST /old" => answer(307, "Location: /new\r\n", ""),
        "GET /away" => answer(302, &format!("Location: {elsewhere}/new\r\n"), ""),
        "GET /round" => answer(301, "Location: /round\r\n", ""),
        _ => answer(200, "", "{}"),
    });
    run(async {
        let forge = connect(ForgeKind::GitHub, &server.url, &[]).await.unwrap();
        forge.api.post("/old", &serde_json::json!({ "a": 1 }), soon()).await.unwrap();
        let away = forge.api.get("/away", soon()).await.unwrap_err();
        assert!(matches!(&away, Failure::Elsewhere(why) if why.contains("redirects to 127.0.0.1")), "{away:?}");
        let round = forge.api.get("/round", Instant::now() + Duration::from_millis(900)).await.unwrap_err();
        assert!(round.to_string().contains("in circles"), "{round}");
    });
    let seen = server.seen();
    assert_eq!((seen[1].line.as_str(), seen[1].body.as_str()), ("POST /new", r#"{"a":1}"#));
    assert_eq!(seen[1].header("authorization"), Some("Bearer t0ken"));
    assert_eq!(other.lines(), [""; 0]);
}

#[test]
fn a_proxy_gets_the_whole_address_of_plain_http_and_no_token_of_what_is_encrypted() {
    let proxy =
        Server::new(|seen| if seen.line.starts_with("CONNECT") { answer(407, "", "") } else { answer(200, "", "{}") });
    let address = proxy.url.replace("http://", "http://user:pass@");
    run(async {
        let env = [("HTTP_PROXY", address.as_str()), ("HTTPS_PROXY", &address)];
        let plain = connect(ForgeKind::GitHub, "http://ghe.invalid/api/v3", &env).await.unwrap();
        plain.api.get("/x", soon()).await.unwrap();
        let tls = connect(ForgeKind::GitHub, "https://ghe.invalid/api/v3", &env).await.unwrap();
        let refused = tls.api.get("/x", Instant::now() + Duration::from_millis(900)).await.unwrap_err();
        assert!(matches!(&refused, Failure::Unsent(why) if why.contains("cannot connect")), "{refused:?}");
    });
    let seen = proxy.seen();
    assert_eq!(seen[0].line, "GET http://ghe.invalid/api/v3/x");
    assert_eq!(seen[1].line, "CONNECT ghe.invalid:443");
    for seen in &seen {
        assert_eq!(seen.header("proxy-authorization"), Some("Basic dXNlcjpwYXNz"));
    }
    assert_eq!((seen[0].header("authorization"), seen[1].header("authorization")), (Some("Bearer t0ken"), None));
}

#[test]
fn where_no_proxy_is_wanted_none_is_asked() {
    let (proxy, server) = (Server::new(|_| answer(502, "", "")), Server::new(|_| answer(200, "", "{}")));
    run(async {
        let env = [("HTTP_PROXY", proxy.url.as_str()), ("NO_PROXY", "127.0.0.0/8")];
        let forge = connect(ForgeKind::GitHub, &server.url, &env).await.unwrap();
        forge.api.get("/x", soon()).await.unwrap();
    });
    assert_eq!((server.lines().len(), proxy.lines().len()), (1, 0));
}

#[test]
fn a_refusal_tells_the_forges_words() {
    let body = r#"{"message":"Validation Failed","errors":[{"message":"body is too long"},"x"]}"#;
    let server = Server::new(move |_| answer(422, "", body));
    let failure = run(async {
        let forge = connect(ForgeKind::GitHub, &server.url, &[]).await.unwrap();
        forge.api.get("/x", soon()).await.unwrap_err()
    });
    assert_eq!(failure.to_string(), "status 422: Validation Failed; body is too long; x");
}

#[test]
fn writes_keep_a_seconds_distance() {
    let server = Server::new(|_| answer(200, "", "{}"));
    let began = Instant::now();
    run(async {
        let forge = connect(ForgeKind::GitHub, &server.url, &[]).await.unwrap();
        for _ in 0..2 {
            forge.api.patch("/x", &Value::Null, soon()).await.unwrap();
            forge.api.get("/x", soon()).await.unwrap();
        }
    });
    assert!(began.elapsed() >= BETWEEN_WRITES, "{:?}", began.elapsed());
}

#[test]
fn what_only_reads_is_no_write_whatever_its_method() {
    let server = Server::new(|_| answer(200, "", "{}"));
    let began = Instant::now();
    run(async {
        let forge = connect(ForgeKind::GitHub, &server.url, &[]).await.unwrap();
        for _ in 0..20 {
            forge.api.graphql("query { viewer { login } }", soon()).await.unwrap();
        }
        forge.api.post("/x", &Value::Null, soon()).await.unwrap();
    });
    assert!(began.elapsed() < 20 * BETWEEN_WRITES, "{:?}", began.elapsed());
}

/// Comments `text` where the first POST is accepted and then answered by `fault`. Returns the requests.
#[track_caller]
fn check_accepted(fault: fn() -> Option<String>, expected: Done) -> Vec<String> {
    let accepted = Mutex::new(false);
    let server = Server::new(move |seen| {
        let mut accepted = accepted.lock().unwrap();
        match (seen.line.split(' ').next().unwrap(), *accepted) {
            ("GET", _) if seen.line.ends_with("/user") => answer(200, "", USER),
            ("GET", false) => answer(200, "", "[]"),
            ("GET", true) => answer(200, "", &ours(7, &format!("{MARKER}\nhello"))),
            ("POST", false) => {
                *accepted = true;
                fault()
            }
            _ => answer(500, "", ""),
        }
    });
    let posted = run(async {
        let forge = connect(ForgeKind::GitHub, &server.url, &[]).await.unwrap();
        forge.comment(3, &format!("{MARKER}\nhello"), None, soon()).await.unwrap()
    });
    assert_eq!((posted.id, posted.done), (7, expected));
    server.lines()
}

#[test]
fn a_post_whose_fate_is_not_known_is_looked_for_and_never_sent_again() {
    let faults: [fn() -> Option<String>; 4] = [
        || None,
        || answer(502, "", "<html>"),
        || Some("HTTP/1.1 201 X\r\nContent-Length: 500\r\n\r\n{\"id\":".to_owned()),
        || answer(201, "", "{\"id\":"),
    ];
    for fault in faults {
        let lines = check_accepted(fault, Done::Unchanged);
        let posts = lines.iter().filter(|line| line.starts_with("POST")).count();
        assert_eq!(posts, 1, "{lines:?}");
    }
}

#[test]
fn a_limit_is_waited_for_and_a_403_about_rights_is_not_tried_again() {
    let tries = Mutex::new(0);
    let server = Server::new(move |seen| {
        if seen.line.starts_with("GET") {
            let is_user = seen.line.ends_with("/user");
            return answer(200, "", if is_user { USER } else { "[]" });
        }
        let mut tries = tries.lock().unwrap();
        *tries += 1;
        match *tries {
            1 => answer(429, "Retry-After: 1\r\n", "{}"),
            _ => answer(403, "", r#"{"message":"Resource not accessible by integration"}"#),
        }
    });
    let failure = run(async {
        let forge = connect(ForgeKind::GitHub, &server.url, &[]).await.unwrap();
        forge.comment(3, MARKER, None, soon()).await.unwrap_err()
    });
    assert_eq!(failure.code(), Some(403));
    assert!(failure.hint().is_some_and(|hint| hint.contains("pull-requests: write")));
    assert_eq!(server.lines().iter().filter(|line| line.starts_with("POST")).count(), 2);
}

#[test]
fn a_token_without_a_user_is_the_app_that_graphql_names_else_the_actions_own() {
    for (graphql, login) in
        [(r#"{"data":{"viewer":{"login":"my-app[bot]"}}}"#, "my-app[bot]"), ("", "github-actions[bot]")]
    {
        let server = Server::new(move |seen| match seen.line.as_str() {
            "GET /user" => answer(403, "", r#"{"message":"Resource not accessible by integration"}"#),
            "POST /graphql" if graphql.is_empty() => answer(404, "", "{}"),
            "POST /graphql" => answer(200, "", graphql),
            line if line.starts_with("GET") => {
                let comment = |id: u64, login: &str| {
                    let user = serde_json::json!({ "login": login, "type": "Bot" });
                    serde_json::json!({ "id": id, "body": MARKER, "user": user })
                };
                let list = [comment(1, "x[bot]"), comment(2, "my-app[bot]"), comment(3, "github-actions[bot]")];
                answer(200, "", &serde_json::to_string(&list).unwrap())
            }
            _ => answer(500, "", ""),
        });
        let posted = run(async {
            let forge = connect(ForgeKind::GitHub, &server.url, &[]).await.unwrap();
            forge.comment(3, MARKER, None, soon()).await.unwrap()
        });
        assert_eq!((posted.id, posted.done), (if login.starts_with("my") { 2 } else { 3 }, Done::Unchanged));
    }
}
