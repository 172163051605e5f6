//! The history of decisions across sessions: `.flow/maestro/decisions/`, one file a kind, the latest entries.

use std::io;

use serde_json::{Value, json};

use crate::core::{DecisionKind, Event, Record, SessionId};
use crate::journal::{Store, make_dir, write_atomic};

/// Entries kept in each file.
const KEPT: usize = 200;

/// Adds a session's decisions to the history; those about single tasks stay with the session.
pub fn keep(store: &Store, session: &SessionId, records: &[Record]) -> io::Result<()> {
    let ours: Vec<Value> = records
        .iter()
        .filter_map(|record| match &record.event {
            Event::Decided { decision } if decision.kind == DecisionKind::TaskOrdering => {
                Some(json!({"session": session, "at_ms": record.at.wall_ms, "decision": decision}))
            }
            _ => None,
        })
        .collect();
    if ours.is_empty() {
        return Ok(());
    }
    make_dir(&store.decisions_dir())?;
    let path = store.decisions_dir().join("task-ordering.json");
    // A file that somebody broke is begun anew: it is a convenience, the journals are the truth.
    let old = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Vec<Value>>(&bytes).ok());
    let mut all: Vec<Value> = old.unwrap_or_default();
    all.retain(|entry| entry["session"] != json!(session));
    all.extend(ours);
    all.drain(..all.len().saturating_sub(KEPT));
    write_atomic(&path, &serde_json::to_vec_pretty(&all)?)
}
