//! Chat Completions, of `OpenAI` and of the many who speak it too: what a request asks for, where its cap stands, what
//! its responses say of their usage.
//!
//! The cap has two names. The one that a request uses is kept; where it uses none, models with a name of `OpenAI`'s get
//! the new one, which its reasoning models demand, and all others the old one, which every server knows: a server that
//! overlooks a name it does not know would not be capped.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::body::{Body, share};
use super::dialect::Request;
use super::input::{Rules, Sense, media};
use super::openai::{Counts, caches_long, check_tier};
use super::tally::Tally;

/// Parts of an event that make it worth reading.
pub(super) const NEEDLES: &[&str] = &["\"usage\"", "\"error\"", "[DONE]"];

const OLD_CAP: &str = "max_tokens";
const NEW_CAP: &str = "max_completion_tokens";

/// Images, videos, sounds and files by URL or id.
const RULES: Rules = Rules {
    fields: &["messages"],
    opaque: &["annotations"],
    files: &["input_audio"],
    sense: |parent, key, _| match (parent, key) {
        ("image_url" | "video_url" | "audio_url", "url") | (_, "image_url" | "video_url" | "audio_url") => Sense::Url,
        ("file", "file_id") | ("audio", "id") => Sense::Reference,
        ("file", "file_data") => Sense::File,
        _ => Sense::Text,
    },
};

/// What a request asks for.
///
/// # Errors
/// Why it cannot be let out.
pub(super) fn read(body: &Body) -> Result<Request, String> {
    check_tier(body)?;
    let media = media(body, &RULES)?;
    let choices = choices(body)?;
    let own = [body.whole(OLD_CAP)?, body.whole(NEW_CAP)?].into_iter().flatten().min();
    Ok(Request {
        model: body.model()?,
        streams: body.flag("stream")?,
        max_output: own.map(|each| each.saturating_mul(choices)),
        min_output: choices,
        media,
        long_cache: caches_long(body, "messages"),
    })
}

/// Caps the output of each choice.
///
/// # Errors
/// The cap that stands there is no whole number, or the new one is less than a token for each choice.
pub(super) fn cap(body: &mut Body, max_output: u64) -> Result<(), String> {
    let each = share(max_output, choices(body)?)?;
    let default = if is_of_openai(&body.model()?) { NEW_CAP } else { OLD_CAP };
    let named = [OLD_CAP, NEW_CAP].map(|name| body.get(name).map(|_| name));
    for name in named.into_iter().flatten() {
        body.lower(name, each)?;
    }
    if named == [None, None] {
        body.lower(default, each)?;
    }
    Ok(())
}

/// Has a stream report its usage.
///
/// # Errors
/// Its options are none.
pub(super) fn report_usage(body: &mut Body) -> Result<(), String> {
    if body.flag("stream")? {
        let mut options = Body::parse(body.get("stream_options").unwrap_or("{}").as_bytes())?;
        options.set("include_usage", "true".to_owned());
        let options = options.to_json();
        body.set("stream_options", options);
    }
    Ok(())
}

fn choices(body: &Body) -> Result<u64, String> {
    Ok(body.whole("n")?.unwrap_or(1).max(1))
}

fn is_of_openai(model: &str) -> bool {
    let name = model.strip_prefix("openai/").unwrap_or(model);
    let is_numbered = |name: &str| name.starts_with(|c: char| c.is_ascii_digit());
    name.strip_prefix('o').is_some_and(is_numbered)
        || name.starts_with("chatgpt-")
        || name.strip_prefix("gpt-").is_some_and(is_numbered)
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(default)]
    choices: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// Takes one event, or a whole completion. False where it cannot be read.
pub(super) fn note(tally: &mut Tally, json: &[u8]) -> bool {
    if json.trim_ascii() == b"[DONE]" {
        tally.complete = true;
        return true;
    }
    let Ok(event) = serde_json::from_slice::<Event>(json) else { return false };
    if let Some(counts) = event.usage {
        tally.count(counts.usage(), true);
        // The last part carries the usage and no choice; others carry totals so far.
        tally.complete |= event.choices.is_none_or(|choices| choices.is_empty());
    }
    if let Some(error) = event.error {
        tally.fail(error);
    }
    true
}

