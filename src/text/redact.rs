//! The way of a secret out of text: whatever agents, gates, PRDs, git and model servers wrote flows in, the same with
//! `***` in the place of every secret flows out.
//!
//! Two kinds are found: the values that this process knows for secrets, in the shapes in which programs print them, and
//! what looks like a token of a known make (`token.rs`). Only the first kind is beyond doubt. What a program encodes in
//! another way, or prints in pieces, is not found.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, BuildError};

use super::shapes::{MIN_BYTES, secret_lines, shapes};
use super::token;
use crate::core::MASK;

/// How much is known of a secret that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    /// It is a value that this process was given, or a line of one, that may as well be an ordinary word.
    Maybe,
    /// It looks like one.
    Shape,
    /// It is a value that this process was given, beyond doubt.
    Value,
}

/// Finds secrets. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Redactor {
    /// First the beginnings of known tokens, then the shapes of the values.
    patterns: AhoCorasick,
    /// The shapes of the values in their order, each with what it means to find it.
    shapes: Arc<[(String, Found)]>,
    /// How shapes begin, `MIN_BYTES` of each.
    heads: AhoCorasick,
    values: Arc<[String]>,
}

/// Where a secret stands.
pub(super) struct Span {
    pub(super) place: Range<usize>,
    pub(super) found: Found,
    /// True for a token that the text ends in: it may go on.
    pub(super) is_open: bool,
}

impl Redactor {
    /// Looks for these values, each with its lines and in its shapes, and for tokens of known makes.
    ///
    /// # Errors
    /// There are more values than an automaton can hold (gigabytes).
    pub fn new(values: impl IntoIterator<Item = String>) -> Result<Self, BuildError> {
        let mut values: Vec<String> = values.into_iter().filter(|v| secret_lines(v).next().is_some()).collect();
        values.sort();
        values.dedup();
        let mut found: BTreeMap<String, Found> = BTreeMap::new();
        for (shape, known) in values.iter().flat_map(|value| shapes(value)) {
            let best = found.entry(shape).or_insert(known);
            *best = (*best).max(known);
        }
        let patterns = token::BEGINNINGS.iter().copied().chain(found.keys().map(String::as_str));
        let heads: BTreeSet<&[u8]> = found.keys().map(|shape| &shape.as_bytes()[..MIN_BYTES]).collect();
        Ok(Self {
            patterns: AhoCorasick::new(patterns)?,
            heads: AhoCorasick::new(heads)?,
            shapes: found.into_iter().collect(),
            values: values.into(),
        })
    }

    /// What it was made of.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// The text without its secrets.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        masked(text, &self.spans(text.as_bytes()))
    }

    /// Takes its secrets out of a text that people gave: words that are no secret for sure stay, since much may depend
    /// on them.
    pub fn clean_given(&self, text: &mut String) {
        put(text, &self.sure_spans(text.as_bytes()));
    }

    /// `clean_given` for bytes.
    pub fn given<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        masked_bytes(bytes, &self.sure_spans(bytes))
    }

    /// Takes its secrets out of a text that somebody may have cut: at its end, the beginning of one as well.
    pub fn clean_cut(&self, text: &mut String) {
        let kept = text.trim_end_matches('…').as_bytes();
        let mut spans = self.spans(kept);
        spans.extend(self.begun(kept));
        put(text, &joined(spans));
    }

    /// The bytes without their secrets.
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        masked_bytes(bytes, &self.spans(bytes))
    }

    /// The secrets in a text, in order.
    pub fn found<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = (Found, &'a [u8])> {
        self.spans(bytes).into_iter().map(|span| (span.found, &bytes[span.place]))
    }

    /// Where secrets stand, in order, none touching another's inside.
    pub(super) fn spans(&self, bytes: &[u8]) -> Vec<Span> {
        let known = token::BEGINNINGS.len();
        let mut covered = 0;
        let mut spans = Vec::new();
        for hit in self.patterns.find_overlapping_iter(bytes) {
            let pattern = hit.pattern().as_usize();
            if let Some(shape) = pattern.checked_sub(known) {
                spans.push(Span { place: hit.range(), found: self.shapes[shape].1, is_open: false });
            } else if hit.start() >= covered
                && let Some(token::End { at: end, is_open }) = token::end(pattern, bytes, hit.start())
            {
                covered = end;
                spans.push(Span { place: hit.start()..end, found: Found::Shape, is_open });
            }
        }
        joined(spans)
    }

    fn sure_spans(&self, bytes: &[u8]) -> Vec<Span> {
        let mut spans = self.spans(bytes);
        spans.retain(|span| span.found > Found::Maybe);
        spans
    }

    /// The beginning of a secret at the end of a text, the longest.
    fn begun(&self, bytes: &[u8]) -> Option<Span> {
        let from = bytes.len().saturating_sub(self.longest());
        let is_begun = |at: &usize| {
            let tail = &bytes[*at..];
            let next = self.shapes.partition_point(|(shape, _)| shape.as_bytes() < tail);
            self.shapes.get(next).is_some_and(|(shape, _)| shape.as_bytes().starts_with(tail))
        };
        let at = self.heads.find_overlapping_iter(&bytes[from..]).map(|hit| from + hit.start()).find(is_begun)?;
        Some(Span { place: at..bytes.len(), found: Found::Maybe, is_open: true })
    }

    /// The longest pattern, bytes.
    pub(super) fn longest(&self) -> usize {
        self.patterns.max_pattern_len()
    }
}

