//! The properties of the `JUnit` report's suite `tasks`: who worked, how it ended, what was spent of which limit. A
//! report flows in, properties flow out, as many as there are limits and at most two hundred more.

use quick_junit::TestSuite;

use super::junit_limits::Limits;
use super::model::{BudgetReport, Report, StoppedBy};

/// Agents that are named, and attempts whose denied tool calls are told.
const MAX_TOLD: usize = 100;

pub(super) fn add_spend(suite: &mut TestSuite, report: &Report, limits: Limits) {
    let BudgetReport { duration, tokens, api_calls, cost_microusd, source, .. } = &report.budget;
    let mut add = |name: &str, value: String| {
        suite.add_property((name.to_owned(), limits.line(&value)));
    };
    add("session", report.session.clone());
    add("verdict", report.verdict.clone());
    add("isolation_level", report.isolation.level.clone());
    for agent in report.agents.iter().take(MAX_TOLD) {
        add("agent", agent.in_words());
    }
    if let Some(stop) = &report.budget.stopped_by {
        add("stopped_by", stopped_by(stop));
    }
    for denials in report.denials().take(MAX_TOLD) {
        add("denied", denials);
    }
    add("usage_source", source.clone());
    let spent = [
        ("duration_ms", Some(duration.used_ms), duration.limit_ms),
        ("tokens", tokens.used, tokens.limit),
        ("api_calls", api_calls.used, api_calls.limit),
        ("cost_microusd", cost_microusd.used, cost_microusd.limit),
    ];
    for (name, used, limit) in spent {
        add(&format!("{name}_used"), used.map_or_else(|| "unknown".to_owned(), |used| used.to_string()));
        if let Some(limit) = limit {
            add(&format!("{name}_limit"), limit.to_string());
        }
    }
}

/// The limit that stopped the run, and whose it is.
fn stopped_by(stop: &StoppedBy) -> String {
    let whose = stop.task.as_ref().map_or_else(|| "the session".to_owned(), |task| format!("task {task}"));
    let wanted = if stop.wanted > 0 { format!(", {} wanted", stop.wanted) } else { String::new() };
    format!("{} of {whose}: {} of {}{wanted}", stop.resource, stop.used, stop.limit)
}
