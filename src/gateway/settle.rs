//! What a call that is over has used, and what went wrong. Pure but for the wall clock, which turns "in 30 s" into a
//! moment. Where nobody counted, the worst case holds: a budget can be used up too early, never too late.

use hyper::HeaderMap;
use hyper::header::RETRY_AFTER;

use super::bound::Load;
use super::fault::fault;
use super::meter::{Meter, Metered};
use super::price::Tariff;
use super::secret::Secret;
use crate::core::{CallFault, CallTrouble, Usage, UsageSource};
use crate::text::one_line;

/// Kept of an error's body, bytes: what it says stands at its beginning.
const ERROR_BODY_BYTES: usize = 16 << 10;
/// Kept of a message, characters.
const MESSAGE_CHARS: usize = 500;

/// What a call was let out on.
pub(super) struct Terms {
    /// Upper bound of its input tokens.
    pub input_bound: u64,
    /// Output tokens that it asked for.
    pub output: u64,
    /// What its request carries.
    pub load: Load,
    /// What it costs, where that is known.
    pub tariff: Option<Tariff>,
    /// The key that it goes out with; no message may name it.
    pub key: Option<String>,
}

/// A response, as far as it came.
pub(super) struct Seen {
    /// The granted cap on output tokens.
    pub cap: u64,
    status: u16,
    headers: HeaderMap,
    meter: Meter,
    error: Vec<u8>,
}

impl Seen {
    pub(super) fn new(cap: u64, status: u16, headers: HeaderMap, meter: Meter) -> Self {
        Self { cap, status, headers, meter, error: Vec::new() }
    }

    /// A part of the body. True where the usage is known for good.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> bool {
        if self.status < 400 {
            self.meter.feed(bytes);
            return self.meter.is_done();
        }
        let left = ERROR_BODY_BYTES.saturating_sub(self.error.len());
        self.error.extend_from_slice(&bytes[..left.min(bytes.len())]);
        false
    }

    fn fault(&self) -> CallFault {
        let text = |name: &str| self.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let retry_after = self.headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok());
        let now_ms = jiff::Timestamp::now().as_millisecond();
        fault(self.status, retry_after, &text, &self.error, now_ms)
    }
}

/// How a call came to its end.
pub(super) enum End {
    /// The upstream said all it had to say.
    Orderly,
    /// No connection to the upstream, for this reason.
    Unreached(String),
    /// Something else, with what there is to say about it.
    Broke(CallTrouble, String),
}

/// What it used and what went wrong. `cap` is None where nothing has left, `seen` where no response has begun.
pub(super) fn settlement(terms: &Terms, cap: Option<u64>, seen: Option<Seen>, end: End) -> (Usage, Option<CallFault>) {
    let status = seen.as_ref().map(|seen| seen.status);
    let broke = match end {
        End::Orderly => None,
        End::Unreached(message) => return (counted(1), Some(trouble(CallTrouble::Network, None, &message))),
        End::Broke(kind, message) => Some(trouble(kind, status, &message)),
    };
    match (cap, seen) {
        (None, _) => (counted(0), broke),
        (Some(cap), None) => (worst(terms, cap, None), broke),
        (Some(_), Some(seen)) if seen.status >= 400 => (counted(1), Some(seen.fault())),
        (Some(cap), Some(seen)) => of_response(terms, cap, seen.meter.finish(), broke),
    }
}

fn of_response(terms: &Terms, cap: u64, metered: Metered, broke: Option<CallFault>) -> (Usage, Option<CallFault>) {
    let fault = match metered.error {
        Some(message) => {
            let message = Secret::new(terms.key.as_deref()).masked_text(message);
            Some(trouble(in_stream(&message), Some(200), &message))
        }
        // Who hangs up after the last word hangs up in time.
        None if metered.complete => None,
        // Nor is it the agent's fault that it hangs up on nonsense.
        None if metered.is_garbled && broke.as_ref().is_none_or(|b| b.trouble == CallTrouble::Abandoned) => {
            Some(trouble(CallTrouble::Cut, Some(200), "an event of the response is no JSON"))
        }
        None => broke.or_else(|| Some(trouble(CallTrouble::Cut, Some(200), "the response is not complete"))),
    };
    let usage = match metered.usage {
        Some(usage) => priced(terms, Usage { api_calls: 1, source: UsageSource::Gateway, ..usage }),
        None => worst(terms, cap, metered.input_known),
    };
    (usage, fault)
}

/// An error inside a stream has no status; what it is stands in its text.
fn in_stream(message: &str) -> CallTrouble {
    let has = |word: &str| message.contains(word);
    if has("insufficient_quota") || has("billing") {
        CallTrouble::Quota
    } else if has("rate_limit") {
        CallTrouble::Rate
    } else if has("overloaded") {
        CallTrouble::Overloaded
    } else {
        CallTrouble::Server
    }
}

fn trouble(trouble: CallTrouble, status: Option<u16>, message: &str) -> CallFault {
    CallFault { trouble, status, resume_after_ms: None, message: one_line(message, MESSAGE_CHARS) }
}

fn counted(api_calls: u64) -> Usage {
    Usage { api_calls, source: UsageSource::Gateway, ..Usage::default() }
}

fn priced(terms: &Terms, usage: Usage) -> Usage {
    match terms.tariff {
        Some(tariff) => tariff.priced(usage),
        None => Usage { unpriced_calls: 1, ..usage },
    }
}

