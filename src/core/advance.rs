//! What now? Given the state alone, the next thing to do, or nothing while there is something to wait for.
//! Everything here is derived from the state, so a run whose journal was cut anywhere finds its way again.

use super::budget::{Reservation, Resource};
use super::decision::{Decision, DecisionKind, option};
use super::effect::EffectKey;
use super::event::Event;
use super::id::{GateName, TaskId};
use super::judge;
use super::recovery::{self, Strategy};
use super::schedule::{self, Admission};
use super::session::{Phase, RoundPurpose, StopCause, TaskStatus, Waiting};
use super::settings::{CheckpointFrequency, GateKind, Settings};
use super::state::{HEARTBEAT_MS, SetupState, State, StatusWrite, TaskPhase};
use super::time::At;
use super::verdict::Verdict;
use super::{evidence, step, verdict_of};

/// The next events, or none.
pub(super) fn advance(state: &State, at: At) -> Vec<Event> {
    let Some(settings) = state.settings() else { return Vec::new() };
    if state.finished.is_some() || state.plan.is_none() {
        return Vec::new();
    }
    trouble(state, settings, at)
        .or_else(|| waiting_call(state, settings))
        .or_else(|| judge::next(state, settings, at))
        .or_else(|| integrate(state))
        .or_else(|| match &state.stop {
            Some(stop) => wind_down(state, settings, stop),
            None => forward(state, settings, at),
        })
        .or_else(|| heartbeat(state, at))
        .unwrap_or_default()
}

/// Work under way makes no records by itself; the session's clock goes on all the same.
fn heartbeat(state: &State, at: At) -> Option<Vec<Event>> {
    let is_due = at.elapsed_ms >= state.at.elapsed_ms.saturating_add(HEARTBEAT_MS);
    (is_due && !state.in_flight.is_empty()).then(|| vec![Event::Heartbeat])
}

/// Wall-clock limit of an attempt that starts now: its own, or what the session has left.
pub(super) fn attempt_limit_ms(state: &State, at: At) -> u64 {
    let Some(settings) = state.settings() else { return 0 };
    limited(settings, at, settings.task_duration_ms)
}

fn limited(settings: &Settings, at: At, own_ms: u64) -> u64 {
    let left = settings.budget.max_duration_ms.map_or(u64::MAX, |max| max.saturating_sub(at.elapsed_ms));
    own_ms.min(left).max(1)
}

/// Broken effects and limits that were passed come before everything else.
fn trouble(state: &State, settings: &Settings, at: At) -> Option<Vec<Event>> {
    let stop = |stop| Some(vec![Event::StopRequested { stop }]);
    let hard = state.stop.as_ref().is_some_and(|s| !s.is_soft());
    if hard {
        return None;
    }
    if let Some((key, broken)) = &state.broken {
        let message = format!("{key}: {}", broken.message);
        return stop(if broken.critical {
            StopCause::Critical { message }
        } else {
            StopCause::Environment { message }
        });
    }
    if let SetupState::Failed(message) = &state.setup {
        return stop(StopCause::Environment { message: format!("workspace.setup failed: {message}") });
    }
    let over = settings.budget.exceeded(&state.ledger.used());
    if let Some((resource, limit)) = over {
        let used = state.ledger.used().get(resource);
        return stop(StopCause::of_session(resource, used, limit, false));
    }
    let limit = settings.budget.max_duration_ms.filter(|max| at.elapsed_ms > *max)?;
    stop(StopCause::of_session(Resource::Duration, at.elapsed_ms, limit, false))
}

/// The first waiting call that can be answered now.
fn waiting_call(state: &State, settings: &Settings) -> Option<Vec<Event>> {
    state.waiting_calls.iter().find_map(|asked| step::decided(state, settings, asked))
}

/// Integrations are made one at a time, in the order in which attempts were captured.
fn integrate(state: &State) -> Option<Vec<Event>> {
    // Work that is done is kept, whatever stops the run; only into a broken repository nothing goes.
    let broken = matches!(state.stop, Some(StopCause::Critical { .. }));
    if state.integration.is_some() || broken {
        return None;
    }
    let task = state.open.first()?;
    let attempt = state.tasks.get(task)?.attempt();
    let tip = state.tip.clone()?;
    Some(vec![Event::IntegrationStarted { task: task.clone(), attempt, tip }])
}

