//! Secrets in a stream that comes in pieces. Bytes flow in as they come; the same flow out without their secrets, whole
//! lines at once, so that no secret is cut in two. What is held back is bounded.

use memchr::memrchr;

use super::redact::{Redactor, Span, without};

/// Most that is held back of a line without an end, bytes.
const MAX_HELD: usize = 64 << 10;
/// What is kept of such a line, bytes: more than a token is long. A key without an end is held up to twice of that.
const KEEP: usize = 8 << 10;

/// A stream on its way.
pub struct RedactedStream {
    redactor: Redactor,
    held: Vec<u8>,
    /// More than any secret is long, bytes.
    keep: usize,
}

impl RedactedStream {
    /// A stream that loses what this one finds.
    pub fn new(redactor: Redactor) -> Self {
        let keep = redactor.longest().max(KEEP);
        Self { redactor, held: Vec::new(), keep }
    }

    /// Takes bytes in; returns what can go on.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let fresh = self.held.len();
        self.held.extend_from_slice(bytes);
        let is_full = self.held.len() > self.most();
        match memrchr(b'\n', bytes) {
            Some(at) => self.let_go(fresh + at + 1),
            None if is_full => self.let_go(self.held.len() - self.keep),
            None => Vec::new(),
        }
    }

    /// What is left at its end.
    pub fn finish(&mut self) -> Vec<u8> {
        let rest = std::mem::take(&mut self.held);
        self.redactor.bytes(&rest).into_owned()
    }

    fn most(&self) -> usize {
        MAX_HELD.max(2 * self.keep)
    }

    /// Lets the first bytes go. A secret that the cut would go through, or that may go on behind it, stays whole.
    fn let_go(&mut self, up_to: usize) -> Vec<u8> {
        let mut spans = self.redactor.spans(&self.held);
        let goes_on = |span: &&Span| span.place.start < up_to && (up_to <= span.place.end || span.is_open);
        let open = spans.iter().find(goes_on);
        let cut = match open.map(|span| span.place.clone()) {
            Some(place) if self.held.len() - place.start <= 2 * self.keep => place.start,
            Some(place) => place.end,
            None => up_to,
        };
        spans.retain(|span| span.place.end <= cut);
        let gone = without(&self.held[..cut], &spans);
        self.held.drain(..cut);
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cr3t-value";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMIIE\nAbCd\n-----END PRIVATE KEY-----";

    fn stream() -> RedactedStream {
        RedactedStream::new(Redactor::new([SECRET.to_owned()]).unwrap())
    }

    /// Feeds a text in pieces of this size.
    fn fed(text: &str, size: usize) -> String {
        let mut stream = stream();
        let mut out: Vec<u8> = text.as_bytes().chunks(size).flat_map(|piece| stream.feed(piece)).collect();
        out.extend(stream.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_secret_is_found_wherever_the_stream_is_cut() {
        let text = format!("a {SECRET}\nb {SECRET} c\n{KEY}\nd\n{SECRET}");
        for size in 1..=text.len() {
            assert_eq!(fed(&text, size), "a ***\nb *** c\n***\nd\n***", "in pieces of {size}");
        }
    }

    #[test]
    fn a_key_that_is_printed_line_by_line_is_found() {
        for text in [
            "    -----BEGIN PRIVATE KEY-----\n    MIIE\n    AbCd=\n    -----END PRIVATE KEY-----\n",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIE\n-----END RSA PRIVATE KEY-----\n",
        ] {
            let mut stream = stream();
            let mut out: Vec<u8> = text.split_inclusive('\n').flat_map(|line| stream.feed(line.as_bytes())).collect();
            out.extend(stream.feed(b"{\"a\":1}\n"));
            assert_eq!(String::from_utf8(out).unwrap().trim_start(), "***\n{\"a\":1}\n");
        }
        let mut stream = stream();
        stream.feed(b"-----BEGIN PRIVATE KEY-----\nMIIE\n");
        assert_eq!(stream.feed(b"{\"a\":1}\n"), b"***\n{\"a\":1}\n");
    }

    #[test]
    fn a_long_token_in_a_long_line_is_found_wherever_the_line_is_cut() {
        let token = format!("eyJhbGciOiJSUzI1NiJ9.eyJ{}.{}", "Q1w2".repeat(700), "a1B2".repeat(85));
        let text = format!("{} {token} ", "x".repeat(500)).repeat(60);
        for size in [1000, 65_536] {
            assert_eq!(fed(&text, size), format!("{} *** ", "x".repeat(500)).repeat(60), "in pieces of {size}");
        }
    }

    #[test]
    fn whole_lines_go_on_at_once() {
        let mut stream = stream();
        assert_eq!(stream.feed(b"{\"a\":1}\n{\"b"), b"{\"a\":1}\n");
        assert_eq!(stream.feed(b"\":2}\n"), b"{\"b\":2}\n");
        assert_eq!(stream.finish(), b"");
    }

    #[test]
    fn a_line_without_an_end_is_held_within_bounds_and_loses_its_secrets() {
        for size in [1000, 4096, 70_000, 200_000] {
            let filler = "x".repeat(9_973);
            let text = format!("{filler}{SECRET}").repeat(40);
            assert_eq!(fed(&text, size), format!("{filler}***").repeat(40), "in pieces of {size}");
        }
        let mut stream = stream();
        for piece in std::iter::once("-----BEGIN PRIVATE KEY-----\n").chain(std::iter::repeat_n("AbCd\n", 10_000)) {
            stream.feed(piece.as_bytes());
            assert!(stream.held.len() <= 2 * KEEP + 64, "{}", stream.held.len());
        }
    }
}
