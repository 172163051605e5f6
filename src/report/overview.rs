//! What a person has to know within ten seconds, as Markdown: the verdict, the figures, why, and what to do next. A
//! report flows in; the head of the PR comment and of the job summary flows out. Every untrusted word is encoded.

use super::format::{amount, duration, len, usd};
use super::markdown::md;
use super::markdown_sections::own;
use super::model::Report;
use super::model_work::{GateReport, GateStanding, TaskReport, TaskStanding};
use super::next_steps::resume_command;
use crate::core::evidence::RequirementStatus;
use crate::core::session::Phase;
use crate::text::{count, markdown_code_block};

/// Longest list of what went wrong.
const MAX_TROUBLE: usize = 8;

/// Where a run stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The plan is there, nothing was started.
    Planned,
    /// Work is under way.
    Running,
    /// It is over.
    Done,
    /// No end is on record, and who speaks is not the run: its process may have died.
    Open,
}

/// `live`: the run itself speaks.
pub(super) fn standing(report: &Report, live: bool) -> Standing {
    let is_untouched = report.tasks.iter().all(|task| task.attempts.is_empty());
    match (report.exit_code, live) {
        (Some(_), _) => Standing::Done,
        (None, false) => Standing::Open,
        (None, true) if is_untouched => Standing::Planned,
        (None, true) => Standing::Running,
    }
}

/// The title with the verdict and everything that qualifies it, in one line without a mark of Markdown in front.
pub(super) fn heading(report: &Report, standing: Standing) -> String {
    let (said, more) = match standing {
        Standing::Planned => ("planned", Vec::new()),
        Standing::Running => ("running", report.phase.map(in_phase).into_iter().collect()),
        Standing::Open => ("no end on record", Vec::new()),
        Standing::Done => (report.verdict.as_str(), report.qualifiers()),
    };
    let more: String = more.iter().map(|words| format!(", {}", md(words))).collect();
    format!("{} {}: **{}**{more}", icon(report, standing), md(title(report)), md(said))
}

fn title(report: &Report) -> &str {
    if report.prd.title.is_empty() { "maestro-ci" } else { &report.prd.title }
}

fn in_phase(phase: Phase) -> String {
    format!("phase {} of 5, {}", phase.number(), phase.title())
}

fn icon(report: &Report, standing: Standing) -> &'static str {
    match (standing, report.exit_code) {
        (Standing::Planned, _) => "📋",
        (Standing::Running, _) => "⏳",
        (Standing::Open, _) => "❔",
        // A pass with something that nobody verified is not a plain one.
        (Standing::Done, Some(0)) if report.qualifiers().is_empty() => "✅",
        (Standing::Done, Some(0 | 8)) => "🟡",
        (Standing::Done, Some(9)) => "⏪",
        (Standing::Done, _) if report.resumable => "⏸️",
        (Standing::Done, _) => "❌",
    }
}

/// Figures in one line.
pub(super) fn facts(report: &Report) -> String {
    let mut facts = vec![format!("{} of {} tasks", report.tasks_succeeded(), report.tasks.len())];
    let gates = report.gates.iter().filter(|g| g.status != GateStanding::NotRun).count();
    if gates > 0 {
        let green = report.gates.iter().filter(|g| g.status == GateStanding::Passed).count();
        facts.push(format!("{green} of {} green", count(len(report.gates.len()), "gate")));
    }
    if !report.requirements.is_empty() {
        let met = report.requirements_that_are(RequirementStatus::Met);
        facts.push(format!("{met} of {} met", count(len(report.requirements.len()), "requirement")));
    }
    facts.push(duration(report.timing.elapsed_ms));
    facts.push(tokens(report));
    facts.push(cost(report));
    facts.retain(|fact| !fact.is_empty());
    facts.join(" · ")
}

fn tokens(report: &Report) -> String {
    let tokens = &report.budget.tokens;
    match tokens.used {
        Some(0) if report.tasks.iter().all(|t| t.attempts.is_empty()) => String::new(),
        Some(0) | None if report.budget.source == "none" => "usage not reported".to_owned(),
        _ => format!("{} tokens", tokens.used_in_words(amount)),
    }
}

fn cost(report: &Report) -> String {
    let cost = &report.budget.cost_microusd;
    match cost.used {
        Some(0) if !cost.at_least => String::new(),
        // Said of the tokens already.
        None if report.budget.source == "none" => String::new(),
        _ => format!("cost {}", own(&cost.used_in_words(usd))),
    }
}

/// Why it did not pass, and what stands in the way: empty where nothing does.
pub(super) fn trouble(report: &Report) -> String {
    let mut items = Vec::new();
    if report.exit_code.is_some_and(|code| code != 0) && !report.reason.is_empty() {
        items.push(md(&report.reason));
    }
    let bad = |t: &&TaskReport| matches!(t.status, TaskStanding::Failed | TaskStanding::Parked);
    let task = |t: &TaskReport| {
        let reason = md(t.reason.as_deref().unwrap_or_default());
        format!("{} {}: {reason}", code(&t.id), t.status.name())
    };
    let red = |g: &&GateReport| matches!(g.status, GateStanding::Failed | GateStanding::Inconclusive);
    let gate = |g: &GateReport| format!("Gate {} {}: {}", code(&g.name), g.status.name(), md(&g.summary));
    items.extend(report.tasks.iter().filter(bad).map(task));
    items.extend(report.gates.iter().filter(red).map(gate));
    bullets(&items, MAX_TROUBLE)
}

