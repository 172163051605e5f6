//! The driver's loop over the simulated world, with virtual time, a journal in memory, and crashes on demand.

use maestro_ci::core::*;

use crate::world::{Pending, World};

/// A session that is being simulated.
pub struct Sim {
    pub world: World,
    pub state: State,
    pub records: Vec<Record>,
    pub journal: Vec<u8>,
    now_ms: u64,
    wall_ms: i64,
    pending: Vec<Pending>,
    /// Crash as soon as this many records are on disk.
    pub crash_at: Option<usize>,
    /// Send SIGINT as soon as this many records are on disk.
    pub cancel_at: Option<usize>,
}

/// How a simulated process ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Finished(Verdict),
    Crashed,
}

impl Sim {
    pub fn new(world: World) -> Self {
        Self {
            world,
            state: State::default(),
            records: Vec::new(),
            journal: Vec::new(),
            now_ms: 0,
            wall_ms: 1_000_000,
            pending: Vec::new(),
            crash_at: None,
            cancel_at: None,
        }
    }

    pub fn start(&mut self, started: SessionStarted, plan: Plan) -> End {
        self.drive(Input::Start(Box::new(started), Box::new(plan)))
    }

    /// A new process finds the journal, cut to `bytes`, and goes on.
    pub fn resume(&mut self, bytes: usize, budget: Budget) -> End {
        self.journal.truncate(bytes);
        let contents =
            maestro_ci::journal::parse(std::path::Path::new("sim"), &self.journal).expect("only a tail is torn");
        self.journal.truncate(self.journal.len() - usize::try_from(contents.torn_bytes).unwrap());
        self.state = replay(&contents.records).expect("what was written can be replayed");
        self.records = contents.records;
        // The warden has ended every agent with its parent; their tokens are spent all the same.
        for pending in std::mem::take(&mut self.pending) {
            if let EffectKey::RunAgent { task, .. } = &pending.key {
                self.world.agent_ended(task);
                *self.world.runs.get_mut(task).unwrap() -= 1;
            }
        }
        // A crash right after the last record leaves a finished session, which nobody goes on with.
        if let Some((verdict, _)) = self.state.finished
            && !verdict.is_resumable()
        {
            return End::Finished(verdict);
        }
        self.now_ms = self.state.at.elapsed_ms;
        self.wall_ms += 1_000_000;
        let lost = self.state.in_flight.iter().map(|key| LostEffect { key: key.clone(), usage: None }).collect();
        let mut settings = self.state.settings().unwrap().clone();
        settings.budget = budget;
        let (settings, isolation) = (Box::new(settings), "L0".to_owned());
        let (agents, notes) = (Vec::new(), Vec::new());
        self.drive(Input::Resumed { lost, settings, isolation, agents, notes, given: None })
    }

    fn at(&self) -> At {
        At { elapsed_ms: self.now_ms, wall_ms: self.wall_ms + i64::try_from(self.now_ms).unwrap() }
    }

    fn drive(&mut self, first: Input) -> End {
        let mut inputs = vec![first];
        for _ in 0..100_000 {
            if self.turn(std::mem::take(&mut inputs)) {
                return End::Crashed;
            }
            if let Some((verdict, _)) = self.state.finished {
                assert!(self.pending.is_empty(), "a finished run has nothing under way: {:?}", self.pending);
                return End::Finished(verdict);
            }
            if self.cancel_at.is_some_and(|n| self.records.len() >= n) {
                self.cancel_at = None;
                inputs.push(Input::Cancel { signal: 2 });
                continue;
            }
            inputs = self.wait();
        }
        panic!("the run does not come to an end: {:?}", self.records.last());
    }

    /// Virtual time jumps to whatever happens next.
    fn wait(&mut self) -> Vec<Input> {
        let next = self.pending.iter().enumerate().min_by_key(|(i, p)| (p.done_ms, *i)).map(|(i, p)| (i, p.done_ms));
        let wake = self.state.next_wake_ms(self.at());
        match (next, wake) {
            (Some((_, done_ms)), Some(wake_ms)) if wake_ms < done_ms => {
                self.now_ms = self.now_ms.max(wake_ms);
                vec![Input::Continue]
            }
            (Some((i, done_ms)), _) => {
                self.now_ms = self.now_ms.max(done_ms);
                let pending = self.pending.remove(i);
                if let EffectKey::RunAgent { task, .. } = &pending.key {
                    self.world.agent_ended(task);
                }
                let usage = pending.usage.map(|(task, attempt, usage)| Input::Usage { task, attempt, usage });
                usage.into_iter().chain([Input::Done(pending.key, pending.outcome)]).collect()
            }
            (None, Some(wake_ms)) => {
                self.now_ms = self.now_ms.max(wake_ms);
                vec![Input::Continue]
            }
            (None, None) => {
                panic!("nothing is under way and nothing is waited for: a silent hang\n{:#?}", self.state.phase)
            }
        }
    }

    /// One turn as the driver makes it. True where the process crashed.
    fn turn(&mut self, inputs: Vec<Input>) -> bool {
        let at = self.at();
        let mut effects = Vec::new();
        for input in inputs {
            let events = step(&self.state, at, input);
            self.take_in(events, at, &mut effects);
        }
        loop {
            let events = step(&self.state, at, Input::Continue);
            if events.is_empty() {
                break;
            }
            self.take_in(events, at, &mut effects);
        }
        // A crash loses what was decided in this turn but not written; the effects were not started then.
        if self.crash_at.is_some_and(|n| self.records.len() >= n) {
            self.crash_at = None;
            return true;
        }
        for effect in effects {
            if matches!(effect, Effect::StopAll) {
                self.stop_all();
            }
            if let Some(pending) = self.world.start(&effect, self.now_ms) {
                self.pending.push(pending);
            }
        }
        false
    }

    fn take_in(&mut self, events: Vec<Event>, at: At, effects: &mut Vec<Effect>) {
        for event in events {
            let record = Record { seq: self.state.seq + 1, at, event };
            let line = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record, "a record survives its way to disk");
            self.state.apply(&record).unwrap_or_else(|e| panic!("{e}"));
            if matches!(record.event, Event::AttemptStarted { .. }) {
                self.check_budget();
            }
            effects.extend(self.state.request(&record.event));
            self.journal.extend(maestro_ci::journal::encode(&record).unwrap().into_bytes());
            self.records.push(record);
        }
    }

    /// The warden ends agents and gates; everything else finishes.
    fn stop_all(&mut self) {
        for pending in &mut self.pending {
            match &mut pending.outcome {
                Outcome::Agent(report) => report.ended = Ended::Stopped,
                Outcome::Gate(result) => (result.status, result.ended) = (GateStatus::Inconclusive, Ended::Stopped),
                _ => continue,
            }
            pending.done_ms = self.now_ms + 1;
        }
    }

    /// Invariant 5: whenever an attempt starts, what is used and promised fits the limits.
    fn check_budget(&self) {
        let over = self.state.settings().and_then(|s| s.budget.exceeded(&self.state.ledger.committed()));
        assert_eq!(over, None);
    }
}
