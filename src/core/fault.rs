//! Faults: what went wrong, classified from structure first (exit status, which stage), text last.

use std::fmt;
use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agent::{AgentReport, Terminal, Unavailability};
use super::budget::Resource;
use super::call::{CallFault, CallTrouble, Scope};
use super::calls::Calls;
use super::outcome::Ended;

/// What kind of trouble a fault is; decides what can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultClass {
    /// Timeout of a network, rate limit, overload: the same again may work.
    Transient,
    /// The agent failed, changed nothing or changed the wrong thing.
    Implementation,
    /// A validation gate is red.
    Gate,
    /// Two changes to the same lines.
    Conflict,
    /// A change to a path that the task does not own or nobody may touch.
    Policy,
    /// A limit was reached.
    Budget,
    /// The agent cannot work: its key, quota or model is refused, it dies, or it never says a word. Another agent may work.
    Agent,
    /// A missing tool, a permission, a full disk: no attempt can help.
    Environment,
    /// The process was gone when the session was resumed.
    Lost,
    /// The repository or the session itself is broken.
    Critical,
}

impl fmt::Display for FaultClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transient => "transient",
            Self::Implementation => "implementation",
            Self::Gate => "gate",
            Self::Conflict => "conflict",
            Self::Policy => "policy",
            Self::Budget => "budget",
            Self::Agent => "agent",
            Self::Environment => "environment",
            Self::Lost => "lost",
            Self::Critical => "critical",
        })
    }
}

/// A classified error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// What kind of trouble.
    pub class: FaultClass,
    /// A short name scripts may rely on: `exit`, `timeout`, `idle`, `no_change`, `conflict`, …
    pub reason: String,
    /// What happened, for people and for the next attempt's prompt. Untrusted text.
    pub message: String,
    /// The limit that was reached, if it is that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitHit>,
    /// Earliest moment at which trying again makes sense, milliseconds since 1970, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_after_ms: Option<i64>,
}

/// A limit, and what was used of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitHit {
    /// Of what.
    pub resource: Resource,
    /// Used, and what calls under way may still take.
    pub used: u64,
    /// The limit.
    pub limit: u64,
    /// Whose limit.
    #[serde(default)]
    pub scope: Scope,
    /// What the call that was refused could have taken; 0 where none was.
    #[serde(default)]
    pub wanted: u64,
}

impl LimitHit {
    /// A limit of a task, or of an attempt at it.
    pub fn of_task(resource: Resource, used: u64, limit: u64) -> Self {
        Self { resource, used, limit, scope: Scope::Task, wanted: 0 }
    }
}

impl Fault {
    /// Puts a fault together.
    pub fn new(class: FaultClass, reason: &str, message: impl Into<String>) -> Self {
        Self { class, reason: reason.to_owned(), message: message.into(), limit: None, resume_after_ms: None }
    }

    /// True where the API asks for a wait, counted from `wall_ms`, that is left to another agent or a later run.
    pub fn waits_long(&self, wall_ms: i64) -> bool {
        self.resume_after_ms.is_some_and(|at| at.saturating_sub(wall_ms) > MAX_HINTED_MS)
    }

    /// True where the agent died or never said a word: it may work on another try, and if it never does, that says
    /// nothing about the task.
    pub fn is_crash(&self) -> bool {
        self.class == FaultClass::Agent && CRASHES.contains(&self.reason.as_str())
    }

    /// True where the agent is not served, which no other try of it can change now.
    pub fn is_refusal_to_serve(&self) -> bool {
        self.class == FaultClass::Agent && !self.is_crash()
    }

    /// True where this attempt went wrong and another one may not: neither the API, the machine nor a limit that adds up
    /// over attempts is in the way.
    pub fn is_of_the_attempt(&self) -> bool {
        match self.class {
            FaultClass::Implementation | FaultClass::Policy => true,
            FaultClass::Agent => self.is_crash(),
            FaultClass::Budget => self.limit.is_some_and(|hit| !Resource::SPENT.contains(&hit.resource)),
            _ => false,
        }
    }

