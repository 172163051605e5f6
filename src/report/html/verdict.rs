//! The head of the page: what happened, why, and what to do next, to be read in ten seconds. A report flows in, markup
//! flows out.

use std::collections::HashMap;

use super::super::format::{amount, duration, len, usd};
use super::super::model::{RUNNING, Report};
use super::super::model_work::GateStanding;
use super::super::next_steps::next_steps;
use super::markup::{Markup, Tone, t};
use super::steps;
use crate::core::evidence::RequirementStatus;
use crate::core::verdict::Verdict;

/// The head: verdict, reason, figures.
pub(super) fn head(report: &Report) -> Markup {
    let (tone, words) = in_words(report);
    let (class, sign) = (tone.class(), tone.sign());
    let qualifiers = report.qualifiers();
    let qualifiers = if qualifiers.is_empty() {
        String::new()
    } else {
        format!("<p class=\"qualifiers\">{}</p>", t(&qualifiers.join(" · ")))
    };
    let reason =
        if report.reason.is_empty() || report.reason == report.verdict { Markup::default() } else { reason(report) };
    Markup::raw(format!(
        "<header class=\"head {class}\"><p class=\"kicker\">maestro-ci report</p>\
         <h1><span class=\"sign\" aria-hidden=\"true\">{sign}</span> {words}<span class=\"title\">{}</span></h1>\n\
         {qualifiers}{reason}{}</header>\n",
        t(&report.prd.title),
        figures(report),
    ))
}

fn reason(report: &Report) -> Markup {
    let open = if report.verdict == RUNNING {
        ". The record ends here: the run is under way, or its process died"
    } else {
        ""
    };
    Markup::raw(format!("<p class=\"reason\">{}{open}</p>\n", t(&report.reason)))
}

/// How the session ended, in a word or two.
fn in_words(report: &Report) -> (Tone, &'static str) {
    let verdict = Verdict::ALL.into_iter().find(|verdict| Some(verdict.code()) == report.exit_code);
    match verdict {
        None if report.verdict == RUNNING => (Tone::Run, "Not finished"),
        Some(Verdict::Passed) if report.requirements_that_are(RequirementStatus::Unverified) > 0 => {
            (Tone::Warn, "Passed, not all of it verified")
        }
        Some(Verdict::Passed) if !report.qualifiers().is_empty() => (Tone::Warn, "Passed, not all of it green"),
        Some(Verdict::Passed) => (Tone::Ok, "Passed"),
        Some(Verdict::Failed) => (Tone::Bad, "Failed"),
        Some(Verdict::Budget) => (Tone::Warn, "Stopped at a limit"),
        Some(Verdict::Agent) => (Tone::Warn, "The agent could not work"),
        Some(Verdict::Setup) => (Tone::Warn, "The machine could not do it"),
        Some(Verdict::Report) => (Tone::Warn, "Done, not all of it delivered"),
        Some(Verdict::RolledBack) => (Tone::Bad, "Rolled back"),
        Some(Verdict::Interrupted) => (Tone::Warn, "Interrupted"),
        Some(Verdict::Terminated) => (Tone::Warn, "Terminated"),
        Some(Verdict::Usage) => (Tone::Bad, "Wrong flags or configuration"),
        Some(Verdict::InvalidPrd) => (Tone::Bad, "Invalid PRD"),
        Some(Verdict::NotApproved) => (Tone::Bad, "Not approved"),
        Some(Verdict::Internal) | None => (Tone::Bad, "Internal error"),
    }
}

/// The numbers that people ask for first.
fn figures(report: &Report) -> Markup {
    let of = |n: usize, all: usize| format!("{n} <small>of {all}</small>");
    let (passed, tests) = report.tests();
    let green = report.gates.iter().filter(|gate| gate.status == GateStanding::Passed).count();
    let met = report.requirements_that_are(RequirementStatus::Met);
    let attempts: usize = report.tasks.iter().map(|task| task.attempts.len()).sum();
    let budget = &report.budget;
    let figures = [
        ("Tasks done", of(report.tasks_succeeded(), report.tasks.len())),
        ("Requirements met", of(met, report.requirements.len())),
        ("Gates green", of(green, report.gates.len())),
        (
            "Tests passed",
            if tests == 0 { "none run".to_owned() } else { format!("{passed} <small>of {tests}</small>") },
        ),
        ("Attempts", len(attempts).to_string()),
        ("Active time", duration(report.timing.elapsed_ms)),
        ("Tokens", budget.tokens.used_in_words(amount)),
        ("Cost", budget.cost_microusd.used_in_words(|n| usd(n).replace('<', "&lt;"))),
    ];
    let figure = |(name, value): &(&str, String)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>");
    Markup::raw(format!("<dl class=\"numbers\">{}</dl>\n", figures.iter().map(figure).collect::<String>()))
}

/// What to do next.
pub(super) fn next(report: &Report, anchors: &HashMap<&str, String>) -> Markup {
    let mut body = steps::markup(&next_steps(report), anchors);
    if let Some(moment) = &report.resume_after {
        body.push(&Markup::raw(format!("<p>A resume makes no sense before <b>{}</b>.</p>\n", t(moment))));
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;

    #[test]
    fn a_pass_is_plain_only_where_nothing_qualifies_it() {
        let mut report = testing::report();
        report.exit_code = Some(0);
        report.requirements.clear();
        assert!(!report.qualifiers().is_empty());
        assert_eq!(in_words(&report), (Tone::Warn, "Passed, not all of it green"));
        report.tasks.clear();
        report.gates.clear();
        assert_eq!(in_words(&report), (Tone::Ok, "Passed"));
    }
}
