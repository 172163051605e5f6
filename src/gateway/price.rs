//! What models cost. In: a model's name, as a request gives it. Out: its price, from a table that is part of the
//! program (`ci/refresh-prices.py` makes it), or nothing: a price is never guessed from a name that is only alike.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::core::{Price, Usage};

#[derive(Default, Deserialize)]
struct Table {
    date: String,
    source: String,
    models: HashMap<String, Model>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(flatten)]
    price: Price,
    /// Most output tokens of one call, where the list says so.
    max_output: Option<u64>,
    /// Dearer prices of longer input, by rising length.
    #[serde(default)]
    tiers: Vec<Tier>,
}

#[derive(Clone, Copy, Deserialize)]
struct Tier {
    /// It holds for all tokens of a call whose input, cached or not, is longer than this.
    above: u64,
    #[serde(flatten)]
    price: Price,
}

/// What the calls of one model cost: one price, or several by the length of a call's input.
#[derive(Clone, Copy)]
pub struct Tariff {
    price: Price,
    tiers: &'static [Tier],
    has_long_cache: bool,
    is_listed: bool,
}

impl Tariff {
    /// One price, as a configuration gives it.
    pub const fn flat(price: Price) -> Self {
        Self { price, tiers: &[], has_long_cache: true, is_listed: false }
    }

    /// That of a model in the table. Matches its whole name, also without a provider before it, and without a date or
    /// `-latest` after it.
    pub fn listed(model: &str) -> Option<Self> {
        let of = |model: &'static Model| Self {
            price: model.price,
            tiers: &model.tiers,
            has_long_cache: true,
            is_listed: true,
        };
        find(model).map(of)
    }

    /// The same for calls that ask for no cache that lives for hours: then nothing is written to one.
    #[must_use]
    pub fn without_long_cache(self) -> Self {
        Self { has_long_cache: false, ..self }
    }

    /// `usage` of one call or of several, with what it costs. The price of several is that of their mean length.
    pub fn priced(&self, usage: Usage) -> Usage {
        let calls = usage.api_calls.max(1);
        let cost_microusd = self.at(usage.input_tokens.div_ceil(calls)).cost(&usage);
        let listed_calls = if self.is_listed { calls } else { 0 };
        Usage { cost_microusd, unpriced_calls: 0, listed_calls, ..usage }
    }

    /// The price of a call with `input` tokens of input.
    pub fn at(&self, input: u64) -> Price {
        self.caching(self.tiers(input).last().map_or(self.price, |tier| tier.price))
    }

    /// The most that a call costs whose input is `input` tokens or fewer, kind by kind of token.
    pub fn up_to(&self, input: u64) -> Price {
        self.caching(self.tiers(input).fold(self.price, |dearest, tier| dearest.max(tier.price)))
    }

    fn tiers(&self, input: u64) -> impl Iterator<Item = &'static Tier> {
        self.tiers.iter().filter(move |tier| input > tier.above)
    }

    fn caching(&self, price: Price) -> Price {
        if self.has_long_cache { price } else { Price { cache_write_1h: price.cache_write, ..price } }
    }
}

/// The most output tokens that a call of this model may have, where that is known.
pub fn max_output_tokens(model: &str) -> Option<u64> {
    find(model)?.max_output
}

/// When the table was made, and from what.
pub fn prices_dated() -> (&'static str, &'static str) {
    (&table().date, &table().source)
}

fn find(model: &str) -> Option<&'static Model> {
    let models = &table().models;
    let name = model.rsplit('/').next().unwrap_or(model);
    [Some(model), Some(name), undated(name)].into_iter().flatten().find_map(|name| models.get(name))
}

