//! How long helper processes of ours (git, cp, rm) may take, and that none of them outlives us. An agent decides how much
//! there is to copy and to add, so none is waited for without end, and those whose work a resume repeats give way when
//! the run is told to stop.
//!
//! Those are also the ones that can take long, so they are started through `maestro-ci __helper`, which asks the kernel
//! to end them with their parent: killed, we can do nothing more about it. The others are done in no time.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Output};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Name of the hidden subcommand.
pub const HELPER: &str = "__helper";

/// No single helper takes this long on a repository that is fit to be worked on.
const LIMIT: Duration = Duration::from_mins(15);
/// How often a waiting thread looks whether it is to hurry.
const SLICE: Duration = Duration::from_millis(100);
/// An ended helper's time to be gone.
const END: Duration = Duration::from_secs(1);
/// As a shell answers where a program cannot be started.
const NOT_FOUND: u8 = 127;

static HURRY: Mutex<Option<Instant>> = Mutex::new(None);
/// Helpers that run.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// From now on, what gives way has this long, or as long as an earlier call left it where that is less.
pub fn hurry(patience: Duration) {
    let mut deadline = HURRY.lock().unwrap_or_else(PoisonError::into_inner);
    let new = Instant::now() + patience;
    *deadline = Some(deadline.map_or(new, |earlier| earlier.min(new)));
}

/// Tells which helpers run; none starts meanwhile.
pub fn with_helpers<T>(tell: impl FnOnce(&BTreeSet<i32>) -> T) -> T {
    tell(&RUNNING.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A helper, in a process group of its own: a Ctrl-C in the terminal is for the orchestrator, which then ends things in
/// order.
///
/// # Errors
/// This binary's own path is not known.
pub fn command(program: &str, args: &[&str], ends_with_us: bool) -> io::Result<duct::Expression> {
    let own = |arg: &str| OsString::from(arg);
    let mut line = Vec::new();
    if ends_with_us {
        let pid = std::process::id().to_string();
        line.extend([std::env::current_exe()?.into_os_string(), own(HELPER), own(&pid)]);
    }
    line.push(own(program));
    line.extend(args.iter().copied().map(own));
    let mut line = line.into_iter();
    let first = line.next().unwrap_or_default();
    #[expect(clippy::disallowed_methods, reason = "the one place that starts helpers")]
    let expression = duct::cmd(first, line);
    Ok(expression.before_spawn(|command| {
        command.process_group(0);
        Ok(())
    }))
}

/// Runs a helper to its end, or ends it where it takes too long.
///
/// # Errors
/// It cannot be started, or was ended: `TimedOut`.
pub fn run(expression: &duct::Expression, gives_way: bool) -> io::Result<Output> {
    let helper = Helper::start(expression)?;
    let limit = Instant::now() + LIMIT;
    loop {
        let hurry = gives_way.then(|| *HURRY.lock().unwrap_or_else(PoisonError::into_inner)).flatten();
        let deadline = hurry.map_or(limit, |hurry| hurry.min(limit));
        let now = Instant::now();
        if let Some(output) = helper.handle.wait_deadline(deadline.min(now + SLICE))? {
            return Ok(output.clone());
        }
        if now >= deadline {
            helper.handle.kill()?;
            // While it may live, it is known as ours.
            helper.handle.wait_deadline(now + END)?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long and was ended"));
        }
    }
}

/// A helper at work, known as ours until it was waited for.
struct Helper {
    handle: duct::Handle,
    pids: Vec<i32>,
}

impl Helper {
    fn start(expression: &duct::Expression) -> io::Result<Self> {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = expression.start()?;
        let pids: Vec<i32> = handle.pids().into_iter().filter_map(|pid| i32::try_from(pid).ok()).collect();
        running.extend(&pids);
        Ok(Self { handle, pids })
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        for pid in &self.pids {
            running.remove(pid);
        }
    }
}

/// Runs the hidden subcommand: `__helper PARENT program args…`. It comes back only where the program was not started.
pub fn helper_main() -> ExitCode {
    let mut args = std::env::args_os().skip(2);
    let parent = args.next().and_then(|pid| pid.to_str()?.parse::<i32>().ok());
    let Err(error) = become_helper(parent, args);
    // Standard error is read by whoever started it.
    let _ = writeln!(io::stderr(), "maestro-ci: {error}");
    ExitCode::from(NOT_FOUND)
}

/// The signal comes when the thread ends that started us, and that one waits for us.
fn become_helper(
    parent: Option<i32>,
    mut args: impl Iterator<Item = OsString>,
) -> Result<std::convert::Infallible, io::Error> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != parent {
        return Err(io::Error::other("whoever wanted this helper is gone"));
    }
    let program = args.next().unwrap_or_default();
    #[expect(clippy::disallowed_methods, reason = "it becomes the helper")]
    let error = Command::new(&program).args(args).exec();
    Err(io::Error::new(error.kind(), format!("cannot start `{}`: {error}", program.display())))
}
