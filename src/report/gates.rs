//! Reading gates and their rounds off a state. A gate without a result is never shown as anything but not run.

use super::model_work::{GateReport, GateStanding, RoundGate, RoundReport};
use crate::core::outcome::{GateResult, GateStatus};
use crate::core::settings::GateSpec;
use crate::core::state::{Round, State};

/// Every gate of the settings, with its result in the final round.
pub(super) fn gates(state: &State) -> Vec<GateReport> {
    let round = state.final_round();
    let specs = state.settings().map(|s| s.gates.as_slice()).unwrap_or_default();
    let decides = state.settings().is_some_and(|s| s.fail_on_gate_violation);
    specs.iter().map(|spec| gate(spec, round, decides)).collect()
}

fn gate(spec: &GateSpec, round: Option<&Round>, decides: bool) -> GateReport {
    let run = round.and_then(|r| r.gates.iter().find(|g| g.gate == spec.name));
    let result = run.and_then(|r| r.result.as_ref());
    let unfinished = run.is_some_and(|r| r.limit_ms.is_some());
    GateReport {
        name: spec.name.to_string(),
        kind: spec.kind,
        required: spec.required && decides,
        detected: spec.detected,
        status: standing(result),
        duration_ms: result.map_or(0, |r| r.duration_ms),
        summary: summary(result, unfinished),
        counts: result.map(|r| r.counts.clone()).unwrap_or_default(),
        requirements: spec.requirements.iter().map(ToString::to_string).collect(),
        cases: result.map(|r| r.cases.clone()).unwrap_or_default(),
        round: round.filter(|_| run.is_some()).map(|r| r.n),
        log_tail: result.map(|r| r.log_tail.clone()).unwrap_or_default(),
        leaked_processes: result.map_or(0, |r| r.leaked_processes),
    }
}

fn standing(result: Option<&GateResult>) -> GateStanding {
    match result.map(|r| r.status) {
        Some(GateStatus::Passed) => GateStanding::Passed,
        Some(GateStatus::Failed) => GateStanding::Failed,
        Some(GateStatus::Skipped) => GateStanding::Skipped,
        Some(GateStatus::Inconclusive) => GateStanding::Inconclusive,
        None => GateStanding::NotRun,
    }
}

fn summary(result: Option<&GateResult>, unfinished: bool) -> String {
    match result {
        Some(result) => result.summary.clone(),
        None if unfinished => "it has no end on record".to_owned(),
        None => "the run did not get to it".to_owned(),
    }
}

/// Rounds before the final one, in order.
pub(super) fn earlier_rounds(state: &State) -> Vec<RoundReport> {
    let last = state.final_round().map(|r| r.n);
    let earlier = |r: &&Round| Some(r.n) != last;
    state.rounds.iter().filter(earlier).map(round_report).collect()
}

fn round_report(round: &Round) -> RoundReport {
    let gates = round.gates.iter().map(|run| RoundGate {
        name: run.gate.to_string(),
        status: standing(run.result.as_ref()),
        duration_ms: run.result.as_ref().map_or(0, |r| r.duration_ms),
        summary: summary(run.result.as_ref(), run.limit_ms.is_some()),
    });
    RoundReport { n: round.n, purpose: round.purpose, commit: round.commit.to_string(), gates: gates.collect() }
}
