//! The real world's interpreter of effects: each runs on a thread of its own and answers with one `Input::Done`.

use std::collections::BTreeMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::mpsc::UnboundedSender;

use super::housing::{BASE, Housing, Tenant};
use super::launch::{AttemptSpec, Launch, run_gate};
use super::stops::Stops;
use crate::agent::{self, Agent};
use crate::core::{
    Broken, Commit, Effect, EffectKey, Ended, FileChange, Input, Outcome, Price, State, TaskId, Usage, policy,
};
use crate::gateway::{self, Gateway, Line, Tariff, Upstream};
use crate::journal::{SessionDir, write_atomic};
use crate::prd;
use crate::sandbox::{Limits, Order, Warden, read_tail};
use crate::text::Redactor;
use crate::workspace::{CaptureRequest, Integration, WorkspaceError, Workspaces};

/// Where inputs go.
pub(super) type Send = UnboundedSender<Input>;

/// `workspace.setup` may take this long, milliseconds.
const SETUP_LIMIT_MS: u64 = 1_800_000;

/// What the world needs besides the state.
pub struct WorldOptions {
    /// The session's workspaces.
    pub workspaces: Workspaces,
    /// The session's directory.
    pub session: SessionDir,
    /// The agents, by name.
    pub agents: BTreeMap<String, Hired>,
    /// The gateway's limits; none is no gateway.
    pub gateway: Option<gateway::Options>,
    /// True: process trees get walls.
    pub walled: bool,
    /// Further paths that process trees may read.
    pub read: Vec<PathBuf>,
    /// Further paths that process trees may change.
    pub write: Vec<PathBuf>,
    /// Paths that no process tree may read, whatever lies around them.
    pub never: Vec<PathBuf>,
    /// `workspace.setup`.
    pub setup: Option<String>,
    /// The PRD's path in the repository, where it lies inside.
    pub prd_path: Option<String>,
    /// Our environment; children get an allow-listed part of it.
    pub env: Vec<(String, String)>,
    /// Further names that agents may see.
    pub env_pass: Vec<String>,
    /// Finds what is to be kept out of everything that is written down.
    pub redactor: Redactor,
}

/// An agent that may work in this session, and how its model calls go.
pub struct Hired {
    /// The agent.
    pub agent: Agent,
    /// Where its model calls go, by provider.
    pub upstreams: BTreeMap<String, Upstream>,
    /// What its model costs, where the configuration says so.
    pub price: Option<Price>,
}

impl Hired {
    /// Usage that the agent reports, with what it costs: by the configured price, else what the agent says, else by the
    /// table's price of the model that its stream names or that it was told to use. Else the cost stays unknown.
    pub(super) fn priced(&self, model: Option<&str>, usage: Usage) -> Usage {
        if usage.tokens() == 0 || (self.price.is_none() && usage.unpriced_calls == 0) {
            return usage;
        }
        let mut named = [model, self.agent.model.as_deref()].into_iter().flatten();
        let tariff = self.price.map(Tariff::flat).or_else(|| named.find_map(Tariff::listed));
        tariff.map_or(usage, |tariff| tariff.without_long_cache().priced(usage))
    }

    /// Its program, as it is named and where that leads: `PATH` need not hold it.
    pub(super) fn program_files(&self, env: &[(String, String)]) -> Vec<PathBuf> {
        let path = env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, path)| path.as_str());
        self.agent.files(path)
    }

    /// Variables that its process may see: keys only where the gateway is off, and never because no line leads there.
    pub(super) fn env_pass<'a>(&self, common: impl Iterator<Item = &'a String>, behind_gateway: bool) -> Vec<String> {
        // A key goes together with the address that it is for.
        let keys = agent::key_variables(self.agent.protocol);
        let addresses = agent::ADDRESS_VARIABLES.iter().filter(|_| !keys.is_empty());
        let keys = keys.iter().chain(addresses).filter(|_| !behind_gateway);
        let own = self.agent.env_pass.iter().cloned();
        common.cloned().chain(own).chain(keys.map(|&key| key.to_owned())).collect()
    }
}

/// The real world.
pub struct World {
    pub(super) options: WorldOptions,
    pub(super) stops: Stops,
    gateway: OnceLock<Gateway>,
    /// Held while the base tree is made: whoever needs it first makes it, the others wait.
    base: Mutex<()>,
}

