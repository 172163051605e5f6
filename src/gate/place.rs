//! Where a test stands in the repository: what its report says of it, held against the tree that was tested. The words
//! are untrusted; a place is only believed where the tree has such a file.
//!
//! In: test cases with what hints at their places. Out: the cases, with file and line where they could be told.

use std::path::{Component, Path, PathBuf};

use super::problems::Told;
use crate::core::{Problem, TestCase};

/// A longer path is no hint.
pub(super) const MAX_PATH: usize = 1000;
/// Hints that are looked at for one case: each costs a look at the disk.
pub(super) const MAX_HINTS: usize = 8;
/// Most problems of one gate.
const MAX_PROBLEMS: usize = 100;

/// A case and the places that its report hints at, the best first: a path, and a 1-based line.
#[derive(Debug, PartialEq)]
pub(super) struct Hinted {
    pub case: TestCase,
    pub hints: Vec<(String, Option<u32>)>,
}

/// Places in a text such as `panicked at src/lib.rs:10:5`, `(/repo/a.test.js:12:5)`, `tests/test_a.py:7: AssertionError`.
pub(super) fn hints_in(text: &str) -> Vec<(String, Option<u32>)> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"' | '\'' | '`'));
    words.filter_map(hint).take(MAX_HINTS).collect()
}

fn hint(word: &str) -> Option<(String, Option<u32>)> {
    let (path, rest) = word.split_once(':')?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    let line = digits.parse().ok().filter(|line| *line > 0)?;
    let is_path = path.contains(['/', '.']) && path.len() <= MAX_PATH;
    is_path.then(|| (path.to_owned(), Some(line)))
}

/// A tested tree, and the directory in it from which the gate ran.
pub(super) struct Place<'a> {
    pub tree: &'a Path,
    pub dir: &'a Path,
}

impl Place<'_> {
    /// The cases with their places.
    pub(super) fn located(&self, cases: Vec<Hinted>) -> Vec<TestCase> {
        let Ok(tree) = self.tree.canonicalize() else { return cases.into_iter().map(|hinted| hinted.case).collect() };
        cases.into_iter().map(|hinted| self.locate(&tree, hinted)).collect()
    }

    /// The problems that are about files of the tree.
    pub(super) fn believed(&self, told: Vec<Told>) -> Vec<Problem> {
        let Ok(tree) = self.tree.canonicalize() else { return Vec::new() };
        let problem = |told: Told| {
            Some(Problem { path: self.in_tree(&tree, &told.path)?, line: told.line, message: told.message })
        };
        told.into_iter().filter_map(problem).take(MAX_PROBLEMS).collect()
    }

    fn locate(&self, tree: &Path, hinted: Hinted) -> TestCase {
        let Hinted { case, hints } = hinted;
        // Python's runners name a module where others name a file.
        let module = module_paths(&case.classname).map(|path| (path, None));
        let places = hints.into_iter().chain(module).take(MAX_HINTS);
        let places: Vec<_> = places.filter_map(|(path, line)| Some((self.in_tree(tree, &path)?, line))).collect();
        let Some((file, _)) = places.first().cloned() else { return case };
        // One hint may name the file and another one the line in it.
        let line = places.into_iter().find_map(|(path, line)| line.filter(|_| path == file));
        TestCase { file: Some(file), line, ..case }
    }

    /// The path from the tree's top, where it names a regular file of the tree.
    fn in_tree(&self, tree: &Path, path: &str) -> Option<String> {
        let is_plain = !path.is_empty() && path.len() <= MAX_PATH && !path.contains('\0');
        let named = Path::new(path);
        let full = is_plain.then(|| if named.is_absolute() { named.to_owned() } else { self.dir.join(named) })?;
        let full = normal(&full);
        let inside = full.strip_prefix(tree).or_else(|_| full.strip_prefix(self.tree)).ok()?;
        let is_file = tree.join(inside).symlink_metadata().is_ok_and(|meta| meta.is_file());
        is_file.then(|| inside.to_str().map(str::to_owned))?
    }
}

/// The path without `.` and `..`, as it is written: links are not followed.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

/// `tests.test_a.TestClass` may be `tests/test_a/TestClass.py` or, with a class, `tests/test_a.py`.
fn module_paths(classname: &str) -> impl Iterator<Item = String> {
    let is_module = |name: &&str| {
        let is_word = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
        name.len() <= MAX_PATH && name.split('.').all(is_word)
    };
    let outer = classname.rsplit_once('.').map(|(outer, _)| outer);
    let names = [Some(classname), outer].into_iter().flatten().filter(is_module);
    names.map(|name| format!("{}.py", name.replace('.', "/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::TestStatus;

    fn check(classname: &str, hints: &[(&str, u32)], expected: Option<(&str, Option<u32>)>) {
        let tree = tempfile::tempdir().unwrap();
        for file in ["sub/src/lib.rs", "sub/tests/test_a.py"] {
            let path = tree.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let case = TestCase {
            classname: classname.to_owned(),
            name: "n".to_owned(),
            status: TestStatus::Failed,
            time_ms: 0,
            message: String::new(),
            file: None,
            line: None,
        };
        let top = tree.path().display().to_string();
        let hints = hints.iter().map(|(path, line)| (path.replace("TREE", &top), Some(*line))).collect();
        let place = Place { tree: tree.path(), dir: &tree.path().join("sub") };
        let found = place.located(vec![Hinted { case, hints }]).remove(0);
        assert_eq!(found.file.as_deref().map(|file| (file, found.line)), expected, "{classname} {found:?}");
    }

    #[test]
    fn a_place_is_told_from_the_trees_top_and_only_where_there_is_such_a_file() {
        check("", &[("src/lib.rs", 3)], Some(("sub/src/lib.rs", Some(3))));
        check("", &[("./x/../src/lib.rs", 3)], Some(("sub/src/lib.rs", Some(3))));
        check("", &[("TREE/sub/src/lib.rs", 9)], Some(("sub/src/lib.rs", Some(9))));
        check("tests.test_a", &[("src/lib.rs", 3)], Some(("sub/src/lib.rs", Some(3))));
        check("", &[("gone.rs", 1), ("src/lib.rs", 3)], Some(("sub/src/lib.rs", Some(3))));
        for outside in ["../../etc/passwd", "/etc/passwd", "src", "", "a\0b"] {
            check("", &[(outside, 1)], None);
        }
    }

    #[test]
    fn a_module_of_python_is_a_file() {
        check("tests.test_a", &[], Some(("sub/tests/test_a.py", None)));
        check("tests.test_a.TestClass", &[], Some(("sub/tests/test_a.py", None)));
        check("..tests.test_a", &[], None);
        check("suite", &[], None);
    }

    #[test]
    fn places_are_found_in_what_runners_write() {
        let one = |text: &str| hints_in(text).first().map(|(path, line)| (path.clone(), line.unwrap_or(0)));
        let expected = |path: &str, line| Some((path.to_owned(), line));
        assert_eq!(one("thread 'x' panicked at src/lib.rs:10:5:\nleft"), expected("src/lib.rs", 10));
        assert_eq!(one("    at Object.<anonymous> (/repo/a.test.js:12:5)"), expected("/repo/a.test.js", 12));
        assert_eq!(one("tests/test_a.py:7: AssertionError"), expected("tests/test_a.py", 7));
        for none in ["http://x", "12:30", "a:b", "src/lib.rs:0", "x.rs:99999999999"] {
            assert_eq!(one(none), None, "{none}");
        }
    }
}