    /// An attempt went over one of its limits.
    pub fn over_limit(resource: Resource, used: u64, limit: u64) -> Self {
        let message = format!(
            "the attempt went over its limit of {resource}: {} of {}",
            resource.show(used),
            resource.show(limit)
        );
        let reason = resource.to_string().replace(' ', "_");
        Self::at_limit(&reason, LimitHit::of_task(resource, used, limit), message)
    }

    /// A limit is what was in the way.
    pub fn at_limit(reason: &str, hit: LimitHit, message: impl Into<String>) -> Self {
        Self { limit: Some(hit), ..Self::new(FaultClass::Budget, reason, message) }
    }

    /// The message in one line: its first line and, where an agent's last words follow, the end of them.
    pub fn summary(&self) -> String {
        let mut lines = self.message.lines().filter(|l| !l.trim().is_empty());
        let first = lines.next().unwrap_or_default();
        lines.next_back().map_or_else(|| first.to_owned(), |last| format!("{first} {}", last.trim()))
    }
}

/// Reasons of faults of class `agent` that another try may get over.
const CRASHES: [&str; 3] = ["crashed", "signal", "no_output"];
/// Longest wait that an API may ask for and a run sits out, milliseconds.
const MAX_HINTED_MS: i64 = 300_000;
/// `EX_TEMPFAIL` of sysexits.h: the caller is invited to try again.
const EX_TEMPFAIL: i32 = 75;
/// POSIX shells: found, but not executable.
const NOT_EXECUTABLE: i32 = 126;
/// POSIX shells: not found.
const NOT_FOUND: i32 = 127;
/// Shells: 128 and the number of the signal that ended the command.
const KILLED: RangeInclusive<i32> = 129..=159;

/// Phrases of network and API trouble; looked for only where the structure says "failed" and nothing more.
const TRANSIENT_PHRASES: [&str; 14] = [
    "rate limit",
    "rate_limit",
    "too many requests",
    "overloaded",
    "temporarily unavailable",
    "service unavailable",
    "bad gateway",
    "gateway timeout",
    "connection reset",
    "connection refused",
    "econnreset",
    "etimedout",
    "network is unreachable",
    "could not resolve host",
];

/// The fault of an agent that ended, if it is one: how its process ended first, then how its event stream ended, then
/// what the gateway saw of its last call. A green exit of a command is never a fault here, whatever its log says.
pub fn of_agent(report: &AgentReport, calls: &Calls, agent: &str) -> Option<Fault> {
    let found = if ended_by_itself(&report.ended) { of_stream(report) } else { of_ending(report) }?;
    // What the API said is better known than what the agent made of it, also where it waited for the API until it was
    // ended itself.
    let may_have_waited =
        matches!(report.ended, Ended::Timeout { .. } | Ended::Idle { .. } | Ended::NoOutput { .. } | Ended::Stopped);
    let blames_agent = ended_by_itself(&report.ended) || may_have_waited;
    let unserved = calls.fault().filter(|_| blames_agent).and_then(|(model, fault)| unserved(fault, model, agent));
    Some(unserved.or_else(|| unanswered(&report.ended, calls)).unwrap_or(found))
}

/// The fault of an agent that was silent because the API was.
fn unanswered(ended: &Ended, calls: &Calls) -> Option<Fault> {
    let Ended::Idle { limit_ms } = *ended else { return None };
    let waited =
        format!("the agent was ended after {} s without a word, in which it waited for the model API", secs(limit_ms));
    calls.were_waited_for(limit_ms).then(|| unavailable(Unavailability::Rate, None, &waited))
}

/// False for endings that speak for themselves.
fn ended_by_itself(ended: &Ended) -> bool {
    match ended {
        Ended::Exited { code } => ![NOT_FOUND, NOT_EXECUTABLE].contains(code),
        Ended::Signaled { .. } | Ended::Lingered => true,
        _ => false,
    }
}

