//! Anthropic Messages: what a request asks for, where its cap stands, what its responses say of their usage.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::body::{Body, share};
use super::dialect::Request;
use super::input::{Rules, Sense, media};
use super::tally::{Tally, amount};
use crate::core::Usage;

/// Parts of an event that make it worth reading.
pub(super) const NEEDLES: &[&str] = &["\"usage\"", "\"error\"", "message_stop"];

/// Images and documents by URL or file, and files for the API's container. A tool's input is the agent's own data.
const RULES: Rules = Rules {
    fields: &["messages", "system"],
    opaque: &["input"],
    files: &["source"],
    sense: |parent, key, text| match (parent, key, text) {
        ("source", "type", "url" | "file") | (_, "type", "container_upload") => Sense::Reference,
        _ => Sense::Text,
    },
};

/// The text `1h` in every way that JSON can write it.
const AN_HOUR: [&str; 4] = ["\"1h\"", "\"\\u0031h\"", "\"1\\u0068\"", "\"\\u0031\\u0068\""];

/// Where a cache's time to live may stand.
const CACHED: [&str; 4] = ["cache_control", "messages", "system", "tools"];

/// What a request asks for.
///
/// # Errors
/// Why it cannot be let out.
pub(super) fn read(body: &Body) -> Result<Request, String> {
    let media = media(body, &RULES)?;
    body.listed_price_only("speed", &["standard"])?;
    body.listed_price_only("inference_geo", &["global"])?;
    let max_output = body.whole("max_tokens")?;
    let thinking = body.get("thinking").map_or(Ok(0), thinking_budget)?;
    // With tools between its thoughts a model may think more than one answer holds; then the cap must stay as it is.
    let min_output = thinking.saturating_add(1).min(max_output.unwrap_or(u64::MAX)).max(1);
    let (model, streams) = (body.model()?, body.flag("stream")?);
    Ok(Request { model, streams, max_output, min_output, media, long_cache: caches_for_an_hour(body) })
}

/// Caps the output.
///
/// # Errors
/// The cap that stands there is no whole number.
pub(super) fn cap(body: &mut Body, max_output: u64) -> Result<(), String> {
    body.lower("max_tokens", share(max_output, 1)?)
}

/// Tokens of thought that are asked for; they count as output, and the API wants its cap to be more.
fn thinking_budget(json: &str) -> Result<u64, String> {
    let thinking = Body::parse(json.as_bytes())?;
    let is_on = thinking.text("type")?.as_deref() == Some("enabled");
    Ok(thinking.whole("budget_tokens")?.filter(|_| is_on).unwrap_or(0))
}

fn caches_for_an_hour(body: &Body) -> bool {
    let says_so = |json: &str| AN_HOUR.iter().any(|hour| memmem::find(json.as_bytes(), hour.as_bytes()).is_some());
    CACHED.iter().filter_map(|name| body.get(name)).any(says_so)
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    message: Option<Message<'a>>,
    #[serde(borrow, default)]
    usage: Option<Counts<'a>>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    usage: Option<Counts<'a>>,
}

/// Input does not include what a cache had or took.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Counts<'a> {
    #[serde(deserialize_with = "amount")]
    input_tokens: u64,
    #[serde(deserialize_with = "amount")]
    cache_creation_input_tokens: u64,
    #[serde(deserialize_with = "amount")]
    cache_read_input_tokens: u64,
    /// For how long the cache lives that was written.
    #[serde(borrow)]
    cache_creation: Option<&'a RawValue>,
    #[serde(deserialize_with = "amount")]
    output_tokens: u64,
    /// Each run of the model within this call. The totals can lack some of them (a compaction); all are billed.
    #[serde(borrow)]
    iterations: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    #[serde(deserialize_with = "amount")]
    ephemeral_5m_input_tokens: u64,
}