/// What an effect answers: an outcome, or why it could not be done.
pub(super) type Answer = Result<Outcome, Trouble>;

/// Anything that keeps an effect from being done.
pub(super) enum Trouble {
    Workspace(WorkspaceError),
    Io(io::Error),
    Setup(String),
}

impl From<WorkspaceError> for Trouble {
    fn from(error: WorkspaceError) -> Self {
        Self::Workspace(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Trouble {
    pub(super) fn no_agent(name: &str) -> Self {
        Self::Io(io::Error::other(format!("there is no agent `{name}` in this session")))
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::Workspace(error) => Outcome::Broken(error.broken()),
            Self::Io(error) => Outcome::Broken(Broken { message: error.to_string(), critical: false }),
            Self::Setup(message) => Outcome::SetupFailed { message },
        }
    }
}

/// A piece of work, ready for a thread.
pub(super) type Work = Box<dyn FnOnce(&World, &Send) -> Answer + std::marker::Send>;

impl World {
    /// A world around its options.
    pub fn new(options: WorldOptions) -> Self {
        Self { options, stops: Stops::default(), gateway: OnceLock::new(), base: Mutex::new(()) }
    }

    /// Starts the gateway, where there is to be one. Its asks and ends come in as inputs.
    pub(super) fn open_gateway(&self, send: &Send) -> io::Result<()> {
        // Where no agent calls an API there is no need for it, nor for reading the machine's certificates.
        let is_needed = self.options.agents.values().any(|hired| !hired.upstreams.is_empty());
        let Some(options) = self.options.gateway.filter(|_| is_needed) else { return Ok(()) };
        let send = send.clone();
        let tell = move |input| {
            // A driver that is gone needs no input.
            let _ = send.send(input);
        };
        let started = Gateway::start(options, Arc::new(tell))?;
        self.gateway.set(started).map_err(|_| io::ErrorKind::AlreadyExists.into())
    }

    /// A line through the gateway for one attempt; none where there is no gateway or the agent makes no calls.
    pub(super) fn open_line(&self, task: &TaskId, attempt: u32, hired: &Hired) -> Option<gateway::Access> {
        let line = Line {
            task: task.clone(),
            attempt,
            upstreams: hired.upstreams.clone(),
            price: hired.price,
            model: hired.agent.model.clone(),
        };
        self.gateway.get().filter(|_| !hired.upstreams.is_empty()).map(|gateway| gateway.open(line))
    }

    /// Starts an effect. Everything it needs of the state is taken along now.
    pub(super) fn start(this: &Arc<Self>, effect: Effect, state: &State, send: &Send) {
        let (key, work) = match effect {
            Effect::StopAll => return this.stops.stop_all(),
            Effect::AnswerCall { call, answer } => {
                if let Some(gateway) = this.gateway.get() {
                    gateway.answer(call, answer);
                }
                return;
            }
            Effect::StopAttempt { task, attempt } => return this.stops.stop(&EffectKey::RunAgent { task, attempt }),
            effect => work(effect, state),
        };
        let (world, send) = (Arc::clone(this), send.clone());
        tokio::task::spawn_blocking(move || {
            // A panic is a bug of ours; without an answer it would be a silent hang as well.
            let done = std::panic::catch_unwind(AssertUnwindSafe(|| work(&world, &send)));
            let outcome = done.map_or_else(|_| bug(&key), |answer| answer.unwrap_or_else(Trouble::outcome));
            world.stops.forget(&key);
            // A driver that is gone needs no answer.
            let _ = send.send(Input::Done(key, outcome));
        });
    }

    /// Removes an attempt's workspace, now that the journal has what was in it. One that cannot be removed goes
    /// with all others when the run ends.
    pub(super) fn discard(this: &Arc<Self>, task: &TaskId, attempt: u32) {
        let (world, name) = (Arc::clone(this), Workspaces::name_of(task, attempt));
        tokio::task::spawn_blocking(move || world.options.workspaces.discard(&name));
    }

    /// Ends every process tree, and all that start from now on.
    pub(super) fn stop_all(&self) {
        self.stops.stop_all();
    }

    pub(super) fn attempt_dir(&self, task: &TaskId, attempt: u32) -> PathBuf {
        self.options.session.attempt(task, attempt)
    }

    /// The base tree, made where it is not there yet (or no longer, after a resume).
    pub(super) fn ensure_base(&self) -> Result<(), Trouble> {
        let _only_one = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        let workspaces = &self.options.workspaces;
        let marker = workspaces.base_dir().with_extension("ready");
        if marker.exists() {
            return Ok(());
        }
        let base = workspaces.create()?;
        if let Some(setup) = &self.options.setup {
            self.run_setup(setup, &base)?;
        }
        workspaces.freeze()?;
        Ok(write_atomic(&marker, b"")?)
    }

    fn run_setup(&self, setup: &str, base: &Path) -> Result<(), Trouble> {
        let log = self.options.session.path().join("setup.log");
        let tenant = Tenant { name: BASE, tree: base, read: &[], env_pass: &[] };
        let Housing { env, walls, mark, .. } = self.house(&tenant)?;
        let order = Order {
            argv: vec!["sh".to_owned(), "-c".to_owned(), setup.to_owned()],
            env,
            dir: base.to_owned(),
            stdin: None,
            stdout: log.clone(),
            stderr: log.clone(),
            limits: Limits { wall_ms: SETUP_LIMIT_MS, grace_ms: 1000, ..Limits::default() },
            walls,
            forward_json: false,
            secrets: self.options.redactor.values().to_vec(),
        };
        let warden = Warden::start(&order)?;
        self.stops.register(EffectKey::Setup, warden.stopper());
        let report = warden.wait(|_| {})?;
        if report.ended == Ended::Lost {
            Self::end_lost(base, &mark);
        }
        match report.ended {
            Ended::Exited { code: 0 } => Ok(()),
            ended => Err(Trouble::Setup(format!("{ended}; its log is {}\n{}", log.display(), tail(&log)))),
        }
    }
}

fn bug(key: &EffectKey) -> Outcome {
    Outcome::Broken(Broken { message: format!("internal error: `{key}` panicked"), critical: true })
}

/// The key of an effect and the work behind it.
fn work(effect: Effect, state: &State) -> (EffectKey, Work) {
    match effect {
        Effect::Setup => (EffectKey::Setup, Box::new(|world, _| world.ensure_base().map(|()| Outcome::Done))),
        Effect::Prepare { task, attempt, onto } => {
            let name = Workspaces::name_of(&task, attempt);
            let work: Work = Box::new(move |world, _| {
                world.ensure_base()?;
                world.options.workspaces.prepare(&name, &onto)?;
                Ok(Outcome::Done)
            });
            (EffectKey::Prepare { task, attempt }, work)
        }
        Effect::RunAgent { task, attempt, agent, strategy, failures, limit_ms } => {
            let spec = AttemptSpec { task: &task, attempt, agent, strategy, failures: &failures, limit_ms };
            let launch = Launch::new(state, spec);
            (EffectKey::RunAgent { task, attempt }, Box::new(move |world, send| launch.run(world, send)))
        }
        Effect::Capture { task, attempt, onto } => capture(state, task, attempt, onto),
        Effect::Integrate { task, attempt, commit, onto, tip, wall_ms } => {
            let message = integration_message(state, &task, attempt);
            let work: Work = Box::new(move |world, _| {
                world.options.workspaces.make_store()?;
                let request = Integration { commit: &commit, onto: &onto, tip: &tip, message: &message, wall_ms };
                Ok(Outcome::Merged(world.options.workspaces.integrate(&request)?))
            });
            (EffectKey::Integrate { task, attempt }, work)
        }
        Effect::RunGate { round, gate, commit, limit_ms } => run_gate(state, round, gate, commit, limit_ms),
        Effect::Checkpoint { n, commit, advance } => checkpoint(state, n, commit, advance),
        Effect::WriteStatus { status, tip, wall_ms } => write_status(state, status, tip, wall_ms),
        Effect::Rollback { to } => {
            let work: Work = Box::new(move |world, _| {
                world.options.workspaces.rollback(&to)?;
                Ok(Outcome::Done)
            });
            (EffectKey::Rollback, work)
        }
        // These never get here: `start` carries them out itself.
        Effect::StopAll | Effect::StopAttempt { .. } | Effect::AnswerCall { .. } => {
            (EffectKey::Setup, Box::new(|_, _| Ok(Outcome::Done)))
        }
    }
}

fn capture(state: &State, task: TaskId, attempt: u32, onto: Commit) -> (EffectKey, Work) {
    let title = state.task(&task).map_or("", |t| t.title.as_str());
    let message = format!("{task} attempt {attempt}: {title}\n");
    let name = Workspaces::name_of(&task, attempt);
    let rules = state.settings().cloned().zip(state.task(&task).cloned());
    let agent = state.latest(&task).map(|a| a.agent.clone()).unwrap_or_default();
    let key = EffectKey::Capture { task: task.clone(), attempt };
    let work: Work = Box::new(move |world, _| {
        let patch = world.attempt_dir(&task, attempt).join("changes.patch");
        let violation = |files: &[FileChange]| rules.as_ref().and_then(|(s, t)| policy::violation(s, t, files));
        let is_own = |path: &str| rules.as_ref().is_some_and(|(_, task)| policy::owns(task, path));
        let keep = world.kept_files(&agent, is_own);
        let request = CaptureRequest {
            name: &name,
            onto: &onto,
            message: &message,
            keep: &keep,
            patch: &patch,
            policy: &violation,
            redactor: &world.options.redactor,
        };
        Ok(Outcome::Captured(world.options.workspaces.capture(&request)?))
    });
    (key, work)
}

/// Subject, then the trailers by which a resume and a reader find the task again.
fn integration_message(state: &State, task: &TaskId, attempt: u32) -> String {
    let session = state.started.as_ref().map_or("", |s| s.session.as_str());
    let definition = state.task(task);
    let title: String =
        definition.map_or("", |t| t.title.as_str()).chars().filter(|c| !c.is_control()).take(100).collect();
    let mut message =
        format!("{task}: {title}\n\nMaestro-Session: {session}\nMaestro-Task: {task}\nMaestro-Attempt: {attempt}\n");
    for requirement in definition.into_iter().flat_map(|t| &t.requirements) {
        message.push_str(&format!("Maestro-Requirement: {requirement}\n"));
    }
    message
}

fn checkpoint(state: &State, n: u32, commit: Commit, advance: bool) -> (EffectKey, Work) {
    let started = state.started.as_ref();
    let branch = started.filter(|_| advance).map(|s| (s.branch.clone(), s.branch_was.clone()));
    let was = state.branch_at().cloned();
    let work: Work = Box::new(move |world, _| {
        let branch = branch.as_ref().map(|(name, first)| (name.as_str(), was.as_ref().or(first.as_ref())));
        world.options.workspaces.checkpoint(n, &commit, branch)?;
        Ok(Outcome::Done)
    });
    (EffectKey::Checkpoint { n }, work)
}

/// Writes the PRD's status as it will stand on the result branch.
fn write_status(state: &State, status: String, tip: Commit, wall_ms: i64) -> (EffectKey, Work) {
    let started = state.started.as_ref();
    let session = started.map_or("", |s| s.session.as_str()).to_owned();
    let work: Work = Box::new(move |world, _| {
        let Some(path) = &world.options.prd_path else { return Ok(Outcome::StatusWritten(None)) };
        let workspaces = &world.options.workspaces;
        workspaces.make_store()?;
        let Some(bytes) = workspaces.file_at(&tip, path)? else { return Ok(Outcome::StatusWritten(None)) };
        let updated_at = jiff::Timestamp::from_millisecond(wall_ms).map(|t| t.to_string()).unwrap_or_default();
        let bookkeeping = prd::Bookkeeping {
            status: Some(&status),
            updated_at: Some(&updated_at),
            updated_at_commit: Some(tip.as_str()),
            related_issues: None,
        };
        let edited = prd::parse(path, &bytes).and_then(|document| prd::write_back(&document, &bookkeeping));
        let edited = match edited {
            Ok(edited) => edited,
            Err(error) => {
                tracing::warn!("the PRD's status is not written back: {error}");
                return Ok(Outcome::StatusWritten(None));
            }
        };
        let message = format!("docs: set the PRD's status to {status}\n\nMaestro-Session: {session}\n");
        let commit = workspaces.replace_file(path, edited.as_bytes(), &tip, &message, wall_ms)?;
        Ok(Outcome::StatusWritten(commit))
    });
    (EffectKey::WriteStatus, work)
}

/// The last kilobytes of a log.
fn tail(path: &Path) -> String {
    String::from_utf8_lossy(&read_tail(path, 2000).unwrap_or_default()).into_owned()
}
