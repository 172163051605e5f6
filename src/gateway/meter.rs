//! Counts what a response used. In: its bytes as they pass, cut anywhere. Out, at its end: the usage that the API
//! named, what is known where the response was cut, and whether its own end was seen.
//!
//! It reads little: of a stream only the events that can carry usage, an error or the end, each found by a search for a
//! few words; a single document at its end. It keeps one event, or one document, up to a bound.

use std::sync::LazyLock;

use aho_corasick::packed::Searcher;
use serde_json::value::RawValue;

use super::dialect::Dialect;
use super::events::Events;
use super::tally::Tally;
use super::{anthropic, chat, gemini, responses};
use crate::core::Usage;

/// Bytes of the largest document that is kept.
const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// What a response used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metered {
    /// Its usage as the API says it: one call, `source` the gateway. None where it said nothing, or not its last word.
    pub usage: Option<Usage>,
    /// What it said before it was cut; the input is known then, the output is at least this.
    pub input_known: Option<Usage>,
    /// Its own end was seen.
    pub complete: bool,
    /// What an error in the middle of it said; untrusted text.
    pub error: Option<String>,
    /// An event of it was no JSON.
    pub is_garbled: bool,
}

/// One response on its way.
pub(super) struct Meter {
    reader: Reader,
    shape: Shape,
}

enum Shape {
    Stream(Events),
    Document(Vec<u8>),
    TooLarge,
}

impl Meter {
    /// A meter for a response of this content type: a stream of events, or else one document.
    pub(super) fn new(dialect: Dialect, content_type: &str) -> Self {
        let is_stream = content_type.trim_ascii_start().to_ascii_lowercase().starts_with("text/event-stream");
        let shape = if is_stream { Shape::Stream(Events::default()) } else { Shape::Document(Vec::new()) };
        Self { reader: Reader::new(dialect), shape }
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        match &mut self.shape {
            Shape::Stream(events) => events.feed(bytes, &mut |data: &[u8]| self.reader.event(data)),
            Shape::Document(kept) if kept.len() + bytes.len() <= MAX_DOCUMENT_BYTES => kept.extend_from_slice(bytes),
            shape => *shape = Shape::TooLarge,
        }
    }

    /// True where its own end was seen, and its usage with it. Gemini's streams have no end of their own: what follows
    /// the last word of a choice may still count.
    pub(super) fn is_done(&self) -> bool {
        self.reader.dialect != Dialect::Gemini && self.reader.tally.complete && self.reader.tally.is_final
    }

    /// Takes the end of the bytes.
    pub(super) fn finish(mut self) -> Metered {
        // What is cut off is no nonsense.
        let is_garbled = self.reader.is_garbled;
        match self.shape {
            Shape::Stream(events) => events.finish(&mut |data: &[u8]| self.reader.event(data)),
            Shape::Document(kept) => self.reader.document(&kept),
            Shape::TooLarge => {}
        }
        let Tally { usage, is_final, complete, error, .. } = self.reader.tally;
        let is_final = is_final && complete;
        Metered {
            usage: usage.filter(|_| is_final),
            input_known: usage.filter(|_| !is_final),
            complete,
            error,
            is_garbled,
        }
    }
}

struct Reader {
    dialect: Dialect,
    /// What to look for. None where this machine has no such search: then every event is read.
    words: Option<&'static Searcher>,
    tally: Tally,
    is_garbled: bool,
}

static WORDS: LazyLock<[(Dialect, Option<Searcher>); 4]> = LazyLock::new(|| {
    let words = |words: &[&str]| Searcher::new(words);
    [
        (Dialect::Anthropic, words(anthropic::NEEDLES)),
        (Dialect::Responses, words(responses::NEEDLES)),
        (Dialect::Chat, words(chat::NEEDLES)),
        (Dialect::Gemini, words(gemini::NEEDLES)),
    ]
});

