//! What an agent is on this machine: where its program lies and which version it has. In: an agent and an environment.
//! Out: a `Probe`. Nothing is changed: the program is asked for its version in a home that is thrown away.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::acp_message::introduction;
use super::{Agent, acp};
use crate::config::Protocol;
use crate::sandbox::{Limits, Order, Warden, child_env, make_home, standard_walls};

/// Milliseconds that a program has to say its version.
const PATIENCE_MS: u64 = 20_000;
/// Bytes that it may say.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// The versions that the adapters were tested with. Another patch of one of them counts as tested too.
const TESTED: [(Protocol, &str); 5] = [
    (Protocol::Claude, "2.1.329"),
    (Protocol::Codex, "0.169.0"),
    (Protocol::Gemini, "0.61.0"),
    (Protocol::Opencode, "1.18.33"),
    (Protocol::Qwen, "0.24.4"),
];

/// The same for agents that speak ACP, by the name that they give themselves.
const TESTED_ACP: [(&str, &str); 1] = [("@agentclientprotocol/claude-agent-acp", "0.100.0")];

/// An agent as it is installed here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// Its program; none where it is not installed.
    pub program: Option<PathBuf>,
    /// Its version, where it says one.
    pub version: Option<String>,
    /// True where this version is one that the adapter was tested with.
    pub tested: bool,
}

/// Looks for the agent's program on the `PATH` of `env` and asks it for its version; an agent that speaks ACP is asked
/// who it is. Commands and steps have no version. `walls` are further paths that it may read behind walls; none is no
/// walls.
pub fn probe(agent: &Agent, env: &[(String, String)], walls: Option<&[PathBuf]>) -> Probe {
    let path = env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, path)| path.as_str());
    let Some(program) = agent.locate(path) else { return Probe::default() };
    let read = walls.map(|read| agent.files(path).into_iter().chain(read.iter().cloned()).collect::<Vec<_>>());
    let ask = |argv| ask(argv, env, read.as_deref());
    let (version, tested) = match agent.protocol {
        Protocol::Command | Protocol::Steps => (None, false),
        Protocol::Acp => introduced(agent, &ask),
        protocol => {
            let answer = ask(version_line(&program, agent));
            let version = answer.as_deref().and_then(version_in).map(str::to_owned);
            let tested = version.as_deref().is_some_and(|version| is_tested(protocol, version));
            (version, tested)
        }
    };
    Probe { program: Some(program), version, tested }
}

/// The whole line is asked: `nice claude` has the version of claude, and not that of nice.
fn version_line(program: &Path, agent: &Agent) -> Vec<String> {
    let rest = agent.program.iter().skip(1).cloned();
    std::iter::once(program.display().to_string()).chain(rest).chain(["--version".to_owned()]).collect()
}

/// What an agent that speaks ACP says it is: its version, and whether that is a tested one.
fn introduced(agent: &Agent, ask: &dyn Fn(Vec<String>) -> Option<String>) -> (Option<String>, bool) {
    let answer = acp::greeting(agent).ok().and_then(ask);
    let Some(info) = answer.as_deref().and_then(introduction) else { return (None, false) };
    let of_name = TESTED_ACP.iter().find(|(name, _)| *name == info.name);
    let tested = |version: &String| of_name.is_some_and(|(_, own)| major_minor(own) == major_minor(version));
    let is_tested = info.version.as_ref().is_some_and(tested);
    (info.version, is_tested)
}

/// Where a program is: at its own path if it has one, else in the first directory of `path` that has it.
pub(super) fn locate(program: &str, path: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|program| is_executable(program));
    }
    let places = std::env::split_paths(path).filter(|dir| dir.is_absolute());
    places.map(|dir| dir.join(program)).find(|place| is_executable(place))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// What it prints, behind a warden that ends whatever it started and, where `read` names its files, behind walls: even
