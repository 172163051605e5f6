//! What an agent's words about its failure mean: the API did not serve it, a limit held, or it just failed. In: an
//! HTTP status where there is one, and untrusted text. Out: a `Terminal` with bounded text.

use crate::core::{Terminal, Unavailability};
use crate::text::one_line;

/// Longest reason that is kept, characters.
const MAX_REASON_CHARS: usize = 400;
/// An empty account says so in one of these ways, whatever its status; lower case.
const QUOTA_WORDS: [&str; 8] = [
    "insufficient_quota",
    "exceeded your current quota",
    "quota exceeded",
    "credit balance",
    "billing",
    "usage limit",
    "out of credits",
    "payment required",
];
/// What stands before the status where it comes only as text: codex, qwen, and Gemini's error document.
const BEFORE_STATUS: [&str; 4] = ["unexpected status ", "last status: ", "API Error: ", "\"code\":"];

/// How an agent ended that says why it failed.
pub(super) fn failed(status: Option<u64>, text: &str, resume_after_ms: Option<i64>) -> Terminal {
    match unavailable(status.or_else(|| status_in(text)), text) {
        Some(why) => Terminal::Unavailable { why, resume_after_ms },
        None => Terminal::Failed { reason: brief(text) },
    }
}

/// Untrusted text, short enough for a report.
pub(super) fn brief(text: &str) -> String {
    one_line(text, MAX_REASON_CHARS)
}

/// What a response's status means. Without one there was no response, and words alone prove nothing.
fn unavailable(status: Option<u64>, text: &str) -> Option<Unavailability> {
    let text = text.to_lowercase();
    let is_quota = QUOTA_WORDS.iter().any(|words| text.contains(words));
    match status? {
        402 => Some(Unavailability::Quota),
        400 | 401 | 403 | 429 if is_quota => Some(Unavailability::Quota),
        401 | 403 => Some(Unavailability::Auth),
        404 if text.contains("model") => Some(Unavailability::Model),
        408 | 429 | 500..=599 => Some(Unavailability::Rate),
        _ => None,
    }
}

/// The HTTP status that an error message names.
fn status_in(text: &str) -> Option<u64> {
    BEFORE_STATUS.iter().find_map(|before| {
        let (_, after) = text.split_once(before)?;
        let digits = after.trim_start().get(..3)?;
        digits.parse::<u64>().ok().filter(|status| (400..=599).contains(status))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: Option<u64>, text: &str, expected: Option<Unavailability>) {
        let why = match failed(status, text, None) {
            Terminal::Unavailable { why, .. } => Some(why),
            _ => None,
        };
        assert_eq!(why, expected, "{text}");
    }

    #[test]
    fn a_status_says_why_the_api_does_not_serve() {
        check(Some(401), "invalid x-api-key", Some(Unavailability::Auth));
        check(Some(403), "forbidden", Some(Unavailability::Auth));
        check(Some(429), "slow down", Some(Unavailability::Rate));
        check(Some(529), "overloaded", Some(Unavailability::Rate));
        check(Some(404), "API Error: 404 not_found_error: model: claude-sonet-9", Some(Unavailability::Model));
        check(Some(404), "no such file", None);
        check(Some(400), "max_tokens is missing", None);
    }

    #[test]
    fn an_empty_account_is_no_wrong_key_and_no_crowd() {
        check(Some(400), "Your credit balance is too low", Some(Unavailability::Quota));
        check(Some(429), "You exceeded your current quota", Some(Unavailability::Quota));
        check(Some(402), "", Some(Unavailability::Quota));
    }

    #[test]
    fn the_status_is_found_in_text() {
        check(None, "unexpected status 401 Unauthorized: no, url: http://x", Some(Unavailability::Auth));
        check(None, "exceeded retry limit, last status: 429 Too Many Requests", Some(Unavailability::Rate));
        check(None, "[API Error: 503 try later]", Some(Unavailability::Rate));
        check(None, r#"[API Error: {"error":{"code":403,"message":"no"}}]"#, Some(Unavailability::Auth));
    }

    #[test]
    fn words_alone_prove_nothing() {
        check(None, "the billing module does not compile", None);
        check(None, "API Error: \u{1F980}\u{1F980}", None);
        check(None, "last status: 200", None);
    }

    #[test]
    fn a_reason_is_bounded() {
        let Terminal::Failed { reason } = failed(None, &"long ".repeat(10_000), None) else { panic!() };
        assert!(reason.chars().count() <= MAX_REASON_CHARS);
    }
}
