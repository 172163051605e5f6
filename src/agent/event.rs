//! The words that every protocol's event stream is translated into.

use crate::core::{EventCounts, Terminal, Usage};
use crate::text::one_line;

/// Longest name of a tool that is kept, characters.
const MAX_TOOL_CHARS: usize = 80;

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
    /// A call of this tool was denied; untrusted text, one short line.
    Denial(String),
    /// The agent's total so far, in our terms: input with its cached part, output with reasoning.
    Usage(Usage),
    /// The stream's last word: the agent is done, one way or the other.
    End(Terminal),
}

impl AgentEvent {
    /// A denied call of the tool with this name, where the stream says one.
    pub(super) fn denial(tool: &str) -> Self {
        Self::Denial(one_line(if tool.is_empty() { "a tool without a name" } else { tool }, MAX_TOOL_CHARS))
    }
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
        AgentEvent::Denial(_) => counts.denials += 1,
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

/// How far from the beginning of a line its small fields are looked for.
const HEAD_BYTES: usize = 512;

/// The text of the first field of this name after `from`, where it stands at the beginning of the line and holds nothing
/// that JSON would escape. What tools print comes later in a line, and most of a stream is that: it is not read.
pub(super) fn head_field<'a>(line: &'a str, from: &str, name: &str) -> Option<&'a str> {
    let head = line.get(..line.floor_char_boundary(HEAD_BYTES))?;
    let mut rest = &head[head.find(from)? + from.len()..];
    loop {
        rest = &rest[rest.find(name)? + name.len()..];
        let value = rest.strip_prefix('"').and_then(|rest| rest.trim_start().strip_prefix(':'));
        if let Some(text) = value.and_then(|rest| rest.trim_start().strip_prefix('"')) {
            let text = &text[..text.find('"')?];
            return (!text.contains('\\')).then_some(text);
        }
    }
}

/// True where `word` stands somewhere in the line.
pub(super) fn mentions(line: &str, word: &str) -> bool {
    memchr::memmem::find(line.as_bytes(), word.as_bytes()).is_some()
}
