//! The watch over one child and everything it starts: waits for whatever happens next, holds the tree to its limits,
//! ends it gently, hard or at once, and says in the end how it went.

use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::WaitStatus;

use super::child::Started;
use super::disk::Disk;
use super::limits::{self, Amounts, Times};
use super::meter::Meter;
use super::spec::{Order, Report, TERMINAL};
use super::stream::{Stream, Up};
use super::tree::{self, KILL_PATIENCE, Reaper};
use crate::core::Ended;

/// A run that is cancelled has a few seconds to end in order; its agents get this much of them at most.
const MAX_STOP_GRACE: Duration = Duration::from_millis(1500);
/// With the orchestrator gone, nobody hears what a tree still says, and a second is all it has.
const MAX_ORPHAN_GRACE: Duration = Duration::from_millis(500);
/// How often a tree that is being ended is looked at.
const ENDING_PAUSE: Duration = Duration::from_millis(10);

/// Why the tree is being ended, and when that stops being gentle.
struct Ending {
    why: Ended,
    kill_at: Instant,
}

/// A watch at work.
pub(super) struct Watch<'a> {
    order: &'a Order,
    started: Instant,
    reaper: Reaper,
    pidfd: OwnedFd,
    out: Stream,
    err: Option<Stream>,
    orders: File,
    orders_open: bool,
    signals: PipeReader,
    meter: Meter,
    disk: Option<Disk>,
    times: Times,
    amounts: Amounts,
    ending: Option<Ending>,
}

/// What woke the watch.
#[derive(Default)]
struct Ready {
    signal: bool,
    order: bool,
    output: bool,
}

impl<'a> Watch<'a> {
    /// A watch over a child that was just started.
    pub(super) fn over(order: &'a Order, child: Started, orders: File, signals: PipeReader, started: Instant) -> Self {
        Self {
            order,
            started,
            reaper: Reaper::new(Some(child.child)),
            pidfd: child.pidfd,
            out: child.out,
            err: child.err,
            orders,
            orders_open: true,
            signals,
            meter: Meter::new(),
            disk: Disk::of(order),
            times: Times::default(),
            amounts: Amounts::default(),
            ending: None,
        }
    }

    /// Watches until the child and everything it started is gone.
    pub(super) fn watch(mut self, up: &mut Up) -> io::Result<Report> {
        loop {
            let ready = self.wait_for_something()?;
            if ready.output {
                self.pump(up)?;
            }
            if ready.order {
                self.take_orders();
            }
            if ready.signal {
                let _ = self.signals.read(&mut [0; 64]);
                self.stop(MAX_STOP_GRACE);
            }
            self.measure();
            if self.is_over() {
                break;
            }
            self.judge();
            self.kill_when_due();
        }
        self.finish(up)
    }

    fn wait_for_something(&self) -> io::Result<Ready> {
        // What is at its end is ready for ever, and would spin the loop.
        let outputs: Vec<&Stream> = std::iter::once(&self.out).chain(&self.err).filter(|s| s.is_open()).collect();
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        fds.extend(outputs.iter().map(|s| PollFd::new(&s.pipe, PollFlags::IN)));
        let outputs_end = fds.len();
        if self.reaper.status().is_none() {
            fds.push(PollFd::new(&self.pidfd, PollFlags::IN));
        }
        let orders_at = fds.len();
        if self.orders_open {
            fds.push(PollFd::new(&self.orders, PollFlags::IN));
        }
        let timeout = Timespec::try_from(self.time_left()).ok();
        match poll(&mut fds, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(Ready::default()),
            other => other?,
        };
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        Ok(Ready {
            signal: is_ready(&fds[0]),
            output: fds[1..outputs_end].iter().any(is_ready),
            order: fds[orders_at..].iter().any(is_ready),
        })
    }

    /// Until the next thing that has to be done without anybody asking.
    fn time_left(&self) -> Duration {
        let now = Instant::now();
        let mut next = self.meter.next();
        if let Some(disk) = &self.disk {
            next = next.min(disk.next());
        }
        let limit = match &self.ending {
            Some(_) => ENDING_PAUSE,
            None => limits::next_moment(&self.order.limits, &self.times).saturating_sub(now - self.started),
        };
        limit.min(next.saturating_duration_since(now))
    }

    fn pump(&mut self, up: &mut Up) -> io::Result<()> {
        let out = self.out.pump(up)?;
        let err = self.err.as_mut().map_or(Ok(false), |err| err.pump(up))?;
        self.times.has_begun |= if self.order.forward_json { self.out.has_event() } else { out };
        if out || err {
            self.times.last_output = self.started.elapsed();
        }
        self.amounts.output_bytes = self.out.total() + self.err.as_ref().map_or(0, Stream::total);
        Ok(())
    }