impl Counts<'_> {
    fn usage(&self) -> Usage {
        let runs = self.iterations.map_or("[]", RawValue::get);
        let runs = serde_json::from_str::<Vec<Counts>>(runs).unwrap_or_default();
        runs.iter().fold(Usage::default(), |sum, run| plus(sum, run.own())).max(self.own())
    }

    fn own(&self) -> Usage {
        let cache = self.cache_creation_input_tokens.saturating_add(self.cache_read_input_tokens);
        let written = self.cache_creation.and_then(|raw| serde_json::from_str::<Written>(raw.get()).ok());
        Usage {
            input_tokens: self.input_tokens.saturating_add(cache),
            cached_tokens: self.cache_read_input_tokens,
            cache_write_tokens: self.cache_creation_input_tokens,
            cache_write_5m_tokens: written.map_or(0, |written| written.ephemeral_5m_input_tokens),
            output_tokens: self.output_tokens,
            ..Usage::default()
        }
    }
}

fn plus(a: Usage, b: Usage) -> Usage {
    Usage {
        input_tokens: a.input_tokens.saturating_add(b.input_tokens),
        cached_tokens: a.cached_tokens.saturating_add(b.cached_tokens),
        cache_write_tokens: a.cache_write_tokens.saturating_add(b.cache_write_tokens),
        cache_write_5m_tokens: a.cache_write_5m_tokens.saturating_add(b.cache_write_5m_tokens),
        output_tokens: a.output_tokens.saturating_add(b.output_tokens),
        ..a
    }
}