/// The run is to stop: wait for what runs, keep what there is, end.
fn wind_down(state: &State, settings: &Settings, stop: &StopCause) -> Option<Vec<Event>> {
    if !state.in_flight.is_empty() {
        return None;
    }
    let critical = matches!(stop, StopCause::Critical { .. });
    let rollback_failed = matches!(state.broken, Some((EffectKey::Rollback, _)));
    if critical && settings.recovery.enable_rollback && !state.rolled_back && !rollback_failed {
        return roll_back(state, stop);
    }
    let checkpoint_failed = matches!(state.broken, Some((EffectKey::Checkpoint { .. }, _)));
    if !critical
        && !checkpoint_failed
        && let Some(events) = checkpoint(state, "partial results", false)
    {
        return Some(events);
    }
    let (verdict, reason) = verdict_of::stopped(state, stop);
    Some(vec![Event::SessionFinished { verdict, reason }])
}

fn roll_back(state: &State, stop: &StopCause) -> Option<Vec<Event>> {
    let checkpoint = state.last_checkpoint()?;
    let context = match stop {
        StopCause::Critical { message } => message.clone(),
        _ => String::new(),
    };
    let options = vec![
        option("roll back to the last checkpoint", 0.9, "what came after it cannot be trusted"),
        option("keep the tip", 0.1, "the tip may be broken"),
    ];
    let decision = Decision::best_of(DecisionKind::Rollback, context, options)
        .with_impact(format!("the tip goes back to checkpoint {}", checkpoint.n));
    Some(vec![Event::Decided { decision }, Event::RollbackStarted { n: checkpoint.n, to: checkpoint.commit.clone() }])
}

/// No trouble: the phases, one after the other.
fn forward(state: &State, settings: &Settings, at: At) -> Option<Vec<Event>> {
    if let Some(events) = revive(state) {
        return Some(events);
    }
    match state.phase {
        None | Some(Phase::Planning | Phase::TaskGeneration) => {
            let decision = schedule::ordering_decision(state);
            Some(vec![Event::Decided { decision }, Event::PhaseStarted { phase: Phase::Implementation }])
        }
        Some(Phase::Implementation) => implementation(state, settings, at),
        Some(Phase::Validation) => validation(state, settings, at),
        Some(Phase::Handoff) => handoff(state),
    }
}

/// Requests that broke before a resume and that nothing else asks for again.
fn revive(state: &State) -> Option<Vec<Event>> {
    let checkpoint = state.checkpoints.iter().find(|c| !c.durable)?;
    let key = EffectKey::Checkpoint { n: checkpoint.n };
    (!state.in_flight.contains(&key)).then(|| vec![Event::Restarted { key }])
}

fn implementation(state: &State, settings: &Settings, at: At) -> Option<Vec<Event>> {
    match state.setup {
        SetupState::Pending => return Some(vec![Event::SetupStarted]),
        SetupState::Running | SetupState::Failed(_) => return None,
        SetupState::Ready => {}
    }
    if let Some(events) = due_checkpoint(state, settings, at) {
        return Some(events);
    }
    if state.unsettled == 0 {
        return implementation_complete(state);
    }
    let free = (state.running + gates_in_flight(state)) < settings.jobs as usize;
    if free && let Some(task) = schedule::pick(state, at) {
        return start_attempt(state, settings, at, &task);
    }
    let waits = state.running > 0
        || !state.in_flight.is_empty()
        || !state.open.is_empty()
        || !state.delayed.is_empty()
        || !state.ready.is_empty();
    if waits { None } else { nothing_moves(state) }
}

fn implementation_complete(state: &State) -> Option<Vec<Event>> {
    if state.rounds.last().is_some_and(|r| !r.is_over()) {
        return None;
    }
    if let Some(events) = checkpoint(state, ended_as(state), false) {
        return Some(events);
    }
    let durable = state.checkpoints.iter().all(|c| c.durable);
    durable.then(|| vec![Event::PhaseStarted { phase: Phase::Validation }])
}

fn ended_as(state: &State) -> &'static str {
    let all_good = state.tasks.values().all(|t| t.status().is_some_and(TaskStatus::is_success));
    if all_good { "implementation complete" } else { "implementation ended" }
}

