//! What sessions come to together: verdicts, rates and use of resources. Reports flow in, one by one; sums flow out.

use std::collections::BTreeMap;

use serde::Serialize;

use super::model::{Metrics, Report};
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
    /// Rates over all tasks, tests, rollbacks and checkpoints, as if they were of one session.
    pub metrics: Metrics,
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
    }

    /// The sums, with the rates they come to.
    #[must_use]
    pub fn finished(self) -> Self {
        let counts: Counts = self.metrics.counts;
        Self { metrics: Metrics::of(counts), ..self }
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
}
