//! The scribe: a thread that keeps a session's derived files, and the reports that flags ask for, fresh while the run
//! goes on. Whoever kills the run at any instant finds them whole, and at most some seconds old.
//!
//! In: records, as they become durable. Out: files, each replaced at once. It takes a twentieth of one core's time at
//! most, more only where a version takes longer than a second: the next one never waits longer than 20 s. It takes none
//! of the loop's time. It leaves a version between two files when the run is over; the last version, with the end in it,
//! is written by the driver when the scribe has gone, and its report goes to whoever has more to tell.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::core::{Record, State};
use crate::journal::{SessionDir, write_atomic};
use crate::report::{self, Format, Report, ReportError};

/// Shortest time between two versions.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest time from the end of a version to the next one.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// One part in so many of the time goes into reports.
const SHARE: u32 = 20;

/// A report that a flag asks for: where it goes, and in which format.
pub type Asked = (PathBuf, Format);

/// What is written, and where.
#[derive(Clone)]
pub(super) struct Desk {
    pub session: SessionDir,
    /// True where the log is kept as a file as well.
    pub log_to_file: bool,
    pub asked: Vec<Asked>,
}

/// A version that is written.
pub struct Written {
    /// What it was made of.
    pub report: Report,
    /// The reports that flags ask for and that are not where they should be, each with the reason, in words.
    pub undelivered: Vec<(Format, String)>,
}

impl Desk {
    /// Writes everything that derives from these records: the model is built once, each format made once. One of the
    /// session's own files that cannot be written is said so and does not end the run.
    pub(super) fn write(&self, state: &State, records: &[Record], is_over: &dyn Fn() -> bool) -> Written {
        let report = Report::of(state, records);
        let mut undelivered = Vec::new();
        let read = |name: &str| self.session.read_file(name);
        let _ = report::each_file(&report, state, records, &read, &mut |name, content| {
            if is_over() {
                return ControlFlow::Break(());
            }
            undelivered.extend(self.put(name, &content));
            ControlFlow::Continue(())
        });
        Written { report, undelivered }
    }

    /// What could not be delivered of it.
    fn put(&self, name: &str, content: &Result<String, ReportError>) -> Vec<(Format, String)> {
        let write = |path: &Path| match content {
            Ok(content) => write_atomic(path, content.as_bytes()).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if (self.log_to_file || name != "execution-log.md")
            && let Err(error) = write(&self.session.path().join(name))
        {
            tracing::warn!("{name} cannot be written: {error}");
        }
        let asked = self.asked.iter().filter(|(_, format)| format.file_name() == name);
        let failed = |(path, format): &Asked| {
            Some((*format, format!("{} cannot be written: {}", path.display(), write(path).err()?)))
        };
        asked.filter_map(failed).collect()
    }
}

/// The thread.
pub(super) struct Scribe {
    records: Sender<Vec<Record>>,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Scribe {
    /// Starts the thread; none where there can be no more threads, which costs freshness only.
    pub(super) fn start(desk: Desk) -> Option<Self> {
        let (records, inbox) = channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        let work = move || keep_fresh(&desk, &inbox, &seen);
        let thread = std::thread::Builder::new().name("scribe".to_owned()).spawn(work).ok()?;
        Some(Self { records, is_over, thread })
    }

    /// Hands over records that are on disk.
    pub(super) fn take(&self, records: &[Record]) {
        // A scribe that is gone has said why.
        let _ = self.records.send(records.to_vec());
    }

    /// Ends the thread, at the latest after the file that it is at.
    pub(super) fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        drop(self.records);
        let _ = self.thread.join();
    }
}

fn keep_fresh(desk: &Desk, inbox: &Receiver<Vec<Record>>, is_over: &AtomicBool) {
    let (mut state, mut records) = (State::default(), Vec::new());
    let (mut is_stale, mut due) = (false, Instant::now());
    loop {
        let wait = if is_stale { due.saturating_duration_since(Instant::now()) } else { Duration::from_hours(1) };
        match inbox.recv_timeout(wait) {
            Ok(new) => {
                for record in new {
                    if let Err(error) = state.apply(&record) {
                        return tracing::error!("the reports are no longer kept fresh: {error}");
                    }
                    records.push(record);
                }
                is_stale = true;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let now = Instant::now();
        if is_stale && now >= due {
            // What cannot be delivered yet may be at the end.
            let _ = desk.write(&state, &records, &|| is_over.load(Ordering::Relaxed));
            due = Instant::now() + pause_after(now.elapsed());
            is_stale = false;
        }
    }
}

/// How long the next version waits, after one that took so long.
fn pause_after(took: Duration) -> Duration {
    took.saturating_mul(SHARE).clamp(PAUSE, LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_version_costs_freshness_within_bounds_only() {
        let check = |took_ms, expected_ms| {
            let pause = pause_after(Duration::from_millis(took_ms));
            assert_eq!(pause, Duration::from_millis(expected_ms), "{took_ms} ms");
        };
        check(0, 2_000);
        check(300, 6_000);
        check(9_000, 20_000);
        check(u64::MAX, 20_000);
    }
}
