//! Numbers as agents print them. Nonsense counts as nothing, what is too large saturates, totals never shrink; input
//! and output are translated into our terms by each protocol, as they do not agree on what these hold.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::event::{leading_type, mentions};
use crate::core::{Usage, UsageSource};

/// Calls whose usage may still change: those of the main loop and of as many sub-agents as work at once.
const RECENT_CALLS: usize = 16;

/// A count that an agent prints.
pub(super) type Amount = Scaled<1>;
/// Money: dollars in the stream, millionths of a dollar here, rounded up.
pub(super) type Micro = Scaled<1_000_000>;

/// A number times a factor. Anything that is not a number, or less than nothing, is 0; what is too large saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scaled<const FACTOR: u32>(pub(super) u64);

impl<'de, const FACTOR: u32> Deserialize<'de> for Scaled<FACTOR> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NumberVisitor::<FACTOR>)
    }
}

struct NumberVisitor<const FACTOR: u32>;

impl<'de, const FACTOR: u32> Visitor<'de> for NumberVisitor<FACTOR> {
    type Value = Scaled<FACTOR>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Scaled(number.saturating_mul(u64::from(FACTOR))))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Scaled(u64::try_from(number).unwrap_or(0).saturating_mul(u64::from(FACTOR))))
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates; the sign is gone")]
    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        let number = if number.is_nan() { 0.0 } else { number.max(0.0) };
        Ok(Scaled((number * f64::from(FACTOR)).ceil() as u64))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Scaled(0))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Scaled(0))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scaled(0))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scaled(0))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scaled(0))
    }
}

/// Usage of calls one by one, for streams that say the same call's more than once.
#[derive(Default)]
pub(super) struct Calls {
    settled: Usage,
    recent: VecDeque<(u64, Usage)>,
}

impl Calls {
    /// Takes note of what the call with this id used, and returns the total. A call that used nothing never was.
    pub(super) fn note(&mut self, id: &str, usage: Usage) -> Usage {
        if usage.tokens() > 0 {
            let usage = Usage { api_calls: 1, ..usage };
            let id = hash(id);
            match self.recent.iter_mut().find(|(known, _)| *known == id) {
                Some((_, known)) => *known = (*known).max(usage),
                None => self.begin(id, usage),
            }
        }
        self.recent.iter().fold(self.settled, |sum, (_, usage)| sum.plus(*usage))
    }

    fn begin(&mut self, id: u64, usage: Usage) {
        self.recent.push_back((id, usage));
        if self.recent.len() > RECENT_CALLS
            && let Some((_, oldest)) = self.recent.pop_front()
        {
            self.settled = self.settled.plus(oldest);
        }
    }
}

/// An id of any length in a few bytes. A collision makes an agent's word too small, which the gateway's is not.
fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// Usage of an agent that tells no cost, or tells 0 where it knows none: it costs nobody knows what.
pub(super) fn unpriced(usage: Usage) -> Usage {
    let unknown = usage.cost_microusd == 0 && usage.tokens().max(usage.api_calls) > 0;
    Usage { unpriced_calls: if unknown { usage.api_calls.max(1) } else { 0 }, ..usage }
}

/// A line that names the model which works.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<NamedMessage<'a>>,
}

#[derive(Deserialize)]
struct NamedMessage<'a> {
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
}

/// The model that the first words of a stream, or a message in it, name; untrusted text.
pub(super) fn model_of(line: &str) -> Option<String> {
    if !matches!(leading_type(line), Some("init" | "system" | "assistant")) {
        return None;
    }
    let named: Named = serde_json::from_str(line).ok()?;
    named.model.or_else(|| named.message?.model).map(Cow::into_owned)
}

