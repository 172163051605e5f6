//! The comment, for every state of a run, hostile text, and more than a forge takes.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::comment::{CommentContext, comment};
use super::model::Report;
use super::testing;
use crate::text::Measure;

const MARKER: &str = "<!-- maestro-ci:report v1 prd=docs/prd.md -->";

fn context() -> CommentContext {
    let job_url = Some("https://ci.example/o/r/actions/runs/1".to_owned());
    CommentContext { marker: MARKER.to_owned(), job_url, reports: Some("artifact maestro".to_owned()), live: true }
}

/// The comment after each record of the test journal up to one.
fn after(is_last: impl Fn(&crate::core::Event) -> bool) -> String {
    let records = testing::journal();
    let end = records.iter().position(|r| is_last(&r.event)).expect("such a record");
    comment(&Report::from_records(&records[..=end]).expect("legal"), &context())
}

/// Fails on anything in a comment that a forge would act on, other than our own markup.
#[track_caller]
fn check_inert(page: &str) {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_GFM | Options::ENABLE_MATH;
    let mut in_code = false;
    let mut open = 0_i32;
    for event in Parser::new_ext(page, options) {
        match event {
            Event::Html(html) | Event::InlineHtml(html) => {
                let tags = html.replace(MARKER, "");
                let known = ["<details open>", "<details>", "</details>", "<summary>", "</summary>", "<sub>", "</sub>"];
                let rest = known.iter().fold(tags.clone(), |rest, tag| rest.replace(tag, ""));
                assert!(!rest.contains(['<', '>', '@']), "{html}");
                let count = |tag: &str| i32::try_from(tags.matches(tag).count()).expect("few");
                open += count("<details") - count("</details>");
            }
            Event::Start(Tag::Link { dest_url, .. }) => {
                assert!(dest_url.starts_with("https://ci.example/"), "{dest_url}");
            }
            Event::Start(Tag::Image { .. }) | Event::InlineMath(_) | Event::DisplayMath(_) => panic!("{event:?}"),
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(TagEnd::CodeBlock) => in_code = false,
            Event::Text(text) if !in_code => {
                assert!(!text.contains('@') && !text.contains("#1") && !text.contains("://"), "{text}");
            }
            _ => {}
        }
    }
    assert!(!in_code && open == 0, "something is left open in {page}");
    assert!(page.chars().all(|c| c == '\n' || crate::text::is_visible(c)));
    assert_eq!(page.matches("<!--").count(), 1);
    assert_eq!(page.lines().next(), Some(MARKER));
    assert!(Measure::Utf16.of(page) <= 60_000, "{}", page.len());
}

#[test]
fn at_any_record_the_comment_is_inert_and_whole() {
    let records = testing::journal();
    for end in 0..=records.len() {
        let report = Report::from_records(&records[..end]).expect("legal");
        check_inert(&comment(&report, &context()));
        check_inert(&comment(&report, &CommentContext { live: false, ..context() }));
    }
}

#[test]
fn a_plan_shows_what_will_be_done() {
    let page = after(|e| matches!(e, crate::core::Event::Planned { .. }));
    for expected in
        ["### 📋 ", ": **planned**\n", "**0 of 4 tasks", "<details open><summary>Tasks: 0 of 4 done", "| After |"]
    {
        assert!(page.contains(expected), "{expected:?} in\n{page}");
    }
    assert!(!page.contains("Next:") && !page.contains("Budget"), "{page}");
}

#[test]
fn a_run_under_way_shows_how_far_it_is_and_who_works() {
    let page = after(|e| matches!(e, crate::core::Event::WorkspaceReady { attempt: 2, .. }));
    for expected in
        ["### ⏳ ", ": **running**, phase 3 of 5, Implementation\n", "░` 1/4", "- `T-002` ", " · claude · attempt 2\n"]
    {
        assert!(page.contains(expected), "{expected:?} in\n{page}");
    }
}

#[test]
fn the_end_says_why_what_failed_and_what_to_do() {
    let page = comment(&testing::report(), &context());
    for expected in [
        "### ❌ ",
        "**2 of 4 tasks · ",
        "\n- `T-003` failed: ",
        "\n- Gate ",
        "**Next:** mend what stands above",
        "| Requirement | Result | Evidence |",
        "<details open><summary>Gates: 1 of 2 green</summary>",
        "<summary>Decisions: 2</summary>",
        "[job](https://ci.example/o/r/actions/runs/1)",
        "reports: artifact maestro",
    ] {
        assert!(page.contains(expected), "{expected:?} in\n{page}");
    }
}

#[test]
fn a_finished_report_without_an_end_says_so() {
    let mut report = testing::report();
    (report.exit_code, report.verdict) = (None, "running".to_owned());
    let page = comment(&report, &CommentContext { live: false, ..context() });
    assert!(
        page.contains("### ❔ ") && page.contains("no end on record") && page.contains("maestro-ci resume"),
        "{page}"
    );
}

#[test]
fn ten_thousand_of_everything_stay_below_the_limit_and_the_worst_stay_in_sight() {
    let mut report = testing::report();
    let mut task = report.tasks.iter().find(|t| t.id == "T-001").expect("a task").clone();
    // Each sign becomes four.
    task.title = "<".repeat(500);
    report.tasks.splice(0..0, (0..10_000).map(|n| super::TaskReport { id: format!("T-{n}x"), ..task.clone() }));
    let mut requirement = report.requirements[0].clone();
    (requirement.text, requirement.evidence) = ("<".repeat(500), vec!["<".repeat(500)]);
    report.requirements.extend(std::iter::repeat_n(requirement, 10_000));
    report.gates[1].log_tail = "🦀 ``` @x\n".repeat(100_000);
    report.gates.extend(std::iter::repeat_n(report.gates[1].clone(), 200));
    let page = comment(&report, &context());
    check_inert(&page);
    assert!(page.contains("`T-003` failed"), "{page}");
    let last = page.trim_end().lines().next_back().unwrap_or_default();
    assert!(
        last.ends_with("All of it is in [the reports of the job](https://ci.example/o/r/actions/runs/1)._"),
        "{last}"
    );
}

#[test]
fn a_limit_that_stopped_the_run_is_in_sight_with_the_way_on() {
    let mut report = testing::report();
    (report.exit_code, report.verdict, report.resumable) = (Some(5), "budget".to_owned(), true);
    report.budget.stopped_by = Some(super::StoppedBy {
        resource: crate::core::budget::Resource::Tokens,
        used: 90,
        limit: 100,
        soft: true,
        scope: crate::core::call::Scope::Session,
        task: None,
        wanted: 0,
    });
    let page = comment(&report, &context());
    check_inert(&page);
    assert!(page.contains("### ⏸️ ") && page.contains(" --max-tokens 200\n```"), "{page}");
    assert!(page.contains("<details open><summary>Budget</summary>"), "{page}");
}