/// A list that says how much of it is left out.
pub(super) fn bullets(items: &[String], max: usize) -> String {
    let mut text: String = items.iter().take(max).map(|item| format!("- {item}\n")).collect();
    if items.len() > max {
        text.push_str(&format!("- and {} more\n", items.len() - max));
    }
    text
}

/// What the reader should do, most important first; none while the run goes on.
pub(super) fn next(report: &Report, standing: Standing) -> String {
    match standing {
        Standing::Planned | Standing::Running => String::new(),
        Standing::Open => {
            let words = "The run is still under way, or its process died. Run the job again, or:";
            format!("**Next:** {words}\n\n{}", go_on(report))
        }
        Standing::Done => format!("**Next:** {}", after_the_end(report)),
    }
}

fn after_the_end(report: &Report) -> String {
    let unverified: Vec<String> = report
        .requirements
        .iter()
        .filter(|r| r.status == RequirementStatus::Unverified)
        .take(20)
        .map(|r| code(&r.id))
        .collect();
    let check = if unverified.is_empty() {
        String::new()
    } else {
        let more = report.requirements_that_are(RequirementStatus::Unverified) - unverified.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!(
            " Nothing proves {}{more}: check by hand, or give each a gate or a `check` block.",
            unverified.join(", ")
        )
    };
    if report.resumable {
        let when = report.resume_after.as_ref().map(|moment| format!(" not before {}", md(moment)));
        let when = when.unwrap_or_default();
        return format!("run the same job again{when}, or go on by hand:\n\n{}", go_on(report));
    }
    let (branch, moved) = (code(&report.result.branch), report.result.moved);
    match report.exit_code {
        Some(8) => format!("{branch} holds the work; run the same command again to deliver what is missing.{check}"),
        Some(0) if moved => format!("review {branch} and merge it.{check}"),
        Some(0) => format!("nothing was to change.{check}"),
        Some(9) => format!("a person has to look: {branch} was put back to its last good checkpoint."),
        _ if moved => format!("{branch} stands at the last tree that passed; what came after it did not.{check}"),
        _ => format!("mend what stands above, in the PRD or by hand; {branch} was not moved.{check}"),
    }
}

fn go_on(report: &Report) -> String {
    let stop = report.budget.stopped_by.as_ref();
    markdown_code_block(&resume_command(&report.session, &report.isolation.level, stop), "sh")
}

/// A name as code, where it holds nothing but what names hold; else as inert words.
pub(super) fn code(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if !name.is_empty() && name.len() <= 200 && name.chars().all(is_plain) { format!("`{name}`") } else { md(name) }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    /// The heading of the test journal's report after a change.
    fn check(change: impl FnOnce(&mut Report), expected: &str) {
        let mut report = testing::report();
        report.prd.title = "Tokens".to_owned();
        change(&mut report);
        let heading = heading(&report, standing(&report, true));
        assert!(heading.starts_with(expected), "{heading}");
    }

    #[test]
    fn the_heading_says_how_it_ended_and_what_qualifies_that() {
        check(|_| (), "❌ Tokens: **failed**, 1 task failed, 1 task blocked, 1 gate not green");
        let passed = |report: &mut Report| {
            (report.exit_code, report.verdict) = (Some(0), "passed".to_owned());
            report.tasks.truncate(2);
            report.gates.truncate(1);
        };
        check(
            |r| {
                passed(r);
                r.requirements.clear();
            },
            "✅ Tokens: **passed**",
        );
        let unverified = |r: &mut Report| {
            passed(r);
            r.requirements.retain(|r| r.status == RequirementStatus::Unverified);
        };
        check(unverified, "🟡 Tokens: **passed**, 1 unverified");
        check(
            |r| (r.exit_code, r.resumable, r.verdict) = (Some(5), true, "budget".to_owned()),
            "⏸️ Tokens: **budget**",
        );
        check(|r| r.exit_code = None, "⏳ Tokens: **running**, phase 5 of 5, Handoff");
        check(
            |r| {
                r.exit_code = None;
                r.tasks.iter_mut().for_each(|t| t.attempts.clear());
            },
            "📋 Tokens: **planned**",
        );
    }

    #[test]
    fn a_report_without_an_end_is_not_taken_for_a_run_under_way() {
        let mut report = testing::report();
        report.exit_code = None;
        assert_eq!(standing(&report, false), Standing::Open);
        assert!(next(&report, Standing::Open).contains("its process died"));
    }

    #[test]
    fn what_can_go_on_says_how_and_when() {
        let mut report = testing::report();
        (report.resumable, report.resume_after) = (true, Some("2023-11-14T22:13:20Z".to_owned()));
        let next = next(&report, Standing::Done);
        assert!(
            next.contains("not before 2023-11-14T22:13:20Z") && next.contains("\nmaestro-ci resume 0190a0b0"),
            "{next}"
        );
    }

    #[test]
    fn long_lists_say_what_they_leave_out() {
        assert_eq!(bullets(&["a".to_owned(), "b".to_owned(), "c".to_owned()], 1), "- a\n- and 2 more\n");
    }
}
