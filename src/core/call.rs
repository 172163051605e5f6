//! One call of a model API through the gateway: what it asks for, what the budget answers, how it ended. The gateway
//! measures; every yes and no is the core's, so that there is one ledger and no race between agents.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agent::Unavailability;
use super::budget::{Resource, Usage};

/// HTTP: the API has no such model, or nothing at this address.
const NOT_FOUND: u16 = 404;
/// Tokens that a price is given for.
const PRICED_TOKENS: u128 = 1_000_000;

/// What a model costs: millionths of a US dollar for a million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Price {
    /// Input that no cache had and none took.
    pub input: u64,
    /// Input read from a cache.
    pub cached_input: u64,
    /// Input written to a cache that lives for minutes.
    pub cache_write: u64,
    /// Input written to a cache that lives for an hour or more.
    #[serde(default)]
    pub cache_write_1h: u64,
    /// Output.
    pub output: u64,
}

impl Price {
    /// What `usage` costs, millionths of a US dollar, rounded up. What was written to a cache counts as written for an
    /// hour, as far as nobody said that it was for minutes.
    pub fn cost(&self, usage: &Usage) -> u64 {
        let cached = usage.cached_tokens.saturating_add(usage.cache_write_tokens);
        let for_minutes = usage.cache_write_5m_tokens.min(usage.cache_write_tokens);
        let parts = [
            (usage.input_tokens.saturating_sub(cached), self.input),
            (usage.cached_tokens, self.cached_input),
            (for_minutes, self.cache_write),
            (usage.cache_write_tokens - for_minutes, self.cache_write_1h),
            (usage.output_tokens, self.output),
        ];
        micro(parts.into_iter().map(|(tokens, price)| u128::from(tokens) * u128::from(price)).sum())
    }

    /// The most that a call can cost which reads `input` tokens and writes `output`.
    pub fn worst(&self, input: u64, output: u64) -> u64 {
        micro(u128::from(input) * u128::from(self.worst_input()) + u128::from(output) * u128::from(self.output))
    }

    /// How many output tokens `microusd` pays for after `input` tokens at their worst price. None is no bound.
    pub fn affordable_output(&self, microusd: u64, input: u64) -> Option<u64> {
        let input = u128::from(input) * u128::from(self.worst_input());
        let left = (u128::from(microusd) * PRICED_TOKENS).saturating_sub(input);
        let tokens = left.checked_div(u128::from(self.output))?;
        Some(u64::try_from(tokens).unwrap_or(u64::MAX))
    }

    /// The dearer of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            input: self.input.max(other.input),
            cached_input: self.cached_input.max(other.cached_input),
            cache_write: self.cache_write.max(other.cache_write),
            cache_write_1h: self.cache_write_1h.max(other.cache_write_1h),
            output: self.output.max(other.output),
        }
    }

    fn worst_input(&self) -> u64 {
        self.input.max(self.cached_input).max(self.cache_write).max(self.cache_write_1h)
    }
}

fn micro(product: u128) -> u64 {
    u64::try_from(product.div_ceil(PRICED_TOKENS)).unwrap_or(u64::MAX)
}

/// A call that wants to be let out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallAsk {
    /// The model, as the request names it; untrusted text.
    pub model: String,
    /// Upper bound of its input tokens.
    pub input_tokens: u64,
    /// Output tokens it may ask for: the request's own cap, or the gateway's where it has none.
    pub output_tokens: u64,
    /// Fewest output tokens that still make sense, or that the request allows.
    pub min_output_tokens: u64,
    /// What it costs, where that is known.
    pub price: Option<Price>,
}

/// The budget's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallAnswer {
    /// It may go out with at most this many output tokens.
    Granted {
        /// The cap.
        max_output_tokens: u64,
    },
    /// It may go out as it is: no limit depends on its output.
    Unlimited,
    /// It must not go out.
    Refused {
        /// Why, for the agent and the log.
        message: String,
    },
}

/// Whose limit refused a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The session's.
    #[default]
    Session,
    /// The task's, or that of one attempt at it.
    Task,
}

/// Why a call was not let out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Refusal {
    /// It could go over a limit.
    Limit {
        /// Whose.
        scope: Scope,
        /// Of what.
        resource: Resource,
        /// Spent and set aside for calls under way.
        used: u64,
        /// What the call could take.
        wanted: u64,
        /// The limit.
        limit: u64,
    },
    /// A limit on cost holds, and nobody knows what its model costs.
    Unpriced {
        /// The model; untrusted text.
        model: String,
    },
    /// What it takes cannot be bounded before the call, or the gateway does not serve it.
    Unmeterable {
        /// Why, as the agent was told; may hold untrusted text.
        message: String,
    },
    /// The run stops.
    Stopping,
}

