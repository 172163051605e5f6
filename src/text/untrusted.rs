//! Which characters of untrusted text may be shown, and the two cleaned forms that the encoders start from.
//!
//! Untrusted text flows in, text without control or invisible characters flows out. What the cleaned text means in an
//! output format is not known here.

/// Stands where a character was that must not be shown; dropping it could join what it kept apart.
const REPLACEMENT: char = '\u{fffd}';

/// Characters that have no shape of their own: Unicode's general category Cf, and the fillers and selectors that are
/// used like it. U+FE00–FE0F (emoji presentation) is left in: it is common and reorders nothing.
const INVISIBLE: [(char, char); 25] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fdd0}', '\u{fdef}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1345f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// True for what a reader sees or knows as space: no control, no format character, no noncharacter.
pub fn is_visible(c: char) -> bool {
    let invisible = |&(first, last): &(char, char)| (first..=last).contains(&c);
    !c.is_control() && (c.is_ascii() || !(is_noncharacter(c) || INVISIBLE.iter().any(invisible)))
}

/// The last two code points of each plane, which XML refuses or discourages.
fn is_noncharacter(c: char) -> bool {
    u32::from(c) & 0xfffe == 0xfffe
}

/// True for everything that some reader takes for the end of a line.
pub(super) fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Many lines: line ends are `\n`, tabs are four spaces, everything else that cannot be seen is U+FFFD.
pub(super) fn clean_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => {
                chars.next_if_eq(&'\n');
                out.push('\n');
            }
            '\n' | '\u{2028}' | '\u{2029}' => out.push('\n'),
            '\t' => out.push_str("    "),
            c if is_visible(c) => out.push(c),
            _ => out.push(REPLACEMENT),
        }
    }
    out
}

/// One line, trimmed: line ends and tabs are spaces, everything else that cannot be seen is U+FFFD.
pub(super) fn clean_line(text: &str) -> String {
    let shown = |c: char| match c {
        c if is_line_break(c) || c == '\t' => ' ',
        c if is_visible(c) => c,
        _ => REPLACEMENT,
    };
    text.trim().chars().map(shown).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn line_ends_are_unified_and_tabs_spread() {
        assert_eq!(clean_lines("a\r\nb\rc\td\u{2028}e"), "a\nb\nc    d\ne");
        assert_eq!(clean_line(" a\r\nb\tc "), "a  b c");
    }

    #[test]
    fn what_hides_or_reorders_text_is_replaced() {
        for c in ['\u{202e}', '\u{200b}', '\u{feff}', '\u{ad}', '\u{e0041}', '\u{fffe}', '\u{6ffff}', '\u{9b}', '\0'] {
            assert!(!is_visible(c), "{:x}", u32::from(c));
            assert_eq!(clean_lines(&format!("a{c}b")), "a\u{fffd}b");
        }
    }

    #[test]
    fn every_script_stays_as_it_is() {
        let text = "Größe · 数 · ١ · 🦀 · ✔\u{fe0f} · \u{fffd}";
        assert_eq!(clean_lines(text), text);
    }

    proptest! {
        #[test]
        fn cleaned_text_is_visible_to_the_last_character(text in any::<String>()) {
            prop_assert!(clean_lines(&text).chars().all(|c| c == '\n' || is_visible(c)));
            prop_assert!(clean_line(&text).chars().all(is_visible));
        }
    }
}
