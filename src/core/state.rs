//! The state of a session: nothing but a fold over its events. `apply` (next door) is the only writer.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::agent::AgentReport;
use super::budget::Usage;
use super::call::{CallAsk, Refusal};
use super::calls::Calls;
use super::effect::EffectKey;
use super::fault::{Fault, FaultClass};
use super::id::{Commit, GateName, TaskId};
use super::ledger::Ledger;
use super::outcome::{Broken, Capture, GateResult};
use super::plan::{Plan, Task};
use super::prd::Priority;
use super::recovery::Strategy;
use super::session::{Deliverable, Phase, RoundPurpose, SessionStarted, StopCause, TaskStatus};
use super::settings::{GateSpec, Settings};
use super::time::At;
use super::verdict::Verdict;

/// Time without any record after which one is made, where something is under way: what a killed process loses of the
/// session's time, milliseconds.
pub(super) const HEARTBEAT_MS: u64 = 5_000;

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskPhase {
    /// Some of what it needs is not integrated yet.
    Waiting {
        /// How many.
        unmet: u32,
    },
    /// It may start, not before a moment.
    Ready {
        /// `elapsed_ms` before which it must not start.
        not_before_ms: u64,
        /// What will be different about the next attempt.
        strategy: Strategy,
    },
    /// An attempt is under way.
    Running,
    /// Captured; waits for its turn to be integrated.
    Captured,
    /// The agent cannot work on it now.
    Parked,
    /// It is over.
    Settled(TaskStatus),
}

/// One attempt at a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptState {
    /// What was different about it.
    pub strategy: Strategy,
    /// Name of the agent.
    pub agent: String,
    /// The commit it started from.
    pub onto: Commit,
    /// When it started.
    pub started: At,
    /// When it ended or was captured, if it has.
    pub ended: Option<At>,
    /// Wall-clock limit given to the agent, milliseconds.
    pub limit_ms: u64,
    /// True while it is being ended: for going over its task's budget, for a cost that nobody knows, for too many
    /// refusals.
    pub stopping: bool,
    /// What the warden and the adapter said.
    pub report: Option<AgentReport>,
    /// What it used in the end.
    pub usage: Usage,
    /// Why a call was not let out: the weightiest reason so far.
    pub refusal: Option<Refusal>,
    /// How many of its calls were refused since one was let out.
    pub refused_calls: u32,
    /// Its calls, as far as its end is judged by them.
    pub calls: Calls,
    /// What it left behind.
    pub capture: Option<Capture>,
    /// Files in which it conflicted with the tip, if it did.
    pub conflict: Option<Vec<String>>,
    /// How it failed, if it did.
    pub fault: Option<Fault>,
    /// The commit it became on the tip, if it did.
    pub integrated: Option<Commit>,
}

/// A task, with everything that happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskState {
    /// Which.
    pub id: TaskId,
    /// Where it stands.
    pub phase: TaskPhase,
    /// Its attempts; the first is number 1.
    pub attempts: Vec<AttemptState>,
    /// Failed attempts of the present agent since the last park, lost and conflicting ones apart.
    pub failures: u32,
    /// How often its process was lost.
    pub lost: u32,
    /// How often it conflicted.
    pub conflicts: u32,
    /// Attempts before the latest resume that parked it: they say nothing about which agent works now.
    pub(super) forgiven_attempts: usize,
    /// True after an attempt that explained the policy.
    pub policy_explained: bool,
    /// Why it is parked or settled without success.
    pub reason: Option<String>,
    /// Length of the longest chain that starts here.
    pub(super) rank: u32,
    /// Place in the plan.
    pub(super) index: usize,
    pub(super) priority: Priority,
}

impl TaskState {
    /// Number of the latest attempt; 0 before the first.
    pub fn attempt(&self) -> u32 {
        u32::try_from(self.attempts.len()).unwrap_or(u32::MAX)
    }

    /// Retries already used after the first attempt: failures before this one.
    pub(super) fn failures_of_its_own(&self) -> u32 {
        self.failures.saturating_sub(1)
    }

    /// Seed of the backoff's jitter.
    pub(super) fn jitter_seed(&self) -> String {
        format!("{}#{}", self.id, self.attempts.len())
    }

    /// How it was settled, if it was.
    pub fn status(&self) -> Option<TaskStatus> {
        match self.phase {
            TaskPhase::Settled(status) => Some(status),
            _ => None,
        }
    }