/// Endings that speak for themselves.
fn of_ending(report: &AgentReport) -> Option<Fault> {
    let fault = |class, reason, message: String| Some(Fault::new(class, reason, message));
    match &report.ended {
        Ended::Exited { code: NOT_FOUND } => fault(
            FaultClass::Environment,
            "not_found",
            with_tail("the agent's command was not found (exit status 127)", report),
        ),
        Ended::Exited { code: NOT_EXECUTABLE } => fault(
            FaultClass::Environment,
            "not_executable",
            with_tail("the agent's command cannot be executed (exit status 126)", report),
        ),
        Ended::Timeout { limit_ms } => {
            let message = format!("the agent was ended after its time limit of {} s", secs(*limit_ms));
            let hit = LimitHit::of_task(Resource::Duration, report.duration_ms.max(*limit_ms), *limit_ms);
            Some(Fault::at_limit("timeout", hit, message))
        }
        Ended::Idle { limit_ms } => {
            let message = format!("the agent wrote nothing for {} s and was ended", secs(*limit_ms));
            Some(Fault::at_limit("idle", LimitHit::of_task(Resource::Idle, *limit_ms, *limit_ms), message))
        }
        Ended::NoOutput { limit_ms } => {
            let message = format!("the agent wrote nothing at all within {} s and was ended", secs(*limit_ms));
            fault(FaultClass::Agent, "no_output", message)
        }
        Ended::Memory { used, limit } => Some(Fault::over_limit(Resource::Memory, *used, *limit)),
        Ended::Processes { used, limit } => Some(Fault::over_limit(Resource::Processes, *used, *limit)),
        Ended::Output { used, limit } => Some(Fault::over_limit(Resource::Output, *used, *limit)),
        Ended::Disk { used, limit } => Some(Fault::over_limit(Resource::Disk, *used, *limit)),
        Ended::Stopped => {
            fault(FaultClass::Implementation, "signal", "the agent had its own process tree ended".to_owned())
        }
        Ended::NotStarted { message } => fault(FaultClass::Environment, "not_started", message.clone()),
        Ended::Lost => {
            fault(FaultClass::Lost, "lost", "the agent's process or its warden was gone without a word".to_owned())
        }
        Ended::Exited { .. } | Ended::Signaled { .. } | Ended::Lingered => None,
    }
}

/// What the agent's event stream says, where its protocol has one; else its exit status.
fn of_stream(report: &AgentReport) -> Option<Fault> {
    let implementation = |reason, message: &str| Some(Fault::new(FaultClass::Implementation, reason, message));
    match &report.terminal {
        None => of_exit(report),
        Some(Terminal::Completed | Terminal::Refused { .. }) => match &report.ended {
            Ended::Exited { code: 0 } | Ended::Lingered => None,
            _ => of_exit(report),
        },
        Some(Terminal::Failed { reason }) => {
            let class = if speaks_of_transient(reason) { FaultClass::Transient } else { FaultClass::Implementation };
            let message = with_tail(&format!("the agent says that it failed: {reason}"), report);
            Some(Fault::new(class, "agent_failed", message))
        }
        Some(Terminal::Limited { which }) => {
            implementation("limited", &format!("the agent stopped at a limit: {which}"))
        }
        Some(Terminal::Unavailable { why, resume_after_ms }) => {
            let what = match why {
                Unavailability::Model => "the agent cannot use the model that its `model:` or --model names",
                _ => "the model API does not serve the agent",
            };
            Some(unavailable(*why, *resume_after_ms, &with_tail(what, report)))
        }
        Some(Terminal::Crashed) => {
            let message = with_tail(&format!("the agent crashed ({})", report.ended), report);
            Some(Fault::new(FaultClass::Agent, "crashed", message))
        }
        Some(Terminal::NoTerminalEvent) => implementation(
            "no_terminal_event",
            &with_tail(&format!("the agent ended ({}) without the event that ends its stream", report.ended), report),
        ),
    }
}

