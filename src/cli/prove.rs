//! One tool call of an agent inside the walls, with a script of our own in place of a model: it costs nothing, and it
//! finds the agent whose tools fail silently here.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::agents::Env;
use super::error::CliError;
use super::upstreams;
use crate::agent::{self, Access, Agent, Attempt, Stream};
use crate::config::{Config, Sandbox};
use crate::core::{CallAnswer, Input, SessionId, Task, TaskId};
use crate::gateway::{Gateway, Line, Options, PROBE_CONTENT, PROBE_RUN, PROBE_WRITTEN, Upstream};
use crate::sandbox::{self, Limits, Warden};

/// The slowest agent needs some seconds to start.
const LIMIT_MS: u64 = 120_000;

/// Has the agent write one file and run one shell command. Returns the line that says that it could.
///
/// # Errors
/// It could not; the message holds its last words.
pub fn one_tool_call(agent: &Agent, config: &Config, env: &Env, walled: bool) -> Result<String, CliError> {
    let dir = tempfile::tempdir()?;
    let (workspace, files) = (dir.path().join("workspace"), dir.path().join("attempt"));
    std::fs::create_dir(&workspace)?;
    let (gateway, asks) = gateway()?;
    let gateway = Arc::new(gateway);
    let answering = grant_all(Arc::clone(&gateway), asks);
    let upstream = Upstream::Scripted { dir: workspace.clone() };
    // The same as in a run, or else something is proved that a run does not have.
    let routes = upstreams::routes(agent, config, env)?;
    let providers: Vec<String> = routes.iter().map(|route| route.provider.to_owned()).collect();
    let providers = if providers.is_empty() { upstreams::offered(agent) } else { providers };
    let line = gateway.open(Line {
        task: TaskId::new("check"),
        attempt: 1,
        upstreams: providers.iter().map(|name| (name.clone(), upstream.clone())).collect(),
        price: None,
        model: agent.model.clone(),
    });
    let access = Access { base_url: line.base_url.clone(), key: "maestro-ci".to_owned(), providers };
    let stage = Stage { sandbox: &config.sandbox, env, walled, workspace: &workspace, files: &files };
    let tried = stage.run(agent, &access);
    line.close();
    drop(line);
    drop(gateway);
    // Its channel is closed with the gateway.
    let _ = answering.join();
    let words = tried?;
    let holds =
        |name: &str| std::fs::read_to_string(workspace.join(name)).is_ok_and(|text| text.trim() == PROBE_CONTENT);
    if holds(PROBE_RUN) {
        return Ok(format!(
            "tools       {}: its tools and a shell command work{}",
            agent.name,
            if walled { " inside the walls" } else { "" }
        ));
    }
    let what = if holds(PROBE_WRITTEN) { "run a shell command" } else { "write a file" };
    let message =
        format!("agent `{}` cannot use its tools here: it was told to {what} and did not\n{words}", agent.name);
    Err(CliError::setup(message)
        .hint("look at its last words above; `sandbox.read` and `sandbox.write` widen the walls"))
}

/// A gateway, and what it asks.
fn gateway() -> Result<(Gateway, Receiver<Input>), CliError> {
    let (send, asks) = channel();
    let send = Mutex::new(send);
    let tell = move |input| {
        if let Ok(send) = send.lock() {
            // Nobody listens any more where the check is over.
            let _ = send.send(input);
        }
    };
    let options = Options { stall: Duration::from_millis(LIMIT_MS), ..Options::default() };
    Ok((Gateway::start(options, Arc::new(tell))?, asks))
}

/// A script costs nothing, so every call may go out.
fn grant_all(gateway: Arc<Gateway>, asks: Receiver<Input>) -> std::thread::JoinHandle<()> {
    let gateway = Arc::downgrade(&gateway);
    std::thread::spawn(move || {
        for input in asks {
            if let (Input::CallAsked { call, ask, .. }, Some(gateway)) = (input, gateway.upgrade()) {
                gateway.answer(call, CallAnswer::Granted { max_output_tokens: ask.output_tokens });
            }
        }
    })
}

/// Where the agent plays.
struct Stage<'a> {
    sandbox: &'a Sandbox,
    env: &'a Env,
    walled: bool,
    workspace: &'a Path,
    files: &'a Path,
}

impl Stage<'_> {
    /// Runs the agent to its end; its last words come back.
    fn run(&self, agent: &Agent, access: &Access) -> Result<String, CliError> {
        let Self { sandbox: rules, env, walled, workspace, files } = *self;
        let real_home = env.get("HOME").map(Path::new);
        let home = sandbox::make_home(&files.with_file_name("private"), real_home, None, None)?;
        let (session, task) = (SessionId::from("check"), task());
        let attempt = Attempt {
            session: &session,
            task: &task,
            number: 1,
            prompt: &format!("Write the file {PROBE_RUN} with the content `{PROBE_CONTENT}`."),
            role: None,
            workspace,
            dir: files,
            home: &home.home,
            access: Some(access),
            // Its files go with it, and its last words are cleaned where they are printed.
            secrets: &[],
        };
        let private = home.env();
        let child_env = |own: &[(&str, String)]| {
            let private = private.iter().filter(|&&(name, _)| walled && own.iter().all(|&(other, _)| other != name));
            let extra: Vec<(&str, String)> = private.cloned().chain(own.iter().cloned()).collect();
            let pass: Vec<String> = rules.env_pass.iter().chain(&agent.env_pass).cloned().collect();
            sandbox::child_env(env.0.iter().cloned(), &pass, &extra)
        };
        let limits = Limits { wall_ms: LIMIT_MS, grace_ms: 1000, linger_ms: 2000, ..Limits::default() };
        let write = [workspace.to_owned(), home.home.clone(), home.tmp.clone()];
        let write: Vec<PathBuf> = write.into_iter().chain(env.expand(&rules.write)).collect();
        let read = std::iter::once(files.to_owned())
            .chain(agent.files(env.path()))
            .chain(home.links.clone())
            .chain(env.expand(&rules.read))
            .collect::<Vec<_>>();
        let walls = walled.then(|| sandbox::standard_walls(&env.0, &read, &write, &[]));
        let order = agent::order(agent, &attempt, child_env, limits, walls)?;
        let warden = Warden::start(&order)?;
        let stopper = warden.stopper();
        let mut stream = Stream::new(agent.protocol);
        let report = warden.wait(|line| {
            stream.bytes(line);
            if stream.has_ended() {
                stopper.result_is_in();
            }
        })?;
        let report = agent::report(agent, files, report, &stream, true);
        let terminal = report.terminal.map_or_else(|| "no event stream".to_owned(), |t| t.to_string());
        Ok(format!("it ended: {} ({terminal})\n{}", report.ended, report.stderr_tail))
    }
}

fn task() -> Task {
    Task { title: "prove that tools work".to_owned(), ..Task::bare("check") }
}
