//! Keeps our keys out of what agents and records get: an upstream that echoes a request, or names the key that it does
//! not like, must not hand it on. In: bytes, headers or a message. Out: the same without the key.

use std::borrow::Cow;

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use memchr::memmem;

/// What stands in its place.
const MASK: &[u8] = b"***";
/// The shortest key that is one, bytes: what servers without keys are given (`none`, `dummy`) is a word like others.
const MIN_BYTES: usize = 8;

/// A key as it goes out, without the word before it. None where there is nothing to keep.
#[derive(Clone, Copy)]
pub(super) struct Secret<'a>(Option<&'a str>);

impl<'a> Secret<'a> {
    pub(super) fn new(key: Option<&'a str>) -> Self {
        let bare = key.map(|key| key.trim().trim_start_matches("Bearer ").trim());
        Self(bare.filter(|key| key.len() >= MIN_BYTES))
    }

    /// The bytes without it.
    pub(super) fn masked<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let Some(key) = self.0 else { return Cow::Borrowed(bytes) };
        let mut out = Vec::new();
        let mut from = 0;
        for at in memmem::find_iter(bytes, key) {
            out.extend_from_slice(&bytes[from..at]);
            out.extend_from_slice(MASK);
            from = at + key.len();
        }
        if from == 0 {
            return Cow::Borrowed(bytes);
        }
        out.extend_from_slice(&bytes[from..]);
        Cow::Owned(out)
    }

    /// A message without it.
    pub(super) fn masked_text(&self, text: String) -> String {
        match self.0 {
            Some(key) if text.contains(key) => text.replace(key, "***"),
            _ => text,
        }
    }

    /// Masks it in the values of headers.
    pub(super) fn mask_headers(&self, headers: &mut HeaderMap) {
        for value in headers.values_mut() {
            if let Cow::Owned(masked) = self.masked(value.as_bytes()) {
                // What was a value is one without some of its characters.
                *value = HeaderValue::from_bytes(&masked).unwrap_or(HeaderValue::from_static("***"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, text: &str, expected: &str) {
        let secret = Secret::new(Some(key));
        assert_eq!(secret.masked(text.as_bytes()), expected.as_bytes(), "{text}");
        assert_eq!(secret.masked_text(text.to_owned()), expected, "{text}");
    }

    #[test]
    fn the_key_is_masked_wherever_it_stands() {
        check("sk-123456", "key sk-123456: sk-123456", "key ***: ***");
        check("Bearer sk-123456\n", "authorization: Bearer sk-123456", "authorization: Bearer ***");
        check("sk-123456", "sk-12345", "sk-12345");
    }

    #[test]
    fn a_word_that_is_no_key_stays() {
        check("dummy", "a dummy", "a dummy");
        assert_eq!(Secret::new(None).masked_text("text".to_owned()), "text");
    }

    #[test]
    fn headers_are_masked() {
        let mut headers = HeaderMap::new();
        headers.insert("x-echo", HeaderValue::from_static("you sent sk-123456"));
        headers.insert("retry-after", HeaderValue::from_static("7"));
        Secret::new(Some("sk-123456")).mask_headers(&mut headers);
        assert_eq!(headers["x-echo"], "you sent ***");
        assert_eq!(headers["retry-after"], "7");
    }
}
