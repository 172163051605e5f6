//! Faults: what went wrong, classified from structure first (exit status, which stage), text last.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::outcome::{AgentReport, Ended};

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
}

impl Fault {
    /// Puts a fault together.
    pub fn new(class: FaultClass, reason: &str, message: impl Into<String>) -> Self {
        Self { class, reason: reason.to_owned(), message: message.into() }
    }

    /// The message in one line: its first line and, where an agent's last words follow, the end of them.
    pub fn summary(&self) -> String {
        let mut lines = self.message.lines().filter(|l| !l.trim().is_empty());
        let first = lines.next().unwrap_or_default();
        lines.next_back().map_or_else(|| first.to_owned(), |last| format!("{first} {}", last.trim()))
    }
}

/// `EX_TEMPFAIL` of sysexits.h: the caller is invited to try again.
const EX_TEMPFAIL: i32 = 75;
/// POSIX shells: found, but not executable.
const NOT_EXECUTABLE: i32 = 126;
/// POSIX shells: not found.
const NOT_FOUND: i32 = 127;

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

/// The fault of an agent that ended, if it is one. A green exit is never a fault here, whatever its log says.
pub fn of_agent(report: &AgentReport) -> Option<Fault> {
    let fault = |class, reason, message: String| Some(Fault::new(class, reason, message));
    match &report.ended {
        Ended::Exited { code: 0 } => None,
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
        Ended::Exited { code: EX_TEMPFAIL } => fault(
            FaultClass::Transient,
            "tempfail",
            with_tail("the agent asked to be tried again (exit status 75)", report),
        ),
        Ended::Exited { code } => {
            let class = if speaks_of_transient(&report.stderr_tail) {
                FaultClass::Transient
            } else {
                FaultClass::Implementation
            };
            fault(class, "exit", with_tail(&format!("the agent ended with exit status {code}"), report))
        }
        Ended::Signaled { signal } => fault(
            FaultClass::Implementation,
            "signal",
            with_tail(&format!("the agent was ended by signal {signal}"), report),
        ),
        Ended::Timeout { limit_ms } => fault(
            FaultClass::Implementation,
            "timeout",
            format!("the agent was ended after its time limit of {} s", secs(*limit_ms)),
        ),
        Ended::Idle { limit_ms } => fault(
            FaultClass::Implementation,
            "idle",
            format!("the agent wrote nothing for {} s and was ended", secs(*limit_ms)),
        ),
        Ended::Stopped => {
            fault(FaultClass::Implementation, "signal", "the agent had its own process tree ended".to_owned())
        }
        Ended::NotStarted { message } => fault(FaultClass::Environment, "not_started", message.clone()),
        Ended::Lost => {
            fault(FaultClass::Lost, "lost", "the agent's process or its warden was gone without a word".to_owned())
        }
    }
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
        let fault = of_agent(&report);
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
        check(Ended::Timeout { limit_ms: 5 }, "overloaded", Some((FaultClass::Implementation, "timeout")));
        check(Ended::Lost, "", Some((FaultClass::Lost, "lost")));
    }

    #[test]
    fn text_is_the_last_resort_of_a_red_exit() {
        check(Ended::Exited { code: 1 }, "HTTP 429 Too Many Requests", Some((FaultClass::Transient, "exit")));
        check(Ended::Exited { code: 1 }, "assertion failed", Some((FaultClass::Implementation, "exit")));
    }
}
