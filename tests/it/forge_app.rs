//! What an app of GitHub does before it is anybody: it signs a token of its own, finds its installation, and gets the
//! installation's token. The signature is checked with openssl, by somebody who did not write the client.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::forge_github::{BASE, INSTALLED, REPO, STRANGER};
use crate::forge_server::{Reply, Request};

const APP_ID: u64 = 4711;
const INSTALLATION: u64 = 42;

/// What an app may ask with a signed token of its own, before it is anybody.
pub fn of_the_app(key: &Path, request: &Request, parts: &[&str], token: &str) -> Option<Reply> {
    let wants = matches!(parts, ["app", ..] | ["repos", _, _, "installation"]);
    if !wants {
        return None;
    }
    if let Err(why) = signed_by_app(key, token) {
        return Some(Reply::error(401, &why));
    }
    let id = INSTALLATION.to_string();
    Some(match (request.method.as_str(), parts) {
        ("GET", ["app"]) => Reply::new(200, app_json()),
        ("GET", ["repos", owner, name, "installation"]) if format!("{owner}/{name}") == REPO => {
            Reply::new(200, installation_json(request.header("host").unwrap_or_default()))
        }
        ("POST", ["app", "installations", of, "access_tokens"]) if *of == id => {
            let token = json!({"token": INSTALLED, "expires_at": "2099-01-01T00:00:00Z", "permissions": {},
                "repository_selection": "all"});
            Reply::new(201, token)
        }
        _ => Reply::error(404, "Not Found"),
    })
}

fn app_json() -> Value {
    let url = "https://forge.example/apps/maestro";
    json!({"id": APP_ID, "slug": "maestro", "name": "maestro", "node_id": "A", "owner": STRANGER.json(),
        "html_url": url, "external_url": url, "permissions": {}, "events": [], "description": null})
}

fn installation_json(host: &str) -> Value {
    let url = "https://forge.example/settings/installations/42";
    json!({"id": INSTALLATION, "app_id": APP_ID, "app_slug": "maestro", "account": STRANGER.json(), "target_id": 1,
        "target_type": "Organization", "repository_selection": "all", "events": [], "permissions": {},
        "html_url": url, "repositories_url": url,
        "access_tokens_url": format!("http://{host}{BASE}/app/installations/{INSTALLATION}/access_tokens"),
        "created_at": "2026-11-01T00:00:00Z", "updated_at": "2026-11-01T00:00:00Z"})
}

/// Checks a signed token as GitHub does: algorithm, issuer, at most ten minutes, the signature.
fn signed_by_app(key: &Path, token: &str) -> Result<(), String> {
    let parts: Vec<&str> = token.split('.').collect();
    let [head, claims, signature] = parts[..] else { return Err("A JSON web token could not be decoded".to_owned()) };
    let json = |text: &str| serde_json::from_slice::<Value>(&base64url(text)).map_err(|error| error.to_string());
    let (head, claims_json) = (json(head)?, json(claims)?);
    if head["alg"] != "RS256" {
        return Err(format!("algorithm {}", head["alg"]));
    }
    let issuer = claims_json["iss"].as_str().map_or_else(|| claims_json["iss"].to_string(), str::to_owned);
    let life = claims_json["exp"].as_i64().unwrap_or(0) - claims_json["iat"].as_i64().unwrap_or(0);
    if issuer != APP_ID.to_string() || !(1..=660).contains(&life) {
        return Err(format!("'Issuer' {issuer} or 'Expiration time' {life} s is wrong"));
    }
    let dir = tempfile::tempdir().unwrap();
    let signed = token.rsplit_once('.').map_or("", |(signed, _)| signed);
    std::fs::write(dir.path().join("signature"), base64url(signature)).unwrap();
    std::fs::write(dir.path().join("signed"), signed).unwrap();
    let mut verify = Command::new("openssl");
    verify.args(["dgst", "-sha256", "-verify"]).arg(key).arg("-signature").arg(dir.path().join("signature"));
    let output = verify.arg(dir.path().join("signed")).output().expect("openssl");
    output.status.success().then_some(()).ok_or_else(|| "the signature is wrong".to_owned())
}

/// Bytes of base64 in its form for URLs.
fn base64url(text: &str) -> Vec<u8> {
    let digits: BTreeMap<u8, u32> =
        (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(*b"-_").zip(0..).collect();
    let values: Vec<u32> = text.bytes().filter_map(|byte| digits.get(&byte).copied()).collect();
    let mut bytes = Vec::new();
    for four in values.chunks(4) {
        let bits = four.iter().fold(0, |bits, value| bits << 6 | value) << (6 * (4 - four.len()));
        bytes.extend(&bits.to_be_bytes()[1..four.len()]);
    }
    bytes
}

/// A pair of keys for the app: the private key's path and the public one's.
pub fn app_keys(dir: &Path) -> (PathBuf, PathBuf) {
    let (private, public) = (dir.join("app.pem"), dir.join("app.pub"));
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).output().expect("openssl");
        assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let (private_text, public_text) = (private.display().to_string(), public.display().to_string());
    openssl(&["genrsa", "-traditional", "-out", &private_text, "2048"]);
    openssl(&["rsa", "-in", &private_text, "-pubout", "-out", &public_text]);
    (private, public)
}
