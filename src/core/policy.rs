//! Path policy: which files a task may change; and that no secret of the run is written into them. Checked on all that
//! was captured, not on what the agent says; the shell calls it where it has the whole list, the core judges by the
//! answer.

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::outcome::{FileChange, LeakedLine};
use super::plan::Task;
use super::settings::Settings;

/// At most this many paths are named in a violation.
const NAMED: usize = 10;
/// Reason of the fault of a change that adds a secret.
pub const SECRET: &str = "secret";

/// What is wrong with the changed paths, if anything.
pub fn violation(settings: &Settings, task: &Task, files: &[FileChange]) -> Option<String> {
    let (rule, paths) = broken_rule(settings, task, files)?;
    let paths = named(&paths);
    Some(match rule {
        Rule::Protected => format!("these paths are protected and must not change: {paths}"),
        Rule::Outside => {
            let allowed = settings.allow.join(", ");
            format!("these paths are outside of what policy.allow permits ({allowed}): {paths}")
        }
        Rule::Foreign => format!("these paths are not the task's own ({}): {paths}", task.owns.join(", ")),
    })
}

/// What is wrong with a change that adds secrets which the run knows; what only looks like one is no violation.
pub fn leak(lines: &[LeakedLine]) -> Option<String> {
    let places: Vec<String> =
        lines.iter().filter(|line| line.known).map(|line| format!("{}:{}", line.path, line.line)).collect();
    let what = "these lines hold a secret of the run's environment, which must be read from there, not written down";
    (!places.is_empty()).then(|| format!("{what}: {}", named(&places)))
}

/// The first few of a list.
fn named(all: &[impl AsRef<str>]) -> String {
    let list = all.iter().take(NAMED).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => list,
        more => format!("{list} and {more} more"),
    }
}

/// The paths that a violation is about, the first ten.
pub fn breaking<'a>(settings: &Settings, task: &Task, files: &'a [FileChange]) -> Vec<&'a str> {
    let broken = broken_rule(settings, task, files);
    broken.map(|(_, paths)| paths.into_iter().take(NAMED).collect()).unwrap_or_default()
}

/// The rules, the weightiest first.
enum Rule {
    Protected,
    Outside,
    Foreign,
}

/// The first rule that is broken, and by which paths.
fn broken_rule<'a>(settings: &Settings, task: &Task, files: &'a [FileChange]) -> Option<(Rule, Vec<&'a str>)> {
    let (protect, allow, owns) = (globs(&settings.protect), globs(&settings.allow), globs(&task.owns));
    let bad = |is_bad: &dyn Fn(&str) -> bool| {
        let paths: Vec<&str> = files.iter().map(|f| f.path.as_str()).filter(|path| is_bad(path)).collect();
        Some(paths).filter(|paths| !paths.is_empty())
    };
    let protected = || Some((Rule::Protected, bad(&|path| protect.is_match(path))?));
    let outside = || Some((Rule::Outside, bad(&|path| !allow.is_match(path))?));
    let foreign = || Some((Rule::Foreign, bad(&|path| !task.owns.is_empty() && !owns.is_match(path))?));
    protected().or_else(outside).or_else(foreign)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_secrets_violate_and_the_first_few_are_named() {
        let line = |known| LeakedLine { path: "x".to_owned(), line: 7, known };
        assert_eq!(leak(&[line(false)]), None);
        assert!(leak(&[line(true), line(false)]).is_some_and(|words| words.ends_with(": x:7")));
        assert!(leak(&vec![line(true); 12]).is_some_and(|words| words.ends_with(", x:7 and 2 more")));
    }
}
