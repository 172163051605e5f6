//! What the types of the schema cannot say: names, globs, paths and hosts, checked after reading. A configuration
//! comes in; what is wrong with it goes out by dotted key, without places.

use std::fmt;
use std::path::{Component, Path};

use super::address::reach;
use super::choices::{Network, PROVIDERS, Protocol};
use super::dotted::join;
use super::schema::Config;
use super::suggest::{closest, did_you_mean};
use super::validation::GateConfig;
use crate::core::same_role;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// The dotted key of the value.
    pub key: String,
    /// What is wrong with it and what is accepted.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.key, self.text)
    }
}

fn problem(key: impl Into<String>, text: impl Into<String>) -> Problem {
    Problem { key: key.into(), text: text.into() }
}

/// The first thing that is wrong, if anything is.
pub(super) fn first_problem(config: &Config) -> Option<Problem> {
    agents(config)
        .or_else(|| roles(config))
        .or_else(|| config.gateway.upstream.iter().find_map(|(name, address)| upstream(config, name, address)))
        .or_else(|| globs("workspace.setup_key", &config.workspace.setup_key))
        .or_else(|| globs("policy.allow", &config.policy.allow))
        .or_else(|| globs("policy.protect", &config.policy.protect))
        .or_else(|| variables("sandbox.env_pass", &config.sandbox.env_pass))
        .or_else(|| variables("sandbox.not_secret", &config.sandbox.not_secret))
        .or_else(|| hosts(&config.sandbox.network))
        .or_else(|| config.validation.gates.iter().find_map(|(name, gate)| gate_problem(name, gate)))
}

fn agents(config: &Config) -> Option<Problem> {
    if config.agent.default.trim().is_empty() {
        return Some(problem("agent.default", "expected the name of an agent, or `auto`"));
    }
    let owns = config.subagents.iter().find_map(|(name, sub)| globs(&format!("subagents.{name}.owns"), &sub.owns));
    owns.or_else(|| {
        config.agents.iter().find_map(|(name, agent)| {
            let key = join("agents", name);
            if !is_name(name) {
                return Some(problem(key, NAME));
            }
            if agent.repo_settings && !agent.protocol.has_repo_settings() {
                return Some(problem(join(&key, "repo_settings"), no_repo_settings(agent.protocol)));
            }
            if agent.command.as_deref().is_none_or(is_blank)
                && !agent.only_prices()
                && let Some(expected) = needed_command(agent.protocol)
            {
                return Some(problem(join(&key, "command"), expected));
            }
            variables(&join(&key, "env_pass"), &agent.env_pass)
        })
    })
}

/// What `command` has to be where the protocol has no program of its own.
fn needed_command(protocol: Protocol) -> Option<&'static str> {
    match protocol {
        Protocol::Command => Some("expected a shell command; this protocol has none of its own"),
        Protocol::Acp => Some("expected the program that speaks ACP, such as `my-agent --acp`; there is no usual one"),
        _ => None,
    }
}

/// Nothing of ours stands between a command and the repository; to accept the key would be to promise something.
fn no_repo_settings(protocol: Protocol) -> String {
    format!(
        "agents of the protocol `{}` are kept from no settings of the repository, so there are none to let in; give the \
         agent's `protocol` (`claude`, `codex`, `gemini`, `opencode`, `qwen` or `acp`), or leave the key out",
        protocol.name()
    )
}

/// Roles are compared without case, so that two of one name would be a guess.
fn roles(config: &Config) -> Option<Problem> {
    let names: Vec<&String> = config.agent.roles.keys().collect();
    let twice = names.iter().enumerate().find_map(|(i, name)| {
        let other = names.iter().skip(i + 1).find(|other| same_role(name, other))?;
        Some((name, other))
    });
    let (one, other) = twice?;
    Some(problem(join("agent.roles", other), format!("`{one}` and `{other}` are one role; give one of them")))
}

/// A name that nobody asks for would let key and code go elsewhere, in silence.
fn upstream(config: &Config, name: &str, address: &str) -> Option<Problem> {
    let key = join("gateway.upstream", name);
    let providers = "`anthropic`, `openai` or `gemini`";
    if !PROVIDERS.contains(&name) {
        let configured = config.agents.get(name).filter(|agent| !agent.only_prices()).map(|agent| agent.protocol);
        let Some(protocol) = configured.or_else(|| Protocol::built_in(name)) else {
            let agents = config.agents.keys().map(String::as_str).chain(["claude", "codex", "qwen"]);
            let near = closest(name, PROVIDERS.into_iter().chain(agents)).map(did_you_mean);
            let near = near.map(|meant| format!("; {meant}")).unwrap_or_default();
            return Some(problem(key, format!("expected a provider, {providers}, or the name of an agent{near}")));
        };
        if protocol.provider().is_none() {
            let text = format!("agents of the protocol `{}` have no one API; expected {providers}", protocol.name());
            return Some(problem(key, text));
        }
    }
    reach(address).err().map(|words| problem(key, words))
}

fn gate_problem(name: &str, gate: &GateConfig) -> Option<Problem> {
    let key = join("validation.gates", name);
    if !is_name(name) {
        return Some(problem(key, NAME));
    }
    if is_blank(&gate.run) {
        return Some(problem(join(&key, "run"), "expected a shell command"));
    }
    let report = gate.report.as_deref().unwrap_or(".");
    let paths = [("dir", gate.dir.as_str()), ("report", report)];
    let (part, path) = paths.into_iter().find(|(_, path)| !is_inside(path))?;
    let text = format!("`{path}` is not accepted; expected a path inside the repository: relative and without `..`");
    Some(problem(join(&key, part), text))
}

