//! May this call of a model API go out? Used, calls under way and the call at its worst must stay within every limit;
//! where they do not, the call's output is capped, and where that leaves too little, it is refused.

use super::budget::{Resource, Spend};
use super::call::{CallAsk, Refusal, Scope};
use super::id::TaskId;
use super::settings::{Settings, UnknownCost};
use super::state::State;

/// A call that may go out.
pub(super) struct Grant {
    /// Its worst case.
    pub reserved: Spend,
    /// The cap of its output, tokens.
    pub max_output_tokens: u64,
}

/// Asks the budget for a call of a running attempt.
pub(super) fn grant(
    state: &State,
    settings: &Settings,
    task: &TaskId,
    attempt: u32,
    ask: &CallAsk,
) -> Result<Grant, Refusal> {
    let hard_stop = state.stop.as_ref().is_some_and(|s| !s.is_soft());
    if hard_stop || state.latest(task).is_none_or(|a| a.stopping) {
        return Err(Refusal::Stopping);
    }
    if ask.price.is_none() {
        check_unpriced(settings, ask)?;
    }
    let earlier = state.tasks.get(task).map(|t| t.usage().spend()).unwrap_or_default();
    let of_task = earlier.plus(state.ledger.out_of(task, attempt).unwrap_or_default());
    let scopes =
        [(Scope::Session, &settings.budget, state.ledger.out()), (Scope::Task, &settings.task_budget, of_task)];
    let mut output = ask.output_tokens.max(ask.min_output_tokens);
    for (scope, budget, used) in scopes {
        for resource in Resource::SPENT {
            let Some(limit) = budget.limit(resource) else { continue };
            let used = used.get(resource);
            output = output.min(affordable(ask, resource, limit.saturating_sub(used)));
            let no_call_left = resource == Resource::ApiCalls && used >= limit;
            if no_call_left || output < ask.min_output_tokens {
                let wanted = worst(ask, ask.min_output_tokens).get(resource);
                return Err(Refusal::Limit { scope, resource, used, wanted, limit });
            }
        }
    }
    Ok(Grant { reserved: worst(ask, output), max_output_tokens: output })
}

/// Output tokens for which `left` of a resource is enough.
fn affordable(ask: &CallAsk, resource: Resource, left: u64) -> u64 {
    match (resource, &ask.price) {
        // Where not even the input fits, there is less than any minimum, which is at least 1.
        (Resource::Tokens, _) => left.saturating_sub(ask.input_tokens),
        (Resource::Cost, Some(price)) => match price.affordable_output(left, ask.input_tokens) {
            Some(output) if price.worst(ask.input_tokens, output) <= left => output,
            None if price.worst(ask.input_tokens, 0) <= left => u64::MAX,
            _ => 0,
        },
        _ => u64::MAX,
    }
}

fn worst(ask: &CallAsk, output: u64) -> Spend {
    let cost_microusd = ask.price.map_or(0, |price| price.worst(ask.input_tokens, output));
    Spend { tokens: ask.input_tokens.saturating_add(output), api_calls: 1, cost_microusd }
}

/// A limit on cost cannot hold a call without a price; what then happens is configured.
fn check_unpriced(settings: &Settings, ask: &CallAsk) -> Result<(), Refusal> {
    let has_limit = |resource| [&settings.budget, &settings.task_budget].iter().any(|b| b.limit(resource).is_some());
    let held = match settings.unknown_cost {
        UnknownCost::Allow => true,
        UnknownCost::TokenCap => has_limit(Resource::Tokens),
        UnknownCost::Fail => false,
    };
    if held || !has_limit(Resource::Cost) { Ok(()) } else { Err(Refusal::Unpriced { model: ask.model.clone() }) }
}
