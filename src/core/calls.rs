//! What an attempt's calls of a model API tell about its end. In: each call's start and end. Out: the fault of the
//! latest one that ended, and how long the latest one was waited for in vain. What they cost is the ledger's.

use std::collections::BTreeMap;

use super::call::{CallFault, CallTrouble};

/// The calls of one attempt, as far as its end is judged by them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Those under way: the model, and when they were let out (`elapsed_ms`).
    open: BTreeMap<u64, (String, u64)>,
    /// How the latest one ended, if not well, and its model.
    fault: Option<(String, CallFault)>,
    /// How long the API had been waited for when a call was given up after which none was made, milliseconds.
    waited_ms: u64,
}

impl Calls {
    /// A call is let out.
    pub(super) fn start(&mut self, call: u64, model: &str, elapsed_ms: u64) {
        self.open.insert(call, (model.to_owned(), elapsed_ms));
        self.waited_ms = 0;
    }

    /// A call has ended. One that the agent gave up says nothing about the API but how long it was waited for.
    pub(super) fn end(&mut self, call: u64, fault: Option<&CallFault>, elapsed_ms: u64) {
        let (model, since_ms) = self.open.remove(&call).unwrap_or_else(|| (String::new(), elapsed_ms));
        if fault.is_some_and(|fault| fault.trouble == CallTrouble::Abandoned) {
            self.waited_ms = self.waited_ms.max(elapsed_ms.saturating_sub(since_ms));
        } else {
            self.fault = fault.map(|fault| (model, fault.clone()));
        }
    }

    /// How the latest call that was not given up ended, if not well, and its model (untrusted text).
    pub fn fault(&self) -> Option<(&str, &CallFault)> {
        self.fault.as_ref().map(|(model, fault)| (model.as_str(), fault))
    }

    /// True where an agent that was silent for `limit_ms` was waiting for the API, for most of that time.
    pub fn were_waited_for(&self, limit_ms: u64) -> bool {
        self.waited_ms > limit_ms / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(trouble: CallTrouble) -> CallFault {
        CallFault { trouble, status: None, resume_after_ms: None, message: String::new() }
    }

    #[test]
    fn the_latest_call_that_was_not_given_up_speaks_for_the_api() {
        let mut calls = Calls::default();
        calls.start(1, "small", 0);
        calls.start(2, "large", 5);
        calls.end(2, Some(&fault(CallTrouble::Rate)), 10);
        calls.end(1, Some(&fault(CallTrouble::Abandoned)), 20);
        assert_eq!(calls.fault(), Some(("large", &fault(CallTrouble::Rate))));
        calls.start(3, "large", 30);
        calls.end(3, None, 40);
        assert_eq!(calls.fault(), None);
    }

    #[test]
    fn only_an_answer_that_was_waited_for_to_the_end_explains_silence() {
        let mut calls = Calls::default();
        calls.start(1, "m", 0);
        calls.end(1, Some(&fault(CallTrouble::Abandoned)), 5100);
        assert!(calls.were_waited_for(5000));
        assert!(!calls.were_waited_for(60_000), "the agent hung up long before");
        calls.start(2, "m", 5200);
        calls.end(2, None, 5300);
        assert!(!calls.were_waited_for(5000), "a tool hung, after an answer that came");
    }
}
