//! The process tree below a process, read from `/proc`, and its end.
//!
//! Everything here may be raced by the tree itself: processes fork, end and are adopted while they are read. So what
//! is read is a picture, and whoever ends a tree looks again until nothing is left.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group, wait, waitpid};

use super::proc::{Kin, Process};

/// After this long the hard end gives up; what is left then is in uninterruptible sleep and not ours to end.
pub(super) const KILL_PATIENCE: Duration = Duration::from_secs(4);
/// How many processes one look takes in. A tree with more is on its way to its hard end, which looks again.
const MOST: usize = 1 << 14;

/// Visits every living process below `root`, parents before their children, until told to stop.
pub(super) fn visit(root: Pid, on: impl FnMut(Process) -> ControlFlow<()>) {
    let kin = Kin::now();
    visit_from(&kin, kin.children(root), only_living(on));
}

/// The same, with those that have ended and wait to be collected.
pub(super) fn visit_all(root: Pid, on: impl FnMut(Process) -> ControlFlow<()>) {
    let kin = Kin::now();
    visit_from(&kin, kin.children(root), on);
}

fn only_living(mut on: impl FnMut(Process) -> ControlFlow<()>) -> impl FnMut(Process) -> ControlFlow<()> {
    move |process| if process.has_ended { ControlFlow::Continue(()) } else { on(process) }
}

/// Visits these processes and every one below them.
fn visit_from(kin: &Kin, mut next: Vec<Pid>, mut on: impl FnMut(Process) -> ControlFlow<()>) {
    while let Some(pid) = next.pop() {
        let Some(process) = Process::of(pid) else { continue };
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

/// Kills these processes and everything below them. Each is stopped before its children are read, so that not even a
/// fork bomb outruns us: what is stopped starts nothing. Where it can be, a whole group is stopped at once, which a
/// tree of thousands cannot race: the group of a process in the tree that leads one, and the group that `leader` led.
/// Other groups are not ours to signal: a hostile process joins anybody's in its session.
///
/// Where `/proc` hides what cannot be looked into (`hidepid=2`, and a process that is not dumpable), `roots` are known
/// by their numbers alone; what is below one of them comes up when it has been killed.
fn kill_all(kin: &Kin, roots: &[Pid], leader: Option<Pid>) {
    let mut groups = BTreeSet::new();
    let mut found = roots.to_vec();
    let on = |process: Process| {
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
    };
    visit_from(kin, roots.to_vec(), only_living(on));
    for group in groups.into_iter().filter_map(|group| Pid::from_raw(group.get())) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    for pid in found {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Ends a warden that does not answer, and everything below it; what escapes from it after that is for
/// `survivors::end_lost`. Returns how many processes one look saw below it.
pub(super) fn end(root: Pid) -> u32 {
    // Whatever state it is in, it must not take part.
    let _ = kill_process(root, Signal::STOP);
    let started = Instant::now();
    let mut most = 0;
    while started.elapsed() < KILL_PATIENCE {
        let living = below(root).len();
        if living == 0 {
            break;
        }
        most = most.max(living);
        let kin = Kin::now();
        kill_all(&kin, &kin.children(root), None);
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = kill_process(root, Signal::KILL);
    u32::try_from(most).unwrap_or(u32::MAX)
}

/// Kills the children of this process that are not among `known`, with everything below them, and collects those that
/// have ended. Returns how many lived.
pub(super) fn kill_strangers(known: &BTreeSet<i32>) -> u32 {
    let kin = Kin::now();
    let is_strange = |pid: &Pid| !known.contains(&pid.as_raw_nonzero().get());
    let strangers: Vec<Pid> = kin.children(getpid()).into_iter().filter(is_strange).collect();
    let mut living = Vec::new();
    for pid in strangers {
        // Nobody else waits for what nobody has started.
        if !matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(Some(_))) {
            living.push(pid);
        }
    }
    kill_all(&kin, &living, None);
    u32::try_from(living.len()).unwrap_or(u32::MAX)
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
        let kin = Kin::now();
        kill_all(&kin, &kin.children(getpid()), self.child.as_ref().map(Pid::from_child));
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
