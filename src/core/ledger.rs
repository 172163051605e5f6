//! The one ledger: what was spent, what is promised to running attempts, what calls under way may still take.
//! Kept by `take`, the one way in: events flow in, in the order of the journal.

use std::collections::BTreeMap;

use super::budget::{Reservation, Spend, Usage, UsageSource};
use super::event::Event;
use super::id::TaskId;

/// One attempt's share of the ledger while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Set aside before it started.
    pub reserved: Reservation,
    /// What the gateway counted: the sum of its ended calls.
    pub counted: Usage,
    /// What the agent says.
    pub reported: Usage,
    /// Calls under way, by number.
    pub calls: BTreeMap<u64, OpenCall>,
}

/// A call under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenCall {
    /// Its worst case.
    pub worst: Spend,
    /// Its price is known, and nothing.
    pub is_free: bool,
}

impl Lease {
    /// What it used so far, from the best source there is: the gateway where it counted, else the agent.
    pub fn used(&self) -> Usage {
        if self.counted.source == UsageSource::Gateway { self.counted } else { self.reported }
    }

    /// Used, and what calls under way may still take.
    pub(super) fn out(&self) -> Spend {
        self.calls.values().fold(self.used().spend(), |sum, call| sum.plus(call.worst))
    }
}

/// Everything that was spent and is promised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Attempts that have ended.
    pub settled: Spend,
    /// Attempts that run.
    pub leases: BTreeMap<(TaskId, u32), Lease>,
}

impl Ledger {
    /// Used by ended and running attempts together.
    pub fn used(&self) -> Spend {
        self.leases.values().fold(self.settled, |sum, lease| sum.plus(lease.used().spend()))
    }

    /// Used, and what calls under way may still take: what a limit must hold.
    pub fn out(&self) -> Spend {
        self.leases.values().fold(self.settled, |sum, lease| sum.plus(lease.out()))
    }

    /// Used plus what is set aside and not used yet: what decides whether another attempt may start.
    pub fn committed(&self) -> Spend {
        self.leases.values().fold(self.settled, |sum, lease| sum.plus(lease.reserved.max(lease.out())))
    }

    /// What one running attempt used, and what its calls under way may still take.
    pub fn out_of(&self, task: &TaskId, attempt: u32) -> Option<Spend> {
        self.leases.get(&(task.clone(), attempt)).map(Lease::out)
    }

    /// Takes note of an event. Returns what the attempt used where the event ends its lease.
    pub fn take(&mut self, event: &Event) -> Option<Usage> {
        match event {
            Event::AttemptStarted { task, attempt, reserved, .. } => self.open(task.clone(), *attempt, *reserved),
            Event::UsageReported { task, attempt, usage } => self.report(task, *attempt, *usage),
            Event::CallStarted { task, attempt, call, reserved, is_free, .. } => {
                self.start_call(task, *attempt, *call, OpenCall { worst: *reserved, is_free: *is_free });
            }
            Event::CallEnded { task, attempt, call, usage, .. } => self.end_call(task, *attempt, *call, *usage),
            Event::AgentEnded { task, attempt, report } => {
                self.report(task, *attempt, report.usage);
                // An agent that used tokens while the gateway saw no call went past it: its word is all there is.
                if report.metered && report.usage.tokens() == 0 {
                    self.meter(task, *attempt);
                }
                return Some(self.close(task, *attempt));
            }
            Event::EffectBroken { key, .. } => return key.task().map(|(task, attempt)| self.close(task, attempt)),
            _ => {}
        }
        None
    }

    /// Sets an amount aside for an attempt.
    fn open(&mut self, task: TaskId, attempt: u32, reserved: Reservation) {
        self.leases.insert((task, attempt), Lease { reserved, ..Lease::default() });
    }

    /// Takes note of what a running attempt says it has used so far.
    fn report(&mut self, task: &TaskId, attempt: u32, usage: Usage) {
        self.change(task, attempt, |lease| lease.reported = lease.reported.updated(usage));
    }

    /// Every call of this attempt goes through the gateway: what that counted is all, even where it is nothing.
    fn meter(&mut self, task: &TaskId, attempt: u32) {
        self.change(task, attempt, |lease| lease.counted.source = UsageSource::Gateway);
    }

    /// A call is let out: until it ends it counts at its worst case.
    fn start_call(&mut self, task: &TaskId, attempt: u32, call: u64, open: OpenCall) {
        self.change(task, attempt, |lease| {
            lease.counted.source = UsageSource::Gateway;
            lease.calls.insert(call, open);
        });
    }

    /// A call has ended: what it used takes the place of its worst case.
    fn end_call(&mut self, task: &TaskId, attempt: u32, call: u64, usage: Usage) {
        self.change(task, attempt, |lease| {
            if lease.calls.remove(&call).is_some() {
                lease.counted = lease.counted.plus(usage);
            }
        });
    }

