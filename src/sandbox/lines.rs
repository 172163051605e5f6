//! Cuts a stream into lines. It holds at most one line, and of a line that is longer than its limit nothing at all.

use std::io;

/// Longest line that passes between a warden and the orchestrator; longer ones stay in the file only.
pub(super) const MAX_LINE_BYTES: usize = 8 << 20;
/// A long line grows by this much at a time: doubling would take twice the memory in the worst case.
const MAX_STEP: usize = 1 << 20;
const MIN_STEP: usize = 4 << 10;

/// The line that is not complete yet.
pub(super) struct Lines {
    line: Vec<u8>,
    is_too_long: bool,
    max_bytes: usize,
}

impl Lines {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { line: Vec::new(), is_too_long: false, max_bytes }
    }

    /// Hands on every line that `bytes` completes, without its newline.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        on_line: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            if self.line.is_empty() && !self.is_too_long && end <= self.max_bytes {
                on_line(&bytes[..end])?;
            } else {
                self.extend(&bytes[..end]);
                self.finish(on_line)?;
            }
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
        Ok(())
    }

    /// Hands on what there is of the last line.
    pub(super) fn finish(&mut self, on_line: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let told = if self.is_too_long { Ok(()) } else { on_line(&self.line) };
        self.is_too_long = false;
        self.line.clear();
        self.line.shrink_to(MAX_STEP);
        told
    }

    fn extend(&mut self, bytes: &[u8]) {
        let length = self.line.len() + bytes.len();
        if self.is_too_long || length > self.max_bytes {
            self.is_too_long = true;
            self.line = Vec::new();
            return;
        }
        if length > self.line.capacity() {
            self.line.reserve_exact(bytes.len().max(self.line.len().clamp(MIN_STEP, MAX_STEP)));
        }
        self.line.extend_from_slice(bytes);
    }
}

/// The JSON object that a line may hold, from its brace on. Spaces and a byte order mark before it do not matter.
pub(super) fn json_object(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii_start();
    (line.first() == Some(&b'{')).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(chunks: &[&str], expected: &[&str]) {
        let mut seen = Vec::new();
        let mut lines = Lines::new(5);
        let mut on_line = |line: &[u8]| {
            seen.push(String::from_utf8_lossy(line).into_owned());
            Ok(())
        };
        for chunk in chunks {
            lines.feed(chunk.as_bytes(), &mut on_line).unwrap();
        }
        lines.finish(&mut on_line).unwrap();
        assert_eq!(seen, expected, "{chunks:?}");
    }

    #[test]
    fn lines_come_whole_wherever_the_stream_is_cut() {
        check(&["ab\ncd\n"], &["ab", "cd", ""]);
        check(&["a", "b\nc", "d", "\n"], &["ab", "cd", ""]);
        check(&["\n\nx"], &["", "", "x"]);
    }

    #[test]
    fn lines_that_are_too_long_are_left_out_and_the_next_one_is_whole() {
        check(&["12345\n123456\nab\n"], &["12345", "ab", ""]);
        check(&["123", "456", "789\nab"], &["ab"]);
        check(&["123", "456"], &[]);
    }

    #[test]
    fn the_buffer_of_a_long_line_is_bounded_and_given_back() {
        let mut lines = Lines::new(MAX_LINE_BYTES);
        let chunk = vec![b'x'; 1 << 16];
        let mut lengths = Vec::new();
        let mut on_line = |line: &[u8]| {
            lengths.push(line.len());
            Ok(())
        };
        for _ in 0..(MAX_LINE_BYTES >> 16) {
            lines.feed(&chunk, &mut on_line).unwrap();
            assert!(lines.line.capacity() <= MAX_LINE_BYTES + MAX_STEP);
        }
        lines.feed(b"\n", &mut on_line).unwrap();
        assert!(lines.line.capacity() <= MAX_STEP);
        for _ in 0..=(MAX_LINE_BYTES >> 16) {
            lines.feed(&chunk, &mut on_line).unwrap();
        }
        assert_eq!(lines.line.capacity(), 0);
        lines.feed(b"\n", &mut on_line).unwrap();
        assert_eq!(lengths, [MAX_LINE_BYTES]);
    }

    #[test]
    fn only_objects_are_json_to_us() {
        assert_eq!(json_object(b"{}"), Some(&b"{}"[..]));
        assert_eq!(json_object(b"  \t{\"a\":1}"), Some(&b"{\"a\":1}"[..]));
        assert_eq!(json_object(b"\xef\xbb\xbf {"), Some(&b"{"[..]));
        assert_eq!(json_object(b"x {}"), None);
        assert_eq!(json_object(b"[1]"), None);
        assert_eq!(json_object(b""), None);
    }
}
