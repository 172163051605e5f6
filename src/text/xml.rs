//! The way out to XML. Untrusted text flows in; text of which every character is legal in XML 1.0 flows out.
//! Escaping `<` and `&` is the writer's work and must not be done here as well.

use super::untrusted::clean_lines;

/// Text for an XML attribute or text node. Done before the writer sees it, because quick-junit deletes tabs and
/// carriage returns and lets U+FFFE and U+FFFF through, which no XML parser accepts.
pub fn xml_text(text: &str) -> String {
    clean_lines(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tabs_and_line_ends_survive_as_space() {
        assert_eq!(xml_text("l2\tq\r\nl3\rl4"), "l2    q\nl3\nl4");
    }

    #[test]
    fn no_terminal_sequence_is_left_for_the_writer_to_strip() {
        assert_eq!(xml_text("\u{1b}[31mred]]>\u{fffe}"), "\u{fffd}[31mred]]>\u{fffd}");
    }

    proptest! {
        #[test]
        fn every_character_is_legal_in_xml(text in any::<String>()) {
            let legal = |c: char| c == '\n' || (c >= ' ' && !('\u{7f}'..='\u{9f}').contains(&c) && !matches!(c, '\u{fffe}' | '\u{ffff}'));
            prop_assert!(xml_text(&text).chars().all(legal));
        }
    }
}
