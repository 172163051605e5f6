//! The process tree below a warden, read from `/proc`, and its end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, wait};

/// After this long the hard end gives up; what is left then is in uninterruptible sleep and not ours to end.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Everything below this process, children first.
pub(super) fn descendants() -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, parent) in all_processes() {
        children.entry(parent).or_default().push(pid);
    }
    let mut found = Vec::new();
    let mut next = vec![getpid().as_raw_nonzero().get()];
    while let Some(parent) = next.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            next.push(child);
            found.extend(Pid::from_raw(child));
        }
    }
    found
}

/// (pid, parent pid) of every process that can be seen; zombies left out.
fn all_processes() -> Vec<(i32, i32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything, so the fields are counted from its end.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        (state != "Z").then_some((pid, parent))
    })
    .collect()
}

/// Sends a signal to everything below this process.
pub(super) fn signal_all(signal: Signal) {
    for pid in descendants() {
        let _ = kill_process(pid, signal);
    }
}

/// Ends everything below this process and collects it. Returns how many were still alive.
/// As a child subreaper this process inherits whatever escaped into another session.
pub(super) fn sweep() -> u32 {
    let started = Instant::now();
    reap_zombies();
    let alive = u32::try_from(descendants().len()).unwrap_or(u32::MAX);
    while !reap_zombies() && started.elapsed() < KILL_PATIENCE {
        signal_all(Signal::KILL);
        std::thread::sleep(Duration::from_millis(1));
    }
    alive
}

/// Collects what has ended. True where no child is left.
fn reap_zombies() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}
