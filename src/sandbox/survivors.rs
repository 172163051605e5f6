//! Processes that should be gone: what a killed warden or a killed orchestrator left behind.
//!
//! The process that starts wardens adopts what a lost one leaves (it is a child subreaper), so whatever is its child and
//! was not started by it is found, wherever it hides. What a killed orchestrator left is nobody's: that is found in
//! `/proc` by where it works or by the session's mark in its environment.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, kill_process, set_child_subreaper};

use super::proc::{Kin, Process};
use super::tree;

/// How long the end of survivors is waited for.
const PATIENCE: Duration = Duration::from_secs(7);

/// Children that may live: those that were there before the first warden, and the wardens. None before that.
static KNOWN: Mutex<Option<BTreeSet<i32>>> = Mutex::new(None);

/// Starts a warden and remembers that it is ours. Nobody looks for strangers meanwhile.
pub(super) fn start_known(start: impl FnOnce() -> io::Result<duct::Handle>) -> io::Result<duct::Handle> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if known.is_none() {
        set_child_subreaper(Some(getpid()))?;
        let before = Kin::now().children(getpid());
        *known = Some(before.into_iter().map(|pid| pid.as_raw_nonzero().get()).collect());
    }
    let handle = start()?;
    let pids = handle.pids().into_iter().filter_map(|pid| i32::try_from(pid).ok());
    known.get_or_insert_default().extend(pids);
    Ok(handle)
}

/// Forgets a warden that was waited for: its number may become another's.
pub(super) fn forget(warden: &duct::Handle) {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    for pid in warden.pids().into_iter().filter_map(|pid| i32::try_from(pid).ok()) {
        known.get_or_insert_default().remove(&pid);
    }
}

/// Ends what a lost warden left: children of ours that are neither wardens nor `helpers`, and everything that works
/// below `dir` or bears `mark`. Returns how many processes that were: as many as one look saw.
pub fn end_lost(dir: &Path, mark: &str, helpers: &BTreeSet<i32>) -> u32 {
    let started = Instant::now();
    let mut most = 0;
    while started.elapsed() < PATIENCE {
        let strangers = end_strangers(helpers);
        let left = survivors(dir, mark);
        for pid in &left {
            let _ = kill_process(*pid, Signal::KILL);
        }
        if strangers == 0 && left.is_empty() {
            break;
        }
        most = most.max(strangers).max(u32::try_from(left.len()).unwrap_or(u32::MAX));
        std::thread::sleep(Duration::from_millis(5));
    }
    most
}

/// Nothing is strange where no warden was ever started.
fn end_strangers(helpers: &BTreeSet<i32>) -> u32 {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.as_ref().map_or(0, |known| tree::kill_strangers(&known.union(helpers).copied().collect()))
}

/// Waits until nothing works below `dir` or bears `mark` any more; wardens end their trees when their parent dies.
/// What outlives the patience is killed.
pub fn wait_for_survivors(dir: &Path, mark: &str) {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if survivors(dir, mark).is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    end_survivors(dir, mark);
}

/// Kills everything that works below `dir` or bears `mark`, until nothing does.
fn end_survivors(dir: &Path, mark: &str) {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let left = survivors(dir, mark);
        if left.is_empty() {
            return;
        }
        for pid in left {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn survivors(dir: &Path, mark: &str) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok()).filter_map(Pid::from_raw);
    pids.filter(|pid| *pid != getpid() && belongs(*pid, dir, mark)).collect()
}

/// A process that is gone, or whose files we may not read, belongs to nobody.
fn belongs(pid: Pid, dir: &Path, mark: &str) -> bool {
    let Some(proc) = Process::living(pid).map(|process| process.dir()) else { return false };
    let is_there = std::fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
    let environment = || std::fs::read(proc.join("environ")).unwrap_or_default();
    is_there || environment().split(|b| *b == 0).any(|variable| variable == mark.as_bytes())
}
