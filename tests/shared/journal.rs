//! A journal made by hand, event by event. Whoever includes it names `At`, `Event` and `Record` beside it: the crate's
//! own tests know them by another path than benches do.

use super::{At, Event, Record};

/// The records so far, and the session's clock.
#[derive(Default)]
pub struct Journal {
    pub records: Vec<Record>,
    pub elapsed_ms: u64,
}

impl Journal {
    /// What happens so much later than what came before it.
    pub fn push(&mut self, after_ms: u64, event: Event) {
        self.elapsed_ms += after_ms;
        let wall_ms = 1_700_000_000_000_i64.saturating_add_unsigned(self.elapsed_ms);
        let at = At { elapsed_ms: self.elapsed_ms, wall_ms };
        self.records.push(Record { seq: self.records.len() as u64 + 1, at, event });
    }
}
