//! Gemini `generateContent`: what a request asks for, where its cap stands, what its responses say of their usage.
//!
//! The API takes every key in two spellings, `maxOutputTokens` and `max_output_tokens`; a request may use either, but
//! not both.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::body::{Body, share};
use super::dialect::{Request, is_model_name};
use super::input::{Rules, Sense, media};
use super::tally::{Tally, amount};
use crate::core::Usage;

/// Parts of an event that make it worth reading.
pub(super) const NEEDLES: &[&str] = &["\"usageMetadata\"", "\"error\"", "\"finishReason\"", "\"blockReason\""];

/// Files by address. What a function took and gave is the agent's own data.
const RULES: Rules = Rules {
    fields: &["contents", "systemInstruction", "system_instruction"],
    opaque: &["args", "response"],
    files: &["inlineData", "inline_data"],
    sense: |parent, key, _| match (parent, key) {
        ("fileData" | "file_data", "fileUri" | "file_uri") => Sense::Reference,
        _ => Sense::Text,
    },
};

/// Tiers that cost the listed price, or less.
const LISTED_TIERS: &[&str] = &["standard", "STANDARD", "flex", "FLEX"];

/// The model and what is to be done with it, of a path without version and query: `/models/gemini-2.5-pro:countTokens`.
pub(super) fn action(path: &str) -> Option<(&str, &str)> {
    let (model, action) = path.strip_prefix("/models/")?.rsplit_once(':')?;
    is_model_name(model).then_some((model, action))
}

/// What a request asks for. `path` is that of the URL after the provider.
///
/// # Errors
/// Why it cannot be let out.
pub(super) fn read(path: &str, body: &Body) -> Result<Request, String> {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let models = path.find("/models/").map(|at| &path[at..]);
    let (model, action) = models.and_then(action).ok_or_else(|| "the path names no model".to_owned())?;
    body.without(&["cachedContent", "cached_content"])?;
    body.listed_price_only("serviceTier", LISTED_TIERS)?;
    body.listed_price_only("service_tier", LISTED_TIERS)?;
    let media = media(body, &RULES)?;
    let config = Body::parse(body.get(config_key(body)?).unwrap_or("{}").as_bytes())?;
    let choices = choices(&config)?;
    let own = config.whole(cap_key(&config)?)?;
    Ok(Request {
        model: model.to_owned(),
        streams: action == "streamGenerateContent",
        max_output: own.map(|each| each.saturating_mul(choices)),
        min_output: choices,
        media,
        long_cache: false,
    })
}

/// Caps the output of each candidate.
///
/// # Errors
/// The cap that stands there is no whole number, or the new one is less than a token for each candidate.
pub(super) fn cap(body: &mut Body, max_output: u64) -> Result<(), String> {
    let key = config_key(body)?;
    let mut config = Body::parse(body.get(key).unwrap_or("{}").as_bytes())?;
    let each = share(max_output, choices(&config)?)?;
    let name = cap_key(&config)?;
    config.lower(name, each)?;
    let config = config.to_json();
    body.set(key, config);
    Ok(())
}

fn config_key(body: &Body) -> Result<&'static str, String> {
    spelling(body, "generationConfig", "generation_config")
}

fn cap_key(config: &Body) -> Result<&'static str, String> {
    spelling(config, "maxOutputTokens", "max_output_tokens")
}

fn choices(config: &Body) -> Result<u64, String> {
    Ok(config.whole(spelling(config, "candidateCount", "candidate_count")?)?.unwrap_or(1).max(1))
}

fn spelling(body: &Body, camel: &'static str, snake: &'static str) -> Result<&'static str, String> {
    match (body.get(camel), body.get(snake)) {
        (Some(_), Some(_)) => Err(format!("`{camel}` and `{snake}` are the same and cannot both be set")),
        (None, Some(_)) => Ok(snake),
        _ => Ok(camel),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(default)]
    candidates: Option<Vec<Candidate>>,
    #[serde(default)]
    prompt_feedback: Option<Feedback>,
    #[serde(default)]
    usage_metadata: Option<Counts>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    #[serde(default, deserialize_with = "amount")]
    index: u64,
    #[serde(default)]
    finish_reason: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback {
    #[serde(default)]
    block_reason: Option<IgnoredAny>,
}

/// Input includes what a cache had, but not what tools of the API added; output does not include thoughts.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Counts {
    #[serde(rename = "promptTokenCount", deserialize_with = "amount")]
    prompt: u64,
    #[serde(rename = "toolUsePromptTokenCount", deserialize_with = "amount")]
    tool_use: u64,
    #[serde(rename = "cachedContentTokenCount", deserialize_with = "amount")]
    cached: u64,
    #[serde(rename = "candidatesTokenCount", deserialize_with = "amount")]
    candidates: u64,
    #[serde(rename = "thoughtsTokenCount", deserialize_with = "amount")]
    thoughts: u64,
    #[serde(rename = "totalTokenCount", deserialize_with = "amount")]
    total: u64,
}

