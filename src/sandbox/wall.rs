//! The wall: a hidden subcommand that shuts itself in and then becomes the child. It runs between a warden and every
//! agent and gate of level 1, so that the warden itself stays outside and keeps its reach.
//!
//! In: `maestro-ci __wall WALLS -- program args…`, with WALLS as JSON. Out: the program, in this very process; or one
//! line on standard error and exit code 127 (there is no such program) or 126 (it cannot be started, or not safely).
//!
//! What stays open, measured: `chmod` and `utimes` on files of the same user, and connecting to a Unix socket that has
//! a path (closed from Landlock ABI 9 on); slowing other processes of the same user down (`renice`, `taskset`). With an
//! ABI below 6 (Linux 6.12), signals of the same user go through too.
//! The network is not its business.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use landlock::{
    ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit, setsid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

use super::spec::Walls;
use super::syscalls::{self, Unfiltered};

/// Name of the hidden subcommand.
pub const WALL: &str = "__wall";

/// What is asked of the kernel; it gives what it has of it.
const NEWEST: ABI = ABI::V9;
/// The names in these directories are no secret and are looked for with patterns (`/etc/*-release`); what is in the
/// files is another matter, and of `Walls::read`.
const LISTED: [&str; 1] = ["/etc"];
/// As a shell answers where a program is there and cannot be run, and where it is not there.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Why a child is not started.
#[derive(Debug, thiserror::Error)]
enum Unwalled {
    #[error(transparent)]
    Landlock(#[from] RulesetError),
    #[error("this kernel does not enforce Landlock")]
    NotEnforced,
    #[error("no filter of system calls: {0}")]
    Syscalls(#[from] Unfiltered),
    #[error("{what}: {source}")]
    Denied { what: &'static str, source: Errno },
}

/// What is to be started, and behind which walls.
struct Job {
    walls: Walls,
    program: OsString,
    args: Vec<OsString>,
}

/// Runs the hidden subcommand. It comes back only where the program could not be started.
pub fn wall_main() -> ExitCode {
    let (message, code) = match job(std::env::args_os().skip(2)) {
        Ok(job) => become_child(&job),
        Err(message) => (message, CANNOT_RUN),
    };
    // Standard error is the child's log; without it there is nobody to tell.
    let _ = writeln!(io::stderr(), "maestro-ci: {message}");
    ExitCode::from(code)
}

fn job(mut args: impl Iterator<Item = OsString>) -> Result<Job, String> {
    let walls = args.next().unwrap_or_default();
    let walls: Walls =
        serde_json::from_slice(walls.as_encoded_bytes()).map_err(|e| format!("walls cannot be read: {e}"))?;
    match (args.next(), args.next()) {
        (Some(dashes), Some(program)) if dashes == "--" => Ok(Job { walls, program, args: args.collect() }),
        _ => Err(format!("`{WALL}` needs walls, `--` and a program")),
    }
}

/// Says why it is still itself.
fn become_child(job: &Job) -> (String, u8) {
    let program = job.program.display();
    if let Err(error) = shut_in(&job.walls) {
        return (format!("`{program}` is not started, its walls cannot be built: {error}"), CANNOT_RUN);
    }
    #[expect(clippy::disallowed_methods, reason = "it becomes the child, in the warden's sight")]
    let error = Command::new(&job.program).args(&job.args).exec();
    let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN };
    (format!("cannot start `{program}`: {error}"), code)
}

/// From here on this process, and everything it starts, has its walls. Needs to be the only thread.
fn shut_in(walls: &Walls) -> Result<(), Unwalled> {
    // Without the terminal nobody can type into it. The leader of a group has to stay where it is.
    let _ = setsid();
    set_no_new_privs(true).map_err(denied("no new privileges"))?;
    let nothing = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, nothing).map_err(denied("no core dumps"))?;
    drop_capabilities()?;
    landlock(walls)?;
    Ok(syscalls::forbid_limits_of_others()?)
}

/// None is left, and none comes back: root would get its bounding set at an `exec`, but not without new privileges
/// (measured, also where the bounding set stays full). Emptying that is a second lock, where it is allowed.
fn drop_capabilities() -> Result<(), Unwalled> {
    clear_ambient_capability_set().map_err(denied("ambient capabilities"))?;
    for capability in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
        let _ = remove_capability_from_bounding_set(capability);
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(denied("capabilities"))
}

/// Reading is reading, listing and executing; writing is everything, moving between directories too.
fn landlock(walls: &Walls) -> Result<(), Unwalled> {
    let everything = AccessFs::from_all(NEWEST);
    let status = Ruleset::default()
        .handle_access(everything)?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(&walls.read, AccessFs::from_read(NEWEST)))?
        .add_rules(path_beneath_rules(&walls.write, everything))?
        .add_rules(path_beneath_rules(LISTED, AccessFs::ReadDir))?
        .restrict_self()?;
    if status.ruleset == RulesetStatus::NotEnforced { Err(Unwalled::NotEnforced) } else { Ok(()) }
}

fn denied(what: &'static str) -> impl Fn(Errno) -> Unwalled {
    move |source| Unwalled::Denied { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(args: &[&str], expected: Result<(&str, usize), &str>) {
        let job = job(args.iter().map(OsString::from));
        match (job, expected) {
            (Ok(job), Ok((program, args))) => {
                assert_eq!((job.program.to_str(), job.args.len()), (Some(program), args));
            }
            (Err(message), Err(words)) => assert!(message.contains(words), "{message}"),
            (job, _) => panic!("{:?}", job.map(|j| j.program)),
        }
    }

    #[test]
    fn walls_come_first_then_the_program_with_its_arguments() {
        check(&[r#"{"read":["/usr"],"write":[]}"#, "--", "sh", "-c", "--"], Ok(("sh", 2)));
    }

    #[test]
    fn nothing_is_started_without_walls_or_without_a_program() {
        check(&[], Err("walls cannot be read"));
        check(&["{}", "--", "sh"], Err("walls cannot be read"));
        check(&[r#"{"read":[],"write":[]}"#, "sh"], Err("needs walls"));
        check(&[r#"{"read":[],"write":[]}"#, "--"], Err("needs walls"));
    }
}
