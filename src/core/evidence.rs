//! Requirements and their evidence, and whether a tree is sound. Skipped and inconclusive are never green.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::id::{RequirementId, TaskId};
use super::outcome::{GateResult, GateStatus};
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
    started.prd.requirements.iter().map(|r| requirement(state, &r.id)).collect()
}

fn requirement(state: &State, id: &RequirementId) -> RequirementResult {
    let gates = gates_of(state, id);
    let evidence: Vec<String> = gates.iter().map(|(g, r)| show(g, *r)).collect();
    let result =
        |status, reason: String| RequirementResult { id: id.clone(), status, evidence: evidence.clone(), reason };
    if let Some(task) = unfinished_task(state, id) {
        let (status, reason) = task;
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

/// The first task of a requirement that is not a success.
fn unfinished_task(state: &State, id: &RequirementId) -> Option<(RequirementStatus, String)> {
    let plan = state.plan.as_ref()?;
    plan.tasks.iter().filter(|t| t.requirements.contains(id)).find_map(|task| {
        match state.tasks.get(&task.id).and_then(super::state::TaskState::status) {
            Some(status) if status.is_success() => None,
            Some(TaskStatus::Blocked) => Some((RequirementStatus::Unmet, format!("{} was blocked", task.id))),
            Some(_) => Some((RequirementStatus::Unmet, format!("{} failed", task.id))),
            None => Some((RequirementStatus::Unverified, format!("{} is not finished", task.id))),
        }
    })
}

fn gates_of<'a>(state: &'a State, id: &RequirementId) -> Vec<(&'a GateSpec, Option<&'a GateResult>)> {
    let Some(settings) = state.settings() else { return Vec::new() };
    let tied = settings.gates.iter().filter(|g| g.requirements.contains(id));
    tied.map(|g| (g, state.final_round().and_then(|r| result_of(r, g)))).collect()
}

fn result_of<'a>(round: &'a Round, gate: &GateSpec) -> Option<&'a GateResult> {
    round.gates.iter().find(|g| g.gate == gate.name)?.result.as_ref()
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
