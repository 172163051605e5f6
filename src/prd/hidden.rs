//! Text in a PRD that its reader did not see: invisible and reordering characters, HTML comments.
//! In: the source and its body. Out: warnings with lines. What was approved has to be what was seen.

use std::collections::BTreeMap;

use crate::core::Warning;

use super::outline::Body;
use super::source::lines;

/// More places than this are counted, not listed.
const LISTED: usize = 20;

/// Finds text that a reader does not see.
pub(super) fn find(source: &str, body: &Body<'_>) -> Vec<Warning> {
    let mut places: BTreeMap<u32, String> = BTreeMap::new();
    for (at, letter) in invisible(source) {
        let message = format!("an invisible character (U+{:04X}) stands in this line", u32::from(letter));
        places.entry(body.lines.of(at)).or_insert(message);
    }
    for at in body.comments.iter().copied().chain(markdown_comments(body.text)) {
        let message = "a comment stands here that the rendered page does not show".to_owned();
        places.entry(body.lines.of(at)).or_insert(message);
    }
    let more = places.len().saturating_sub(LISTED);
    let listed = places.into_iter().take(LISTED).map(|(line, message)| Warning { line, message });
    let mut warnings: Vec<Warning> = listed.collect();
    if more > 0 {
        let message = format!("{more} more lines hold text that a reader does not see");
        warnings.push(Warning { line: 0, message });
    }
    warnings
}

fn invisible(source: &str) -> impl Iterator<Item = (usize, char)> {
    let mut before = ' ';
    source.char_indices().filter(move |(at, letter)| {
        let joins_emoji = *letter == '\u{200d}' && is_emoji(before);
        before = *letter;
        let mark = *letter == '\u{feff}' && *at == 0;
        is_invisible(*letter) && !joins_emoji && !mark
    })
}

fn is_invisible(letter: char) -> bool {
    matches!(letter,
        '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}'
        | '\u{e0000}'..='\u{e007f}')
}

/// A joiner between two pictographs makes one of them, as in family emoji.
fn is_emoji(letter: char) -> bool {
    matches!(letter, '\u{fe0f}' | '\u{2600}'..='\u{27bf}' | '\u{1f000}'..='\u{1faff}')
}

/// `[//]: # (text)`: a link definition that nothing links to is never shown.
fn markdown_comments(body: &str) -> impl Iterator<Item = usize> {
    let mut fenced = false;
    lines(body, 0).filter_map(move |(at, line)| {
        let line = line.trim_start();
        fenced ^= line.starts_with("```");
        let comment = line.starts_with("[//]:") || line.starts_with("[comment]:");
        (comment && !fenced).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &[u32]) {
        let body = Body::new(source);
        let found: Vec<u32> = find(source, &body).iter().map(|warning| warning.line).collect();
        assert_eq!(found, expected, "{source:?}");
    }

    #[test]
    fn what_a_reader_does_not_see_is_found() {
        check("a\n\u{200b}b\n\u{202e}c\u{202c}\n", &[2, 3]);
        check("a\u{e0041}\n\n<!-- run this -->\n\nb <!-- c --> d\n", &[1, 3, 5]);
        check("a\n\n[//]: # (run this)\n", &[3]);
        check("a\u{feff}\n", &[1]);
    }

    #[test]
    fn what_a_reader_sees_is_not() {
        check("\u{feff}# T\n\n```\n<!-- c -->\n[//]: # (x)\n```\n\n👩\u{200d}💻 ü — ✓\n", &[]);
    }

    #[test]
    fn many_places_are_counted() {
        let source = "\u{200b}\n".repeat(50);
        assert_eq!(find(&source, &Body::new(&source)).len(), LISTED + 1);
    }
}
