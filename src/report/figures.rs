//! The report's figures: budget and metrics. The rest of the report and the state flow in, numbers flow out.

use std::collections::BTreeSet;

use super::format::{len, share};
use super::model::{AmountBudget, BudgetReport, DurationBudget, Metrics, Report, ResourceUse, StoppedBy};
use super::model_measure::Counts;
use super::model_work::{AttemptOutcome, AttemptReport, TaskReport};
use crate::core::budget::{Budget, Resource, Usage, UsageSource};
use crate::core::event::{Event, Record};
use crate::core::session::StopCause;
use crate::core::state::State;

/// Limits, and what was used of them.
pub(super) fn budget(state: &State, report: &Report) -> BudgetReport {
    let limits = state.settings().map_or_else(Budget::default, |s| s.budget);
    let (used, committed) = (state.ledger.used(), state.ledger.committed());
    let sum = |of: fn(&Usage) -> u64| attempts(report).map(|a| of(&a.usage)).fold(0, u64::saturating_add);
    // Only an agent that may have called a model without a word counts a call without a source.
    let is_silent = |a: &AttemptReport| !a.usage.is_reported() && a.usage.api_calls > 0;
    let silent = attempts(report).any(is_silent);
    let told = attempts(report).any(|a| a.usage.is_reported());
    let unpriced_calls = sum(|usage| usage.unpriced_calls);
    let amount = |resource| {
        let at_least = silent || (resource == Resource::Cost && unpriced_calls > 0);
        let known = match resource {
            Resource::Tokens => told || !at_least,
            Resource::Cost => used.cost_microusd > 0 || !at_least,
            _ => true,
        };
        AmountBudget {
            limit: limits.limit(resource),
            used: known.then(|| used.get(resource)),
            at_least,
            reserved: committed.get(resource).saturating_sub(used.get(resource)),
        }
    };
    let listed = sum(|usage| usage.listed_calls) > 0;
    BudgetReport {
        duration: DurationBudget { limit_ms: limits.limit(Resource::Duration), used_ms: state.at.elapsed_ms },
        tokens: amount(Resource::Tokens),
        api_calls: amount(Resource::ApiCalls),
        cost_microusd: amount(Resource::Cost),
        estimated_tokens: sum(|usage| usage.estimated_tokens),
        unpriced_calls,
        prices: state.started.as_ref().and_then(|started| started.prices.clone()).filter(|_| listed),
        source: source(report).to_owned(),
        stopped_by: stopped_by(state),
        curve: Vec::new(),
    }
}

impl AmountBudget {
    /// What was used, in words.
    pub(super) fn used_in_words(&self, show: fn(u64) -> String) -> String {
        match (self.used, self.at_least) {
            (None, _) => "unknown".to_owned(),
            (Some(used), true) => format!("at least {}", show(used)),
            (Some(used), false) => show(used),
        }
    }
}

fn attempts(report: &Report) -> impl Iterator<Item = &AttemptReport> {
    report.tasks.iter().flat_map(|t| &t.attempts)
}

/// Whether the figures can be trusted to be all there are.
fn source(report: &Report) -> &'static str {
    let ended = attempts(report).filter(|a| a.outcome != AttemptOutcome::Running);
    let sources: BTreeSet<UsageSource> = ended.map(|a| a.usage.source).collect();
    let of = |source| sources.contains(&source);
    match (of(UsageSource::Gateway), of(UsageSource::Reported), of(UsageSource::None)) {
        (true, false, false) => "gateway",
        (false, true, false) => "reported",
        (false, false, _) => "none",
        _ => "partial",
    }
}

pub(super) fn stopped_by(state: &State) -> Option<StoppedBy> {
    let Some(StopCause::Budget { resource, used, limit, soft, scope, ref task, wanted }) = state.stop else {
        return None;
    };
    Some(StoppedBy { resource, used, limit, soft, scope, task: task.as_ref().map(ToString::to_string), wanted })
}

/// Rates and shares.
pub(super) fn metrics(report: &Report, records: &[Record]) -> Metrics {
    let counts = counts(report, records);
    Metrics { resource_use: resource_use(&report.budget), ..Metrics::of(counts) }
}

fn counts(report: &Report, records: &[Record]) -> Counts {
    let stumbled: Vec<&TaskReport> = report.tasks.iter().filter(|t| t.attempts.iter().any(has_failed)).collect();
    let recovered = stumbled.iter().filter(|t| t.status.is_success()).count();
    let (tests_passed, tests) = report.tests();
    let rolled_back_to = |event: &Event| match event {
        Event::RollbackStarted { n, .. } => Some(*n),
        _ => None,
    };
    let targets: Vec<u32> = records.iter().filter_map(|r| rolled_back_to(&r.event)).collect();
    let durable = || report.checkpoints.iter().filter(|c| c.tag.is_some());
    Counts {
        tasks: len(report.tasks.len()),
        tasks_succeeded: len(report.tasks_succeeded()),
        tasks_stumbled: len(stumbled.len()),
        tasks_recovered: len(recovered),
        attempts: len(attempts(report).count()),
        tests,
        tests_passed,
        rollbacks: len(targets.len()),
        rollbacks_done: len(records.iter().filter(|r| matches!(r.event, Event::RolledBack)).count()),
        checkpoints: len(durable().count()),
        checkpoints_used: len(durable().filter(|c| c.moved_branch || targets.contains(&c.n)).count()),
    }
}

impl Metrics {
    /// The rates that these counts come to; they know of no limits, so of no use of resources.
    pub fn of(counts: Counts) -> Self {
        Self {
            autonomy_ratio: share(counts.tasks_succeeded, counts.tasks),
            recovery_rate: share(counts.tasks_recovered, counts.tasks_stumbled),
            test_pass_rate: share(counts.tests_passed, counts.tests),
            rollback_success: share(counts.rollbacks_done, counts.rollbacks),
            checkpoints: u32::try_from(counts.checkpoints).unwrap_or(u32::MAX),
            checkpoint_use: share(counts.checkpoints_used, counts.checkpoints),
            resource_use: ResourceUse::default(),
            counts,
        }
    }
}

impl Counts {
    /// Sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tasks: self.tasks + other.tasks,
            tasks_succeeded: self.tasks_succeeded + other.tasks_succeeded,
            tasks_stumbled: self.tasks_stumbled + other.tasks_stumbled,
            tasks_recovered: self.tasks_recovered + other.tasks_recovered,
            attempts: self.attempts + other.attempts,
            tests: self.tests.saturating_add(other.tests),
            tests_passed: self.tests_passed.saturating_add(other.tests_passed),
            rollbacks: self.rollbacks + other.rollbacks,
            rollbacks_done: self.rollbacks_done + other.rollbacks_done,
            checkpoints: self.checkpoints + other.checkpoints,
            checkpoints_used: self.checkpoints_used + other.checkpoints_used,
        }
    }
}

fn has_failed(attempt: &AttemptReport) -> bool {
    attempt.outcome == AttemptOutcome::Failed
}

fn resource_use(budget: &BudgetReport) -> ResourceUse {
    let of = |amount: &AmountBudget| share(amount.used?, amount.limit?);
    ResourceUse {
        duration: budget.duration.limit_ms.and_then(|limit| share(budget.duration.used_ms, limit)),
        tokens: of(&budget.tokens),
        api_calls: of(&budget.api_calls),
        cost: of(&budget.cost_microusd),
    }
}
