//! Budgets (limits), spend (used) and reservations, and the one ledger that holds them together.
//! Integers only: tokens, calls, millionths of a US dollar, milliseconds.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::id::TaskId;

/// What a budget can run out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Active time of the session, milliseconds.
    Duration,
    /// Input and output tokens together.
    Tokens,
    /// Calls of a model API.
    ApiCalls,
    /// Millionths of a US dollar.
    Cost,
}

impl Resource {
    /// Those an agent spends; time passes by itself.
    pub const SPENT: [Self; 3] = [Self::Tokens, Self::ApiCalls, Self::Cost];

    /// The amount as a person writes it.
    pub fn show(self, amount: u64) -> String {
        match self {
            Self::Duration => format!("{}.{:03} s", amount / 1000, amount % 1000),
            Self::Tokens => format!("{amount} tokens"),
            Self::ApiCalls => format!("{amount} API calls"),
            Self::Cost => format!("${}.{:06}", amount / 1_000_000, amount % 1_000_000),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Duration => "time",
            Self::Tokens => "tokens",
            Self::ApiCalls => "API calls",
            Self::Cost => "cost",
        })
    }
}

/// Amounts of the three resources that agents spend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Spend {
    /// Input and output tokens together.
    pub tokens: u64,
    /// Calls of a model API.
    pub api_calls: u64,
    /// Millionths of a US dollar.
    pub cost_microusd: u64,
}

/// A `Spend` that is set aside before an attempt starts.
pub type Reservation = Spend;

impl Spend {
    /// The amount of one resource; 0 for time, which no attempt spends by itself.
    pub fn get(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Duration => 0,
            Resource::Tokens => self.tokens,
            Resource::ApiCalls => self.api_calls,
            Resource::Cost => self.cost_microusd,
        }
    }

    /// Sets the amount of one resource; time is ignored.
    pub fn set(&mut self, resource: Resource, amount: u64) {
        match resource {
            Resource::Duration => {}
            Resource::Tokens => self.tokens = amount,
            Resource::ApiCalls => self.api_calls = amount,
            Resource::Cost => self.cost_microusd = amount,
        }
    }

    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            tokens: with(self.tokens, other.tokens),
            api_calls: with(self.api_calls, other.api_calls),
            cost_microusd: with(self.cost_microusd, other.cost_microusd),
        }
    }

    /// Sum, saturating: a lying agent can exhaust a budget, never wrap it.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    /// The larger of each amount.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        self.zip(other, u64::max)
    }
}

/// Where a usage figure comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// Nothing was reported.
    #[default]
    None,
    /// The agent reported it.
    Reported,
}

/// What an attempt has used so far: a total, which never shrinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Usage {
    /// Input tokens, cached ones included.
    pub input_tokens: u64,
    /// Output tokens, reasoning included.
    pub output_tokens: u64,
    /// Model calls.
    pub api_calls: u64,
    /// Millionths of a US dollar.
    pub cost_microusd: u64,
    /// Who says so.
    pub source: UsageSource,
}

impl Usage {
    /// The larger of each amount: totals never decrease, whatever is reported.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.max(other.input_tokens),
            output_tokens: self.output_tokens.max(other.output_tokens),
            api_calls: self.api_calls.max(other.api_calls),
            cost_microusd: self.cost_microusd.max(other.cost_microusd),
            source: if self.source == UsageSource::Reported { self.source } else { other.source },
        }
    }

    /// True where an agent said what it used.
    pub fn is_reported(&self) -> bool {
        self.source == UsageSource::Reported
    }

    /// What it costs the budget.
    pub fn spend(&self) -> Spend {
        Spend {
            tokens: self.input_tokens.saturating_add(self.output_tokens),
            api_calls: self.api_calls,
            cost_microusd: self.cost_microusd,
        }
    }
}

/// Limits. `None` is no limit. Reaching a limit is allowed, going over it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Budget {
    /// Active time, milliseconds.
    pub max_duration_ms: Option<u64>,
    /// Tokens.
    pub max_tokens: Option<u64>,
    /// Model calls.
    pub max_api_calls: Option<u64>,
    /// Millionths of a US dollar.
    pub max_cost_microusd: Option<u64>,
}

