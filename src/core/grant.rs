//! May this call of a model API go out? Used, calls under way and the call at its worst must stay within every limit;
//! where they do not, the call's output is capped, and where that leaves too little, it is refused.

use super::budget::{Resource, Spend};
use super::call::{CallAsk, Refusal, Scope};
use super::id::TaskId;
use super::ledger::Lease;
use super::settings::{Settings, UnknownCost};
use super::state::State;

/// The budget's answer to a call.
pub(super) enum Answer {
    /// It may go out.
    Granted(Grant),
    /// It would fit, once calls under way have ended and taken less than their worst case.
    Waits,
    /// It must not go out.
    Refused(Refusal),
}

/// A call that may go out.
pub(super) struct Grant {
    /// Its worst case.
    pub reserved: Spend,
    /// The cap of its output, tokens.
    pub max_output_tokens: u64,
}

/// Asks the budget for a call of a running attempt.
pub(super) fn ask(state: &State, settings: &Settings, task: &TaskId, attempt: u32, ask: &CallAsk) -> Answer {
    let hard_stop = state.stop.as_ref().is_some_and(|s| !s.is_soft());
    if hard_stop || state.latest(task).is_none_or(|a| a.stopping) {
        return Answer::Refused(Refusal::Stopping);
    }
    if ask.price.is_none() && !settings.bears_unpriced() {
        return Answer::Refused(Refusal::Unpriced { model: ask.model.clone() });
    }
    let earlier = state.tasks.get(task).map(|t| t.usage().spend()).unwrap_or_default();
    let lease = state.ledger.leases.get(&(task.clone(), attempt));
    let of_task = |of_lease: Option<Spend>| earlier.plus(of_lease.unwrap_or_default());
    let refusal = match grant(settings, ask, state.ledger.out(), of_task(lease.map(Lease::out))) {
        Ok(grant) => return Answer::Granted(grant),
        Err(refusal) => refusal,
    };
    let under_way = state.ledger.leases.values().any(|lease| !lease.calls.is_empty());
    let used = grant(settings, ask, state.ledger.used(), of_task(lease.map(|l| l.used().spend())));
    if under_way && used.is_ok() { Answer::Waits } else { Answer::Refused(refusal) }
}

/// Lets a call out where what is `used` in the session and by its task leaves room for it.
fn grant(settings: &Settings, ask: &CallAsk, of_session: Spend, of_task: Spend) -> Result<Grant, Refusal> {
    let scopes = [(Scope::Session, &settings.budget, of_session), (Scope::Task, &settings.task_budget, of_task)];
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

impl Settings {
    /// False where a limit on cost holds, which a call without a price could pass unseen, and nothing stands in for it.
    pub fn bears_unpriced(&self) -> bool {
        let has_limit = |resource| [&self.budget, &self.task_budget].iter().any(|b| b.limit(resource).is_some());
        !has_limit(Resource::Cost)
            || match self.unknown_cost {
                UnknownCost::Allow => true,
                UnknownCost::TokenCap => has_limit(Resource::Tokens),
                UnknownCost::Fail => false,
            }
    }
}
