//! `OpenAI` Responses: what a request asks for, where its cap stands, what its responses say of their usage.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::body::{Body, share};
use super::dialect::Request;
use super::input::{Rules, Sense, media};
use super::openai::{Counts, caches_long, check_tier};
use super::tally::Tally;

/// Parts of an event that make it worth reading.
pub(super) const NEEDLES: &[&str] =
    &["\"usage\"", "\"error\"", "response.completed", "response.incomplete", "response.failed"];

/// The least cap that the API takes.
const MIN_OUTPUT: u64 = 16;

/// Images and files by URL or file, and items of earlier responses. What the API itself found is the agent's own data.
const RULES: Rules = Rules {
    fields: &["input"],
    opaque: &["action", "annotations", "results", "tools"],
    files: &[],
    sense: |_, key, text| match (key, text) {
        ("file_id" | "file_url", _) | ("type", "item_reference") => Sense::Reference,
        ("image_url", _) => Sense::Url,
        ("file_data", _) => Sense::File,
        _ => Sense::Text,
    },
};

/// What a request asks for.
///
/// # Errors
/// Why it cannot be let out.
pub(super) fn read(body: &Body) -> Result<Request, String> {
    body.without(&["previous_response_id", "conversation", "prompt"])?;
    if body.flag("background")? {
        return Err("`background` has the API go on after the response; leave it out".to_owned());
    }
    check_tier(body)?;
    let media = media(body, &RULES)?;
    Ok(Request {
        model: body.model()?,
        streams: body.flag("stream")?,
        max_output: body.whole("max_output_tokens")?,
        min_output: MIN_OUTPUT,
        media,
        long_cache: caches_long(body, "input"),
    })
}

/// Caps the output.
///
/// # Errors
/// The cap that stands there is no whole number.
pub(super) fn cap(body: &mut Body, max_output: u64) -> Result<(), String> {
    body.lower("max_output_tokens", share(max_output, 1)?)
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
    /// The response, in the events that begin and end it.
    #[serde(borrow, default)]
    response: Option<Answer<'a>>,
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// Takes one event, or a whole response. False where it cannot be read.
pub(super) fn note(tally: &mut Tally, json: &[u8]) -> bool {
    let Ok(event) = serde_json::from_slice::<Event>(json) else { return false };
    match &*event.kind {
        "response.completed" | "response.incomplete" | "response.failed" => {
            tally.complete = true;
            if let Some(answer) = event.response {
                take(tally, answer);
            }
        }
        // The event is the error, or holds it.
        "error" => {
            if let Some(error) = event.error.or_else(|| serde_json::from_slice(json).ok()) {
                tally.fail(error);
            }
        }
        // A whole response has no type, and neither has an error of a server that only looks like this one.
        "" => take(tally, Answer { usage: event.usage, error: event.error }),
        _ => {}
    }
    true
}

fn take(tally: &mut Tally, answer: Answer) {
    if let Some(counts) = answer.usage {
        tally.count(counts.usage(), true);
    }
    if let Some(error) = answer.error {
        tally.fail(error);
    }
}

#[cfg(test)]
mod tests {
    use crate::gateway::dialect::{Dialect, Request, read, set_cap};

    fn ask(body: &str) -> Result<Request, String> {
        read(Dialect::Responses, "/v1/responses", body.as_bytes())
    }

    fn check_refused(fields: &str, why: &str) {
        let said = ask(&format!(r#"{{"model":"m",{fields}}}"#)).unwrap_err();
        assert!(said.contains(why), "{said}");
    }

    #[test]
    fn a_request_says_its_model_its_cap_and_whether_it_streams() {
        let request = ask(r#"{"model":"gpt-5.5","stream":true,"store":false,"input":[{"role":"user"}]}"#).unwrap();
        assert_eq!((&*request.model, request.streams, request.max_output), ("gpt-5.5", true, None));
        assert_eq!(ask(r#"{"model":"m","max_output_tokens":100,"input":"hi"}"#).unwrap().max_output, Some(100));
        assert_eq!((request.min_output, request.long_cache), (16, false));
    }

    #[test]
    fn the_cap_is_lowered_or_added() {
        for body in [r#"{"model":"m","max_output_tokens":9999}"#, r#"{"model":"m"}"#] {
            let capped = set_cap(Dialect::Responses, body.as_bytes(), Some(100)).unwrap();
            assert_eq!(capped, br#"{"model":"m","max_output_tokens":100}"#);
        }
    }

    #[test]
    fn input_from_elsewhere_is_refused() {
        check_refused(r#""previous_response_id":"resp_1""#, "previous_response_id");
        check_refused(r#""prompt":{"id":"p"}"#, "prompt");
        check_refused(r#""input":[{"type":"item_reference","id":"rs_1"}]"#, "inline");
        check_refused(r#""input":[{"content":[{"type":"input_file","file_id":"f"}]}]"#, "inline");
        check_refused(r#""input":[{"output":[{"type":"input_image","image_url":"https://x"}]}]"#, "inline");
        ask(r#"{"model":"m","previous_response_id":null,"input":[{"image_url":"data:image/png;base64,AA"}]}"#).unwrap();
        let image = ask(r#"{"model":"m","input":[{"output":[{"image_url":"data:image/png;base64,AA"}]}]}"#).unwrap();
        assert_eq!((image.media.bytes, image.media.tokens), (24, 12));
        ask(r#"{"model":"m","input":[{"content":[{"text":"x","annotations":[{"file_id":"f"}]}]}]}"#).unwrap();
    }

    #[test]
    fn what_goes_on_behind_the_response_is_refused() {
        check_refused(r#""background":true"#, "background");
        check_refused(r#""service_tier":"priority""#, "listed price");
    }

    #[test]
    fn a_cache_of_hours_is_seen() {
        assert!(ask(r#"{"model":"m","prompt_cache_options":{"ttl":"12h"}}"#).unwrap().long_cache);
    }
}
