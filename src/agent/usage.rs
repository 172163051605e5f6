//! Usage as agents print it: any line that is a JSON object with a `usage` object. Each is a total so far; totals
//! never shrink, nonsense counts as nothing, and what is too large saturates.

use serde_json::Value;

use crate::core::{Usage, UsageSource};

/// The usage that one line of output reports, if it does.
pub fn of_line(line: &str) -> Option<Usage> {
    let value: Value = serde_json::from_str(line).ok()?;
    let usage = value.get("usage")?.as_object()?;
    let field = |name: &str| usage.get(name).map_or(0, amount);
    Some(Usage {
        input_tokens: field("input_tokens"),
        output_tokens: field("output_tokens"),
        api_calls: field("api_calls"),
        cost_microusd: usage.get("cost_usd").map_or(0, |usd| scaled(usd, 1e6)),
        source: UsageSource::Reported,
    })
}

/// The usage that a whole stream reports, for attempts whose process was lost.
pub fn of_stream(text: &str) -> Option<Usage> {
    text.lines().filter(|l| l.starts_with('{')).filter_map(of_line).reduce(Usage::max)
}

fn amount(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| scaled(value, 1.0))
}

/// Negative and not-a-number count as 0; too large saturates.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates; the sign is gone")]
fn scaled(value: &Value, factor: f64) -> u64 {
    let number = value.as_f64().unwrap_or(0.0);
    if number.is_nan() { 0 } else { (number.max(0.0) * factor).ceil() as u64 }
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
    fn other_lines_count_nothing() {
        check("usage: 5", None);
        check(r#"{"usage":"lots"}"#, None);
        check(r#"{"usage":{"input_tokens":10}"#, None);
    }

    #[test]
    fn nonsense_is_clamped() {
        check(r#"{"usage":{"input_tokens":-5,"output_tokens":"x"}}"#, Some((0, 0, 0, 0)));
        check(r#"{"usage":{"input_tokens":18446744073709551616}}"#, Some((u64::MAX, 0, 0, 0)));
        check(r#"{"usage":{"input_tokens":1e300,"cost_usd":-1}}"#, Some((u64::MAX, 0, 0, 0)));
        check(r#"{"usage":{"input_tokens":1e999}}"#, None);
    }

    #[test]
    fn a_stream_gives_the_largest_totals() {
        let text = "{\"usage\":{\"input_tokens\":10}}\nnoise\n{\"usage\":{\"input_tokens\":4,\"output_tokens\":3}}\n";
        let usage = of_stream(text).unwrap();
        assert_eq!((usage.input_tokens, usage.output_tokens), (10, 3));
    }
}
