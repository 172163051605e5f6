//! What this process knows for secrets: the one place that says so. The environment, the configuration and the
//! repository's own git configuration flow in, values flow out.

use std::path::Path;

use serde_json::Value;

use super::agents::Env;
use super::error::CliError;
use crate::config::Config;
use crate::git::Repo;
use crate::text::Redactor;

/// Names of variables that hold secrets end like this.
const NAME_ENDS: [&str; 12] = [
    "_KEY",
    "_APIKEY",
    "_TOKEN",
    "_SECRET",
    "_PASSWORD",
    "_PASSWD",
    "_CREDENTIALS",
    "_PAT",
    "_PASSPHRASE",
    "_AUTH",
    "_CONNECTION_STRING",
    "_WEBHOOK_URL",
];
/// Those that do not.
const NAMES: [&str; 4] = ["PGPASSWORD", "MYSQL_PWD", "SSHPASS", "DOCKER_AUTH_CONFIG"];
/// Where a configuration in JSON or a connection string has its secrets.
const PARTS: [&str; 6] = ["auth", "password", "pwd", "identitytoken", "accountkey", "sharedaccesskey"];
/// A file that a variable names is a key and not something else up to here, bytes.
const MAX_KEY_BYTES: u64 = 16 << 10;
/// A name without a password in an address is a token from here on, characters.
const TOKEN_CHARS: usize = 16;

/// The secrets of an environment: variables that are named like one, files of keys that such a variable names, and
/// passwords in addresses, whatever variable holds them (a proxy, a database).
pub fn of_environment<'a>(env: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    env.flat_map(|(name, value)| of_variable(name, value)).collect()
}

fn of_variable(name: &str, value: &str) -> Vec<String> {
    let name = name.to_ascii_uppercase();
    let is_secret =
        NAMES.contains(&name.as_str()) || NAME_ENDS.iter().any(|end| name.ends_with(end) || name == end[1..]);
    let value = unquoted(value);
    let named = match is_secret {
        true if is_path(value) => key_in(Path::new(value)),
        true => Some(value.to_owned()),
        false => None,
    };
    let parts = is_secret.then(|| parts(value)).into_iter().flatten();
    named.into_iter().chain(parts).chain(passwords(value)).collect()
}

/// A value without quotes of its own around it: who prints it prints it with others, or with none.
fn unquoted(value: &str) -> &str {
    let value = value.trim();
    let inside = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    inside.unwrap_or(value)
}

/// True for the name of a file, there or not. A secret may begin with a slash, too, but with no directory that exists.
fn is_path(value: &str) -> bool {
    let top = || value.split('/').nth(1).filter(|top| !top.is_empty());
    let is_below_top = || value.starts_with('/') && top().is_some_and(|top| Path::new("/").join(top).exists());
    ["~/", "./", "../", "file://"].iter().any(|start| value.starts_with(start)) || is_below_top()
}

/// The secrets in a configuration of docker, or in a connection string (`Server=…;Password=…`).
fn parts(value: &str) -> Vec<String> {
    let is_part = |name: &str| PARTS.contains(&name.trim().to_ascii_lowercase().as_str());
    if let Ok(json) = serde_json::from_str(value) {
        return strings_of(&json, &is_part);
    }
    let pairs = value.split(';').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| is_part(name)).map(|(_, part)| part.to_owned()).collect()
}

fn strings_of(json: &Value, is_part: &impl Fn(&str) -> bool) -> Vec<String> {
    let fields = json.as_object().into_iter().flatten();
    let of_field = |(name, value): (&String, &Value)| match value {
        Value::String(text) if is_part(name) => vec![text.clone()],
        value => strings_of(value, is_part),
    };
    fields.flat_map(of_field).collect()
}

/// What a file of a key holds: a private key, or one line. Any other file may hold anything.
fn key_in(path: &Path) -> Option<String> {
    let is_small = path.metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_KEY_BYTES);
    let text = is_small.then(|| std::fs::read_to_string(path).ok()).flatten()?;
    (text.contains("PRIVATE KEY-----") || text.trim().lines().count() == 1).then_some(text)
}