/// A name without the date or the `-latest` at its end.
fn undated(name: &str) -> Option<&str> {
    if let Some(short) = name.strip_suffix("-latest") {
        return Some(short);
    }
    let fits = |(byte, shape): (u8, u8)| if shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    ["-00000000", "-0000-00-00"].into_iter().find_map(|shape| {
        let (short, date) = name.split_at_checked(name.len().checked_sub(shape.len())?)?;
        date.bytes().zip(shape.bytes()).all(fits).then_some(short)
    })
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    // It is part of the program, and a test reads it.
    TABLE.get_or_init(|| serde_json::from_str(include_str!("prices.json")).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price_of(model: &str) -> Option<Price> {
        Tariff::listed(model).map(|tariff| tariff.at(0))
    }

    fn check(model: &str, same_as: Option<&str>) {
        assert_eq!(price_of(model), same_as.map(|name| table().models[name].price), "{model}");
    }

    /// Dollars for a million tokens of input and of output.
    fn check_tier(model: &str, input: u64, expected: (f64, f64)) {
        let tariff = Tariff::listed(model).unwrap();
        let micro = |usd: f64| format!("{:.0}", usd * 1e6).parse::<u64>().unwrap();
        for price in [tariff.at(input), tariff.up_to(input)] {
            let got = (price.input, price.output);
            assert_eq!(got, (micro(expected.0), micro(expected.1)), "{model} at {input}");
        }
    }

    #[test]
    fn the_table_is_read_and_says_where_it_comes_from() {
        let table: Table = serde_json::from_str(include_str!("prices.json")).unwrap();
        assert!(table.models.len() > 50);
        for (name, model) in &table.models {
            let prices = || std::iter::once(model.price).chain(model.tiers.iter().map(|tier| tier.price));
            assert!(prices().all(|price| price.input > 0 && price.cached_input > 0 && price.output > 0), "{name}");
            assert!(prices().all(|price| price.cache_write_1h >= price.cache_write), "{name}");
            assert!(prices().zip(prices().skip(1)).all(|(low, high)| low.max(high) == high), "{name}");
            assert!(model.tiers.is_sorted_by(|a, b| a.above < b.above), "{name}");
        }
        let (date, source) = prices_dated();
        assert!(date.parse::<jiff::civil::Date>().is_ok() && source.starts_with("litellm "), "{date} {source}");
    }

    #[test]
    fn a_model_is_known_by_its_name() {
        let sonnet = Price {
            input: 3_000_000,
            cached_input: 300_000,
            cache_write: 3_750_000,
            cache_write_1h: 6_000_000,
            output: 15_000_000,
        };
        assert_eq!(price_of("claude-sonnet-4-5"), Some(sonnet));
        check("claude-sonnet-4-5-20250929", Some("claude-sonnet-4-5"));
        check("claude-sonnet-4-5-20991231", Some("claude-sonnet-4-5"));
        check("anthropic/claude-sonnet-4-5", Some("claude-sonnet-4-5"));
        check("models/gemini-2.5-pro", Some("gemini-2.5-pro"));
        check("openai/gpt-5-2099-12-31", Some("gpt-5"));
        check("claude-haiku-4-5-latest", Some("claude-haiku-4-5"));
    }

    #[test]
    fn a_name_that_is_only_alike_has_no_price() {
        for model in ["gpt-5.99", "gpt-5-turbo", "claude-sonnet-4-5-fast", "gpt", "", "-latest", "gpt-5-20251", "ü"] {
            check(model, None);
        }
    }

    #[test]
    fn longer_input_costs_more_from_where_the_list_says_so() {
        check_tier("qwen3-coder-plus", 32_000, (1.0, 5.0));
        check_tier("qwen3-coder-plus", 32_001, (1.8, 9.0));
        check_tier("qwen3-coder-plus", 256_001, (6.0, 60.0));
        check_tier("gpt-5.4", 272_000, (2.5, 15.0));
        check_tier("gpt-5.4", 272_001, (5.0, 22.5));
        check_tier("gemini-2.5-pro", 200_000, (1.25, 10.0));
        check_tier("gemini-2.5-pro", 200_001, (2.5, 15.0));
        check_tier("claude-sonnet-4-5", 1_000_000, (3.0, 15.0));
    }

    #[test]
    fn a_bound_counts_at_the_dearest_tier_that_it_reaches() {
        let cheap = Price { input: 1, output: 50, ..Price::default() };
        let tiers: &[Tier] = &[Tier { above: 10, price: Price { input: 2, output: 5, ..Price::default() } }];
        let tariff = Tariff { price: cheap, tiers: Box::leak(tiers.into()), has_long_cache: true, is_listed: true };
        assert_eq!((tariff.at(11).output, tariff.up_to(11).output), (5, 50));
    }

    #[test]
    fn calls_told_of_together_cost_what_their_mean_length_does() {
        let tariff = Tariff::listed("gpt-5.4").unwrap();
        let usage = |api_calls| Usage { input_tokens: 1_000_000, api_calls, ..Usage::default() };
        let cost = |api_calls| {
            let priced = tariff.priced(Usage { unpriced_calls: api_calls, ..usage(api_calls) });
            (priced.cost_microusd, priced.unpriced_calls, priced.listed_calls)
        };
        assert_eq!(cost(10), (2_500_000, 0, 10));
        assert_eq!(cost(1), (5_000_000, 0, 1));
        assert_eq!(Tariff::flat(tariff.at(0)).priced(usage(2)).listed_calls, 0);
    }

    #[test]
    fn only_who_asks_for_a_long_cache_pays_for_one() {
        let tariff = Tariff::listed("claude-sonnet-4-5").unwrap();
        assert_eq!(tariff.at(1).cache_write_1h, 6_000_000);
        assert_eq!(tariff.without_long_cache().at(1).cache_write_1h, 3_750_000);
    }

    #[test]
    fn the_most_that_a_call_may_say_is_known() {
        assert_eq!(max_output_tokens("anthropic/claude-sonnet-4-5"), Some(64_000));
        assert_eq!(max_output_tokens("mystery-1"), None);
    }
}
