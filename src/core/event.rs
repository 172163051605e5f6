//! Events: what happened, in the order in which it happened. The journal is a list of them; everything that
//! anyone ever sees of a session is a function of that list.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agent::AgentReport;
use super::budget::{Reservation, Resource, Usage};
use super::call::{CallAsk, CallFault, Refusal};
use super::decision::Decision;
use super::effect::{EffectKey, LostEffect};
use super::fault::Fault;
use super::id::{Commit, GateName, TaskId};
use super::outcome::{Broken, Capture, GateResult, Merge};
use super::plan::Plan;
use super::recovery::Strategy;
use super::session::{
    AgentInfo, Deliverable, Given, Phase, RoundPurpose, SessionStarted, StopCause, TaskStatus, Waiting,
};
use super::settings::Settings;
use super::time::At;
use super::verdict::Verdict;

/// The version of the journal's format. Older journals stay readable.
pub const JOURNAL_VERSION: u32 = 1;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// 1, 2, 3, …
    pub seq: u64,
    /// When.
    pub at: At,
    /// What.
    pub event: Event,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A session began.
    SessionStarted(Box<SessionStarted>),
    /// A session whose process died goes on.
    Resumed {
        /// What was under way.
        lost: Vec<LostEffect>,
        /// The rules from here on: limits may have been raised. What decides about the work itself has not changed,
        /// or the resume would have been refused.
        settings: Box<Settings>,
        /// What agents and gates are walled in by from here on: `L0`, `L1`, with what is missing of it in
        /// parentheses.
        #[serde(default)]
        isolation: Option<String>,
        /// The agents, as they are found now.
        #[serde(default)]
        agents: Vec<AgentInfo>,
        /// Things the user should know from here on.
        #[serde(default)]
        notes: Vec<String>,
        /// What it was told, with what it took over; the next resume begins with that.
        #[serde(default)]
        given: Option<Box<Given>>,
    },
    /// A phase began.
    PhaseStarted {
        /// Which.
        phase: Phase,
    },
    /// The plan is made.
    Planned {
        /// All of it.
        plan: Box<Plan>,
    },
    /// A request is made again after a resume.
    Restarted {
        /// Which.
        key: EffectKey,
    },
    /// The base tree is being prepared.
    SetupStarted,
    /// The base tree is ready.
    SetupDone,
    /// `workspace.setup` failed.
    SetupFailed {
        /// What it said; untrusted text.
        message: String,
    },
    /// An attempt began.
    AttemptStarted {
        /// Whose.
        task: TaskId,
        /// Which, from 1.
        attempt: u32,
        /// What is different about it.
        strategy: Strategy,
        /// The commit it starts from.
        onto: Commit,
        /// What is set aside for it.
        reserved: Reservation,
        /// Name of the agent that works on it.
        #[serde(default)]
        agent: String,
    },
    /// The attempt's workspace is ready.
    WorkspaceReady {
        /// Whose.
        task: TaskId,
        /// Which.
        attempt: u32,
        /// Wall-clock limit of the agent, milliseconds.
        limit_ms: u64,
    },
    /// A running agent reported what it has used so far.
    UsageReported {
        /// Whose.
        task: TaskId,
        /// Which.
        attempt: u32,
        /// The total so far.
        usage: Usage,
    },
    /// A call of a model API would fit what is used, and waits for others that are under way.
    CallWaits {
        /// Whose.
        task: TaskId,
        /// Which attempt.
        attempt: u32,
        /// The call's number, unique in its process.
        call: u64,
        /// What it asks for.
        ask: CallAsk,
    },
    /// A call of a model API was let out.
    CallStarted {
        /// Whose.
        task: TaskId,
        /// Which attempt.
        attempt: u32,
        /// The call's number, unique in its process.
        call: u64,
        /// The model; untrusted text.
        model: String,
        /// Its worst case.
        reserved: Reservation,
        /// Cap of its output, tokens.
        max_output_tokens: u64,
        /// True where its price is known, and nothing.
        #[serde(default)]
        is_free: bool,
    },
    /// A call of a model API was not let out.
    CallRefused {
        /// Whose.
        task: TaskId,
        /// Which attempt.
        attempt: u32,
        /// The call's number.
        call: u64,
        /// The model; untrusted text.
        model: String,
        /// Why.
        refusal: Refusal,
    },
    /// A call of a model API has ended.
    CallEnded {
        /// Whose.
        task: TaskId,
        /// Which attempt.
        attempt: u32,
        /// The call's number.
        call: u64,
        /// What it used.
        usage: Usage,
        /// What went wrong, if anything did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<CallFault>,
    },
    /// A running attempt is being ended: it went over its task's budget.
    AttemptStopping {
        /// Whose.
        task: TaskId,
        /// Which.
        attempt: u32,
        /// Of what.
        resource: Resource,
        /// Used.
        used: u64,
        /// The limit.
        limit: u64,
    },
    /// A running attempt is being ended: nobody knows what it costs, and the run has a limit on cost.
    CostUnknown {
        /// Whose.
        task: TaskId,
        /// Which.
        attempt: u32,
    },
    /// A running attempt is being ended: its agent does not stop asking for calls that are refused.
    RefusedTooOften {
        /// Whose.
        task: TaskId,
        /// Which.
        attempt: u32,
        /// How many of its calls were refused.
        calls: u32,
    },
    /// An agent ended.
    AgentEnded {
        /// Whose.
        task: TaskId,
        /// Which.
        attempt: u32,
        /// How.
        report: AgentReport,
    },
    /// What an attempt left behind is kept.
    Captured {
        /// Whose.
        task: TaskId,
        /// Which.
        attempt: u32,
        /// What.
        capture: Capture,
    },
    /// An attempt failed.
    AttemptFailed {
        /// Whose.
        task: TaskId,
        /// Which.
        attempt: u32,
        /// How.
        fault: Fault,
    },
    /// A task will be tried again.
    RetryScheduled {
        /// Which.
        task: TaskId,
        /// Not before this `elapsed_ms`.
        not_before_ms: u64,
        /// What will be different.
        strategy: Strategy,
    },
    /// The agent cannot work on this task now; a resume tries again.
    TaskParked {
        /// Which.
        task: TaskId,
        /// Why.
        reason: String,
    },
    /// An integration began.
    IntegrationStarted {
        /// Whose.
        task: TaskId,
        /// Which.
        attempt: u32,
        /// Where it goes.
        tip: Commit,
    },
    /// An integration ended.
    Merged {
        /// Whose.
        task: TaskId,
        /// Which.
        attempt: u32,
        /// How.
        merge: Merge,
    },
    /// A task is settled, once.
    TaskSettled {
        /// Which.
        task: TaskId,
        /// How.
        status: TaskStatus,
        /// Why, where it is not a success.
        reason: Option<String>,
    },
    /// A decision was made.
    Decided {
        /// All of it.
        decision: Decision,
    },
    /// Nothing is ready and nothing runs, yet tasks are left.
    Stalled {
        /// Which, and for what they wait.
        waiting: Vec<Waiting>,
    },
    /// Gates begin to look at a commit.
    RoundStarted {
        /// Which round, from 1.
        round: u32,
        /// What for.
        purpose: RoundPurpose,
        /// The commit.
        commit: Commit,
        /// The gates.
        gates: Vec<GateName>,
    },
    /// A gate began.
    GateStarted {
        /// Which round.
        round: u32,
        /// Which gate.
        gate: GateName,
        /// Wall-clock limit, milliseconds.
        limit_ms: u64,
    },
    /// A gate ended.
    GateEnded {
        /// Which round.
        round: u32,
        /// Which gate.
        gate: GateName,
        /// How.
        result: GateResult,
    },
    /// A checkpoint is being made.
    CheckpointStarted {
        /// Its number.
        n: u32,
        /// The commit.
        commit: Commit,
        /// Why now.
        reason: String,
        /// True: the result branch moves here.
        advance: bool,
    },
    /// A checkpoint is durable.
    CheckpointCreated {
        /// Its number.
        n: u32,
    },
    /// The PRD's status is being written back.
    StatusWriteStarted {
        /// The new status.
        status: String,
        /// Where it goes.
        tip: Commit,
    },
    /// The PRD's status is written back.
    StatusWritten {
        /// The commit; none where the PRD is not in the repository.
        commit: Option<Commit>,
    },
    /// The run stops before its end.
    StopRequested {
        /// Why.
        stop: StopCause,
    },
    /// The tip goes back to a checkpoint.
    RollbackStarted {
        /// Its number.
        n: u32,
        /// Its commit.
        to: Commit,
    },
    /// The tip is back at the checkpoint.
    RolledBack,
    /// A request could not be carried out.
    EffectBroken {
        /// Which.
        key: EffectKey,
        /// How.
        broken: Broken,
    },
    /// Nothing happened for a while and something is under way: the session's clock goes on, also where its process
    /// is killed.
    Heartbeat,
    /// The session is over, and the delivery of what is wanted is open; nothing follows but a resume, or what becomes
    /// of the delivery.
    SessionFinished {
        /// How.
        verdict: Verdict,
        /// Why, in one line.
        reason: String,
    },
    /// What is not delivered yet is tried.
    DeliveryStarted {
        /// What. None in journals of older versions: everything that was missing.
        #[serde(default)]
        wanted: Vec<Deliverable>,
    },
    /// Something that was asked for besides the work could not be done: a report's file, a push, a comment.
    DeliveryFailed {
        /// What.
        #[serde(default)]
        what: Deliverable,
        /// Why, a line each; untrusted text.
        missing: Vec<String>,
    },
    /// The delivery is over: what has not failed is delivered.
    DeliveryEnded,
}
