//! Recovery: what follows a fault. Never a question to a person; every choice is a recorded decision.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::decision::{Decision, DecisionKind, DecisionOption, option};
use super::fault::{Fault, FaultClass};
use super::settings::{RecoverySettings, Settings};
use super::state::TaskState;

/// What is different about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Nothing: the first attempt.
    First,
    /// The same again, after a wait.
    Retry,
    /// Another approach, in a fresh workspace, with the failure in the prompt.
    Alternative,
    /// Again on the new tip, with the conflict in the prompt.
    Rebase,
    /// Once more, with the violated policy explained.
    ExplainPolicy,
    /// The same, by the next agent that the configuration names.
    Fallback,
    /// The same again: the process was lost or stopped, which says nothing about the approach.
    Requeue,
}

impl Strategy {
    /// As the log and the decisions call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first attempt",
            Self::Retry => "retry with backoff",
            Self::Alternative => "alternative approach",
            Self::Rebase => "rebase attempt",
            Self::ExplainPolicy => "attempt with the policy explained",
            Self::Fallback => "fall back to another agent",
            Self::Requeue => "run again",
        }
    }
}

/// What follows a failed attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Recovery {
    /// Another attempt.
    Attempt {
        /// What is different.
        strategy: Strategy,
        /// How long to wait, milliseconds.
        delay_ms: u64,
    },
    /// It cannot be done now; a resume tries again.
    Park,
    /// The task has failed.
    GiveUp,
}

/// How often a task may be lost (its process gone at a resume) before it is given up.
pub const MAX_LOST: u32 = 3;
/// First wait of a retry, milliseconds.
const FIRST_DELAY_MS: f64 = 1000.0;
/// Longest wait of a retry, milliseconds.
const MAX_DELAY_MS: f64 = 60_000.0;

/// What the choice depends on besides the fault.
pub struct Situation<'a> {
    /// The task.
    pub task: &'a TaskState,
    /// The rules.
    pub settings: &'a RecoverySettings,
    /// The agent that would come next, where it is another one than the one that failed.
    pub other_agent: Option<&'a str>,
    /// Now, milliseconds since 1970.
    pub wall_ms: i64,
}

/// The agent of the next attempt: the first of the chain that has not failed us. One that is not available for long,
/// whose retries are used up, or whose second attempt failed, hands over to the next; after the last there is none.
pub(super) fn next_agent<'a>(task: &TaskState, settings: &'a Settings, role: &str) -> Option<&'a str> {
    let chain = settings.agents_for(role);
    let (mut at, mut failed, mut unserved) = (0, 0, 0);
    for attempt in task.recent_attempts() {
        let (Some(agent), Some(fault)) = (chain.get(at), &attempt.fault) else { continue };
        if *agent != attempt.agent {
            continue;
        }
        failed += u32::from(fault.is_of_the_attempt());
        unserved += u32::from(fault.class == FaultClass::Transient);
        let is_last = at + 1 == chain.len();
        let for_long = attempt.ended.is_some_and(|ended| fault.waits_long(ended.wall_ms));
        let handed_over = failed > 1 || for_long || unserved > settings.recovery.max_retry_attempts;
        if fault.is_refusal_to_serve() || !is_last && handed_over {
            (at, failed, unserved) = (at + 1, 0, 0);
        }
    }
    chain.get(at).copied()
}

/// Chooses what follows `fault`, and says why.
pub fn choose(situation: &Situation<'_>, fault: &Fault) -> (Recovery, Decision) {
    let (recovery, note) = what_follows(situation, fault);
    let decision = record(fault, &recovery, note);
    (recovery, decision)
}

