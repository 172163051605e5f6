//! The warden: a single-threaded process of its own that starts one child, watches it and everything it starts,
//! and leaves nothing of it alive. It takes orders on standard input and reports on standard output; when its
//! parent dies, the order pipe ends, and that means: end the tree.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, set_child_subreaper};

use super::capped::CappedFile;
use super::spec::{LINE, Order, REPORT, Report};
use super::tree;
use crate::core::Ended;

/// A run that is cancelled has a few seconds to end in order; its agents get this much of them at most.
const MAX_STOP_GRACE_MS: u64 = 1500;
/// Longest output line that is passed up; longer ones stay in the file only.
const MAX_LINE_BYTES: usize = 256 << 10;

/// Runs the hidden subcommand. Standard input brings the order, standard output takes lines and the report.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is the orchestrator's log file for this attempt.
            let _ = writeln!(io::stderr(), "maestro-ci warden: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    set_child_subreaper(Some(getpid()))?;
    let order = read_order()?;
    let started = Instant::now();
    let program = order.argv.first().map_or("", String::as_str);
    let report = match Watch::start(&order) {
        Ok(mut watch) => {
            watch.watch(&order, started).unwrap_or_else(|e| given_up(format!("`{program}` cannot be watched: {e}")))
        }
        Err(error) => given_up(format!("cannot start `{program}` in {}: {error}", order.dir.display())),
    };
    let mut line = vec![REPORT];
    line.extend(serde_json::to_vec(&report)?);
    send_up(&line)
}

/// Whatever went wrong (a full disk under the log, an orchestrator that is gone): nothing stays alive.
fn given_up(message: String) -> Report {
    let leaked_processes = tree::sweep();
    Report { ended: Ended::NotStarted { message }, duration_ms: 0, leaked_processes, stdout_bytes: 0 }
}

/// Reads exactly the order (four bytes of length, then JSON), past the buffer of `io::stdin`: what follows must
/// stay in the pipe, where `poll` can see it.
fn read_order() -> io::Result<Order> {
    let mut orders = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut length = [0; 4];
    orders.read_exact(&mut length)?;
    let mut order = vec![0; u32::from_le_bytes(length) as usize];
    orders.read_exact(&mut order)?;
    Ok(serde_json::from_slice(&order)?)
}

