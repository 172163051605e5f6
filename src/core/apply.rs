//! The one place that changes a `State`: applying a record. Replay and the live run go through the same door.
//! Legality is a table: an event either opens an effect, closes one, or needs the task in a certain phase.

use super::budget::Usage;
use super::decision::DecisionKind;
use super::effect::EffectKey;
use super::event::{Event, Record};
use super::id::TaskId;
use super::state::{Checkpoint, SetupState, State, StatusWrite, TaskPhase};
use super::time::At;

/// A record that cannot follow the state it meets: a bug, or a journal that was tampered with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("journal record {seq} cannot follow record {after}: {event} {why}")]
pub struct Illegal {
    /// The record.
    pub seq: u64,
    /// The record before it.
    pub after: u64,
    /// The event, by name.
    pub event: String,
    /// What it met.
    pub why: String,
}

/// Folds records into a state.
///
/// # Errors
/// The first record that cannot follow what came before it.
pub fn replay(records: &[Record]) -> Result<State, Illegal> {
    let mut state = State::default();
    for record in records {
        state.apply(record)?;
    }
    Ok(state)
}

impl Event {
    /// The effect that this event requests, if it requests one.
    pub fn opens(&self) -> Option<EffectKey> {
        Some(match self {
            Self::Restarted { key } => key.clone(),
            Self::SetupStarted => EffectKey::Setup,
            Self::AttemptStarted { task, attempt, .. } => EffectKey::Prepare { task: task.clone(), attempt: *attempt },
            Self::WorkspaceReady { task, attempt, .. } => EffectKey::RunAgent { task: task.clone(), attempt: *attempt },
            Self::AgentEnded { task, attempt, report } if !report.is_lost() => {
                EffectKey::Capture { task: task.clone(), attempt: *attempt }
            }
            Self::IntegrationStarted { task, attempt, .. } => {
                EffectKey::Integrate { task: task.clone(), attempt: *attempt }
            }
            Self::GateStarted { round, gate, .. } => EffectKey::Gate { round: *round, gate: gate.clone() },
            Self::CheckpointStarted { n, .. } => EffectKey::Checkpoint { n: *n },
            Self::StatusWriteStarted { .. } => EffectKey::WriteStatus,
            Self::RollbackStarted { .. } => EffectKey::Rollback,
            _ => return None,
        })
    }

    /// The effect that this event ends, if it ends one.
    pub fn closes(&self) -> Option<EffectKey> {
        Some(match self {
            Self::SetupDone | Self::SetupFailed { .. } => EffectKey::Setup,
            Self::WorkspaceReady { task, attempt, .. } => EffectKey::Prepare { task: task.clone(), attempt: *attempt },
            Self::AgentEnded { task, attempt, .. } => EffectKey::RunAgent { task: task.clone(), attempt: *attempt },
            Self::Captured { task, attempt, .. } => EffectKey::Capture { task: task.clone(), attempt: *attempt },
            Self::Merged { task, attempt, .. } => EffectKey::Integrate { task: task.clone(), attempt: *attempt },
            Self::GateEnded { round, gate, .. } => EffectKey::Gate { round: *round, gate: gate.clone() },
            Self::CheckpointCreated { n } => EffectKey::Checkpoint { n: *n },
            Self::StatusWritten { .. } => EffectKey::WriteStatus,
            Self::RolledBack => EffectKey::Rollback,
            Self::EffectBroken { key, .. } => key.clone(),
            _ => return None,
        })
    }

    /// True for what may be lost with the power: a stream on disk or the provider's own books still have it.
    pub fn is_metering(&self) -> bool {
        matches!(
            self,
            Self::UsageReported { .. }
                | Self::CallWaits { .. }
                | Self::CallStarted { .. }
                | Self::CallRefused { .. }
                | Self::CallEnded { .. }
                | Self::Heartbeat
        )
    }

    /// Its name in the journal.
    pub fn name(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        value.get("type").and_then(|t| t.as_str()).unwrap_or("event").to_owned()
    }
}

