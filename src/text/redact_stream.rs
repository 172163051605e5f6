//! Secrets in a stream that comes in pieces. Bytes flow in as they come; the same flow out without their secrets, whole
//! lines at once, so that no secret is cut in two. What is held back is bounded.

use memchr::memrchr;

use super::redact::{Redactor, without};

/// Most that is held back of a line without an end, bytes.
const MAX_HELD: usize = 64 << 10;
/// Most that is held back of a key without an end, bytes.
const MAX_KEY: usize = 8 << 10;

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
        let keep = redactor.longest().max(1024);
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
        let open = spans.iter().find(|span| span.place.start < up_to && up_to <= span.place.end);
        let cut = match open.map(|span| span.place.clone()) {
            Some(place) if self.held.len() - place.start <= MAX_KEY.max(2 * self.keep) => place.start,
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
            assert!(stream.held.len() <= MAX_KEY + 64, "{}", stream.held.len());
        }
    }
}
