//! Processes that should be gone: what a killed warden or a killed orchestrator left behind, found in `/proc` by where
//! they work or by the session's mark in their environment.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, kill_process};

use super::proc::Process;

/// How long the end of survivors is waited for.
const PATIENCE: Duration = Duration::from_secs(7);

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
pub fn end_survivors(dir: &Path, mark: &str) {
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
