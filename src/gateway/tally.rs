//! What is known of a response's usage so far. In: the counts of single events, in any order. Out: totals that never
//! shrink, and whether they are the last word.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::core::{Usage, UsageSource};
use crate::text::one_line;

/// Most characters kept of an error: more than anybody tells of it, since a key is looked for in the whole before.
const MAX_ERROR_CHARS: usize = 4000;

/// What the events of a response said so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Totals so far; none before the first count.
    pub usage: Option<Usage>,
    /// These totals need only the end of the response to be final.
    pub is_final: bool,
    /// The response's own end was seen.
    pub complete: bool,
    /// What an error event said.
    pub error: Option<String>,
    /// Choices that began, a bit each. Only Gemini needs them: its streams have no end of their own.
    pub begun: u64,
    /// Choices that ended, a bit each.
    pub ended: u64,
}

impl Tally {
    /// Takes totals so far.
    pub(super) fn count(&mut self, usage: Usage, is_final: bool) {
        let usage = Usage { api_calls: 1, source: UsageSource::Gateway, ..usage };
        self.usage = Some(self.usage.map_or(usage, |known| known.max(usage)));
        self.is_final |= is_final;
    }

    /// Takes an error in the middle of a response, as JSON; the first stays.
    pub(super) fn fail(&mut self, error: &RawValue) {
        let message = one_line(&message(error.get()), MAX_ERROR_CHARS);
        self.error.get_or_insert(message);
    }
}

/// What the APIs say of an error, where they say it in the usual way.
#[derive(Deserialize)]
struct Said {
    #[serde(rename = "type", default)]
    kind: Value,
    #[serde(default)]
    code: Value,
    #[serde(default)]
    status: Value,
    message: String,
}

/// Its name, as far as it has one, and its message.
fn message(json: &str) -> String {
    let Ok(said) = serde_json::from_str::<Said>(json) else {
        return serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned());
    };
    let names = [&said.code, &said.kind, &said.status];
    match names.into_iter().find_map(Value::as_str) {
        Some(name) => format!("{name}: {}", said.message),
        None => said.message,
    }
}

/// Reads an amount of tokens: nonsense and less than 0 count as nothing, a fraction as one, too many saturate.
pub(super) fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = <&'de RawValue>::deserialize(deserializer)?.get();
    Ok(text.parse().unwrap_or_else(|_| saturated(text.parse().unwrap_or(0.0))))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates; the sign is gone")]
fn saturated(number: f64) -> u64 {
    number.max(0.0).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: u64) {
        assert_eq!(amount(&mut serde_json::Deserializer::from_str(json)).unwrap(), expected, "{json}");
    }

    #[test]
    fn amounts_are_clamped() {
        check("7", 7);
        check("7.2", 8);
        check("-5", 0);
        check("null", 0);
        check("\"x\"", 0);
        check("[1]", 0);
        check("18446744073709551616", u64::MAX);
        check("1e999", u64::MAX);
    }

    #[test]
    fn totals_never_shrink() {
        let mut tally = Tally::default();
        for (input_tokens, output_tokens) in [(10, 1), (4, 3), (0, 2)] {
            tally.count(Usage { input_tokens, output_tokens, ..Usage::default() }, false);
        }
        let usage = tally.usage.unwrap();
        assert_eq!((usage.input_tokens, usage.output_tokens, usage.api_calls), (10, 3, 1));
    }

    #[test]
    fn errors_are_told_in_their_own_words() {
        assert_eq!(message(r#"{"type":"overloaded_error","message":"Overloaded"}"#), "overloaded_error: Overloaded");
        assert_eq!(message(r#"{"code":503,"message":"later","status":"UNAVAILABLE"}"#), "UNAVAILABLE: later");
        assert_eq!(message(r#""just text""#), "just text");
        assert_eq!(message(r#"{"code":1}"#), r#"{"code":1}"#);
    }
}
