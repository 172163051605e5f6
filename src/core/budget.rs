//! Budgets (limits), spend (used) and reservations; the ledger that holds them together is next door.
//! Integers only: tokens, calls, millionths of a US dollar, milliseconds.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a budget can run out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Active time of the session, or time of an attempt, milliseconds.
    Duration,
    /// Silence of an attempt, milliseconds.
    Idle,
    /// Input and output tokens together.
    Tokens,
    /// Calls of a model API.
    ApiCalls,
    /// Millionths of a US dollar.
    Cost,
    /// Memory of a process tree, bytes.
    Memory,
    /// Processes of a tree.
    Processes,
    /// Output of a process tree, bytes.
    Output,
    /// Disk that an attempt takes, bytes.
    Disk,
    /// Files that an attempt changed.
    ChangedFiles,
    /// Lines that an attempt changed.
    ChangedLines,
}

impl Resource {
    /// Those an agent spends and that add up over a session; the others are limits of one attempt.
    pub const SPENT: [Self; 3] = [Self::Tokens, Self::ApiCalls, Self::Cost];

    /// The amount as a person writes it.
    pub fn show(self, amount: u64) -> String {
        match self {
            Self::Duration | Self::Idle => format!("{}.{:03} s", amount / 1000, amount % 1000),
            Self::Tokens => format!("{amount} tokens"),
            Self::ApiCalls => format!("{amount} API calls"),
            Self::Cost => format!("${}.{:06}", amount / 1_000_000, amount % 1_000_000),
            Self::Memory | Self::Output | Self::Disk => show_bytes(amount),
            Self::Processes => format!("{amount} processes"),
            Self::ChangedFiles => format!("{amount} files"),
            Self::ChangedLines => format!("{amount} lines"),
        }
    }
}

/// Bytes in the largest binary unit of which there is at least one.
fn show_bytes(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let Some((shift, name)) = units.into_iter().find(|(shift, _)| bytes >> shift > 0) else {
        return format!("{bytes} bytes");
    };
    let tenths = (u128::from(bytes) * 10) >> shift;
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Duration => "time",
            Self::Idle => "silence",
            Self::Tokens => "tokens",
            Self::ApiCalls => "API calls",
            Self::Cost => "cost",
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Output => "output",
            Self::Disk => "disk",
            Self::ChangedFiles => "changed files",
            Self::ChangedLines => "changed lines",
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
    /// The amount of one resource; 0 for those that do not add up.
    pub fn get(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Tokens => self.tokens,
            Resource::ApiCalls => self.api_calls,
            Resource::Cost => self.cost_microusd,
            _ => 0,
        }
    }

    /// Sets the amount of one resource; those that do not add up are ignored.
    pub fn set(&mut self, resource: Resource, amount: u64) {
        match resource {
            Resource::Tokens => self.tokens = amount,
            Resource::ApiCalls => self.api_calls = amount,
            Resource::Cost => self.cost_microusd = amount,
            _ => {}
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// Nothing was reported.
    #[default]
    None,
    /// The agent reported it.
    Reported,
    /// The gateway counted it in the responses of the model API.
    Gateway,
}

/// What an attempt has used so far: a total, which never shrinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Usage {
    /// Input tokens: those read from a cache and those written to one included.
    pub input_tokens: u64,
    /// Of the input, read from a cache.
    pub cached_tokens: u64,
    /// Of the input, written to a cache.
    pub cache_write_tokens: u64,
    /// Of those, written to one that lives for minutes, as far as the API or the agent says so.
    pub cache_write_5m_tokens: u64,
    /// Output tokens, reasoning included.
    pub output_tokens: u64,
    /// Of the output, reasoning.
    pub reasoning_tokens: u64,
    /// Tokens among these that nobody counted: the worst case of calls whose usage never came.
    pub estimated_tokens: u64,
    /// Model calls.
    pub api_calls: u64,
    /// Millionths of a US dollar, of the calls whose price is known.
    pub cost_microusd: u64,
    /// Calls whose price is not known; `cost_microusd` lacks them.
    pub unpriced_calls: u64,
    /// Calls that were priced by the table that is part of the program.
    pub listed_calls: u64,
    /// Who says so.
    pub source: UsageSource,
}

impl Usage {
    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            input_tokens: with(self.input_tokens, other.input_tokens),
            cached_tokens: with(self.cached_tokens, other.cached_tokens),
            cache_write_tokens: with(self.cache_write_tokens, other.cache_write_tokens),
            cache_write_5m_tokens: with(self.cache_write_5m_tokens, other.cache_write_5m_tokens),
            output_tokens: with(self.output_tokens, other.output_tokens),
            reasoning_tokens: with(self.reasoning_tokens, other.reasoning_tokens),
            estimated_tokens: with(self.estimated_tokens, other.estimated_tokens),
            api_calls: with(self.api_calls, other.api_calls),
            cost_microusd: with(self.cost_microusd, other.cost_microusd),
            unpriced_calls: with(self.unpriced_calls, other.unpriced_calls),
            listed_calls: with(self.listed_calls, other.listed_calls),
            source: self.source.max(other.source),
        }
    }

    /// The larger of each amount: totals never decrease, whatever is reported.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        self.zip(other, u64::max)
    }

    /// Brings a total up to date. Amounts never decrease; which calls lack a price only the newer total knows.
    #[must_use]
    pub fn updated(self, newer: Self) -> Self {
        Self { unpriced_calls: newer.unpriced_calls, listed_calls: newer.listed_calls, ..self.max(newer) }
    }

    /// Sum, saturating.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    /// True where somebody said what was used.
    pub fn is_reported(&self) -> bool {
        self.source != UsageSource::None
    }

    /// Input and output together.
    pub fn tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }

    /// What it costs the budget.
    pub fn spend(&self) -> Spend {
        Spend { tokens: self.tokens(), api_calls: self.api_calls, cost_microusd: self.cost_microusd }
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
    /// Memory of one process tree, bytes.
    pub max_memory_bytes: Option<u64>,
    /// Processes of one tree.
    pub max_processes: Option<u64>,
    /// Output of one process tree, bytes.
    pub max_output_bytes: Option<u64>,
    /// Disk that one attempt takes, bytes.
    pub max_disk_bytes: Option<u64>,
    /// Files that one attempt changes.
    pub max_changed_files: Option<u64>,
    /// Lines that one attempt changes.
    pub max_changed_lines: Option<u64>,
}

impl Budget {
    /// The limit of one resource.
    pub fn limit(&self, resource: Resource) -> Option<u64> {
        match resource {
            Resource::Duration => self.max_duration_ms,
            // One limit for every attempt, which no budget holds.
            Resource::Idle => None,
            Resource::Tokens => self.max_tokens,
            Resource::ApiCalls => self.max_api_calls,
            Resource::Cost => self.max_cost_microusd,
            Resource::Memory => self.max_memory_bytes,
            Resource::Processes => self.max_processes,
            Resource::Output => self.max_output_bytes,
            Resource::Disk => self.max_disk_bytes,
            Resource::ChangedFiles => self.max_changed_files,
            Resource::ChangedLines => self.max_changed_lines,
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
    fn amounts_are_shown_with_their_unit() {
        assert_eq!(Resource::Cost.show(1_250_000), "$1.250000");
        assert_eq!(Resource::Duration.show(90_500), "90.500 s");
        assert_eq!(Resource::Memory.show(1_610_612_736), "1.5 GiB");
        assert_eq!(Resource::Disk.show(1023), "1023 bytes");
    }
}