/// A line of an agent without a protocol of its own.
#[derive(Deserialize)]
struct PlainLine {
    usage: PlainUsage,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PlainUsage {
    input_tokens: Amount,
    output_tokens: Amount,
    api_calls: Amount,
    /// 0 is for nothing; silence is not.
    cost_usd: Option<Micro>,
}

/// The total that one line of output reports, if it is a JSON object with a `usage` object.
pub(super) fn of_line(line: &str) -> Option<Usage> {
    if !mentions(line, "\"usage\"") {
        return None;
    }
    let said = serde_json::from_str::<PlainLine>(line).ok()?.usage;
    let usage = Usage {
        input_tokens: said.input_tokens.0,
        output_tokens: said.output_tokens.0,
        api_calls: said.api_calls.0,
        source: UsageSource::Reported,
        ..Usage::default()
    };
    Some(said.cost_usd.map_or_else(|| unpriced(usage), |cost| Usage { cost_microusd: cost.0, ..usage }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<(u64, u64, u64, u64)>) {
        let got = of_line(line).map(|u| (u.input_tokens, u.output_tokens, u.api_calls, u.cost_microusd));
        assert_eq!(got, expected, "{line}");
    }

    #[test]
    fn a_usage_object_counts_wherever_it_comes_from() {
        check(
            r#"{"usage":{"input_tokens":10,"output_tokens":5,"api_calls":2,"cost_usd":0.25}}"#,
            Some((10, 5, 2, 250_000)),
        );
        check(r#"{"type":"result","usage":{"output_tokens":7}}"#, Some((0, 7, 0, 0)));
    }

    #[test]
    fn a_cost_that_is_not_told_is_not_known() {
        let check = |told: &str, expected| {
            let usage = of_line(&format!(r#"{{"usage":{{"input_tokens":7{told}}}}}"#)).unwrap();
            assert_eq!((usage.cost_microusd, usage.unpriced_calls), expected, "{told}");
        };
        check("", (0, 1));
        check(r#","api_calls":3"#, (0, 3));
        check(r#","cost_usd":null"#, (0, 1));
        check(r#","cost_usd":0"#, (0, 0));
        check(r#","api_calls":3,"cost_usd":0.5"#, (500_000, 0));
        assert_eq!(of_line(r#"{"usage":{}}"#).unwrap().unpriced_calls, 0);
    }

    #[test]
    fn other_lines_count_nothing() {
        check("usage: 5", None);
        check(r#"{"usage":"lots"}"#, None);
        check(r#"{"usage":{"input_tokens":10}"#, None);
    }

    #[test]
    fn nonsense_is_clamped() {
        check(r#"{"usage":{"input_tokens":-5,"output_tokens":"x"}}"#, Some((0, 0, 0, 0)));
        check(r#"{"usage":{"input_tokens":null,"output_tokens":[1,{}],"api_calls":{"a":[]}}}"#, Some((0, 0, 0, 0)));
        check(r#"{"usage":{"input_tokens":18446744073709551616}}"#, Some((u64::MAX, 0, 0, 0)));
        check(r#"{"usage":{"input_tokens":1e300,"cost_usd":-1}}"#, Some((u64::MAX, 0, 0, 0)));
        check(r#"{"usage":{"input_tokens":1e999}}"#, None);
    }

    #[test]
    fn a_call_that_is_told_twice_counts_once() {
        let mut calls = Calls::default();
        let used = |input, output| Usage { input_tokens: input, output_tokens: output, ..Usage::default() };
        calls.note("a", used(10, 1));
        calls.note("b", used(7, 1));
        let total = calls.note("a", used(10, 50));
        assert_eq!((total.input_tokens, total.output_tokens, total.api_calls), (17, 51, 2));
    }

    #[test]
    fn the_model_is_known_from_where_it_is_named() {
        let check = |line: &str, expected: Option<&str>| assert_eq!(model_of(line).as_deref(), expected, "{line}");
        check(r#"{"type":"system","subtype":"init","model":"claude-sonnet-4-5"}"#, Some("claude-sonnet-4-5"));
        check(r#"{"type":"init","model":"gemini-2.5-pro"}"#, Some("gemini-2.5-pro"));
        check(r#"{"type":"assistant","message":{"id":"a","model":"qwen3-coder-plus"}}"#, Some("qwen3-coder-plus"));
        check(r#"{"type":"user","message":{"model":"what a tool printed"}}"#, None);
        check(r#"{"type":"system","subtype":"status"}"#, None);
    }

    #[test]
    fn ten_thousand_calls_are_all_counted() {
        let mut calls = Calls::default();
        for n in 0..10_000 {
            calls.note(&format!("msg_{n}"), Usage { input_tokens: 2, ..Usage::default() });
        }
        assert_eq!(calls.note("", Usage::default()).input_tokens, 20_000);
    }
}
