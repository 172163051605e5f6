//! Counts the processes of a tree and the memory they hold, often enough to end a tree in time and seldom enough to
//! cost nothing that anybody would notice.
//!
//! Memory is first the sum of resident pages, one small file a process; shared pages count more than once in it, so
//! it is never too low. Only where that sum is over the limit are the processes' shares asked for, which cost more
//! and count a shared page once: nobody is ended for memory that two processes have in common. The peak is the lower
//! of both where both are known. Memory that was swapped out, and that no process has mapped (a `memfd`), is not seen.
//!
//! A process that has ended and was not collected by its parent counts: it takes one of the machine's numbers, and a
//! fork bomb of short processes consists of them.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rustix::param::page_size;
use rustix::process::getpid;

use super::limits::Amounts;
use super::proc::Process;
use super::spec::Limits;
use super::tree;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// A look that takes long is followed by a pause that many times as long: one hundredth of the time is ours.
const PAUSE_FACTOR: u32 = 99;
const MAX_PAUSE: Duration = Duration::from_millis(500);
/// A child between `vfork` and `exec` seems to hold its parent's memory a second time, so what is over is seen twice.
const SECOND_LOOK: Duration = Duration::from_millis(20);

/// Measures a tree, again and again.
pub(super) struct Meter {
    next: Instant,
    suspects_memory: bool,
    pub(super) peak_memory_bytes: u64,
    pub(super) peak_processes: u64,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self { next: Instant::now(), suspects_memory: false, peak_memory_bytes: 0, peak_processes: 0 }
    }

    /// When it wants to look next.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Looks, where it is time to, and notes what it saw.
    pub(super) fn look(&mut self, limits: &Limits, amounts: &mut Amounts) {
        let started = Instant::now();
        if started < self.next {
            return;
        }
        let tree = read(limits);
        let memory_bytes = memory(&tree, limits.max_memory_bytes);
        amounts.processes = tree.len() as u64;
        self.peak_processes = self.peak_processes.max(amounts.processes);
        let is_over = limits.max_memory_bytes.is_some_and(|limit| memory_bytes > limit);
        if is_over && !self.suspects_memory {
            self.suspects_memory = true;
            self.next = Instant::now() + SECOND_LOOK;
            return;
        }
        self.suspects_memory = is_over;
        amounts.memory_bytes = memory_bytes;
        self.peak_memory_bytes = self.peak_memory_bytes.max(memory_bytes);
        let pause = (started.elapsed() * PAUSE_FACTOR).clamp(PAUSE, MAX_PAUSE);
        self.next = Instant::now() + pause;
    }
}

/// A tree with too many processes is not counted to its end: it may grow faster than it can be read.
fn read(limits: &Limits) -> Vec<Process> {
    let mut tree = Vec::new();
    tree::visit_all(getpid(), |process| {
        tree.push(process);
        let is_over = limits.max_processes.is_some_and(|limit| tree.len() as u64 > limit);
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    tree
}

fn memory(tree: &[Process], limit: Option<u64>) -> u64 {
    let resident = |process: &Process| process.rss_pages.saturating_mul(page_size() as u64);
    let most = tree.iter().map(resident).fold(0, u64::saturating_add);
    if limit.is_none_or(|limit| most <= limit) {
        return most;
    }
    let shares = tree.iter().map(|process| process.share_bytes().unwrap_or_else(|| resident(process)));
    shares.fold(0, u64::saturating_add).min(most)
}