impl Budget {
    /// The limit of one resource.
    pub fn limit(&self, resource: Resource) -> Option<u64> {
        match resource {
            Resource::Duration => self.max_duration_ms,
            Resource::Tokens => self.max_tokens,
            Resource::ApiCalls => self.max_api_calls,
            Resource::Cost => self.max_cost_microusd,
        }
    }

    /// The first resource of which `used` is over the limit, with the limit.
    pub fn exceeded(&self, used: &Spend) -> Option<(Resource, u64)> {
        Resource::SPENT.into_iter().find_map(|r| {
            let limit = self.limit(r)?;
            (used.get(r) > limit).then_some((r, limit))
        })
    }
}

/// One attempt's share of the ledger while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Set aside before it started.
    pub reserved: Reservation,
    /// Used so far.
    pub used: Usage,
}

/// Everything that was spent and is promised. Kept by `State::apply`; nothing else writes to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Attempts that have ended.
    pub settled: Spend,
    /// Attempts that run.
    pub leases: BTreeMap<(TaskId, u32), Lease>,
}

impl Ledger {
    /// Used by ended and running attempts together.
    pub fn used(&self) -> Spend {
        self.leases.values().fold(self.settled, |sum, lease| sum.plus(lease.used.spend()))
    }

    /// Used plus what is set aside and not used yet.
    pub fn committed(&self) -> Spend {
        self.leases.values().fold(self.settled, |sum, lease| sum.plus(lease.reserved.max(lease.used.spend())))
    }

    /// Sets an amount aside for an attempt.
    pub fn open(&mut self, task: TaskId, attempt: u32, reserved: Reservation) {
        self.leases.insert((task, attempt), Lease { reserved, used: Usage::default() });
    }

    /// Takes note of what a running attempt has used so far.
    pub fn report(&mut self, task: &TaskId, attempt: u32, usage: Usage) {
        if let Some(lease) = self.leases.get_mut(&(task.clone(), attempt)) {
            lease.used = lease.used.max(usage);
        }
    }

    /// Ends a lease: what was used is spent, the rest is free again. Returns what was used.
    pub fn close(&mut self, task: &TaskId, attempt: u32) -> Usage {
        let Some(lease) = self.leases.remove(&(task.clone(), attempt)) else { return Usage::default() };
        self.settled = self.settled.plus(lease.used.spend());
        lease.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(n: u64) -> Spend {
        Spend { tokens: n, ..Spend::default() }
    }

    #[test]
    fn reaching_a_limit_is_allowed_and_going_over_it_is_not() {
        let budget = Budget { max_tokens: Some(10), ..Budget::default() };
        assert_eq!(budget.exceeded(&tokens(9)), None);
        assert_eq!(budget.exceeded(&tokens(10)), None);
        assert_eq!(budget.exceeded(&tokens(11)), Some((Resource::Tokens, 10)));
    }

    #[test]
    fn a_lease_counts_its_reservation_until_more_is_used() {
        let mut ledger = Ledger::default();
        ledger.open("T-1".into(), 1, tokens(100));
        assert_eq!(ledger.committed().tokens, 100);
        ledger.report(&"T-1".into(), 1, Usage { input_tokens: 130, ..Usage::default() });
        assert_eq!(ledger.committed().tokens, 130);
        ledger.close(&"T-1".into(), 1);
        assert_eq!((ledger.used().tokens, ledger.committed().tokens), (130, 130));
    }

    #[test]
    fn usage_never_shrinks_and_sums_saturate() {
        let mut ledger = Ledger::default();
        ledger.open("T-1".into(), 1, Spend::default());
        ledger.report(&"T-1".into(), 1, Usage { input_tokens: u64::MAX, output_tokens: 5, ..Usage::default() });
        ledger.report(&"T-1".into(), 1, Usage { input_tokens: 3, output_tokens: 2, ..Usage::default() });
        assert_eq!(ledger.used().tokens, u64::MAX);
    }

    #[test]
    fn amounts_are_shown_with_their_unit() {
        assert_eq!(Resource::Cost.show(1_250_000), "$1.250000");
        assert_eq!(Resource::Duration.show(90_500), "90.500 s");
    }
}
