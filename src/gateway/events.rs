//! Server-sent events, cut from a stream of bytes. In: bytes as they come, cut anywhere. Out: the data of each event.
//! One event is kept at a time, and none that is larger than a bound: it is left out, and the next one is found again.

use memchr::memchr;

/// Bytes of the largest event that is kept.
const MAX_EVENT_BYTES: usize = 8 << 20;

/// The stream so far.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// Data of the event whose end has not come.
    data: Vec<u8>,
    has_data: bool,
    /// The line, or the event, is too large.
    skips_line: bool,
    skips_event: bool,
}

impl Events {
    /// Takes the next bytes.
    pub(super) fn feed(&mut self, mut bytes: &[u8], on_event: &mut impl FnMut(&[u8])) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (head, tail) = (&bytes[..end], &bytes[end + 1..]);
            bytes = tail;
            if self.line.is_empty() && !self.skips_line {
                if let (Some(data), Some(rest)) = (self.only_data(head), tail.strip_prefix(b"\n")) {
                    on_event(data);
                    bytes = rest;
                } else {
                    self.end_line(head, on_event);
                }
            } else {
                self.keep(head);
                self.end_kept_line(on_event);
            }
        }
        self.keep(bytes);
    }

    /// The data of a line that begins an event. Where an empty line follows it, that is all of the event, as is usual,
    /// and it need not be kept.
    fn only_data<'a>(&self, line: &'a [u8]) -> Option<&'a [u8]> {
        let data = line.strip_prefix(b"data:")?;
        let is_all = !self.has_data && !self.skips_event && !data.ends_with(b"\r") && data.len() < MAX_EVENT_BYTES;
        is_all.then(|| data.strip_prefix(b" ").unwrap_or(data))
    }

    /// Takes the end of the stream: also an event that no empty line ended counts.
    pub(super) fn finish(mut self, on_event: &mut impl FnMut(&[u8])) {
        self.end_kept_line(on_event);
        self.end_event(on_event);
    }

    fn keep(&mut self, part: &[u8]) {
        if self.skips_line || self.line.len() + part.len() > MAX_EVENT_BYTES {
            self.skips_line = true;
            self.line.clear();
        } else {
            self.line.extend_from_slice(part);
        }
    }

    fn end_kept_line(&mut self, on_event: &mut impl FnMut(&[u8])) {
        if self.skips_line {
            self.skips_line = false;
            self.skips_event = true;
            return;
        }
        let mut line = std::mem::take(&mut self.line);
        self.end_line(&line, on_event);
        line.clear();
        self.line = line;
    }

    fn end_line(&mut self, line: &[u8], on_event: &mut impl FnMut(&[u8])) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            self.end_event(on_event);
        } else if let Some(data) = line.strip_prefix(b"data:") {
            self.add(data.strip_prefix(b" ").unwrap_or(data));
        }
    }

    fn add(&mut self, data: &[u8]) {
        if self.skips_event || self.data.len() + data.len() >= MAX_EVENT_BYTES {
            self.skips_event = true;
            return;
        }
        if self.has_data {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(data);
        self.has_data = true;
    }

    fn end_event(&mut self, on_event: &mut impl FnMut(&[u8])) {
        if self.has_data && !self.skips_event {
            on_event(&self.data);
        }
        self.data.clear();
        self.has_data = false;
        self.skips_event = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(parts: &[&[u8]]) -> Vec<String> {
        let mut seen = Vec::new();
        let mut take = |data: &[u8]| seen.push(String::from_utf8_lossy(data).into_owned());
        let mut events = Events::default();
        for part in parts {
            events.feed(part, &mut take);
        }
        events.finish(&mut take);
        seen
    }

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(events(&[text.as_bytes()]), expected, "{text:?}");
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(events(&bytes), expected, "{text:?}, byte by byte");
    }

    #[test]
    fn data_is_cut_at_empty_lines() {
        check("event: a\ndata: 1\n\ndata:2\n\n", &["1", "2"]);
        check("data: 1\r\n\r\ndata: 2\r\n\r\n", &["1", "2"]);
        check("data: {\ndata:  \"a\": 1}\n\n", &["{\n \"a\": 1}"]);
    }

    #[test]
    fn comments_and_other_fields_are_left_out() {
        check(": ping\n\nid: 1\nretry: 5\ndata: 1\n\n\n\n", &["1"]);
        check("data\n\nxdata: 2\n\n", &[]);
    }

    #[test]
    fn an_event_that_the_stream_ends_in_counts() {
        check("data: 1\n\ndata: [DONE]", &["1", "[DONE]"]);
    }

    #[test]
    fn what_is_too_large_is_left_out_and_the_next_event_is_found() {
        let large = vec![b'x'; MAX_EVENT_BYTES / 2 + 1];
        let next: &[u8] = b"\n\ndata: 2\n\n";
        assert_eq!(events(&[b"data: ", &large, &large, next]), ["2"], "one line");
        assert_eq!(events(&[b"data: ", &large, b"\ndata: ", &large, next]), ["2"], "two lines");
        let whole = [b"data: ".as_slice(), large.as_slice(), large.as_slice(), next].concat();
        assert_eq!(events(&[&whole]), ["2"], "one part");
        assert_eq!(events(&[b"data: 1\n\n", b"data: ", &large, &large]), ["1"], "at the end");
    }
}
