//! `step`: one input, the events that follow from it. Pure: no clock, no disk, no chance. The driver calls it with
//! an input, appends and applies what it answers, then calls it with `Input::Continue` until it answers nothing.

use super::advance;
use super::agent::AgentReport;
use super::budget::{Spend, Usage, UsageSource};
use super::call::{CallAsk, CallFault, Refusal, Scope};
use super::effect::{EffectKey, Input, LostEffect};
use super::event::Event;
use super::grant::{self, Answer, Grant};
use super::id::TaskId;
use super::outcome::{Broken, Ended, Outcome};
use super::session::{Phase, StopCause};
use super::settings::Settings;
use super::state::{State, WaitingCall};
use super::time::At;

/// Refused calls after which an attempt is ended. The most patient agent that was measured tries 30 times.
const MAX_REFUSED_CALLS: u32 = 40;

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
        Input::Resumed { lost, settings, isolation } => {
            let follow_up: Vec<Event> = lost.iter().map(take_up_again).collect();
            let mut events = vec![Event::Resumed { lost, settings, isolation: Some(isolation) }];
            events.extend(follow_up);
            events
        }
        Input::Usage { task, attempt, usage } => usage_reported(state, task, attempt, usage),
        Input::CallAsked { task, attempt, call, ask } => call_asked(state, task, attempt, call, ask),
        Input::CallEnded { task, attempt, call, usage, fault } => call_ended(state, task, attempt, call, usage, fault),
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
    let usage = lease.reported.max(usage);
    if usage == lease.reported {
        return Vec::new();
    }
    // What the gateway counts is what binds; then the agent's own word is only kept.
    let binds = lease.counted.source != UsageSource::Gateway;
    let stopping = binds.then(|| stopping(state, &task, attempt, usage.spend())).flatten();
    let reported = Event::UsageReported { task, attempt, usage };
    std::iter::once(reported).chain(stopping).collect()
}

/// Ends an attempt that has gone over its task's budget.
fn stopping(state: &State, task: &TaskId, attempt: u32, of_attempt: Spend) -> Option<Event> {
    let used = state.tasks.get(task)?.usage().spend().plus(of_attempt);
    let (resource, limit) = state.settings()?.task_budget.exceeded(&used)?;
    let used = used.get(resource);
    (!state.latest(task)?.stopping).then(|| Event::AttemptStopping {
        task: task.clone(),
        attempt,
        resource,
        used,
        limit,
    })
}

/// An attempt that has ended asks for nothing; its gateway line is closed and the question answered there.
fn call_asked(state: &State, task: TaskId, attempt: u32, call: u64, ask: CallAsk) -> Vec<Event> {
    let running = state.ledger.leases.contains_key(&(task.clone(), attempt));
    let (true, Some(settings)) = (running, state.settings()) else { return Vec::new() };
    let asked = WaitingCall { task, attempt, call, ask };
    decided(state, settings, &asked).unwrap_or_else(|| {
        let WaitingCall { task, attempt, call, ask } = asked;
        vec![Event::CallWaits { task, attempt, call, ask }]
    })
}

/// What the budget says to a call; none while it has to wait.
pub(super) fn decided(state: &State, settings: &Settings, asked: &WaitingCall) -> Option<Vec<Event>> {
    let WaitingCall { task, attempt, call, ask } = asked;
    let (task, attempt, call, model) = (task.clone(), *attempt, *call, ask.model.clone());
    match grant::ask(state, settings, &task, attempt, ask) {
        Answer::Waits => None,
        Answer::Granted(Grant { reserved, max_output_tokens }) => {
            Some(vec![Event::CallStarted { task, attempt, call, model, reserved, max_output_tokens }])
        }
        Answer::Refused(refusal) => {
            let stop = match &refusal {
                Refusal::Limit { scope: Scope::Session, resource, used, limit, .. } if state.stop.is_none() => {
                    let (resource, used, limit) = (*resource, *used, *limit);
                    Some(Event::StopRequested { stop: StopCause::Budget { resource, used, limit, soft: true } })
                }
                _ => None,
            };
            let ending = too_many_refusals(state, &task, attempt, &refusal);
            let refused = Event::CallRefused { task, attempt, call, model, refusal };
            Some(std::iter::once(refused).chain(ending).chain(stop).collect())
        }
    }
}

/// Some agents try a refused call again; one that never stops trying is ended.
fn too_many_refusals(state: &State, task: &TaskId, attempt: u32, refusal: &Refusal) -> Option<Event> {
    let latest = state.latest(task)?;
    let Refusal::Limit { resource, used, limit, .. } = *refusal else { return None };
    let ending = Event::AttemptStopping { task: task.clone(), attempt, resource, used, limit };
    (latest.refused_calls >= MAX_REFUSED_CALLS && !latest.stopping).then_some(ending)
}

fn call_ended(
    state: &State,
    task: TaskId,
    attempt: u32,
    call: u64,
    usage: Usage,
    fault: Option<CallFault>,
) -> Vec<Event> {
    let lease = state.ledger.leases.get(&(task.clone(), attempt));
    let Some(lease) = lease.filter(|l| l.calls.contains_key(&call)) else { return Vec::new() };
    let stopping = stopping(state, &task, attempt, lease.used().plus(usage).spend());
    let ended = Event::CallEnded { task, attempt, call, usage, fault };
    std::iter::once(ended).chain(stopping).collect()
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
