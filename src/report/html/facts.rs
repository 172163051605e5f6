//! What the result is and how it was made: changed files, the run itself, agents, walls, notes. A report flows in,
//! markup flows out.

use super::super::format::duration;
use super::super::model::{Metrics, Report};
use super::markup::{Markup, aside, facts, t, table};
use super::tasks::kind_of_change;
use crate::core::outcome::FileChange;
use crate::text::count;

/// Most rows of each table.
const MAX_FILES: usize = 500;
const MAX_NOTES: usize = 200;

/// Files that integrated tasks changed.
pub(super) fn changes(report: &Report) -> Markup {
    let changes = &report.changes;
    if changes.files.is_empty() {
        return aside("No file was changed.");
    }
    let row = |file: &FileChange| {
        vec![
            Markup::raw(format!("<code>{}</code>", t(&file.path))),
            t(kind_of_change(file.status)),
            Markup::raw(format!("+{} −{}", file.added, file.removed)),
        ]
    };
    let rows: Vec<Vec<Markup>> = changes.files.iter().map(row).collect();
    let (created, modified, deleted) = (changes.created, changes.modified, changes.deleted);
    let caption = format!(
        "{}: {created} created, {modified} modified, {deleted} deleted",
        count(changes.files.len() as u64, "changed file")
    );
    let mut all = table(&caption, &["File", "Change", "Lines"], &rows, MAX_FILES);
    if changes.not_listed > 0 {
        all.push(&aside(format!("{} more changes stand in no list.", changes.not_listed)));
    }
    all
}

/// The run: from what, where to, with whom, behind which walls.
pub(super) fn run(report: &Report) -> Markup {
    let code = |text: &str| Markup::raw(format!("<code>{}</code>", t(text)));
    let base = report.base.branch.as_deref().unwrap_or("detached");
    let timing = &report.timing;
    let mut pairs = vec![
        ("Session", code(&report.session)),
        ("Verdict", t(&format!("{} (exit {})", report.verdict, exit(report)))),
        ("Started", t(&timing.started)),
        ("Finished", t(timing.finished.as_deref().unwrap_or("not yet, or never"))),
        ("Active time", t(&duration(timing.elapsed_ms))),
        ("Resumed", t(&count(u64::from(timing.resumes), "time"))),
        ("PRD", t(&report.prd.path)),
        ("SHA-256 of the PRD", code(&report.prd.sha256)),
        ("Base", t(&format!("{} ({base})", report.base.commit.get(..12).unwrap_or(&report.base.commit)))),
        ("Result branch", code(&report.result.branch)),
        ("Isolation", t(&report.isolation.level)),
        ("maestro-ci", t(&report.tool.version)),
    ];
    pairs.extend(report.agents.iter().map(|agent| ("Agent", t(&agent.in_words()))));
    if let Some(list) = &report.budget.prices {
        pairs.push(("Prices", t(&format!("{}, of {}", list.source, list.date))));
    }
    let mut all = facts(&pairs);
    all.push(&metrics(&report.metrics));
    all.push(&notes(report));
    all
}

fn exit(report: &Report) -> String {
    report.exit_code.map_or_else(|| "none yet".to_owned(), |code| code.to_string())
}

fn metrics(metrics: &Metrics) -> Markup {
    let rates = [
        ("Tasks that succeeded with nobody asked", metrics.autonomy_ratio),
        ("Tasks that succeeded after a failed attempt", metrics.recovery_rate),
        ("Tests that passed", metrics.test_pass_rate),
        ("Rollbacks that were carried out", metrics.rollback_success),
    ];
    let row = |(name, rate): (&str, Option<f64>)| {
        vec![t(name), t(&rate.map_or_else(|| "nothing to measure".to_owned(), |rate| format!("{:.0} %", rate * 100.0)))]
    };
    let rows: Vec<Vec<Markup>> = rates.into_iter().map(row).collect();
    table("Metrics", &["Metric", "Share"], &rows, rates.len())
}

fn notes(report: &Report) -> Markup {
    let warnings = report.prd.warnings.iter().map(|w| format!("PRD line {}: {}", w.line, w.message));
    let all: Vec<String> = report.notes.iter().cloned().chain(report.denials()).chain(warnings).collect();
    if all.is_empty() {
        return Markup::default();
    }
    let items: String = all.iter().take(MAX_NOTES).map(|note| format!("<li>{}</li>\n", t(note))).collect();
    let more = all.len().saturating_sub(MAX_NOTES);
    let more = if more > 0 { format!("<li>and {more} more in <code>report.json</code></li>") } else { String::new() };
    Markup::raw(format!("<h3>Notes</h3><ul>{items}{more}</ul>\n"))
}
