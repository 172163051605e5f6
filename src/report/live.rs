//! What a terminal shows below the log while a run goes on: how far it is, what it spent, who works on what. A state
//! flows in; short, safe words flow out. Drawing them, and letting the time tick, is the caller's.

use super::format::{amount, len, usd};
use crate::core::budget::Resource;
use crate::core::session::{Phase, TaskStatus};
use crate::core::state::{State, TaskPhase, TaskState};
use crate::text::{one_line, terminal_line};

/// Longest name of a piece of work, characters.
const NAME_CHARS: usize = 80;

/// The state of a run, for bars.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Tasks, or in phase 4 gates, that are over.
    pub done: u64,
    /// All of them.
    pub all: u64,
    /// `tasks` or `gates`.
    pub unit: &'static str,
    /// What else is to say, in one line.
    pub words: String,
    /// What runs, the longest first.
    pub running: Vec<Work>,
}

/// A piece of work under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// What tells it from others: task and attempt, or the gate.
    pub key: String,
    /// What it is, in words.
    pub name: String,
    /// Active time of the session at which it started, milliseconds.
    pub started_ms: u64,
}

/// Reads it off a state.
pub fn live(state: &State) -> Live {
    if state.finished.is_some() || state.plan.is_none() {
        return Live::default();
    }
    let mut live = if let Some(round) = state.rounds.last().filter(|_| state.phase == Some(Phase::Validation)) {
        let over = round.gates.iter().filter(|g| g.result.is_some()).count();
        Live { done: len(over), all: len(round.gates.len()), unit: "gates", ..Live::default() }
    } else {
        let over = state.tasks.values().filter(|t| matches!(t.phase, TaskPhase::Settled(_) | TaskPhase::Parked));
        Live { done: len(over.count()), all: len(state.tasks.len()), unit: "tasks", ..Live::default() }
    };
    live.words = words(state);
    live.running =
        state.tasks.values().filter(|t| t.phase == TaskPhase::Running).filter_map(|t| work(state, t)).collect();
    live.running.extend(gates(state));
    live.running.sort_by_key(|work| work.started_ms);
    live
}

fn words(state: &State) -> String {
    let phase = state.phase.map(Phase::title).unwrap_or_default();
    let mut words = vec![phase.to_owned()];
    match state.count(TaskStatus::Failed) {
        0 => {}
        n => words.push(format!("{n} failed")),
    }
    let limits = state.settings().map(|s| s.budget).unwrap_or_default();
    let used = state.ledger.used();
    let of = |resource, used: u64, show: fn(u64) -> String| match limits.limit(resource) {
        Some(limit) => format!("{} of {}", show(used), show(limit)),
        None => show(used),
    };
    if used.tokens > 0 {
        words.push(format!("{} tokens", of(Resource::Tokens, used.tokens, amount)));
    }
    if used.cost_microusd > 0 {
        words.push(of(Resource::Cost, used.cost_microusd, usd));
    }
    words.join(" · ")
}

fn work(state: &State, task: &TaskState) -> Option<Work> {
    let attempt = task.attempts.last()?;
    let title = state.task(&task.id).map_or("", |t| t.title.as_str());
    let again = if task.attempt() > 1 { format!(" · attempt {}", task.attempt()) } else { String::new() };
    let name = format!("{} {}{again} · {title}", task.id, attempt.agent);
    let key = format!("{}/{}", task.id, task.attempt());
    Some(Work { key, name: shown(&name), started_ms: attempt.started.elapsed_ms })
}

/// Gates have no start in the state; they are shown from when they are seen.
fn gates(state: &State) -> Vec<Work> {
    let started_ms = state.at.elapsed_ms;
    let open = state.rounds.last().into_iter().flat_map(|round| round.gates.iter().map(move |gate| (round.n, gate)));
    let runs = open.filter(|(_, gate)| gate.limit_ms.is_some() && gate.result.is_none());
    runs.map(|(n, gate)| {
        let key = format!("gate {n} {}", gate.gate);
        Work { key, name: shown(&format!("gate {}", gate.gate)), started_ms }
    })
    .collect()
}

fn shown(text: &str) -> String {
    terminal_line(&one_line(text, NAME_CHARS))
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::core::Event;

    /// What is shown after the first record of a kind.
    fn after(is_last: impl Fn(&Event) -> bool) -> Live {
        let records = testing::journal();
        let end = records.iter().position(|r| is_last(&r.event)).expect("such a record");
        live(&crate::core::replay(&records[..=end]).expect("legal"))
    }

    #[test]
    fn tasks_are_counted_and_those_that_run_are_named() {
        let live = after(|e| matches!(e, Event::WorkspaceReady { attempt: 2, .. }));
        assert_eq!((live.done, live.all, live.unit), (1, 4, "tasks"));
        assert_eq!(live.words, "Implementation · 36.4k of 1.0M tokens · $0.22");
        let [work] = live.running.as_slice() else { panic!("{:?}", live.running) };
        assert!(work.key == "T-002/2" && work.name.starts_with("T-002 claude · attempt 2 · "), "{work:?}");
    }

    #[test]
    fn in_validation_gates_are_counted() {
        let live = after(|e| matches!(e, Event::GateStarted { .. }));
        assert_eq!((live.done, live.all, live.unit), (0, 2, "gates"));
        assert!(live.running.iter().any(|work| work.name.starts_with("gate ")), "{live:?}");
    }

    #[test]
    fn before_the_plan_and_after_the_end_there_is_nothing_to_show() {
        assert_eq!(after(|e| matches!(e, Event::PhaseStarted { .. })), Live::default());
        assert_eq!(after(|e| matches!(e, Event::SessionFinished { .. })), Live::default());
    }

    #[test]
    fn hostile_titles_reach_no_terminal() {
        let records = testing::journal();
        for end in 0..records.len() {
            let live = live(&crate::core::replay(&records[..=end]).expect("legal"));
            let texts = live.running.iter().map(|work| &work.name).chain([&live.words]);
            for text in texts {
                assert!(text.chars().all(crate::text::is_visible) && !text.contains("##["), "{text:?}");
            }
        }
    }
}