    /// Any byte but one, and the end of the pipe, means stop.
    fn take_orders(&mut self) {
        let mut bytes = [0; 64];
        match self.orders.read(&mut bytes) {
            Ok(n) if n > 0 && bytes[..n].iter().all(|byte| *byte == TERMINAL) => {
                let now = self.started.elapsed();
                self.times.result_in = self.times.result_in.or(Some(now));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(1..) => self.stop(MAX_STOP_GRACE),
            Ok(0) | Err(_) => {
                self.orders_open = false;
                self.stop(MAX_ORPHAN_GRACE);
            }
        }
    }

    fn stop(&mut self, most: Duration) {
        let grace = Duration::from_millis(self.order.limits.grace_ms).min(most);
        self.end_gently(Ended::Stopped, grace);
    }

    /// Collecting comes first: what a tree of many short processes leaves to us must not pile up.
    fn measure(&mut self) {
        self.reaper.reap();
        self.meter.look(&self.order.limits, &mut self.amounts);
        if let Some(used) = self.disk.as_mut().and_then(Disk::look) {
            self.amounts.disk_bytes = used;
        }
    }

    fn judge(&mut self) {
        let order = self.order;
        let limits = &order.limits;
        let grace = Duration::from_millis(limits.grace_ms);
        match limits::exceeded(limits, &self.amounts) {
            Some(why) if limits::is_hard(&why) => self.end_now(why),
            Some(why) if self.ending.is_none() => self.end_gently(why, grace),
            None if self.ending.is_none() => {
                if let Some(why) = limits::overdue(limits, &self.times, self.started.elapsed()) {
                    self.end_gently(why, grace);
                }
            }
            _ => {}
        }
    }

    fn end_gently(&mut self, why: Ended, grace: Duration) {
        let kill_at = Instant::now() + grace;
        if let Some(ending) = &mut self.ending {
            // A stop is in more of a hurry than the time limit that came before it.
            ending.kill_at = kill_at.min(ending.kill_at);
        } else {
            tree::terminate_all();
            self.ending = Some(Ending { why, kill_at });
        }
    }

    /// A tree that was on its way to a gentle end keeps its first reason.
    fn end_now(&mut self, why: Ended) {
        let now = Instant::now();
        let ending = self.ending.get_or_insert(Ending { why, kill_at: now });
        ending.kill_at = ending.kill_at.min(now);
    }

    fn kill_when_due(&mut self) {
        if self.ending.as_ref().is_some_and(|ending| Instant::now() >= ending.kill_at) {
            self.reaper.kill_all();
        }
    }

    /// A child that was asked to end is often only a shell around the real one, which has its grace, too. A child that
    /// cannot be killed sleeps uninterruptibly, and is left to the kernel.
    fn is_over(&self) -> bool {
        let has_ended = self.reaper.status().is_some();
        let Some(ending) = &self.ending else { return has_ended };
        let now = Instant::now();
        if has_ended { now >= ending.kill_at || tree::is_empty() } else { now >= ending.kill_at + KILL_PATIENCE }
    }

    /// The child is gone; so is, after the sweep, everything it left behind.
    fn finish(mut self, up: &mut Up) -> io::Result<Report> {
        let patience = if self.reaper.status().is_some() { KILL_PATIENCE } else { Duration::ZERO };
        let leaked_processes = self.reaper.sweep(patience);
        self.pump(up)?;
        self.out.finish(up)?;
        if let Some(err) = &mut self.err {
            err.finish(up)?;
        }
        let duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Report {
            ended: self.ended(),
            duration_ms,
            leaked_processes,
            stdout_bytes: self.out.total(),
            peak_memory_bytes: self.meter.peak_memory_bytes,
            peak_processes: self.meter.peak_processes,
        })
    }

    fn ended(&mut self) -> Ended {
        if let Some(ending) = self.ending.take() {
            return ending.why;
        }
        if let Some(disk) = &mut self.disk {
            self.amounts.disk_bytes = disk.last_look();
        }
        // What it wrote may have been too much, however quickly it left.
        let written = Amounts { memory_bytes: 0, processes: 0, ..self.amounts };
        let by_itself = || self.reaper.status().map_or(Ended::Lost, exit);
        limits::exceeded(&self.order.limits, &written).unwrap_or_else(by_itself)
    }
}

fn exit(status: WaitStatus) -> Ended {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ended::Exited { code },
        (None, signal) => Ended::Signaled { signal: signal.unwrap_or(0) },
    }
}