impl State {
    /// Applies one record.
    ///
    /// # Errors
    /// The record cannot follow what came before it; the state is then not to be used.
    pub fn apply(&mut self, record: &Record) -> Result<(), Illegal> {
        self.check(record).map_err(|why| Illegal {
            seq: record.seq,
            after: self.seq,
            event: record.event.name(),
            why,
        })?;
        self.seq = record.seq;
        self.at = record.at;
        if let Some(key) = record.event.closes() {
            self.in_flight.remove(&key);
        }
        if let Some(key) = record.event.opens() {
            self.in_flight.insert(key);
        }
        let closed = self.ledger.take(&record.event);
        self.change(&record.event, record.at, closed.unwrap_or_default());
        Ok(())
    }

    /// The legality table.
    fn check(&self, record: &Record) -> Result<(), String> {
        let event = &record.event;
        if record.seq != self.seq + 1 {
            return Err(format!("has number {} where {} was due", record.seq, self.seq + 1));
        }
        if record.at.elapsed_ms < self.at.elapsed_ms {
            return Err("goes back in time".to_owned());
        }
        if self.started.is_some() == matches!(event, Event::SessionStarted(_)) {
            return Err("stands where a session does not begin or begins twice".to_owned());
        }
        match (&self.finished, event) {
            (finished, Event::DeliveryStarted { .. } | Event::DeliveryFailed { .. } | Event::DeliveryEnded) => {
                return if finished.is_some() { Ok(()) } else { Err("comes before the end".to_owned()) };
            }
            (Some((verdict, _)), Event::Resumed { .. }) if verdict.is_resumable() => {}
            (Some((verdict, _)), _) => return Err(format!("comes after the end ({verdict})")),
            (None, _) => {}
        }
        if let Some(key) = event.closes()
            && !self.in_flight.contains(&key)
        {
            return Err(format!("ends `{key}`, which is not under way"));
        }
        if let (Some(key), false) = (event.opens(), matches!(event, Event::Restarted { .. }))
            && self.in_flight.contains(&key)
        {
            return Err(format!("starts `{key}`, which is under way"));
        }
        self.check_task(event)
    }

    /// Events about a task need it in a certain phase.
    fn check_task(&self, event: &Event) -> Result<(), String> {
        let (task, allowed): (&TaskId, fn(&TaskPhase) -> bool) = match event {
            Event::AttemptStarted { task, .. } => (task, |p| matches!(p, TaskPhase::Ready { .. })),
            Event::IntegrationStarted { task, .. } => (task, |p| *p == TaskPhase::Captured),
            Event::WorkspaceReady { task, .. } | Event::AgentEnded { task, .. } | Event::Captured { task, .. } => {
                (task, |p| *p == TaskPhase::Running)
            }
            Event::CallWaits { task, attempt, .. }
            | Event::CallStarted { task, attempt, .. }
            | Event::CallRefused { task, attempt, .. }
            | Event::CallEnded { task, attempt, .. }
                if !self.ledger.leases.contains_key(&(task.clone(), *attempt)) =>
            {
                return Err(format!("is a call of {task}#{attempt}, which does not run"));
            }
            Event::TaskSettled { task, .. } => (task, |p| !matches!(p, TaskPhase::Settled(_))),
            Event::RetryScheduled { task, .. } | Event::TaskParked { task, .. } => {
                (task, |p| matches!(p, TaskPhase::Running | TaskPhase::Captured))
            }
            _ => return Ok(()),
        };
        let Some(state) = self.tasks.get(task) else { return Err(format!("names the unknown task {task}")) };
        if allowed(&state.phase) { Ok(()) } else { Err(format!("meets {task} in phase {:?}", state.phase)) }
    }

