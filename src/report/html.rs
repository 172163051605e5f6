//! The HTML report: one page for a person with a browser, in one file that asks nobody for anything. A report flows in,
//! and through a function the patches that the journal names; the page flows out.
//!
//! It can be read without its script, which only finds and opens tasks. Nothing in it can load, send or run anything
//! else: a policy in its head allows its own style and script by their hashes, and untrusted text leaves through
//! `text::html_text` only. What has no room is counted, and said where it is.

mod budget;
mod chart;
mod checks;
mod facts;
mod graph;
mod history;
mod markup;
mod patch;
mod policy;
mod steps;
mod tasks;
mod timeline;
mod verdict;

use markup::{Markup, aside, section, t};

use super::model::{AmountBudget, Report};

/// Reads a file of the session's directory, by its path in there; none where it cannot be read.
pub type ReadFile<'a> = &'a dyn Fn(&str) -> Option<Vec<u8>>;

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/script.js");

/// Largest page, in bytes: below what browsers open without trouble and services show.
const MAX_PAGE: usize = 9_900_000;
/// What of it the sections may take: besides style and script there are the head and what says that something is left
/// out.
const MAX_SECTIONS: usize = MAX_PAGE - STYLE.len() - SCRIPT.len() - 60_000;
/// Tasks that have a line of their own.
const MAX_TASK_LINES: usize = 10_000;

/// The page. Also made for a session that is under way or was cut off.
pub fn html(report: &Report, read: ReadFile<'_>) -> String {
    let anchors = tasks::anchors(report);
    let mut page = Page { markup: Markup::default(), room: MAX_SECTIONS, names: Vec::new() };
    page.section("next", "What to do next", verdict::next(report, &anchors));
    page.section("requirements", "Requirements", checks::requirements(report));
    page.section("gates", "Gates", checks::gates(report));
    page.section("findings", "Findings", checks::findings(report));
    page.section("timeline", "Timeline", timeline::timeline(report, &anchors));
    page.section("plan", "Plan", graph::graph(report, &anchors));
    page.section("budget", "Budget", budget::budget(report));
    page.section("tasks", "Tasks", tasks::tasks(report, &anchors, read));
    page.section("decisions", "Decisions", history::decisions(report));
    page.section("faults", "Faults", history::faults(report));
    page.section("changes", "Changes", facts::changes(report));
    page.section("checkpoints", "Checkpoints", history::checkpoints(report));
    page.section("run", "About this run", facts::run(report));
    page.finish(report)
}

/// A page in the making.
struct Page {
    markup: Markup,
    room: usize,
    names: Vec<(&'static str, &'static str)>,
}

impl Page {
    fn section(&mut self, id: &'static str, title: &'static str, body: Markup) {
        if body.is_empty() {
            return;
        }
        let body = if body.len() > self.room { no_room() } else { body };
        let section = section(id, title, &body);
        self.room = self.room.saturating_sub(section.len());
        self.markup.push(&section);
        self.names.push((id, title));
    }

    fn finish(self, report: &Report) -> String {
        let links: String =
            self.names.iter().map(|(id, title)| format!("<li><a href=\"#{id}\">{title}</a></li>")).collect();
        let head = verdict::head(report);
        let body = self.markup.into_string();
        format!(
            "{}<body>\n<a class=\"skip\" href=\"#main\">Skip to the report</a>\n{head}<div class=\"page\">\
             <nav aria-label=\"Sections\"><ul>{links}</ul></nav>\n\
             <main id=\"main\" tabindex=\"-1\">\n{body}</main></div>\n\
             <footer><p>Made by maestro-ci {} from the journal of session {}. Everything here is in \
             <code>report.json</code>, too.</p></footer>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
            before_body(report),
            t(&report.tool.version),
            t(&report.session),
        )
    }
}

fn no_room() -> Markup {
    aside("This has no room in this page; <code>report.json</code> has it.")
}

/// Everything up to the body: what the page may do, what it is about, how it looks.
fn before_body(report: &Report) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         {}<title>{}: {} · maestro-ci</title>\n<style>{STYLE}</style>\n</head>\n",
        policy::policy(STYLE, SCRIPT),
        for_scripts(report),
        t(&report.headline()),
        t(&report.prd.title),
    )
}

