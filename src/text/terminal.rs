//! The way out to a terminal and to a CI log. Untrusted text flows in; one visible line flows out that moves no
//! cursor, sets no title and gives the CI runner no command. The caller puts a visible prefix in front of it.

use std::iter::Peekable;
use std::str::Chars;

use super::untrusted::{is_line_break, is_visible};

/// One line for a terminal or a log. The GitHub runner acts on `::name::` at the start of a line (after trimming any
/// Unicode space) and on `##[name]` anywhere in it, that of Azure on `##vso[…]`; all are broken by a visible space.
pub fn terminal_line(text: &str) -> String {
    let plain = without_sequences(text);
    let mut line = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            c if is_line_break(c) || c == '\t' => line.push(' '),
            c if is_visible(c) => line.push(c),
            _ => {}
        }
    }
    // Only now: what was dropped may have kept the parts of a command apart.
    let line = break_commands(line.trim());
    match line.strip_prefix("::") {
        Some(rest) => format!(": :{rest}"),
        None => line,
    }
}

/// Breaks what CI runners take for a command anywhere in a line: `##[name]` and `##word[name]`.
pub(super) fn break_commands(text: &str) -> String {
    with_second_sign(text, " #")
}

/// The same with something else for the second sign of each such command.
pub(super) fn with_second_sign(text: &str, sign: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("##") {
        let (before, found) = rest.split_at(at + 1);
        out.push_str(before);
        let word = found[1..].trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        rest = if word.starts_with('[') {
            out.push_str(sign);
            &found[1..]
        } else {
            found
        };
    }
    out + rest
}

/// The text without terminal control sequences (ECMA-48); single control characters stay.
fn without_sequences(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\u{9b}' => skip_csi(&mut chars),
            _ => out.push(c),
        }
    }
    out
}

fn skip_escape(chars: &mut Peekable<Chars<'_>>) {
    match chars.next_if(|c| !c.is_control()) {
        Some('[') => skip_csi(chars),
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(chars),
        _ => {}
    }
}

/// Parameters and intermediates are 0x20–0x3F, the final byte is 0x40–0x7E.
fn skip_csi(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
    chars.next_if(|c| ('@'..='~').contains(c));
}

/// Up to BEL or `ESC \`, at most to the end of the line, so that an open string cannot hide all that follows.
fn skip_string(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| !matches!(c, '\u{7}' | '\u{1b}' | '\u{9c}') && !is_line_break(*c)).is_some() {}
    if chars.next_if_eq(&'\u{1b}').is_some() {
        chars.next_if_eq(&'\\');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_titles_and_clipboard_writes_leave_nothing_behind() {
        assert_eq!(terminal_line("\u{1b}[1;31mred\u{1b}[0m \u{1b}]52;c;aGk=\u{7}end"), "red end");
        assert_eq!(terminal_line("\u{1b}]0;title\u{1b}\\x\u{9b}2Jy"), "xy");
    }

    #[test]
    fn no_runner_command_survives_however_it_is_spelt() {
        for start in [
            "::error::x",
            "\u{a0}::error::x",
            "\u{feff}::error::x",
            "\u{ad}::error::x",
            "\r::error::x",
            "\u{1b}[m::error::x",
        ] {
            assert_eq!(terminal_line(start), ": :error::x");
        }
        for middle in ["a ##[error]x", "a #\u{200b}#[error]x", "a #\u{1b}[m#[error]x"] {
            assert_eq!(terminal_line(middle), "a # #[error]x");
        }
        for (text, expected) in [
            ("###[error]x", "## #[error]x"),
            ("a ##vso[task.x]y", "a # #vso[task.x]y"),
            ("##teamcity[x", "# #teamcity[x"),
            ("## heading [link]", "## heading [link]"),
        ] {
            assert_eq!(terminal_line(text), expected);
        }
    }

    #[test]
    fn many_lines_become_one() {
        assert_eq!(terminal_line("a\nb\rc"), "a b c");
    }

    proptest! {
        #[test]
        fn a_line_is_visible_and_gives_no_command(text in "([#:\\[\u{1b}\u{200b}\r\n a-z]|.){0,60}") {
            let line = terminal_line(&text);
            prop_assert!(line.chars().all(is_visible));
            prop_assert!(!line.contains("##[") && !line.trim_start().starts_with("::"), "{line:?}");
        }
    }
}
