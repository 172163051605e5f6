//! Requirements and their evidence, and whether a tree is sound. Skipped and inconclusive are never green.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::id::{GateName, RequirementId, TaskId};
use super::outcome::{GateResult, GateStatus};
use super::plan::Task;
use super::session::TaskStatus;
use super::settings::{GateSpec, UnverifiedMode};
use super::state::{Round, State};

/// Whether a requirement is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequirementStatus {
    /// Its tasks are integrated and all its evidence is green.
    Met,
    /// A task of it failed, or some of its evidence is red.
    Unmet,
    /// Nothing proves it either way.
    Unverified,
}

/// A requirement with its evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequirementResult {
    /// Which.
    pub id: RequirementId,
    /// Whether it is met.
    pub status: RequirementStatus,
    /// What proves it: gates and checks, by name and state.
    pub evidence: Vec<String>,
    /// Why it is not met, or what is missing.
    pub reason: String,
}

/// Every requirement of the PRD, in its order.
pub fn requirements(state: &State) -> Vec<RequirementResult> {
    let Some(started) = &state.started else { return Vec::new() };
    let index = Index::of(state);
    started.prd.requirements.iter().map(|r| requirement(state, &index, &r.id)).collect()
}

/// What speaks for each requirement.
struct Index<'a> {
    tasks: BTreeMap<&'a RequirementId, Vec<&'a Task>>,
    gates: BTreeMap<&'a RequirementId, Vec<&'a GateSpec>>,
    results: BTreeMap<&'a GateName, &'a GateResult>,
}

impl<'a> Index<'a> {
    fn of(state: &'a State) -> Self {
        let mut index = Self { tasks: BTreeMap::new(), gates: BTreeMap::new(), results: BTreeMap::new() };
        for task in state.plan.iter().flat_map(|plan| &plan.tasks) {
            task.requirements.iter().for_each(|id| index.tasks.entry(id).or_default().push(task));
        }
        for gate in state.settings().into_iter().flat_map(|settings| &settings.gates) {
            gate.requirements.iter().for_each(|id| index.gates.entry(id).or_default().push(gate));
        }
        let runs = state.final_round().into_iter().flat_map(|round| &round.gates);
        index.results = runs.filter_map(|run| Some((&run.gate, run.result.as_ref()?))).collect();
        index
    }
}

fn requirement(state: &State, index: &Index<'_>, id: &RequirementId) -> RequirementResult {
    let gates = index.gates.get(id).map_or(&[][..], Vec::as_slice);
    let gates: Vec<_> = gates.iter().map(|gate| (*gate, index.results.get(&gate.name).copied())).collect();
    let evidence: Vec<String> = gates.iter().map(|(g, r)| show(g, *r)).collect();
    let result =
        |status, reason: String| RequirementResult { id: id.clone(), status, evidence: evidence.clone(), reason };
    let tasks = index.tasks.get(id).map_or(&[][..], Vec::as_slice);
    if let Some((status, reason)) = tasks.iter().find_map(|task| unfinished(state, task)) {
        return result(status, reason);
    }
    let has = |status| gates.iter().any(|(_, r)| r.is_some_and(|r| r.status == status));
    if has(GateStatus::Failed) {
        return result(RequirementStatus::Unmet, "its evidence is red".to_owned());
    }
    let all_green = !gates.is_empty() && gates.iter().all(|(_, r)| r.is_some_and(|r| r.status == GateStatus::Passed));
    match (all_green, gates.is_empty()) {
        (true, _) => result(RequirementStatus::Met, String::new()),
        (false, true) => result(RequirementStatus::Unverified, "no gate or check is tied to it".to_owned()),
        (false, false) => result(RequirementStatus::Unverified, "its gate or check gave no result".to_owned()),
    }
}

/// What a task that is not a success means for its requirements.
fn unfinished(state: &State, task: &Task) -> Option<(RequirementStatus, String)> {
    match state.tasks.get(&task.id).and_then(super::state::TaskState::status) {
        Some(status) if status.is_success() => None,
        Some(TaskStatus::Blocked) => Some((RequirementStatus::Unmet, format!("{} was blocked", task.id))),
        Some(_) => Some((RequirementStatus::Unmet, format!("{} failed", task.id))),
        None => Some((RequirementStatus::Unverified, format!("{} is not finished", task.id))),
    }
}

fn show(gate: &GateSpec, result: Option<&GateResult>) -> String {
    let state = match result.map(|r| r.status) {
        Some(GateStatus::Passed) => "passed",
        Some(GateStatus::Failed) => "failed",
        Some(GateStatus::Skipped) => "skipped",
        Some(GateStatus::Inconclusive) => "inconclusive",
        None => "not run",
    };
    format!("gate {} {state}", gate.name)
}

/// What a required gate has to say against the tree: `None` where it is satisfied.
/// A gate that was only found by looking at the repository may be skipped; one that was asked for may not.
pub fn objection(gate: &GateSpec, result: Option<&GateResult>) -> Option<&'static str> {
    if !gate.required {
        return None;
    }
    match result.map(|r| r.status) {
        Some(GateStatus::Passed) => None,
        Some(GateStatus::Skipped) if gate.detected => None,
        Some(GateStatus::Skipped) => Some("could not be run"),
        Some(GateStatus::Failed) => Some("failed"),
        Some(GateStatus::Inconclusive) => Some("proved nothing"),
        None => Some("was not run"),
    }
}

/// True where every required gate of a round is satisfied.
pub fn round_is_green(state: &State, round: &Round) -> bool {
    round.gates.iter().all(|run| state.gate(&run.gate).is_some_and(|g| objection(g, run.result.as_ref()).is_none()))
}

/// True where the tip holds work that passed everything that was required: the result branch may move to it.
pub fn is_sound(state: &State) -> bool {
    let Some(settings) = state.settings() else { return false };
    let any_success = state.tasks.values().any(|t| t.status().is_some_and(TaskStatus::is_success));
    let gates_are_green = match state.final_round() {
        Some(round) => round_is_green(state, round),
        None => settings.gates.is_empty(),
    };
    let enough_gates = !settings.require_gates || some_gate_passed(state);
    let proven = !settings.validate_prd
        || settings.unverified == UnverifiedMode::Warn
        || requirements(state).iter().all(|r| r.status != RequirementStatus::Unverified);
    any_success && proven && (gates_are_green || !settings.fail_on_gate_violation) && enough_gates
}

/// True where at least one gate of the final round ran and is green.
pub fn some_gate_passed(state: &State) -> bool {
    let passed = |r: &GateResult| r.status == GateStatus::Passed;
    state.final_round().is_some_and(|round| round.gates.iter().any(|g| g.result.as_ref().is_some_and(passed)))
}

/// Tasks with a certain status, in the plan's order.
pub fn tasks_with(state: &State, status: TaskStatus) -> Vec<TaskId> {
    let Some(plan) = &state.plan else { return Vec::new() };
    let is = |id: &TaskId| state.tasks.get(id).and_then(super::state::TaskState::status) == Some(status);
    plan.tasks.iter().filter(|t| is(&t.id)).map(|t| t.id.clone()).collect()
}
