//! What was asked and what proves it: requirements, gates, findings. A report flows in, markup flows out.

use super::super::format::duration;
use super::super::model::Report;
use super::super::model_work::{GateReport, GateStanding, RequirementReport};
use super::markup::{Markup, Tone, anchor, aside, badge, facts, fitting, left_out, lines, pre, t, table};
use crate::core::evidence::RequirementStatus;
use crate::core::finding::{Finding, Level};
use crate::core::outcome::{TestCase, TestStatus};

/// Most rows of each table.
const MAX_REQUIREMENTS: usize = 300;
const MAX_FINDINGS: usize = 300;
const MAX_CASES: usize = 100;
pub(super) const MAX_GATES: usize = 200;
/// Bytes of one log, and of the message of one test.
const MAX_LOG: usize = 12_000;
const MAX_MESSAGE: usize = 2_000;
/// Bytes of markup: the failed tests of one gate, what opens of all gates, the rows of all findings.
const MAX_CASE_BYTES: usize = 200_000;
const MAX_GATE_BYTES: usize = 1_500_000;
const MAX_FINDING_BYTES: usize = 1_000_000;

/// Requirements; where not all have room, those that are not met come first.
pub(super) fn requirements(report: &Report) -> Markup {
    if report.requirements.is_empty() {
        return aside("The PRD lists none.");
    }
    let mut all: Vec<&RequirementReport> = report.requirements.iter().collect();
    if all.len() > MAX_REQUIREMENTS {
        all.sort_by_key(|requirement| match requirement.status {
            RequirementStatus::Unmet => 0,
            RequirementStatus::Unverified => 1,
            RequirementStatus::Met => 2,
        });
    }
    let rows: Vec<Vec<Markup>> = all.into_iter().map(requirement).collect();
    let head = ["Requirement", "Standing", "Priority", "What is wanted", "Evidence"];
    let caption = format!("{} requirements, line numbers are those of {}", rows.len(), t(&report.prd.path));
    table(&caption, &head, &rows, MAX_REQUIREMENTS)
}

fn requirement(requirement: &RequirementReport) -> Vec<Markup> {
    let word = match requirement.status {
        RequirementStatus::Met => "met",
        RequirementStatus::Unmet => "unmet",
        RequirementStatus::Unverified => "unverified",
    };
    let mut evidence: Vec<String> = requirement.evidence.iter().map(|e| t(e).to_string()).collect();
    evidence.extend(Some(t(&requirement.reason).to_string()).filter(|reason| !reason.is_empty()));
    vec![
        Markup::raw(format!("{} <small>line {}</small>", t(&requirement.id), requirement.line)),
        badge(Tone::of_requirement(requirement.status), word),
        t(&format!("{:?}", requirement.priority)),
        t(&requirement.text),
        Markup::raw(evidence.join("<br>")),
    ]
}

/// Gates: a line each, which opens to its failed tests and the end of its log.
pub(super) fn gates(report: &Report) -> Markup {
    if report.gates.is_empty() {
        return aside("No gate is configured, and none was found in the repository.");
    }
    let shown = &report.gates[..report.gates.len().min(MAX_GATES)];
    let bodies = gate_bodies(shown);
    let without = bodies.iter().filter(|body| body.is_none()).count();
    let mut all: Markup = shown.iter().zip(bodies).enumerate().map(|(i, (one, body))| gate(i, one, body)).collect();
    if without > 0 {
        all.push(&aside(format!(
            "{without} of these gates have no room here for more than a line; <code>report.json</code> has all of them."
        )));
    }
    if report.gates.len() > MAX_GATES {
        all.push(&left_out(report.gates.len() - MAX_GATES, "gates"));
    }
    all.push(&earlier(report));
    all
}

/// What is behind each line, where it has room; that of red gates has it first.
fn gate_bodies(gates: &[GateReport]) -> Vec<Option<Markup>> {
    let mut order: Vec<usize> = (0..gates.len()).collect();
    order.sort_by_key(|&i| !is_red(&gates[i]));
    let mut bodies = vec![None; gates.len()];
    let mut room = MAX_GATE_BYTES;
    for i in order {
        let body = gate_body(&gates[i]);
        if body.len() <= room {
            room -= body.len();
            bodies[i] = Some(body);
        }
    }
    bodies
}

fn is_red(gate: &GateReport) -> bool {
    matches!(gate.status, GateStanding::Failed | GateStanding::Inconclusive)
}

fn gate(index: usize, gate: &GateReport, body: Option<Markup>) -> Markup {
    let decides = if gate.required { "required" } else { "decides nothing" };
    let summary = format!(
        "{} <b>{}</b> <span class=\"what\">{}</span> <span class=\"cost\">{decides} · {}</span>",
        badge(Tone::of_gate(gate.status), gate.status.name()),
        t(&gate.name),
        t(&gate.summary),
        duration(gate.duration_ms)
    );
    let open = if is_red(gate) && body.is_some() { " open" } else { "" };
    Markup::raw(format!(
        "<details class=\"gate\" id=\"{}\"{open}><summary>{summary}</summary><div class=\"body\">{}</div></details>\n",
        anchor("gate", &gate.name, index),
        body.unwrap_or_else(|| aside("This has no room in this page."))
    ))
}