const NAME: &str = "a name has 1 to 64 letters, digits, `_`, `.` or `-`";

fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

fn is_inside(path: &str) -> bool {
    let harmless = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    !is_blank(path) && !path.contains('\0') && Path::new(path).components().all(harmless)
}

fn globs(key: &str, list: &[String]) -> Option<Problem> {
    list.iter().find_map(|glob| match globset::Glob::new(glob) {
        Ok(_) if !is_blank(glob) => None,
        Ok(_) => Some(problem(key, "expected a glob such as `src/**`, not an empty text")),
        Err(error) => Some(problem(key, format!("`{glob}` is not a glob: {}", error.kind()))),
    })
}

fn variables(key: &str, list: &[String]) -> Option<Problem> {
    let sound = |name: &str| {
        let starts = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        starts && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let name = list.iter().find(|name| !sound(name))?;
    Some(problem(key, format!("`{name}` is not accepted; expected the name of an environment variable")))
}

fn hosts(network: &Network) -> Option<Problem> {
    let Network::Allow(hosts) = network else { return None };
    let sound = |host: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-:*[]".contains(&b);
        !host.is_empty() && host.bytes().all(allowed)
    };
    let host = hosts.iter().find(|host| !sound(host))?;
    Some(problem("sandbox.network.allow", format!("`{host}` is not accepted; expected a host such as `crates.io`")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(config: Value, expected: Option<&str>) {
        let read: Config = serde_json::from_value(config.clone()).unwrap();
        let found = first_problem(&read).map(|problem| problem.to_string());
        match expected {
            Some(part) => assert!(found.as_deref().is_some_and(|text| text.contains(part)), "{config}: {found:?}"),
            None => assert_eq!(found, None, "{config}"),
        }
    }

    fn gate(name: &str, gate: &Value) -> Value {
        json!({"validation": {"gates": {name: gate}}})
    }

    #[test]
    fn the_defaults_and_a_plain_gate_are_fine() {
        check(json!({}), None);
        check(gate("unit-1.x", &json!({"run": "make", "dir": "./a", "report": "out/junit.xml"})), None);
    }

    #[test]
    fn gates_need_a_name_a_command_and_paths_inside_the_repository() {
        check(gate("a b", &json!({"run": "make"})), Some("`validation.gates.a b`: a name has"));
        check(gate(&"a".repeat(65), &json!({"run": "make"})), Some("1 to 64"));
        check(gate("a", &json!({"run": "  "})), Some("`validation.gates.a.run`: expected a shell command"));
        for dir in ["..", "/etc", "a/../../b", ""] {
            check(gate("a", &json!({"run": "make", "dir": dir})), Some("`validation.gates.a.dir`"));
        }
        check(gate("a", &json!({"run": "make", "report": "../x.xml"})), Some("`validation.gates.a.report`"));
    }

    #[test]
    fn globs_hosts_variables_and_agents_are_checked() {
        check(json!({"policy": {"allow": ["src/{a"]}}), Some("`policy.allow`: `src/{a` is not a glob"));
        check(json!({"policy": {"protect": [""]}}), Some("`policy.protect`: expected a glob"));
        check(json!({"sandbox": {"network": {"allow": ["https://a.example/"]}}}), Some("expected a host"));
        check(json!({"sandbox": {"env_pass": ["A=1"]}}), Some("`sandbox.env_pass`: `A=1`"));
        check(json!({"agents": {"x": {"protocol": "command"}}}), Some("`agents.x.command`"));
        check(json!({"agents": {"claude": {"price": {"input": 3, "output": 15}}}}), None);
        check(json!({"agents": {"x": {"protocol": "steps"}}}), None);
        check(json!({"agents": {"x": {"protocol": "claude"}}}), None);
        check(json!({"agents": {"x": {"protocol": "acp"}}}), Some("`agents.x.command`: expected the program that"));
        check(json!({"agents": {"claude": {"repo_settings": true}}}), Some("`agents.claude.repo_settings`: agents"));
        check(json!({"agents": {"x": {"protocol": "steps", "repo_settings": true}}}), Some("the protocol `steps`"));
        check(json!({"agents": {"x": {"protocol": "command", "command": "a", "repo_settings": false}}}), None);
        check(json!({"agents": {"x": {"protocol": "acp", "command": "a", "repo_settings": true}}}), None);
        check(json!({"agent": {"default": ""}}), Some("`agent.default`"));
        check(json!({"agent": {"roles": {"Docs": "a", "docs": "b"}}}), Some("`Docs` and `docs` are one role"));
    }

    #[test]
    fn upstreams_are_of_providers_and_of_agents_that_have_one() {
        let upstream = |name: &str, address: &str| json!({"gateway": {"upstream": {name: address}}});
        for name in ["anthropic", "openai", "gemini", "claude", "codex", "qwen"] {
            check(upstream(name, "https://a.example"), None);
        }
        check(upstream("antropic", "https://a.example"), Some("did you mean `anthropic`?"));
        check(upstream("elsewhere", "https://a.example"), Some("expected a provider, `anthropic`, `openai` or"));
        check(upstream("opencode", "https://a.example"), Some("the protocol `opencode` have no one API"));
        check(upstream("openai", "http://a.example"), Some("`gateway.upstream.openai`: `http://a.example`"));
        let mut named = upstream("mine", "https://a.example");
        named["agents"] = json!({"mine": {"protocol": "acp", "command": "a"}});
        check(named.clone(), Some("the protocol `acp` have no one API"));
        named["agents"] = json!({"mine": {"protocol": "claude"}});
        check(named, None);
    }
}
