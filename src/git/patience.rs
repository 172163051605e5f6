//! How long helper processes of ours (git, cp, rm) may take. An agent decides how much there is to copy and to add, so
//! none is waited for without end, and those whose work a resume repeats give way when the run is told to stop.

use std::io;
use std::process::Output;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// No single helper takes this long on a repository that is fit to be worked on.
const LIMIT: Duration = Duration::from_mins(15);
/// How often a waiting thread looks whether it is to hurry.
const SLICE: Duration = Duration::from_millis(100);

static HURRY: Mutex<Option<Instant>> = Mutex::new(None);

/// From now on, what gives way has this long.
pub fn hurry(patience: Duration) {
    let mut deadline = HURRY.lock().unwrap_or_else(PoisonError::into_inner);
    deadline.get_or_insert(Instant::now() + patience);
}

/// Runs a helper to its end, or ends it where it takes too long.
///
/// # Errors
/// It cannot be started, or was ended: `TimedOut`.
pub fn run(expression: &duct::Expression, gives_way: bool) -> io::Result<Output> {
    let handle = expression.start()?;
    let limit = Instant::now() + LIMIT;
    loop {
        let hurry = gives_way.then(|| *HURRY.lock().unwrap_or_else(PoisonError::into_inner)).flatten();
        let deadline = hurry.map_or(limit, |hurry| hurry.min(limit));
        let now = Instant::now();
        if let Some(output) = handle.wait_deadline(deadline.min(now + SLICE))? {
            return Ok(output.clone());
        }
        if now >= deadline {
            handle.kill()?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long and was ended"));
        }
    }
}