fn gate_body(gate: &GateReport) -> Markup {
    let found = if gate.detected { "found by looking at the repository" } else { "configured" };
    let counts: Vec<String> = gate.counts.iter().map(|(name, n)| format!("{n} {name}")).collect();
    let mut pairs = vec![("Origin", t(found)), ("Kind", t(&format!("{:?}", gate.kind).to_lowercase()))];
    if !counts.is_empty() {
        pairs.push(("Tests", t(&counts.join(", "))));
    }
    if !gate.requirements.is_empty() {
        pairs.push(("Evidence for", t(&gate.requirements.join(", "))));
    }
    let mut all = facts(&pairs);
    let red: Vec<&TestCase> = gate.cases.iter().filter(|case| case.status == TestStatus::Failed).collect();
    if !red.is_empty() {
        let rows: Vec<Vec<Markup>> = red.iter().map(|case| case_row(case)).collect();
        all.push(&table("Failed tests", &["Test", "Message"], &rows, fitting(&rows, MAX_CASE_BYTES, MAX_CASES)));
    }
    if gate.log_tail.trim().is_empty() {
        all.push(&aside("It wrote no log."));
    } else {
        all.push(&Markup::raw("<p class=\"dim\">The end of its log:</p>"));
        all.push(&pre("log", &lines(gate.log_tail.trim_end(), MAX_LOG)));
    }
    all
}

fn case_row(case: &TestCase) -> Vec<Markup> {
    let name = Markup::raw(format!("{}<br><small>{}</small>", t(&case.name), t(&case.classname)));
    vec![name, pre("message", &lines(&case.message, MAX_MESSAGE))]
}

fn earlier(report: &Report) -> Markup {
    let rows: Vec<Vec<Markup>> = report
        .earlier_rounds
        .iter()
        .flat_map(|round| round.gates.iter().map(move |gate| (round, gate)))
        .map(|(round, gate)| {
            let commit = round.commit.get(..12).unwrap_or(&round.commit);
            vec![
                t(&format!("round {} {}", round.n, gate.name)),
                badge(Tone::of_gate(gate.status), gate.status.name()),
                t(&gate.summary),
                Markup::raw(format!("<code>{}</code>", t(commit))),
                t(&duration(gate.duration_ms)),
            ]
        })
        .collect();
    if rows.is_empty() {
        return Markup::default();
    }
    table("Earlier rounds, before checkpoints", &["Gate", "Result", "Summary", "Commit", "Took"], &rows, MAX_GATES)
}

/// Everything that gates and rules have against the work; no section where that is nothing.
pub(super) fn findings(report: &Report) -> Markup {
    if report.findings.is_empty() {
        return Markup::default();
    }
    let rows: Vec<Vec<Markup>> = report.findings.iter().map(finding).collect();
    let head = ["Rule", "Level", "Place", "What", "Found by"];
    let cap = fitting(&rows, MAX_FINDING_BYTES, MAX_FINDINGS);
    let mut body = table("Findings, the heaviest first", &head, &rows, cap);
    if report.findings_not_listed > 0 {
        body.push(&aside(format!("{} more findings stand in no list.", report.findings_not_listed)));
    }
    body
}

fn finding(finding: &Finding) -> Vec<Markup> {
    let tone = match finding.level {
        Level::Error => Tone::Bad,
        Level::Warning => Tone::Warn,
        Level::Note => Tone::Off,
    };
    let line = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
    let place = finding.path.as_ref().map(|path| format!("<code>{}</code>", t(&format!("{path}{line}"))));
    vec![
        t(&finding.rule),
        badge(tone, finding.level.name()),
        Markup::raw(place.unwrap_or_else(|| "–".to_owned())),
        pre("message", &t(&finding.message)),
        t(&finding.source),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::html;
    use crate::report::testing;

    #[test]
    fn red_gates_do_not_crowd_out_the_rest() {
        let mut report = testing::report();
        let red = report.gates.iter().find(|gate| is_red(gate)).expect("a red gate").clone();
        let quotes = "\"".repeat(2_000);
        let case = report.gates.iter().flat_map(|gate| &gate.cases).next().expect("a test").clone();
        let case = TestCase { status: TestStatus::Failed, message: quotes.clone(), ..case };
        let bad = |n: usize| GateReport { name: format!("g{n}"), cases: vec![case.clone(); 100], ..red.clone() };
        let finding = Finding { message: quotes, ..report.findings.first().expect("a finding").clone() };
        for (gates, findings) in [(7, 0), (200, 300)] {
            report.gates = (0..gates).map(bad).collect();
            report.findings = vec![finding.clone(); findings];
            let page = html(&report, &|_| None);
            assert!(page.len() < 9_900_000, "{} bytes", page.len());
            assert!(page.contains("id=\"task-T-001\"") && page.contains("alternative approach"));
            assert!(page.contains("rows are left out here") && page.contains("<b>g0</b>"));
            assert_eq!(page.contains("have no room here for more than a line"), gates == 200);
        }
    }
}
