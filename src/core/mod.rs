//! The pure core: it owns every domain type and makes every decision.
//!
//! In: an `Input` and the moment it arrived. Out: the `Event`s that follow, and the `Effect`s that those request.
//! It knows no clock, environment, file system, process or thread; the driver lends it all of these as data.

mod advance;
pub mod agent;
mod apply;
pub mod budget;
pub mod call;
pub mod calls;
mod change;
pub mod decision;
mod delivery;
pub mod effect;
pub mod event;
pub mod evidence;
pub mod fault;
pub mod finding;
mod grant;
pub mod id;
mod judge;
pub mod ledger;
pub mod outcome;
pub mod plan;
pub mod policy;
pub mod prd;
pub mod recovery;
mod request;
mod schedule;
pub mod session;
pub mod settings;
pub mod state;
mod step;
mod texts;
pub mod time;
pub mod verdict;
mod verdict_of;

pub use agent::{AgentReport, EventCounts, Terminal, Unavailability, denied};
pub use apply::{Illegal, replay};
pub use budget::{Budget, Reservation, Resource, Spend, Usage, UsageSource};
pub use call::{CallAnswer, CallAsk, CallFault, CallTrouble, Price, Refusal, Scope};
pub use decision::{Decision, DecisionKind, DecisionOption};
pub use effect::{Effect, EffectKey, Input, LostEffect};
pub use event::{Event, JOURNAL_VERSION, Record};
pub use evidence::{RequirementResult, RequirementStatus};
pub use fault::{Fault, FaultClass, LimitHit};
pub use finding::{Finding, Level};
pub use id::{Commit, GateName, RequirementId, SessionId, TaskId};
pub use outcome::{
    Broken, Capture, Ended, FileChange, GateResult, GateStatus, LeakedLine, Merge, Outcome, Problem, TestCase,
    TestStatus,
};
pub use plan::{Cycle, Epic, Plan, Task};
pub use prd::{
    Approval, Check, Confidence, Criterion, CriterionKind, Prd, Priority, Requirement, Status, TaskSpec, Warning,
};
pub use recovery::Strategy;
pub use session::{
    AgentApi, AgentInfo, Deliverable, Given, Phase, PrdSummary, PriceList, RequirementSummary, RoundPurpose,
    SessionStarted, StopCause, TaskStatus, Waiting,
};
pub use settings::{
    CheckpointFrequency, GateKind, GateSpec, RecoverySettings, Settings, UnknownCost, UnverifiedMode, same_role,
};
pub use state::State;
pub use step::step;
pub use texts::MASK;
pub use time::At;
pub use verdict::Verdict;
