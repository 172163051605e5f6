//! Model calls against the core alone: random limits, random calls, servers that lie. What the reservation rule
//! promises must hold at every record: used and under way stays within every limit that was not lied about.

use std::collections::BTreeMap;

use maestro_ci::core::state::TaskPhase;
use maestro_ci::core::*;
use proptest::prelude::*;
use proptest::strategy::Strategy as _;

use crate::{session, settings};

/// A call, as a test makes it up.
#[derive(Clone, Debug)]
struct Call {
    task: usize,
    input: u64,
    output: u64,
    /// Percent of its worst case that it uses in the end.
    uses: u64,
    /// True: it ends before the next one asks.
    ends_at_once: bool,
}

fn call() -> impl proptest::strategy::Strategy<Value = Call> {
    (0..3usize, 1..2000u64, 1..2000u64, 0..=100u64, any::<bool>())
        .prop_map(|(task, input, output, uses, ends_at_once)| Call { task, input, output, uses, ends_at_once })
}

fn limits() -> impl proptest::strategy::Strategy<Value = (Option<u64>, Option<u64>, Option<u64>)> {
    (prop::option::of(1..20_000u64), prop::option::of(1..40u64), prop::option::of(1..50_000u64))
}

fn budget((max_tokens, max_api_calls, max_cost_microusd): (Option<u64>, Option<u64>, Option<u64>)) -> Budget {
    Budget { max_tokens, max_api_calls, max_cost_microusd, ..Budget::default() }
}

const PRICE: Price = Price {
    input: 3_000_000,
    cached_input: 300_000,
    cache_write: 3_750_000,
    cache_write_1h: 6_000_000,
    output: 15_000_000,
};

/// A state with three attempts running.
struct Bench {
    state: State,
    /// Percent of its worst case that each call uses.
    uses: BTreeMap<u64, u64>,
    under_way: Vec<(TaskId, u64, Spend)>,
}

impl Bench {
    fn new(session_budget: Budget, task_budget: Budget) -> Self {
        let plan = crate::plan(["T-1", "T-2", "T-3"].map(|id| crate::task(id, &[])).to_vec());
        let settings = Settings { budget: session_budget, task_budget, jobs: 3, ..settings() };
        let mut bench = Self { state: State::default(), uses: BTreeMap::new(), under_way: Vec::new() };
        bench.input(Input::Start(Box::new(session(settings, &plan)), Box::new(plan.clone())));
        bench.input(Input::Done(EffectKey::Setup, Outcome::Done));
        for task in ["T-1", "T-2", "T-3"] {
            bench.input(Input::Done(EffectKey::Prepare { task: task.into(), attempt: 1 }, Outcome::Done));
        }
        bench
    }

    /// One turn, as the driver makes it. Calls that are let out are under way.
    fn input(&mut self, input: Input) -> Vec<Event> {
        let mut all = self.step(input);
        loop {
            let more = self.step(Input::Continue);
            if more.is_empty() {
                return all;
            }
            all.extend(more);
        }
    }

    fn step(&mut self, input: Input) -> Vec<Event> {
        let at = At { elapsed_ms: self.state.at.elapsed_ms, wall_ms: 0 };
        let events = step(&self.state, at, input);
        for event in &events {
            if let Event::CallStarted { task, call, reserved, .. } = event {
                self.under_way.push((task.clone(), *call, *reserved));
            }
            self.state.apply(&Record { seq: self.state.seq + 1, at, event: event.clone() }).unwrap();
        }
        events
    }

    fn runs(&self, task: &TaskId) -> bool {
        self.state.ledger.leases.contains_key(&(task.clone(), 1))
    }

