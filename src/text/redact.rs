//! The way of a secret out of text: whatever agents, gates, PRDs, git and model servers wrote flows in, the same with
//! `***` in the place of every secret flows out.
//!
//! Two kinds are found: the values that this process knows for secrets, in the shapes in which programs print them, and
//! what looks like a token of a known make (`token.rs`). Only the first kind is beyond doubt. What a program encodes in
//! another way, or prints in pieces, is not found.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, BuildError};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::token;

/// What stands in the place of a secret.
const MASK: &[u8] = b"***";
/// Shortest line that is taken for part of a secret, bytes: what is shorter would hide half of a log.
const MIN_BYTES: usize = 8;
/// A line of a longer secret that is a secret for sure, bytes; what is shorter may be anybody's (`"type": "account"`).
const SURE_LINE_BYTES: usize = 20;
/// Values that people give where none is wanted, long enough to be one.
const COMMON: [&str; 12] = [
    "00000000",
    "12345678",
    "changeme",
    "disabled",
    "dummy-key",
    "localhost",
    "maestro-ci",
    "not-needed",
    "password",
    "placeholder",
    "postgres",
    "undefined",
];
/// `base64` of the command line breaks its lines here, characters.
const BASE64_LINE: usize = 76;

/// The lines of a secret that are looked for, each by itself.
pub fn secret_lines(secret: &str) -> impl Iterator<Item = &str> {
    secret.lines().map(str::trim).filter(|line| line.len() >= MIN_BYTES && !COMMON.contains(line))
}

/// How much is known of a secret that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    /// It looks like one.
    Shape,
    /// It is a value that this process was given.
    Value,
}

/// Finds secrets. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Redactor {
    /// First the beginnings of known tokens, then the shapes of the values.
    patterns: AhoCorasick,
    /// Of each shape of a value: is it a secret for sure.
    sure: Arc<[bool]>,
    values: Arc<[String]>,
}

/// Where a secret stands.
pub(super) struct Span {
    pub(super) place: Range<usize>,
    found: Found,
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
        let shapes: BTreeMap<String, bool> =
            values.iter().flat_map(|value| shapes(value)).fold(BTreeMap::new(), |mut all, (shape, sure)| {
                *all.entry(shape).or_default() |= sure;
                all
            });
        let patterns = token::BEGINNINGS.iter().copied().chain(shapes.keys().map(String::as_str));
        Ok(Self {
            patterns: AhoCorasick::new(patterns)?,
            sure: shapes.values().copied().collect(),
            values: values.into(),
        })
    }

    /// What it was made of.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// The text without its secrets.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // A secret is whole characters, so what is left is as well.
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// Takes its secrets out of a text.
    pub fn clean(&self, text: &mut String) {
        if let Cow::Owned(clean) = self.text(text) {
            *text = clean;
        }
    }

    /// The bytes without their secrets.
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let spans = self.spans(bytes);
        if spans.is_empty() { Cow::Borrowed(bytes) } else { Cow::Owned(without(bytes, &spans)) }
    }

    /// The surest secret in a text, if there is any.
    pub fn find(&self, bytes: &[u8]) -> Option<Found> {
        self.spans(bytes).into_iter().map(|span| span.found).max()
    }

    /// Where secrets stand, in order, none touching another's inside.
    pub(super) fn spans(&self, bytes: &[u8]) -> Vec<Span> {
        let known = token::BEGINNINGS.len();
        let mut covered = 0;
        let mut spans = Vec::new();
        for hit in self.patterns.find_overlapping_iter(bytes) {
            let pattern = hit.pattern().as_usize();
            if let Some(shape) = pattern.checked_sub(known) {
                let found = if self.sure[shape] { Found::Value } else { Found::Shape };
                spans.push(Span { place: hit.range(), found });
            } else if hit.start() >= covered
                && let Some(end) = token::end(pattern, bytes, hit.start())
            {
                covered = end;
                spans.push(Span { place: hit.start()..end, found: Found::Shape });
            }
        }
        joined(spans)
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
            Some(Span { place, found }) if span.place.start < place.end => {
                place.end = place.end.max(span.place.end);
                *found = (*found).max(span.found);
            }
            _ => all.push(span),
        }
        all
    })
}

/// The bytes with a mask in the place of each span.
pub(super) fn without(bytes: &[u8], spans: &[Span]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for Span { place, .. } in spans {
        out.extend_from_slice(&bytes[from..place.start]);
        out.extend_from_slice(MASK);
        from = place.end;
    }
    out.extend_from_slice(&bytes[from..]);
    out
}

/// Everything that a secret is looked for as, and whether that is the secret for sure.
fn shapes(secret: &str) -> Vec<(String, bool)> {
    let secret = secret.trim();
    let is_one_line = !secret.contains('\n');
    // The first and last line of a key in PEM are everybody's.
    let lines = secret_lines(secret).filter(|line| !line.starts_with("-----"));
    let is_sure = |line: &str| is_one_line || (line.len() >= SURE_LINE_BYTES && !line.contains(' '));
    let mut all: Vec<(String, bool)> = lines.map(|line| (line.to_owned(), is_sure(line))).collect();
    let whole = if is_one_line { all.clone() } else { vec![(secret.to_owned(), true)] };
    for (whole, sure) in whole {
        all.extend(encoded(&whole).into_iter().map(|shape| (shape, sure)));
    }
    // A line by itself may be quoted, too.
    all.retain(|(shape, _)| shape.len() >= MIN_BYTES && !shape.contains('\n'));
    all
}

/// A secret as JSON, XML, an address and base64 show it; some of them may be as it is.
fn encoded(secret: &str) -> Vec<String> {
    let json = |text: &str| {
        let quoted = serde_json::Value::from(text).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    let once = json(secret);
    let percent = |is_upper: bool| {
        let escape = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ if is_upper => format!("%{byte:02X}"),
            _ => format!("%{byte:02x}"),
        };
        secret.bytes().map(escape).collect::<String>()
    };
    let xml = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut all = vec![json(&once), once.replace('/', "\\/"), once, percent(true), percent(false)];
    all.extend([xml.replace('"', "&quot;"), xml]);
    all.extend((0..3).flat_map(|before| base64_shapes(secret, before)));
    all
}

/// What base64 makes of a secret that stands behind `before` bytes (modulo 3) of something else: the characters that
/// depend on nothing else.
fn base64_shapes(secret: &str, before: usize) -> Vec<String> {
    let bytes: Vec<u8> = std::iter::repeat_n(0, before).chain(secret.bytes()).collect();
    let own = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
    let both = [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)];
    let wrapped = both[0].as_bytes().chunks(BASE64_LINE).filter(|_| before == 0 && both[0].len() > BASE64_LINE);
    let lines: Vec<String> = wrapped.map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    both.iter().filter_map(|text| text.get(own.clone())).map(str::to_owned).chain(lines).collect()
}

#[cfg(test)]
mod tests {
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
        for line in wrapped.chunks(BASE64_LINE) {
            check(&[&long], &String::from_utf8_lossy(line), "***");
        }
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
        let redactor = redactor(&[key, "one-line-value"]);
        assert_eq!(redactor.find(b"x TUlJRXZRSUJBREFOQmdr"), Some(Found::Value));
        assert_eq!(redactor.find(b"x { \"type\": 1 }"), Some(Found::Shape));
        assert_eq!(redactor.find(b"x one-line-value"), Some(Found::Value));
        assert_eq!(redactor.find(b"x"), None);
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
