//! Which task starts next, and whether the budget lets it.

use super::budget::{Reservation, Resource};
use super::decision::{Decision, DecisionKind, option};
use super::event::Event;
use super::id::TaskId;
use super::session::StopCause;
use super::settings::Settings;
use super::state::{State, TaskPhase};
use super::time::At;

/// The ready task with the longest chain behind it, then the most urgent one, then the plan's order; retries whose
/// wait is over come after it.
pub(super) fn pick(state: &State, at: At) -> Option<TaskId> {
    let due = || state.delayed.iter().find(|(not_before_ms, ..)| *not_before_ms <= at.elapsed_ms).map(|(.., id)| id);
    state.ready.first().map(|(_, id)| id).or_else(due).cloned()
}

/// The budget's answer to a task that wants to start.
pub(super) enum Admission {
    /// It may, with this set aside; the events (a decision, perhaps) go before it.
    Start(Reservation, Vec<Event>),
    /// What is left is promised to running attempts; ask again when one ends.
    Wait,
    /// What is left does not fit: start nothing more.
    Stop(Vec<Event>),
}

/// Asks the budget.
pub(super) fn admit(state: &State, settings: &Settings, at: At, task: &TaskId) -> Admission {
    let mut events = Vec::new();
    let near = near_limits(state, settings, at);
    if let Some(tight) = near.iter().find(|n| !n.fits()) {
        return Admission::Stop(vec![Event::Decided { decision: tight.decision() }, tight.stop()]);
    }
    if let (Some(first), false) = (near.first(), state.soft_passed) {
        events.push(Event::Decided { decision: first.decision() });
    }
    match reserve(state, settings, task) {
        Some(reserved) => Admission::Start(reserved, events),
        None if state.running > 0 => Admission::Wait,
        None => Admission::Stop(vec![exhausted(state, settings)]),
    }
}

/// A resource of which the soft share of its limit is used, with what the rest of the plan is expected to need.
struct Near {
    resource: Resource,
    used: u64,
    limit: u64,
    /// Expected need of what is left; none where no task has finished and nothing can be told.
    need: Option<u64>,
    left_tasks: u64,
    all_tasks: usize,
}

impl Near {
    fn fits(&self) -> bool {
        self.need.is_some_and(|need| need <= self.limit.saturating_sub(self.used))
    }

    fn stop(&self) -> Event {
        Event::StopRequested { stop: StopCause::of_session(self.resource, self.used, self.limit, true) }
    }

    fn decision(&self) -> Decision {
        let show = |amount| self.resource.show(amount);
        let left = self.limit.saturating_sub(self.used);
        let need = self.need.map_or("unknown".to_owned(), show);
        let numbers = format!(
            "{} of {} tasks left need about {need}; {} of {} left",
            self.left_tasks,
            self.all_tasks,
            show(left),
            show(self.limit)
        );
        let (go, stop) = if self.fits() { (0.9, 0.2) } else { (0.1, 0.9) };
        let options = vec![option("go on", go, numbers.clone()), option("stop with partial results", stop, numbers)];
        Decision::best_of(DecisionKind::Budget, format!("the soft limit of {} is reached", self.resource), options)
            .with_impact("running tasks finish in either case")
    }
}

/// Resources near their limit.
fn near_limits(state: &State, settings: &Settings, at: At) -> Vec<Near> {
    let used = state.ledger.used();
    let amount = |r| if r == Resource::Duration { at.elapsed_ms } else { used.get(r) };
    let all = std::iter::once(Resource::Duration).chain(Resource::SPENT);
    let limits = all.filter_map(|r| settings.budget.limit(r).map(|limit| (r, amount(r), limit)));
    let tight: Vec<_> = limits.filter(|(_, used, limit)| is_near(*used, *limit, settings.soft_ratio)).collect();
    if tight.is_empty() {
        return Vec::new();
    }
    // Tasks that only wait to be integrated have spent what they spend, settled or not.
    let captured = state.tasks.values().filter(|t| t.phase == TaskPhase::Captured).count() as u64;
    let (done, done_ms) = state.finished_tasks;
    let left_tasks = (state.unsettled as u64).saturating_sub(captured);
    let need = |resource: Resource| {
        if resource == Resource::Duration {
            return Some(done_ms.checked_div(done)?.saturating_mul(left_tasks) / u64::from(settings.jobs.max(1)));
        }
        let running: u64 = state.ledger.leases.values().map(|l| l.used().spend().get(resource)).sum();
        let mean = state.ledger.settled.get(resource).checked_div(done + captured)?;
        Some(mean.saturating_mul(left_tasks).saturating_sub(running))
    };
    let all_tasks = state.tasks.len();
    tight
        .into_iter()
        .map(|(resource, used, limit)| Near { resource, used, limit, need: need(resource), left_tasks, all_tasks })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "a share of a limit; the last digits do not matter")]
pub(super) fn is_near(used: u64, limit: u64, soft_ratio: f64) -> bool {
    used as f64 >= limit as f64 * soft_ratio
}

/// Sets aside what a task is expected to need: the mean of finished ones, at first an equal share, never more than
/// is neither used nor promised. None where nothing is left to promise.
fn reserve(state: &State, settings: &Settings, task: &TaskId) -> Option<Reservation> {
    let committed = state.ledger.committed();
    let own_used = state.tasks.get(task).map(|t| t.usage().spend()).unwrap_or_default();
    let (done, _) = state.finished_tasks;
    let mut reserved = Reservation::default();
    for resource in Resource::SPENT {
        let Some(limit) = settings.budget.limit(resource) else { continue };
        let share = (limit / (state.tasks.len() as u64).max(1)).max(1);
        let expected = state.ledger.settled.get(resource).checked_div(done).unwrap_or(share);
        let own_left = settings.task_budget.limit(resource).map(|max| max.saturating_sub(own_used.get(resource)));
        let free = limit.saturating_sub(committed.get(resource));
        if free == 0 && expected > 0 {
            return None;
        }
        reserved.set(resource, expected.min(free).min(own_left.unwrap_or(u64::MAX)));
    }
    Some(reserved)
}

/// Nothing runs and nothing is left: the first resource that is used up.
fn exhausted(state: &State, settings: &Settings) -> Event {
    let used = state.ledger.used();
    let is_out = |r: &Resource| settings.budget.limit(*r).is_some_and(|limit| used.get(*r) >= limit);
    let resource = Resource::SPENT.into_iter().find(is_out).unwrap_or(Resource::Tokens);
    let limit = settings.budget.limit(resource).unwrap_or(0);
    Event::StopRequested { stop: StopCause::of_session(resource, used.get(resource), limit, true) }
}

/// The order in which tasks run is a decision too.
pub(super) fn ordering_decision(state: &State) -> Decision {
    let plan = state.plan.as_ref();
    let tasks = state.tasks.len();
    let longest = plan.and_then(|p| p.critical_path().ok()).unwrap_or(0);
    let groups = state.groups.values().max().map_or(0, |g| g + 1);
    let context = format!("{tasks} tasks in {groups} groups, critical path {longest}");
    let options = vec![
        option(
            "critical path first",
            0.9,
            "a task starts as soon as what it needs is integrated; longest chain first, then priority",
        ),
        option("group by group", 0.5, "simple, but every group waits for its slowest task"),
        option("in the PRD's order", 0.3, "keeps slots idle while dependencies are open"),
    ];
    Decision::best_of(DecisionKind::TaskOrdering, context, options)
        .with_impact("decides which ready task gets a free slot")
}
