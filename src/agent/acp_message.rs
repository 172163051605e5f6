//! What of an ACP message matters here, and what it means in our words: usage, how a prompt ended, why the model API
//! did not serve it. In: JSON of an agent that may lie. Out: clamped numbers, bounded text. It touches nothing.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::failure::{self, brief};
use super::usage::{Amount, Micro};
use crate::core::{Terminal, Usage};

/// Ids of the client's requests: a reader of the stream knows by them what an answer answers.
pub(super) const INITIALIZE: u64 = 1;
/// Opens the session.
pub(super) const NEW_SESSION: u64 = 2;
/// The prompt; its answer is the stream's end.
pub(super) const PROMPT: u64 = 3;
/// Sets the mode, before the prompt; an error in answer to it is not the prompt's.
pub(super) const SET_MODE: u64 = 4;
/// Chooses the model, before the mode.
pub(super) const SET_MODEL: u64 = 5;

/// Code of ACP for a request that needs a login first.
const AUTH_REQUIRED: i64 = -32_000;
/// Status of a request without a key that is good for it.
const UNAUTHORIZED: u64 = 401;

/// A message of the agent, or a line of the client's own (those have `maestro`).
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Message<'a> {
    pub(super) id: Option<Value>,
    pub(super) method: Option<IgnoredAny>,
    #[serde(borrow)]
    pub(super) params: Option<Params<'a>>,
    pub(super) result: Option<Answer>,
    pub(super) error: Option<Value>,
    pub(super) maestro: Option<IgnoredAny>,
    pub(super) did: Option<String>,
    pub(super) tool: Option<String>,
    pub(super) name: Option<String>,
    pub(super) outcome: Option<String>,
    pub(super) why: Option<String>,
    pub(super) signal: Option<i32>,
}

/// Parameters of `session/update` and `session/request_permission`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Params<'a> {
    #[serde(borrow)]
    pub(super) update: Option<Update<'a>>,
    #[serde(borrow)]
    pub(super) tool_call: Option<Update<'a>>,
}

/// An update, or the tool call that a permission is asked for. Words of the protocol's own are borrowed: they hold
/// nothing that JSON would escape.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the protocol's own name")]
pub(super) struct Update<'a> {
    pub(super) session_update: Option<&'a str>,
    pub(super) tool_call_id: Option<String>,
    pub(super) kind: Option<&'a str>,
    pub(super) status: Option<&'a str>,
    pub(super) cost: Option<Value>,
    #[serde(borrow, rename = "_meta")]
    pub(super) meta: Option<Meta<'a>>,
}

/// What single agents add to an update.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Meta<'a> {
    /// qwen: usage of one call.
    pub(super) usage: Option<Value>,
    #[serde(borrow)]
    pub(super) claude_code: Option<ClaudeMeta<'a>>,
}

/// claude: which tool it was, and why a call of it was not carried out.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ClaudeMeta<'a> {
    pub(super) tool_name: Option<String>,
    pub(super) non_execution_kind: Option<&'a str>,
}

/// Results, of whatever request.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) agent_info: Option<AgentInfo>,
    pub(super) stop_reason: Option<String>,
    pub(super) usage: Option<Value>,
    #[serde(rename = "_meta")]
    pub(super) meta: Option<Value>,
}

/// Who the agent says it is.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AgentInfo {
    pub(super) name: String,
    pub(super) version: Option<String>,
}

