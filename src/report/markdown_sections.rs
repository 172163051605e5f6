//! The sections of `final-report.md`, each a function from the report to Markdown. Text that did not come from this
//! program goes through `md` or a code block, without exception.

use std::collections::BTreeMap;

use super::format::{amount, duration, len, usd};
use super::markdown::{list, md, table};
use super::model::{AmountBudget, DecisionReport, Report};
use super::model_work::{AttemptReport, GateReport, RequirementReport, TaskReport};
use crate::core::decision::DecisionKind;
use crate::core::evidence::RequirementStatus;
use crate::core::outcome::{FileChange, TestStatus};
use crate::text::count;

pub(super) fn summary(report: &Report) -> String {
    let (passed, tests) = report.tests();
    let tests = if tests == 0 { "none were run".to_owned() } else { format!("{passed} of {tests} passed") };
    let base = report.base.branch.as_deref().unwrap_or("detached");
    let mut items = vec![
        format!("Feature: {} ({})", md(&report.prd.feature), md(&report.prd.path)),
        format!("Session: {}", md(&report.session)),
        format!("Base: {} ({})", md(short(&report.base.commit)), md(base)),
        format!("Duration: {}", duration(report.timing.elapsed_ms)),
        format!("Tasks: {} of {}", report.tasks_succeeded(), report.tasks.len()),
        format!("Tests: {tests}"),
        format!("Checkpoints: {}", report.metrics.checkpoints),
        format!("Isolation: {}", md(&report.isolation.level)),
    ];
    if report.exit_code.is_none() {
        let running: Vec<&str> = report.progress.running.iter().map(|worker| worker.task.as_str()).collect();
        let running = if running.is_empty() { "no task".to_owned() } else { running.join(", ") };
        items.push(format!("Under way when this was written: {}", md(&running)));
    }
    items.extend(report.agents.iter().map(|agent| format!("Agent: {}", md(&agent.in_words()))));
    items.extend(report.notes.iter().map(|note| format!("Note: {}", md(note))));
    items.extend(report.denials().map(|denials| format!("Denied: {}", md(&denials))));
    let warning = |w: &crate::core::Warning| format!("PRD line {}: {}", w.line, md(&w.message));
    items.extend(report.prd.warnings.iter().map(warning));
    list(items)
}

pub(super) fn decisions(report: &Report) -> String {
    if report.decisions.is_empty() {
        return "None were needed.".to_owned();
    }
    let mut by_kind: BTreeMap<DecisionKind, Vec<&DecisionReport>> = BTreeMap::new();
    for decision in &report.decisions {
        by_kind.entry(decision.kind).or_default().push(decision);
    }
    let section = |(kind, all): (DecisionKind, Vec<&DecisionReport>)| {
        format!("### {}\n\n{}\n", heading(kind), list(all.into_iter().map(decision_line)))
    };
    by_kind.into_iter().map(section).collect()
}

fn heading(kind: DecisionKind) -> String {
    // The name in the journal, as words: a kind that is added later needs no second list here.
    let name =
        serde_json::to_value(kind).ok().and_then(|v| v.as_str().map(|s| s.replace('_', " "))).unwrap_or_default();
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn decision_line(decision: &DecisionReport) -> String {
    let task = decision.task.as_ref().map(|t| format!("{}: ", md(t))).unwrap_or_default();
    let others = md(&decision.alternatives.join(", "));
    let others = if others.is_empty() { others } else { format!("; not taken: {others}") };
    let (choice, why) = (md(&decision.choice), md(&decision.rationale));
    format!("{task}**{choice}** — {why} (confidence {:.2}{others})", decision.confidence)
}

pub(super) fn changes(report: &Report) -> String {
    let changes = &report.changes;
    if changes.files.is_empty() {
        return "No file was changed.".to_owned();
    }
    let (created, modified, deleted) = (changes.created, changes.modified, changes.deleted);
    let mut text = format!(
        "{} changed: {created} created, {modified} modified, {deleted} deleted.\n\n",
        count(len(changes.files.len()), "file")
    );
    let row =
        |f: &FileChange| vec![md(&f.path), kind_of_change(f.status).to_owned(), format!("+{} −{}", f.added, f.removed)];
    let rows: Vec<Vec<String>> = changes.files.iter().map(row).collect();
    text.push_str(&table(&["File", "Change", "Lines"], &rows));
    if changes.not_listed > 0 {
        text.push_str(&format!("\nand {} that no list holds\n", changes.not_listed));
    }
    text
}

fn kind_of_change(status: char) -> &'static str {
    match status {
        'A' => "created",
        'D' => "deleted",
        'T' => "type changed",
        _ => "modified",
    }
}