    /// `closed` is what the attempt used whose share of the ledger this event has closed.
    fn change(&mut self, event: &Event, at: At, closed: Usage) {
        match event {
            Event::SessionStarted(started) => self.start(started, at),
            Event::Resumed { .. } => self.resume(event),
            Event::PhaseStarted { phase } => self.phase = Some(*phase),
            Event::Planned { plan } => self.plan(plan),
            Event::SetupStarted => self.setup = SetupState::Running,
            Event::SetupDone => self.setup = SetupState::Ready,
            Event::SetupFailed { message } => self.setup = SetupState::Failed(message.clone()),
            Event::AttemptStarted { task, strategy, onto, agent, .. } => {
                self.start_attempt(task, *strategy, agent, onto, at);
            }
            Event::WorkspaceReady { task, limit_ms, .. } => {
                self.latest_mut(task, |a| a.limit_ms = *limit_ms);
            }
            Event::CallWaits { .. }
            | Event::CallStarted { .. }
            | Event::CallRefused { .. }
            | Event::CallEnded { .. } => self.meter(event),
            Event::AgentEnded { task, attempt, report } => self.end_agent((task, *attempt), report, closed, at),
            Event::Captured { task, capture, .. } => self.capture(task, capture, at),
            Event::AttemptFailed { task, fault, .. } => self.fail_attempt(task, fault, at),
            Event::RetryScheduled { task, not_before_ms, strategy } => self.make_ready(task, *not_before_ms, *strategy),
            Event::TaskParked { task, reason } => self.park(task, reason),
            Event::IntegrationStarted { task, attempt, tip } => {
                self.open.retain(|t| t != task);
                self.integration = Some((task.clone(), *attempt, tip.clone(), at));
            }
            Event::Merged { task, merge, .. } => self.merge(task, merge),
            Event::TaskSettled { task, status, reason } => self.settle(task, *status, reason.clone(), at),
            Event::Decided { decision } => {
                self.soft_passed |= decision.kind == DecisionKind::Budget;
            }
            Event::Stalled { .. } => self.stalled = true,
            Event::RoundStarted { round, purpose, commit, gates } => self.start_round(*round, *purpose, commit, gates),
            Event::GateStarted { gate, limit_ms, .. } => self.gate_mut(gate, |g| g.limit_ms = Some(*limit_ms)),
            Event::GateEnded { gate, result, .. } => self.end_gate(gate, result),
            Event::CheckpointStarted { n, commit, reason, advance } => {
                self.groups_checkpointed = self.complete_groups();
                let (commit, reason) = (commit.clone(), reason.clone());
                self.checkpoints.push(Checkpoint { n: *n, commit, reason, advance: *advance, durable: false, at });
            }
            Event::CheckpointCreated { n } => {
                self.checkpoints.iter_mut().filter(|c| c.n == *n).for_each(|c| c.durable = true);
            }
            Event::StatusWriteStarted { status, .. } => self.status_write = StatusWrite::Running(status.clone(), at),
            Event::StatusWritten { commit } => {
                self.status_write = StatusWrite::Done;
                self.tip = commit.clone().or(self.tip.take());
            }
            Event::StopRequested { stop } => self.stop = Some(stop.clone()),
            Event::RollbackStarted { to, .. } => self.rolling_back = Some(to.clone()),
            Event::RolledBack => {
                self.rolled_back = true;
                self.tip = self.rolling_back.take();
            }
            Event::EffectBroken { key, broken } => self.break_effect(key, broken, closed, at),
            Event::SessionFinished { verdict, reason } => self.finish(*verdict, reason, at),
            Event::DeliveryStarted { wanted } => self.start_delivery(wanted),
            Event::DeliveryFailed { what, missing } => self.fail_delivery(*what, missing),
            Event::DeliveryEnded => self.end_delivery(),
            Event::AttemptStopping { task, .. }
            | Event::CostUnknown { task, .. }
            | Event::RefusedTooOften { task, .. } => {
                self.latest_mut(task, |a| a.stopping = true);
            }
            Event::UsageReported { .. } | Event::Restarted { .. } | Event::Heartbeat => {}
        }
    }
}
