//! Given / When / Then: how such lists, paragraphs and blocks are recognised and written down.
//! In: entries of a list. Out: whether they are one scenario, and its text.

use super::lists::Entry;
use super::markdown::{self, Block, Kind};
use super::outline::Body;

/// Words that a line of a scenario starts with. The last ones go on with a `Then`.
const WORDS: [&str; 12] =
    ["given", "when", "then", "and", "but", "or", "including", "no", "not", "with", "without", "except"];

/// True where the entries together are one scenario.
pub(super) fn is_one(entries: &[Entry]) -> bool {
    let words: Option<Vec<String>> = entries.iter().map(|entry| keyword(&entry.text)).collect();
    let given = words.is_some_and(|words| words.iter().any(|word| word == "given"));
    // A list of whole scenarios, one an item, is several.
    given && !(entries.len() > 1 && entries.iter().all(|entry| is_whole(&entry.text)))
}

/// True for a scenario in one line: `Given x, when y, then z`.
pub(super) fn is_whole(text: &str) -> bool {
    let lower = text.to_lowercase().replace('*', "");
    keyword(text).is_some_and(|word| word == "given") && lower.contains(" then ")
}

/// The text of a scenario: a line for each entry, marks around its first word removed.
pub(super) fn text(entries: &[Entry]) -> String {
    let lines: Vec<String> =
        entries.iter().map(|entry| entry.with_nested(&markdown::plain_start(&entry.text))).collect();
    lines.join("\n")
}

/// True for the info string of a fenced block that holds a scenario.
pub(super) fn is_gherkin(info: &str) -> bool {
    let word = info.split_whitespace().next().unwrap_or("");
    matches!(word.to_ascii_lowercase().as_str(), "gherkin" | "cucumber" | "feature")
}

/// The lines of a paragraph that is written as part of a scenario.
pub(super) fn paragraph(body: &Body<'_>, at: usize, block: &Block) -> Vec<Entry> {
    if !matches!(block.kind, Kind::Paragraph) || block.in_item {
        return Vec::new();
    }
    let lines: Vec<&str> = markdown::text_lines(body.text, &block.inline).collect();
    if lines.first().and_then(|line| keyword(line)).is_none() {
        return Vec::new();
    }
    let entry = |line: &str| Entry {
        block: at,
        at: block.span.start,
        text: line.to_owned(),
        checkbox: false,
        nested: Vec::new(),
    };
    lines.into_iter().map(entry).collect()
}

/// The word that makes a line part of a scenario, in lower case.
fn keyword(text: &str) -> Option<String> {
    let text = text.trim_start_matches(['*', '_', '`', ' ']);
    let word: String = text.chars().take_while(|c| c.is_alphabetic()).flat_map(char::to_lowercase).collect();
    WORDS.contains(&word.as_str()).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], expected: bool) {
        let entry =
            |line: &&str| Entry { block: 0, at: 0, text: (*line).to_owned(), checkbox: false, nested: Vec::new() };
        let entries: Vec<Entry> = lines.iter().map(entry).collect();
        assert_eq!(is_one(&entries), expected, "{lines:?}");
    }

    #[test]
    fn a_scenario_has_a_given_and_only_its_words() {
        check(&["**Given**: a", "**When**: b", "**Then**: c", "**When**: d", "And e"], true);
        check(&["Given a", "Then b", "Including c", "No d"], true);
        check(&["When a", "Then b"], false);
        check(&["Given a", "Something else"], false);
        check(&[], false);
    }

    #[test]
    fn one_line_scenarios_stay_apart() {
        check(&["Given a, when b, then c", "**Given** d, **then** e"], false);
        check(&["Given a, when b, then c"], true);
    }
}
