//! What the two dialects of `OpenAI` share: the tiers of service, caches that live long, and how usage is counted.

use memchr::memmem;
use serde::Deserialize;

use super::body::Body;
use super::tally::amount;
use crate::core::Usage;

/// Tiers that cost the listed price, or less.
const LISTED_TIERS: &[&str] = &["auto", "default", "standard", "on_demand", "flex"];

/// Refuses a tier of service that costs more than the listed price.
///
/// # Errors
/// The request asks for one.
pub(super) fn check_tier(body: &Body) -> Result<(), String> {
    body.listed_price_only("service_tier", LISTED_TIERS)
}

/// True where the request says how long its cache is to live, other than the shortest time. In doubt it is true: that
/// only makes the cache dearer in the ledger.
pub(super) fn caches_long(body: &Body, input: &str) -> bool {
    let is_long = |options: &str| match Body::parse(options.as_bytes()) {
        Ok(options) => options.get("ttl").is_some_and(|ttl| ttl != "\"30m\""),
        Err(_) => true,
    };
    let is_marked = |input: &str| memmem::find(input.as_bytes(), b"\"12h\"").is_some();
    body.get("prompt_cache_options").is_some_and(is_long) || body.get(input).is_some_and(is_marked)
}

/// Input includes what a cache had or took, output includes reasoning. The names differ by dialect; servers that speak
/// either sometimes give both.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    #[serde(deserialize_with = "amount")]
    input_tokens: u64,
    #[serde(deserialize_with = "amount")]
    prompt_tokens: u64,
    #[serde(deserialize_with = "amount")]
    output_tokens: u64,
    #[serde(deserialize_with = "amount")]
    completion_tokens: u64,
    #[serde(deserialize_with = "amount")]
    total_tokens: u64,
    input_tokens_details: Option<Details>,
    prompt_tokens_details: Option<Details>,
    output_tokens_details: Option<Details>,
    completion_tokens_details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    #[serde(rename = "cached_tokens", deserialize_with = "amount")]
    cached: u64,
    #[serde(rename = "cache_write_tokens", deserialize_with = "amount")]
    cache_write: u64,
    #[serde(rename = "reasoning_tokens", deserialize_with = "amount")]
    reasoning: u64,
}

impl Counts {
    /// The usage that they stand for.
    pub(super) fn usage(&self) -> Usage {
        let most = |of: fn(&Details) -> u64, details: [Option<&Details>; 2]| {
            details.into_iter().flatten().map(of).max().unwrap_or(0)
        };
        let input = [self.input_tokens_details.as_ref(), self.prompt_tokens_details.as_ref()];
        let output = [self.output_tokens_details.as_ref(), self.completion_tokens_details.as_ref()];
        let input_tokens = self.input_tokens.max(self.prompt_tokens);
        // Some servers leave reasoning out of the output and have it only in the total.
        let rest = self.total_tokens.saturating_sub(input_tokens);
        Usage {
            input_tokens,
            cached_tokens: most(|d| d.cached, input),
            cache_write_tokens: most(|d| d.cache_write, input),
            output_tokens: self.output_tokens.max(self.completion_tokens).max(rest),
            reasoning_tokens: most(|d| d.reasoning, output),
            ..Usage::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: (u64, u64, u64, u64, u64)) {
        let usage = serde_json::from_str::<Counts>(json).unwrap().usage();
        let got = (
            usage.input_tokens,
            usage.cached_tokens,
            usage.cache_write_tokens,
            usage.output_tokens,
            usage.reasoning_tokens,
        );
        assert_eq!(got, expected, "{json}");
    }

    #[test]
    fn both_dialects_count_alike() {
        check(
            r#"{"input_tokens":1000,"input_tokens_details":{"cached_tokens":300,"cache_write_tokens":200},
                "output_tokens":50,"output_tokens_details":{"reasoning_tokens":7},"total_tokens":1050}"#,
            (1000, 300, 200, 50, 7),
        );
        check(
            r#"{"prompt_tokens":1000,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":300},
                "completion_tokens_details":null}"#,
            (1000, 300, 0, 50, 0),
        );
    }

    #[test]
    fn reasoning_that_only_the_total_has_is_output() {
        check(
            r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":115,
                "completion_tokens_details":{"reasoning_tokens":100}}"#,
            (10, 0, 0, 105, 100),
        );
    }
}
