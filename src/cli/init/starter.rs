//! The two files that every repository begins with: a configuration and the draft of a PRD. In: the agent, gates that
//! were found. Out: text.

use super::agents::Kit;
use crate::core::{GateKind, GateSpec};

/// A configuration with the agent, limits, and the gates that were found.
pub fn config(agent: &Kit, gates: &[GateSpec]) -> String {
    let mut text = format!(
        "# maestro-ci's configuration. What is left out has its default; `maestro-ci schema config` prints every key.\n\
         agent:\n  default: {}\n",
        agent.name
    );
    if let Some(model) = agent.model {
        text.push_str(&format!("agents:\n  {0}: {{protocol: {0}, model: {model}}}\n", agent.name));
    }
    text.push_str("resource_limits:\n  max_duration_seconds: 3600\n  max_cost_usd: 10\nvalidation:\n");
    if gates.is_empty() {
        text.push_str(
            "  # No gate was found here. Without one nothing proves a result: name the command that tests it, and set\n\
             \x20 # require_gates. `requirements` ties a gate to what it proves.\n  # require_gates: true\n  # gates:\n  \
             #   test: {kind: test, run: \"sh test.sh\", requirements: [FR-1]}\n  require_gates: false\n",
        );
        return text;
    }
    text.push_str(
        "  # A run in which no gate passed fails. `requirements: [FR-1]` behind a gate ties it to what it proves.\n  \
         require_gates: true\n  gates:\n",
    );
    for gate in gates {
        let run = serde_json::Value::from(gate.run.as_str());
        text.push_str(&format!("    {}: {{kind: {}, run: {run}}}\n", gate.name, kind(gate.kind)));
    }
    text
}

fn kind(kind: GateKind) -> &'static str {
    match kind {
        GateKind::Test => "test",
        GateKind::Lint => "lint",
        GateKind::Typecheck => "typecheck",
        GateKind::Security => "security",
        GateKind::Build => "build",
        GateKind::Custom | GateKind::Check => "custom",
    }
}

/// The draft of a PRD, named after its file.
pub fn prd(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let name = name.strip_suffix(".md").unwrap_or(name).to_ascii_lowercase().replace(['_', '.'], "-");
    let draft = include_str!("../../../ci/templates/prd.md");
    if name.is_empty() || name == "prd" { draft.to_owned() } else { draft.replace("my-feature", &name) }
}

#[cfg(test)]
mod tests {
    use super::super::agents;
    use super::*;
    use crate::config::{Source, load};

    #[test]
    fn the_configuration_is_one_with_and_without_gates() {
        let listing =
            crate::gate::Listing { names: vec!["Cargo.toml".to_owned(), "go.mod".to_owned()], read: &|_| None };
        for (agent, gates) in [("claude", Vec::new()), ("opencode", crate::gate::detect(&listing))] {
            let text = config(agents::choose(Some(agent)).unwrap(), &gates);
            let config = load(Some(Source { name: "c.yaml", text: &text }), &[]).unwrap();
            assert_eq!(config.agent.default, agent, "{text}");
            assert_eq!(config.validation.gates.len(), gates.len(), "{text}");
            assert_eq!(config.validation.require_gates, !gates.is_empty(), "{text}");
        }
    }

    #[test]
    fn the_draft_is_a_prd_that_nobody_approved() {
        let document = crate::prd::parse("docs/dark_mode.md", prd("docs/dark_mode.md").as_bytes()).unwrap();
        assert_eq!(document.prd.feature, "dark-mode");
        assert_eq!(document.prd.status, crate::core::Status::Draft);
        assert!(crate::plan::generate(&document.prd).is_ok());
    }
}
