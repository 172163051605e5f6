//! The words that every protocol's event stream is translated into.

use crate::core::{EventCounts, Terminal, Usage};

/// One event of an agent's stream, in our words.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentEvent {
    /// The model said something.
    Message,
    /// The model thought something.
    Thinking,
    /// A tool was called that is neither a command nor a change of a file.
    ToolUse,
    /// A command was run.
    Command,
    /// A file was changed.
    FileChange,
    /// Something went wrong; untrusted text.
    Error(String),
    /// A tool call was denied.
    Denial,
    /// The agent's total so far, in our terms: input with its cached part, output with reasoning.
    Usage(Usage),
    /// The stream's last word: the agent is done, one way or the other.
    End(Terminal),
}

/// Counts an event.
pub(super) fn count(counts: &mut EventCounts, event: &AgentEvent) {
    match event {
        AgentEvent::Message => counts.messages += 1,
        AgentEvent::Thinking => counts.thinking += 1,
        AgentEvent::ToolUse => counts.tool_uses += 1,
        AgentEvent::Command => {
            counts.tool_uses += 1;
            counts.commands += 1;
        }
        AgentEvent::FileChange => {
            counts.tool_uses += 1;
            counts.file_changes += 1;
        }
        AgentEvent::Error(_) => counts.errors += 1,
        AgentEvent::Denial => counts.denials += 1,
        AgentEvent::Usage(_) | AgentEvent::End(_) => {}
    }
}

/// The type of an event where it is the first key, as nearly every event has it: found without reading the rest.
pub(super) fn leading_type(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix('{')?.trim_start().strip_prefix("\"type\"")?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    let end = memchr::memchr(b'"', rest.as_bytes())?;
    Some(&rest[..end])
}

/// True where `word` stands somewhere in the line.
pub(super) fn mentions(line: &str, word: &str) -> bool {
    memchr::memmem::find(line.as_bytes(), word.as_bytes()).is_some()
}
