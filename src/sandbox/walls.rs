//! Level 1: whether this machine can have walls, in words and as a level; and what this process does for its own
//! secrecy. `reach.rs` says what a child may reach behind them, `wall.rs` builds them.

use std::fmt;
use std::sync::LazyLock;

use landlock::{
    AccessFs, AccessNet, CompatLevel, Compatible, RestrictSelfAttr, Ruleset, RulesetAttr, RulesetCreatedAttr, Scope,
};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// How far a child is held in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// No walls: a clean environment and private directories, and whatever the child leaves alone.
    L0,
    /// Landlock, no capabilities, no new privileges.
    L1,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L0 => "L0",
            Self::L1 => "L1",
        })
    }
}

/// Landlock's version here; 0 where it is not built in, or off.
static LANDLOCK_ABI: LazyLock<u32> = LazyLock::new(landlock_abi);

/// With Landlock before this version (Linux 6.2) a file that may only be read can be cut to nothing: no wall.
const MIN_ABI: u32 = 3;
/// From this version on (Linux 6.12) signals stay inside.
const SIGNALS_ABI: u32 = 6;

/// The level that this machine can give. Looked up once; nothing is restricted by asking.
pub fn level() -> Level {
    level_of(*LANDLOCK_ABI)
}

/// The level in words, for `check`.
pub fn describe() -> String {
    described(*LANDLOCK_ABI)
}

/// The level that holds in a run, for its log and its reports: with what is missing of it.
pub fn in_force(walled: bool) -> String {
    match *LANDLOCK_ABI {
        abi @ MIN_ABI..SIGNALS_ABI if walled => format!("L1 (Landlock ABI {abi}: no wall against signals)"),
        abi if walled => level_of(abi).to_string(),
        _ => Level::L0.to_string(),
    }
}

/// Why this machine can give no walls.
pub fn why_not() -> String {
    reason(*LANDLOCK_ABI)
}

fn level_of(abi: u32) -> Level {
    if abi >= MIN_ABI { Level::L1 } else { Level::L0 }
}

fn described(abi: u32) -> String {
    match abi {
        ..MIN_ABI => format!("L0 (no walls: {})", reason(abi)),
        MIN_ABI..SIGNALS_ABI => {
            format!("L1 (Landlock ABI {abi}, without its wall against signals, no capabilities, no new privileges)")
        }
        _ => format!("L1 (Landlock ABI {abi}, no capabilities, no new privileges)"),
    }
}

fn reason(abi: u32) -> String {
    if abi == 0 {
        return "this kernel does not enforce Landlock".to_owned();
    }
    format!("Landlock ABI {abi} here does not guard `truncate` (Linux 6.2 or later does)")
}

/// Keeps this process's environment and memory from other processes of the same user; the first thing to do.
///
/// Measured as an ordinary user: of our own `/proc` only `environ` and `io` become unreadable; `exe`, `fd`, `cwd` and
/// `stat` of ourselves, and everything of our children, stay readable, since an `exec` makes a process dumpable again.
/// That is why a warden calls this, too. Root's children are held off by their lack of capabilities instead.
///
/// Files that whoever started us left open are theirs and ours: no child gets them.
pub fn harden_self() {
    // It cannot fail with this argument.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    close_fds::set_fds_cloexec(3, &[]);
}

/// The newest version whose addition this kernel knows.
fn landlock_abi() -> u32 {
    let strict = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let fs = |right: AccessFs| strict().handle_access(right).is_ok();
    let created = || strict().handle_access(AccessFs::Execute)?.create();
    let additions: [(u32, &dyn Fn() -> bool); 9] = [
        (9, &|| fs(AccessFs::ResolveUnix)),
        (8, &|| created().and_then(|r| r.all_threads(true)).is_ok()),
        (7, &|| created().and_then(|r| r.log_new_exec(true)).is_ok()),
        (6, &|| strict().scope(Scope::Signal).is_ok()),
        (5, &|| fs(AccessFs::IoctlDev)),
        (4, &|| strict().handle_access(AccessNet::BindTcp).is_ok()),
        (3, &|| fs(AccessFs::Truncate)),
        (2, &|| fs(AccessFs::Refer)),
        (1, &|| fs(AccessFs::Execute)),
    ];
    additions.iter().find(|(_, knows)| knows()).map_or(0, |(abi, _)| *abi)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(abi: u32, level: Level, words: &str) {
        assert_eq!(level_of(abi), level, "{abi}");
        let described = described(abi);
        assert!(described.starts_with(&level.to_string()) && described.contains(words), "{described}");
    }

    #[test]
    fn what_lets_files_be_cut_is_no_wall_and_what_lets_signals_out_says_so() {
        check(0, Level::L0, "does not enforce Landlock");
        check(2, Level::L0, "Landlock ABI 2 here does not guard `truncate` (Linux 6.2 or later does)");
        check(3, Level::L1, "ABI 3, without its wall against signals");
        check(6, Level::L1, "ABI 6, no capabilities");
    }
}
