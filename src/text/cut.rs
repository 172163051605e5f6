//! Cutting finished Markdown to a forge's limit. A whole page flows in; its beginning flows out, cut between two lines,
//! with every fence and every `<details>` that was open closed, and with a last line that says what is missing.
//!
//! The page is ours: untrusted text in it went through the encoders, so a line that begins with backticks is a fence
//! and one that begins with `<details>` opens one.

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Bytes of UTF-8.
    Bytes,
    /// Units of UTF-16: never fewer than characters, however a forge counts those.
    Utf16,
}

impl Measure {
    /// The size of a text.
    pub fn of(self, text: &str) -> usize {
        match self {
            Self::Bytes => text.len(),
            Self::Utf16 => text.encode_utf16().count(),
        }
    }
}

/// At most `max` of a page. `more` is ours: a line that says where the rest is.
pub fn cut_markdown(page: &str, max: usize, measure: Measure, more: &str) -> String {
    if measure.of(page) <= max {
        return page.to_owned();
    }
    let ending = format!("\n{}\n", more.trim_end());
    let mut out = String::new();
    let (mut size, mut kept) = (measure.of(&ending), Open::default());
    for line in page.split_inclusive('\n') {
        let mut open = kept.clone();
        open.see(line);
        size += measure.of(line);
        if size + measure.of(&open.closing()) > max {
            break;
        }
        out.push_str(line);
        kept = open;
    }
    out.push_str(&kept.closing());
    out.push_str(&ending);
    out
}

/// What is open at a place of the page.
#[derive(Clone, Debug, Default)]
struct Open {
    /// The backticks of the fence that is open.
    fence: Option<String>,
    details: usize,
}

impl Open {
    fn see(&mut self, line: &str) {
        let ticks = line.len() - line.trim_start_matches('`').len();
        match &self.fence {
            Some(fence) => {
                if ticks >= fence.len() && line[ticks..].trim().is_empty() {
                    self.fence = None;
                }
            }
            None if ticks >= 3 => self.fence = Some("`".repeat(ticks)),
            None => {
                let count = |tag: &str| line.matches(tag).count();
                self.details = (self.details + count("<details")).saturating_sub(count("</details>"));
            }
        }
    }

    /// Starts on a line of its own: lines are kept whole.
    fn closing(&self) -> String {
        let fence = self.fence.as_ref().map(|fence| format!("{fence}\n")).unwrap_or_default();
        fence + &"\n</details>\n".repeat(self.details)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulldown_cmark::{Event, Parser, Tag, TagEnd};

    use super::*;
    use crate::text::markdown_code_block;

    const MORE: &str = "Cut here; the rest is in the artifact.";

    #[test]
    fn a_page_that_fits_is_left_alone() {
        assert_eq!(cut_markdown("a\nb", 3, Measure::Bytes, MORE), "a\nb");
    }

    #[test]
    fn a_cut_closes_what_is_open_and_says_so() {
        let page =
            format!("# t\n<details><summary>Log</summary>\n\n````text\n{}````\n\n</details>\n", "line\n".repeat(99));
        let cut = cut_markdown(&page, 150, Measure::Bytes, MORE);
        assert!(cut.len() <= 150, "{}", cut.len());
        assert!(cut.ends_with(&format!("line\n````\n\n</details>\n\n{MORE}\n")), "{cut}");
    }

    #[test]
    fn characters_beyond_the_basic_plane_count_twice() {
        let page = "🦀\n".repeat(100);
        let cut = cut_markdown(&page, 150, Measure::Utf16, MORE);
        assert!(Measure::Utf16.of(&cut) <= 150 && cut.starts_with('🦀'), "{cut}");
    }

    /// Whether the last line stands on its own, outside of code and details.
    fn ends_in_the_open(markdown: &str) -> bool {
        let (mut code, mut details, mut words) = (0_i32, 0_i32, String::new());
        for event in Parser::new(markdown) {
            match event {
                Event::Start(Tag::CodeBlock(_)) => code += 1,
                Event::End(TagEnd::CodeBlock) => code -= 1,
                Event::Html(html) | Event::InlineHtml(html) => {
                    let count = |tag: &str| i32::try_from(html.matches(tag).count()).expect("few");
                    details += count("<details>") - count("</details>");
                }
                Event::Text(text) if code == 0 && details == 0 => words.push_str(&text),
                _ => {}
            }
        }
        code == 0 && details == 0 && words.contains(MORE)
    }

    proptest! {
        #[test]
        fn no_cut_goes_over_its_bound_or_leaves_something_open(
            texts in proptest::collection::vec("([`~\n <@]|.){0,60}", 1..6), max in 90_usize..600,
        ) {
            let part = |text: &String| {
                format!("<details><summary>x</summary>\n\n{}\n</details>\n\n", markdown_code_block(text, "text"))
            };
            let page: String = texts.iter().map(part).collect();
            for measure in [Measure::Bytes, Measure::Utf16] {
                let cut = cut_markdown(&page, max, measure, MORE);
                prop_assert!(measure.of(&cut) <= max);
                prop_assert!(measure.of(&page) <= max || ends_in_the_open(&cut), "{cut}");
            }
        }
    }
}
