//! What happened on the way: decisions with what else was considered, faults with what followed, checkpoints. A report
//! flows in, markup flows out.

use super::super::model::{CheckpointReport, DecisionReport, FaultReport, Report};
use super::markup::{Markup, aside, details, facts, left_out, lines, pre, t, table};

/// Most of each that the page shows.
const MAX_DECISIONS: usize = 300;
const MAX_FAULTS: usize = 300;
const MAX_CHECKPOINTS: usize = 300;
const MAX_MESSAGE: usize = 2_000;

/// Decisions, each with its options.
pub(super) fn decisions(report: &Report) -> Markup {
    if report.decisions.is_empty() {
        return aside("None were needed.");
    }
    let mut all: Markup = report.decisions.iter().take(MAX_DECISIONS).map(decision).collect();
    if report.decisions.len() > MAX_DECISIONS {
        all.push(&left_out(report.decisions.len() - MAX_DECISIONS, "decisions"));
    }
    all
}

/// The name of a kind as the journal has it, in words.
fn kind(decision: &DecisionReport) -> String {
    let name = serde_json::to_value(decision.kind).ok();
    name.and_then(|v| v.as_str().map(|s| s.replace('_', " "))).unwrap_or_default()
}

fn decision(decision: &DecisionReport) -> Markup {
    let task = decision.task.as_ref().map(|task| format!("{} · ", t(task))).unwrap_or_default();
    let summary = Markup::raw(format!(
        "<b>{}</b> <span class=\"what\">{}</span> <span class=\"cost\">{task}{}</span>",
        t(&decision.choice),
        t(&decision.rationale),
        t(&kind(decision))
    ));
    let mut pairs = vec![
        ("At", t(&decision.at)),
        ("Confidence", t(&format!("{:.2}", decision.confidence))),
        ("Situation", t(&decision.context)),
    ];
    if !decision.impact.is_empty() {
        pairs.push(("What follows", t(&decision.impact)));
    }
    let rows: Vec<Vec<Markup>> = decision
        .options
        .iter()
        .map(|option| {
            let taken = if option.name == decision.choice { "taken" } else { "" };
            vec![t(&option.name), t(&format!("{:.2}", option.score)), t(&option.note), t(taken)]
        })
        .collect();
    let options = table("Options, best first", &["Option", "Score", "Why", "Taken"], &rows, 50);
    details(false, &summary, &Markup::raw(format!("<div class=\"body\">{}{options}</div>", facts(&pairs))))
}

/// Everything that went wrong, in order.
pub(super) fn faults(report: &Report) -> Markup {
    if report.faults.is_empty() {
        return aside("Nothing went wrong.");
    }
    let rows: Vec<Vec<Markup>> = report.faults.iter().map(fault).collect();
    let head = ["When", "Where", "Kind", "What happened", "What followed"];
    table("Faults, in the order in which they happened", &head, &rows, MAX_FAULTS)
}

fn fault(fault: &FaultReport) -> Vec<Markup> {
    let place = match (&fault.task, fault.attempt) {
        (Some(task), Some(n)) => format!("{task} attempt {n}"),
        (Some(task), None) => task.clone(),
        _ => "session".to_owned(),
    };
    vec![
        t(&fault.at),
        t(&place),
        t(&format!("{}: {}", fault.class, fault.reason)),
        pre("message", &lines(&fault.message, MAX_MESSAGE)),
        t(&fault.followed_by),
    ]
}

/// Checkpoints, the base commit first.
pub(super) fn checkpoints(report: &Report) -> Markup {
    let rows: Vec<Vec<Markup>> = report.checkpoints.iter().map(checkpoint).collect();
    if rows.is_empty() {
        return aside("There is none.");
    }
    let head = ["Checkpoint", "Commit", "Tag", "Reason", "Branch", "At"];
    table("Checkpoints; number 0 is the base commit", &head, &rows, MAX_CHECKPOINTS)
}

fn checkpoint(checkpoint: &CheckpointReport) -> Vec<Markup> {
    let commit = checkpoint.commit.get(..12).unwrap_or(&checkpoint.commit);
    vec![
        t(&checkpoint.n.to_string()),
        Markup::raw(format!("<code>{}</code>", t(commit))),
        t(checkpoint.tag.as_deref().unwrap_or("–")),
        t(&checkpoint.reason),
        t(if checkpoint.moved_branch { "moved here" } else { "–" }),
        t(&checkpoint.at),
    ]
}
