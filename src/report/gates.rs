//! Reading gates and their rounds off a state. A gate without a result is never shown as anything but not run.

use std::collections::BTreeMap;

use super::model_work::{GateReport, GateStanding, RoundGate, RoundReport};
use crate::core::effect::EffectKey;
use crate::core::event::{Event, Record};
use crate::core::id::GateName;
use crate::core::outcome::{GateResult, GateStatus};
use crate::core::settings::GateSpec;
use crate::core::state::{GateRun, Round, State};
use crate::core::time::At;

/// When gates began, by round and name.
pub(super) type Starts<'a> = BTreeMap<(u32, &'a GateName), At>;

/// When each gate began: the latest start counts, as a resume runs a gate again.
pub(super) fn starts(records: &[Record]) -> Starts<'_> {
    records.iter().filter_map(start).collect()
}

fn start(record: &Record) -> Option<((u32, &GateName), At)> {
    match &record.event {
        Event::GateStarted { round, gate, .. } | Event::Restarted { key: EffectKey::Gate { round, gate } } => {
            Some(((*round, gate), record.at))
        }
        _ => None,
    }
}

/// Every gate of the settings, with its result in the final round.
pub(super) fn gates(state: &State, starts: &Starts<'_>) -> Vec<GateReport> {
    let round = state.final_round();
    let specs = state.settings().map(|s| s.gates.as_slice()).unwrap_or_default();
    let decides = state.settings().is_some_and(|s| s.fail_on_gate_violation);
    specs.iter().map(|spec| gate(spec, round, decides, starts)).collect()
}

fn gate(spec: &GateSpec, round: Option<&Round>, decides: bool, starts: &Starts<'_>) -> GateReport {
    let run = round.and_then(|r| r.gates.iter().find(|g| g.gate == spec.name));
    let result = run.and_then(|r| r.result.as_ref());
    let unfinished = run.is_some_and(|r| r.limit_ms.is_some());
    let started = round.and_then(|r| starts.get(&(r.n, &spec.name)));
    GateReport {
        name: spec.name.to_string(),
        kind: spec.kind,
        required: spec.required && decides,
        detected: spec.detected,
        status: standing(result),
        started_ms: started.map(|at| at.wall_ms),
        started_elapsed_ms: started.map(|at| at.elapsed_ms),
        duration_ms: result.map_or(0, |r| r.duration_ms),
        summary: summary(result, unfinished),
        counts: result.map(|r| r.counts.clone()).unwrap_or_default(),
        requirements: spec.requirements.iter().map(ToString::to_string).collect(),
        cases: result.map(|r| r.cases.clone()).unwrap_or_default(),
        problems: result.map(|r| r.problems.clone()).unwrap_or_default(),
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
pub(super) fn earlier_rounds(state: &State, starts: &Starts<'_>) -> Vec<RoundReport> {
    let last = state.final_round().map(|r| r.n);
    let earlier = |r: &&Round| Some(r.n) != last;
    state.rounds.iter().filter(earlier).map(|round| round_report(round, starts)).collect()
}

fn round_report(round: &Round, starts: &Starts<'_>) -> RoundReport {
    let gate = |run: &GateRun| {
        let started = starts.get(&(round.n, &run.gate));
        RoundGate {
            name: run.gate.to_string(),
            status: standing(run.result.as_ref()),
            started_ms: started.map(|at| at.wall_ms),
            started_elapsed_ms: started.map(|at| at.elapsed_ms),
            duration_ms: run.result.as_ref().map_or(0, |r| r.duration_ms),
            summary: summary(run.result.as_ref(), run.limit_ms.is_some()),
        }
    };
    let gates = round.gates.iter().map(gate).collect();
    RoundReport { n: round.n, purpose: round.purpose, commit: round.commit.to_string(), gates }
}