    /// Failures worth telling the next attempt of, oldest first.
    pub fn failures_to_tell(&self) -> Vec<String> {
        let told = |fault: &&Fault| !matches!(fault.class, FaultClass::Lost | FaultClass::Transient);
        self.attempts.iter().filter_map(|a| a.fault.as_ref()).filter(told).map(|f| f.message.clone()).collect()
    }

    /// What all its attempts used.
    pub fn usage(&self) -> Usage {
        self.attempts.iter().fold(Usage::default(), |sum, a| sum.plus(a.usage))
    }

    /// Attempts since the latest resume that found the task parked.
    pub(super) fn recent_attempts(&self) -> &[AttemptState] {
        self.attempts.get(self.forgiven_attempts..).unwrap_or_default()
    }

    pub(super) fn ready_key(&self) -> ReadyKey {
        (Reverse(self.rank), self.priority, self.index)
    }
}

/// Longest chain first, then urgency, then the plan's order.
pub(super) type ReadyKey = (Reverse<u32>, Priority, usize);

/// A call that would fit what is used and does not fit beside the calls under way: it waits for one of them to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingCall {
    /// Whose.
    pub task: TaskId,
    /// Which attempt.
    pub attempt: u32,
    /// The call's number.
    pub call: u64,
    /// What it asks for.
    pub ask: CallAsk,
}

/// A checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its number; 0 is the base commit.
    pub n: u32,
    /// The commit.
    pub commit: Commit,
    /// Why it was made.
    pub reason: String,
    /// True where the result branch stands or stood here.
    pub advance: bool,
    /// True once it is durable.
    pub durable: bool,
    /// When it was asked for.
    pub at: At,
}

/// A round of gates on one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// Which, from 1.
    pub n: u32,
    /// What for.
    pub purpose: RoundPurpose,
    /// The commit.
    pub commit: Commit,
    /// Each gate with its time limit and result, in order.
    pub gates: Vec<GateRun>,
}

/// A gate in a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateRun {
    /// Which.
    pub gate: GateName,
    /// Its limit, once it started, milliseconds.
    pub limit_ms: Option<u64>,
    /// How it ended, once it has.
    pub result: Option<GateResult>,
}

impl Round {
    /// True once every gate has a result.
    pub fn is_over(&self) -> bool {
        self.gates.iter().all(|g| g.result.is_some())
    }
}

/// Whether the base tree is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SetupState {
    /// Not asked for.
    #[default]
    Pending,
    /// Under way, or asked for in a process that died.
    Running,
    /// Done.
    Ready,
    /// Failed, with what it said.
    Failed(String),
}

/// How far the PRD's status has been written back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StatusWrite {
    /// Not asked for.
    #[default]
    Pending,
    /// Asked for, with the new status and when.
    Running(String, At),
    /// Over.
    Done,
}

/// A session, as of its latest event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// What is run, once it started.
    pub started: Option<Box<SessionStarted>>,
    /// Number of the latest record.
    pub seq: u64,
    /// Time of the latest record.
    pub at: At,
    /// The phase.
    pub phase: Option<Phase>,
    /// The plan, once made.
    pub plan: Option<Box<Plan>>,
    /// Groups of the plan, for display and `checkpoint_frequency: group`.
    pub groups: BTreeMap<TaskId, u32>,
    /// Tasks.
    pub tasks: BTreeMap<TaskId, TaskState>,
    /// Setup of the base tree.
    pub setup: SetupState,
    /// Everything spent and promised.
    pub ledger: Ledger,
    /// Calls that wait for others to end, the longest waiting first.
    pub waiting_calls: Vec<WaitingCall>,
    /// What is under way.
    pub in_flight: BTreeSet<EffectKey>,
    /// The commit that holds everything integrated so far.
    pub tip: Option<Commit>,
    /// When the integration under way was asked for.
    pub integration: Option<(TaskId, u32, Commit, At)>,
    /// Checkpoints, number 0 (the base) first.
    pub checkpoints: Vec<Checkpoint>,
    /// Rounds of gates.
    pub rounds: Vec<Round>,
    /// Write-back of the PRD's status.
    pub status_write: StatusWrite,
    /// Why the run stops, if it does.
    pub stop: Option<StopCause>,
    /// True once a resource near its limit was judged to be enough for the rest (a decision is on record).
    pub soft_passed: bool,
    /// Checkpoint the tip goes back to, while it does.
    pub rolling_back: Option<Commit>,
    /// True once a rollback is done.
    pub rolled_back: bool,
    /// The latest request that could not be carried out.
    pub broken: Option<(EffectKey, Broken)>,
    /// True once a stall was found.
    pub stalled: bool,
    /// What the work came to; `end` has the delivery in it.
    pub finished: Option<(Verdict, String)>,
    /// When that was.
    pub finished_at: Option<At>,
    /// What is not delivered, with the reasons of the latest try, a line each; untrusted text. Without one its delivery
    /// is open: under way, or its process died.
    pub undelivered: BTreeMap<Deliverable, Vec<String>>,
    /// What was delivered since the end.
    pub delivered: BTreeSet<Deliverable>,
    /// How many successful tasks there are and how long they took in all, milliseconds: for estimates.
    pub(super) finished_tasks: (u64, u64),
    pub(super) running: usize,
    pub(super) ready: BTreeSet<(ReadyKey, TaskId)>,
    pub(super) delayed: BTreeSet<(u64, ReadyKey, TaskId)>,
    pub(super) dependants: BTreeMap<TaskId, Vec<TaskId>>,
    /// Tasks whose latest attempt ended and of which nothing more is under way: they wait for a judgement.
    pub(super) open: Vec<TaskId>,
    pub(super) groups_checkpointed: u32,
    pub(super) unsettled: usize,
    pub(super) index: BTreeMap<TaskId, usize>,
}

