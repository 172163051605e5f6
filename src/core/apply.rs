//! The one place that changes a `State`: applying a record. Replay and the live run go through the same door.
//! Legality is a table: an event either opens an effect, closes one, or needs the task in a certain phase.

use super::budget::{Budget, Usage, UsageSource};
use super::decision::DecisionKind;
use super::effect::{AgentReport, Broken, Capture, EffectKey, Ended, Merge};
use super::event::{Event, Record, RoundPurpose, SessionStarted, TaskStatus};
use super::fault::{Fault, FaultClass};
use super::id::{Commit, GateName, TaskId};
use super::plan::Plan;
use super::recovery::Strategy;
use super::state::{AttemptState, Checkpoint, GateRun, Round, SetupState, State, StatusWrite, TaskPhase, TaskState};
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

    /// Its name in the journal.
    pub fn name(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        value.get("type").and_then(|t| t.as_str()).unwrap_or("event").to_owned()
    }
}

impl AgentReport {
    fn is_lost(&self) -> bool {
        matches!(self.ended, Ended::Lost)
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
        self.change(&record.event, record.at);
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
        if let Some((verdict, _)) = &self.finished
            && !(matches!(event, Event::Resumed { .. }) && verdict.is_resumable())
        {
            return Err(format!("comes after the end ({verdict})"));
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
            Event::TaskSettled { task, .. } => (task, |p| !matches!(p, TaskPhase::Settled(_))),
            Event::RetryScheduled { task, .. } | Event::TaskParked { task, .. } => {
                (task, |p| matches!(p, TaskPhase::Running | TaskPhase::Captured))
            }
            _ => return Ok(()),
        };
        let Some(state) = self.tasks.get(task) else { return Err(format!("names the unknown task {task}")) };
        if allowed(&state.phase) { Ok(()) } else { Err(format!("meets {task} in phase {:?}", state.phase)) }
    }

    fn change(&mut self, event: &Event, at: At) {
        match event {
            Event::SessionStarted(started) => self.start(started, at),
            Event::Resumed { budget, task_budget, .. } => self.resume(*budget, *task_budget),
            Event::PhaseStarted { phase } => self.phase = Some(*phase),
            Event::Planned { plan } => self.plan(plan),
            Event::SetupStarted => self.setup = SetupState::Running,
            Event::SetupDone => self.setup = SetupState::Ready,
            Event::SetupFailed { message } => self.setup = SetupState::Failed(message.clone()),
            Event::AttemptStarted { task, attempt, strategy, onto, reserved } => {
                self.ledger.open(task.clone(), *attempt, *reserved);
                self.start_attempt(task, *strategy, onto, at);
            }
            Event::WorkspaceReady { task, limit_ms, .. } => {
                self.latest_mut(task, |a| a.limit_ms = *limit_ms);
            }
            Event::UsageReported { task, attempt, usage } => self.ledger.report(task, *attempt, *usage),
            Event::AgentEnded { task, attempt, report } => self.end_agent(task, *attempt, report, at),
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
            Event::GateEnded { gate, result, .. } => self.gate_mut(gate, |g| {
                // A gate that the run itself stopped has said nothing; a resume runs it again.
                g.result = Some(result.clone()).filter(|r| r.ended != Ended::Stopped);
            }),
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
            Event::EffectBroken { key, broken } => self.break_effect(key, broken, at),
            Event::SessionFinished { verdict, reason } => self.finished = Some((*verdict, reason.clone())),
            Event::AttemptStopping { task, .. } => self.latest_mut(task, |a| a.stopping = true),
            Event::Restarted { .. } => {}
        }
    }

    fn start(&mut self, started: &SessionStarted, at: At) {
        self.tip = Some(started.base.clone());
        self.checkpoints.push(Checkpoint {
            n: 0,
            commit: started.base.clone(),
            reason: "base".to_owned(),
            advance: false,
            durable: true,
            at,
        });
        self.started = Some(Box::new(started.clone()));
    }

    fn resume(&mut self, budget: Budget, task_budget: Budget) {
        self.stop = None;
        self.finished = None;
        self.soft_passed = false;
        self.broken = None;
        if let Some(started) = &mut self.started {
            started.settings.budget = budget;
            started.settings.task_budget = task_budget;
        }
        if matches!(self.setup, SetupState::Failed(_)) {
            self.setup = SetupState::Pending;
        }
        let parked: Vec<TaskId> =
            self.tasks.values().filter(|t| t.phase == TaskPhase::Parked).map(|t| t.id.clone()).collect();
        for task in parked {
            self.task_mut(&task, |t| t.failures = 0);
            self.make_ready(&task, 0, Strategy::Retry);
        }
    }