    fn ask(&mut self, number: u64, call: &Call) {
        let task = TaskId::new(format!("T-{}", call.task + 1));
        if !self.runs(&task) {
            return;
        }
        let ask = CallAsk {
            model: "m".to_owned(),
            input_tokens: call.input,
            output_tokens: call.output,
            min_output_tokens: call.output.min(256),
            price: Some(PRICE),
        };
        self.uses.insert(number, call.uses);
        let events = self.input(Input::CallAsked { task, attempt: 1, call: number, ask });
        let waits = events.iter().any(|e| matches!(e, Event::CallWaits { .. }));
        let answers = |e: &Event| matches!(e, Event::CallStarted { .. } | Event::CallRefused { .. });
        assert!(waits || events.iter().any(answers), "every call is answered or waits: {events:?}");
        assert!(!waits || !self.under_way.is_empty(), "a call waits only for others");
    }

    /// Ends a task's first attempt, which leaves nothing behind.
    fn finish(&mut self, task: &str, ended: Ended) {
        let agent = EffectKey::RunAgent { task: task.into(), attempt: 1 };
        self.input(Input::Done(agent, Outcome::Agent(AgentReport::bare(ended))));
        let capture = EffectKey::Capture { task: task.into(), attempt: 1 };
        self.input(Input::Done(capture, Outcome::Captured(Capture::default())));
    }

    /// How a task's first attempt failed.
    fn fault(&self, task: &str) -> Fault {
        self.state.tasks[&TaskId::new(task)].attempts[0].fault.clone().unwrap()
    }

    /// Ends the oldest call under way with a share of its worst case.
    fn end(&mut self) {
        if self.under_way.is_empty() {
            return;
        }
        let (task, call, worst) = self.under_way.remove(0);
        let part = |n: u64| n * self.uses[&call] / 100;
        let usage = Usage {
            input_tokens: part(worst.tokens),
            api_calls: 1,
            cost_microusd: part(worst.cost_microusd),
            source: UsageSource::Gateway,
            ..Usage::default()
        };
        self.input(Input::CallEnded { task, attempt: 1, call, usage, fault: None });
    }