fn gates_in_flight(state: &State) -> usize {
    state.in_flight.iter().filter(|k| matches!(k, EffectKey::Gate { .. })).count()
}

/// A checkpoint of the tip, unless the latest one is of the same commit.
fn checkpoint(state: &State, reason: &str, advance: bool) -> Option<Vec<Event>> {
    let tip = state.tip.as_ref()?;
    let last = state.checkpoints.last()?;
    if last.commit == *tip && last.advance >= advance {
        return None;
    }
    let (n, commit, reason) = (last.n + 1, tip.clone(), reason.to_owned());
    Some(vec![Event::CheckpointStarted { n, commit, reason, advance }])
}

/// Checkpoints that `checkpoint_frequency` and `checkpoint_interval` ask for while tasks run.
fn due_checkpoint(state: &State, settings: &Settings, at: At) -> Option<Vec<Event>> {
    if let Some(events) = continue_round(state, settings, at) {
        return Some(events);
    }
    let last = state.checkpoints.last()?;
    if state.tip.as_ref() == Some(&last.commit) || state.in_flight.contains(&EffectKey::Checkpoint { n: last.n }) {
        return None;
    }
    let interval = settings.checkpoint_interval_ms;
    if interval > 0 && at.elapsed_ms.saturating_sub(last.at.elapsed_ms) >= interval {
        return checkpoint(state, "interval", false);
    }
    match settings.checkpoint_frequency {
        CheckpointFrequency::PhaseComplete => None,
        CheckpointFrequency::Task => checkpoint(state, "task", false),
        CheckpointFrequency::Group => {
            let complete = state.complete_groups();
            let reason = format!("group {complete}");
            if complete > state.groups_checkpointed { checkpoint(state, &reason, false) } else { None }
        }
        CheckpointFrequency::TestsPass => test_the_tip(state, settings),
    }
}

/// Runs the test gates on the tip, unless the latest round already did.
fn test_the_tip(state: &State, settings: &Settings) -> Option<Vec<Event>> {
    let tip = state.tip.as_ref()?;
    match state.rounds.last() {
        Some(round) if !round.is_over() => None,
        Some(round) if round.commit == *tip => {
            let green = evidence::round_is_green(state, round);
            if green { checkpoint(state, "tests pass", true) } else { None }
        }
        _ => {
            let gates = settings.gates.iter().filter(|g| g.kind == GateKind::Test).map(|g| g.name.clone());
            start_round(state, RoundPurpose::Checkpoint, gates.collect())
        }
    }
}

fn start_round(state: &State, purpose: RoundPurpose, gates: Vec<GateName>) -> Option<Vec<Event>> {
    if gates.is_empty() {
        return None;
    }
    let round = u32::try_from(state.rounds.len()).unwrap_or(u32::MAX) + 1;
    Some(vec![Event::RoundStarted { round, purpose, commit: state.tip.clone()?, gates }])
}

/// Starts the next gate of the round under way, when there is a slot.
fn continue_round(state: &State, settings: &Settings, at: At) -> Option<Vec<Event>> {
    let round = state.rounds.last().filter(|r| !r.is_over())?;
    if gates_in_flight(state) + state.running >= settings.jobs as usize {
        return None;
    }
    let is_idle = |gate: &GateName| !state.in_flight.contains(&EffectKey::Gate { round: round.n, gate: gate.clone() });
    let next = round.gates.iter().find(|g| g.result.is_none() && is_idle(&g.gate))?;
    let own_ms = state.gate(&next.gate).map_or(1, |g| g.timeout_ms);
    let limit_ms = limited(settings, at, own_ms);
    Some(vec![Event::GateStarted { round: round.n, gate: next.gate.clone(), limit_ms }])
}

fn start_attempt(state: &State, settings: &Settings, at: At, task: &TaskId) -> Option<Vec<Event>> {
    let (reserved, mut events) = match schedule::admit(state, settings, at, task) {
        Admission::Wait => return None,
        Admission::Stop(events) => return Some(events),
        Admission::Start(reserved, events) => (reserved, events),
    };
    events.push(attempt_started(state, task, reserved)?);
    Some(events)
}