impl Refusal {
    /// How much it says about why an attempt ended: limits most; that an attempt is being ended, nothing.
    pub(super) fn weight(&self) -> u8 {
        match self {
            Self::Stopping => 0,
            Self::Unmeterable { .. } => 1,
            Self::Limit { .. } | Self::Unpriced { .. } => 2,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit { scope, resource, used, wanted, limit } => {
                let whose = match scope {
                    Scope::Session => "session",
                    Scope::Task => "task",
                };
                write!(
                    f,
                    "the {whose}'s budget does not allow this call: it could take {}, and {} of {} are used or set aside",
                    resource.show(*wanted),
                    resource.show(*used),
                    resource.show(*limit)
                )
            }
            Self::Unpriced { model } => write!(
                f,
                "the run has a limit on cost and the price of the model `{model}` is not known; give `price` for the \
                 agent, or set resource_limits.unknown_cost to token_cap or allow"
            ),
            Self::Unmeterable { message } => f.write_str(message),
            Self::Stopping => f.write_str("the run is being stopped"),
        }
    }
}

/// What went wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallTrouble {
    /// 401 or 403.
    Auth,
    /// A quota or a credit is used up.
    Quota,
    /// 429: too many requests.
    Rate,
    /// 503 or 529: overloaded.
    Overloaded,
    /// Another 5xx.
    Server,
    /// Another 4xx: the request is at fault.
    Request,
    /// The upstream cannot be reached.
    Network,
    /// It sent nothing for too long, and was given up.
    Stalled,
    /// It ended in the middle of a response.
    Cut,
    /// It sent more than a response may hold.
    TooLarge,
    /// The agent hung up, or was ended.
    Abandoned,
}

impl fmt::Display for CallTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auth => "auth",
            Self::Quota => "quota",
            Self::Rate => "rate limit",
            Self::Overloaded => "overloaded",
            Self::Server => "server error",
            Self::Request => "bad request",
            Self::Network => "network",
            Self::Stalled => "stalled",
            Self::Cut => "cut",
            Self::TooLarge => "too large",
            Self::Abandoned => "abandoned",
        })
    }
}

/// A call that did not end well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallFault {
    /// What kind of trouble.
    pub trouble: CallTrouble,
    /// Status of the response, where there was one.
    pub status: Option<u16>,
    /// Earliest moment at which trying again makes sense, milliseconds since 1970, where the upstream said so.
    pub resume_after_ms: Option<i64>,
    /// What the upstream said, bounded; untrusted text.
    pub message: String,
}

impl CallFault {
    /// What it means for the agent, where it means that the API does not serve it.
    pub fn unavailability(&self) -> Option<Unavailability> {
        match self.trouble {
            CallTrouble::Request if self.status == Some(NOT_FOUND) => Some(Unavailability::Model),
            CallTrouble::Auth => Some(Unavailability::Auth),
            CallTrouble::Quota => Some(Unavailability::Quota),
            CallTrouble::Rate
            | CallTrouble::Overloaded
            | CallTrouble::Server
            | CallTrouble::Network
            | CallTrouble::Stalled => Some(Unavailability::Rate),
            CallTrouble::Request | CallTrouble::Cut | CallTrouble::TooLarge | CallTrouble::Abandoned => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// $3 in, $0.30 cached, $3.75 cache write, $6 for an hour, $15 out.
    const SONNET: Price = Price {
        input: 3_000_000,
        cached_input: 300_000,
        cache_write: 3_750_000,
        cache_write_1h: 6_000_000,
        output: 15_000_000,
    };

    #[test]
    fn each_kind_of_token_has_its_price() {
        let usage = Usage {
            input_tokens: 1500,
            cached_tokens: 300,
            cache_write_tokens: 200,
            cache_write_5m_tokens: 160,
            output_tokens: 50,
            ..Usage::default()
        };
        // 1000 × 3 + 300 × 0.3 + 160 × 3.75 + 40 × 6 + 50 × 15
        assert_eq!(SONNET.cost(&usage), 3000 + 90 + 600 + 240 + 750);
    }

    #[test]
    fn a_fraction_of_a_millionth_counts_as_one() {
        assert_eq!(Price { input: 1, ..Price::default() }.cost(&Usage { input_tokens: 1, ..Usage::default() }), 1);
    }

    #[test]
    fn affordable_output_never_costs_more_than_there_is() {
        let output = SONNET.affordable_output(10_000, 1000).unwrap();
        assert_eq!(output, (10_000 - 6000) / 15);
        assert!(SONNET.worst(1000, output) <= 10_000 && SONNET.worst(1000, output + 1) > 10_000);
        assert_eq!(SONNET.affordable_output(1, 1000), Some(0));
        assert_eq!(Price::default().affordable_output(5, 5), None);
    }
}
