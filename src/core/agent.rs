//! What is known of one run of an agent: how its event stream ended, what it held, what its processes took.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::Usage;
use super::outcome::Ended;

/// Why a model API does not serve an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unavailability {
    /// The key is missing, wrong or without the right.
    Auth,
    /// A quota or a credit is used up.
    Quota,
    /// Too many requests, or the API is overloaded.
    Rate,
    /// It has no model of this name, or does not offer it.
    Model,
}

impl fmt::Display for Unavailability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auth => "auth",
            Self::Quota => "quota",
            Self::Rate => "rate",
            Self::Model => "model",
        })
    }
}

/// How an agent's own event stream ended. Its word on itself: it can make an attempt fail, never make it pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Terminal {
    /// It says that it is done.
    Completed,
    /// It says that it failed.
    Failed {
        /// Why, in its words; untrusted text.
        reason: String,
    },
    /// It ended after some of its tool calls were denied.
    Refused {
        /// How many.
        denials: u32,
    },
    /// It stopped at a limit of its own, or at ours.
    Limited {
        /// Which, in its words; untrusted text.
        which: String,
    },
    /// The model API did not serve it.
    Unavailable {
        /// Why.
        why: Unavailability,
        /// Earliest moment at which trying again makes sense, milliseconds since 1970, where known.
        resume_after_ms: Option<i64>,
    },
    /// It ended by a signal, or said something that no version of it should say.
    Crashed,
    /// Its stream ended without the event that ends it.
    NoTerminalEvent,
}

impl fmt::Display for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::Failed { reason } => write!(f, "failed: {reason}"),
            Self::Refused { denials } => write!(f, "refused: {}", calls_denied(u64::from(*denials))),
            Self::Limited { which } => write!(f, "limited: {which}"),
            Self::Unavailable { why, .. } => write!(f, "unavailable: {why}"),
            Self::Crashed => f.write_str("crashed"),
            Self::NoTerminalEvent => f.write_str("no terminal event"),
        }
    }
}

/// What to say of denied tool calls: how many, and of which tools where that is known. None where there were none.
pub fn denied(events: Option<&EventCounts>, tools: &[String]) -> Option<String> {
    let denials = events.map_or(0, |events| events.denials);
    let of = if tools.is_empty() { String::new() } else { format!(": {}", tools.join(", ")) };
    (denials > 0).then(|| format!("{}{of}", calls_denied(denials)))
}

fn calls_denied(denials: u64) -> String {
    if denials == 1 { "1 tool call was denied".to_owned() } else { format!("{denials} tool calls were denied") }
}

/// What an event stream held, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EventCounts {
    /// Messages of the model.
    pub messages: u64,
    /// Thoughts of the model.
    pub thinking: u64,
    /// Tool calls, commands and file changes among them.
    pub tool_uses: u64,
    /// Commands that were run.
    pub commands: u64,
    /// Changes of files.
    pub file_changes: u64,
    /// Errors.
    pub errors: u64,
    /// Denied tool calls.
    pub denials: u64,
}

/// What the warden and the adapter say about one run of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentReport {
    /// How it ended.
    pub ended: Ended,
    /// Wall-clock time, milliseconds.
    pub duration_ms: u64,
    /// What it says that it used; what the gateway counted is on record call by call.
    pub usage: Usage,
    /// True where its model calls were to go through the gateway, and a gateway that counted none means that there
    /// were none, unless it says otherwise itself.
    #[serde(default)]
    pub metered: bool,
    /// How its event stream ended; none where its protocol has no such stream.
    #[serde(default)]
    pub terminal: Option<Terminal>,
    /// What its event stream held; none where its protocol has no such stream.
    #[serde(default)]
    pub events: Option<EventCounts>,
    /// Names of tools of which calls were denied, the first few, each once; untrusted text.
    #[serde(default)]
    pub denied_tools: Vec<String>,
    /// Processes that outlived it and were ended.
    pub leaked_processes: u32,
    /// Bytes it wrote to standard output.
    pub stdout_bytes: u64,
    /// Most memory that its processes held together, bytes; sampled.
    #[serde(default)]
    pub peak_memory_bytes: u64,
    /// Most processes at once; sampled.
    #[serde(default)]
    pub peak_processes: u64,
    /// The end of its standard error; untrusted text.
    pub stderr_tail: String,
}

impl AgentReport {
    /// What to say of its denied tool calls; none where there were none.
    pub fn denied(&self) -> Option<String> {
        denied(self.events.as_ref(), &self.denied_tools)
    }

    /// How it ended, in the words of an event stream: the stream's own, or what its process's end says where there is
    /// no stream. None where nobody saw its end.
    pub fn state(&self) -> Option<Terminal> {
        let failed = |reason: String| Terminal::Failed { reason };
        self.terminal.clone().or_else(|| match &self.ended {
            Ended::Lost => None,
            Ended::Exited { code: 0 } | Ended::Lingered => Some(Terminal::Completed),
            Ended::Exited { code } => Some(failed(format!("exit status {code}"))),
            Ended::Signaled { .. } => Some(Terminal::Crashed),
            other => Some(failed(other.to_string())),
        })
    }

    /// True where the process was gone when the session was resumed.
    pub fn is_lost(&self) -> bool {
        self.ended == Ended::Lost
    }

    /// A report that says only how it ended.
    pub fn bare(ended: Ended) -> Self {
        Self {
            ended,
            duration_ms: 0,
            usage: Usage::default(),
            metered: false,
            terminal: None,
            events: None,
            denied_tools: Vec::new(),
            leaked_processes: 0,
            stdout_bytes: 0,
            peak_memory_bytes: 0,
            peak_processes: 0,
            stderr_tail: String::new(),
        }
    }
}