impl Reader {
    fn new(dialect: Dialect) -> Self {
        let words = WORDS.iter().find(|(of, _)| *of == dialect).and_then(|(_, words)| words.as_ref());
        Self { dialect, words, tally: Tally::default(), is_garbled: false }
    }

    fn event(&mut self, data: &[u8]) {
        // Whether it is whole shows at its end; that is all that is read of most.
        let end = data.trim_ascii_end();
        self.is_garbled |= !end.ends_with(b"}") && !end.ends_with(b"]") && !end.is_empty();
        if self.words.is_none_or(|words| says(data, words)) {
            self.note(data);
        }
    }

    /// Gemini streams without events come as one list of responses.
    fn document(&mut self, json: &[u8]) {
        let parts = if json.trim_ascii_start().starts_with(b"[") {
            serde_json::from_slice::<Vec<&RawValue>>(json)
        } else {
            serde_json::from_slice::<&RawValue>(json).map(|whole| vec![whole])
        };
        let Ok(parts) = parts else { return };
        let mut is_read = !parts.is_empty();
        for part in parts {
            is_read &= self.note(part.get().as_bytes());
        }
        self.tally.complete = is_read;
        self.tally.is_final = is_read;
    }

    fn note(&mut self, json: &[u8]) -> bool {
        match self.dialect {
            Dialect::Anthropic => anthropic::note(&mut self.tally, json),
            Dialect::Responses => responses::note(&mut self.tally, json),
            Dialect::Chat => chat::note(&mut self.tally, json),
            Dialect::Gemini => gemini::note(&mut self.tally, json),
        }
    }
}

/// True where one of the words stands in an event, other than as a key whose value is null: many events carry a
/// `usage` that is not there yet.
fn says(data: &[u8], words: &Searcher) -> bool {
    words.find_iter(data).any(|found| {
        let rest = data[found.end()..].trim_ascii_start();
        rest.strip_prefix(b":").is_none_or(|value| !value.trim_ascii_start().starts_with(b"null"))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::UsageSource;

    const ANTHROPIC: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"m","content":[],"usage":{"input_tokens":1000,"cache_creation_input_tokens":200,"cache_read_input_tokens":300,"output_tokens":1}}}

event: ping
data: {"type":"ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\"usage\": {\"output_tokens\": 999}, message_stop"}}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":50}}

event: message_stop
data: {"type":"message_stop"}

"#;

    const RESPONSES: &str = r#"event: response.created
data: {"type":"response.created","response":{"id":"r","status":"in_progress","error":null,"usage":null}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","delta":"\"usage\""}

event: response.completed
data: {"type":"response.completed","response":{"id":"r","error":null,"output":[{"type":"message"}],"usage":{"input_tokens":1000,"input_tokens_details":{"cached_tokens":300},"output_tokens":50,"output_tokens_details":{"reasoning_tokens":7},"total_tokens":1050}}}

"#;

    const CHAT: &str = r#"data: {"choices":[{"index":0,"delta":{"content":"Hi"}}],"usage":null}

data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}

data: {"choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":50,"total_tokens":1050,"prompt_tokens_details":{"cached_tokens":300},"completion_tokens_details":{"reasoning_tokens":7}}}

data: [DONE]

"#;

    const GEMINI: &str = r#"data: {"candidates":[{"content":{"parts":[{"text":"Hi"}]},"index":0}],"usageMetadata":{"promptTokenCount":1000,"candidatesTokenCount":5,"cachedContentTokenCount":300,"totalTokenCount":1005}}

