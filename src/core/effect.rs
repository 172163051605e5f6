//! Effects (what the shell is asked to do) and inputs (everything that reaches the core, outcomes among it).
//! All of it is data: the real world and the simulated one are two interpreters of the same `Effect`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::Usage;
use super::call::{CallAnswer, CallAsk, CallFault};
use super::id::{Commit, GateName, TaskId};
use super::outcome::Outcome;
use super::plan::Plan;
use super::recovery::Strategy;
use super::session::{AgentInfo, Given, SessionStarted};
use super::settings::Settings;

/// Names one piece of work that is under way; at most one of each at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum EffectKey {
    /// Preparing the base tree.
    Setup,
    /// Preparing an attempt's workspace.
    Prepare {
        /// Whose.
        task: TaskId,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// Running an agent.
    RunAgent {
        /// Whose.
        task: TaskId,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// Capturing what an attempt left behind.
    Capture {
        /// Whose.
        task: TaskId,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// Integrating an attempt's commit.
    Integrate {
        /// Whose.
        task: TaskId,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// Running a gate.
    Gate {
        /// Which round of gates, from 1.
        round: u32,
        /// Which gate.
        gate: GateName,
    },
    /// Making a checkpoint durable.
    Checkpoint {
        /// Its number.
        n: u32,
    },
    /// Writing the PRD's status back.
    WriteStatus,
    /// Going back to a checkpoint.
    Rollback,
}

impl EffectKey {
    /// The attempt that it is work for, if it is for one.
    pub fn task(&self) -> Option<(&TaskId, u32)> {
        match self {
            Self::Prepare { task, attempt }
            | Self::RunAgent { task, attempt }
            | Self::Capture { task, attempt }
            | Self::Integrate { task, attempt } => Some((task, *attempt)),
            Self::Setup | Self::Gate { .. } | Self::Checkpoint { .. } | Self::WriteStatus | Self::Rollback => None,
        }
    }
}

impl fmt::Display for EffectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup => f.write_str("setup"),
            Self::Prepare { task, attempt } => write!(f, "prepare {task}#{attempt}"),
            Self::RunAgent { task, attempt } => write!(f, "agent {task}#{attempt}"),
            Self::Capture { task, attempt } => write!(f, "capture {task}#{attempt}"),
            Self::Integrate { task, attempt } => write!(f, "integrate {task}#{attempt}"),
            Self::Gate { round, gate } => write!(f, "gate {gate} (round {round})"),
            Self::Checkpoint { n } => write!(f, "checkpoint {n}"),
            Self::WriteStatus => f.write_str("PRD status"),
            Self::Rollback => f.write_str("rollback"),
        }
    }
}

/// A request to the shell. Its key is that of the event that made it.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Check out the base commit and run `workspace.setup` in it.
    Setup,
    /// Make a private copy of the base tree and bring it to a commit.
    Prepare {
        /// Whose.
        task: TaskId,
        /// Which attempt.
        attempt: u32,
        /// The commit the agent shall see.
        onto: Commit,
    },
    /// Run the agent in its workspace, under the warden.
    RunAgent {
        /// Whose.
        task: TaskId,
        /// Which attempt.
        attempt: u32,
        /// Name of the agent.
        agent: String,
        /// What is different about this attempt.
        strategy: Strategy,
        /// What went wrong before, oldest first; untrusted text.
        failures: Vec<String>,
        /// Wall-clock limit, milliseconds.
        limit_ms: u64,
    },
    /// Turn the workspace's files into a commit, then remove the workspace.
    Capture {
        /// Whose.
        task: TaskId,
        /// Which attempt.
        attempt: u32,
        /// The commit the agent started from.
        onto: Commit,
    },
    /// Merge an attempt's commit into the tip.
    Integrate {
        /// Whose.
        task: TaskId,
        /// Which attempt.
        attempt: u32,
        /// What was captured.
        commit: Commit,
        /// What it was made from.
        onto: Commit,
        /// Where it shall go.
        tip: Commit,
        /// Author date, so that doing it again gives the same commit.
        wall_ms: i64,
    },
    /// Run a gate in a fresh tree of a commit.
    RunGate {
        /// Which round.
        round: u32,
        /// Which gate.
        gate: GateName,
        /// The commit under test.
        commit: Commit,
        /// Wall-clock limit, milliseconds.
        limit_ms: u64,
    },
    /// Tag a commit; move the result branch to it where it passed what was required.
    Checkpoint {
        /// Its number.
        n: u32,
        /// The commit.
        commit: Commit,
        /// True: the result branch moves here.
        advance: bool,
    },
    /// Commit the PRD's new status on top of the tip.
    WriteStatus {
        /// `implementing` or `implemented`.
        status: String,
        /// Where it shall go.
        tip: Commit,
        /// Author date, so that doing it again gives the same commit.
        wall_ms: i64,
    },
    /// Put the tip back to a checkpoint.
    Rollback {
        /// The checkpoint's commit.
        to: Commit,
    },
    /// Tell the gateway what the budget says to a call.
    AnswerCall {
        /// The call's number.
        call: u64,
        /// The answer.
        answer: CallAnswer,
    },
    /// End every process tree that runs: agents and gates.
    StopAll,
    /// End one attempt.
    StopAttempt {
        /// Whose.
        task: TaskId,
        /// Which attempt.
        attempt: u32,
    },
}

/// Work that was under way when a session's process died.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LostEffect {
    /// Which.
    pub key: EffectKey,
    /// What the agent's stream on disk says it had used.
    pub usage: Option<Usage>,
}

/// Everything that can reach the core.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A new session with its plan.
    Start(Box<SessionStarted>, Box<Plan>),
    /// A session whose process died goes on.
    Resumed {
        /// What was under way.
        lost: Vec<LostEffect>,
        /// The rules from here on.
        settings: Box<Settings>,
        /// The walls from here on: `L0`, `L1`, with what is missing of it in parentheses.
        isolation: String,
        /// The agents, as they are found now.
        agents: Vec<AgentInfo>,
        /// Things the user should know from here on.
        notes: Vec<String>,
        /// What it was told; none where that is as it was.
        given: Option<Box<Given>>,
    },
    /// A running agent reported what it has used so far.
    Usage {
        /// Whose.
        task: TaskId,
        /// Which attempt.
        attempt: u32,
        /// The total so far.
        usage: Usage,
    },
    /// A call of a model API wants to be let out.
    CallAsked {
        /// Whose.
        task: TaskId,
        /// Which attempt.
        attempt: u32,
        /// The call's number, unique in this process.
        call: u64,
        /// What it asks for.
        ask: CallAsk,
    },
    /// The gateway refused a request of an agent by itself: nobody can say before the call what it takes.
    CallUnmeterable {
        /// Whose.
        task: TaskId,
        /// Which attempt.
        attempt: u32,
        /// The call's number, unique in this process.
        call: u64,
        /// Why, as the agent was told; bounded, may hold untrusted text.
        message: String,
    },
    /// A call that was let out has ended.
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
        fault: Option<CallFault>,
    },
    /// An effect is finished.
    Done(EffectKey, Outcome),
    /// A signal asks the run to end.
    Cancel {
        /// 2 (SIGINT) or 15 (SIGTERM).
        signal: i32,
    },
    /// Time has passed, or: what now?
    Continue,
}
