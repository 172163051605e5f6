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

/// The level that this machine can give. Looked up once; nothing is restricted by asking.
pub fn level() -> Level {
    if *LANDLOCK_ABI > 0 { Level::L1 } else { Level::L0 }
}

/// The level in words, for reports and `check`.
pub fn describe() -> String {
    match *LANDLOCK_ABI {
        0 => "L0 (no walls: this kernel does not enforce Landlock)".to_owned(),
        abi @ ..6 => {
            format!("L1 (Landlock ABI {abi}, without its wall against signals, no capabilities, no new privileges)")
        }
        abi => format!("L1 (Landlock ABI {abi}, no capabilities, no new privileges)"),
    }
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