/// The page's facts for programs, which need not guess at words.
fn for_scripts(report: &Report) -> String {
    let amount = |budget: &AmountBudget| budget.used.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
    let facts = [
        ("session", report.session.clone()),
        ("verdict", report.verdict.clone()),
        ("exit-code", report.exit_code.map(|code| code.to_string()).unwrap_or_default()),
        ("tasks", format!("{}/{}", report.tasks_succeeded(), report.tasks.len())),
        ("tokens", amount(&report.budget.tokens)),
        ("api-calls", amount(&report.budget.api_calls)),
        ("cost-microusd", amount(&report.budget.cost_microusd)),
    ];
    facts.iter().map(|(name, value)| format!("<meta name=\"maestro-ci:{name}\" content=\"{}\">\n", t(value))).collect()
}

#[cfg(test)]
fn testing_attempt() -> super::model_work::AttemptReport {
    let report = super::testing::report();
    report.tasks[0].attempts[0].clone()
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn page(report: &Report) -> String {
        html(report, &|_| None)
    }

    /// Every tag of a page, as (name, attributes); fails where a browser would read on in another way.
    fn tags(page: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut rest = page;
        while let Some(at) = rest.find('<') {
            let tag = &rest[at + 1..];
            let end = tag.find('>').expect("a tag has an end");
            let inside = &tag[..end];
            assert!(!inside.contains('<'), "a tag in a tag: {inside}");
            let (name, attributes) = inside.split_once(' ').unwrap_or((inside, ""));
            found.push((name.to_ascii_lowercase(), attributes.to_owned()));
            rest = &tag[end + 1..];
            // What stands in these two is not markup.
            for raw in ["style", "script"] {
                if name == raw {
                    rest = &rest[rest.find(&format!("</{raw}>")).expect("it is closed")..];
                }
            }
        }
        found
    }

    #[test]
    fn the_verdict_comes_first_and_every_section_can_be_reached() {
        let page = page(&testing::report());
        let body = page.split("<body>").nth(1).expect("a body");
        assert!(body.find("<h1>").expect("a heading") < body.find("<nav").expect("a list of sections"));
        assert!(body.contains("✗</span> Failed"), "the verdict");
        for (_, attributes) in tags(&page).iter().filter(|(name, _)| name == "a") {
            let target =
                attributes.split("href=\"#").nth(1).and_then(|rest| rest.split('"').next()).expect("a place in here");
            assert!(page.contains(&format!(" id=\"{target}\"")), "{target} is not in the page");
        }
    }

    #[test]
    fn every_element_is_closed_in_its_order() {
        let void = ["meta", "br", "input", "!doctype"];
        let closed_by_itself = |attributes: &str| attributes.ends_with('/');
        let mut open = Vec::new();
        for (name, attributes) in tags(&page(&testing::report())) {
            match name.strip_prefix('/') {
                Some(closing) => assert_eq!(open.pop().as_deref(), Some(closing)),
                None if void.contains(&name.as_str()) || closed_by_itself(&attributes) || name.ends_with('/') => {}
                None => open.push(name),
            }
        }
        assert_eq!(open, Vec::<String>::new());
    }

    #[test]
    fn hostile_text_makes_no_tag_no_attribute_and_no_invisible_character() {
        let page = page(&testing::report());
        for (name, attributes) in tags(&page) {
            assert!(!["img", "iframe", "object", "embed", "link", "base", "!--"].contains(&name.as_str()), "{name}");
            // What stands between quotes is a value; the rest are names.
            let names: String = attributes.split('"').step_by(2).collect();
            assert!(!names.contains(['<', '\'', '`', '\n']), "{name} {attributes}");
            for attribute in names.split(['=', ' ', '/']).filter(|attribute| !attribute.is_empty()) {
                assert!(
                    !attribute.starts_with("on") && !matches!(attribute, "style" | "src" | "action"),
                    "{attributes}"
                );
            }
            let target = attributes.split("href=\"").nth(1);
            assert!(target.is_none_or(|target| target.starts_with('#')), "{name} {attributes}");
        }
        assert!(page.chars().all(|c| c == '\n' || crate::text::is_visible(c)));
    }

    #[test]
    fn a_session_under_way_has_a_page_and_so_has_one_of_which_nothing_is_known() {
        let records = testing::journal();
        for end in 0..=records.len() {
            let report = Report::from_records(&records[..end]).expect("legal");
            tags(&page(&report));
        }
        let cut = Report::from_records(&records[..20]).expect("legal");
        assert!(page(&cut).contains("Not finished"));
    }

    #[test]
    fn two_elements_never_share_an_id() {
        let page = page(&testing::report());
        let mut seen = std::collections::BTreeSet::new();
        for (name, attributes) in tags(&page) {
            let id = format!(" {attributes}")
                .split(" id=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .map(str::to_owned);
            assert!(id.as_ref().is_none_or(|id| seen.insert(id.clone())), "{name} {id:?}");
        }
        assert!(seen.len() > 10);
    }
}