fn of_exit(report: &AgentReport) -> Option<Fault> {
    let fault = |class, reason, message: &str| Some(Fault::new(class, reason, with_tail(message, report)));
    match &report.ended {
        Ended::Exited { code: 0 } | Ended::Lingered => None,
        Ended::Exited { code: EX_TEMPFAIL } => {
            fault(FaultClass::Transient, "tempfail", "the agent asked to be tried again (exit status 75)")
        }
        Ended::Exited { code } if KILLED.contains(code) => {
            let signal = code - *KILLED.start() + 1;
            fault(FaultClass::Agent, "signal", &format!("the agent was ended by signal {signal} (exit status {code})"))
        }
        Ended::Exited { code } => {
            let transient = speaks_of_transient(&report.stderr_tail);
            let class = if transient { FaultClass::Transient } else { FaultClass::Implementation };
            fault(class, "exit", &format!("the agent ended with exit status {code}"))
        }
        Ended::Signaled { signal } => {
            fault(FaultClass::Agent, "signal", &format!("the agent was ended by signal {signal}"))
        }
        other => fault(FaultClass::Implementation, "exit", &format!("the agent ended: {other}")),
    }
}

/// The fault behind a last call that the API did not serve.
fn unserved(call: &CallFault, model: &str, agent: &str) -> Option<Fault> {
    let status = call.status.filter(|s| *s >= 400).map(|s| format!(" (HTTP {s})")).unwrap_or_default();
    let message = format!("the model API did not serve the agent's last call{status}: {}", call.message);
    if call.trouble == CallTrouble::Cut {
        return Some(Fault::new(FaultClass::Transient, "cut", message));
    }
    let why = call.unavailability()?;
    let message = match why {
        Unavailability::Model => format!(
            "the model API has no model `{model}`, or nothing at its address{status}: {}; look at --model or `model:` of \
             the agent `{agent}`, and at gateway.upstream",
            call.message
        ),
        _ => message,
    };
    Some(unavailable(why, call.resume_after_ms, &message))
}

fn unavailable(why: Unavailability, resume_after_ms: Option<i64>, message: &str) -> Fault {
    let class = match why {
        Unavailability::Rate => FaultClass::Transient,
        Unavailability::Auth | Unavailability::Quota | Unavailability::Model => FaultClass::Agent,
    };
    Fault { resume_after_ms, ..Fault::new(class, &why.to_string(), message) }
}

#[expect(clippy::cast_precision_loss, reason = "a limit in seconds, for people")]
fn secs(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

fn with_tail(what: &str, report: &AgentReport) -> String {
    let tail = report.stderr_tail.trim();
    if tail.is_empty() { what.to_owned() } else { format!("{what}; its last words on standard error:\n{tail}") }
}

fn speaks_of_transient(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    TRANSIENT_PHRASES.iter().any(|phrase| text.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ended: Ended, stderr: &str, expected: Option<(FaultClass, &str)>) {
        let report = AgentReport { stderr_tail: stderr.to_owned(), ..AgentReport::bare(ended) };
        let fault = of_agent(&report, &Calls::default(), "agent");
        assert_eq!(fault.as_ref().map(|f| (f.class, f.reason.as_str())), expected, "{fault:?}");
    }

    #[test]
    fn a_green_log_that_mentions_error_is_not_a_fault() {
        check(Ended::Exited { code: 0 }, "error: rate limit exceeded, 503", None);
    }

    #[test]
    fn structure_decides_before_text() {
        check(Ended::Exited { code: 127 }, "rate limit", Some((FaultClass::Environment, "not_found")));
        check(Ended::Exited { code: 126 }, "", Some((FaultClass::Environment, "not_executable")));
        check(Ended::Exited { code: 75 }, "", Some((FaultClass::Transient, "tempfail")));
        check(Ended::Timeout { limit_ms: 5 }, "overloaded", Some((FaultClass::Budget, "timeout")));
        check(Ended::Lost, "", Some((FaultClass::Lost, "lost")));
        check(Ended::Signaled { signal: 9 }, "", Some((FaultClass::Agent, "signal")));
        check(Ended::Exited { code: 137 }, "rate limit", Some((FaultClass::Agent, "signal")));
    }

    #[test]
    fn text_is_the_last_resort_of_a_red_exit() {
        check(Ended::Exited { code: 1 }, "HTTP 429 Too Many Requests", Some((FaultClass::Transient, "exit")));
        check(Ended::Exited { code: 1 }, "assertion failed", Some((FaultClass::Implementation, "exit")));
    }
}
