//! The configuration: its schema, its layers (defaults < file < environment < flags) and the units people write.
//! Text comes in and values go out. Nothing here reads a file, the environment or the clock, and nothing
//! here decides what a run does: that part is handed to `core` as `Settings`.

mod address;
mod checks;
mod choices;
mod dotted;
mod error;
mod explain;
mod keys;
mod later;
mod layers;
mod limits;
mod numbers;
mod schema;
mod settings;
mod suggest;
pub mod units;
mod validation;

pub use address::{Reach, is_in_the_open, reach, shown_address};
pub use choices::{Comment, Jobs, LogLevel, Network, PROVIDERS, Protocol, SandboxLevel, Strategy, TestRemoval};
pub use error::{ConfigError, Place};
pub use later::later;
pub use layers::{Override, Source, load, parse_set};
pub use limits::{ErrorRecovery, ResourceLimits, TaskLimits};
pub use schema::{
    Agent, AgentConfig, Config, DecisionEngine, Forge, Gateway, Logging, Orchestrator, Policy, Price, Sandbox, State,
    Subagent, Workspace,
};
pub use validation::{Baseline, ConfiguredKind, Evidence, GateConfig, QualityGate, Validation, When};

/// Where the configuration lives, relative to the repository's root.
pub const PATH: &str = ".flow/maestro/config.yaml";

/// The JSON Schema of the configuration.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Config).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_names_every_top_level_key_and_no_other() {
        let schema = schema();
        let config = serde_json::to_value(Config::default()).unwrap();
        let keys: Vec<&String> = config.as_object().unwrap().keys().collect();
        let described = schema["properties"].as_object().unwrap();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(described.len(), keys.len());
        assert!(keys.iter().all(|key| described.contains_key(*key)));
    }
}
