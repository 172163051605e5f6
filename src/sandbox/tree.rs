//! The process tree below a process, read from `/proc`, and its end.
//!
//! Everything here may be raced by the tree itself: processes fork, end and are adopted while they are read. So what
//! is read is a picture, and whoever ends a tree looks again until nothing is left.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group, wait};

use super::proc::{Kin, Process};

/// After this long the hard end gives up; what is left then is in uninterruptible sleep and not ours to end.
pub(super) const KILL_PATIENCE: Duration = Duration::from_secs(4);
/// How many processes one look takes in. A tree with more is on its way to its hard end, which looks again.
const MOST: usize = 1 << 14;

/// Visits every living process below `root`, parents before their children, until told to stop.
pub(super) fn visit(root: Pid, mut on: impl FnMut(Process) -> ControlFlow<()>) {
    let kin = Kin::now();
    let mut next = kin.children(root);
    while let Some(pid) = next.pop() {
        let Some(process) = Process::living(pid) else { continue };
        let threads = process.threads;
        if on(process).is_break() {
            return;
        }
        // Read after the visit: what a visit has stopped has no more children after this.
        next.extend(kin.children_of(pid, threads));
    }
}

/// Every living process below `root`.
pub(super) fn below(root: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    visit(root, |process| {
        found.push(process.pid);
        if found.len() < MOST { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    found
}

/// True where nothing lives below this process.
pub(super) fn is_empty() -> bool {
    let mut empty = true;
    visit(getpid(), |_| {
        empty = false;
        ControlFlow::Break(())
    });
    empty
}

/// Asks everything below this process to end.
pub(super) fn terminate_all() {
    for pid in below(getpid()) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// Kills everything below `root`. Each process is stopped before its children are read, so that not even a fork bomb
/// outruns us: what is stopped starts nothing. Where it can be, a whole group is stopped at once, which a tree of
/// thousands cannot race: the group of a process in the tree that leads one, and the group that `leader` led. Other
/// groups are not ours to signal: a hostile process joins anybody's in its session.
fn kill_all(root: Pid, leader: Option<Pid>) {
    let mut groups = BTreeSet::new();
    let mut found = Vec::new();
    visit(root, |process| {
        let ours = |group: &Pid| *group == process.pid || Some(*group) == leader;
        if let Some(group) = process.group.filter(ours)
            && groups.insert(group.as_raw_nonzero())
        {
            let _ = kill_process_group(group, Signal::STOP);
        }
        // Again where its group was: it may have joined since.
        let _ = kill_process(process.pid, Signal::STOP);
        found.push(process.pid);
        ControlFlow::Continue(())
    });
    for group in groups.into_iter().filter_map(|group| Pid::from_raw(group.get())) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    for pid in found {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Ends a warden that does not answer, and everything below it. What escapes from it after that works in the
/// directory or bears the mark of its attempt, and is found by them.
pub(super) fn end(root: Pid) {
    // Whatever state it is in, it must not take part.
    let _ = kill_process(root, Signal::STOP);
    let started = Instant::now();
    while !below(root).is_empty() && started.elapsed() < KILL_PATIENCE {
        kill_all(root, None);
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = kill_process(root, Signal::KILL);
}

/// Collects what has ended: the child, whose status is kept, and whatever this process inherits as a subreaper.
pub(super) struct Reaper {
    child: Option<Child>,
    status: Option<WaitStatus>,
}

impl Reaper {
    pub(super) fn new(child: Option<Child>) -> Self {
        Self { child, status: None }
    }

    /// How the child ended; none while it runs.
    pub(super) fn status(&self) -> Option<WaitStatus> {
        self.status
    }

    /// Collects what has ended. True where no child is left.
    pub(super) fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.take(pid, status),
                Err(Errno::INTR) => {}
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    /// Kills everything below this process.
    pub(super) fn kill_all(&self) {
        kill_all(getpid(), self.child.as_ref().map(Pid::from_child));
    }

    /// An adopted process can get the child's number only after the child was collected.
    fn take(&mut self, pid: Pid, status: WaitStatus) {
        if self.status.is_none() && self.child.as_ref().is_some_and(|child| Pid::from_child(child) == pid) {
            self.status = Some(status);
        }
    }

    /// Ends everything below this process and collects it. Returns how many were still alive: as many as one look
    /// saw, and at least one where there was something to end (what moves while it is looked for is in no picture).
    pub(super) fn sweep(&mut self, patience: Duration) -> u32 {
        let started = Instant::now();
        self.reap();
        let mut alive = u32::try_from(below(getpid()).len()).unwrap_or(u32::MAX);
        while !self.reap() {
            alive = alive.max(1);
            self.kill_all();
            if started.elapsed() >= patience {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        alive
    }
}
