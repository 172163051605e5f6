//! What models cost. In: a model's name, as a request gives it. Out: its price, from a table that is part of the
//! program (`ci/refresh-prices.py` makes it), or nothing: a price is never guessed from a name that is only alike.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::core::Price;

#[derive(Default, Deserialize)]
struct Table {
    date: String,
    source: String,
    models: HashMap<String, Price>,
}

/// The price of a model. Matches its whole name, also without a provider before it, and without a date or `-latest`
/// after it.
pub(super) fn price_of(model: &str) -> Option<Price> {
    let models = &table().models;
    let name = model.rsplit('/').next().unwrap_or(model);
    [Some(model), Some(name), undated(name)].into_iter().flatten().find_map(|name| models.get(name)).copied()
}

/// The price of a model whose cache is to live for hours: writing to it costs twice the input at Anthropic, two and a
/// half times at `OpenAI`. The dearer holds for both.
pub(super) fn with_long_cache(price: Price) -> Price {
    let long = price.input.saturating_mul(5).div_ceil(2);
    Price { cache_write: price.cache_write.max(long), ..price }
}

/// When the table was made, and from what.
pub fn prices_dated() -> (&'static str, &'static str) {
    (&table().date, &table().source)
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

    fn check(model: &str, same_as: Option<&str>) {
        assert_eq!(price_of(model), same_as.map(|name| table().models[name]), "{model}");
    }

    #[test]
    fn the_table_is_read_and_says_where_it_comes_from() {
        let table: Table = serde_json::from_str(include_str!("prices.json")).unwrap();
        assert!(table.models.len() > 50 && table.models.values().all(|price| price.input > 0 && price.output > 0));
        let (date, source) = prices_dated();
        assert!(date.parse::<jiff::civil::Date>().is_ok() && source.starts_with("litellm "), "{date} {source}");
    }

    #[test]
    fn a_model_is_known_by_its_name() {
        let sonnet = Price { input: 3_000_000, cached_input: 300_000, cache_write: 3_750_000, output: 15_000_000 };
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
    fn the_dearest_tier_is_the_price() {
        assert_eq!(price_of("gemini-2.5-pro").map(|price| (price.input, price.output)), Some((2_500_000, 15_000_000)));
    }

    #[test]
    fn a_long_cache_costs_more_to_write() {
        let price = with_long_cache(price_of("claude-sonnet-4-5").unwrap());
        assert_eq!((price.cache_write, price.input), (7_500_000, 3_000_000));
    }
}