impl State {
    /// The rules; defaults never exist, so a session that has not started has none.
    pub fn settings(&self) -> Option<&Settings> {
        self.started.as_ref().map(|s| &s.settings)
    }

    /// A gate's definition.
    pub fn gate(&self, name: &GateName) -> Option<&GateSpec> {
        self.settings()?.gates.iter().find(|g| g.name == *name)
    }

    /// A task's definition.
    pub fn task(&self, id: &TaskId) -> Option<&Task> {
        self.plan.as_ref()?.tasks.get(*self.index.get(id)?)
    }

    /// The latest attempt of a task.
    pub fn latest(&self, task: &TaskId) -> Option<&AttemptState> {
        self.tasks.get(task)?.attempts.last()
    }

    /// How many tasks are not settled.
    pub fn tasks_left(&self) -> usize {
        self.unsettled
    }

    /// How many tasks were settled with this status.
    pub fn count(&self, status: TaskStatus) -> usize {
        self.tasks.values().filter(|t| t.status() == Some(status)).count()
    }

    /// How many attempts are under way.
    pub fn running_attempts(&self) -> usize {
        self.running
    }

    /// The latest checkpoint that is durable.
    pub fn last_checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoints.iter().rev().find(|c| c.durable)
    }

    /// Where the result branch stands: the latest durable checkpoint that moved it.
    pub fn branch_at(&self) -> Option<&Commit> {
        self.checkpoints.iter().rev().find(|c| c.durable && c.advance).map(|c| &c.commit)
    }

    /// The final round of gates, once it began.
    pub fn final_round(&self) -> Option<&Round> {
        self.rounds.iter().rev().find(|r| r.purpose == RoundPurpose::Final)
    }

    /// How many groups of the plan, counted from the first, are settled whole.
    pub(super) fn complete_groups(&self) -> u32 {
        let open = self.tasks.values().filter(|t| t.status().is_none());
        let lowest_open = open.filter_map(|t| self.groups.get(&t.id)).min();
        lowest_open.copied().unwrap_or_else(|| self.groups.values().max().map_or(0, |g| g + 1))
    }

    /// The moment at which something has to be looked at again although nothing happened, as `elapsed_ms`.
    /// Moments up to `looked_at`, when the core was asked last, wake nobody: what they allow was looked at then.
    pub fn next_wake_ms(&self, looked_at: At) -> Option<u64> {
        if self.finished.is_some() {
            return None;
        }
        let deadline = self.settings().and_then(|s| s.budget.max_duration_ms).map(|ms| ms.saturating_add(1));
        let deadline = deadline.filter(|_| self.stop.as_ref().is_none_or(StopCause::is_soft));
        let heartbeat = (!self.in_flight.is_empty()).then(|| self.at.elapsed_ms.saturating_add(HEARTBEAT_MS));
        let retry = self.delayed.iter().map(|(not_before_ms, ..)| *not_before_ms).find(|ms| *ms > looked_at.elapsed_ms);
        let timers = [deadline, heartbeat].into_iter().flatten().filter(|ms| *ms > looked_at.elapsed_ms);
        timers.chain(retry).min()
    }
}
