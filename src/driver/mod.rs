//! The driver: the one loop. An input arrives, the core answers with events, the journal makes them durable, the
//! state takes them in, and only then do the effects start that they request.
//!
//! In: a session to start or to go on with. Out: its verdict, and the files that derive from its journal. It decides
//! nothing; whatever looks like a decision here belongs into the core.

mod clock;
mod delivery;
mod housing;
mod launch;
mod scribe;
mod stops;
mod world;

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

pub use delivery::add_records;
pub use scribe::{Asked, Written};
pub use world::{Hired, World, WorldOptions};

use crate::agent;
use crate::core::{
    AgentInfo, At, Broken, Effect, EffectKey, Event, Given, Illegal, Input, LostEffect, Outcome, Plan, Record,
    SessionStarted, Settings, State, step,
};
use crate::git::patience;
use crate::journal::{Journal, JournalError, SessionDir};
use crate::report::Console;
use clock::Clock;
use scribe::{Desk, Scribe};

/// How long the end of a run waits for the removal of workspaces.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);
/// How long copies and captures of big trees go on after a signal; CI gives a cancelled step 7.5 s in all.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// How long after a signal answers are waited for, milliseconds. What hangs then (a disk that does not answer) is left
/// to itself: the report has to be written within those 7.5 s.
const GIVE_UP_MS: u64 = 6_500;
/// How long the end of a run waits for what was left to itself.
const LEFT_PATIENCE: Duration = Duration::from_millis(200);
/// Inputs that are taken in with one sync of the journal.
const MAX_BATCH: usize = 256;

/// A run that could not go on: our bug, or a disk that does not take the journal.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A record that cannot follow the others.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// The runtime or a signal handler.
    #[error("the runtime failed: {0}")]
    Runtime(#[from] std::io::Error),
}

/// What is to be driven.
pub enum Job {
    /// A new session.
    Start(Box<SessionStarted>, Box<Plan>),
    /// One that was interrupted, with the limits that hold from here on.
    Resume {
        /// Its records so far.
        records: Vec<Record>,
        /// The rules from here on.
        settings: Box<Settings>,
        /// The walls from here on.
        isolation: String,
        /// The agents, as they are found now.
        agents: Vec<AgentInfo>,
        /// Things the user should know from here on.
        notes: Vec<String>,
        /// What the next resume begins with.
        given: Box<Given>,
    },
}