    fn plan(&mut self, plan: &Plan) {
        // A plan with a cycle never reaches the journal; were one there, its tasks would simply never be ready.
        let ranks = plan.ranks().unwrap_or_default();
        self.groups = plan.groups().unwrap_or_default();
        for (index, task) in plan.tasks.iter().enumerate() {
            let unmet = u32::try_from(task.depends_on.len()).unwrap_or(u32::MAX);
            let state = TaskState {
                id: task.id.clone(),
                phase: TaskPhase::Waiting { unmet },
                attempts: Vec::new(),
                failures: 0,
                lost: 0,
                conflicts: 0,
                policy_explained: false,
                reason: None,
                rank: ranks.get(&task.id).copied().unwrap_or(1),
                index,
                priority: task.priority,
            };
            for dependency in &task.depends_on {
                self.dependants.entry(dependency.clone()).or_default().push(task.id.clone());
            }
            self.index.insert(task.id.clone(), index);
            self.tasks.insert(task.id.clone(), state);
            if unmet == 0 {
                self.make_ready(&task.id, 0, Strategy::First);
            }
        }
        self.unsettled = plan.tasks.len();
        self.plan = Some(Box::new(plan.clone()));
    }

    fn start_attempt(&mut self, task: &TaskId, strategy: Strategy, onto: &Commit, at: At) {
        self.leave_queues(task);
        self.running += 1;
        self.task_mut(task, |t| {
            t.phase = TaskPhase::Running;
            t.policy_explained |= strategy == Strategy::ExplainPolicy;
            t.attempts.push(AttemptState {
                strategy,
                onto: onto.clone(),
                started: at,
                ended: None,
                limit_ms: 0,
                stopping: false,
                report: None,
                usage: Usage::default(),
                capture: None,
                conflict: None,
                fault: None,
                integrated: None,
            });
        });
    }

    fn end_agent(&mut self, task: &TaskId, attempt: u32, report: &AgentReport, at: At) {
        self.ledger.report(task, attempt, report.usage);
        let used = self.ledger.close(task, attempt);
        if report.is_lost() {
            self.open.push(task.clone());
        }
        self.latest_mut(task, |a| {
            a.ended = Some(at);
            a.usage = used;
            a.report = Some(report.clone());
        });
    }

    fn capture(&mut self, task: &TaskId, capture: &Capture, at: At) {
        self.running -= usize::from(self.tasks.get(task).is_some_and(|t| t.phase == TaskPhase::Running));
        self.open.push(task.clone());
        self.task_mut(task, |t| t.phase = TaskPhase::Captured);
        self.latest_mut(task, |a| {
            a.ended = Some(at);
            a.capture = Some(capture.clone());
        });
    }

    fn fail_attempt(&mut self, task: &TaskId, fault: &Fault, at: At) {
        self.task_mut(task, |t| match fault.class {
            FaultClass::Lost if fault.reason == "stopped" => {}
            FaultClass::Lost => t.lost += 1,
            FaultClass::Conflict => t.conflicts += 1,
            _ => t.failures += 1,
        });
        self.latest_mut(task, |a| {
            a.ended = a.ended.or(Some(at));
            a.fault = Some(fault.clone());
        });
    }

    fn merge(&mut self, task: &TaskId, merge: &Merge) {
        self.integration = None;
        self.open.push(task.clone());
        match merge {
            Merge::Integrated { commit } => {
                self.tip = Some(commit.clone());
                self.latest_mut(task, |a| a.integrated = Some(commit.clone()));
            }
            Merge::Conflict { paths } => self.latest_mut(task, |a| a.conflict = Some(paths.clone())),
        }
    }

    fn settle(&mut self, task: &TaskId, status: TaskStatus, reason: Option<String>, at: At) {
        self.leave_queues(task);
        self.unsettled = self.unsettled.saturating_sub(1);
        if status.is_success() {
            let took = self
                .tasks
                .get(task)
                .and_then(|t| t.attempts.first())
                .map_or(0, |a| at.elapsed_ms - a.started.elapsed_ms);
            self.finished_tasks = (self.finished_tasks.0 + 1, self.finished_tasks.1 + took);
        }
        self.task_mut(task, |t| {
            t.phase = TaskPhase::Settled(status);
            t.reason = reason;
        });
        if status.is_success() {
            for dependant in self.dependants.get(task).cloned().unwrap_or_default() {
                self.meet_one(&dependant);
            }
        }
    }