pub(super) fn testing(report: &Report) -> String {
    let tested: Vec<&GateReport> =
        report.gates.iter().filter(|g| !g.cases.is_empty() || !g.counts.is_empty()).collect();
    if tested.is_empty() {
        return "No gate reported test cases.".to_owned();
    }
    let rows: Vec<Vec<String>> = tested.iter().map(|g| test_row(g)).collect();
    let mut text = table(&["Suite", "Passed", "Failed", "Skipped"], &rows);
    let cases = tested.iter().flat_map(|g| g.cases.iter().map(move |c| (g, c)));
    let red = cases.filter(|(_, c)| c.status == TestStatus::Failed);
    let red = list(red.map(|(g, c)| {
        let place = c.file.as_deref().map(|file| format!(" ({})", md(&place(file, c.line)))).unwrap_or_default();
        format!("{} · {} {}{place}: {}", md(&g.name), md(&c.classname), md(&c.name), md(&c.message))
    }));
    if !red.is_empty() {
        text.push_str(&format!("\nFailed tests:\n\n{red}"));
    }
    text.push_str("\nCoverage and its change: no gate reports them.\n");
    text
}

/// `src/lib.rs:12`.
fn place(file: &str, line: Option<u32>) -> String {
    line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"))
}

fn test_row(gate: &GateReport) -> Vec<String> {
    let (passed, ran) = gate.tests();
    let skipped = gate.counts.get("skipped").copied();
    let listed = || len(gate.cases.iter().filter(|c| c.status == TestStatus::Skipped).count());
    vec![md(&gate.name), passed.to_string(), (ran - passed).to_string(), skipped.unwrap_or_else(listed).to_string()]
}

pub(super) fn gates(report: &Report) -> String {
    if report.gates.is_empty() {
        return "No gate is configured, and none was found in the repository.".to_owned();
    }
    let yes_no = |yes: bool| String::from(if yes { "yes" } else { "no" });
    let row = |g: &GateReport| {
        vec![
            md(&g.name),
            g.status.name().to_owned(),
            yes_no(g.required),
            yes_no(g.detected),
            duration(g.duration_ms),
            md(&g.summary),
        ]
    };
    let rows: Vec<Vec<String>> = report.gates.iter().map(row).collect();
    let mut text = table(&["Gate", "Result", "Required", "Detected", "Time", "Summary"], &rows);
    let problems = report.gates.iter().flat_map(|g| g.problems.iter().map(move |p| (g, p)));
    let problems = list(
        problems.map(|(g, p)| format!("{} · {}: {}", md(&g.name), md(&place(&p.path, Some(p.line))), md(&p.message))),
    );
    if !problems.is_empty() {
        text.push_str(&format!("\nThe logs name these lines:\n\n{problems}"));
    }
    text
}

pub(super) fn requirements(report: &Report) -> String {
    if report.requirements.is_empty() {
        return "The PRD lists none.".to_owned();
    }
    let row = |r: &RequirementReport| {
        let evidence = if r.evidence.is_empty() { r.reason.clone() } else { r.evidence.join(", ") };
        let why =
            if r.reason.is_empty() || r.evidence.is_empty() { evidence } else { format!("{evidence}; {}", r.reason) };
        vec![md(&r.id), md(&r.text), format!("{:?}", r.priority), standing(r.status).to_owned(), md(&why)]
    };
    let rows: Vec<Vec<String>> = report.requirements.iter().map(row).collect();
    table(&["Id", "Requirement", "Priority", "Status", "Evidence"], &rows)
}

