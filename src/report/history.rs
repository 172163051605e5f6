//! Reading decisions, faults and checkpoints off records, in the order in which they happened.

use std::collections::BTreeMap;

use super::format::{rfc3339, rounded};
use super::model::{CheckpointReport, DecisionReport, FaultReport};
use crate::core::decision::{Decision, DecisionKind};
use crate::core::event::{Event, Record};
use crate::core::fault::{Fault, FaultClass};
use crate::core::id::TaskId;
use crate::core::session::{SessionStarted, TaskStatus};
use crate::core::state::{Checkpoint, State};
use crate::core::time::At;

/// Every decision.
pub(super) fn decisions(records: &[Record]) -> Vec<DecisionReport> {
    let decided = |record: &Record| match &record.event {
        Event::Decided { decision } => Some(decision_report(record.at, decision)),
        _ => None,
    };
    records.iter().filter_map(decided).collect()
}

fn decision_report(at: At, decision: &Decision) -> DecisionReport {
    let others = decision.options.iter().map(|o| o.name.clone()).filter(|name| *name != decision.choice);
    DecisionReport {
        at: rfc3339(at.wall_ms),
        at_ms: at.wall_ms,
        elapsed_ms: at.elapsed_ms,
        kind: decision.kind,
        task: decision.task.as_ref().map(ToString::to_string),
        context: decision.context.clone(),
        options: decision.options.clone(),
        choice: decision.choice.clone(),
        rationale: decision.rationale.clone(),
        confidence: rounded(decision.confidence),
        alternatives: others.collect(),
        impact: decision.impact.clone(),
    }
}

/// Every fault, with what was done about it.
pub(super) fn faults(records: &[Record]) -> Vec<FaultReport> {
    // Read backwards, so that the answer to a task's fault is the latest one seen.
    let mut answers: BTreeMap<&TaskId, String> = BTreeMap::new();
    let mut found: Vec<FaultReport> = Vec::new();
    for record in records.iter().rev() {
        found.extend(fault(record, &answers));
        if let Some((task, answer)) = answer(&record.event) {
            answers.insert(task, answer);
        }
    }
    found.reverse();
    found
}

fn fault(record: &Record, answers: &BTreeMap<&TaskId, String>) -> Option<FaultReport> {
    let at = record.at;
    match &record.event {
        Event::AttemptFailed { task, attempt, fault } => {
            let followed_by = answers.get(task).cloned().unwrap_or_default();
            Some(FaultReport { task: Some(task.to_string()), attempt: Some(*attempt), followed_by, ..of(at, fault) })
        }
        Event::EffectBroken { key, broken } => {
            let class = if broken.critical { FaultClass::Critical } else { FaultClass::Environment };
            let fault = of(at, &Fault::new(class, "broken", format!("{key}: {}", broken.message)));
            let Some((task, attempt)) = key.task() else { return Some(fault) };
            let followed_by = answers.get(task).cloned().unwrap_or_default();
            Some(FaultReport { task: Some(task.to_string()), attempt: Some(attempt), followed_by, ..fault })
        }
        Event::SetupFailed { message } => Some(of(at, &Fault::new(FaultClass::Environment, "setup", message.clone()))),
        _ => None,
    }
}

fn of(at: At, fault: &Fault) -> FaultReport {
    FaultReport {
        at: rfc3339(at.wall_ms),
        elapsed_ms: at.elapsed_ms,
        task: None,
        attempt: None,
        class: fault.class,
        reason: fault.reason.clone(),
        message: fault.message.clone(),
        followed_by: String::new(),
    }
}

/// What an event says about how a task's fault was answered.
fn answer(event: &Event) -> Option<(&TaskId, String)> {
    match event {
        Event::Decided { decision } if decision.kind == DecisionKind::Recovery => {
            Some((decision.task.as_ref()?, decision.choice.clone()))
        }
        Event::RetryScheduled { task, strategy, .. } => Some((task, strategy.name().to_owned())),
        Event::TaskParked { task, .. } => Some((task, "wait for a later run".to_owned())),
        Event::TaskSettled { task, status: TaskStatus::Failed | TaskStatus::Blocked, .. } => {
            Some((task, "give the task up".to_owned()))
        }
        _ => None,
    }
}

/// Every checkpoint, the base commit first.
pub(super) fn checkpoints(state: &State, started: &SessionStarted) -> Vec<CheckpointReport> {
    let report = |c: &Checkpoint| CheckpointReport {
        n: c.n,
        commit: c.commit.to_string(),
        tag: (c.n > 0 && c.durable).then(|| format!("maestro/{}/{}", started.session, c.n)),
        reason: c.reason.clone(),
        moved_branch: c.advance && c.durable,
        at: rfc3339(c.at.wall_ms),
        elapsed_ms: c.at.elapsed_ms,
    };
    state.checkpoints.iter().map(report).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::effect::EffectKey;
    use crate::core::outcome::Broken;

    fn check(key: EffectKey, expected: Option<(&str, u32)>) {
        let (at, broken) = (At::default(), Broken { message: "gone".to_owned(), critical: false });
        let parked = Event::TaskParked { task: "T-001".into(), reason: "r".to_owned() };
        let events = [Event::EffectBroken { key, broken }, parked];
        let records: Vec<Record> = events.into_iter().zip(1..).map(|(event, seq)| Record { seq, at, event }).collect();
        let fault = faults(&records).remove(0);
        assert_eq!(fault.task.as_deref().zip(fault.attempt), expected, "{fault:?}");
        assert_eq!(fault.followed_by.is_empty(), expected.is_none(), "{fault:?}");
    }

    #[test]
    fn a_fault_of_an_attempts_effect_names_the_attempt_and_its_answer() {
        check(EffectKey::Capture { task: "T-001".into(), attempt: 2 }, Some(("T-001", 2)));
        check(EffectKey::Prepare { task: "T-001".into(), attempt: 1 }, Some(("T-001", 1)));
        check(EffectKey::Checkpoint { n: 1 }, None);
    }
}
