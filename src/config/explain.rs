//! A parser's error in words that a person can act on: the key, the value, what is accepted, what was meant.
//! The one file that knows the parser's errors.

use serde_json::Value;
use serde_saphyr::{Error, MessageFormatter, UserMessageFormatter};

use super::dotted::{join, leaves, within};
use super::schema::Config;
use super::suggest::{closest, did_you_mean};

/// What is wrong, and what can be done about it. `key` is the dotted key that was being read.
pub(super) fn explain(error: &Error, key: Option<&str>) -> (String, Option<String>) {
    match innermost(error) {
        Error::SerdeUnknownField { field, expected, .. } => unknown_key(field, expected, key),
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            let hint = closest(variant, expected.iter().copied()).map(did_you_mean);
            (about(key, format!("`{variant}` is not accepted; expected {}", listed(expected))), hint)
        }
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => refused(unexpected, expected, key),
        Error::SerdeMissingField { field, .. } => (about(key, format!("`{field}` is missing")), None),
        Error::InvalidBooleanStrict { .. } => (about(key, "expected `true` or `false`".to_owned()), None),
        Error::InvalidScalar { ty, .. } => (about(key, format!("expected a {ty}")), None),
        Error::NullIntoString { .. } => {
            (about(key, "expected text, not null; write \"\" for no text".to_owned()), None)
        }
        Error::Unexpected { expected, .. } => (about(key, format!("expected {}", plain(expected))), None),
        Error::NonFiniteFloat { value, .. } => (about(key, format!("`{value}` is not a finite number")), None),
        Error::ExternallyTaggedEnumExpectedScalarOrMapping { .. } => (about(key, "expected a word".to_owned()), None),
        other => (UserMessageFormatter.format_message(other).into_owned(), None),
    }
}

fn innermost(error: &Error) -> &Error {
    match error {
        Error::AliasError { error, .. } | Error::WithSnippet { error, .. } => innermost(error),
        other => other,
    }
}

fn about(key: Option<&str>, text: String) -> String {
    match key {
        Some(key) => format!("`{key}`: {text}"),
        None => text,
    }
}

fn refused(unexpected: &str, expected: &str, key: Option<&str>) -> (String, Option<String>) {
    let (expected, hint) = match expected.split_once("; did you mean ") {
        Some((expected, meant)) => (expected, Some(format!("did you mean {meant}"))),
        None => (expected, None),
    };
    let unexpected = if unexpected == "unit value" { "null" } else { unexpected };
    (about(key, format!("{unexpected} is not accepted; expected {}", plain(expected))), hint)
}

/// The parser's words for shapes, in plain ones.
fn plain(expected: &str) -> &str {
    match expected {
        "sequence start" | "a sequence" => "a list",
        "mapping start" | "a map" => "a map",
        other if other.starts_with("struct ") => "a map",
        other => other,
    }
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn unknown_key(field: &str, known: &[&'static str], key: Option<&str>) -> (String, Option<String>) {
    let (name, parent) = match key {
        Some(key) if key == field => (field.to_owned(), ""),
        Some(key) if key.ends_with(&format!(".{field}")) => {
            (key.to_owned(), key.rsplit_once('.').map_or("", |(parent, _)| parent))
        }
        _ => (field.to_owned(), ""),
    };
    let near = closest(field, known.iter().copied()).map(|near| join(parent, near));
    let hint = match near.or_else(|| elsewhere(field)) {
        Some(meant) => did_you_mean(meant),
        None => format!("known keys: {}", listed(known)),
    };
    (format!("unknown key `{name}`"), Some(hint))
}

/// The key of that name that stands somewhere else in the schema; the one closest to the top.
fn elsewhere(field: &str) -> Option<String> {
    let tree = serde_json::to_value(Config::default()).unwrap_or(Value::Null);
    let keys = leaves(&tree).into_keys().filter(|key| key.rsplit('.').next() == Some(field));
    keys.min_by_key(|key| key.matches('.').count())
}

/// True where one of the two keys stands at or below the other.
pub(super) fn related(one: &str, other: &str) -> bool {
    within(one, other) || within(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, key: Option<&str>, message: &str, hint: Option<&str>) {
        let options = super::super::keys::options(serde_saphyr::NonFiniteFloatPolicy::PassThrough);
        let error = serde_saphyr::from_str_with_options::<Config>(text, options).unwrap_err();
        let (said, meant) = explain(&error, key);
        assert_eq!(said, message, "{text}");
        assert_eq!(meant.as_deref(), hint, "{text}");
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_known_one_here_or_elsewhere() {
        let meant = Some("did you mean `resource_limits`?");
        check("resource_limit: {}", Some("resource_limit"), "unknown key `resource_limit`", meant);
        check("max_tokens: 5", None, "unknown key `max_tokens`", Some("did you mean `resource_limits.max_tokens`?"));
        let meant = Some("did you mean `state.remote`?");
        check("state: {remot: x}", Some("state.remot"), "unknown key `state.remot`", meant);
        check("state: {banana: x}", None, "unknown key `banana`", Some("known keys: `remote`"));
    }

    #[test]
    fn a_wrong_value_is_named_with_what_is_accepted() {
        let text = "validation: {baseline: strct}";
        let message = "`k`: `strct` is not accepted; expected `new_failures`, `strict`, `none`";
        check(text, Some("k"), message, Some("did you mean `strict`?"));
        check("validation: {run_tests: maybe}", Some("k"), "`k`: expected `true` or `false`", None);
        check("policy: {allow: src}", Some("k"), "`k`: expected a list", None);
        check("policy: 3", Some("k"), "`k`: expected a map", None);
        let message = "`k`: `1h` is not accepted; expected a whole number of seconds, at least 1";
        check("resource_limits: {idle_seconds: 1h}", Some("k"), message, Some("did you mean 3600?"));
    }
}
