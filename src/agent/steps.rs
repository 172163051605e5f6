//! The `steps` protocol: the script that an explicit task carries. It runs only where the configuration names it.

use std::io;

use super::Attempt;
use crate::journal::write_atomic;

/// Writes the script beside the prompt and runs it with `sh -e`. A task without steps runs nothing and so changes
/// nothing, which its verdict then says.
pub(super) fn argv(attempt: &Attempt<'_>) -> io::Result<Vec<String>> {
    let script = attempt.dir.join("steps.sh");
    write_atomic(&script, attempt.task.steps.as_deref().unwrap_or_default().as_bytes())?;
    Ok(vec!["sh".to_owned(), "-e".to_owned(), script.display().to_string()])
}
