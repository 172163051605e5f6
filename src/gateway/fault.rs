//! What an error response means. In: its status, headers and the beginning of its body. Out: a typed fault with the
//! moment from which another try makes sense, where the API said one. The status decides; the body only tells a used-up
//! quota from too many requests, and a bad key from a bad request.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::resume::resume_after_ms;
use crate::core::{CallFault, CallTrouble};
use crate::text::one_line;

/// Most characters kept of a message.
const MAX_MESSAGE_CHARS: usize = 500;

/// Words for a quota or a credit that waiting for a minute does not bring back. A quota by the day is one: Google names
/// it in its details, `OpenAI` in its message. "Check your plan and billing" is none: Google says it of any limit.
const QUOTA: [&str; 12] = [
    "insufficient_quota",
    "insufficient_balance",
    "exceeded_current_quota",
    "credit balance",
    "billing_error",
    "billing_hard_limit",
    "billing_not_active",
    "api usage limits",
    "perday",
    "per day",
    "per_day",
    "arrearage",
];

/// Words for a key that is wrong, where the status does not say it: Google answers 400.
const BAD_KEY: [&str; 3] = ["api_key_invalid", "api key not valid", "api key expired"];

/// The fault that an error response is. `now_ms` is the wall clock, milliseconds since 1970.
pub(super) fn fault(
    status: u16,
    retry_after: Option<&str>,
    header: &dyn Fn(&str) -> Option<String>,
    body_head: &[u8],
    now_ms: i64,
) -> CallFault {
    let body = String::from_utf8_lossy(body_head);
    CallFault {
        trouble: trouble(status, &body.to_ascii_lowercase()),
        status: Some(status),
        resume_after_ms: resume_after_ms(retry_after, header, &body, now_ms),
        message: one_line(&message(status, &body), MAX_MESSAGE_CHARS),
    }
}

fn trouble(status: u16, body: &str) -> CallTrouble {
    let says = |words: &[&str]| words.iter().any(|word| body.contains(word));
    match status {
        402 => CallTrouble::Quota,
        400 | 403 | 429 if says(&QUOTA) => CallTrouble::Quota,
        400 if says(&BAD_KEY) => CallTrouble::Auth,
        401 | 403 => CallTrouble::Auth,
        429 => CallTrouble::Rate,
        503 | 529 => CallTrouble::Overloaded,
        500.. => CallTrouble::Server,
        _ => CallTrouble::Request,
    }
}

#[derive(Deserialize)]
struct ErrorBody<'a> {
    #[serde(borrow)]
    error: &'a RawValue,
}

#[derive(Deserialize)]
struct Said {
    message: String,
}

/// What it says, or its whole body where it is no error of the usual shape.
fn message(status: u16, body: &str) -> String {
    if body.trim().is_empty() {
        return format!("status {status}, without a body");
    }
    let error = serde_json::from_str::<ErrorBody>(body).map_or(body, |body| body.error.get());
    serde_json::from_str::<Said>(error).map_or_else(|_| error.to_owned(), |said| said.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> CallFault {
        fault(status, None, &|_| None, body.as_bytes(), 0)
    }

    fn check(status: u16, body: &str, expected: CallTrouble) {
        assert_eq!(of(status, body).trouble, expected, "{status} {body}");
    }

    #[test]
    fn the_status_says_what_kind_of_trouble_it_is() {
        check(401, "", CallTrouble::Auth);
        check(403, r#"{"error":{"status":"PERMISSION_DENIED"}}"#, CallTrouble::Auth);
        check(402, "", CallTrouble::Quota);
        check(429, r#"{"type":"error","error":{"type":"rate_limit_error"}}"#, CallTrouble::Rate);
        check(503, "", CallTrouble::Overloaded);
        check(529, "", CallTrouble::Overloaded);
        check(500, "", CallTrouble::Server);
        check(502, "<html>", CallTrouble::Server);
        check(400, r#"{"error":{"message":"max_tokens: too large"}}"#, CallTrouble::Request);
        check(404, "", CallTrouble::Request);
        check(302, "", CallTrouble::Request);
    }

    #[test]
    fn a_quota_that_is_used_up_is_not_a_rate() {
        check(429, r#"{"error":{"type":"insufficient_quota","code":"insufficient_quota"}}"#, CallTrouble::Quota);
        check(400, r#"{"error":{"message":"Your credit balance is too low to access the API."}}"#, CallTrouble::Quota);
        check(400, "You have reached your specified API usage limits.", CallTrouble::Quota);
        let gemini = |id: &str| format!(r#"{{"error":{{"message":"check your plan and billing","quotaId":"{id}"}}}}"#);
        check(429, &gemini("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), CallTrouble::Quota);
        check(429, &gemini("GenerateRequestsPerMinutePerProjectPerModel"), CallTrouble::Rate);
        check(429, "Rate limit reached on requests per day (RPD)", CallTrouble::Quota);
        check(404, "insufficient_quota", CallTrouble::Request);
    }

    #[test]
    fn a_key_that_google_does_not_know_is_no_bad_request() {
        let body = r#"{"error":{"code":400,"message":"API key not valid.","details":[{"reason":"API_KEY_INVALID"}]}}"#;
        check(400, body, CallTrouble::Auth);
    }

    #[test]
    fn the_message_is_what_it_says() {
        assert_eq!(of(400, r#"{"error":{"message":"too\nlong","type":"x"}}"#).message, "too long");
        assert_eq!(of(400, r#"{"error":"plain"}"#).message, "\"plain\"");
        assert_eq!(of(502, "<html>").message, "<html>");
        assert_eq!(of(500, " ").message, "status 500, without a body");
        assert_eq!(of(500, &"x".repeat(9000)).message.chars().count(), 500);
    }

    #[test]
    fn a_moment_that_the_api_names_is_kept() {
        let fault = fault(429, Some("30"), &|_| None, b"", 1000);
        assert_eq!((fault.status, fault.resume_after_ms), (Some(429), Some(31_000)));
    }
}
