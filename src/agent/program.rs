//! What an agent is: its protocol, its program, its model. In: an entry of the configuration, or the name of a protocol
//! that needs none. Out: an `Agent`, and what its protocol says about keys.

use std::path::PathBuf;

use super::{command, probe, steps};
use crate::config::{AgentConfig, Protocol};

/// An agent that this version can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its name in the configuration.
    pub name: String,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Program and leading arguments.
    pub program: Vec<String>,
    /// Further arguments.
    pub args: Vec<String>,
    /// The model it is asked to use.
    pub model: Option<String>,
    /// Environment variables it gets besides the clean set.
    pub env_pass: Vec<String>,
    /// True: nothing keeps it from what the repository configures for it.
    pub repo_settings: bool,
}

impl Agent {
    /// The agent that an entry of the configuration describes. A command without arguments goes to the shell where
    /// the protocol is `command`; elsewhere it is the program, split at white space.
    pub fn configured(name: &str, config: &AgentConfig) -> Self {
        let program = match (config.protocol, &config.command) {
            (Protocol::Command, command) => {
                command::program(command.as_deref().unwrap_or_default(), config.args.is_empty())
            }
            (Protocol::Steps, _) => steps::program(),
            (_, Some(command)) => command.split_whitespace().map(str::to_owned).collect(),
            (protocol, None) => own_program(protocol).map(str::to_owned).into_iter().collect(),
        };
        Self {
            name: name.to_owned(),
            protocol: config.protocol,
            program,
            args: config.args.clone(),
            model: config.model.clone(),
            env_pass: config.env_pass.clone(),
            repo_settings: config.repo_settings,
        }
    }

    /// The agent that needs no entry: the one named like its protocol.
    pub fn built_in(name: &str) -> Option<Self> {
        let protocol = Protocol::built_in(name)?;
        Some(Self::configured(name, &AgentConfig { protocol, ..AgentConfig::default() }))
    }

    /// A shell command that reads its prompt and leaves its work in the tree.
    pub fn shell(name: &str, command: &str) -> Self {
        Self::configured(name, &AgentConfig { command: Some(command.to_owned()), ..AgentConfig::default() })
    }

    /// True where its standard output is a stream of events that has an end of its own.
    pub fn has_stream(&self) -> bool {
        !matches!(self.protocol, Protocol::Command | Protocol::Steps)
    }

    /// True where it is known which API it calls, and that it calls it through the gateway: of what anything else does
    /// beside its line, only it can say.
    pub fn has_known_api(&self) -> bool {
        self.has_stream() && self.protocol != Protocol::Acp
    }

    /// Where its program is: on `path`, a list of directories as in `PATH`, or where the program itself says.
    pub fn locate(&self, path: &str) -> Option<PathBuf> {
        probe::locate(self.program.first()?, path)
    }

    /// The files of its program: as it is named, where that leads, and the same of a program that it wraps, as in
    /// `nice claude`. `PATH` need not hold them.
    pub fn files(&self, path: &str) -> Vec<PathBuf> {
        // A shell command's words are the shell's business.
        let words = if self.protocol == Protocol::Command { 1 } else { self.program.len() };
        let named = self.program.iter().take(words).filter_map(|word| probe::locate(word, path));
        named.flat_map(|file| file.canonicalize().into_iter().chain([file])).collect()
    }

    /// Its command line, with `flags` between the program and the configured arguments.
    pub(super) fn argv<'a>(&self, flags: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let flags = flags.into_iter().map(str::to_owned);
        self.program.iter().cloned().chain(flags).chain(self.args.iter().cloned()).collect()
    }
}

/// The program of a protocol that is one program's own.
fn own_program(protocol: Protocol) -> Option<&'static str> {
    match protocol {
        Protocol::Claude => Some("claude"),
        Protocol::Codex => Some("codex"),
        Protocol::Gemini => Some("gemini"),
        Protocol::Opencode => Some("opencode"),
        Protocol::Qwen => Some("qwen"),
        Protocol::Acp | Protocol::Command | Protocol::Steps => None,
    }
}

/// The variables that hold an agent's key, or its login, where it talks to the API itself.
pub fn key_variables(protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        Protocol::Claude => &["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"],
        // Measured with 0.169: codex by itself does not look at OPENAI_API_KEY.
        Protocol::Codex => &["CODEX_API_KEY"],
        Protocol::Gemini => &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        Protocol::Qwen => &["OPENAI_API_KEY"],
        Protocol::Opencode => &["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY"],
        Protocol::Acp => &["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"],
        Protocol::Command | Protocol::Steps => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: AgentConfig, expected: &[&str]) {
        assert_eq!(Agent::configured("it", &config).argv(["--flag"]), expected);
    }

    fn entry(protocol: Protocol, command: Option<&str>, args: &[&str]) -> AgentConfig {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        AgentConfig { protocol, command: command.map(str::to_owned), args, ..AgentConfig::default() }
    }

    #[test]
    fn a_protocol_has_a_program_of_its_own_and_a_command_takes_its_place() {
        check(entry(Protocol::Claude, None, &["--x"]), &["claude", "--flag", "--x"]);
        check(entry(Protocol::Claude, Some("nice  /opt/claude"), &[]), &["nice", "/opt/claude", "--flag"]);
        check(entry(Protocol::Acp, Some("gemini --acp"), &[]), &["gemini", "--acp", "--flag"]);
    }

    #[test]
    fn a_command_alone_goes_to_the_shell() {
        let shell = Agent::shell("it", "a | b");
        assert_eq!(shell.protocol, Protocol::Command);
        assert_eq!(shell.argv([]), ["sh", "-c", "a | b"]);
        check(entry(Protocol::Command, Some("a b"), &["c"]), &["a b", "--flag", "c"]);
    }

    #[test]
    fn the_built_in_agents_are_named_like_their_protocols() {
        for name in ["claude", "codex", "gemini", "opencode", "qwen", "steps"] {
            assert_eq!(Agent::built_in(name).map(|agent| agent.protocol.name()), Some(name));
        }
        assert_eq!(Agent::built_in("acp"), None);
    }
}
