//! One output pipe of a child: what comes out of it loses its secrets and goes into a capped file and, where it is
//! asked for, up to the orchestrator, line by line.

use std::fs::File;
use std::io::{self, BufWriter, PipeReader, Read, Write};
use std::path::Path;

use rustix::pipe::fcntl_setpipe_size;

use super::capped::CappedFile;
use super::lines::{Lines, MAX_LINE_BYTES, json_object};
use super::spec::LINE;
use crate::text::{RedactedStream, Redactor};

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Reads in one go. A child that writes without end must not keep the watch from looking at the clock.
const MAX_READS: usize = 64;
/// Room in the pipe that is asked for: a child that writes much is woken less often.
const PIPE_BYTES: usize = 1 << 20;

/// The way up.
pub(super) type Up = BufWriter<File>;

/// One output pipe of the child and the file that keeps it.
pub(super) struct Stream {
    pub(super) pipe: PipeReader,
    total: u64,
    redacted: RedactedStream,
    file: CappedFile,
    is_open: bool,
    lines: Option<Lines>,
    has_event: bool,
    buffer: Vec<u8>,
}

impl Stream {
    pub(super) fn new(pipe: PipeReader, path: &Path, forward: bool, redactor: &Redactor) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        // The kernel may have too little left for that; the pipe works as it is.
        let _ = fcntl_setpipe_size(&pipe, PIPE_BYTES);
        Ok(Self {
            pipe,
            total: 0,
            redacted: RedactedStream::new(redactor.clone()),
            file: CappedFile::create(path)?,
            is_open: true,
            lines: forward.then(|| Lines::new(MAX_LINE_BYTES)),
            has_event: false,
            buffer: vec![0; READ_BYTES],
        })
    }

    /// False once everybody who could write to it is gone or has closed it.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// True once a line was passed up.
    pub(super) fn has_event(&self) -> bool {
        self.has_event
    }

    /// Bytes that came out of it so far.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Takes what is there. True where there was something.
    pub(super) fn pump(&mut self, up: &mut Up) -> io::Result<bool> {
        let before = self.total();
        for _ in 0..MAX_READS {
            match self.pipe.read(&mut self.buffer) {
                Ok(0) => {
                    self.is_open = false;
                    break;
                }
                Ok(n) => self.take(n, up)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        up.flush()?;
        Ok(self.total() > before)
    }

    fn take(&mut self, n: usize, up: &mut Up) -> io::Result<()> {
        self.total += n as u64;
        let bytes = self.redacted.feed(&self.buffer[..n]);
        self.hand_on(&bytes, up)
    }

    fn hand_on(&mut self, bytes: &[u8], up: &mut Up) -> io::Result<()> {
        self.file.write(bytes)?;
        match &mut self.lines {
            Some(lines) => lines.feed(bytes, &mut |line: &[u8]| {
                self.has_event |= pass_up(line, up)?;
                Ok(())
            }),
            None => Ok(()),
        }
    }

    /// Passes up a last line without a newline, and completes the file.
    pub(super) fn finish(&mut self, up: &mut Up) -> io::Result<()> {
        let rest = self.redacted.finish();
        self.hand_on(&rest, up)?;
        if let Some(lines) = &mut self.lines {
            lines.finish(&mut |line: &[u8]| pass_up(line, up).map(|_| ()))?;
        }
        self.file.finish()
    }
}

/// True where the line is one to be passed up.
fn pass_up(line: &[u8], up: &mut Up) -> io::Result<bool> {
    let Some(object) = json_object(line) else { return Ok(false) };
    up.write_all(&[LINE])?;
    up.write_all(object)?;
    up.write_all(b"\n")?;
    Ok(true)
}
