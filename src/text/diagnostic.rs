//! A message about one place in a file that a person wrote: file, line, column, the line itself, what to do.
//! In: source text and a byte offset. Out: the fields, and three lines for a terminal.
//! The text is untrusted: nothing of it that could drive a terminal is ever printed.

use std::fmt;

/// How much of a long line is shown.
const SHOWN_CHARS: usize = 160;
/// A place further right than this moves the window, so that the caret stays on the screen.
const WINDOW_FROM: u32 = 120;
/// What is shown left of the place, once the window has moved.
const CONTEXT: u32 = 40;

/// Something wrong at one place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, as the user named it.
    pub file: String,
    /// 1-based line; 0 for the file as a whole.
    pub line: u32,
    /// 1-based column in characters.
    pub column: u32,
    /// The line, or the part of it around the place, made safe to print.
    pub source_line: String,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What the user can do.
    pub help: String,
}

impl Diagnostic {
    /// Points at a byte offset of a text. An offset outside of it is moved to the nearest character.
    pub fn at(file: &str, source: &str, offset: usize, message: impl Into<String>, help: impl Into<String>) -> Self {
        let before = source.get(..floor(source, offset)).unwrap_or("");
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let mark = if start == 0 && source.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let line = source.get(start + mark..).unwrap_or("").split('\n').next().unwrap_or("");
        let column = before.get(start + mark..).map_or(0, |text| text.chars().count());
        let column = small(column.saturating_add(1));
        Self {
            file: file.to_owned(),
            line: small(before.matches('\n').count() + 1),
            column,
            source_line: window(line.trim_end_matches('\r'), column),
            message: message.into(),
            help: help.into(),
        }
    }

    /// Points at a byte offset of bytes that may not be text.
    pub fn in_bytes(
        file: &str,
        bytes: &[u8],
        offset: usize,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        // Only the line is decoded with replacement: a replaced byte before it would move the offset.
        let offset = offset.min(bytes.len());
        let start = bytes.iter().take(offset).rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let tail = bytes.get(start..).unwrap_or_default();
        let line = tail.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let shown = String::from_utf8_lossy(line);
        let before = String::from_utf8_lossy(bytes.get(start..offset).unwrap_or_default()).chars().count();
        let column = small(before + 1);
        Self {
            file: file.to_owned(),
            line: small(bytes.iter().take(offset).filter(|byte| **byte == b'\n').count() + 1),
            column,
            source_line: window(&shown, column),
            message: message.into(),
            help: help.into(),
        }
    }

    /// Speaks of the file as a whole.
    pub fn whole_file(file: &str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            source_line: String::new(),
            message: message.into(),
            help: help.into(),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, message, help) = (safe(&self.file), safe(&self.message), safe(&self.help));
        if self.line == 0 {
            write!(f, "{file}: {message}")?;
            return if help.is_empty() { Ok(()) } else { write!(f, "\n      = {help}") };
        }
        writeln!(f, "{file}:{}:{}: {message}", self.line, self.column)?;
        // A literal of this type may carry a whole line; one more for each ellipsis.
        let shown: String = self.source_line.chars().take(SHOWN_CHARS + 2).map(printable).collect();
        writeln!(f, "{:>5} | {shown}", self.line)?;
        let indent = " ".repeat(caret(self.column));
        write!(f, "      | {}", format!("{indent}^ {help}").trim_end())
    }
}

impl std::error::Error for Diagnostic {}

/// The nearest character boundary at or before an offset.
fn floor(text: &str, offset: usize) -> usize {
    let mut at = offset.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// How many characters of the line are left out at its start.
fn skipped(column: u32) -> u32 {
    if column > WINDOW_FROM { column - CONTEXT } else { 0 }
}

/// How many blanks stand before the caret.
fn caret(column: u32) -> usize {
    let skip = skipped(column);
    // One more for the ellipsis that stands for what was left out.
    let blanks = column.saturating_sub(1) - skip + u32::from(skip > 0);
    usize::try_from(blanks).unwrap_or(0)
}

/// The part of a line around a column, at most `SHOWN_CHARS` of it, safe to print.
fn window(line: &str, column: u32) -> String {
    let skip = usize::try_from(skipped(column)).unwrap_or(0);
    let mut rest = line.chars().skip(skip);
    let mut shown: String = rest.by_ref().take(SHOWN_CHARS).map(printable).collect();
    if skip > 0 {
        shown.insert(0, '…');
    }
    if rest.next().is_some() {
        shown.push('…');
    }
    shown
}

fn safe(text: &str) -> String {
    text.chars().map(printable).collect()
}

/// A terminal obeys control characters, and bidirectional marks reorder what a reader sees.
fn printable(letter: char) -> char {
    match letter {
        '\t' => ' ',
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => '\u{fffd}',
        other if other.is_control() => '\u{fffd}',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, offset: usize, expected: &str) {
        let shown = Diagnostic::at("docs/prd.md", source, offset, "message", "help").to_string();
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_place_is_shown_with_its_line_and_a_caret() {
        let source = "---\nstatus: aproved\n---\n";
        check(source, 12, "docs/prd.md:2:9: message\n    2 | status: aproved\n      |         ^ help");
    }

    #[test]
    fn columns_count_characters_and_line_ends_of_windows_are_not_shown() {
        check("äöü x\r\n", 7, "docs/prd.md:1:5: message\n    1 | äöü x\n      |     ^ help");
    }

    #[test]
    fn an_offset_past_the_end_or_inside_a_character_is_moved() {
        check("ä", 1, "docs/prd.md:1:1: message\n    1 | ä\n      | ^ help");
        check("", 9, "docs/prd.md:1:1: message\n    1 | \n      | ^ help");
    }

    #[test]
    fn a_byte_order_mark_does_not_count_as_a_column() {
        check("\u{feff}ab", 4, "docs/prd.md:1:2: message\n    1 | ab\n      |  ^ help");
    }

    #[test]
    fn hostile_text_cannot_drive_the_terminal() {
        let shown = Diagnostic::at("a\u{1b}[2J.md", "\u{1b}]0;x\u{7}\u{202e}", 0, "bad \u{1b}c", "").to_string();
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{shown:?}");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let source = format!("{}X{}", "a".repeat(5000), "b".repeat(5000));
        let diagnostic = Diagnostic::at("f", &source, 5000, "m", "h");
        let shown = diagnostic.to_string();
        assert!(shown.lines().all(|line| line.chars().count() < 200));
        let at = shown.lines().nth(1).and_then(|line| line.chars().position(|c| c == 'X'));
        let caret = shown.lines().nth(2).and_then(|line| line.chars().position(|c| c == '^'));
        assert_eq!(at, caret);
    }

    #[test]
    fn bytes_that_are_no_text_still_have_a_place() {
        let diagnostic = Diagnostic::in_bytes("f", b"one\ntw\xff", 6, "m", "h");
        assert_eq!((diagnostic.line, diagnostic.column), (2, 3));
    }

    #[test]
    fn a_whole_file_has_no_line() {
        assert_eq!(Diagnostic::whole_file("f", "m", "h").to_string(), "f: m\n      = h");
    }
}
