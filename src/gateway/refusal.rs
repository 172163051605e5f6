//! Errors of our own, in the shape that the agent's client knows. In: a dialect and a message. Out: a status and a
//! body.

use serde_json::{Value, json};

use super::dialect::Dialect;
use crate::core::CallTrouble;

/// A call that must not go out: a final answer, on which agents end and do not try again (measured).
pub(super) fn refusal(dialect: Dialect, message: &str) -> (u16, Vec<u8>) {
    let name = if dialect == Dialect::Gemini { "INVALID_ARGUMENT" } else { "invalid_request_error" };
    error(dialect, 400, name, message)
}

/// A call for which there is no place now: another try makes sense.
pub(super) fn busy(dialect: Dialect) -> (u16, Vec<u8>) {
    let name = if dialect == Dialect::Gemini { "RESOURCE_EXHAUSTED" } else { "rate_limit_error" };
    error(dialect, 429, name, "the gateway holds too many requests of this agent at once; try again")
}

/// A call whose upstream gave no answer.
pub(super) fn trouble(dialect: Dialect, trouble: CallTrouble, message: &str) -> (u16, Vec<u8>) {
    let (status, gemini) = match trouble {
        CallTrouble::Stalled => (504, "DEADLINE_EXCEEDED"),
        CallTrouble::Overloaded => (503, "UNAVAILABLE"),
        _ => (502, "UNAVAILABLE"),
    };
    let name = match dialect {
        Dialect::Anthropic => "api_error",
        Dialect::Responses | Dialect::Chat => "server_error",
        Dialect::Gemini => gemini,
    };
    error(dialect, status, name, message)
}

fn error(dialect: Dialect, status: u16, name: &str, message: &str) -> (u16, Vec<u8>) {
    let body: Value = match dialect {
        Dialect::Anthropic => json!({"type": "error", "error": {"type": name, "message": message}}),
        Dialect::Responses | Dialect::Chat => {
            json!({"error": {"message": message, "type": name, "param": null, "code": null}})
        }
        Dialect::Gemini => json!({"error": {"code": status, "message": message, "status": name}}),
    };
    (status, body.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check((status, body): (u16, Vec<u8>), expected: (u16, Value)) {
        assert_eq!((status, serde_json::from_slice::<Value>(&body).unwrap()), expected);
    }

    #[test]
    fn a_refusal_is_a_bad_request_in_every_shape() {
        let message = "the \"budget\" is used up";
        let error = json!({"message": message, "type": "invalid_request_error", "param": null, "code": null});
        let openai = json!({"error": error});
        check(refusal(Dialect::Responses, message), (400, openai.clone()));
        check(refusal(Dialect::Chat, message), (400, openai));
        let anthropic = json!({"type": "error", "error": {"type": "invalid_request_error", "message": message}});
        check(refusal(Dialect::Anthropic, message), (400, anthropic));
        let gemini = json!({"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}});
        check(refusal(Dialect::Gemini, message), (400, gemini));
    }

    #[test]
    fn too_much_at_once_is_a_rate() {
        let name = |dialect| serde_json::from_slice::<Value>(&busy(dialect).1).unwrap();
        assert_eq!((busy(Dialect::Chat).0, &name(Dialect::Chat)["error"]["type"]), (429, &json!("rate_limit_error")));
        assert_eq!(name(Dialect::Gemini)["error"]["status"], "RESOURCE_EXHAUSTED");
    }

    #[test]
    fn trouble_is_the_gateways_own_status() {
        let status = |kind| trouble(Dialect::Anthropic, kind, "m").0;
        assert_eq!(status(CallTrouble::Network), 502);
        assert_eq!(status(CallTrouble::Stalled), 504);
        assert_eq!(status(CallTrouble::Overloaded), 503);
        let gemini = json!({"error": {"code": 504, "message": "m", "status": "DEADLINE_EXCEEDED"}});
        check(trouble(Dialect::Gemini, CallTrouble::Stalled, "m"), (504, gemini));
    }
}