fn attempt_started(state: &State, task: &TaskId, reserved: Reservation) -> Option<Event> {
    let own = state.tasks.get(task)?;
    let strategy = match own.phase {
        TaskPhase::Ready { strategy, .. } => strategy,
        _ => Strategy::First,
    };
    let (attempt, onto) = (own.attempt() + 1, state.tip.clone()?);
    let settings = state.settings()?;
    let role = state.task(task).map_or("", |t| t.role.as_str());
    // A chain that is used up ends in a parked task, so there is always one; the default is the safe answer.
    let agent = recovery::next_agent(own, settings, role).unwrap_or(&settings.agent).to_owned();
    Some(Event::AttemptStarted { task: task.clone(), attempt, strategy, onto, reserved, agent })
}

/// Nothing is ready and nothing runs, yet tasks are left: the agent could not work on some, or they wait for
/// tasks that were given up.
fn nothing_moves(state: &State) -> Option<Vec<Event>> {
    if let Some(stop) = parked(state) {
        return Some(vec![Event::StopRequested { stop }]);
    }
    let plan = state.plan.as_ref()?;
    let succeeded = |id: &&TaskId| {
        state.tasks.get(*id).and_then(super::state::TaskState::status).is_some_and(TaskStatus::is_success)
    };
    let open = plan.tasks.iter().filter(|t| state.tasks.get(&t.id).is_some_and(|t| t.status().is_none()));
    let waiting: Vec<Waiting> = open
        .map(|t| Waiting { task: t.id.clone(), on: t.depends_on.iter().filter(|d| !succeeded(d)).cloned().collect() })
        .collect();
    let settled = waiting.iter().map(|w| Event::TaskSettled {
        task: w.task.clone(),
        status: TaskStatus::Blocked,
        reason: Some(format!("waits for {}", w.on.iter().map(TaskId::as_str).collect::<Vec<_>>().join(", "))),
    });
    let mut events: Vec<Event> = settled.collect();
    events.insert(0, Event::Stalled { waiting });
    Some(events)
}

/// Tasks are parked: at a limit, or because no agent could work on them.
fn parked(state: &State) -> Option<StopCause> {
    let parked: Vec<_> = state.tasks.values().filter(|t| t.phase == TaskPhase::Parked).collect();
    let faults = || parked.iter().filter_map(|t| Some((&t.id, t.attempts.last()?.fault.as_ref()?)));
    if let Some((task, hit)) = faults().find_map(|(task, fault)| Some((task, fault.limit?))) {
        return Some(StopCause::at_limit(hit, Some(task)));
    }
    let names: Vec<&str> = parked.iter().map(|t| t.id.as_str()).collect();
    let message = format!("the agent could not work on {}", names.join(", "));
    let resume_after_ms = faults().filter_map(|(_, fault)| fault.resume_after_ms).max();
    (!names.is_empty()).then_some(StopCause::Agent { message, resume_after_ms })
}

fn validation(state: &State, settings: &Settings, at: At) -> Option<Vec<Event>> {
    let done = || Some(vec![Event::PhaseStarted { phase: Phase::Handoff }]);
    let any_success = state.tasks.values().any(|t| t.status().is_some_and(TaskStatus::is_success));
    match state.final_round() {
        Some(round) if round.is_over() => done(),
        Some(_) => continue_round(state, settings, at),
        None if !any_success || settings.gates.is_empty() => done(),
        None => start_round(state, RoundPurpose::Final, settings.gates.iter().map(|g| g.name.clone()).collect()),
    }
}

/// The branch moves only to a tree that passed what was required.
fn handoff(state: &State) -> Option<Vec<Event>> {
    let (verdict, reason) = verdict_of::complete(state);
    if evidence::is_sound(state) {
        match state.status_write {
            StatusWrite::Pending => {
                let status = if verdict == Verdict::Passed { "implemented" } else { "implementing" };
                return Some(vec![Event::StatusWriteStarted { status: status.to_owned(), tip: state.tip.clone()? }]);
            }
            StatusWrite::Running(..) => return None,
            StatusWrite::Done => {}
        }
        if let Some(events) = checkpoint(state, "result", true) {
            return Some(events);
        }
    }
    let durable = state.checkpoints.iter().all(|c| c.durable);
    durable.then(|| vec![Event::SessionFinished { verdict, reason }])
}
