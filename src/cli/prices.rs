//! What `check` says of an agent's price. In: the agent, the configuration, the rules. Out: where its price comes from,
//! or what follows from its being unknown.

use crate::agent::Agent;
use crate::config::{self, Config, Protocol};
use crate::core::{Price, Resource, Settings, UnknownCost};
use crate::gateway::{Tariff, prices_dated};

/// The price of an agent's model, in words; none for an agent without a model.
pub fn price_in_words(agent: &Agent, config: &Config, settings: &Settings) -> Option<String> {
    if agent.protocol == Protocol::Steps {
        return None;
    }
    let (date, source) = prices_dated();
    let configured = config.agents.get(&agent.name).and_then(|entry| entry.price.as_ref());
    let unknown = consequence(config, settings);
    Some(match (configured.map(config::Price::in_micro), agent.model.as_deref()) {
        (Some(price), _) => format!("{}, as configured", in_dollars(price)),
        (None, Some(model)) => match Tariff::listed(model) {
            Some(tariff) => {
                let more = if tariff.at(u64::MAX) == tariff.at(0) { "" } else { ", more for long input" };
                format!("{}{more} ({source}, of {date})", in_dollars(tariff.at(0)))
            }
            None => format!("not known for `{model}`: {unknown}; `agents.{}.price` would give it", agent.name),
        },
        (None, None) => {
            let of = if config.gateway.enabled { "calls" } else { "names, where it does not tell its cost" };
            format!("that of the model it {of} ({source}, of {date}); for a model that is not listed: {unknown}")
        }
    })
}

/// What follows where a price is not known.
fn consequence(config: &Config, settings: &Settings) -> &'static str {
    let limits = [&settings.budget, &settings.task_budget];
    if !limits.iter().any(|budget| budget.limit(Resource::Cost).is_some()) {
        "only tokens and calls are counted"
    } else if !settings.bears_unpriced() {
        if config.gateway.enabled {
            "every call will be refused (resource_limits.unknown_cost)"
        } else {
            "an attempt that reports usage without its cost will be stopped (resource_limits.unknown_cost)"
        }
    } else if settings.unknown_cost == UnknownCost::Allow {
        "calls go out and count towards no limit on cost (resource_limits.unknown_cost)"
    } else {
        "the limit on tokens stands in for the one on cost (resource_limits.unknown_cost)"
    }
}

fn in_dollars(price: Price) -> String {
    let Price { input, cached_input, cache_write, output, .. } = price;
    let [input, cached, write, output] = [input, cached_input, cache_write, output].map(dollars);
    format!("{input} in, {cached} cached, {write} into a cache, {output} out, a million tokens")
}

/// Millionths of a dollar without zeros that say nothing.
fn dollars(micro: u64) -> String {
    let text = format!("${}.{:06}", micro / 1_000_000, micro % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_no_idle_zeros() {
        let all = [0, 300_000, 3_750_000, 20_000_000, 1].map(dollars);
        assert_eq!(all, ["$0", "$0.3", "$3.75", "$20", "$0.000001"]);
    }
}