fn send_up(line: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(line)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Why the child is being ended.
enum Ending {
    Not,
    Gentle { why: Ended, kill_at: Instant },
}

struct Watch {
    child: Child,
    pidfd: OwnedFd,
    out: Stream,
    err: Option<Stream>,
    signals: PipeReader,
    ending: Ending,
    orders_open: bool,
}

/// One output pipe of the child and the file that keeps it.
struct Stream {
    pipe: PipeReader,
    file: CappedFile,
    open: bool,
    line: Vec<u8>,
    forward: bool,
}

impl Watch {
    fn start(order: &Order) -> io::Result<Self> {
        let (out_read, out_write) = io::pipe()?;
        let one_file = order.stdout == order.stderr;
        let (err_pipe, err_write) = if one_file {
            (None, out_write.try_clone()?)
        } else {
            let (read, write) = io::pipe()?;
            (Some(read), write)
        };
        let stdin = match &order.stdin {
            Some(path) => Stdio::from(File::open(path)?),
            None => Stdio::null(),
        };
        let (program, args) = order.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        #[expect(clippy::disallowed_methods, reason = "the warden is the one place that starts agents and gates")]
        let mut command = Command::new(program);
        command.args(args).env_clear().envs(order.env.iter().map(|(k, v)| (k, v))).current_dir(&order.dir);
        let signals = watch_signals()?;
        let child = command.process_group(0).stdin(stdin).stdout(out_write).stderr(err_write).spawn()?;
        let pid = Pid::from_child(&child);
        let err = err_pipe.map(|pipe| Stream::new(pipe, &order.stderr, false)).transpose()?;
        Ok(Self {
            pidfd: pidfd_open(pid, PidfdFlags::empty())?,
            child,
            out: Stream::new(out_read, &order.stdout, order.forward_json)?,
            err,
            signals,
            ending: Ending::Not,
            orders_open: true,
        })
    }

    /// Watches until the child and everything it started is gone.
    fn watch(&mut self, order: &Order, started: Instant) -> io::Result<Report> {
        let deadline = started + Duration::from_millis(order.limit_ms);
        let mut last_output = started;
        loop {
            let idle_at = order.idle_ms.map(|ms| last_output + Duration::from_millis(ms));
            let ready = self.wait_for_something(self.next_moment(deadline, idle_at))?;
            if ready.output && self.pump()? {
                last_output = Instant::now();
            }
            if ready.ended {
                break;
            }
            let now = Instant::now();
            if ready.stop {
                self.end_gently(Ended::Stopped, order.grace_ms.min(MAX_STOP_GRACE_MS), now);
            } else if now >= deadline {
                self.end_gently(Ended::Timeout { limit_ms: order.limit_ms }, order.grace_ms, now);
            } else if let (Some(limit_ms), true) = (order.idle_ms, idle_at.is_some_and(|at| now >= at)) {
                self.end_gently(Ended::Idle { limit_ms }, order.grace_ms, now);
            }
            self.kill_when_due(now);
        }
        self.finish(started)
    }

    /// The child is gone; so is, after the sweep, everything it left behind.
    fn finish(&mut self, started: Instant) -> io::Result<Report> {
        self.grant_grace()?;
        let status = self.child.wait()?;
        let leaked_processes = tree::sweep();
        self.pump()?;
        self.out.finish()?;
        if let Some(err) = &mut self.err {
            err.finish()?;
        }
        let ended = match std::mem::replace(&mut self.ending, Ending::Not) {
            Ending::Gentle { why, .. } => why,
            Ending::Not => match (status.code(), status.signal()) {
                (Some(code), _) => Ended::Exited { code },
                (None, signal) => Ended::Signaled { signal: signal.unwrap_or(0) },
            },
        };
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Report { ended, duration_ms, leaked_processes, stdout_bytes: self.out.file.total() })
    }

    /// A child that was asked to end is often only a shell around the real one, which has its grace, too.
    fn grant_grace(&mut self) -> io::Result<()> {
        while let Ending::Gentle { kill_at, .. } = &self.ending
            && Instant::now() < *kill_at
            && !tree::descendants().is_empty()
        {
            std::thread::sleep(Duration::from_millis(10));
            self.pump()?;
        }
        Ok(())
    }

    fn next_moment(&self, deadline: Instant, idle_at: Option<Instant>) -> Instant {
        match &self.ending {
            Ending::Gentle { kill_at, .. } => *kill_at,
            Ending::Not => idle_at.map_or(deadline, |at| at.min(deadline)),
        }
    }

    fn wait_for_something(&self, until: Instant) -> io::Result<Ready> {
        let stdin = io::stdin();
        let stdin = stdin.as_fd();
        let mut fds = vec![PollFd::new(&self.pidfd, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        // A stream at its end, or orders after a stop, would be ready for ever and spin the loop.
        let outputs: Vec<&Stream> = std::iter::once(&self.out).chain(&self.err).filter(|s| s.open).collect();
        fds.extend(outputs.iter().map(|s| PollFd::new(&s.pipe, PollFlags::IN)));
        if self.orders_open {
            fds.push(PollFd::new(&stdin, PollFlags::IN));
        }
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left.min(Duration::from_hours(1))).ok();
        match poll(&mut fds, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(Ready::default()),
            other => other?,
        };
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let streams = outputs.len();
        Ok(Ready {
            ended: is_ready(&fds[0]),
            output: fds[2..2 + streams].iter().any(is_ready),
            stop: is_ready(&fds[1]) || fds[2 + streams..].iter().any(is_ready),
        })
    }

    /// Reads what is there. True where there was something.
    fn pump(&mut self) -> io::Result<bool> {
        let out = self.out.pump()?;
        let err = self.err.as_mut().map_or(Ok(false), Stream::pump)?;
        Ok(out || err)
    }

    fn end_gently(&mut self, why: Ended, grace_ms: u64, now: Instant) {
        if matches!(why, Ended::Stopped) {
            self.orders_open = false;
            let _ = self.signals.read(&mut [0; 64]);
        }
        let kill_at = now + Duration::from_millis(grace_ms);
        match &mut self.ending {
            Ending::Not => {
                tree::signal_all(Signal::TERM);
                self.ending = Ending::Gentle { why, kill_at };
            }
            // A stop is in more of a hurry than the time limit that came before it.
            Ending::Gentle { kill_at: later, .. } => *later = kill_at.min(*later),
        }
    }

    fn kill_when_due(&mut self, now: Instant) {
        if let Ending::Gentle { kill_at, .. } = &mut self.ending
            && now >= *kill_at
        {
            tree::signal_all(Signal::KILL);
            *kill_at = now + Duration::from_millis(10);
        }
    }
}

/// SIGTERM, SIGINT and SIGHUP to the warden itself mean stop, too. They arrive as bytes in a pipe.
fn watch_signals() -> io::Result<PipeReader> {
    let (read, write) = io::pipe()?;
    // It is emptied whenever a stop arrives, also one that came as an order.
    rustix::io::ioctl_fionbio(&read, true)?;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        signal_hook::low_level::pipe::register(signal.as_raw(), write.try_clone()?)?;
    }
    Ok(read)
}

#[derive(Default)]
struct Ready {
    ended: bool,
    output: bool,
    stop: bool,
}

impl Stream {
    fn new(pipe: PipeReader, path: &std::path::Path, forward: bool) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(Self { pipe, file: CappedFile::create(path)?, open: true, line: Vec::new(), forward })
    }

    fn pump(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16 << 10];
        let mut any = false;
        // A child that writes without end must not keep the watch from looking at the clock.
        for _ in 0..256 {
            match self.pipe.read(&mut buffer) {
                Ok(0) => {
                    self.open = false;
                    break;
                }
                Ok(n) => {
                    any = true;
                    self.file.write(&buffer[..n])?;
                    self.forward_lines(&buffer[..n])?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(any)
    }

    /// Passes up whole lines that begin with `{`; forgets lines that are too long.
    fn forward_lines(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if !self.forward {
            return Ok(());
        }
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.extend_line(&bytes[..end]);
            self.pass_up()?;
            bytes = &bytes[end + 1..];
        }
        self.extend_line(bytes);
        Ok(())
    }

    fn extend_line(&mut self, bytes: &[u8]) {
        let room = (MAX_LINE_BYTES + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }

    fn pass_up(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        if line.first() != Some(&b'{') || line.len() > MAX_LINE_BYTES {
            return Ok(());
        }
        let mut message = vec![LINE];
        message.extend(line);
        send_up(&message)
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.forward {
            self.pass_up()?;
        }
        self.file.finish()
    }
}
