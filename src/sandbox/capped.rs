//! A file that keeps the head and the tail of a stream, whatever its length, and says what it cut.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::files;

/// Bytes kept from the beginning.
const HEAD_BYTES: u64 = 8 << 20;
/// Bytes kept from the end.
const TAIL_BYTES: usize = 1 << 20;

/// Writes up to a cap, then remembers only the latest bytes until `finish`.
pub(super) struct CappedFile {
    file: File,
    written: u64,
    total: u64,
    tail: VecDeque<u8>,
    head_bytes: u64,
    tail_bytes: usize,
}

impl CappedFile {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self::with_caps(files::create(path)?, HEAD_BYTES, TAIL_BYTES))
    }

    fn with_caps(file: File, head_bytes: u64, tail_bytes: usize) -> Self {
        Self { file, written: 0, total: 0, tail: VecDeque::new(), head_bytes, tail_bytes }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.total += bytes.len() as u64;
        let room = usize::try_from(self.head_bytes - self.written).unwrap_or(usize::MAX);
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.file.write_all(head)?;
        self.written += head.len() as u64;
        if !rest.is_empty() {
            self.remember(rest);
        }
        Ok(())
    }

    /// Two copies of memory at most, into room that is taken once and never grows.
    fn remember(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(self.tail_bytes)..];
        if self.tail.capacity() < self.tail_bytes {
            self.tail.reserve_exact(self.tail_bytes);
        }
        let excess = (self.tail.len() + bytes.len()).saturating_sub(self.tail_bytes);
        self.tail.drain(..excess);
        self.tail.extend(bytes);
    }

    /// Writes what was kept of the end, after a line that says how much is missing.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let cut = self.total - self.written - self.tail.len() as u64;
        if cut > 0 {
            write!(self.file, "\n[maestro-ci: {cut} bytes cut here]\n")?;
        }
        let (a, b) = self.tail.as_slices();
        self.file.write_all(a)?;
        self.file.write_all(b)?;
        self.tail.clear();
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(chunks: &[&str], expected: &str) {
        let path = tempfile::NamedTempFile::new().unwrap();
        let mut file = CappedFile::with_caps(File::create(path.path()).unwrap(), 5, 3);
        for chunk in chunks {
            file.write(chunk.as_bytes()).unwrap();
        }
        file.finish().unwrap();
        assert_eq!(std::fs::read_to_string(path.path()).unwrap(), expected);
    }

    #[test]
    fn short_streams_are_kept_whole() {
        check(&["ab", "cde"], "abcde");
        check(&["abcdefgh"], "abcdefgh");
    }

    #[test]
    fn long_streams_keep_head_and_tail_and_say_what_was_cut() {
        check(&["abcdefghij"], "abcde\n[maestro-ci: 2 bytes cut here]\nhij");
        check(&["abc", "def", "ghi", "jkl"], "abcde\n[maestro-ci: 4 bytes cut here]\njkl");
    }

    #[test]
    fn a_stream_of_many_megabytes_takes_the_file_and_the_memory_of_its_caps() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = CappedFile::create(&path).unwrap();
        let chunk = vec![b'x'; 64 << 10];
        for _ in 0..640 {
            file.write(&chunk).unwrap();
            assert!(file.tail.capacity() <= TAIL_BYTES);
        }
        file.write(b"the end").unwrap();
        file.finish().unwrap();
        let kept = std::fs::read(&path).unwrap();
        assert!(kept.ends_with(b"xxxthe end"), "{} bytes", kept.len());
        assert!(kept.len() as u64 <= HEAD_BYTES + TAIL_BYTES as u64 + 100, "{} bytes", kept.len());
        assert_eq!(file.total, (40 << 20) + 7);
    }
}