    fn meet_one(&mut self, task: &TaskId) {
        let Some(TaskState { phase: TaskPhase::Waiting { unmet }, .. }) = self.tasks.get_mut(task) else { return };
        *unmet = unmet.saturating_sub(1);
        if *unmet == 0 {
            self.make_ready(task, 0, Strategy::First);
        }
    }

    fn make_ready(&mut self, task: &TaskId, not_before_ms: u64, strategy: Strategy) {
        self.leave_queues(task);
        let Some(state) = self.tasks.get_mut(task) else { return };
        state.phase = TaskPhase::Ready { not_before_ms, strategy };
        state.reason = None;
        let key = state.ready_key();
        if not_before_ms > self.at.elapsed_ms {
            self.delayed.insert((not_before_ms, key, task.clone()));
        } else {
            self.ready.insert((key, task.clone()));
        }
    }

    fn park(&mut self, task: &TaskId, reason: &str) {
        self.leave_queues(task);
        self.task_mut(task, |t| {
            t.phase = TaskPhase::Parked;
            t.reason = Some(reason.to_owned());
        });
    }

    /// Takes a task out of every list that its phase put it in.
    fn leave_queues(&mut self, task: &TaskId) {
        self.open.retain(|t| t != task);
        let Some(state) = self.tasks.get(task) else { return };
        let key = state.ready_key();
        match state.phase {
            TaskPhase::Ready { not_before_ms, .. } => {
                self.delayed.remove(&(not_before_ms, key, task.clone()));
                self.ready.remove(&(key, task.clone()));
            }
            TaskPhase::Running => self.running -= 1,
            TaskPhase::Captured | TaskPhase::Waiting { .. } | TaskPhase::Parked | TaskPhase::Settled(_) => {}
        }
    }

    fn break_effect(&mut self, key: &EffectKey, broken: &Broken, at: At) {
        match key {
            EffectKey::Prepare { task, attempt }
            | EffectKey::RunAgent { task, attempt }
            | EffectKey::Capture { task, attempt }
            | EffectKey::Integrate { task, attempt } => {
                self.ledger.close(task, *attempt);
                self.integration = self.integration.take().filter(|(t, ..)| t != task);
                let class = if broken.critical { FaultClass::Critical } else { FaultClass::Environment };
                self.fail_attempt(task, &Fault::new(class, "broken", broken.message.clone()), at);
                self.open.push(task.clone());
            }
            EffectKey::Setup => self.setup = SetupState::Pending,
            EffectKey::WriteStatus => self.status_write = StatusWrite::Pending,
            EffectKey::Rollback => self.rolling_back = None,
            EffectKey::Gate { .. } | EffectKey::Checkpoint { .. } => {}
        }
        self.broken = Some((key.clone(), broken.clone()));
    }

    fn start_round(&mut self, n: u32, purpose: RoundPurpose, commit: &Commit, gates: &[GateName]) {
        let gates = gates.iter().map(|g| GateRun { gate: g.clone(), limit_ms: None, result: None }).collect();
        self.rounds.push(Round { n, purpose, commit: commit.clone(), gates });
    }

    fn task_mut(&mut self, task: &TaskId, change: impl FnOnce(&mut TaskState)) {
        if let Some(state) = self.tasks.get_mut(task) {
            change(state);
        }
    }

    fn latest_mut(&mut self, task: &TaskId, change: impl FnOnce(&mut AttemptState)) {
        if let Some(attempt) = self.tasks.get_mut(task).and_then(|t| t.attempts.last_mut()) {
            change(attempt);
        }
    }

    fn gate_mut(&mut self, gate: &GateName, change: impl FnOnce(&mut GateRun)) {
        if let Some(run) = self.rounds.last_mut().and_then(|r| r.gates.iter_mut().find(|g| g.gate == *gate)) {
            change(run);
        }
    }
}

impl Usage {
    /// True where an agent said what it used.
    pub fn is_reported(&self) -> bool {
        self.source == UsageSource::Reported
    }
}
