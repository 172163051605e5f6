//! `step`: one input, the events that follow from it. Pure: no clock, no disk, no chance. The driver calls it with
//! an input, appends and applies what it answers, then calls it with `Input::Continue` until it answers nothing.

use super::advance;
use super::budget::Usage;
use super::effect::{EffectKey, Input, LostEffect};
use super::event::Event;
use super::id::TaskId;
use super::outcome::{AgentReport, Broken, Ended, Outcome};
use super::session::{Phase, StopCause};
use super::state::State;
use super::time::At;

/// What follows from an input.
#[must_use]
pub fn step(state: &State, at: At, input: Input) -> Vec<Event> {
    match input {
        Input::Start(started, plan) => vec![
            Event::SessionStarted(started),
            Event::PhaseStarted { phase: Phase::Planning },
            Event::PhaseStarted { phase: Phase::TaskGeneration },
            Event::Planned { plan },
        ],
        Input::Resumed { lost, settings } => {
            let follow_up: Vec<Event> = lost.iter().map(take_up_again).collect();
            let mut events = vec![Event::Resumed { lost, settings }];
            events.extend(follow_up);
            events
        }
        Input::Usage { task, attempt, usage } => usage_reported(state, task, attempt, usage),
        Input::Done(key, outcome) => finished(state, at, key, outcome),
        Input::Cancel { signal } => match &state.stop {
            // A rollback under way is finished, whoever is in a hurry.
            Some(StopCause::Signal { .. } | StopCause::Critical { .. }) => Vec::new(),
            _ if state.finished.is_some() => Vec::new(),
            _ => vec![Event::StopRequested { stop: StopCause::Signal { signal } }],
        },
        Input::Continue => advance::advance(state, at),
    }
}

/// A lost agent ends its attempt; every other effect is safe to ask for again.
fn take_up_again(lost: &LostEffect) -> Event {
    match &lost.key {
        EffectKey::RunAgent { task, attempt } => Event::AgentEnded {
            task: task.clone(),
            attempt: *attempt,
            report: AgentReport { usage: lost.usage.unwrap_or_default(), ..AgentReport::bare(Ended::Lost) },
        },
        key => Event::Restarted { key: key.clone() },
    }
}

fn usage_reported(state: &State, task: TaskId, attempt: u32, usage: Usage) -> Vec<Event> {
    let Some(lease) = state.ledger.leases.get(&(task.clone(), attempt)) else { return Vec::new() };
    let usage = lease.used.max(usage);
    if usage == lease.used {
        return Vec::new();
    }
    let mut events = vec![Event::UsageReported { task: task.clone(), attempt, usage }];
    let earlier = state.tasks.get(&task).map(|t| t.usage().spend()).unwrap_or_default();
    let used = earlier.plus(usage.spend());
    let over = state.settings().and_then(|s| s.task_budget.exceeded(&used));
    if let (Some((resource, limit)), Some(false)) = (over, state.latest(&task).map(|a| a.stopping)) {
        events.push(Event::AttemptStopping { task, attempt, resource, used: used.get(resource), limit });
    }
    events
}

/// An outcome becomes the event that ends its effect. One that nobody waits for any more is dropped.
fn finished(state: &State, at: At, key: EffectKey, outcome: Outcome) -> Vec<Event> {
    if !state.in_flight.contains(&key) {
        return Vec::new();
    }
    let event = match (key, outcome) {
        (key, Outcome::Broken(broken)) => Event::EffectBroken { key, broken },
        (EffectKey::Setup, Outcome::SetupFailed { message }) => Event::SetupFailed { message },
        // Whoever needs the base tree first after a resume makes it again.
        (key, Outcome::SetupFailed { message }) => {
            let message = format!("workspace.setup failed: {message}");
            Event::EffectBroken { key, broken: Broken { message, critical: false } }
        }
        (EffectKey::Setup, Outcome::Done) => Event::SetupDone,
        (EffectKey::Prepare { task, attempt }, Outcome::Done) => {
            let limit_ms = advance::attempt_limit_ms(state, at);
            Event::WorkspaceReady { task, attempt, limit_ms }
        }
        (EffectKey::RunAgent { task, attempt }, Outcome::Agent(report)) => Event::AgentEnded { task, attempt, report },
        (EffectKey::Capture { task, attempt }, Outcome::Captured(capture)) => {
            Event::Captured { task, attempt, capture }
        }
        (EffectKey::Integrate { task, attempt }, Outcome::Merged(merge)) => Event::Merged { task, attempt, merge },
        (EffectKey::Gate { round, gate }, Outcome::Gate(result)) => Event::GateEnded { round, gate, result },
        (EffectKey::Checkpoint { n }, Outcome::Done) => Event::CheckpointCreated { n },
        (EffectKey::WriteStatus, Outcome::StatusWritten(commit)) => Event::StatusWritten { commit },
        (EffectKey::Rollback, Outcome::Done) => Event::RolledBack,
        (key, outcome) => {
            let message = format!("internal error: the outcome {outcome:?} does not answer `{key}`");
            Event::EffectBroken { key, broken: Broken { message, critical: true } }
        }
    };
    vec![event]
}