#[cfg(test)]
mod tests {
    use crate::gateway::dialect::{Dialect, Request, read, set_cap};

    fn ask(body: &str) -> Result<Request, String> {
        read(Dialect::Chat, "/v1/chat/completions", body.as_bytes())
    }

    fn check_cap(body: &str, max: u64, expected: &str) {
        let capped = set_cap(Dialect::Chat, body.as_bytes(), Some(max)).unwrap();
        assert_eq!(String::from_utf8(capped).unwrap(), expected);
    }

    #[test]
    fn a_request_says_its_model_its_cap_and_whether_it_streams() {
        let request = ask(r#"{"model":"qwen3-coder-plus","stream":true,"messages":[]}"#).unwrap();
        assert_eq!((&*request.model, request.streams), ("qwen3-coder-plus", true));
        assert_eq!((request.max_output, request.min_output), (None, 1));
        let both = r#"{"model":"m","max_tokens":9,"max_completion_tokens":5}"#;
        assert_eq!(ask(both).unwrap().max_output, Some(5));
    }

    #[test]
    fn every_choice_counts() {
        let body = r#"{"model":"m","n":4,"max_tokens":1000}"#;
        let request = ask(body).unwrap();
        assert_eq!((request.max_output, request.min_output), (Some(4000), 4));
        check_cap(body, 1003, r#"{"model":"m","n":4,"max_tokens":250}"#);
        set_cap(Dialect::Chat, body.as_bytes(), Some(3)).unwrap_err();
    }

    #[test]
    fn the_cap_keeps_its_name_and_gets_the_one_that_the_model_knows() {
        check_cap(r#"{"model":"gpt-5","max_tokens":9}"#, 5, r#"{"model":"gpt-5","max_tokens":5}"#);
        check_cap(
            r#"{"model":"m","max_tokens":9,"max_completion_tokens":4}"#,
            5,
            r#"{"model":"m","max_tokens":5,"max_completion_tokens":4}"#,
        );
        check_cap(r#"{"model":"openai/o3-mini"}"#, 5, r#"{"model":"openai/o3-mini","max_completion_tokens":5}"#);
        check_cap(r#"{"model":"gpt-oss-120b"}"#, 5, r#"{"model":"gpt-oss-120b","max_tokens":5}"#);
    }

    #[test]
    fn a_stream_is_made_to_report_its_usage() {
        check_cap(
            r#"{"model":"m","stream":true,"stream_options":{"x":1,"include_usage":false},"max_tokens":5}"#,
            9,
            r#"{"model":"m","stream":true,"stream_options":{"x":1,"include_usage":true},"max_tokens":5}"#,
        );
        check_cap(
            r#"{"model":"m","stream":true,"max_tokens":5}"#,
            9,
            r#"{"model":"m","stream":true,"max_tokens":5,"stream_options":{"include_usage":true}}"#,
        );
        let uncapped = set_cap(Dialect::Chat, br#"{"model":"m","stream":true}"#, None).unwrap();
        assert_eq!(uncapped, br#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#);
    }

    #[test]
    fn input_from_elsewhere_is_refused() {
        let with = |part: &str| ask(&format!(r#"{{"model":"m","messages":[{{"content":[{part}]}}]}}"#));
        with(r#"{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}"#).unwrap_err();
        with(r#"{"type":"file","file":{"file_id":"f"}}"#).unwrap_err();
        with(r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}"#).unwrap();
        with(r#"{"type":"file","file":{"file_data":"data:application/pdf;base64,AA"}}"#).unwrap();
    }

    #[test]
    fn pictures_sounds_and_files_are_no_text() {
        let image = r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}"#;
        let sound = r#"{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}"#;
        let file = r#"{"type":"file","file":{"file_data":"AAAAAA"}}"#;
        let request = ask(&format!(r#"{{"model":"m","messages":[{{"content":[{image},{sound},{file}]}}]}}"#)).unwrap();
        assert_eq!((request.media.bytes, request.media.tokens), (24 + 4 + 6, 12 + 2 + 3));
    }
}