impl Counts {
    fn usage(&self) -> Usage {
        let input_tokens = self.prompt.saturating_add(self.tool_use);
        let output_tokens = self.candidates.saturating_add(self.thoughts);
        Usage {
            input_tokens,
            cached_tokens: self.cached,
            output_tokens: output_tokens.max(self.total.saturating_sub(input_tokens)),
            reasoning_tokens: self.thoughts,
            ..Usage::default()
        }
    }
}

/// Takes one event, or a whole response. False where it cannot be read.
pub(super) fn note(tally: &mut Tally, json: &[u8]) -> bool {
    let Ok(event) = serde_json::from_slice::<Event>(json) else { return false };
    if let Some(counts) = event.usage_metadata {
        tally.count(counts.usage(), true);
    }
    for candidate in event.candidates.unwrap_or_default() {
        let bit = 1_u64 << candidate.index.min(63);
        tally.begun |= bit;
        if candidate.finish_reason.is_some() {
            tally.ended |= bit;
        }
    }
    let is_blocked = event.prompt_feedback.is_some_and(|feedback| feedback.block_reason.is_some());
    tally.complete = tally.complete || is_blocked || tally.ended != 0 && tally.ended == tally.begun;
    if let Some(error) = event.error {
        tally.fail(error);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{Tally, note};
    use crate::gateway::dialect::{Dialect, Request, read, set_cap};

    fn ask(body: &str) -> Result<Request, String> {
        read(Dialect::Gemini, "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", body.as_bytes())
    }

    fn check_cap(body: &str, max: u64, expected: &str) {
        let capped = set_cap(Dialect::Gemini, body.as_bytes(), Some(max)).unwrap();
        assert_eq!(String::from_utf8(capped).unwrap(), expected);
    }

    #[test]
    fn a_request_says_its_model_its_cap_and_whether_it_streams() {
        let request = ask(r#"{"contents":[],"generationConfig":{"maxOutputTokens":100}}"#).unwrap();
        assert_eq!((&*request.model, request.streams), ("gemini-2.5-pro", true));
        assert_eq!((request.max_output, request.min_output), (Some(100), 1));
        let whole = read(Dialect::Gemini, "/v1beta/models/m:generateContent", b"{}").unwrap();
        assert_eq!((&*whole.model, whole.streams, whole.max_output), ("m", false, None));
    }

    #[test]
    fn both_spellings_are_one_key() {
        let snake = r#"{"generation_config":{"max_output_tokens":100,"candidate_count":2}}"#;
        assert_eq!(ask(snake).unwrap().max_output, Some(200));
        check_cap(snake, 100, r#"{"generation_config":{"max_output_tokens":50,"candidate_count":2}}"#);
        let both = r#"{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":999}}"#;
        assert!(ask(both).unwrap_err().contains("cannot both be set"));
        set_cap(Dialect::Gemini, both.as_bytes(), Some(5)).unwrap_err();
    }

    #[test]
    fn the_cap_is_lowered_or_added() {
        check_cap(r#"{"contents":[]}"#, 7, r#"{"contents":[],"generationConfig":{"maxOutputTokens":7}}"#);
        check_cap(
            r#"{"generationConfig":{"temperature":0.10,"maxOutputTokens":5}}"#,
            7,
            r#"{"generationConfig":{"temperature":0.10,"maxOutputTokens":5}}"#,
        );
    }

    #[test]
    fn input_from_elsewhere_is_refused() {
        let with = |part: &str| ask(&format!(r#"{{"contents":[{{"parts":[{part}]}}]}}"#));
        with(r#"{"fileData":{"fileUri":"https://example.com/v"}}"#).unwrap_err();
        with(r#"{"file_data":{"file_uri":"files/1"}}"#).unwrap_err();
        assert_eq!(with(r#"{"inlineData":{"mimeType":"image/png","data":"AA"}}"#).unwrap().media.bytes, 2);
        with(r#"{"functionCall":{"args":{"fileData":{"fileUri":"x"}}}}"#).unwrap();
        ask(r#"{"cachedContent":"cachedContents/1"}"#).unwrap_err();
    }

    #[test]
    fn a_stream_ends_when_every_candidate_has() {
        let mut tally = Tally::default();
        assert!(note(&mut tally, br#"{"candidates":[{"index":0},{"index":1,"finishReason":"STOP"}]}"#));
        assert!(!tally.complete);
        assert!(note(&mut tally, br#"{"candidates":[{"finishReason":"STOP"}]}"#));
        assert!(tally.complete);
    }

    #[test]
    fn a_blocked_prompt_ends_it_too() {
        let mut tally = Tally::default();
        assert!(note(&mut tally, br#"{"promptFeedback":{"blockReason":"SAFETY"}}"#));
        assert!(tally.complete);
    }
}