/// The most it can have used: its input where the response began with it, else the bound; its output up to the cap.
fn worst(terms: &Terms, cap: u64, known: Option<Usage>) -> Usage {
    let Some(known) = known else {
        let usage = Usage {
            input_tokens: terms.input_bound,
            output_tokens: cap,
            estimated_tokens: terms.input_bound.saturating_add(cap),
            ..counted(1)
        };
        let cost = terms.tariff.map(|tariff| tariff.up_to(terms.input_bound).worst(terms.input_bound, cap));
        // Which input a cache takes is not known either, so it counts at its dearest.
        return Usage { cost_microusd: cost.unwrap_or(0), ..priced(terms, usage) };
    };
    let output_tokens = known.output_tokens.max(cap);
    let estimated_tokens = output_tokens - known.output_tokens;
    priced(terms, Usage { output_tokens, estimated_tokens, api_calls: 1, source: UsageSource::Gateway, ..known })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Price;
    use crate::gateway::input::Media;

    const TERMS: Terms = Terms {
        input_bound: 1000,
        output: 500,
        load: Load::new(2000, Media { bytes: 0, tokens: 0 }),
        tariff: Some(Tariff::flat(Price {
            input: 1_000_000,
            cached_input: 100_000,
            cache_write: 2_000_000,
            cache_write_1h: 2_000_000,
            output: 10_000_000,
        })),
        key: None,
    };

    fn metered(usage: Option<u64>, input_known: Option<u64>, complete: bool) -> Metered {
        let usage = usage.map(|output_tokens| Usage { input_tokens: 600, output_tokens, ..Usage::default() });
        let input_known = input_known.map(|input_tokens| Usage { input_tokens, output_tokens: 1, ..Usage::default() });
        Metered { usage, input_known, complete, error: None, is_garbled: false }
    }

    #[test]
    fn what_the_response_says_is_what_it_cost() {
        let (usage, fault) = of_response(&TERMS, 500, metered(Some(50), None, true), None);
        assert_eq!((usage.tokens(), usage.estimated_tokens, usage.cost_microusd), (650, 0, 600 + 500));
        assert_eq!((usage.api_calls, usage.source, fault), (1, UsageSource::Gateway, None));
    }

    #[test]
    fn the_bound_was_set_aside_at_its_tier_and_what_came_costs_that_of_its_own() {
        let terms = Terms { input_bound: 300_000, tariff: Tariff::listed("gpt-5.4"), ..TERMS };
        let used = Usage { input_tokens: 100_000, output_tokens: 1000, ..Usage::default() };
        let told = Metered { usage: Some(used), input_known: None, complete: true, error: None, is_garbled: false };
        // $2.50 and $15 up to 272,000 tokens of input, $5 and $22.50 above.
        assert_eq!(of_response(&terms, 1000, told, None).0.cost_microusd, 250_000 + 15_000);
        let worst = of_response(&terms, 1000, metered(None, None, true), None).0;
        assert_eq!(worst.cost_microusd, 1_500_000 + 22_500);
    }

    #[test]
    fn without_a_word_about_usage_the_worst_case_holds() {
        let (usage, fault) = of_response(&TERMS, 500, metered(None, None, true), None);
        assert_eq!((usage.input_tokens, usage.output_tokens, usage.estimated_tokens), (1000, 500, 1500));
        assert_eq!((usage.cost_microusd, fault), (2000 + 5000, None));
    }

    #[test]
    fn input_that_was_counted_is_not_estimated() {
        let (usage, fault) = of_response(&TERMS, 500, metered(None, Some(700), false), None);
        assert_eq!((usage.input_tokens, usage.output_tokens, usage.estimated_tokens), (700, 500, 499));
        assert_eq!(usage.cost_microusd, 700 + 5000);
        assert_eq!(fault.map(|f| f.trouble), Some(CallTrouble::Cut));
    }

    #[test]
    fn no_message_names_the_key() {
        let terms = Terms { key: Some("sk-123456".to_owned()), ..TERMS };
        let error = Some("rate_limit: not for sk-123456".to_owned());
        let (_, fault) = of_response(&terms, 500, Metered { error, ..metered(None, None, false) }, None);
        assert_eq!(fault.map(|f| f.message).as_deref(), Some("rate_limit: not for ***"));
    }

    #[test]
    fn hanging_up_after_the_end_is_no_fault() {
        let broke = || Some(trouble(CallTrouble::Abandoned, Some(200), "gone"));
        assert_eq!(of_response(&TERMS, 500, metered(Some(50), None, true), broke()).1, None);
        assert_eq!(of_response(&TERMS, 500, metered(None, None, false), broke()).1, broke());
        let nonsense = Metered { is_garbled: true, ..metered(None, None, false) };
        assert_eq!(of_response(&TERMS, 500, nonsense, broke()).1.map(|f| f.trouble), Some(CallTrouble::Cut));
    }

    #[test]
    fn nothing_is_used_before_anything_has_left() {
        let (usage, _) = settlement(&TERMS, None, None, End::Broke(CallTrouble::Abandoned, String::new()));
        assert_eq!((usage.spend().tokens, usage.spend().api_calls), (0, 0));
        let (usage, fault) = settlement(&TERMS, Some(500), None, End::Unreached("refused".to_owned()));
        assert_eq!((usage.tokens(), usage.api_calls), (0, 1));
        assert_eq!(fault.map(|f| f.trouble), Some(CallTrouble::Network));
        let (usage, _) = settlement(&TERMS, Some(500), None, End::Broke(CallTrouble::Stalled, String::new()));
        assert_eq!((usage.tokens(), usage.api_calls), (1500, 1));
    }
}