/// What a driver tells while it drives.
pub enum Told<'a> {
    /// A line of the log.
    Line(&'a str),
    /// Where the session stands after a turn.
    State(&'a State),
    /// Records that have become durable; of a resume, all that there were.
    Records(&'a [Record]),
}

/// Where that goes.
pub type Sink = Box<dyn FnMut(Told<'_>)>;

/// A session that has been driven to an end.
pub struct Driven {
    /// Where it stands.
    pub state: State,
    /// All its records.
    pub records: Vec<Record>,
    /// The last version of its reports.
    pub written: Written,
}

/// A session, driven.
pub struct Driver {
    journal: Journal,
    session: SessionDir,
    state: State,
    records: Vec<Record>,
    world: Arc<World>,
    clock: Clock,
    looked_at: At,
    desk: Desk,
    scribe: Option<Scribe>,
    console: Console,
    sink: Sink,
    /// Something never answered.
    gave_up: bool,
}

impl Driver {
    /// Puts a driver together around an open journal.
    pub fn new(
        journal: Journal,
        session: SessionDir,
        world: World,
        console: Console,
        sink: Sink,
        log_to_file: bool,
    ) -> Self {
        Self {
            journal,
            desk: Desk { session: session.clone(), log_to_file, asked: Vec::new() },
            scribe: None,
            session,
            state: State::default(),
            records: Vec::new(),
            world: Arc::new(world),
            clock: Clock::start(0),
            looked_at: At::default(),
            console,
            sink,
            gave_up: false,
        }
    }

    /// The same, which also keeps these reports fresh.
    #[must_use]
    pub fn with_reports(mut self, asked: Vec<Asked>) -> Self {
        self.desk.asked = asked;
        self
    }

    /// Drives the session to its end and writes what derives from its journal.
    ///
    /// # Errors
    /// The journal cannot be written, or an event cannot follow its state.
    pub fn run(mut self, job: Job) -> Result<Driven, DriverError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let first = self.first_input(job)?;
        self.scribe = Scribe::start(self.desk.clone());
        if let Some(scribe) = self.scribe.as_ref().filter(|_| !self.records.is_empty()) {
            scribe.take(&self.records);
        }
        (self.sink)(Told::Records(&self.records));
        let driven = runtime.block_on(self.drive(first));
        if driven.is_err() {
            // Nobody will hear of what runs now, so none of it may go on.
            self.world.stop_all();
        }
        // Only the removal of workspaces can still be under way.
        runtime.shutdown_timeout(if self.gave_up { LEFT_PATIENCE } else { SHUTDOWN_PATIENCE });
        if let Some(scribe) = self.scribe.take() {
            scribe.end();
        }
        let written = self.desk.write(&self.state, &self.records, &|| false);
        driven?;
        Ok(Driven { state: self.state, records: self.records, written })
    }

    fn first_input(&mut self, job: Job) -> Result<Input, DriverError> {
        match job {
            Job::Start(started, plan) => Ok(Input::Start(started, plan)),
            Job::Resume { records, settings, isolation, agents, notes, given } => {
                for record in &records {
                    self.state.apply(record)?;
                    self.console.lines(&self.state, record);
                }
                self.records = records;
                self.clock = Clock::start(self.state.at.elapsed_ms);
                let (lost, given) = (self.lost(), Some(given));
                Ok(Input::Resumed { lost, settings, isolation, agents, notes, given })
            }
        }
    }

    /// What was under way, and what the streams of lost agents say they had used.
    fn lost(&self) -> Vec<LostEffect> {
        let usage = |key: &EffectKey| match key {
            EffectKey::RunAgent { task, attempt } => {
                let dir = self.session.attempt(task, *attempt);
                let agent = &self.state.latest(task)?.agent;
                let hired = self.world.options.agents.get(agent)?;
                let stream = agent::of_stream(hired.agent.protocol, &agent::Attempt::stream(&dir))?;
                Some(hired.priced(stream.model(), stream.usage()))
            }
            _ => None,
        };
        self.state.in_flight.iter().map(|key| LostEffect { key: key.clone(), usage: usage(key) }).collect()
    }

    async fn drive(&mut self, first: Input) -> Result<(), DriverError> {
        let (send, mut inputs) = unbounded_channel();
        let mut signals = Signals::new()?;
        self.world.open_gateway(&send)?;
        self.turn(vec![first], &send)?;
        let mut gives_up_at = None;
        loop {
            if self.state.finished.is_some() {
                return Ok(());
            }
            let batch = tokio::select! {
                signal = signals.next() => {
                    patience::hurry(STOP_PATIENCE);
                    gives_up_at.get_or_insert(self.clock.now().elapsed_ms + GIVE_UP_MS);
                    vec![Input::Cancel { signal }]
                }
                () = self.clock.sleep_until(gives_up_at) => {
                    // Whatever follows from that has a second of its own.
                    gives_up_at = Some(self.clock.now().elapsed_ms + 1_000);
                    self.give_up()
                }
                input = inputs.recv() => batch(input, &mut inputs),
                () = self.clock.sleep_until(self.state.next_wake_ms(self.looked_at)) => vec![Input::Continue],
            };
            self.turn(batch, &send)?;
        }
    }

    /// Ends the wait for what has not answered to a signal: a resume does it again. A rollback is waited for.
    fn give_up(&mut self) -> Vec<Input> {
        let left = |key: &EffectKey| {
            let message =
                format!("`{key}` has not ended {} s after the signal and is left to itself", GIVE_UP_MS / 1000);
            Input::Done(key.clone(), Outcome::Broken(Broken { message, critical: false }))
        };
        self.gave_up = true;
        self.state.in_flight.iter().filter(|key| **key != EffectKey::Rollback).map(left).collect()
    }

    /// One turn: decide, make durable, take in, act.
    fn turn(&mut self, inputs: Vec<Input>, send: &world::Send) -> Result<(), DriverError> {
        let at = self.clock.now();
        self.looked_at = at;
        let mut effects = Vec::new();
        let first = self.records.len();
        for mut input in inputs {
            let redactor = &self.world.options.redactor;
            let is_given = matches!(input, Input::Start(..) | Input::Resumed { .. });
            input.each_text(&mut |text| if is_given { redactor.clean_given(text) } else { redactor.clean_cut(text) });
            input.note_masked();
            self.take_in(step(&self.state, at, input), at, &mut effects)?;
        }
        loop {
            let events = step(&self.state, at, Input::Continue);
            if events.is_empty() {
                break;
            }
            self.take_in(events, at, &mut effects)?;
        }
        let new = &self.records[first..];
        if new.iter().all(|r| r.event.is_metering()) {
            self.journal.flush()?;
        } else {
            self.journal.sync()?;
        }
        if let Some(scribe) = self.scribe.as_ref().filter(|_| !new.is_empty()) {
            scribe.take(new);
        }
        (self.sink)(Told::Records(new));
        for record in new {
            if let Event::Captured { task, attempt, .. } = &record.event {
                World::discard(&self.world, task, *attempt);
            }
        }
        for effect in effects {
            World::start(&self.world, effect, &self.state, send);
        }
        (self.sink)(Told::State(&self.state));
        Ok(())
    }

    fn take_in(&mut self, events: Vec<Event>, at: At, effects: &mut Vec<Effect>) -> Result<(), DriverError> {
        for event in events {
            let record = Record { seq: self.state.seq + 1, at, event };
            self.journal.append(&record)?;
            self.state.apply(&record)?;
            effects.extend(self.state.request(&record.event));
            for line in self.console.lines(&self.state, &record) {
                (self.sink)(Told::Line(&line));
            }
            self.records.push(record);
        }
        Ok(())
    }
}

/// Writes everything that derives from a session's records, and the reports that flags ask for. `state` is that of the
/// records.
pub fn write_derived(
    session: &SessionDir,
    state: &State,
    records: &[Record],
    log_to_file: bool,
    asked: Vec<Asked>,
) -> Written {
    Desk { session: session.clone(), log_to_file, asked }.write(state, records, &|| false)
}

/// An input and those that wait behind it.
fn batch(first: Option<Input>, inputs: &mut UnboundedReceiver<Input>) -> Vec<Input> {
    let mut batch: Vec<Input> = first.into_iter().collect();
    while let (true, Ok(input)) = (batch.len() < MAX_BATCH, inputs.try_recv()) {
        batch.push(input);
    }
    batch
}

/// The signals that end a run in order.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// A terminal that goes away ends the run like a SIGTERM.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.hangup.recv() => SignalKind::terminate().as_raw_value(),
        }
    }
}
