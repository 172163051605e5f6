//! The log's last lines: the verdict with what it took, how to go on, and where the reports are. The state after the
//! last record flows in; lines flow out.

use super::build::resume_after;
use super::console::{BAD, GOOD, STEP, top};
use super::figures::stopped_by;
use super::format::{amount, duration, rfc3339, usd};
use super::next_steps::resume_command;
use crate::core::evidence::{self, RequirementStatus};
use crate::core::session::TaskStatus;
use crate::core::state::{State, TaskState};
use crate::core::verdict::Verdict;

/// `reports` is the directory of the reports, where it is worth naming.
pub(super) fn finished(state: &State, verdict: Verdict, reason: &str, reports: Option<&str>) -> Vec<String> {
    std::iter::once(summary(state, verdict, reason)).chain(what_next(state, verdict, reports)).collect()
}

fn summary(state: &State, verdict: Verdict, reason: &str) -> String {
    let mark = if verdict == Verdict::Passed { GOOD } else { BAD };
    let requirements = evidence::requirements(state);
    let unverified = requirements.iter().filter(|r| r.status == RequirementStatus::Unverified).count();
    let mut text = format!("{mark} {verdict}");
    if unverified > 0 {
        text.push_str(&format!(", {unverified} unverified"));
    }
    if verdict != Verdict::Passed {
        text.push_str(&format!(": {reason}"));
    }
    let done = state.count(TaskStatus::Done) + state.count(TaskStatus::NoOp);
    let took = duration(state.at.elapsed_ms);
    text.push_str(&format!(" ({done}/{} tasks, {took}, {})", state.tasks.len(), spend(state)));
    top(&text)
}

fn spend(state: &State) -> String {
    let usage = || state.tasks.values().map(TaskState::usage);
    if !usage().any(|usage| usage.is_reported()) {
        return "usage not reported".to_owned();
    }
    let used = state.ledger.used();
    let is_priced = usage().all(|usage| usage.unpriced_calls == 0);
    let cost = match used.cost_microusd {
        cost if is_priced => usd(cost),
        0 => "cost not known".to_owned(),
        cost => format!("at least {}", usd(cost)),
    };
    let estimated = match usage().map(|usage| usage.estimated_tokens).fold(0, u64::saturating_add) {
        0 => String::new(),
        tokens => format!(" ({} estimated)", amount(tokens)),
    };
    format!("{} tokens{estimated}, {cost}", amount(used.tokens))
}

/// A CI log is often all that people look at: it says what to type.
fn what_next(state: &State, verdict: Verdict, reports: Option<&str>) -> Option<String> {
    let reports = reports.map(|dir| format!("reports: {dir}"));
    let go_on = state.started.as_ref().filter(|_| verdict.is_resumable()).map(|started| {
        let stop = stopped_by(state);
        let command = resume_command(started.session.as_str(), &started.isolation, stop.as_ref());
        let not_before = not_before(state).map(|moment| format!(" (not before {moment} UTC)")).unwrap_or_default();
        let again = started.masked_flags().iter().map(|flag| format!(" {flag}")).collect::<String>();
        format!("go on: {command}{again}{not_before}")
    });
    let parts: Vec<String> = go_on.into_iter().chain(reports).collect();
    (!parts.is_empty()).then(|| top(&format!("{STEP} {}", parts.join(" · "))))
}

/// When the API may serve again, `19:54` or `2026-11-22 04:00`; none where that is over.
fn not_before(state: &State) -> Option<String> {
    let (moment, now) = (resume_after(state)?, rfc3339(state.at.wall_ms));
    let (day, time) = (moment.get(..10)?, moment.get(11..16)?);
    let is_today = now.get(..10) == Some(day);
    (moment > now).then(|| if is_today { time.to_owned() } else { format!("{day} {time}") })
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::core::StopCause;

    /// The last line of a state that ends like this.
    fn last(change: impl FnOnce(&mut State), verdict: Verdict, reports: Option<&str>) -> String {
        let mut state = crate::core::replay(&testing::journal()).expect("legal");
        change(&mut state);
        finished(&state, verdict, "why", reports).pop().unwrap_or_default()
    }

    #[test]
    fn what_can_go_on_says_how_when_and_where() {
        let at = 1_700_000_000_000;
        let unavailable = |after_ms: i64| {
            move |state: &mut State| {
                state.at.wall_ms = at;
                let (message, resume_after_ms) = ("no".to_owned(), Some(at + after_ms));
                state.stop = Some(StopCause::Agent { message, resume_after_ms });
            }
        };
        let command = "[Maestro] → go on: maestro-ci resume 0190a0b0-0000-7000-8000-000000000000";
        let soon = last(unavailable(600_000), Verdict::Agent, Some("/d"));
        assert_eq!(soon, format!("{command} (not before 22:23 UTC) · reports: /d"));
        let tomorrow = last(unavailable(86_400_000), Verdict::Agent, None);
        assert_eq!(tomorrow, format!("{command} (not before 2023-11-15 22:13 UTC)"));
        assert_eq!(last(unavailable(-1), Verdict::Agent, None), command);
    }

    #[test]
    fn what_has_ended_names_its_reports() {
        assert_eq!(last(|_| (), Verdict::Failed, Some("/d")), "[Maestro] → reports: /d");
        assert!(last(|_| (), Verdict::Failed, None).contains("✗ failed"));
    }

    #[test]
    fn what_nobody_counted_is_told_apart() {
        let estimate = |state: &mut State| {
            let attempt = state.tasks.values_mut().find_map(|task| task.attempts.first_mut()).expect("an attempt");
            attempt.usage.estimated_tokens = 32_000;
        };
        assert!(last(estimate, Verdict::Passed, None).contains("tokens (32.0k estimated), $"));
    }
}