/// a question runs its code. None where it prints nothing in time.
fn ask(argv: Vec<String>, env: &[(String, String)], read: Option<&[PathBuf]>) -> Option<String> {
    let dir = tempfile::tempdir().ok()?;
    let real_home = env.iter().find(|(name, _)| name == "HOME").map(|(_, home)| Path::new(home));
    let home = make_home(&dir.path().join("private"), real_home, None, None).ok()?;
    let mut own = home.env();
    own.push(("TERM", "dumb".to_owned()));
    let answer = dir.path().join("answer");
    let walls = read.map(|files| {
        // The ACP client is this binary.
        let read = std::env::current_exe().into_iter().chain(files.iter().cloned()).chain(home.links.clone());
        standard_walls(env, &read.collect::<Vec<_>>(), &[home.home.clone(), home.tmp.clone()], &[])
    });
    let order = Order {
        argv,
        env: child_env(env.iter().cloned(), &[], &own),
        dir: home.home.clone(),
        stdin: None,
        stdout: answer.clone(),
        stderr: dir.path().join("stderr.log"),
        limits: Limits { wall_ms: PATIENCE_MS, max_output_bytes: Some(MAX_ANSWER_BYTES), ..Limits::default() },
        walls,
        forward_json: false,
        secrets: Vec::new(),
    };
    Warden::start(&order).ok()?.wait(|_| ()).ok()?;
    std::fs::read_to_string(answer).ok()
}

/// The first word that begins like a version: digits and dots.
fn version_in(answer: &str) -> Option<&str> {
    let mut words = answer.split_whitespace().map(|word| word.trim_start_matches('v'));
    words.find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()))
}

fn is_tested(protocol: Protocol, version: &str) -> bool {
    let tested = TESTED.iter().find(|(known, _)| *known == protocol);
    tested.is_some_and(|(_, tested)| major_minor(tested) == major_minor(version))
}

fn major_minor(version: &str) -> Option<(&str, &str)> {
    let mut parts = version.split('.');
    Some((parts.next()?, parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AgentConfig;

    fn check(answer: &str, protocol: Protocol, expected: Option<(&str, bool)>) {
        let got = version_in(answer).map(|version| (version, is_tested(protocol, version)));
        assert_eq!(got, expected, "{answer}");
    }

    #[test]
    fn each_cli_says_its_version_in_its_own_way() {
        check("2.1.329 (Claude Code)\n", Protocol::Claude, Some(("2.1.329", true)));
        check("codex-cli 0.169.0\n", Protocol::Codex, Some(("0.169.0", true)));
        check("0.61.0\n", Protocol::Gemini, Some(("0.61.0", true)));
        check("no version here", Protocol::Qwen, None);
    }

    #[test]
    fn a_wrapper_is_asked_together_with_what_it_wraps() {
        let entry = AgentConfig {
            protocol: Protocol::Claude,
            command: Some("nice -n 5 claude".to_owned()),
            args: vec!["--verbose".to_owned()],
            ..AgentConfig::default()
        };
        let line = version_line(Path::new("/usr/bin/nice"), &Agent::configured("it", &entry));
        assert_eq!(line, ["/usr/bin/nice", "-n", "5", "claude", "--version"]);
    }

    #[test]
    fn another_patch_is_tested_and_another_minor_version_is_not() {
        check("1.18.99", Protocol::Opencode, Some(("1.18.99", true)));
        check("1.19.0", Protocol::Opencode, Some(("1.19.0", false)));
        check("0.24.5-nightly.3", Protocol::Qwen, Some(("0.24.5-nightly.3", true)));
    }

    #[test]
    fn a_program_is_found_in_the_first_directory_that_has_it() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(first.path().join("tool"), "no program").unwrap();
        let tool = second.path().join("tool");
        std::fs::write(&tool, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", first.path().display(), second.path().display());
        assert_eq!(locate("tool", &path), Some(tool.clone()));
        assert_eq!(locate(tool.to_str().unwrap(), ""), Some(tool));
        assert_eq!(locate("nothing", &path), None);
    }
}
