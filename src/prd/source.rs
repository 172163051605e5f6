//! The bytes of a PRD: how they are read, which are refused, and where its lines start.
//! In: a path or bytes. Out: UTF-8 text of a bounded size. It must not block on anything that is no regular file.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{Diagnostic, PrdError};

/// The largest PRD that is read. The longest real one seen has 25 kB.
pub(super) const MAX_BYTES: u64 = 1024 * 1024;

/// Reads a regular file. A FIFO or a device is refused before it is opened, and opened without waiting
/// in case the name changes its meaning in between.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, PrdError> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => PrdError::Missing { path: path.to_owned() },
        _ => PrdError::Io { path: path.to_owned(), source: error },
    };
    regular(path, &fs::metadata(path).map_err(failed)?)?;
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path).map_err(failed)?;
    regular(path, &file.metadata().map_err(failed)?)?;
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a file that grew meanwhile is noticed too.
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn regular(path: &Path, metadata: &fs::Metadata) -> Result<(), PrdError> {
    if !metadata.is_file() {
        return Err(PrdError::NotAFile { path: path.to_owned() });
    }
    if metadata.len() > MAX_BYTES { Err(too_long(&path.to_string_lossy())) } else { Ok(()) }
}

/// Checks the bytes and returns them as text, the byte order mark included.
pub(super) fn text(name: &str, bytes: &[u8]) -> Result<String, PrdError> {
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(too_long(name));
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        let help = "save the file as UTF-8 text";
        return Err(Diagnostic::in_bytes(name, bytes, at, "there is a NUL byte", help).into());
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let help = "save the file as UTF-8 text";
        Diagnostic::in_bytes(name, bytes, error.valid_up_to(), "this is not UTF-8", help)
    })?;
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        return Err(Diagnostic::at(name, "", 0, "the file is empty", "write the PRD first").into());
    }
    Ok(text.to_owned())
}

fn too_long(name: &str) -> PrdError {
    let message = "the file is longer than 1 MiB";
    Diagnostic::whole_file(name, message, "split the PRD, or move attachments out of it").into()
}

/// Where the lines of a text start.
#[derive(Clone, Debug)]
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn new(text: &str) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(starts).collect())
    }

    /// The 1-based line of a byte offset.
    pub(super) fn of(&self, offset: usize) -> u32 {
        u32::try_from(self.0.partition_point(|start| *start <= offset)).unwrap_or(u32::MAX)
    }
}

/// The lines of a text from an offset on, without their ends, each with its own offset.
pub(super) fn lines(text: &str, from: usize) -> impl Iterator<Item = (usize, &str)> {
    let mut at = from;
    text.get(from..).unwrap_or("").split_inclusive('\n').map(move |line| {
        let start = at;
        at += line.len();
        (start, line.trim_end_matches(['\n', '\r']))
    })
}

/// Where the line of an offset starts.
pub(super) fn line_start(text: &str, offset: usize) -> usize {
    text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
}

/// Where the line after the one of an offset starts, or the end of the text.
pub(super) fn next_line(text: &str, offset: usize) -> usize {
    text.get(offset..).and_then(|rest| rest.find('\n')).map_or(text.len(), |at| offset + at + 1)
}

/// The line end that a text uses.
pub(super) fn line_end(text: &str) -> &'static str {
    let first = text.find('\n').unwrap_or(0);
    let windows = text.get(..first).is_some_and(|line| line.ends_with('\r'));
    if windows { "\r\n" } else { "\n" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &str) {
        let error = text("f.md", bytes).expect_err("refused").to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn bytes_that_are_no_prd_are_refused_with_their_place() {
        check(b"# a\nb\0c", "f.md:2:2: there is a NUL byte");
        check(b"# a\n\xff", "f.md:2:1: this is not UTF-8");
        check(b"\xef\xbb\xbf \r\n", "the file is empty");
        check(&vec![b'a'; 2_000_000], "longer than 1 MiB");
    }

    #[test]
    fn a_directory_a_device_and_a_missing_file_are_told_apart() {
        assert!(matches!(read(Path::new("/nowhere/at/all")), Err(PrdError::Missing { .. })));
        assert!(matches!(read(Path::new("/dev")), Err(PrdError::NotAFile { .. })));
        assert!(matches!(read(Path::new("/dev/zero")), Err(PrdError::NotAFile { .. })));
    }

    #[test]
    fn lines_are_found_by_offset() {
        let lines = Lines::new("a\nb\n\nc");
        let found: Vec<u32> = [0, 1, 2, 4, 5, 99].into_iter().map(|at| lines.of(at)).collect();
        assert_eq!(found, [1, 1, 2, 3, 4, 4]);
    }

    #[test]
    fn the_line_end_is_that_of_the_first_line() {
        assert_eq!((line_end("a\r\nb\n"), line_end("a\n"), line_end("a")), ("\r\n", "\n", "\n"));
    }
}
