//! Questions that several formats ask of a report. A report flows in; counts and one plain line flow out.

use std::collections::BTreeSet;

use super::format::len;
use super::model::Report;
use super::model_work::{GateReport, GateStanding, RequirementReport, TaskReport, TaskStanding};
use crate::core::evidence::RequirementStatus;
use crate::core::outcome::TestStatus;
use crate::core::settings::GateKind;
use crate::text::count;

impl Report {
    /// How many tasks stand so.
    pub fn tasks_that_are(&self, standing: TaskStanding) -> usize {
        self.tasks.iter().filter(|t| t.status == standing).count()
    }

    /// How many tasks came to a good end.
    pub fn tasks_succeeded(&self) -> usize {
        self.tasks.iter().filter(|t| t.status.is_success()).count()
    }

    /// Each attempt of which tool calls were denied, in words. Untrusted text.
    pub fn denials(&self) -> impl Iterator<Item = String> {
        let attempts = self.tasks.iter().flat_map(|task| task.attempts.iter().map(move |attempt| (task, attempt)));
        attempts.filter_map(|(task, attempt)| Some(format!("{} attempt {}: {}", task.id, attempt.n, attempt.denied()?)))
    }

    /// How many requirements stand so.
    pub fn requirements_that_are(&self, status: RequirementStatus) -> usize {
        self.requirements.iter().filter(|r| r.status == status).count()
    }

    /// Requirements that no task of the plan serves and that nothing proves either; none before there is a plan.
    pub(super) fn uncovered(&self) -> impl Iterator<Item = &RequirementReport> {
        let served: BTreeSet<&str> = self.tasks.iter().flat_map(|t| &t.requirements).map(String::as_str).collect();
        let is_open = |r: &&RequirementReport| r.status != RequirementStatus::Met && !self.tasks.is_empty();
        self.requirements.iter().filter(is_open).filter(move |r| !served.contains(r.id.as_str()))
    }

    /// Tests of the test gates in the final round: (passed, passed or failed).
    pub fn tests(&self) -> (u64, u64) {
        let gates = self.gates.iter().filter(|g| g.kind == GateKind::Test).map(GateReport::tests);
        gates.fold((0, 0), |sum, (passed, all)| (sum.0 + passed, sum.1 + all))
    }

    /// The verdict with everything that qualifies it, in plain words: `passed, 2 unverified`.
    pub fn headline(&self) -> String {
        let mut line = self.verdict.clone();
        for qualifier in self.qualifiers() {
            line.push_str(", ");
            line.push_str(&qualifier);
        }
        line
    }

    /// What keeps the verdict from being a plain one, most important first.
    pub(super) fn qualifiers(&self) -> Vec<String> {
        let task = |standing: TaskStanding| (len(self.tasks_that_are(standing)), "task", standing.name());
        let red = self.gates.iter().filter(|g| matches!(g.status, GateStanding::Failed | GateStanding::Inconclusive));
        let skipped = self.gates.iter().filter(|gate| gate.is_missing());
        let unmet = len(self.requirements_that_are(RequirementStatus::Unmet));
        let counted = [
            task(TaskStanding::Failed),
            task(TaskStanding::Blocked),
            task(TaskStanding::Parked),
            (len(red.count()), "gate", "not green"),
            (len(skipped.count()), "gate", "could not be run"),
            (unmet, "requirement", "unmet"),
        ];
        let some = counted.into_iter().filter(|(n, ..)| *n > 0);
        let mut all: Vec<String> = some.map(|(n, noun, what)| format!("{} {what}", count(n, noun))).collect();
        match self.requirements_that_are(RequirementStatus::Unverified) {
            0 => {}
            n => all.push(format!("{n} unverified")),
        }
        all
    }

    /// Ids of the tasks that came to a good end.
    pub(super) fn succeeded(&self) -> BTreeSet<&str> {
        self.tasks.iter().filter(|t| t.status.is_success()).map(|t| t.id.as_str()).collect()
    }
}

impl GateReport {
    /// True where it decides and could not be run: one that was only found by looking may be skipped, others may not.
    pub(super) fn is_missing(&self) -> bool {
        self.required && !self.detected && self.status == GateStanding::Skipped
    }

    /// Its tests: (passed, passed or failed).
    pub fn tests(&self) -> (u64, u64) {
        let listed = |status| len(self.cases.iter().filter(|c| c.status == status).count());
        let of = |key: &str, status| self.counts.get(key).copied().unwrap_or_else(|| listed(status));
        let (passed, failed) = (of("passed", TestStatus::Passed), of("failed", TestStatus::Failed));
        (passed, passed.saturating_add(failed))
    }
}

impl TaskReport {
    /// What it still waits for: dependencies that are not among those that succeeded.
    pub(super) fn waits_for(&self, succeeded: &BTreeSet<&str>) -> Vec<&str> {
        self.depends_on.iter().map(String::as_str).filter(|id| !succeeded.contains(id)).collect()
    }

    /// Active time of all attempts, milliseconds.
    pub fn duration_ms(&self) -> u64 {
        self.attempts.iter().fold(0, |sum, a| sum.saturating_add(a.duration_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn a_requirement_is_uncovered_where_no_task_serves_it_and_nothing_proves_it() {
        let ids = |report: &Report| report.uncovered().map(|r| r.id.clone()).collect::<Vec<_>>();
        let mut report = testing::report();
        assert!(ids(&report).is_empty());
        report.tasks.iter_mut().for_each(|task| task.requirements.clear());
        // A gate proves the first.
        assert_eq!(ids(&report), ["FR-2", "FR-3"]);
        report.tasks.clear();
        assert!(ids(&report).is_empty(), "there is no plan");
    }
}
