//! What each kind of event does to a `State`. Called by `apply`, which has checked that the event is legal here.

use super::agent::{AgentReport, Terminal};
use super::budget::Usage;
use super::call::Refusal;
use super::calls::Calls;
use super::effect::EffectKey;
use super::event::Event;
use super::fault::{Fault, FaultClass};
use super::id::{Commit, GateName, TaskId};
use super::outcome::{Broken, Capture, Ended, GateResult, Merge};
use super::plan::Plan;
use super::recovery::Strategy;
use super::session::{AgentInfo, RoundPurpose, SessionStarted, StopCause, TaskStatus};
use super::state::{
    AttemptState, Checkpoint, GateRun, Round, SetupState, State, StatusWrite, TaskPhase, TaskState, WaitingCall,
};
use super::time::At;

impl State {
    pub(super) fn start(&mut self, started: &SessionStarted, at: At) {
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

    /// Takes in what a resume found: agents in other versions, and what there is to know besides.
    fn learn(&mut self, agents: &[AgentInfo], notes: &[String]) {
        let Some(started) = &mut self.started else { return };
        for agent in agents {
            let same = |known: &&mut AgentInfo| known.name == agent.name && known.version == agent.version;
            match started.agents.iter_mut().find(same) {
                Some(known) => known.clone_from(agent),
                None => started.agents.push(agent.clone()),
            }
        }
        for note in notes {
            let since = format!("since a resume: {note}");
            if !started.notes.iter().any(|known| known == note || *known == since) {
                started.notes.push(since);
            }
        }
    }

    pub(super) fn resume(&mut self, event: &Event) {
        let Event::Resumed { settings, isolation, agents, notes, given, .. } = event else { return };
        self.learn(agents, notes);
        // A rollback that was interrupted is still to be finished, and the run with it.
        if self.rolling_back.is_none() && !self.rolled_back {
            self.stop = None;
        }
        self.forget_delivery();
        self.soft_passed = false;
        self.broken = None;
        if let Some(started) = &mut self.started {
            started.settings = (**settings).clone();
            if let Some(given) = given.as_deref().cloned() {
                (started.agent_command, started.flags) = (given.agent_command, given.flags);
                (started.set, started.wanted) = (given.set, given.wanted);
            }
            // A session is as well isolated as its worst part.
            if let Some(level) = isolation.as_deref().filter(|level| strength(level) < strength(&started.isolation)) {
                started.isolation = level.to_owned();
            }
        }
        if matches!(self.setup, SetupState::Failed(_)) {
            self.setup = SetupState::Pending;
        }
        let parked: Vec<TaskId> =
            self.tasks.values().filter(|t| t.phase == TaskPhase::Parked).map(|t| t.id.clone()).collect();
        for task in parked {
            self.task_mut(&task, |t| {
                t.failures = 0;
                t.forgiven_attempts = t.attempts.len();
            });
            self.make_ready(&task, 0, Strategy::Retry);
        }
    }

    pub(super) fn plan(&mut self, plan: &Plan) {
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
                forgiven_attempts: 0,
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

    pub(super) fn start_attempt(&mut self, task: &TaskId, strategy: Strategy, agent: &str, onto: &Commit, at: At) {
        self.leave_queues(task);
        self.running += 1;
        self.task_mut(task, |t| {
            t.phase = TaskPhase::Running;
            if strategy == Strategy::Fallback {
                // Another agent, another count.
                (t.failures, t.policy_explained) = (0, false);
            }
            t.policy_explained |= strategy == Strategy::ExplainPolicy;
            t.attempts.push(AttemptState {
                strategy,
                agent: agent.to_owned(),
                onto: onto.clone(),
                started: at,
                ended: None,
                limit_ms: 0,
                stopping: false,
                report: None,
                usage: Usage::default(),
                refusal: None,
                refused_calls: 0,
                calls: Calls::default(),
                capture: None,
                conflict: None,
                fault: None,
                integrated: None,
            });
        });
    }

    /// What the calls of running attempts come to.
    pub(super) fn meter(&mut self, event: &Event) {
        let now_ms = self.at.elapsed_ms;
        match event {
            Event::CallWaits { task, attempt, call, ask } => {
                let (task, attempt, call, ask) = (task.clone(), *attempt, *call, ask.clone());
                self.waiting_calls.push(WaitingCall { task, attempt, call, ask });
            }
            Event::CallStarted { task, call, model, .. } => {
                self.waiting_calls.retain(|waiting| waiting.call != *call);
                self.latest_mut(task, |a| {
                    a.calls.start(*call, model, now_ms);
                    a.refused_calls = 0;
                });
            }
            Event::CallRefused { task, call, refusal, .. } => {
                self.waiting_calls.retain(|waiting| waiting.call != *call);
                self.latest_mut(task, |a| {
                    a.refused_calls += 1;
                    if a.refusal.as_ref().is_none_or(|known| refusal.weight() >= known.weight()) {
                        a.refusal = Some(refusal.clone());
                    }
                });
            }
            Event::CallEnded { task, call, fault, .. } => {
                self.latest_mut(task, |a| a.calls.end(*call, fault.as_ref(), now_ms));
            }
            _ => {}
        }
    }

    pub(super) fn end_agent(&mut self, of: (&TaskId, u32), report: &AgentReport, used: Usage, at: At) {
        let task = of.0;
        self.waiting_calls.retain(|call| (&call.task, call.attempt) != of);
        if report.is_lost() {
            self.open.push(task.clone());
        }
        self.latest_mut(task, |a| {
            a.ended = Some(at);
            a.usage = used;
            let mut report = report.clone();
            if let (Some(refusal), Some(terminal)) = (&a.refusal, &mut report.terminal)
                && *terminal != Terminal::Completed
                && !matches!(refusal, Refusal::Unmeterable { .. })
            {
                // Whatever the agent made of the refusal, our limit is what it stopped at.
                *terminal = Terminal::Limited { which: refusal.to_string() };
            }
            a.report = Some(report);
        });
    }

    pub(super) fn capture(&mut self, task: &TaskId, capture: &Capture, at: At) {
        self.running -= usize::from(self.tasks.get(task).is_some_and(|t| t.phase == TaskPhase::Running));
        self.open.push(task.clone());
        self.task_mut(task, |t| t.phase = TaskPhase::Captured);
        self.latest_mut(task, |a| {
            a.ended = Some(at);
            a.capture = Some(capture.clone());
        });
    }

    pub(super) fn fail_attempt(&mut self, task: &TaskId, fault: &Fault, at: At) {
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

    pub(super) fn merge(&mut self, task: &TaskId, merge: &Merge) {
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

    pub(super) fn settle(&mut self, task: &TaskId, status: TaskStatus, reason: Option<String>, at: At) {
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

    pub(super) fn meet_one(&mut self, task: &TaskId) {
        let Some(TaskState { phase: TaskPhase::Waiting { unmet }, .. }) = self.tasks.get_mut(task) else { return };
        *unmet = unmet.saturating_sub(1);
        if *unmet == 0 {
            self.make_ready(task, 0, Strategy::First);
        }
    }

    pub(super) fn make_ready(&mut self, task: &TaskId, not_before_ms: u64, strategy: Strategy) {
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

    pub(super) fn park(&mut self, task: &TaskId, reason: &str) {
        self.leave_queues(task);
        self.task_mut(task, |t| {
            t.phase = TaskPhase::Parked;
            t.reason = Some(reason.to_owned());
        });
    }

    /// Takes a task out of every list that its phase put it in.
    pub(super) fn leave_queues(&mut self, task: &TaskId) {
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

    pub(super) fn break_effect(&mut self, key: &EffectKey, broken: &Broken, used: Usage, at: At) {
        if let Some((task, attempt)) = key.task() {
            if matches!(key, EffectKey::RunAgent { .. }) {
                self.waiting_calls.retain(|call| (&call.task, call.attempt) != (task, attempt));
                self.latest_mut(task, |a| a.usage = used);
            }
            self.integration = self.integration.take().filter(|(t, ..)| t != task);
            // What the run itself cut off says nothing about the machine.
            let stopped = self.stop.as_ref().is_some_and(|stop| matches!(stop, StopCause::Signal { .. }));
            let (class, reason) = match broken.critical {
                true => (FaultClass::Critical, "broken"),
                false if stopped => (FaultClass::Lost, "stopped"),
                false => (FaultClass::Environment, "broken"),
            };
            self.fail_attempt(task, &Fault::new(class, reason, broken.message.clone()), at);
            self.open.push(task.clone());
        }
        match key {
            EffectKey::Setup => self.setup = SetupState::Pending,
            EffectKey::WriteStatus => self.status_write = StatusWrite::Pending,
            EffectKey::Rollback => self.rolling_back = None,
            _ => {}
        }
        self.broken = Some((key.clone(), broken.clone()));
    }

    /// A gate that the run itself cut short has said nothing; a resume runs it again.
    pub(super) fn end_gate(&mut self, gate: &GateName, result: &GateResult) {
        let own_ms = self.gate(gate).map_or(0, |g| g.timeout_ms);
        let cut_short = match result.ended {
            Ended::Stopped => self.stop.is_some(),
            // It had what was left of the session's time.
            Ended::Timeout { limit_ms } => limit_ms < own_ms,
            _ => false,
        };
        self.gate_mut(gate, |g| g.result = (!cut_short).then(|| result.clone()));
    }

    pub(super) fn start_round(&mut self, n: u32, purpose: RoundPurpose, commit: &Commit, gates: &[GateName]) {
        let gates = gates.iter().map(|g| GateRun { gate: g.clone(), limit_ms: None, result: None }).collect();
        self.rounds.push(Round { n, purpose, commit: commit.clone(), gates });
    }

    pub(super) fn task_mut(&mut self, task: &TaskId, change: impl FnOnce(&mut TaskState)) {
        if let Some(state) = self.tasks.get_mut(task) {
            change(state);
        }
    }

    pub(super) fn latest_mut(&mut self, task: &TaskId, change: impl FnOnce(&mut AttemptState)) {
        if let Some(attempt) = self.tasks.get_mut(task).and_then(|t| t.attempts.last_mut()) {
            change(attempt);
        }
    }

    pub(super) fn gate_mut(&mut self, gate: &GateName, change: impl FnOnce(&mut GateRun)) {
        if let Some(run) = self.rounds.last_mut().and_then(|r| r.gates.iter_mut().find(|g| g.gate == *gate)) {
            change(run);
        }
    }
}

/// Levels sort by their names, and one that names what is missing of it is the weaker.
fn strength(isolation: &str) -> (&str, bool) {
    (isolation.split(' ').next().unwrap_or_default(), !isolation.contains(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_of_a_level_makes_it_the_weaker() {
        let levels = ["L0", "L1 (Landlock ABI 5: no wall against signals)", "L1", "L2"];
        assert!(levels.is_sorted_by_key(|level| strength(level)));
    }
}
