//! Adds up the disk that the directories of a tree take, a few milliseconds at a time, so that the watch goes on and
//! a twentieth of the time at most goes into it. Links are never followed.
//!
//! A file with several names counts in parts, one for each name. What was deleted and is still held open is not seen,
//! nor what stands in a directory that was made unreadable.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags, Stat, open, openat, statat};

use super::spec::Order;

/// Longest look at a time.
const SLICE: Duration = Duration::from_millis(10);
/// The pause after a look is that many times as long.
const PAUSE_FACTOR: u32 = 19;
const MIN_PAUSE: Duration = Duration::from_millis(100);
/// Longest look when the tree has ended: one that ends at once must not get away with what it wrote.
const LAST_LOOK: Duration = Duration::from_millis(250);
/// Unit of `st_blocks`, stat(2).
const BLOCK_BYTES: u64 = 512;
/// Directories held open along one path; deeper ones wait until the path is done.
const MAX_DEPTH: usize = 128;
/// Directories that wait at once; more are not counted.
const MAX_WAITING: usize = 512;
/// What is not on a disk.
const NO_DISK: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Measures the disk that one order's directories take.
pub(super) struct Disk {
    roots: Vec<PathBuf>,
    pass: Pass,
    next: Instant,
}

impl Disk {
    /// None where there is no limit.
    pub(super) fn of(order: &Order) -> Option<Self> {
        order.limits.max_disk_bytes?;
        let roots = roots(order);
        Some(Self { pass: Pass::over(&roots), roots, next: Instant::now() })
    }

    /// When it wants to look next.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Goes on counting, where it is time to. Returns what is known to be taken, bytes.
    pub(super) fn look(&mut self) -> Option<u64> {
        let started = Instant::now();
        if started < self.next {
            return None;
        }
        let used = self.count(started + SLICE);
        self.next = Instant::now() + (started.elapsed() * PAUSE_FACTOR).max(MIN_PAUSE);
        Some(used)
    }

    /// Counts once more from the beginning, as far as a short time allows.
    pub(super) fn last_look(&mut self) -> u64 {
        self.pass = Pass::over(&self.roots);
        self.count(Instant::now() + LAST_LOOK)
    }

    fn count(&mut self, until: Instant) -> u64 {
        while Instant::now() < until {
            if !self.pass.step() {
                let used = self.pass.used;
                self.pass = Pass::over(&self.roots);
                return used;
            }
        }
        self.pass.used
    }
}

/// The directories that the tree may write to; without walls the one it works in.
fn roots(order: &Order) -> Vec<PathBuf> {
    let Some(walls) = &order.walls else { return vec![order.dir.clone()] };
    let on_disk = |path: &&PathBuf| NO_DISK.iter().all(|no| !path.starts_with(no));
    let mut roots: Vec<PathBuf> = walls.write.iter().filter(on_disk).cloned().collect();
    roots.sort();
    // Sorted by parts, what lies in another comes right after it or after another part of it.
    roots.dedup_by(|later, kept| later.starts_with(kept.as_path()));
    roots
}

/// One pass over all directories.
#[derive(Default)]
struct Pass {
    roots: Vec<PathBuf>,
    path: Vec<Dir>,
    waiting: Vec<Dir>,
    used: u64,
}

impl Pass {
    fn over(roots: &[PathBuf]) -> Self {
        Self { roots: roots.to_vec(), ..Self::default() }
    }

    /// Counts one entry. False where everything is counted.
    fn step(&mut self) -> bool {
        let Some(dir) = self.path.last_mut() else { return self.start_next() };
        match dir.read() {
            Some(Ok(entry)) => self.take(&entry),
            // At its end; one that cannot be read further counts as far as it was read.
            Some(Err(_)) | None => drop(self.path.pop()),
        }
        true
    }

    fn start_next(&mut self) -> bool {
        if let Some(dir) = self.waiting.pop() {
            self.path.push(dir);
            return true;
        }
        let Some(root) = self.roots.pop() else { return false };
        self.path.extend(open_root(&root));
        true
    }

    fn take(&mut self, entry: &DirEntry) {
        let name = entry.file_name();
        let Some(Ok(dir)) = self.path.last().map(Dir::fd) else { return };
        if matches!(name.to_bytes(), b"." | b"..") {
            return;
        }
        let Ok(stat) = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { return };
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        self.used = self.used.saturating_add(if is_dir { blocks(&stat) } else { blocks(&stat) / names(&stat) });
        let below = if is_dir { open_dir(dir, name) } else { None };
        if self.path.len() < MAX_DEPTH {
            self.path.extend(below);
        } else if self.waiting.len() < MAX_WAITING {
            self.waiting.extend(below);
        }
    }
}

/// Its fields have other types on other machines.
fn blocks(stat: &Stat) -> u64 {
    u64::try_from(i128::from(stat.st_blocks)).unwrap_or(0).saturating_mul(BLOCK_BYTES)
}

fn names(stat: &Stat) -> u64 {
    u64::try_from(i128::from(stat.st_nlink)).unwrap_or(1).max(1)
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn open_root(root: &Path) -> Option<Dir> {
    Dir::new(open(root, DIRECTORY, Mode::empty()).ok()?).ok()
}

fn open_dir(dir: impl AsFd, name: &std::ffi::CStr) -> Option<Dir> {
    Dir::new(openat(dir, name, DIRECTORY, Mode::empty()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn used(roots: &[PathBuf]) -> u64 {
        let mut pass = Pass::over(roots);
        while pass.step() {}
        assert!(pass.path.is_empty() && pass.waiting.is_empty());
        pass.used
    }

    fn file(dir: &Path, name: &str, kib: usize) {
        fs::write(dir.join(name), vec![1; kib << 10]).unwrap();
    }

    #[test]
    fn files_count_once_and_links_are_not_followed() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        file(elsewhere.path(), "big", 4096);
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("out")).unwrap();
        file(dir.path(), "a", 512);
        fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        file(&dir.path().join("sub"), "c", 512);
        let kib = used(&[dir.path().to_owned()]) >> 10;
        assert!((1024..2048).contains(&kib), "{kib} KiB");
    }

    #[test]
    fn a_tree_deeper_than_any_path_is_counted_to_its_ground() {
        let dir = tempfile::tempdir().unwrap();
        let deepest: PathBuf = std::iter::repeat_n("d", 3 * MAX_DEPTH).collect();
        fs::create_dir_all(dir.path().join(&deepest)).unwrap();
        file(&dir.path().join(&deepest), "a", 1024);
        assert!(used(&[dir.path().to_owned()]) >= 1 << 20);
    }

    #[test]
    fn a_directory_within_another_counts_once_and_devices_do_not_count() {
        let paths = ["/w/a/b", "/w/a", "/dev/pts", "/w/a-b", "/w/a/c"].map(PathBuf::from);
        let order = Order {
            argv: Vec::new(),
            env: Vec::new(),
            dir: PathBuf::from("/w"),
            stdin: None,
            stdout: PathBuf::new(),
            stderr: PathBuf::new(),
            limits: crate::sandbox::Limits::default(),
            walls: Some(crate::sandbox::Walls { read: Vec::new(), write: paths.to_vec() }),
            forward_json: false,
            secrets: Vec::new(),
        };
        assert_eq!(roots(&order), [PathBuf::from("/w/a"), PathBuf::from("/w/a-b")]);
        assert_eq!(roots(&Order { walls: None, ..order }), [PathBuf::from("/w")]);
    }
}
