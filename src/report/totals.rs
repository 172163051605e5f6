//! What sessions come to together: verdicts, rates and use of resources. Reports flow in, one by one; sums flow out.

use std::collections::BTreeMap;

use serde::Serialize;

use super::format::share;
use super::model::{AmountBudget, Metrics, Report, ResourceUse};
use super::model_measure::Counts;

/// What several sessions come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Sessions that could be read.
    pub sessions: u64,
    /// Sessions that could not.
    pub unreadable: u64,
    /// How many ended with which verdict, or are `running`.
    pub verdicts: BTreeMap<String, u64>,
    /// Active time, milliseconds.
    pub duration_ms: u64,
    /// Tokens that somebody counted.
    pub tokens: u64,
    /// Calls of model APIs that somebody counted.
    pub api_calls: u64,
    /// Millionths of a US dollar, of what had a known price.
    pub cost_microusd: u64,
    /// True where more was used than these, and nobody knows how much.
    pub at_least: bool,
    /// Rates over all tasks, tests, rollbacks and checkpoints, as if they were of one session. The use of resources is
    /// that of the sessions that had a limit.
    pub metrics: Metrics,
    /// Of these, time, tokens, calls and cost that were used, and their limits.
    #[serde(skip)]
    limited: [(u64, u64); 4],
}

impl Totals {
    /// Adds a session.
    pub fn add(&mut self, report: &Report) {
        let budget = &report.budget;
        self.sessions += 1;
        *self.verdicts.entry(report.verdict.clone()).or_default() += 1;
        self.duration_ms = self.duration_ms.saturating_add(budget.duration.used_ms);
        let amounts = [&budget.tokens, &budget.api_calls, &budget.cost_microusd];
        for (sum, amount) in [&mut self.tokens, &mut self.api_calls, &mut self.cost_microusd].into_iter().zip(amounts) {
            *sum = sum.saturating_add(amount.used.unwrap_or(0));
            self.at_least |= amount.at_least || amount.used.is_none();
        }
        self.metrics.counts = self.metrics.counts.plus(report.metrics.counts);
        let of = |amount: &AmountBudget| amount.used.zip(amount.limit);
        let time = budget.duration.limit_ms.map(|limit| (budget.duration.used_ms, limit));
        let uses = [time, of(&budget.tokens), of(&budget.api_calls), of(&budget.cost_microusd)];
        for (sum, (used, limit)) in self.limited.iter_mut().zip(uses.map(Option::unwrap_or_default)) {
            *sum = (sum.0.saturating_add(used), sum.1.saturating_add(limit));
        }
    }

    /// The sums, with the rates they come to.
    #[must_use]
    pub fn finished(self) -> Self {
        let counts: Counts = self.metrics.counts;
        let [duration, tokens, api_calls, cost] = self.limited.map(|(used, limit)| share(used, limit));
        let resource_use = ResourceUse { duration, tokens, api_calls, cost };
        Self { metrics: Metrics { resource_use, ..Metrics::of(counts) }, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn rates_over_sessions_weigh_every_task_alike() {
        let mut totals = Totals::default();
        let one = testing::report();
        let mut other = one.clone();
        other.verdict = "passed".to_owned();
        other.metrics.counts = Counts { tasks: 12, tasks_succeeded: 12, ..Counts::default() };
        totals.add(&one);
        totals.add(&other);
        let totals = totals.finished();
        assert_eq!(totals.metrics.autonomy_ratio, Some(0.875));
        assert_eq!(totals.metrics.recovery_rate, one.metrics.recovery_rate);
        assert_eq!(
            totals.verdicts.into_iter().collect::<Vec<_>>(),
            [("failed".to_owned(), 1), ("passed".to_owned(), 1)]
        );
        assert_eq!(totals.tokens, 2 * one.budget.tokens.used.expect("counted"));
    }

    #[test]
    fn resources_are_used_as_the_sessions_with_a_limit_used_them() {
        let mut totals = Totals::default();
        let mut report = Report::default();
        for (used, limit) in [(30, Some(100)), (60, Some(200)), (5_000, None)] {
            report.budget.tokens.used = Some(used);
            report.budget.tokens.limit = limit;
            report.budget.duration.used_ms = used;
            totals.add(&report);
        }
        let totals = totals.finished();
        assert_eq!((totals.tokens, totals.duration_ms), (5_090, 5_090));
        let expected = ResourceUse { tokens: Some(0.3), ..ResourceUse::default() };
        assert_eq!(totals.metrics.resource_use, expected);
    }
}
