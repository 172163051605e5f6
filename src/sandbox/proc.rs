//! What `/proc` says about single processes: whether they live, whose children they are, what memory they hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

/// A process.
pub(super) struct Process {
    pub(super) pid: Pid,
    /// Its process group.
    pub(super) group: Option<Pid>,
    /// Pages it holds; those that it shares with others count as its own.
    pub(super) rss_pages: u64,
    pub(super) threads: u64,
    /// It waits to be collected: nothing is left of it but its number.
    pub(super) has_ended: bool,
    /// A thread of it that runs, which need not be its first.
    thread: i32,
}

impl Process {
    /// None where it is gone, or has ended and waits to be collected.
    pub(super) fn living(pid: Pid) -> Option<Self> {
        Self::of(pid).filter(|process| !process.has_ended)
    }

    /// None where it is gone, or where we may not see it.
    pub(super) fn of(pid: Pid) -> Option<Self> {
        let first = raw(pid);
        let mut thread = first;
        let mut stat = Stat::of(first)?;
        if stat.has_ended {
            // When only its first thread has ended, the kernel shows a process as a zombie without memory, and the
            // process is as alive as any.
            let others = if stat.threads > 1 { threads(pid) } else { Vec::new() };
            let running = |tid: i32| Stat::of(tid).filter(|s| !s.has_ended).map(|s| (tid, s));
            (thread, stat) = others.into_iter().find_map(running).unwrap_or((first, stat));
        }
        let Stat { has_ended, group, rss_pages, threads, .. } = stat;
        Some(Self { pid, group, rss_pages, threads, has_ended, thread })
    }

    /// Where the kernel says more about it.
    pub(super) fn dir(&self) -> PathBuf {
        Path::new("/proc").join(self.thread.to_string())
    }

    /// Its share of the memory it holds, bytes: a page that several processes hold counts once in all. Dear: the
    /// kernel walks its page tables for it. None where the kernel does not say.
    pub(super) fn share_bytes(&self) -> Option<u64> {
        let rollup = std::fs::read(self.dir().join("smaps_rollup")).ok()?;
        let kib = String::from_utf8_lossy(&rollup).lines().find_map(|line| {
            let value = line.strip_prefix("Pss:")?.trim().strip_suffix("kB")?;
            value.trim().parse::<u64>().ok()
        })?;
        Some(kib << 10)
    }
}

/// What the kernel says in `/proc/N/stat`, of a process or of a thread.
struct Stat {
    has_ended: bool,
    parent: i32,
    group: Option<Pid>,
    threads: u64,
    rss_pages: u64,
}

impl Stat {
    fn of(id: i32) -> Option<Self> {
        Self::parse(&std::fs::read(format!("/proc/{id}/stat")).ok()?)
    }

    /// Fields are numbered in proc(5): 3 state, 4 parent, 5 group, 20 threads, 24 resident pages.
    fn parse(stat: &[u8]) -> Option<Self> {
        // The name in parentheses may hold anything, also bytes that are no text, so fields are counted from its end.
        let name_end = memchr::memrchr(b')', stat)?;
        let mut fields = std::str::from_utf8(&stat[name_end + 1..]).ok()?.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        // The kernel writes -1 for one that is being collected.
        let group = fields.next()?.parse().ok().filter(|group| *group > 0).and_then(Pid::from_raw);
        let threads = fields.nth(14)?.parse().ok()?;
        let rss_pages = fields.nth(3)?.parse().unwrap_or(0);
        Some(Self { has_ended: matches!(state, "Z" | "X"), parent, group, threads, rss_pages })
    }
}

/// Who is whose child.
pub(super) enum Kin {
    /// The kernel lists children by parent, so a look costs what the tree costs.
    Listed,
    /// It does not, and every process of the machine was asked for its parent.
    Asked(BTreeMap<i32, Vec<Pid>>),
}

impl Kin {
    pub(super) fn now() -> Self {
        if Path::new("/proc/thread-self/children").exists() { Self::Listed } else { Self::Asked(ask_all()) }
    }

    /// Children of a process about which nothing else is known.
    pub(super) fn children(&self, pid: Pid) -> Vec<Pid> {
        self.children_of(pid, u64::MAX)
    }

    /// Children of a process with that many threads, zombies among them. Each thread has its own.
    pub(super) fn children_of(&self, pid: Pid, thread_count: u64) -> Vec<Pid> {
        let Self::Asked(by_parent) = self else {
            let parents = if thread_count == 1 { vec![raw(pid)] } else { threads(pid) };
            return parents.into_iter().flat_map(|tid| listed(pid, tid)).collect();
        };
        by_parent.get(&raw(pid)).cloned().unwrap_or_default()
    }
}

fn listed(pid: Pid, tid: i32) -> Vec<Pid> {
    let list = std::fs::read_to_string(format!("/proc/{}/task/{tid}/children", raw(pid))).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|child| Pid::from_raw(child.parse().ok()?)).collect()
}

fn ask_all() -> BTreeMap<i32, Vec<Pid>> {
    let mut by_parent: BTreeMap<i32, Vec<Pid>> = BTreeMap::new();
    for id in numbers("/proc") {
        if let (Some(stat), Some(pid)) = (Stat::of(id), Pid::from_raw(id)) {
            by_parent.entry(stat.parent).or_default().push(pid);
        }
    }
    by_parent
}

fn threads(pid: Pid) -> Vec<i32> {
    numbers(&format!("/proc/{}/task", raw(pid)))
}

/// The numbers among the names in a directory.
fn numbers(dir: &str) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn raw(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &[u8], state: &str, has_ended: bool) {
        let rest = format!(") {state} 7 9 1 0 -1 4194560 105 0 0 0 0 0 0 0 20 0 3 0 5417 8122368 245 1844674 1 1 0");
        let line = [b"42 (", name, rest.as_bytes()].concat();
        let stat = Stat::parse(&line).unwrap();
        assert_eq!((stat.has_ended, stat.parent, stat.group), (has_ended, 7, Pid::from_raw(9)));
        assert_eq!((stat.threads, stat.rss_pages), (3, 245));
    }

    #[test]
    fn a_process_is_read_whatever_it_calls_itself() {
        check(b"sh", "S", false);
        check(b"a) Z 1 (b", "R", false);
        check(b"\xff\xfe", "T", false);
        check(b"sh", "Z", true);
    }

    #[test]
    fn one_that_is_being_collected_has_no_group() {
        let stat = Stat::parse(b"42 (sh) X 0 -1 -1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 0 0 5417 0 0 1 0 0 0 0").unwrap();
        assert_eq!((stat.has_ended, stat.group), (true, None));
    }

    #[test]
    fn this_process_lives_and_holds_memory() {
        let me = Process::living(rustix::process::getpid()).unwrap();
        assert!(me.rss_pages > 0 && me.threads > 0);
        assert!(me.share_bytes().is_none_or(|bytes| bytes > 0));
    }
}
