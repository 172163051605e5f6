//! Where the frontmatter of a PRD stands: at the top, below the title, or nowhere.
//! In: the text. Out: byte ranges of it. It must not look inside the YAML beyond its first line.

use std::ops::Range;

use super::problem::Problem;
use super::source::{lines, next_line};

/// Byte ranges of the parts of a PRD.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    pub(super) front: Option<Front>,
}

/// One frontmatter.
#[derive(Clone, Debug)]
pub(super) struct Front {
    /// Start of the opening `---` line.
    pub(super) open: usize,
    /// The YAML between the two lines.
    pub(super) inner: Range<usize>,
    /// End of the closing line, its line end included.
    pub(super) end: usize,
}

/// Length of a byte order mark at the start of a text.
pub(super) fn mark_len(source: &str) -> usize {
    if source.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 }
}

pub(super) fn find(source: &str) -> Result<Layout, Problem> {
    let start = mark_len(source);
    let front = match at_top(source, start)? {
        Some(front) => Some(front),
        None => below_title(source, start),
    };
    let Some(front) = front else { return Ok(Layout::default()) };
    if let Some(second) = directly(source, front.end).or_else(|| below_title(source, front.end)) {
        let help = "keep one frontmatter; move its keys into the first one";
        return Err(Problem::new(second.open, "this is a second frontmatter", help));
    }
    Ok(Layout { front: Some(front) })
}

/// The text with byte order mark and frontmatter blanked out: same offsets, same lines.
pub(super) fn masked(source: &str, layout: &Layout) -> String {
    let front = layout.front.as_ref().map_or(0..0, |front| front.open..front.end);
    let mark = mark_len(source);
    let mut body = String::with_capacity(source.len());
    for (at, letter) in source.char_indices() {
        if (at < mark || front.contains(&at)) && !matches!(letter, '\n' | '\r') {
            body.extend(std::iter::repeat_n(' ', letter.len_utf8()));
        } else {
            body.push(letter);
        }
    }
    body
}

/// A frontmatter at the very top. A horizontal rule stands there too: it is followed by a blank line.
fn at_top(source: &str, from: usize) -> Result<Option<Front>, Problem> {
    let Some((open, line)) = first_text_line(source, from) else { return Ok(None) };
    if !is_rule(line) {
        return Ok(None);
    }
    let after = next_line(source, open);
    let blank = lines(source, after).next().is_none_or(|(_, line)| line.trim().is_empty());
    let keyed = first_text_line(source, after).is_some_and(|(_, line)| is_key(line));
    if blank && !keyed {
        return Ok(None);
    }
    let help = "close it with a line `---`";
    let open_end = Problem::new(open, "the frontmatter is opened here and never closed", help);
    enclosed(source, open).map(Some).ok_or(open_end)
}

fn below_title(source: &str, from: usize) -> Option<Front> {
    let (at, line) = first_text_line(source, from)?;
    if !line.starts_with("# ") {
        return None;
    }
    directly(source, next_line(source, at))
}

/// A frontmatter that comes next, recognised by a key right below its first line.
fn directly(source: &str, from: usize) -> Option<Front> {
    let (open, line) = first_text_line(source, from)?;
    let (_, first) = lines(source, next_line(source, open)).next()?;
    if is_rule(line) && is_key(first) { enclosed(source, open) } else { None }
}

fn enclosed(source: &str, open: usize) -> Option<Front> {
    let inner = next_line(source, open);
    let (close, _) = lines(source, inner).find(|(_, line)| is_rule(line))?;
    Some(Front { open, inner: inner..close, end: next_line(source, close) })
}

fn first_text_line(source: &str, from: usize) -> Option<(usize, &str)> {
    lines(source, from).find(|(_, line)| !line.trim().is_empty())
}

fn is_rule(line: &str) -> bool {
    line.trim_end() == "---"
}

/// True for a line that starts with `key:`.
fn is_key(line: &str) -> bool {
    let Some((key, value)) = line.split_once(':') else { return false };
    let name = key.trim_end().trim_matches(['"', '\'']);
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let word = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(letters);
    word && (value.is_empty() || value.starts_with([' ', '\t']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: Option<&str>) {
        let layout = find(source).expect("readable");
        let inner = layout.front.and_then(|front| source.get(front.inner));
        assert_eq!(inner, expected, "{source:?}");
        let masked = masked(source, &find(source).expect("readable"));
        assert_eq!(masked.len(), source.len());
    }

    #[test]
    fn a_frontmatter_stands_at_the_top_or_below_the_title() {
        check("---\na: 1\n---\n# T\n", Some("a: 1\n"));
        check("\u{feff}---\r\na: 1\r\n---\r\n# T\r\n", Some("a: 1\r\n"));
        check("# T\n\n---\na: 1\n---\n\ntext", Some("a: 1\n"));
        check("---\n---\n# T\n", Some(""));
    }

    #[test]
    fn horizontal_rules_are_no_frontmatter() {
        check("# T\n\n---\n\n## A\n\n---\n\n## B\n", None);
        check("---\n\n# T\n\n---\n", None);
        check("# T\n\ntext\n\n---\na: 1\n---\n", None);
        check("# T\n", None);
    }

    #[test]
    fn a_second_frontmatter_is_refused() {
        for source in ["---\na: 1\n---\n---\nb: 2\n---\n", "---\na: 1\n---\n# T\n\n---\nb: 2\n---\n"] {
            assert!(find(source).is_err(), "{source:?}");
        }
    }

    #[test]
    fn an_open_frontmatter_is_refused() {
        assert!(find("---\nstatus: approved\n# T\n").is_err());
    }

    #[test]
    fn the_mask_keeps_offsets_and_lines() {
        let source = "---\ntitle: ä\n---\n# T\n";
        let layout = find(source).expect("readable");
        let expected = format!("{}\n{}\n{}\n# T\n", " ".repeat(3), " ".repeat(9), " ".repeat(3));
        assert_eq!(masked(source, &layout), expected);
    }
}
