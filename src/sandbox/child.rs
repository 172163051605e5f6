//! Starts the child of a warden: its streams, its place, its environment, behind its walls where the order has some.

use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, PidfdFlags, pidfd_open, setpriority_pgrp, setpriority_process};

use super::files;
use super::spec::Order;
use super::stream::Stream;
use super::wall::WALL;
use crate::text::Redactor;

/// How likely the kernel is to end a process when memory runs out, proc(5): between the usual 0 and the most, 1000.
/// The tree's sum is only sampled, and what outruns it must cost the machine an agent, not the run or its runner.
const OOM_SCORE: &str = "500";
/// The least claim on a processor, for trees whose processes are counted. Measured with the 6000 processes of a fork
/// bomb on two processors: a watch with the same claim waits 10 to 24 s for its turn; with this one it ended 2000 of
/// them 0.3 s after the first. Half-way claims (5, 10) do not help. Where the kernel groups processes by session for
/// that, the session of its own that a child behind walls has does the same.
const NICE: i32 = 19;

/// A child that runs, and what is read from it.
pub(super) struct Started {
    pub(super) child: Child,
    /// Readable once the child has ended.
    pub(super) pidfd: OwnedFd,
    pub(super) out: Stream,
    /// None where both streams are one.
    pub(super) err: Option<Stream>,
}

/// Starts what the order says.
///
/// # Errors
/// A file is not a regular file, the directory is not there, the program cannot be started. Behind walls the last
/// one is an exit status instead, as a shell has it: 127 where there is no such program, 126 where it cannot run.
pub(super) fn start(order: &Order) -> io::Result<Started> {
    let redactor = Redactor::new(order.secrets.iter().cloned()).map_err(io::Error::other)?;
    let (out, out_write) = out_stream(order, &redactor)?;
    let (err, err_write) = err_stream(order, &out_write, &redactor)?;
    let stdin = match &order.stdin {
        Some(path) => Stdio::from(files::open_read(path)?),
        None => Stdio::null(),
    };
    let mut command = command_of(order)?;
    command.env_clear().envs(order.env.iter().map(|(k, v)| (k, v))).current_dir(&order.dir);
    if order.walls.is_none() {
        // Behind walls the child makes a session of its own, which the leader of a group cannot.
        command.process_group(0);
    }
    let child = command.stdin(stdin).stdout(out_write).stderr(err_write).spawn()?;
    let pid = Pid::from_child(&child);
    if order.limits.max_processes.is_some() {
        // At once, and for its group too, as it may have started others by now.
        let _ = setpriority_process(Some(pid), NICE);
        let _ = setpriority_pgrp(Some(pid), NICE);
    }
    // Comfort for the machine, as are the priorities; no condition.
    let _ = std::fs::write(format!("/proc/{}/oom_score_adj", child.id()), OOM_SCORE);
    Ok(Started { pidfd: pidfd_open(pid, PidfdFlags::empty())?, child, out, err })
}

fn out_stream(order: &Order, redactor: &Redactor) -> io::Result<(Stream, PipeWriter)> {
    let (read, write) = io::pipe()?;
    Ok((Stream::new(read, &order.stdout, order.forward_json, redactor)?, write))
}

fn err_stream(order: &Order, out_write: &PipeWriter, redactor: &Redactor) -> io::Result<(Option<Stream>, PipeWriter)> {
    if order.stdout == order.stderr {
        return Ok((None, out_write.try_clone()?));
    }
    let (read, write) = io::pipe()?;
    Ok((Some(Stream::new(read, &order.stderr, false, redactor)?), write))
}

/// Behind walls, the child is this binary first: it puts the walls up around itself, and then becomes the program.
fn command_of(order: &Order) -> io::Result<Command> {
    let (program, args) = order.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let Some(walls) = &order.walls else {
        let mut command = new_command(program.as_ref());
        command.args(args);
        return Ok(command);
    };
    let mut command = new_command(std::env::current_exe()?.as_os_str());
    let walls = serde_json::to_string(walls)?;
    command.args([WALL, walls.as_str(), "--", program.as_str()]).args(args);
    Ok(command)
}

#[expect(clippy::disallowed_methods, reason = "the warden is the one place that starts agents and gates")]
fn new_command(program: &std::ffi::OsStr) -> Command {
    Command::new(program)
}
