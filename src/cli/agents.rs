//! Which agents a run may use: the default, those of roles, the fallbacks; what they are on this machine, and where
//! their model calls go. A misspelt or missing agent is an error, never another agent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::CliError;
use super::flags::RunArgs;
use crate::agent::{self, Agent, Probe};
use crate::config::{Config, Protocol};
use crate::core::{AgentInfo, Verdict};
use crate::driver::Hired;
use crate::gateway::Upstream;

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
        agents.insert(COMMAND.to_owned(), Agent::shell(COMMAND, command));
        COMMAND.to_owned()
    } else if config.agent.default == "auto" {
        automatic(config, env)?
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
fn automatic(config: &Config, env: &Env) -> Result<String, CliError> {
    let mut found = Vec::new();
    for name in config.agents.keys().map(String::as_str).chain(BUILT_IN) {
        match find(name, config).map(|agent| obstacle(name, &agent, config, env)) {
            Some(None) => return Ok(name.to_owned()),
            // Nobody installs all of the built-in ones; only those that are there are worth a word.
            Some(Some(why)) if config.agents.contains_key(name) || why.verdict != Verdict::Usage => {
                found.push(why.message);
            }
            _ => {}
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

/// Why an agent cannot work here; `Verdict::Usage` where it is not even there.
fn obstacle(name: &str, agent: &Agent, config: &Config, env: &Env) -> Option<CliError> {
    match agent.locate(env.path()) {
        None => Some(CliError { verdict: Verdict::Usage, ..not_installed(agent) }),
        Some(_) => upstreams(name, agent, config, env).err(),
    }
}

fn not_installed(agent: &Agent) -> CliError {
    let program = agent.program.first().map_or("", String::as_str);
    CliError::setup(format!("agent `{}`: the program `{program}` is not installed", agent.name))
        .hint("install it, put it on PATH, or give its path as `command` under `agents:`")
}

fn find(name: &str, config: &Config) -> Option<Agent> {
    let configured = config.agents.get(name).map(|entry| Agent::configured(name, entry));
    configured.or_else(|| Agent::built_in(name))
}

fn named(name: &str, model: Option<&String>, config: &Config) -> Result<Agent, CliError> {
    if let Some(mut agent) = find(name, config) {
        agent.model = model.cloned().or(agent.model);
        return check_model(agent);
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

/// opencode serves many providers, and its models are named after them.
fn check_model(agent: Agent) -> Result<Agent, CliError> {
    match &agent.model {
        Some(model) if agent.protocol == Protocol::Opencode && !model.contains('/') => {
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

/// A provider: its API, where agents find it by default, and the variables that say otherwise.
struct Provider {
    name: &'static str,
    base_url: &'static str,
    address: &'static str,
    keys: &'static [&'static str],
}

const PROVIDERS: [Provider; 3] = [
    Provider {
        name: "anthropic",
        base_url: "https://api.anthropic.com",
        address: "ANTHROPIC_BASE_URL",
        keys: &["ANTHROPIC_API_KEY"],
    },
    Provider {
        name: "openai",
        base_url: "https://api.openai.com/v1",
        address: "OPENAI_BASE_URL",
        keys: &["OPENAI_API_KEY"],
    },
    Provider {
        name: "gemini",
        base_url: "https://generativelanguage.googleapis.com",
        address: "GOOGLE_GEMINI_BASE_URL",
        keys: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
    },
];

/// Where an agent's model calls go through the gateway. Agents of one provider must have its key; others get every
/// provider whose key or address is there.
pub fn upstreams(
    name: &str,
    agent: &Agent,
    config: &Config,
    env: &Env,
) -> Result<BTreeMap<String, Upstream>, CliError> {
    let mut found = BTreeMap::new();
    let own = agent::provider(agent.protocol);
    if !config.gateway.enabled || agent.protocol == Protocol::Steps {
        return Ok(found);
    }
    for provider in PROVIDERS.iter().filter(|p| own.is_none_or(|own| own == p.name)) {
        let configured = config.gateway.upstream.get(name).filter(|_| own.is_some());
        let configured = configured.or_else(|| config.gateway.upstream.get(provider.name)).map(String::as_str);
        let address = configured.or_else(|| env.get(provider.address));
        let key = provider.keys.iter().find_map(|key| env.get(key)).map(str::to_owned);
        let is_local = address.is_some_and(is_loopback);
        if key.is_none() && !is_local {
            if own.is_some() {
                return Err(no_key(name, provider));
            }
            continue;
        }
        let base_url = address.unwrap_or(provider.base_url).trim_end_matches('/').to_owned();
        found.insert(provider.name.to_owned(), Upstream::Api { base_url, key });
    }
    Ok(found)
}

fn no_key(name: &str, provider: &Provider) -> CliError {
    CliError::setup(format!("agent `{name}` needs an API key: {} is not set", provider.keys.join(" or "))).hint(
        "set it; the gateway serves API keys only. For a subscription login or a cloud-signed API set gateway.enabled to \
         false (budgets then rest on what the agent reports)",
    )
}

fn is_loopback(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    ["127.", "localhost", "[::1]"].iter().any(|local| host.starts_with(local))
}

impl Crew {
    /// What each agent is on this machine. The slow part is asking each for its version.
    ///
    /// # Errors
    /// One of them is not installed.
    pub fn probe(&self, env: &Env) -> Result<Vec<(AgentInfo, Probe)>, CliError> {
        self.agents.values().map(|agent| probe(agent, env)).collect()
    }

    /// The agents with where their model calls go.
    pub fn hire(&self, config: &Config, env: &Env) -> Result<BTreeMap<String, Hired>, CliError> {
        let hired = self.agents.iter().map(|(name, agent)| {
            let upstreams = upstreams(name, agent, config, env)?;
            let price = config.agents.get(name).and_then(|a| a.price.as_ref()).map(crate::config::Price::in_micro);
            Ok((name.clone(), Hired { agent: agent.clone(), upstreams, price }))
        });
        hired.collect()
    }
}

fn probe(agent: &Agent, env: &Env) -> Result<(AgentInfo, Probe), CliError> {
    let probe = agent::probe(agent, &env.0);
    if probe.program.is_none() {
        return Err(not_installed(agent));
    }
    let info = AgentInfo {
        name: agent.name.clone(),
        protocol: agent.protocol.name().to_owned(),
        version: probe.version.clone(),
        tested: probe.tested,
    };
    Ok((info, probe))
}
