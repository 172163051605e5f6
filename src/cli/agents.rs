//! Which agents a run may use: the default, those of roles, the fallbacks; what they are on this machine. In: flags,
//! configuration, our environment. Out: a crew. A misspelt or missing agent is an error, never another agent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::CliError;
use super::flags::RunArgs;
use super::upstreams::{self, Route};
use crate::agent::{self, Agent, Probe};
use crate::config::{Config, Protocol};
use crate::core::{AgentInfo, Plan, same_role};
use crate::driver::Hired;
use crate::sandbox::tokens_among;

/// Name of the agent that `--agent-cmd` gives.
const COMMAND: &str = "command";
/// Agents that need no entry in the configuration, in the order in which `auto` tries them.
const BUILT_IN: [&str; 5] = ["claude", "codex", "gemini", "opencode", "qwen"];

/// The agents of a run.
#[derive(Clone, Debug)]
pub struct Crew {
    /// Name of the agent that works where nothing else is said.
    pub default: String,
    /// All of them, by name.
    pub agents: BTreeMap<String, Agent>,
}

/// Chooses the agents that flags and configuration name.
pub fn choose(args: &RunArgs, config: &Config, env: &Env) -> Result<Crew, CliError> {
    let mut agents = BTreeMap::new();
    let default = if let Some(command) = &args.agent_cmd {
        if command.trim().is_empty() {
            return Err(CliError::usage("--agent-cmd is empty"));
        }
        let agent = with_model(Agent::shell(COMMAND, command), args.model.as_ref())?;
        agents.insert(COMMAND.to_owned(), agent);
        COMMAND.to_owned()
    } else if config.agent.default == "auto" {
        automatic(args, config, env)?
    } else {
        config.agent.default.clone()
    };
    let others = config.agent.fallback.iter().chain(config.agent.roles.values());
    for name in std::iter::once(&default).chain(others) {
        if !agents.contains_key(name) {
            let model = args.model.as_ref().filter(|_| *name == default);
            agents.insert(name.clone(), named(name, model, config)?);
        }
    }
    Ok(Crew { default, agents })
}

/// The first agent that works here: of the configured ones, then of the built-in ones.
fn automatic(args: &RunArgs, config: &Config, env: &Env) -> Result<String, CliError> {
    let mut found = Vec::new();
    let described = config.agents.iter().filter(|(_, entry)| !entry.only_prices()).map(|(name, _)| name.as_str());
    for name in described.chain(BUILT_IN) {
        let Some(agent) = find(name, config) else { continue };
        let agent = Agent { model: args.model.clone().or(agent.model), ..agent };
        if agent.locate(env.path()).is_none() {
            // Nobody installs all of the built-in ones; of those only the ones that are there are worth a word.
            if config.agents.contains_key(name) {
                found.push(not_installed(&agent).message);
            }
            continue;
        }
        match upstreams::routes(&agent, config, env) {
            Ok(_) => return Ok(name.to_owned()),
            Err(why) => found.push(why.message),
        }
    }
    let message = if found.is_empty() {
        "no agent is configured, and none of the built-in ones is installed".to_owned()
    } else {
        format!("no agent can work here: {}", found.join("; "))
    };
    Err(CliError::setup(message).hint(
        "give a command with --agent-cmd, describe an agent under `agents:` in the configuration, or install one of \
         claude, codex, gemini, opencode, qwen and set its key",
    ))
}

fn not_installed(agent: &Agent) -> CliError {
    let program = agent.program.first().map_or("", String::as_str);
    CliError::setup(format!("agent `{}`: the program `{program}` is not installed", agent.name))
        .hint("install it, put it on PATH, or give its path as `command` under `agents:`")
}

fn find(name: &str, config: &Config) -> Option<Agent> {
    let described = config.agents.get(name).filter(|entry| !entry.only_prices());
    let configured = described.map(|entry| Agent::configured(name, entry));
    configured.or_else(|| Agent::built_in(name))
}

