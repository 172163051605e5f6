//! What a pipeline has to know of each built-in agent: the package, the version that maestro-ci is tested with, the
//! key. In: a name, or the programs on `PATH`. Out: a kit.

use crate::agent::Agent;
use crate::cli::agents::Env;
use crate::cli::error::CliError;

/// One built-in agent.
#[derive(Debug, PartialEq, Eq)]
pub struct Kit {
    /// Its name.
    pub name: &'static str,
    /// Its npm package with the version that `ci/agents.sh` tests.
    pub package: &'static str,
    /// The variable of its key.
    pub key: &'static str,
    /// A model, where the agent needs one to know its provider.
    pub model: Option<&'static str>,
}

/// All of them, in the order in which they are looked for.
const KITS: [Kit; 5] = [
    Kit { name: "claude", package: "@anthropic-ai/claude-code@2.1.329", key: "ANTHROPIC_API_KEY", model: None },
    Kit { name: "codex", package: "@openai/codex@0.169.0", key: "OPENAI_API_KEY", model: None },
    Kit { name: "gemini", package: "@google/gemini-cli@0.61.0", key: "GEMINI_API_KEY", model: None },
    Kit {
        name: "opencode",
        package: "opencode-ai@1.18.33",
        key: "ANTHROPIC_API_KEY",
        model: Some("anthropic/claude-sonnet-5-5"),
    },
    Kit { name: "qwen", package: "@qwen-code/qwen-code@0.24.4", key: "OPENAI_API_KEY", model: None },
];

/// The kit that the templates are written with.
pub const TEMPLATE: &Kit = &KITS[0];

/// The named agent, else the first that is installed here, else the templates' own.
///
/// # Errors
/// There is no built-in agent of that name.
pub fn choose(name: Option<&str>) -> Result<&'static Kit, CliError> {
    let Some(name) = name else {
        let env = Env::own();
        let is_here = |kit: &&Kit| Agent::built_in(kit.name).is_some_and(|agent| agent.locate(env.path()).is_some());
        return Ok(KITS.iter().find(is_here).unwrap_or(TEMPLATE));
    };
    let names: Vec<&str> = KITS.iter().map(|kit| kit.name).collect();
    KITS.iter().find(|kit| kit.name == name).ok_or_else(|| {
        CliError::usage("--agent: `init` knows the built-in agents only")
            .hint(format!("one of {}; others are described under `agents:` in the configuration", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kit_is_a_built_in_agent_at_the_version_that_is_tested() {
        let tested = include_str!("../../../ci/agents.sh");
        for kit in &KITS {
            assert!(Agent::built_in(kit.name).is_some(), "{}", kit.name);
            let (package, version) = kit.package.rsplit_once('@').unwrap();
            let line = format!("\"{} {package} {version}\"", kit.name);
            assert!(tested.contains(&line), "ci/agents.sh has no {line}");
        }
    }

    #[test]
    fn a_name_that_is_none_of_them_is_refused_with_the_names() {
        assert_eq!(choose(Some("gemini")).unwrap().key, "GEMINI_API_KEY");
        let error = choose(Some("clyde")).unwrap_err();
        assert!(error.hint.unwrap().contains("claude, codex"));
    }
}
