//! The two kinds of work that run under a warden: an agent on its task, a gate on a tree.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::housing::{Housing, Tenant, attempt_limits, gate_limits, with_own};
use super::world::{Answer, Hired, Send, Trouble, Work, World};
use crate::agent::{self, Access, Attempt, Stream};
use crate::core::{
    AgentReport, Commit, EffectKey, Ended, GateName, GateResult, GateSpec, Input, Outcome, SessionId, Settings, State,
    Strategy, Task, TaskId, Usage,
};
use crate::gate::{self, GateRun};
use crate::journal::{make_dir, write_atomic};
use crate::plan::{self, PromptContext};
use crate::sandbox::{Limits, Report, Warden};
use crate::workspace::Workspaces;

/// What an agent behind the gateway gets in place of a key.
const PLACEHOLDER_KEY: &str = "maestro-ci";
/// Usage of one attempt is journaled at most this often.
const USAGE_INTERVAL: Duration = Duration::from_millis(100);

/// Everything an agent's thread takes along.
pub(super) struct Launch {
    session: SessionId,
    task: Option<Task>,
    attempt: u32,
    agent: String,
    prompt: String,
    limit_ms: u64,
    settings: Option<Settings>,
}

/// What is different about an attempt, as its effect says it.
pub(super) struct AttemptSpec<'a> {
    pub task: &'a TaskId,
    pub attempt: u32,
    pub agent: String,
    pub strategy: Strategy,
    pub failures: &'a [String],
    pub limit_ms: u64,
}

impl World {
    /// Files of the base tree that the agent's own program rewrites: they are captured as they were, unless the task
    /// is about them.
    pub(super) fn kept_files(&self, agent: &str, is_own: impl Fn(&str) -> bool) -> Vec<&'static str> {
        let rewritten = self.options.agents.get(agent).map_or(&[][..], |hired| agent::rewritten(hired.agent.protocol));
        let base = self.options.workspaces.base_dir();
        let is_there = |path: &str| base.join(path).symlink_metadata().is_ok();
        rewritten.iter().copied().filter(|path| is_there(path) && !is_own(path)).collect()
    }
}

impl Launch {
    pub(super) fn new(state: &State, spec: AttemptSpec<'_>) -> Self {
        let AttemptSpec { task, attempt, agent, strategy, failures, limit_ms } = spec;
        let definition = state.task(task);
        let prompt = match (&state.started, &state.plan, definition) {
            (Some(started), Some(plan), Some(task)) => plan::prompt(&PromptContext {
                prd: &started.prd,
                plan,
                settings: &started.settings,
                task,
                attempt,
                strategy,
                failures,
            }),
            _ => String::new(),
        };
        Self {
            session: state.started.as_ref().map_or_else(|| "".into(), |s| s.session.clone()),
            task: definition.cloned(),
            attempt,
            agent,
            prompt,
            limit_ms,
            settings: state.settings().cloned(),
        }
    }

    pub(super) fn run(self, world: &World, send: &Send) -> Answer {
        let (Some(task), Some(settings)) = (&self.task, &self.settings) else {
            return Err(Trouble::Io(io::ErrorKind::NotFound.into()));
        };
        let hired = world.options.agents.get(&self.agent).ok_or_else(|| Trouble::no_agent(&self.agent))?;
        if world.stops.is_stopping() {
            return Ok(Outcome::Agent(AgentReport::bare(Ended::Stopped)));
        }
        // Closed when this function ends, however it ends: what is still under way is settled then.
        let line = world.open_line(&task.id, self.attempt, hired);
        let dir = world.attempt_dir(&task.id, self.attempt);
        let name = Workspaces::name_of(&task.id, self.attempt);
        let workspace = world.options.workspaces.tree_dir(&name);
        let env_pass: Vec<String> = hired.env_pass(world.options.env_pass.iter(), world.options.gateway.is_some());
        let read: Vec<PathBuf> = std::iter::once(dir.clone()).chain(hired.program_files(&world.options.env)).collect();
        let tenant = Tenant { name: &name, tree: &workspace, read: &read, env_pass: &env_pass };
        let housing = world.house(&tenant)?;
        let access = line.as_ref().map(|line| Access {
            base_url: line.base_url.clone(),
            key: PLACEHOLDER_KEY.to_owned(),
            providers: hired.upstreams.keys().cloned().collect(),
        });
        let base = world.options.workspaces.base_dir();
        let conventions = plan::conventions(|path| base.join(path).symlink_metadata().is_ok());
        let prompt = format!("{}{conventions}", self.prompt);
        let role = plan::role(task);
        let attempt = Attempt {
            session: &self.session,
            task,
            number: self.attempt,
            prompt: &prompt,
            role: Some(&role),
            workspace: &workspace,
            dir: &dir,
            home: &housing.home.home,
            access: access.as_ref(),
            secrets: world.options.redactor.values(),
        };
        let limits = attempt_limits(settings, self.limit_ms, hired.agent.has_stream());
        let order = agent::order(&hired.agent, &attempt, |own| with_own(housing.env, own), limits, housing.walls)?;
        let warden = Warden::start(&order)?;
        let key = EffectKey::RunAgent { task: task.id.clone(), attempt: self.attempt };
        world.stops.register(key, warden.stopper());
        let (mut report, stream) = self.follow(warden, hired, &task.id, send)?;
        if report.ended == Ended::Lost {
            // Somebody killed the warden; what it watched over is ours to end.
            let left = World::end_lost(&workspace, &housing.mark);
            // Partly the same processes, seen again while they die.
            report.leaked_processes = report.leaked_processes.max(left);
        }
        let metered = line.is_some() && hired.agent.has_known_api();
        if let Some(line) = line {
            line.close();
        }
        let report = agent::report(&hired.agent, &dir, report, &stream, metered);
        let usage = hired.priced(stream.model(), report.usage);
        Ok(Outcome::Agent(AgentReport { usage, ..report }))
    }

