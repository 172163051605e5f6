//! The two kinds of work that run under a warden: an agent on its task, a gate on a tree.

use std::io;
use std::time::{Duration, Instant};

use super::world::{Answer, Send, Trouble, Work, World};
use crate::agent::{self, Attempt};
use crate::core::{
    AgentReport, Commit, EffectKey, Ended, GateName, GateResult, GateSpec, Input, Outcome, SessionId, State, Strategy,
    Task, TaskId, Usage,
};
use crate::gate::{self, GateRun};
use crate::journal::{make_dir, write_atomic};
use crate::plan::{self, PromptContext};
use crate::sandbox::{Warden, end_survivors};

/// Usage of one attempt is journaled at most this often.
const USAGE_INTERVAL: Duration = Duration::from_millis(100);

/// Everything an agent's thread takes along.
pub(super) struct Launch {
    session: SessionId,
    task: Option<Task>,
    attempt: u32,
    prompt: String,
    limit_ms: u64,
    idle_ms: u64,
    grace_ms: u64,
}

impl Launch {
    pub(super) fn new(
        state: &State,
        task: &TaskId,
        attempt: u32,
        strategy: Strategy,
        failures: &[String],
        limit_ms: u64,
    ) -> Self {
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
            prompt,
            limit_ms,
            idle_ms: state.settings().map_or(limit_ms, |s| s.idle_ms),
            grace_ms: state.settings().map_or(0, |s| s.grace_ms),
        }
    }

    pub(super) fn run(self, world: &World, send: &Send) -> Answer {
        let Some(task) = &self.task else { return Err(Trouble::Io(io::ErrorKind::NotFound.into())) };
        let (world_options, dir) = (&world.options, world.attempt_dir(&task.id, self.attempt));
        let workspace = world_options.workspaces.attempt_dir(&task.id, self.attempt);
        let attempt = Attempt {
            session: &self.session,
            task,
            number: self.attempt,
            prompt: &self.prompt,
            workspace: &workspace,
            dir: &dir,
            limit_ms: self.limit_ms,
            idle_ms: self.idle_ms,
            grace_ms: self.grace_ms,
        };
        if world.stops.is_stopping() {
            return Ok(Outcome::Agent(AgentReport::bare(Ended::Stopped)));
        }
        let order = agent::order(&world_options.agent, &attempt, |own| world.env(&world_options.env_pass, own))?;
        let warden = Warden::start(&order)?;
        let key = EffectKey::RunAgent { task: task.id.clone(), attempt: self.attempt };
        world.stops.register(key, warden.stopper());
        let mut usage = Usage::default();
        let mut told: Option<Instant> = None;
        let report = warden.wait(|line| {
            let Some(reported) = agent::of_line(line) else { return };
            usage = usage.max(reported);
            // An agent that reports without end must not fill the journal; its last total comes with its report.
            if told.is_none_or(|at| at.elapsed() >= USAGE_INTERVAL) {
                told = Some(Instant::now());
                let _ = send.send(Input::Usage { task: task.id.clone(), attempt: self.attempt, usage });
            }
        })?;
        if report.ended == Ended::Lost {
            // Somebody killed the warden; what it watched over is ours to end.
            end_survivors(&workspace, &format!("MAESTRO_TASK_FILE={}", agent::task_file(&dir).display()));
        }
        Ok(Outcome::Agent(agent::report(&world_options.agent, &dir, report, usage)))
    }
}

pub(super) fn run_gate(state: &State, round: u32, gate: GateName, commit: Commit, limit_ms: u64) -> (EffectKey, Work) {
    let key = EffectKey::Gate { round, gate: gate.clone() };
    let spec = state.gate(&gate).cloned();
    let grace_ms = state.settings().map_or(0, |s| s.grace_ms);
    let own_key = key.clone();
    let work: Work = Box::new(move |world, _| {
        let Some(spec) = spec else { return Err(Trouble::Io(io::ErrorKind::NotFound.into())) };
        let result = gate_result(world, own_key, &spec, round, &commit, (limit_ms, grace_ms))?;
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
    (limit_ms, grace_ms): (u64, u64),
) -> Result<GateResult, Trouble> {
    world.ensure_base()?;
    let name = format!("gate-{round}-{}", spec.name);
    let dir = world.options.session.gate(round, spec.name.as_str());
    make_dir(&dir)?;
    let tree = world.options.workspaces.prepare(&name, commit)?;
    // Gates run code that agents wrote: they get no variable that was passed to agents.
    let env = world.env(&[], &[]);
    if world.stops.is_stopping() {
        return Ok(GateResult::stopped());
    }
    let run = GateRun { spec, tree: &tree, log: &dir.join("log"), env, limit_ms, grace_ms };
    let result = gate::run(&run, |stopper| world.stops.register(key, stopper))?;
    write_atomic(&dir.join("result.json"), &serde_json::to_vec_pretty(&result).map_err(io::Error::from)?)?;
    world.options.workspaces.discard(&name)?;
    Ok(result)
}
