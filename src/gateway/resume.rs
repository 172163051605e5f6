//! When another try makes sense. In: what an API says in headers and in its body, in its many ways. Out: a moment,
//! milliseconds since 1970, never before now.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// HTTP dates (RFC 9110) are close enough to those of mails.
static HTTP_DATE: DateTimeParser = DateTimeParser::new();

/// What Anthropic and `OpenAI` limit by the minute or the day: what is left of it, and when it is whole again.
const LIMITS: [(&str, &str); 6] = [
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
];

/// The moment that a response names: `retry-after` first, then what is used up, then the body (Google). None where it
/// names none.
pub(super) fn resume_after_ms(
    retry_after: Option<&str>,
    header: &dyn Fn(&str) -> Option<String>,
    body: &str,
    now_ms: i64,
) -> Option<i64> {
    let in_ms = || header("retry-after-ms").and_then(|text| span_ms(&text, "ms"));
    in_ms()
        .map(|ms| now_ms.saturating_add(ms))
        .or_else(|| retry_after.and_then(|text| moment_ms(text, now_ms)))
        .or_else(|| reset_ms(header, now_ms))
        .or_else(|| retry_delay(body).and_then(|text| moment_ms(text, now_ms)))
        .map(|moment| moment.max(now_ms))
}

/// When everything is whole again that is used up.
fn reset_ms(header: &dyn Fn(&str) -> Option<String>, now_ms: i64) -> Option<i64> {
    let used_up = LIMITS.iter().filter(|(left, _)| header(left).is_none_or(|left| left.trim() == "0"));
    used_up.filter_map(|(_, reset)| moment_ms(&header(reset)?, now_ms)).max()
}

/// The value of Google's `retryDelay`, wherever it stands; the body may be cut.
fn retry_delay(body: &str) -> Option<&str> {
    let (_, rest) = body.split_once("\"retryDelay\"")?;
    rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?.split_once('"').map(|(delay, _)| delay)
}

/// A span of time from now (`30`, `6m0s`), a date of HTTP or one of RFC 3339.
fn moment_ms(text: &str, now_ms: i64) -> Option<i64> {
    let text = text.trim();
    let date = || HTTP_DATE.parse_timestamp(text).or_else(|_| text.parse::<Timestamp>()).ok();
    match span_ms(text, "s") {
        Some(span) => Some(now_ms.saturating_add(span)),
        None => date().map(Timestamp::as_millisecond),
    }
}

/// Milliseconds of a span: numbers, each with a unit; a single number may be without.
fn span_ms(text: &str, unit: &str) -> Option<i64> {
    let text = text.trim();
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut rest = text;
    let mut total = 0_i64;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !is_number(c)).unwrap_or(rest.len()));
        let (named, tail) = tail.split_at(tail.find(is_number).unwrap_or(tail.len()));
        let unit = if named.is_empty() && number == text { unit } else { named };
        total = total.saturating_add(rounded_up(number.parse::<f64>().ok()? * unit_ms(unit)?));
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

fn unit_ms(unit: &str) -> Option<f64> {
    match unit {
        "d" => Some(86_400_000.0),
        "h" => Some(3_600_000.0),
        "m" => Some(60_000.0),
        "s" => Some(1000.0),
        "ms" => Some(1.0),
        "us" | "µs" => Some(0.001),
        "ns" => Some(0.000_001),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn rounded_up(ms: f64) -> i64 {
    ms.ceil() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-01 00:00:00 UTC.
    const NOW: i64 = 1_767_225_600_000;

    fn check(headers: &[(&str, &str)], body: &str, expected_in_ms: Option<i64>) {
        let header = |name: &str| headers.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let got = resume_after_ms(header("retry-after").as_deref(), &header, body, NOW);
        assert_eq!(got.map(|ms| ms - NOW), expected_in_ms, "{headers:?} {body}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        check(&[("retry-after", "30")], "", Some(30_000));
        check(&[("retry-after", "0.5")], "", Some(500));
        check(&[("retry-after", "Thu, 01 Jan 2026 00:01:00 GMT")], "", Some(60_000));
        check(&[("retry-after", "Thu, 01 Jan 2015 00:00:00 GMT")], "", Some(0));
        check(&[("retry-after-ms", "1500"), ("retry-after", "9")], "", Some(1500));
        check(&[("retry-after", "soon")], "", None);
        check(&[("retry-after", "")], "", None);
        check(&[("retry-after", "-5")], "", None);
    }

    #[test]
    fn what_is_used_up_is_waited_for() {
        check(&[("x-ratelimit-reset-requests", "1s"), ("x-ratelimit-reset-tokens", "6m0s")], "", Some(360_000));
        let one_left = [
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-ratelimit-reset-requests", "23h59m59s"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "250ms"),
        ];
        check(&one_left, "", Some(250));
        check(&[("anthropic-ratelimit-tokens-reset", "2026-01-01T00:00:20Z")], "", Some(20_000));
        check(&[("x-ratelimit-remaining-tokens", "5"), ("x-ratelimit-reset-tokens", "1s")], "", None);
    }

    #[test]
    fn google_says_it_in_the_body() {
        check(&[], r#"{"error":{"details":[{"retryDelay": "34.074824224s"}]}}"#, Some(34_075));
        check(&[], r#"{"error":{"details":[{"retryDelay":"34"#, None);
        check(&[], "{}", None);
    }

    #[test]
    fn a_wait_without_end_saturates() {
        check(&[("retry-after", "1".repeat(400).as_str())], "", Some(i64::MAX - NOW));
    }
}
