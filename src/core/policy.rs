//! Path policy: which files a task may change. Checked on all that was captured, not on what the agent says; the
//! shell calls it where it has the whole list, the core judges by the answer.

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::outcome::FileChange;
use super::plan::Task;
use super::settings::Settings;

/// At most this many paths are named in a violation.
const NAMED: usize = 10;

/// What is wrong with the changed paths, if anything.
pub fn violation(settings: &Settings, task: &Task, files: &[FileChange]) -> Option<String> {
    let protect = globs(&settings.protect);
    let allow = globs(&settings.allow);
    let owns = globs(&task.owns);
    let protected = named(files, |path| protect.is_match(path));
    if let Some(paths) = protected {
        return Some(format!("these paths are protected and must not change: {paths}"));
    }
    if let Some(paths) = named(files, |path| !allow.is_match(path)) {
        return Some(format!(
            "these paths are outside of what policy.allow permits ({}): {paths}",
            settings.allow.join(", ")
        ));
    }
    if task.owns.is_empty() {
        return None;
    }
    let paths = named(files, |path| !owns.is_match(path))?;
    Some(format!("these paths are not the task's own ({}): {paths}", task.owns.join(", ")))
}

/// True where the task's own globs name this path.
pub fn owns(task: &Task, path: &str) -> bool {
    globs(&task.owns).is_match(path)
}

/// Patterns were checked when they were read; one that does not compile matches nothing.
fn globs(patterns: &[String]) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for glob in patterns.iter().filter_map(|p| Glob::new(p).ok()) {
        set.add(glob);
    }
    set.build().unwrap_or_else(|_| GlobSet::empty())
}

fn named(files: &[FileChange], is_bad: impl Fn(&str) -> bool) -> Option<String> {
    let bad: Vec<&str> = files.iter().map(|f| f.path.as_str()).filter(|p| is_bad(p)).collect();
    let more = bad.len().saturating_sub(NAMED);
    let list = bad.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match (bad.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(list),
        (false, more) => Some(format!("{list} and {more} more")),
    }
}