fn what_follows(situation: &Situation<'_>, fault: &Fault) -> (Recovery, String) {
    let Situation { task, settings, .. } = situation;
    let max = settings.max_retry_attempts;
    let used = task.failures_of_its_own();
    let left = max.saturating_sub(used);
    match fault.class {
        FaultClass::Lost if fault.reason == "stopped" => {
            (again(Strategy::Requeue, 0), "the run was stopped, not the approach".into())
        }
        FaultClass::Lost if task.lost >= MAX_LOST => (Recovery::GiveUp, format!("lost {MAX_LOST} times")),
        FaultClass::Lost => (again(Strategy::Requeue, 0), "a lost process says nothing about the approach".into()),
        FaultClass::Environment => (Recovery::Park, "no attempt can mend the machine".into()),
        FaultClass::Critical | FaultClass::Gate => {
            (Recovery::GiveUp, format!("a {} fault is not retried", fault.class))
        }
        FaultClass::Agent if fault.is_crash() => crashed(situation, used, left),
        FaultClass::Agent => match situation.other_agent {
            Some(other) => (again(Strategy::Fallback, 0), format!("`{other}` may be served where this agent is not")),
            None => (Recovery::Park, "no other agent is left to try; a later run may find the service back".into()),
        },
        FaultClass::Transient => transient(situation, fault, used, left),
        FaultClass::Implementation | FaultClass::Policy | FaultClass::Budget
            if fault.is_of_the_attempt() && situation.other_agent.is_some() =>
        {
            let other = situation.other_agent.unwrap_or_default();
            (again(Strategy::Fallback, 0), format!("two attempts failed; `{other}` may see what this agent does not"))
        }
        FaultClass::Budget => over_limit(fault, left, max),
        FaultClass::Policy if task.policy_explained => {
            (Recovery::GiveUp, "the policy was explained once already".into())
        }
        FaultClass::Conflict if task.conflicts > max => {
            (Recovery::GiveUp, format!("{max} of {max} rebase attempts used"))
        }
        FaultClass::Conflict => (again(Strategy::Rebase, 0), "another task changed the same lines first".into()),
        FaultClass::Implementation | FaultClass::Policy if left == 0 => {
            (Recovery::GiveUp, format!("{max} of {max} retries used"))
        }
        FaultClass::Policy => (again(Strategy::ExplainPolicy, 0), "the agent may not have known the policy".into()),
        FaultClass::Implementation => (
            again(Strategy::Alternative, 0),
            format!("the same again would likely fail the same way; {left} of {max} retries left"),
        ),
    }
}

/// Limits that add up over a task's attempts leave nothing to try again with; the others held one attempt only.
fn over_limit(fault: &Fault, left: u32, max: u32) -> (Recovery, String) {
    if !fault.is_of_the_attempt() {
        return (Recovery::Park, "the limit stands; a later run with a higher one goes on here".into());
    }
    if left == 0 {
        return (Recovery::Park, format!("{max} of {max} retries used; a later run with a higher limit goes on here"));
    }
    (again(Strategy::Alternative, 0), format!("another approach may need less; {left} of {max} retries left"))
}

/// An agent that dies, or never says a word, may do better on another try. One that never worked at all is not fit for
/// work here, which says nothing about the task.
fn crashed(situation: &Situation<'_>, used: u32, left: u32) -> (Recovery, String) {
    let Situation { task, settings, .. } = situation;
    let max = settings.max_retry_attempts;
    if let Some(other) = situation.other_agent {
        return (again(Strategy::Fallback, 0), format!("two attempts failed; `{other}` may work here"));
    }
    if left > 0 {
        let delay_ms = backoff_ms(used, settings.backoff_multiplier, &task.jitter_seed());
        return (again(Strategy::Retry, delay_ms), format!("it may not crash again; {left} of {max} retries left"));
    }
    let faults = || task.recent_attempts().iter().filter_map(|a| a.fault.as_ref());
    if faults().all(|fault| matches!(fault.class, FaultClass::Agent | FaultClass::Transient | FaultClass::Lost)) {
        return (Recovery::Park, format!("{max} of {max} retries used, and no agent ever worked"));
    }
    (Recovery::GiveUp, format!("{max} of {max} retries used"))
}