/// The passwords and tokens in the addresses of a text: `https://user:password@host`, `https://token@host`.
fn passwords(text: &str) -> impl Iterator<Item = String> {
    let found = text.split("://").skip(1).filter_map(|rest| {
        let host = rest.split(|c: char| c == '/' || c.is_whitespace()).next()?;
        let (who, _) = host.rsplit_once('@')?;
        match who.split_once(':') {
            Some((_, password)) => Some(password),
            None => (who.len() >= TOKEN_CHARS).then_some(who),
        }
    });
    found.flat_map(|secret| std::iter::once(secret.to_owned()).chain(decoded(secret)))
}

/// What stands behind the escapes of an address, where there are any.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let escaped = behind.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => (bytes.push(byte), rest = &behind[2..]),
            None => (bytes.push(*first), rest = behind),
        };
    }
    String::from_utf8(bytes).ok().filter(|clear| clear != text)
}

/// Finds the secrets of a run.
///
/// # Errors
/// There are more than can be looked for.
pub fn redactor(env: &Env, config: Option<&Config>, repo: Option<&Repo>) -> Result<Redactor, CliError> {
    let is_none = |name: &str| config.is_some_and(|config| config.sandbox.not_secret.iter().any(|none| none == name));
    let variables = env.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut values = of_environment(variables.filter(|(name, _)| !is_none(name)));
    values.extend(config.into_iter().flat_map(|c| c.gateway.upstream.values()).flat_map(|address| passwords(address)));
    values.extend(repo.into_iter().flat_map(of_repository));
    Redactor::new(values).map_err(|error| CliError::setup(format!("the secrets cannot be looked for: {error}")))
}

/// What git is told to show to a forge: passwords in the addresses of remotes, the header that a checkout action leaves.
fn of_repository(repo: &Repo) -> Vec<String> {
    let keys = r"^(remote\..*\.(push)?url|http\.(.*\.)?extraheader)$";
    let lines = repo.git().run(&["config", "--get-regexp", keys]).unwrap_or_default();
    let header = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        key.ends_with(".extraheader").then(|| value.rsplit(' ').next().map(str::to_owned)).flatten()
    };
    lines.lines().filter_map(header).chain(passwords(&lines)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names_and_switches_and_names_are_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let key = dir.path().join("key.pem");
        std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\nMIIabcdefgh\n").expect("a file");
        let env = [
            ("ANTHROPIC_API_KEY", "sk-ant-0123456789"),
            ("github_token", "ghs_0123456789"),
            ("SSH_KEY", &dir.path().display().to_string()),
            ("MAESTRO_CI_APP_KEY", &key.display().to_string()),
            ("MAESTRO_CI_BRANCH", "maestro/feature"),
            ("KEYBOARD", "something-long"),
            ("AUTH", "whole-name"),
            ("PGPASSWORD", "pg-pass"),
            ("PWD", "/somewhere"),
            ("X_APIKEY", "\"quoted-value\""),
            ("SSH_KEY", "/home/nobody-has/this.pem"),
            ("SSH_KEY", "~/.ssh/id"),
            ("NPM_TOKEN", "/q9+no-path"),
            ("DB_CONNECTION_STRING", "Server=db;Password=part-of-it"),
            ("DOCKER_AUTH_CONFIG", r#"{"auths":{"host":{"auth":"dXNlcjpw"}}}"#),
        ];
        let expected = [
            "sk-ant-0123456789",
            "ghs_0123456789",
            "-----BEGIN PRIVATE KEY-----\nMIIabcdefgh\n",
            "whole-name",
            "pg-pass",
            "quoted-value",
            "/q9+no-path",
            "Server=db;Password=part-of-it",
            "part-of-it",
            r#"{"auths":{"host":{"auth":"dXNlcjpw"}}}"#,
            "dXNlcjpw",
        ];
        assert_eq!(of_environment(env.into_iter()), expected);
    }

    #[test]
    fn passwords_of_addresses_are_secrets() {
        let check = |text: &str, expected: &[&str]| assert_eq!(passwords(text).collect::<Vec<_>>(), expected, "{text}");
        check("http://me:pass-word@proxy:8080", &["pass-word"]);
        check("postgres://u:p%40ss@db/x postgres://u:second@db", &["p%40ss", "p@ss", "second"]);
        check("https://0123456789abcdef@github.com/o/r", &["0123456789abcdef"]);
        check("https://git@github.com/o/r https://host/@scope/x ssh git@github.com:o/r", &[]);
    }
}