/// Takes one event, or a whole message. False where it cannot be read.
pub(super) fn note(tally: &mut Tally, json: &[u8]) -> bool {
    let Ok(event) = serde_json::from_slice::<Event>(json) else { return false };
    let started = event.message.and_then(|message| message.usage);
    match (&*event.kind, started, event.usage) {
        ("message_start", Some(counts), _) => tally.count(counts.usage(), false),
        ("message_delta" | "message", _, Some(counts)) => tally.count(counts.usage(), true),
        ("message_stop", ..) => tally.complete = true,
        _ => {}
    }
    if let Some(error) = event.error {
        tally.fail(error);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::dialect::{Dialect, Request, read, set_cap};
    use crate::gateway::input::Media;
    use crate::gateway::price::Tariff;

    fn ask(body: &str) -> Result<Request, String> {
        read(Dialect::Anthropic, "/v1/messages", body.as_bytes())
    }

    fn check_cap(body: &str, max: u64, expected: &str) {
        let capped = set_cap(Dialect::Anthropic, body.as_bytes(), Some(max)).unwrap();
        assert_eq!(String::from_utf8(capped).unwrap(), expected);
    }

    fn check_refused(body: &str, why: &str) {
        let said = ask(body).unwrap_err();
        assert!(said.contains(why), "{said}");
    }

    #[test]
    fn a_request_says_its_model_its_cap_and_whether_it_streams() {
        let request = ask(r#"{"model":"claude-sonnet-4-5","max_tokens":32000,"stream":true,"messages":[]}"#).unwrap();
        let expected = Request {
            model: "claude-sonnet-4-5".to_owned(),
            streams: true,
            max_output: Some(32_000),
            min_output: 1,
            media: Media::default(),
            long_cache: false,
        };
        assert_eq!(request, expected);
    }

    #[test]
    fn pictures_and_documents_are_no_text() {
        let source = |kind: &str| format!(r#"{{"source":{{"type":"base64","media_type":"{kind}","data":"AAAA"}}}}"#);
        let (image, document) = (source("image/png"), source("application/pdf"));
        let result = format!(r#"{{"type":"tool_result","content":[{image},{document}]}}"#);
        let request = ask(&format!(r#"{{"model":"m","messages":[{{"content":[{result}]}}]}}"#)).unwrap();
        assert_eq!(request.media, Media { bytes: 8, tokens: 4 });
    }

    #[test]
    fn the_cap_stays_above_the_thoughts() {
        let body = |max: u64, thinking: &str| format!(r#"{{"model":"m","max_tokens":{max},"thinking":{thinking}}}"#);
        let min = |body: String| ask(&body).unwrap().min_output;
        assert_eq!(min(body(32_000, r#"{"type":"enabled","budget_tokens":10000}"#)), 10_001);
        assert_eq!(min(body(8000, r#"{"type":"enabled","budget_tokens":10000}"#)), 8000);
        assert_eq!(min(body(32_000, r#"{"type":"adaptive"}"#)), 1);
        assert_eq!(min(body(0, "null")), 1);
    }

    #[test]
    fn the_cap_is_lowered_or_added_and_never_raised() {
        check_cap(r#"{"model":"m","max_tokens":32000,"x":1.10}"#, 500, r#"{"model":"m","max_tokens":500,"x":1.10}"#);
        check_cap(r#"{"model":"m","max_tokens":100}"#, 500, r#"{"model":"m","max_tokens":100}"#);
        check_cap(r#"{"model":"m"}"#, 500, r#"{"model":"m","max_tokens":500}"#);
        set_cap(Dialect::Anthropic, b"{}", Some(0)).unwrap_err();
    }

    #[test]
    fn input_from_elsewhere_is_refused() {
        let with = |block: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":[{block}]}}]}}"#);
        check_refused(&with(r#"{"type":"image","source":{"type":"url","url":"https://example.com"}}"#), "inline");
        check_refused(
            &with(r#"{"type":"tool_result","content":[{"type":"document","source":{"type":"file","file_id":"f"}}]}"#),
            "inline",
        );
        check_refused(&with(r#"{"type":"container_upload","file_id":"f"}"#), "inline");
        ask(&with(r#"{"type":"image","source":{"type":"base64","data":"AA=="}}"#)).unwrap();
        ask(&with(r#"{"type":"tool_use","input":{"source":{"type":"url"}}}"#)).unwrap();
        ask(&with(r#"{"type":"text","text":"source: {type: url}"}"#)).unwrap();
    }

    #[test]
    fn dearer_service_is_refused() {
        check_refused(r#"{"model":"m","speed":"fast"}"#, "listed price");
        check_refused(r#"{"model":"m","inference_geo":"us"}"#, "listed price");
    }

    #[test]
    fn what_was_written_for_minutes_is_told_from_what_was_for_an_hour() {
        let mut tally = Tally::default();
        let start = br#"{"type":"message_start","message":{"usage":{"cache_creation_input_tokens":300,
            "cache_creation":{"ephemeral_5m_input_tokens":200,"ephemeral_1h_input_tokens":100}}}}"#;
        // The totals at the end do not say it again.
        let delta = br#"{"type":"message_delta","usage":{"cache_creation_input_tokens":300,"output_tokens":5}}"#;
        assert!(note(&mut tally, start) && note(&mut tally, delta));
        let usage = tally.usage.unwrap();
        assert_eq!((usage.cache_write_tokens, usage.cache_write_5m_tokens), (300, 200));
        let price = Tariff::listed("claude-sonnet-4-5").unwrap();
        // 200 × 3.75 + 100 × 6 + 5 × 15; a request for no long cache wrote to none.
        assert_eq!(price.priced(usage).cost_microusd, 750 + 600 + 75);
        assert_eq!(price.without_long_cache().priced(usage).cost_microusd, 1125 + 75);
    }

    #[test]
    fn a_cache_of_an_hour_is_seen_however_it_is_written() {
        let long = |ttl: &str| {
            let system = format!(r#"[{{"type":"text","text":"an \"1h\" hour","cache_control":{{"ttl":"{ttl}"}}}}]"#);
            ask(&format!(r#"{{"model":"m","system":{system}}}"#)).unwrap().long_cache
        };
        assert!(long("1h") && long("\\u0031h") && long("\\u0031\\u0068") && !long("5m"));
    }
}