fn named(name: &str, model: Option<&String>, config: &Config) -> Result<Agent, CliError> {
    if let Some(agent) = find(name, config) {
        return with_model(agent, model);
    }
    let known: BTreeSet<&str> = config.agents.keys().map(String::as_str).chain(BUILT_IN).collect();
    let near = known.iter().max_by(|a, b| strsim::jaro(a, name).total_cmp(&strsim::jaro(b, name)));
    let near = near.filter(|near| strsim::jaro(near, name) > 0.7);
    let hint = near.map_or_else(
        || "describe it under `agents:` in the configuration, or give a command with --agent-cmd".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    Err(CliError::setup(format!("there is no agent `{name}`")).hint(hint))
}

/// The agent with the model that `--model` gives, where it gives one.
fn with_model(mut agent: Agent, model: Option<&String>) -> Result<Agent, CliError> {
    let (name, protocol) = (&agent.name, agent.protocol);
    if let Some(model) = model {
        if matches!(protocol, Protocol::Command | Protocol::Steps) {
            let message = format!("--model {model}: the agent `{name}` ({}) has no model to choose", protocol.name());
            return Err(CliError::usage(message).hint("leave it out; a command chooses its model by itself"));
        }
        agent.model = Some(model.clone());
    }
    // opencode serves many providers, and its models are named after them.
    match &agent.model {
        Some(model) if protocol == Protocol::Opencode && !model.contains('/') => {
            let message =
                format!("agent `{}`: opencode takes its model as `provider/model`, not as `{model}`", agent.name);
            Err(CliError::usage(message).hint(format!("anthropic/{model}, openai/{model} or google/{model}?")))
        }
        _ => Ok(agent),
    }
}

/// Our environment, as far as it says where agents and their APIs are.
#[derive(Clone, Debug)]
pub struct Env(pub Vec<(String, String)>);

impl Env {
    /// That of this process. A variable that is not text is no business of any tool we know of.
    pub fn own() -> Self {
        Self(std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect())
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(k, v)| k == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// Paths of the configuration, with a leading `~/` as the user's home.
    pub fn expand(&self, paths: &[String]) -> Vec<PathBuf> {
        let expand = |path: &String| match (path.strip_prefix("~/"), self.get("HOME")) {
            (Some(rest), Some(home)) => Path::new(home).join(rest),
            _ => PathBuf::from(path),
        };
        paths.iter().map(expand).collect()
    }

    /// `PATH`.
    pub fn path(&self) -> &str {
        self.get("PATH").unwrap_or_default()
    }
}

impl Crew {
    /// What each agent is on this machine. The slow part is asking each for its version.
    ///
    /// # Errors
    /// One of them is not installed, or has no key.
    pub fn probe(&self, config: &Config, env: &Env, walled: bool) -> Result<Vec<(AgentInfo, Probe)>, CliError> {
        self.agents.values().map(|agent| probe(agent, config, env, walled)).collect()
    }

    /// The agents with where their model calls go.
    ///
    /// # Errors
    /// One of them has no key.
    pub fn hire(&self, config: &Config, env: &Env) -> Result<BTreeMap<String, Hired>, CliError> {
        let hired = self.agents.iter().map(|(name, agent)| {
            let routes = upstreams::routes(agent, config, env)?;
            let upstreams = routes.iter().map(|route| (route.provider.to_owned(), route.upstream())).collect();
            let price = config.agents.get(name).and_then(|a| a.price.as_ref()).map(crate::config::Price::in_micro);
            Ok((name.clone(), Hired { agent: agent.clone(), upstreams, price }))
        });
        hired.collect()
    }

    /// What the user should know: calls that nobody counts, roles that no task has.
    pub fn notes(&self, config: &Config, plan: &Plan, env: &Env) -> Vec<String> {
        let of_agents = self.agents.values().flat_map(|agent| upstreams::notes(agent, config, env));
        let roles = config.agent.roles.keys().filter(|role| !plan.tasks.iter().any(|task| same_role(&task.role, role)));
        let of_roles = roles.map(|role| format!("`agent.roles.{role}`: no task of the plan has this role"));
        of_agents.chain(of_roles).chain(self.token_notes(config)).collect()
    }

    /// A job's own token in an agent's hands is worth a word, and one that is listed in vain as well.
    fn token_notes(&self, config: &Config) -> Vec<String> {
        let listed = self.agents.values().flat_map(|agent| &agent.env_pass).chain(&config.sandbox.env_pass);
        let tokens = tokens_among(&listed.cloned().collect::<Vec<_>>());
        let passed = tokens.passed.iter().map(|name| {
            format!("`env_pass` gives agents {name}: with it they can do to the repository what this job may")
        });
        let withheld = tokens.withheld.iter().map(|name| {
            format!("`env_pass` names {name}; no agent gets it, since it proves to others who this job is")
        });
        passed.chain(withheld).collect()
    }
}

fn probe(agent: &Agent, config: &Config, env: &Env, walled: bool) -> Result<(AgentInfo, Probe), CliError> {
    let apis = upstreams::routes(agent, config, env)?.iter().map(Route::api).collect();
    let read = walled.then(|| env.expand(&config.sandbox.read));
    let probe = agent::probe(agent, &env.0, read.as_deref());
    if probe.program.is_none() {
        return Err(not_installed(agent));
    }
    let info = AgentInfo {
        name: agent.name.clone(),
        protocol: agent.protocol.name().to_owned(),
        version: probe.version.clone(),
        tested: probe.tested,
        apis,
        repo_settings: agent.repo_settings,
    };
    Ok((info, probe))
}