/// The server's own hint comes before our backoff; one that is too long leaves the task to a later run.
fn transient(situation: &Situation<'_>, fault: &Fault, used: u32, left: u32) -> (Recovery, String) {
    let Situation { task, settings, .. } = situation;
    let own_ms = backoff_ms(used, settings.backoff_multiplier, &task.jitter_seed());
    let max = settings.max_retry_attempts;
    if let Some(other) = situation.other_agent {
        return (
            again(Strategy::Fallback, 0),
            format!("the API does not serve this agent; `{other}` may be served now"),
        );
    }
    if left == 0 {
        return (Recovery::Park, format!("{max} of {max} retries used; a later run may find the service back"));
    }
    if fault.waits_long(situation.wall_ms) {
        return (Recovery::Park, "the API asks for a wait that is left to a later run".into());
    }
    let hint = fault.resume_after_ms.map(|at| u64::try_from(at.saturating_sub(situation.wall_ms)).unwrap_or(0));
    let delay_ms = own_ms.max(hint.unwrap_or(0));
    (again(Strategy::Retry, delay_ms), format!("the trouble is transient; {left} of {max} retries left"))
}

fn again(strategy: Strategy, delay_ms: u64) -> Recovery {
    Recovery::Attempt { strategy, delay_ms }
}

/// 1 s × multiplierⁿ, at most 60 s, of which between a half and all is waited. The jitter comes from the seed,
/// so that a replay waits the same.
fn backoff_ms(n: u32, multiplier: f64, seed: &str) -> u64 {
    let full = (FIRST_DELAY_MS * multiplier.max(1.0).powi(i32::try_from(n).unwrap_or(i32::MAX))).min(MAX_DELAY_MS);
    let jitter = f64::from(crc32fast::hash(seed.as_bytes()) % 1000) / 1000.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 500 and 60000")]
    let delay = (full * 0.5f64.mul_add(jitter, 0.5)) as u64;
    delay
}

fn record(fault: &Fault, recovery: &Recovery, note: String) -> Decision {
    let chosen = match recovery {
        Recovery::Attempt { strategy, .. } => strategy.name(),
        Recovery::Park => "wait for a later run",
        Recovery::GiveUp => "give the task up",
    };
    let others = ["retry with backoff", "alternative approach", "give the task up"];
    let mut options: Vec<DecisionOption> = others
        .into_iter()
        .filter(|name| *name != chosen)
        .map(|name| option(name, score(fault.class, name), "scored for this class of fault"))
        .collect();
    options.push(option(chosen, 0.9, note));
    let context = format!("{} fault `{}`", fault.class, fault.reason);
    Decision::best_of(DecisionKind::Recovery, context, options).with_impact(match recovery {
        Recovery::Attempt { delay_ms: 0, .. } => "the task runs again at once".to_owned(),
        Recovery::Attempt { delay_ms, .. } => {
            format!("the task runs again in {}.{:01} s", delay_ms / 1000, delay_ms % 1000 / 100)
        }
        Recovery::Park => "independent work goes on; a resume tries the task again".to_owned(),
        Recovery::GiveUp => "what depends on the task is blocked; independent work goes on".to_owned(),
    })
}

/// How well an option that was not taken fits a class of fault.
fn score(class: FaultClass, name: &str) -> f64 {
    match (class, name) {
        (FaultClass::Transient, "alternative approach") => 0.2,
        (FaultClass::Transient | FaultClass::Lost, "retry with backoff") => 0.5,
        (FaultClass::Implementation | FaultClass::Policy, "retry with backoff") => 0.3,
        (FaultClass::Conflict, "alternative approach") => 0.4,
        (_, "give the task up") => 0.1,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_under_a_minute() {
        let waits: Vec<u64> = (0..10).map(|n| backoff_ms(n, 2.0, "T-001#1")).collect();
        assert!(waits[0] >= 500 && waits[0] <= 1000, "{waits:?}");
        assert!(waits.windows(2).all(|w| w[0] <= w[1]), "{waits:?}");
        assert!(waits.iter().all(|w| *w <= 60_000), "{waits:?}");
    }

    #[test]
    fn the_same_seed_waits_the_same() {
        assert_eq!(backoff_ms(3, 2.0, "a"), backoff_ms(3, 2.0, "a"));
    }
}
