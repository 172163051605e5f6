//! `step`: one input, the events that follow from it. Pure: no clock, no disk, no chance. The driver calls it with
//! an input, appends and applies what it answers, then calls it with `Input::Continue` until it answers nothing.

use super::advance;
use super::agent::AgentReport;
use super::budget::{Spend, Usage, UsageSource};
use super::call::{CallAsk, CallFault, Refusal, Scope};
use super::effect::{EffectKey, Input, LostEffect};
use super::event::Event;
use super::fault::LimitHit;
use super::grant::{self, Answer, Grant};
use super::id::TaskId;
use super::outcome::{Broken, Ended, Outcome};
use super::schedule;
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
        Input::Resumed { lost, settings, isolation, agents, notes, given } => {
            let follow_up: Vec<Event> = lost.iter().map(take_up_again).collect();
            let isolation = Some(isolation);
            let mut events = vec![Event::Resumed { lost, settings, isolation, agents, notes, given }];
            events.extend(follow_up);
            events
        }
        Input::Usage { task, attempt, usage } => usage_reported(state, task, attempt, usage),
        Input::CallAsked { task, attempt, call, ask } => call_asked(state, task, attempt, call, ask),
        Input::CallUnmeterable { task, attempt, call, message } => {
            call_unmeterable(state, task, attempt, call, message)
        }
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
    let usage = lease.reported.updated(usage);
    if usage == lease.reported {
        return Vec::new();
    }
    // What the gateway counts is what binds; then the agent's own word is only kept.
    let binds = lease.counted.source != UsageSource::Gateway;
    let over = || stopping(state, &task, attempt, usage.spend()).or_else(|| cost_unknown(state, &task, attempt, usage));
    let stopping = binds.then(over).flatten();
    let reported = Event::UsageReported { task, attempt, usage };
    std::iter::once(reported).chain(stopping).collect()
}

/// Ends an attempt whose cost nobody knows, where a limit on cost holds that nothing stands in for.
fn cost_unknown(state: &State, task: &TaskId, attempt: u32, of_attempt: Usage) -> Option<Event> {
    let unknown = of_attempt.unpriced_calls > 0 && !state.settings()?.bears_unpriced();
    (unknown && !state.latest(task)?.stopping).then(|| Event::CostUnknown { task: task.clone(), attempt })
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

/// The agent has its answer already; this is for the record, and for one that never stops trying.
fn call_unmeterable(state: &State, task: TaskId, attempt: u32, call: u64, message: String) -> Vec<Event> {
    if !state.ledger.leases.contains_key(&(task.clone(), attempt)) {
        return Vec::new();
    }
    let refusal = Refusal::Unmeterable { message };
    let ending = refused_too_often(state, &task, attempt, &refusal);
    let refused = Event::CallRefused { task, attempt, call, model: String::new(), refusal };
    std::iter::once(refused).chain(ending).collect()
}

/// What the budget says to a call; none while it has to wait.
pub(super) fn decided(state: &State, settings: &Settings, asked: &WaitingCall) -> Option<Vec<Event>> {
    let WaitingCall { task, attempt, call, ask } = asked;
    let (task, attempt, call, model) = (task.clone(), *attempt, *call, ask.model.clone());
    match grant::ask(state, settings, &task, attempt, ask) {
        Answer::Waits => None,
        Answer::Granted(Grant { reserved, max_output_tokens }) => {
            let is_free = ask.price.is_some() && reserved.cost_microusd == 0;
            Some(vec![Event::CallStarted { task, attempt, call, model, reserved, max_output_tokens, is_free }])
        }
        Answer::Refused(refusal) => {
            let stop = little_is_left(state, settings, &refusal);
            let ending = refused_too_often(state, &task, attempt, &refusal);
            let refused = Event::CallRefused { task, attempt, call, model, refusal };
            Some(std::iter::once(refused).chain(ending).chain(stop).collect())
        }
    }
}

/// A call that the session's limit does not let out ends its own attempt. The session starts nothing more only where
/// little of the limit is left for anybody.
fn little_is_left(state: &State, settings: &Settings, refusal: &Refusal) -> Option<Event> {
    let Refusal::Limit { scope: Scope::Session, resource, used, wanted, limit } = *refusal else { return None };
    let little = schedule::is_near(state.ledger.used().get(resource), limit, settings.soft_ratio);
    let hit = LimitHit { resource, used, limit, scope: Scope::Session, wanted };
    (state.stop.is_none() && little).then(|| Event::StopRequested { stop: StopCause::at_limit(hit, None) })
}

/// Some agents try a refused call again; one that never stops trying is ended.
fn refused_too_often(state: &State, task: &TaskId, attempt: u32, refusal: &Refusal) -> Option<Event> {
    let latest = state.latest(task)?;
    let counts = *refusal != Refusal::Stopping && !latest.stopping && latest.refused_calls >= MAX_REFUSED_CALLS;
    counts.then(|| Event::RefusedTooOften { task: task.clone(), attempt, calls: latest.refused_calls + 1 })
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
