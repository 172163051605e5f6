//! The `steps` protocol: the script that an explicit task carries. It runs only where the configuration names it.

use std::io;

use super::{Agent, Attempt, Invocation};
use crate::journal::write_atomic;

pub(super) fn program() -> Vec<String> {
    vec!["sh".to_owned(), "-e".to_owned()]
}

/// Writes the script beside the prompt and runs it with `sh -e`. A task without steps runs nothing and so changes
/// nothing, which its verdict then says.
pub(super) fn invocation(agent: &Agent, attempt: &Attempt<'_>) -> io::Result<Invocation> {
    let script = attempt.dir.join("steps.sh");
    write_atomic(&script, attempt.task.steps.as_deref().unwrap_or_default().as_bytes())?;
    let mut argv = agent.program.clone();
    argv.push(script.display().to_string());
    Ok(Invocation::new(attempt, argv, &[]))
}
