//! What linters, type checkers and compilers wrote about single lines, told from the log of a red gate that has no
//! report: `path:line:column: message`, `path(line,column): message`, and a message with `--> path:line:column` below it.
//!
//! In: the log. Out: problems, still to be held against the tree: nothing in a log is believed without the file.

use crate::core::finding::is_warning;

/// Longest message, in characters.
const MESSAGE_CHARS: usize = 500;
/// Longest line that is looked at, in bytes.
const LINE_BYTES: usize = 4096;
/// Most problems.
const MAX_PROBLEMS: usize = 500;

/// A problem as the log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub path: String,
    pub line: u32,
    pub message: String,
}

/// The problems of a log, each once: what is no warning first, else in the log's order.
pub(super) fn told(log: &str) -> Vec<Told> {
    let (mut errors, mut warnings): (Vec<Told>, Vec<Told>) = (Vec::new(), Vec::new());
    let mut heading = "";
    for line in log.lines().filter(|line| line.len() <= LINE_BYTES) {
        let line = line.trim();
        let problem = match line.strip_prefix("--> ") {
            Some(place) => {
                let told = place_first(place).or_else(|| place_first(&format!("{place}:")));
                told.map(|told| Told { message: cut(heading), ..told }).filter(|told| !told.message.is_empty())
            }
            None => place_first(line).or_else(|| in_parentheses(line)).filter(|told| !told.message.is_empty()),
        };
        match problem {
            Some(problem) => {
                let found = if is_warning(&problem.message) { &mut warnings } else { &mut errors };
                if found.len() < MAX_PROBLEMS && !found.contains(&problem) {
                    found.push(problem);
                }
            }
            None if line.starts_with("error") || line.starts_with("warning") => heading = line,
            None => {}
        }
    }
    errors.append(&mut warnings);
    errors.truncate(MAX_PROBLEMS);
    errors
}

/// `path:line: message` or `path:line:column: message` or `path:line:column message`.
fn place_first(line: &str) -> Option<Told> {
    let (path, rest) = line.split_once(':')?;
    let (number, rest) = number(rest)?;
    let rest = rest.strip_prefix(':')?;
    let message = match self::number(rest) {
        Some((_, after)) => after.strip_prefix(':').unwrap_or(after),
        None => rest,
    };
    told_at(path, number, message)
}

/// `path(line,column): message`.
fn in_parentheses(line: &str) -> Option<Told> {
    let (path, rest) = line.split_once('(')?;
    let (number, rest) = number(rest)?;
    let (_, message) = rest.split_once("):")?;
    told_at(path, number, message)
}

/// A number that a text begins with, and the rest.
fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

fn told_at(path: &str, line: u32, message: &str) -> Option<Told> {
    let is_path = !path.is_empty() && path.contains(['.', '/']) && !path.contains(char::is_whitespace);
    (is_path && line > 0).then(|| Told { path: path.to_owned(), line, message: cut(message) })
}

fn cut(message: &str) -> String {
    message.trim().chars().take(MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(log: &str, expected: &[(&str, u32, &str)]) {
        let found = told(log);
        let found: Vec<(&str, u32, &str)> =
            found.iter().map(|told| (told.path.as_str(), told.line, told.message.as_str())).collect();
        assert_eq!(found, expected, "{log}");
    }

    #[test]
    fn problems_are_told_as_the_known_tools_write_them() {
        check("src/a.py:3:1: E501 line too long", &[("src/a.py", 3, "E501 line too long")]);
        check("src/a.py:12: error: Name \"x\" is not defined", &[("src/a.py", 12, "error: Name \"x\" is not defined")]);
        check("src/a.ts(5,10): error TS2304: no name", &[("src/a.ts", 5, "error TS2304: no name")]);
        let rustc = "error[E0425]: cannot find value `x`\n  --> src/lib.rs:2:5\n   |\n";
        check(rustc, &[("src/lib.rs", 2, "error[E0425]: cannot find value `x`")]);
        let both = "warning: unused variable\n --> src/lib.rs:1:9\nerror: no\n --> src/lib.rs:9:1\n";
        check(both, &[("src/lib.rs", 9, "error: no"), ("src/lib.rs", 1, "warning: unused variable")]);
        let many: String = (1..=MAX_PROBLEMS).map(|n| format!("a.c:{n}:1: warning: w\n")).collect();
        assert_eq!(told(&format!("{many}a.c:1:1: error: e\n"))[0].message, "error: e");
        check("main.go:7:2: undefined: x\nmain.go:7:2: undefined: x", &[("main.go", 7, "undefined: x")]);
    }

    #[test]
    fn ordinary_lines_of_a_log_are_no_problems() {
        for line in [
            "12:30:01 INFO start",
            "see http://a.b:80/x",
            "error: 3 files",
            "a b.py:3: x",
            "x.py:0: y",
            "  --> ",
            "x:1",
        ] {
            check(line, &[]);
        }
        check("x.py:99999999999: y", &[]);
        check(&format!("x.py:1: {}", "y".repeat(9000)), &[]);
    }
}