/// Who the agent behind these lines says it is, in answer to the first request.
pub(super) fn introduction(lines: &str) -> Option<AgentInfo> {
    let messages = lines.lines().filter_map(|line| serde_json::from_str::<Message<'_>>(line).ok());
    messages.filter_map(|message| message.result).find_map(|answer| answer.agent_info)
}

impl Answer {
    /// What the whole prompt used, where this says so. By model is best: only there are calls beside the main loop
    /// counted (claude's for a title). `last_call_only`: this agent's `usage` is its last call's alone.
    pub(super) fn spent(&self, last_call_only: bool) -> Option<Usage> {
        let quota = self.meta.as_ref().and_then(|meta| meta.get("quota"));
        let models = quota.and_then(|quota| quota.get("model_usage")).and_then(Value::as_array);
        let by_model = models.into_iter().flatten().filter_map(|model| model.get("token_count")).map(tokens);
        let in_all = quota.and_then(|quota| quota.get("token_count"));
        let plain = self.usage.as_ref().filter(|_| !last_call_only);
        by_model.reduce(Usage::plus).or_else(|| in_all.or(plain).map(tokens)).filter(|usage| usage.tokens() > 0)
    }
}

/// One count of tokens, as agents write it.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the protocol's own names")]
struct Tokens {
    #[serde(alias = "input_tokens")]
    input_tokens: Amount,
    #[serde(alias = "output_tokens")]
    output_tokens: Amount,
    #[serde(alias = "total_tokens")]
    total_tokens: Amount,
    #[serde(alias = "cachedInputTokens")]
    cached_read_tokens: Amount,
    cached_write_tokens: Amount,
    #[serde(alias = "reasoningOutputTokens")]
    thought_tokens: Amount,
}

/// One count of tokens in our terms. Agents differ in whether input holds its cached part, and output its thoughts;
/// the total tells, where there is one.
pub(super) fn tokens(count: &Value) -> Usage {
    let count = Tokens::deserialize(count).unwrap_or_default();
    let (input, output, total) = (count.input_tokens.0, count.output_tokens.0, count.total_tokens.0);
    let (cached, written, thought) = (count.cached_read_tokens.0, count.cached_write_tokens.0, count.thought_tokens.0);
    let together = input.saturating_add(output);
    let apart = together.saturating_add(cached).saturating_add(written);
    let caches_apart = [apart, apart.saturating_add(thought)].contains(&total);
    let thoughts_apart = [together, apart].iter().any(|sum| sum.saturating_add(thought) == total);
    let input_tokens = if caches_apart { apart.saturating_sub(output) } else { input };
    Usage {
        input_tokens,
        cached_tokens: cached.min(input_tokens),
        cache_write_tokens: written.min(input_tokens),
        output_tokens: if thoughts_apart { output.saturating_add(thought) } else { output },
        reasoning_tokens: thought,
        ..Usage::default()
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cost {
    amount: Micro,
    currency: String,
}

/// Millionths of a US dollar; 0 in any other currency.
pub(super) fn microusd(cost: &Value) -> u64 {
    let cost = Cost::deserialize(cost).unwrap_or_default();
    if cost.currency == "USD" { cost.amount.0 } else { 0 }
}

/// What a stop reason means. `refusal`, `cancelled` and what no known version says are failures.
pub(super) fn stopped(reason: &str) -> Terminal {
    match reason {
        "end_turn" => Terminal::Completed,
        "max_tokens" | "max_turn_requests" => Terminal::Limited { which: reason.to_owned() },
        other => Terminal::Failed { reason: brief(other) },
    }
}

/// What an error in answer to a request means.
pub(super) fn failed(error: &Value) -> Terminal {
    let message = error.get("message").and_then(Value::as_str).unwrap_or("an error without a message");
    let data = error.get("data").map(|data| format!(" {data}")).unwrap_or_default();
    failure::failed(status(error), &format!("{message}{data}"), None)
}

/// The HTTP status behind an error: gemini puts it in the code, qwen before the details; claude names a kind instead.
fn status(error: &Value) -> Option<u64> {
    let data = |name: &str| error.get("data").and_then(|data| data.get(name)).and_then(Value::as_str);
    let code = error.get("code").and_then(Value::as_i64);
    let of_kind = match data("errorKind") {
        Some("authentication_failed") => Some(UNAUTHORIZED),
        Some("billing_error") => Some(402),
        Some("rate_limit") => Some(429),
        Some("overloaded") => Some(529),
        _ => None,
    };
    let of_details = || data("details")?.split_once(' ')?.0.parse::<u64>().ok();
    let is_status = |number: &u64| (400..=599).contains(number);
    let of_code = code.and_then(|code| u64::try_from(code).ok());
    let found = of_code.filter(is_status).or(of_kind).or_else(|| of_details().filter(is_status));
    found.or((code == Some(AUTH_REQUIRED)).then_some(UNAUTHORIZED))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::Unavailability;

    #[track_caller]
    fn check(error: Value, expected: Option<Unavailability>) {
        let got = match failed(&error) {
            Terminal::Unavailable { why, .. } => Some(why),
            _ => None,
        };
        assert_eq!(got, expected, "{error}");
    }

    #[test]
    fn an_api_that_does_not_serve_is_known_by_its_status() {
        let internal = |message: &str, data: Value| json!({"code": -32603, "message": message, "data": data});
        check(json!({"code": 401, "message": "no"}), Some(Unavailability::Auth));
        check(json!({"code": -32000, "message": "Log in first"}), Some(Unavailability::Auth));
        check(internal("Internal error", json!({"details": "403 no"})), Some(Unavailability::Auth));
        check(internal("Internal error", json!({"errorKind": "rate_limit"})), Some(Unavailability::Rate));
        check(json!({"code": 429, "message": "slow down"}), Some(Unavailability::Rate));
        check(json!({"code": 429, "message": "insufficient_quota"}), Some(Unavailability::Quota));
        check(internal("no", json!({"errorKind": "billing_error"})), Some(Unavailability::Quota));
    }

    #[test]
    fn other_errors_are_failures() {
        check(json!({"code": 400, "message": "scripted"}), None);
        let of_401 = json!({"details": "12 of 401"});
        check(json!({"code": -32603, "message": "401 lines of the billing module", "data": of_401}), None);
        check(json!("nonsense"), None);
    }

    #[test]
    fn the_total_tells_what_is_counted_apart() {
        let all = |count: Value| {
            let usage = tokens(&count);
            (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.reasoning_tokens)
        };
        let count = |input: u64, output: u64| {
            let (cached, thought) = (30, 2);
            json!({"inputTokens": input, "cachedReadTokens": cached, "outputTokens": output, "thoughtTokens": thought,
                "totalTokens": 110})
        };
        assert_eq!(all(count(70, 8)), (100, 30, 10, 2));
        assert_eq!(all(count(70, 10)), (100, 30, 10, 2));
        assert_eq!(all(count(100, 10)), (100, 30, 10, 2));
        assert_eq!(all(count(100, 8)), (100, 30, 10, 2));
        assert_eq!(all(json!({"input_tokens": 5, "output_tokens": 3})), (5, 0, 3, 0));
    }

    #[test]
    fn nonsense_is_clamped() {
        let count = json!({"inputTokens": -5, "outputTokens": 1e300, "cachedReadTokens": 9, "totalTokens": "x"});
        let usage = tokens(&count);
        assert_eq!((usage.input_tokens, usage.output_tokens, usage.cached_tokens), (0, u64::MAX, 0));
        assert_eq!(microusd(&json!({"amount": 0.25, "currency": "USD"})), 250_000);
        assert_eq!(microusd(&json!({"amount": 0.25, "currency": "EUR"})), 0);
    }
}
