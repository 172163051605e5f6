//! The way out to HTML. Untrusted text flows in; text flows out that is inert between tags and inside a quoted
//! attribute. Inside `<script>`, `<style>`, a URL or an attribute without quotes it has no business.

use super::untrusted::clean_lines;

/// Text for a text node or a quoted attribute. Line ends stay, tabs are four spaces, what cannot be seen or reorders
/// what can is U+FFFD.
pub fn html_text(text: &str) -> String {
    let clean = clean_lines(text);
    let mut out = String::with_capacity(clean.len() + clean.len() / 16);
    for c in clean.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Old browsers took it for a quote.
            '`' => out.push_str("&#96;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::is_visible;

    fn check(text: &str, expected: &str) {
        assert_eq!(html_text(text), expected);
    }

    /// What a browser reads: the five references that the encoder writes, and nothing else begins with `&`.
    fn read_back(html: &str) -> String {
        let names = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&#96;", "`"), ("&amp;", "&")];
        let mut text = String::new();
        let mut rest = html;
        while let Some(at) = rest.find('&') {
            text.push_str(&rest[..at]);
            let (name, c) = names.iter().find(|(name, _)| rest[at..].starts_with(name)).expect("a known reference");
            text.push_str(c);
            rest = &rest[at + name.len()..];
        }
        text + rest
    }

    #[test]
    fn markup_and_quotes_are_words() {
        check("<img src=x onerror='y'>", "&lt;img src=x onerror=&#39;y&#39;&gt;");
        check("a \" b ` c &amp; </script>", "a &quot; b &#96; c &amp;amp; &lt;/script&gt;");
    }

    #[test]
    fn what_hides_or_reorders_is_shown_as_replaced() {
        check("\u{1b}[31m\u{202e}x\u{fffe}\u{0}", "\u{fffd}[31m\u{fffd}x\u{fffd}\u{fffd}");
        check("a\tb\r\nc\rd", "a    b\nc\nd");
    }

    proptest! {
        #[test]
        fn it_reads_back_as_it_was_cleaned(text in "([<>&\"'`#;a-z \n\t]|.){0,80}") {
            prop_assert_eq!(read_back(&html_text(&text)), clean_lines(&text));
        }

        #[test]
        fn nothing_in_it_can_open_a_tag_close_a_quote_or_hide(text in any::<String>()) {
            let html = html_text(&text);
            let inert = |c: char| c == '\n' || (is_visible(c) && !matches!(c, '<' | '>' | '"' | '\'' | '`'));
            prop_assert!(html.chars().all(inert), "{html:?}");
        }
    }
}
