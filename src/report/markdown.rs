//! `final-report.md`: for the person who decides what happens next. A report flows in, Markdown flows out; every
//! untrusted word goes through the encoders, every list is bounded. The sections stand in `markdown_sections`.

use super::markdown_sections as sections;
use super::model::Report;
use super::next_steps::next_steps;
use crate::text::{markdown_inline, one_line};

/// Longest list; what is cut is counted.
const MAX_ROWS: usize = 200;
/// Longest text taken over from elsewhere, in characters.
const TEXT_CHARS: usize = 300;

/// The final report, with a newline at its end. Also made for a session that is under way or was cut off.
pub fn final_report(report: &Report) -> String {
    let mut page = format!("# {}\n\n{}\n", md(&report.prd.title), verdict(report));
    for (title, body) in [
        ("Summary", sections::summary(report)),
        ("Decisions", sections::decisions(report)),
        ("Changes", sections::changes(report)),
        ("Testing", sections::testing(report)),
        ("Quality Gates", sections::gates(report)),
        ("Requirements", sections::requirements(report)),
        ("Checkpoints", sections::checkpoints(report)),
        ("Budget", sections::budget(report)),
        ("Next Steps", next_steps(report)),
    ] {
        page.push_str(&format!("\n## {title}\n\n{}\n", body.trim_end()));
    }
    page
}

/// The verdict comes first, with everything that qualifies it.
fn verdict(report: &Report) -> String {
    let mut line = format!("**{}**", md(&report.verdict));
    for qualifier in report.qualifiers() {
        line.push_str(", ");
        line.push_str(&md(&qualifier));
    }
    if report.verdict != "passed" && !report.reason.is_empty() {
        line.push_str(" — ");
        line.push_str(&md(&report.reason));
    }
    line
}

/// Untrusted text, in one inert line.
pub(super) fn md(text: &str) -> String {
    markdown_inline(&one_line(text, TEXT_CHARS))
}

/// Inert lines as a list.
pub(super) fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    let shown: String = items.iter().take(MAX_ROWS).map(|item| format!("- {item}\n")).collect();
    match items.len().checked_sub(MAX_ROWS) {
        Some(more) if more > 0 => format!("{shown}- and {more} more\n"),
        _ => shown,
    }
}

/// Inert cells as a table; what is cut is counted below it.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), " --- |".repeat(head.len()));
    for row in rows.iter().take(MAX_ROWS) {
        text.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    if rows.len() > MAX_ROWS {
        text.push_str(&format!("\nand {} more\n", rows.len() - MAX_ROWS));
    }
    text
}

#[cfg(test)]
mod tests {
    use pulldown_cmark::{Event, Options, Parser};

    use super::super::testing;
    use super::*;

    #[test]
    fn the_verdict_comes_first_with_what_qualifies_it() {
        let page = final_report(&testing::report());
        let line = page.lines().nth(2).unwrap_or_default();
        assert!(line.starts_with("**failed**, 1 task failed, 1 task blocked, 1 gate not green, "), "{line}");
        assert!(line.contains(", 1 unverified"), "{line}");
    }

    #[test]
    fn every_section_of_the_contract_is_there_in_its_order() {
        let page = final_report(&testing::report());
        let found: Vec<&str> = page.lines().filter_map(|l| l.strip_prefix("## ")).collect();
        let expected = [
            "Summary",
            "Decisions",
            "Changes",
            "Testing",
            "Quality Gates",
            "Requirements",
            "Checkpoints",
            "Budget",
            "Next Steps",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn hostile_text_does_nothing() {
        let page = final_report(&testing::report());
        let mut in_code = false;
        for event in
            Parser::new_ext(&page, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_GFM)
        {
            match event {
                Event::Html(html) | Event::InlineHtml(html) => panic!("{html}"),
                Event::Start(pulldown_cmark::Tag::Link { .. } | pulldown_cmark::Tag::Image { .. }) => {
                    panic!("{event:?}")
                }
                Event::Start(pulldown_cmark::Tag::CodeBlock(_)) => in_code = true,
                Event::End(pulldown_cmark::TagEnd::CodeBlock) => in_code = false,
                Event::Text(text) if !in_code => {
                    assert!(!text.contains('@') && !text.contains("#1") && !text.contains("://"), "{text}");
                }
                _ => {}
            }
        }
        assert!(!page.contains("<!--") && page.chars().all(|c| c == '\n' || crate::text::is_visible(c)));
    }

    #[test]
    fn long_lists_are_cut_and_say_so() {
        let items = list((0..MAX_ROWS + 7).map(|n| n.to_string()));
        assert!(items.ends_with("- and 7 more\n") && items.lines().count() == MAX_ROWS + 1);
        let rows = vec![vec!["x".to_owned()]; MAX_ROWS + 7];
        assert!(table(&["h"], &rows).ends_with("\nand 7 more\n"));
    }
}