    fn check(&self) {
        let settings = self.state.settings().unwrap();
        assert_eq!(settings.budget.exceeded(&self.state.ledger.out()), None);
        for (task, attempt) in self.state.ledger.leases.keys() {
            let out = self.state.ledger.out_of(task, *attempt).unwrap();
            assert_eq!(settings.task_budget.exceeded(&out), None, "{task}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn no_mix_of_calls_goes_over_a_limit(session in limits(), task in limits(), calls in prop::collection::vec(call(), 1..60)) {
        let mut bench = Bench::new(budget(session), budget(task));
        for (number, call) in (1..).zip(&calls) {
            bench.ask(number, call);
            bench.check();
            if call.ends_at_once {
                bench.end();
                bench.check();
            }
        }
        while !bench.under_way.is_empty() {
            bench.end();
            bench.check();
        }
        prop_assert!(bench.state.waiting_calls.is_empty(), "nobody is left waiting");
    }
}

#[test]
fn a_call_is_capped_to_what_is_left_and_refused_where_that_is_too_little() {
    let mut bench = Bench::new(Budget { max_tokens: Some(2000), ..Budget::default() }, Budget::default());
    let call = |input, output| Call { task: 0, input, output, uses: 100, ends_at_once: true };
    bench.ask(1, &call(1000, 4000));
    assert_eq!(bench.under_way[0].2.tokens, 2000, "capped to what is left");
    bench.end();
    bench.ask(2, &call(10, 10));
    assert!(bench.under_way.is_empty(), "nothing is left");
    assert!(matches!(bench.state.stop, Some(StopCause::Budget { resource: Resource::Tokens, soft: true, .. })));
}

#[test]
fn a_call_that_is_too_large_parks_its_task_and_the_others_go_on() {
    let mut bench = Bench::new(Budget { max_tokens: Some(2000), ..Budget::default() }, Budget::default());
    let call = |task, input| Call { task, input, output: 10, uses: 100, ends_at_once: true };
    bench.ask(1, &call(0, 5000));
    assert!(bench.under_way.is_empty());
    assert_eq!(bench.state.stop, None, "nothing is used");
    bench.ask(2, &call(1, 500));
    assert_eq!(bench.under_way.len(), 1, "what fits goes out");
    bench.end();
    bench.finish("T-1", Ended::Exited { code: 1 });
    assert_eq!(bench.state.tasks[&TaskId::new("T-1")].phase, TaskPhase::Parked);
    let fault = bench.fault("T-1");
    let hit = LimitHit { resource: Resource::Tokens, used: 0, limit: 2000, scope: Scope::Session, wanted: 5010 };
    assert_eq!((fault.class, fault.limit), (FaultClass::Budget, Some(hit)));
}

#[test]
fn an_agent_that_never_stops_asking_is_ended_and_its_task_parked_at_the_limit() {
    let mut bench = Bench::new(Budget::default(), Budget { max_tokens: Some(50), ..Budget::default() });
    let call = Call { task: 0, input: 100, output: 10, uses: 100, ends_at_once: true };
    for number in 1..=45 {
        bench.ask(number, &call);
    }
    assert!(bench.state.latest(&"T-1".into()).unwrap().stopping, "forty are enough");
    bench.finish("T-1", Ended::Stopped);
    assert_eq!(bench.fault("T-1").reason, "call_refused");
    assert_eq!(bench.state.tasks[&TaskId::new("T-1")].phase, TaskPhase::Parked);
}

#[test]
fn a_call_that_is_let_out_ends_the_count_of_refused_ones() {
    let mut bench = Bench::new(Budget::default(), Budget { max_tokens: Some(1000), ..Budget::default() });
    let call = |input| Call { task: 0, input, output: 10, uses: 10, ends_at_once: true };
    let is_stopping = |bench: &Bench| bench.state.latest(&"T-1".into()).unwrap().stopping;
    for round in 0..3 {
        for number in 1..=40 {
            bench.ask(100 * round + number, &call(5000));
        }
        bench.ask(100 * round + 50, &call(100));
        bench.end();
        assert!(!is_stopping(&bench), "it works, and asks for too much now and then");
    }
    for number in 1..=41 {
        bench.ask(1000 + number, &call(5000));
    }
    assert!(is_stopping(&bench));
}

#[test]
fn what_an_attempt_used_before_its_effect_broke_counts() {
    let mut bench = Bench::new(Budget::default(), Budget::default());
    for number in [1, 2] {
        bench.ask(number, &Call { task: 0, input: 100, output: 10, uses: 50, ends_at_once: true });
    }
    bench.end();
    let (agent, message) = (EffectKey::RunAgent { task: "T-1".into(), attempt: 1 }, "no pipe".to_owned());
    bench.input(Input::Done(agent, Outcome::Broken(Broken { message, critical: false })));
    let used = bench.state.tasks[&TaskId::new("T-1")].attempts[0].usage;
    // Half of the first one; of the second one nobody saw the end.
    assert_eq!((used.tokens(), used.estimated_tokens, used.api_calls), (55 + 110, 110, 2));
    assert_eq!(bench.state.ledger.used().tokens, used.tokens());
    assert_eq!(bench.fault("T-1").reason, "broken");
}

#[test]
fn an_agent_that_never_stops_asking_for_what_has_no_price_is_ended_too() {
    let budget = Budget { max_cost_microusd: Some(1_000_000), ..Budget::default() };
    let mut bench = Bench::new(budget, Budget::default());
    for call in 1..=41 {
        let (model, task) = ("nobody-knows".to_owned(), "T-1".into());
        let ask = CallAsk { model, input_tokens: 1, output_tokens: 1, min_output_tokens: 1, price: None };
        bench.input(Input::CallAsked { task, attempt: 1, call, ask });
    }
    assert!(bench.state.latest(&"T-1".into()).unwrap().stopping);
    bench.finish("T-1", Ended::Stopped);
    assert_eq!(bench.fault("T-1").reason, "unpriced");
}

#[test]
fn a_model_that_the_api_does_not_know_is_nobodys_poor_work() {
    let mut bench = Bench::new(Budget::default(), Budget::default());
    bench.ask(1, &Call { task: 0, input: 1, output: 1, uses: 0, ends_at_once: true });
    let (trouble, message) = (CallTrouble::Request, "model: m".to_owned());
    let fault = CallFault { trouble, status: Some(404), resume_after_ms: None, message };
    bench.input(Input::CallEnded {
        task: "T-1".into(),
        attempt: 1,
        call: 1,
        usage: Usage { api_calls: 1, source: UsageSource::Gateway, ..Usage::default() },
        fault: Some(fault),
    });
    bench.finish("T-1", Ended::Exited { code: 1 });
    let fault = bench.fault("T-1");
    assert_eq!((fault.class, fault.reason.as_str()), (FaultClass::Agent, "model"));
    assert!(["`m`", "--model", "`command`"].iter().all(|part| fault.message.contains(part)), "{}", fault.message);
    assert_eq!(bench.state.tasks[&TaskId::new("T-1")].phase, TaskPhase::Parked);
}

#[test]
fn an_agent_that_is_silent_because_its_api_is_is_not_blamed() {
    for (waited_ms, class) in [(5000, FaultClass::Transient), (100, FaultClass::Budget)] {
        let mut bench = Bench::new(Budget::default(), Budget::default());
        bench.ask(1, &Call { task: 0, input: 1, output: 1, uses: 0, ends_at_once: true });
        bench.state.at.elapsed_ms += waited_ms;
        let (trouble, message) = (CallTrouble::Abandoned, "the attempt was ended".to_owned());
        let fault = Some(CallFault { trouble, status: Some(200), resume_after_ms: None, message });
        bench.input(Input::CallEnded { task: "T-1".into(), attempt: 1, call: 1, usage: Usage::default(), fault });
        bench.finish("T-1", Ended::Idle { limit_ms: 5000 });
        assert_eq!(bench.fault("T-1").class, class);
    }
}

#[test]
fn a_call_that_fits_what_is_used_waits_for_what_is_only_set_aside() {
    let mut bench = Bench::new(Budget { max_tokens: Some(2000), ..Budget::default() }, Budget::default());
    let call = |task, uses| Call { task, input: 100, output: 1900, uses, ends_at_once: true };
    bench.ask(1, &call(0, 10));
    bench.ask(2, &call(1, 100));
    assert_eq!((bench.under_way.len(), bench.state.waiting_calls.len()), (1, 1));
    bench.end();
    assert_eq!((bench.under_way[0].1, bench.under_way[0].2.tokens), (2, 1800), "it gets what the first did not use");
    assert_eq!(bench.state.stop, None);
}

#[test]
fn a_call_without_a_price_is_let_out_only_as_configured() {
    let ask = |unknown_cost, max_tokens| {
        let budget = Budget { max_cost_microusd: Some(1_000_000), max_tokens, ..Budget::default() };
        let mut bench = Bench::new(budget, Budget::default());
        if let Some(started) = &mut bench.state.started {
            started.settings.unknown_cost = unknown_cost;
        }
        let ask = CallAsk {
            model: "nobody-knows".to_owned(),
            input_tokens: 10,
            output_tokens: 10,
            min_output_tokens: 1,
            price: None,
        };
        let events = bench.input(Input::CallAsked { task: "T-1".into(), attempt: 1, call: 1, ask });
        matches!(events[0], Event::CallStarted { .. })
    };
    assert!(ask(UnknownCost::Allow, None));
    assert!(ask(UnknownCost::TokenCap, Some(1000)));
    assert!(!ask(UnknownCost::TokenCap, None));
    assert!(!ask(UnknownCost::Fail, Some(1000)));
}