    /// Reads the agent's event stream until its tree is gone.
    fn follow(&self, warden: Warden, hired: &Hired, task: &TaskId, send: &Send) -> io::Result<(Report, Stream)> {
        let stopper = warden.stopper();
        let mut stream = Stream::new(hired.agent.protocol);
        let mut told: Option<(Instant, Usage)> = None;
        let report = warden.wait(|line| {
            stream.bytes(line);
            if stream.has_ended() {
                stopper.result_is_in();
            }
            let usage = stream.usage();
            // An agent that reports without end must not fill the journal; its last total comes with its report.
            let is_news =
                usage.is_reported() && told.is_none_or(|(at, was)| was != usage && at.elapsed() >= USAGE_INTERVAL);
            if is_news {
                told = Some((Instant::now(), usage));
                let usage = hired.priced(stream.model(), usage);
                let _ = send.send(Input::Usage { task: task.clone(), attempt: self.attempt, usage });
            }
        })?;
        Ok((report, stream))
    }
}

pub(super) fn run_gate(state: &State, round: u32, gate: GateName, commit: Commit, limit_ms: u64) -> (EffectKey, Work) {
    let key = EffectKey::Gate { round, gate: gate.clone() };
    let spec = state.gate(&gate).cloned();
    let limits = state.settings().map(|s| gate_limits(s, limit_ms)).unwrap_or_default();
    let own_key = key.clone();
    let work: Work = Box::new(move |world, _| {
        let Some(spec) = spec else { return Err(Trouble::Io(io::ErrorKind::NotFound.into())) };
        let result = gate_result(world, own_key, &spec, round, &commit, limits)?;
        Ok(Outcome::Gate(result))
    });
    (key, work)
}

fn gate_result(
    world: &World,
    key: EffectKey,
    spec: &GateSpec,
    round: u32,
    commit: &Commit,
    limits: Limits,
) -> Result<GateResult, Trouble> {
    world.ensure_base()?;
    let name = format!("gate-{round}-{}", spec.name);
    let dir = world.options.session.gate(round, spec.name.as_str());
    make_dir(&dir)?;
    let tree = world.options.workspaces.prepare(&name, commit)?;
    // Gates run code that agents wrote: they get no variable that was passed to agents.
    let tenant = Tenant { name: &name, tree: &tree, read: &[], env_pass: &[] };
    let Housing { env, walls, mark, .. } = world.house(&tenant)?;
    if world.stops.is_stopping() {
        return Ok(GateResult::stopped());
    }
    let redactor = &world.options.redactor;
    let run = GateRun { spec, tree: &tree, log: &dir.join("log"), env, limits, walls, secrets: redactor.values() };
    let mut result = gate::run(&run, |stopper| world.stops.register(key, stopper))?;
    if result.ended == Ended::Lost {
        result.leaked_processes = result.leaked_processes.max(World::end_lost(&tree, &mark));
    }
    result.each_text(&mut |text| redactor.clean_cut(text));
    write_atomic(&dir.join("result.json"), &serde_json::to_vec_pretty(&result).map_err(io::Error::from)?)?;
    world.options.workspaces.discard(&name)?;
    Ok(result)
}
