//! Records after the end of a session: what became of its delivery. In: an ended session and events. Out: the session
//! with them, for the reports to be made again. The caller holds the lock of the result branch.

use super::DriverError;
use super::clock::Clock;
use crate::core::{At, Event, Record, State, replay};
use crate::journal::{Journal, SessionDir};

/// Adds events to an ended session's journal and waits until the disk has them. Returns the state and all records.
///
/// # Errors
/// The journal cannot be read or written, or an event cannot follow its end.
pub fn add_records(session: &SessionDir, events: Vec<Event>) -> Result<(State, Vec<Record>), DriverError> {
    let (mut journal, contents) = Journal::open(&session.journal())?;
    let mut records = contents.records;
    let mut state = replay(&records)?;
    // The session's own clock stands still: nothing works any more.
    let at = At { elapsed_ms: state.at.elapsed_ms, ..Clock::start(0).now() };
    for event in events {
        let record = Record { seq: state.seq + 1, at, event };
        state.apply(&record)?;
        journal.append(&record)?;
        records.push(record);
    }
    journal.sync()?;
    Ok((state, records))
}
