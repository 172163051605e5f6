//! What a session's end leaves to be delivered, and what became of it. Events flow in, through `apply`; how the session
//! stands flows out.

use std::collections::BTreeMap;

use super::session::Deliverable;
use super::state::State;
use super::time::At;
use super::verdict::Verdict;

impl State {
    /// What is wanted counts as missing from the very end on: a process that dies before it has delivered leaves it so.
    /// A session that goes on delivers at its next end.
    pub(super) fn finish(&mut self, verdict: Verdict, reason: &str, at: At) {
        (self.finished, self.finished_at) = (Some((verdict, reason.to_owned())), Some(at));
        if !verdict.is_resumable() {
            let wanted = self.started.iter().flat_map(|started| started.wanted.iter().copied());
            self.undelivered = wanted.map(|what| (what, Vec::new())).collect();
        }
    }

    /// What this try is not about stays missing, but for what nobody knows.
    pub(super) fn start_delivery(&mut self, wanted: &[Deliverable]) {
        if wanted.is_empty() {
            self.undelivered.clear();
        }
        self.undelivered.remove(&Deliverable::Unknown);
        self.undelivered.extend(wanted.iter().map(|what| (*what, Vec::new())));
    }

    pub(super) fn fail_delivery(&mut self, what: Deliverable, why: &[String]) {
        self.undelivered.entry(what).or_default().extend(why.iter().cloned());
    }

    /// What has not failed is delivered.
    pub fn end_delivery(&mut self) {
        let (open, failed): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.undelivered).into_iter().partition(|(_, why)| why.is_empty());
        self.undelivered = failed;
        self.delivered.extend(open.into_keys());
    }

    /// A resume begins anew.
    pub(super) fn forget_delivery(&mut self) {
        (self.finished, self.finished_at) = (None, None);
        self.undelivered.clear();
        self.delivered.clear();
    }

    /// How the session ended, with the reason in one line: what the work came to, and what could not be delivered.
    pub fn end(&self) -> Option<(Verdict, String)> {
        let (verdict, reason) = self.finished.clone()?;
        if self.undelivered.is_empty() {
            return Some((verdict, reason));
        }
        let line = |(what, why): (&Deliverable, &Vec<String>)| {
            if why.is_empty() { vec![format!("{} (interrupted)", what.name())] } else { why.clone() }
        };
        let mut missing: Vec<String> = self.undelivered.iter().flat_map(line).collect();
        missing.dedup();
        Some((verdict.worse(Verdict::Report), format!("{reason}; not delivered: {}", missing.join("; "))))
    }
}
