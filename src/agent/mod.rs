//! Agents: one file per protocol. Each turns a task into an order for the warden and reads what comes back.
//!
//! In: a task, its prompt, a workspace. Out: an order, usage as it is reported, a report in the end. An agent's
//! own word on its success is never asked for.

mod command;
mod steps;
mod usage;

use std::io;
use std::path::Path;

use serde::Serialize;

use crate::core::{AgentReport, SessionId, Task, Usage};
use crate::journal::{make_dir, write_atomic};
use crate::sandbox::{Order, Report};

pub use usage::{of_line, of_stream};

/// Bytes of standard error that a report carries.
const STDERR_TAIL_BYTES: usize = 2048;

/// An agent that this version can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agent {
    /// A shell command, or a program with arguments; the prompt on its standard input.
    Command {
        /// Shell command where `args` is empty, else a program.
        command: String,
        /// Arguments.
        args: Vec<String>,
    },
    /// The fenced `steps` of explicit tasks, run as a script.
    Steps,
}

/// One attempt, as an agent needs to know it.
pub struct Attempt<'a> {
    /// The session.
    pub session: &'a SessionId,
    /// The task.
    pub task: &'a Task,
    /// Which attempt.
    pub number: u32,
    /// The prompt.
    pub prompt: &'a str,
    /// The workspace.
    pub workspace: &'a Path,
    /// Where prompt, streams and patch are kept.
    pub dir: &'a Path,
    /// Wall-clock limit, milliseconds.
    pub limit_ms: u64,
    /// Silence limit, milliseconds.
    pub idle_ms: u64,
    /// Time between the gentle and the hard end, milliseconds.
    pub grace_ms: u64,
}

impl Attempt<'_> {
    /// Where its standard output is kept.
    pub fn stream(dir: &Path) -> std::path::PathBuf {
        dir.join("stream.jsonl")
    }
}

/// What `MAESTRO_TASK_FILE` holds.
#[derive(Serialize)]
struct TaskFile<'a> {
    session: &'a SessionId,
    attempt: u32,
    #[serde(flatten)]
    task: &'a Task,
}

/// The file that `MAESTRO_TASK_FILE` names; its path is the mark of one attempt and of no other.
pub fn task_file(attempt_dir: &Path) -> std::path::PathBuf {
    attempt_dir.join("task.json")
}

/// Writes the attempt's files and makes the order for the warden. `env` makes the child's environment of ours.
///
/// # Errors
/// The attempt's directory cannot be written.
pub fn order(
    agent: &Agent,
    attempt: &Attempt<'_>,
    env: impl FnOnce(&[(&str, String)]) -> Vec<(String, String)>,
) -> io::Result<Order> {
    make_dir(attempt.dir)?;
    let prompt = attempt.dir.join("prompt.md");
    write_atomic(&prompt, attempt.prompt.as_bytes())?;
    let task_file = task_file(attempt.dir);
    let task = TaskFile { session: attempt.session, attempt: attempt.number, task: attempt.task };
    write_atomic(&task_file, &serde_json::to_vec_pretty(&task)?)?;
    let argv = match agent {
        Agent::Command { command, args } => command::argv(command, args),
        Agent::Steps => steps::argv(attempt)?,
    };
    let own = [
        ("MAESTRO_SESSION", attempt.session.to_string()),
        ("MAESTRO_TASK", attempt.task.id.to_string()),
        ("MAESTRO_ATTEMPT", attempt.number.to_string()),
        ("MAESTRO_TASK_FILE", task_file.display().to_string()),
    ];
    Ok(Order {
        argv,
        env: env(&own),
        dir: attempt.workspace.to_owned(),
        stdin: Some(prompt),
        stdout: Attempt::stream(attempt.dir),
        stderr: attempt.dir.join("stderr.log"),
        limit_ms: attempt.limit_ms,
        idle_ms: Some(attempt.idle_ms),
        grace_ms: attempt.grace_ms,
        forward_json: true,
    })
}

/// Puts the warden's report and the reported usage together.
pub fn report(agent: &Agent, attempt_dir: &Path, report: Report, mut usage: Usage) -> AgentReport {
    if *agent != Agent::Steps && !usage.is_reported() {
        // An agent that says nothing about its calls made at least one; budgets of calls still bind it.
        usage.api_calls = usage.api_calls.max(1);
    }
    let stderr = std::fs::read(attempt_dir.join("stderr.log")).unwrap_or_default();
    let tail = &stderr[stderr.len().saturating_sub(STDERR_TAIL_BYTES)..];
    AgentReport {
        ended: report.ended,
        duration_ms: report.duration_ms,
        usage,
        leaked_processes: report.leaked_processes,
        stdout_bytes: report.stdout_bytes,
        stderr_tail: String::from_utf8_lossy(tail).into_owned(),
    }
}
