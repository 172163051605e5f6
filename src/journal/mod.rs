//! The journal: the truth about a session, one checksummed record a line, synced before an effect starts.
//!
//! In: records to append. Out: records read back, with a torn tail cut and damage in the middle refused.
//! It decides nothing and knows no event by name.

mod files;
mod line;
mod lock;
mod session;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub use files::{make_dir, write_atomic};
pub use lock::{BranchLock, Held};
pub use session::{SessionDir, Store};

use crate::core::Record;
use line::BadLine;

/// A journal that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A record in the middle is not what was written; guessing what it said is not an option.
    #[error("{}:{line}: the journal is damaged in the middle; the records before this line are good", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// 1-based line of the first bad record.
        line: usize,
    },
    /// Written by a newer version.
    #[error("{}:{line}: this record was written by a newer version of maestro-ci; use that version", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// 1-based line.
        line: usize,
    },
}

/// What reading a journal gave.
#[derive(Debug, Default)]
pub struct Contents {
    /// The records, in order.
    pub records: Vec<Record>,
    /// Bytes at the end that were never completely written, and are not part of the journal.
    pub torn_bytes: u64,
    good_bytes: u64,
}

/// A journal open for appending.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    buffer: String,
}

impl Journal {
    /// Makes a new, empty journal.
    ///
    /// # Errors
    /// The file exists or cannot be made.
    pub fn create(path: &Path) -> Result<Self, JournalError> {
        let file = OpenOptions::new().append(true).create_new(true).open(path).map_err(at(path))?;
        // A file without its directory entry is lost with the power.
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all()).map_err(at(path))?;
        Ok(Self { file, path: path.to_owned(), buffer: String::new() })
    }

    /// Opens a journal to go on with it: reads it and cuts a torn tail off.
    ///
    /// # Errors
    /// It cannot be read, or is damaged in the middle.
    pub fn open(path: &Path) -> Result<(Self, Contents), JournalError> {
        let contents = read(path)?;
        let file = OpenOptions::new().append(true).open(path).map_err(at(path))?;
        if contents.torn_bytes > 0 {
            file.set_len(contents.good_bytes).and_then(|()| file.sync_all()).map_err(at(path))?;
        }
        Ok((Self { file, path: path.to_owned(), buffer: String::new() }, contents))
    }

    /// Adds a record to what the next `flush` or `sync` writes.
    ///
    /// # Errors
    /// The record cannot be serialised.
    pub fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        let line = line::encode(record).map_err(|e| at(&self.path)(e.into()))?;
        self.buffer.push_str(&line);
        Ok(())
    }

    /// Hands what was appended to the kernel: it survives a killed process, not a power cut.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&mut self) -> Result<(), JournalError> {
        self.file.write_all(self.buffer.as_bytes()).map_err(at(&self.path))?;
        self.buffer.clear();
        Ok(())
    }

    /// `flush`, then waits until the disk has it.
    ///
    /// # Errors
    /// The file cannot be written or synced.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.flush()?;
        self.file.sync_data().map_err(at(&self.path))
    }
}

/// A record as a line of the journal, with its newline.
///
/// # Errors
/// The record cannot be serialised.
pub fn encode(record: &Record) -> serde_json::Result<String> {
    line::encode(record)
}

/// Reads a journal without opening it for writing.
///
/// # Errors
/// It cannot be read, or is damaged in the middle.
pub fn read(path: &Path) -> Result<Contents, JournalError> {
    parse(path, &std::fs::read(path).map_err(at(path))?)
}

fn at(path: &Path) -> impl Fn(io::Error) -> JournalError + use<> {
    let path = path.to_owned();
    move |source| JournalError::Io { path: path.clone(), source }
}

/// Splits bytes into records. Bad lines with nothing good behind them are a torn tail.
///
/// # Errors
/// A bad line with good ones behind it.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Contents, JournalError> {
    let mut contents = Contents::default();
    for (index, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
        let due = contents.records.len() as u64 + 1;
        let record = line.strip_suffix(b"\n").ok_or(BadLine::Damaged).and_then(line::decode);
        match record {
            Ok(record) if record.seq == due => {
                contents.good_bytes += line.len() as u64;
                contents.records.push(record);
            }
            Err(BadLine::Foreign) => return Err(JournalError::Foreign { path: path.to_owned(), line: index + 1 }),
            Ok(_) | Err(BadLine::Damaged) => {
                let rest = bytes.get(usize::try_from(contents.good_bytes).unwrap_or(usize::MAX)..).unwrap_or_default();
                let whole = rest.split_inclusive(|b| *b == b'\n').filter_map(|l| l.strip_suffix(b"\n"));
                // Nothing is ever torn before the first record but that record itself.
                let no_journal = due == 1 && line.ends_with(b"\n");
                if no_journal || whole.filter_map(|l| line::decode(l).ok()).any(|r| r.seq >= due) {
                    return Err(JournalError::Damaged { path: path.to_owned(), line: index + 1 });
                }
                contents.torn_bytes = rest.len() as u64;
                break;
            }
        }
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{At, Event, Phase};

    fn journal(n: u64) -> Vec<u8> {
        let lines = (1..=n).map(|seq| {
            let event = Event::PhaseStarted { phase: Phase::Planning };
            line::encode(&Record { seq, at: At { elapsed_ms: seq, wall_ms: 0 }, event }).unwrap()
        });
        lines.collect::<String>().into_bytes()
    }

    fn check(bytes: &[u8], good: usize, torn: bool) {
        let contents = parse(Path::new("j"), bytes).unwrap();
        assert_eq!((contents.records.len(), contents.torn_bytes > 0), (good, torn));
    }

    #[test]
    fn every_cut_gives_the_records_before_it() {
        let bytes = journal(3);
        let line = bytes.len() / 3;
        for cut in 0..=bytes.len() {
            check(&bytes[..cut], cut / line, cut % line != 0);
        }
    }

    #[test]
    fn garbage_and_repeated_lines_at_the_end_are_cut() {
        let bytes = journal(3);
        let line = bytes.len() / 3;
        check(&[&bytes[..], b"\0\0garbage\nmore"].concat(), 3, true);
        check(&[&bytes[..], &bytes[2 * line..]].concat(), 3, true);
    }

    #[test]
    fn a_flipped_bit_in_the_middle_is_damage_and_at_the_end_a_torn_tail() {
        let bytes = journal(3);
        let line = bytes.len() / 3;
        for (at, damaged) in [(line / 2, true), (line + line / 2, true), (2 * line + line / 2, false)] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert_eq!(parse(Path::new("j"), &bytes).is_err(), damaged, "bit at {at}");
        }
    }

    #[test]
    fn a_record_of_a_newer_version_is_named_as_such() {
        let body = br#"{"seq":1,"at":{"elapsed_ms":0,"wall_ms":0},"event":{"type":"from_the_future"}"#;
        let crc = crc32fast::hash(body);
        let line = [&body[..], format!(",\"crc\":\"{crc:08x}\"}}\n").as_bytes()].concat();
        assert!(matches!(parse(Path::new("j"), &line), Err(JournalError::Foreign { line: 1, .. })));
    }
}