/// Spans that share a byte become one: nothing of either may stay.
fn joined(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| span.place.start);
    spans.into_iter().fold(Vec::new(), |mut all, span| {
        match all.last_mut() {
            Some(Span { place, found, is_open }) if span.place.start < place.end => {
                place.end = place.end.max(span.place.end);
                *found = (*found).max(span.found);
                *is_open |= span.is_open;
            }
            _ => all.push(span),
        }
        all
    })
}

fn masked_bytes<'a>(bytes: &'a [u8], spans: &[Span]) -> Cow<'a, [u8]> {
    if spans.is_empty() { Cow::Borrowed(bytes) } else { Cow::Owned(without(bytes, spans)) }
}

/// The text with a mask in the place of each span.
fn masked<'a>(text: &'a str, spans: &[Span]) -> Cow<'a, str> {
    match masked_bytes(text.as_bytes(), spans) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        // A secret is whole characters, so what is left is as well.
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

fn put(text: &mut String, spans: &[Span]) {
    if let Cow::Owned(clean) = masked(text, spans) {
        *text = clean;
    }
}

/// The bytes with a mask in the place of each span.
pub(super) fn without(bytes: &[u8], spans: &[Span]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for Span { place, .. } in spans {
        out.extend_from_slice(&bytes[from..place.start]);
        out.extend_from_slice(MASK.as_bytes());
        from = place.end;
    }
    out.extend_from_slice(&bytes[from..]);
    out
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

    use super::*;

    fn redactor(values: &[&str]) -> Redactor {
        Redactor::new(values.iter().map(|value| (*value).to_owned())).unwrap()
    }

    fn check(values: &[&str], text: &str, expected: &str) {
        assert_eq!(redactor(values).text(text), expected, "{text}");
    }

    #[test]
    fn a_value_is_masked_wherever_it_stands() {
        check(&["s3cr3t-value"], "a s3cr3t-value, s3cr3t-values3cr3t-value", "a ***, ******");
        check(&["s3cr3t-value\n"], "a s3cr3t-value", "a ***");
        check(&["s3cr3t-value"], "s3cr3t-val ä", "s3cr3t-val ä");
        check(&[], "nothing to hide", "nothing to hide");
    }

    #[test]
    fn a_value_is_masked_in_every_shape_in_which_programs_print_it() {
        let secret = r#"pa"ss\w/ör d&1<2"#;
        let json = serde_json::to_string(secret).unwrap();
        let twice = serde_json::to_string(&json).unwrap();
        for shape in [
            secret.to_owned(),
            json.trim_matches('"').to_owned(),
            json.trim_matches('"').replace('/', "\\/"),
            twice[3..twice.len() - 3].to_owned(),
            "pa%22ss%5Cw%2F%C3%B6r%20d%261%3C2".to_owned(),
            "pa%22ss%5cw%2f%c3%b6r%20d%261%3c2".to_owned(),
            secret.replace('&', "&amp;").replace('<', "&lt;"),
            secret.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;"),
        ] {
            check(&[secret], &format!("<{shape}>"), "<***>");
        }
    }

    #[test]
    fn base64_is_seen_through_wherever_the_value_stands_in_what_was_encoded() {
        let secret = "s3cr3t?>value~~";
        for before in ["", "a", "ab", "abc", "user:"] {
            for after in ["", "\n", "xy", " and more"] {
                let text = format!("{before}{secret}{after}");
                for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                    let clean = redactor(&[secret]).text(&encoded).into_owned();
                    // Two characters at each end belong to its neighbours as well.
                    assert!(clean.contains("***"), "{text}: {encoded}");
                }
            }
        }
        let long: String = (0..200).map(|n| char::from_digit(n * 7 % 36, 36).unwrap()).collect();
        let wrapped: Vec<u8> = STANDARD_NO_PAD.encode(&long).into_bytes();
        // The width of the command line's `base64`.
        for line in wrapped.chunks(76) {
            check(&[&long], &String::from_utf8_lossy(line), "***");
        }
    }

    #[test]
    fn a_word_that_people_give_stays_and_what_programs_print_of_it_does_not() {
        let redactor = redactor(&["created_at", "s3cr3t-value"]);
        let text = "order by created_at with s3cr3t-value";
        let mut given = text.to_owned();
        redactor.clean_given(&mut given);
        assert_eq!(given, "order by created_at with ***");
        assert_eq!(redactor.text(text), "order by *** with ***");
    }

    #[test]
    fn the_beginning_of_a_secret_at_a_cut_is_masked() {
        let check = |text: &str, expected: &str| {
            let mut clean = text.to_owned();
            redactor(&["s3cr3t-value-of-some-length"]).clean_cut(&mut clean);
            assert_eq!(clean, expected, "{text}");
        };
        check("a s3cr3t-value-of-some-le", "a ***");
        check("a s3cr3t-v…", "a ***…");
        check("a s3cr3t-v b", "a s3cr3t-v b");
        check("a s3cr3t-", "a s3cr3t-");
        check("a s3cr3t-value-of-some-length", "a ***");
    }

    #[test]
    fn what_overlaps_is_masked_as_a_whole() {
        check(&["abcdefgh", "efghijkl"], "<abcdefghijkl>", "<***>");
        check(&["abcdefgh", "abcdefghijkl"], "<abcdefghijkl> <abcdefgh>", "<***> <***>");
        check(&["abcdefghijkl", "cdefghij"], "<abcdefghijkl>", "<***>");
        check(&["ghp_abcdefgh"], &format!("<ghp_abcdefgh{}>", "1".repeat(40)), "<***>");
    }

    #[test]
    fn lines_of_a_secret_are_secrets_and_short_and_common_ones_are_none() {
        let key = "-----BEGIN K-----\nTUlJRXZRSUJBREFOQmdr\nshort\n{ \"type\": 1 }\n-----END K-----\n";
        check(&[key], "a TUlJRXZRSUJBREFOQmdr b", "a *** b");
        check(&[key], "-----BEGIN K----- short", "-----BEGIN K----- short");
        check(&["true", "password", "maestro-ci"], "true password maestro-ci", "true password maestro-ci");
        let redactor = redactor(&[key, "0ne-line-value", "created_at"]);
        let find = |text: &str| redactor.found(text.as_bytes()).map(|(found, _)| found).max();
        assert_eq!(find("x TUlJRXZRSUJBREFOQmdr"), Some(Found::Value));
        assert_eq!(find("x { \"type\": 1 }"), Some(Found::Maybe));
        assert_eq!(find("x 0ne-line-value created_at"), Some(Found::Value));
        assert_eq!(find("x created_at"), Some(Found::Maybe));
        assert_eq!(find("x"), None);
        let quoted = serde_json::to_string(key.trim()).unwrap();
        check(&[key], &quoted, "\"***\"");
    }

    #[test]
    fn a_text_of_a_megabyte_of_beginnings_takes_no_time_to_speak_of() {
        let redactor = redactor(&["s3cr3t-value", "aaaaaaaa"]);
        for piece in ["sk-", "eyJ", "glpat-", "-----BEGIN RSA PRIVATE KEY-----", "a", "s3cr3t-val", "eyJa."] {
            let text = piece.repeat((1 << 20) / piece.len());
            assert!(redactor.text(&text).len() <= text.len());
        }
    }
}