data: {"candidates":[{"content":{"parts":[{"text":"!"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":1000,"candidatesTokenCount":43,"cachedContentTokenCount":300,"thoughtsTokenCount":7,"totalTokenCount":1050}}

"#;

    const STREAMS: [(Dialect, &str); 4] = [
        (Dialect::Anthropic, ANTHROPIC),
        (Dialect::Responses, RESPONSES),
        (Dialect::Chat, CHAT),
        (Dialect::Gemini, GEMINI),
    ];

    fn metered(dialect: Dialect, content_type: &str, parts: &[&[u8]]) -> Metered {
        let mut meter = Meter::new(dialect, content_type);
        for part in parts {
            meter.feed(part);
        }
        meter.finish()
    }

    fn stream(dialect: Dialect, text: &str) -> Metered {
        metered(dialect, "text/event-stream; charset=utf-8", &[text.as_bytes()])
    }

    fn document(dialect: Dialect, text: &str) -> Metered {
        metered(dialect, "application/json", &[text.as_bytes()])
    }

    /// Input, cached, cache writes, output.
    fn tokens(usage: Option<Usage>) -> Option<(u64, u64, u64, u64)> {
        usage.map(|u| (u.input_tokens, u.cached_tokens, u.cache_write_tokens, u.output_tokens))
    }

    fn expected(dialect: Dialect) -> (u64, u64, u64, u64) {
        if dialect == Dialect::Anthropic { (1500, 300, 200, 50) } else { (1000, 300, 0, 50) }
    }

    #[test]
    fn a_whole_stream_names_its_usage() {
        for (dialect, text) in STREAMS {
            for text in [text.to_owned(), text.replace('\n', "\r\n")] {
                let metered = stream(dialect, &text);
                assert_eq!(tokens(metered.usage), Some(expected(dialect)), "{dialect:?}");
                let usage = metered.usage.unwrap();
                assert_eq!((usage.api_calls, usage.source), (1, UsageSource::Gateway));
                assert_eq!((metered.complete, metered.input_known, metered.error), (true, None, None));
            }
        }
    }

    #[test]
    fn a_stream_cut_anywhere_never_counts_too_much_and_is_complete_only_at_its_end() {
        for (dialect, text) in STREAMS {
            let (input, _, _, output) = expected(dialect);
            let mut ended = false;
            for end in 0..text.len() {
                let metered = stream(dialect, &text[..end]);
                assert!(metered.complete || !ended, "{dialect:?} at {end}");
                ended = metered.complete;
                assert_eq!(metered.usage.is_some(), ended, "{dialect:?} at {end}");
                let known = metered.usage.or(metered.input_known).unwrap_or_default();
                assert!(known.input_tokens <= input && known.output_tokens <= output, "{dialect:?} at {end}");
                assert!(!ended || known.output_tokens == output, "{dialect:?} at {end}");
            }
            assert!(ended && !stream(dialect, &text[..text.len() * 3 / 4]).complete, "{dialect:?}");
        }
    }

    #[test]
    fn what_a_cut_stream_said_of_its_input_is_known() {
        let metered = stream(Dialect::Anthropic, &ANTHROPIC[..ANTHROPIC.find("event: message_delta").unwrap()]);
        assert_eq!((metered.usage, tokens(metered.input_known)), (None, Some((1500, 300, 200, 1))));
    }

    #[test]
    fn a_whole_document_names_its_usage() {
        let usage = r#"{"input_tokens":10,"cache_read_input_tokens":3,"output_tokens":5}"#;
        let message = format!(r#"{{"type":"message","content":[{{"type":"text","text":"x"}}],"usage":{usage}}}"#);
        assert_eq!(tokens(document(Dialect::Anthropic, &message).usage), Some((13, 3, 0, 5)));
        let response = r#"{"object":"response","error":null,"usage":{"input_tokens":10,"output_tokens":5}}"#;
        assert_eq!(tokens(document(Dialect::Responses, response).usage), Some((10, 0, 0, 5)));
        let chat = r#"{"choices":[{"message":{}}],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#;
        assert_eq!(tokens(document(Dialect::Chat, chat).usage), Some((10, 0, 0, 5)));
        let gemini = r#"{"usageMetadata":{"promptTokenCount":10,"toolUsePromptTokenCount":2,"thoughtsTokenCount":5}}"#;
        assert_eq!(tokens(document(Dialect::Gemini, gemini).usage), Some((12, 0, 0, 5)));
        let list = format!(r#"[{{"usageMetadata":{{"promptTokenCount":10}}}}, {gemini}]"#);
        assert_eq!(tokens(document(Dialect::Gemini, &list).usage), Some((12, 0, 0, 5)));
    }

    #[test]
    fn what_says_nothing_counts_nothing() {
        for (dialect, _) in STREAMS {
            for text in ["", "<html>", "{", "[]", "{\"usage\":", "data: {\"usage\":{{{not json\n\n"] {
                let nothing = |is_garbled: bool| Metered {
                    usage: None,
                    input_known: None,
                    complete: false,
                    error: None,
                    is_garbled,
                };
                assert_eq!(document(dialect, text), nothing(false), "{dialect:?} {text}");
                assert_eq!(stream(dialect, text), nothing(text.starts_with("data")), "{dialect:?} {text}");
            }
            let silent = document(dialect, "{}");
            assert_eq!((silent.usage, silent.complete), (None, true), "{dialect:?}");
        }
    }

    #[test]
    fn runs_that_the_totals_lack_are_counted() {
        let runs = r#"[{"input_tokens":900,"output_tokens":30},{"input_tokens":100,"output_tokens":5}]"#;
        let usage = format!(r#"{{"input_tokens":100,"output_tokens":5,"iterations":{runs}}}"#);
        let message = format!(r#"{{"type":"message","usage":{usage}}}"#);
        assert_eq!(tokens(document(Dialect::Anthropic, &message).usage), Some((1000, 0, 0, 35)));
    }

    fn check_error(dialect: Dialect, data: &str, expected: &str) {
        let metered = stream(dialect, &format!("data: {data}\n\n"));
        assert_eq!(metered.error.as_deref(), Some(expected), "{dialect:?} {data}");
    }

    #[test]
    fn errors_in_the_middle_are_heard() {
        let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        check_error(Dialect::Anthropic, error, "overloaded_error: Overloaded");
        let error = r#"{"type":"error","code":"rate_limit_exceeded","message":"later"}"#;
        check_error(Dialect::Responses, error, "rate_limit_exceeded: later");
        let failed = r#"{"type":"response.failed","response":{"usage":null,"error":{"code":"c","message":"m"}}}"#;
        check_error(Dialect::Responses, failed, "c: m");
        check_error(Dialect::Chat, r#"{"error":{"message":"m","type":"t","code":null}}"#, "t: m");
        let error = r#"{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}"#;
        check_error(Dialect::Gemini, error, "UNAVAILABLE: m");
    }

    #[test]
    fn totals_so_far_in_every_part_are_final_only_at_the_end() {
        let part = |n: u64| format!(r#"{{"choices":[{{}}],"usage":{{"prompt_tokens":9,"completion_tokens":{n}}}}}"#);
        let text = format!("data: {}\n\ndata: {}\n\n", part(1), part(2));
        assert_eq!(stream(Dialect::Chat, &text).usage, None);
        assert_eq!(tokens(stream(Dialect::Chat, &format!("{text}data: [DONE]\n\n")).usage), Some((9, 0, 0, 2)));
    }

    proptest! {
        #[test]
        fn cuts_between_parts_change_nothing(
            which in 0_usize..4,
            cuts in proptest::collection::vec(0_usize..2000, 0..9)
        ) {
            let (dialect, text) = STREAMS[which];
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % text.len()).collect();
            cuts.sort_unstable();
            let (mut from, mut parts) = (0, Vec::new());
            for cut in cuts {
                parts.push(&text.as_bytes()[from..cut]);
                from = cut;
            }
            parts.push(&text.as_bytes()[from..]);
            prop_assert_eq!(metered(dialect, "text/event-stream", &parts), stream(dialect, text));
        }

        #[test]
        fn no_bytes_make_it_fail(which in 0_usize..4, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (dialect, text) = STREAMS[which];
            let damaged = [text.as_bytes(), bytes.as_slice(), text.as_bytes()].concat();
            metered(dialect, "text/event-stream", &[&bytes, &damaged]);
            metered(dialect, "", &[&bytes]);
        }
    }
}
