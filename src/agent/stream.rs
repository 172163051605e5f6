//! The incremental reader of one attempt's event stream: what was used, what was done, how it ended.
//!
//! In: lines as they come, then how the process ended. Out: events and totals. It is tolerant: a line that it does
//! not know says nothing. It is quick: of most lines it reads no more than their type.

use std::path::Path;

use super::event::{AgentEvent, count};
use super::usage::{model_of, of_line};
use super::{acp, claude, codex, gemini, opencode, qwen};
use crate::config::Protocol;
use crate::core::{Ended, EventCounts, Terminal, Usage};
use crate::sandbox::read_tail;

/// More than is kept of any stream, bytes.
const MAX_STREAM_BYTES: u64 = 64 << 20;
/// Names of denied tools that are kept.
const MAX_DENIED_TOOLS: usize = 8;

/// The reader of one attempt.
pub struct Stream {
    reader: Reader,
    events: Vec<AgentEvent>,
    usage: Usage,
    counts: EventCounts,
    denied: Vec<String>,
    model: Option<String>,
    end: Option<Terminal>,
}

enum Reader {
    Claude(claude::Stream),
    Codex,
    Gemini(gemini::Stream),
    Opencode(opencode::Stream),
    Qwen(qwen::Stream),
    Acp(acp::Stream),
    /// No stream of events: lines may hold a `usage`.
    Plain,
}

impl Reader {
    fn line(&mut self, line: &str, out: &mut Vec<AgentEvent>) {
        match self {
            Self::Claude(stream) => stream.line(line, out),
            Self::Codex => codex::line(line, out),
            Self::Gemini(stream) => stream.line(line, out),
            Self::Opencode(stream) => stream.line(line, out),
            Self::Qwen(stream) => stream.line(line, out),
            Self::Acp(stream) => stream.line(line, out),
            Self::Plain => out.extend(of_line(line).map(AgentEvent::Usage)),
        }
    }
}

impl Reader {
    /// True for streams that say which model works.
    fn names_model(&self) -> bool {
        matches!(self, Self::Claude(_) | Self::Gemini(_) | Self::Qwen(_))
    }
}

impl Stream {
    /// A reader that has read nothing yet.
    pub fn new(protocol: Protocol) -> Self {
        let reader = match protocol {
            Protocol::Claude => Reader::Claude(claude::Stream::default()),
            Protocol::Codex => Reader::Codex,
            Protocol::Gemini => Reader::Gemini(gemini::Stream::default()),
            Protocol::Opencode => Reader::Opencode(opencode::Stream::default()),
            Protocol::Qwen => Reader::Qwen(qwen::Stream::default()),
            Protocol::Acp => Reader::Acp(acp::Stream::default()),
            Protocol::Command | Protocol::Steps => Reader::Plain,
        };
        let (events, denied) = (Vec::new(), Vec::new());
        Self { reader, events, usage: Usage::default(), counts: EventCounts::default(), denied, model: None, end: None }
    }

    /// `line`, from bytes that nobody has looked at yet; what is not UTF-8 in them is replaced.
    pub fn bytes(&mut self, line: &[u8]) -> &[AgentEvent] {
        // Measured: looking for what has to be replaced costs four times what it costs to see that nothing has.
        match std::str::from_utf8(line) {
            Ok(line) => self.line(line.trim_end()),
            Err(_) => self.line(String::from_utf8_lossy(line).trim_end()),
        }
    }

    /// Reads one line, without its end. Returns the events that it holds, in our words.
    pub fn line(&mut self, line: &str) -> &[AgentEvent] {
        self.events.clear();
        if self.model.is_none() && self.reader.names_model() {
            self.model = model_of(line);
        }
        self.reader.line(line, &mut self.events);
        for event in &self.events {
            count(&mut self.counts, event);
            match event {
                AgentEvent::Usage(usage) => self.usage = self.usage.updated(*usage),
                AgentEvent::Denial(tool) if self.denied.len() < MAX_DENIED_TOOLS && !self.denied.contains(tool) => {
                    self.denied.push(tool.clone());
                }
                AgentEvent::End(terminal) => self.end = Some(terminal.clone()),
                _ => {}
            }
        }
        &self.events
    }

    /// What the agent says it has used so far: a total, which never shrinks.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// The model that works, where the stream names it; untrusted text.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// What the stream held so far; none where the protocol has no such stream.
    pub fn counts(&self) -> Option<EventCounts> {
        (!matches!(self.reader, Reader::Plain)).then_some(self.counts)
    }

    /// Names of tools of which calls were denied, the first few, each once; untrusted text.
    pub fn denied_tools(&self) -> &[String] {
        &self.denied
    }

    /// True once the agent has said its last word.
    pub fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// How the stream ended, given how the process did and the end of its standard error. None where the protocol has
    /// no such stream.
    pub fn terminal(&self, ended: &Ended, stderr_tail: &str) -> Option<Terminal> {
        let said = match &self.reader {
            Reader::Plain => return None,
            Reader::Acp(stream) => return Some(stream.terminal(ended, stderr_tail)),
            Reader::Claude(_) | Reader::Codex => None,
            Reader::Gemini(_) => gemini::of_exit(ended),
            Reader::Opencode(stream) => stream.of_exit(ended),
            Reader::Qwen(_) => qwen::of_exit(ended, stderr_tail),
        };
        Some(self.settle(self.end.clone().or(said), ended))
    }

    /// A good word counts only with a good end and without denials; a bad word counts always.
    fn settle(&self, said: Option<Terminal>, ended: &Ended) -> Terminal {
        let denials = u32::try_from(self.counts.denials).unwrap_or(u32::MAX);
        match (said, ended) {
            (None | Some(Terminal::Completed), Ended::Signaled { .. }) => Terminal::Crashed,
            (None, _) => Terminal::NoTerminalEvent,
            (Some(Terminal::Completed), Ended::Exited { code }) if *code != 0 => {
                Terminal::Failed { reason: format!("it says that it is done, and its exit status is {code}") }
            }
            (Some(Terminal::Completed), _) if denials > 0 => Terminal::Refused { denials },
            (Some(said), _) => said,
        }
    }
}

/// A kept stream, for attempts whose process was lost. None where it reports no usage.
pub fn of_stream(protocol: Protocol, stream: &Path) -> Option<Stream> {
    let bytes = read_tail(stream, MAX_STREAM_BYTES).ok()?;
    let mut reader = Stream::new(protocol);
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{")) {
        reader.bytes(line);
    }
    Some(reader).filter(|reader| reader.usage().is_reported())
}
