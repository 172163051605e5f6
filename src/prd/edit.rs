//! Small changes to a text: every byte outside of them stays.
//! In: byte ranges and what to put there. Out: the new text. How a YAML value is written is known here too.

use std::ops::Range;

use super::yaml::Quote;

/// One replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) range: Range<usize>,
    pub(super) text: String,
}

impl Edit {
    pub(super) fn new(range: Range<usize>, text: impl Into<String>) -> Self {
        Self { range, text: text.into() }
    }

    pub(super) fn insert(at: usize, text: impl Into<String>) -> Self {
        Self::new(at..at, text)
    }
}

/// Makes the replacements; those at one place happen in the order given, and one inside of another is left out.
pub(super) fn apply(source: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|edit| edit.range.start);
    let mut out = String::with_capacity(source.len() + 128);
    let mut at = 0;
    for edit in edits.iter().filter(|edit| edit.range.end <= source.len()) {
        if edit.range.start < at {
            continue;
        }
        out.push_str(source.get(at..edit.range.start).unwrap_or(""));
        out.push_str(&edit.text);
        at = edit.range.end;
    }
    out.push_str(source.get(at..).unwrap_or(""));
    out
}

/// A YAML value in the style of the one it replaces.
pub(super) fn quoted(value: &str, style: Quote) -> String {
    match style {
        Quote::Single => format!("'{}'", value.replace('\'', "''")),
        Quote::Plain if is_plain(value) => value.to_owned(),
        Quote::Plain | Quote::Double | Quote::Block => double(value),
    }
}

fn double(value: &str) -> String {
    let mut out = String::from("\"");
    for letter in value.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            control if control.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// True for a value that needs no quotes, inside of brackets either.
fn is_plain(value: &str) -> bool {
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '/' | '+' | '@' | ' ');
    value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && value.chars().all(sound)
        && !value.contains(": ")
        && !value.ends_with([':', ' '])
        && !matches!(value.to_ascii_lowercase().as_str(), "null" | "true" | "false" | "yes" | "no" | "on" | "off")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, style: Quote, expected: &str) {
        assert_eq!(quoted(value, style), expected);
    }

    #[test]
    fn edits_leave_the_rest_alone() {
        let edits = vec![Edit::new(4..5, "E"), Edit::insert(1, "x"), Edit::insert(1, "y"), Edit::new(4..6, "no")];
        assert_eq!(apply("abcdef", edits), "axybcdEf");
    }

    #[test]
    fn values_keep_their_style() {
        check("approved", Quote::Plain, "approved");
        check("approved", Quote::Double, "\"approved\"");
        check("it's", Quote::Single, "'it''s'");
        check("2026-01-07T20:30:26Z", Quote::Plain, "2026-01-07T20:30:26Z");
        check("a, b", Quote::Plain, "\"a, b\"");
        check("a\"\n", Quote::Plain, "\"a\\\"\\u000A\"");
        check("#1", Quote::Plain, "\"#1\"");
        check("no", Quote::Plain, "\"no\"");
    }
}