fn standing(status: RequirementStatus) -> &'static str {
    match status {
        RequirementStatus::Met => "met",
        RequirementStatus::Unmet => "unmet",
        RequirementStatus::Unverified => "unverified",
    }
}

pub(super) fn checkpoints(report: &Report) -> String {
    let rows: Vec<Vec<String>> = report
        .checkpoints
        .iter()
        .map(|c| {
            let tag = c.tag.as_deref().map_or_else(|| "–".to_owned(), md);
            let branch = if c.moved_branch { "moved here" } else { "–" };
            vec![c.n.to_string(), md(short(&c.commit)), tag, md(&c.reason), branch.to_owned(), md(&c.at)]
        })
        .collect();
    table(&["Checkpoint", "Commit", "Tag", "Reason", "Branch", "At"], &rows)
}

pub(super) fn budget(report: &Report) -> String {
    let budget = &report.budget;
    let time = &budget.duration;
    let row = |name: &str, b: &AmountBudget, show: fn(u64) -> String| {
        let limit = b.limit.map_or_else(|| "none".to_owned(), show);
        vec![name.to_owned(), limit, b.used_in_words(show), show(b.reserved)]
    };
    let time_limit = time.limit_ms.map_or_else(|| "none".to_owned(), duration);
    let rows = vec![
        vec!["Time".to_owned(), time_limit, duration(time.used_ms), "–".to_owned()],
        row("Tokens", &budget.tokens, amount),
        row("API calls", &budget.api_calls, amount),
        row("Cost", &budget.cost_microusd, usd_inert),
    ];
    let mut text = table(&["Resource", "Limit", "Used", "Reserved"], &rows);
    text.push_str(match budget.source.as_str() {
        "gateway" => "\nTokens, calls and cost were counted by the gateway in the responses of the model API.\n",
        "reported" => "\nTokens, calls and cost are what the agents reported.\n",
        "partial" => "\nSome attempts reported nothing: tokens, calls and cost are a lower bound.\n",
        _ if budget.tokens.used.is_some() => "\nNo agent is known to have called a model.\n",
        _ => "\nNo agent reported what it used: tokens, calls and cost are unknown.\n",
    });
    if budget.estimated_tokens > 0 {
        let tokens = amount(budget.estimated_tokens);
        text.push_str(&format!("{tokens} of the tokens are the worst case of calls whose usage never came.\n"));
    }
    if budget.unpriced_calls > 0 {
        let calls = count(budget.unpriced_calls, "call");
        text.push_str(&format!("The price of {calls} is not known; the cost lacks them.\n"));
    }
    if let Some(list) = &budget.prices {
        text.push_str(&format!("Prices: {}, of {}.\n", md(&list.source), md(&list.date)));
    }
    for (task, attempt, says) in disagreements(report) {
        text.push_str(&format!(
            "{} attempt {}: the agent says {} tokens, the gateway counted {}.\n",
            md(&task.id),
            attempt.n,
            amount(says),
            amount(attempt.usage.tokens())
        ));
    }
    text
}

/// Attempts whose agent says something else than the gateway counted, the first twenty.
fn disagreements(report: &Report) -> impl Iterator<Item = (&TaskReport, &AttemptReport, u64)> {
    let attempts = report.tasks.iter().flat_map(|t| t.attempts.iter().map(move |a| (t, a)));
    let says = attempts.filter_map(|(t, a)| Some((t, a, a.reported_usage?.tokens())));
    says.filter(|(_, a, says)| *says != a.usage.tokens()).take(20)
}

/// Without the dollar sign, which starts mathematics in some readers, and without the `<` of tiny amounts.
fn usd_inert(microusd: u64) -> String {
    own(&usd(microusd))
}

/// Our own words about an amount, inert without escapes.
pub(super) fn own(text: &str) -> String {
    text.replace('<', "under ").replace('$', "USD ")
}

/// The first twelve digits of a commit.
fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