    /// Ends a lease: what was used is spent, the rest is free again; a call without an end counts at its worst case.
    /// Returns what was used.
    fn close(&mut self, task: &TaskId, attempt: u32) -> Usage {
        let Some(mut lease) = self.leases.remove(&(task.clone(), attempt)) else { return Usage::default() };
        for call in std::mem::take(&mut lease.calls).into_values() {
            lease.counted = lease.counted.plus(lost_call(call));
        }
        let used = lease.used();
        self.settled = self.settled.plus(used.spend());
        used
    }

    fn change(&mut self, task: &TaskId, attempt: u32, change: impl FnOnce(&mut Lease)) {
        if let Some(lease) = self.leases.get_mut(&(task.clone(), attempt)) {
            change(lease);
        }
    }
}

/// A call whose end nobody saw. Which part of it was output is not known; all of it counts. Where no cost was set aside
/// none was known, unless it is known to be nothing.
fn lost_call(OpenCall { worst, is_free }: OpenCall) -> Usage {
    Usage {
        output_tokens: worst.tokens,
        estimated_tokens: worst.tokens,
        api_calls: worst.api_calls,
        cost_microusd: worst.cost_microusd,
        unpriced_calls: if worst.cost_microusd == 0 && !is_free { worst.api_calls } else { 0 },
        source: UsageSource::Gateway,
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(n: u64) -> Spend {
        Spend { tokens: n, ..Spend::default() }
    }

    fn open(worst: Spend) -> OpenCall {
        OpenCall { worst, is_free: false }
    }

    fn reported(input_tokens: u64, output_tokens: u64) -> Usage {
        Usage { input_tokens, output_tokens, source: UsageSource::Reported, ..Usage::default() }
    }

    fn counted(input_tokens: u64) -> Usage {
        Usage { input_tokens, api_calls: 1, source: UsageSource::Gateway, ..Usage::default() }
    }

    fn with_lease(reserved: u64) -> (Ledger, TaskId) {
        let (mut ledger, task) = (Ledger::default(), TaskId::from("T-1"));
        ledger.open(task.clone(), 1, tokens(reserved));
        (ledger, task)
    }

    #[test]
    fn a_lease_counts_its_reservation_until_more_is_used() {
        let (mut ledger, task) = with_lease(100);
        assert_eq!(ledger.committed().tokens, 100);
        ledger.report(&task, 1, reported(130, 0));
        assert_eq!(ledger.committed().tokens, 130);
        ledger.close(&task, 1);
        assert_eq!((ledger.used().tokens, ledger.committed().tokens), (130, 130));
    }

    #[test]
    fn usage_never_shrinks_and_sums_saturate() {
        let (mut ledger, task) = with_lease(0);
        ledger.report(&task, 1, reported(u64::MAX, 5));
        ledger.report(&task, 1, reported(3, 2));
        assert_eq!(ledger.used().tokens, u64::MAX);
    }

    #[test]
    fn what_had_no_price_at_first_may_have_one_in_the_end() {
        let (mut ledger, task) = with_lease(0);
        ledger.report(&task, 1, Usage { unpriced_calls: 3, ..reported(10, 5) });
        ledger.report(&task, 1, Usage { cost_microusd: 40, ..reported(10, 5) });
        let used = ledger.close(&task, 1);
        assert_eq!((used.unpriced_calls, used.cost_microusd), (0, 40));
    }

    #[test]
    fn a_call_counts_at_its_worst_until_it_ends() {
        let (mut ledger, task) = with_lease(10);
        ledger.start_call(&task, 1, 7, open(tokens(500)));
        assert_eq!((ledger.used().tokens, ledger.out().tokens, ledger.committed().tokens), (0, 500, 500));
        ledger.end_call(&task, 1, 7, counted(120));
        ledger.end_call(&task, 1, 7, counted(120));
        assert_eq!((ledger.used().tokens, ledger.out().tokens), (120, 120));
    }

    #[test]
    fn what_the_gateway_counts_beats_what_the_agent_says() {
        let (mut ledger, task) = with_lease(0);
        ledger.report(&task, 1, reported(9000, 0));
        ledger.start_call(&task, 1, 1, open(tokens(50)));
        ledger.end_call(&task, 1, 1, counted(40));
        assert_eq!(ledger.close(&task, 1).tokens(), 40);
    }

    #[test]
    fn a_call_that_nobody_saw_end_costs_its_worst_case() {
        let (mut ledger, task) = with_lease(0);
        ledger.start_call(&task, 1, 1, open(Spend { cost_microusd: 7, api_calls: 1, ..tokens(50) }));
        ledger.start_call(&task, 1, 2, open(Spend { api_calls: 1, ..tokens(20) }));
        ledger.start_call(&task, 1, 3, OpenCall { is_free: true, ..open(Spend { api_calls: 1, ..tokens(5) }) });
        let used = ledger.close(&task, 1);
        assert_eq!((used.tokens(), used.estimated_tokens, ledger.used().tokens), (75, 75, 75));
        assert_eq!((used.cost_microusd, used.unpriced_calls), (7, 1));
    }
}
