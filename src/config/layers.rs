//! The layers of the configuration: defaults < file < overrides, where the caller puts the environment before
//! the flags. Text comes in, a checked `Config` or one error with its place or origin goes out. Nothing here
//! opens a file or looks at the environment.

use serde_json::Value;
use serde_saphyr::NonFiniteFloatPolicy;

use super::checks::{Problem, first_problem};
use super::dotted::put;
use super::error::{ConfigError, Place};
use super::explain::{explain, related};
use super::keys::{Keys, options};
use super::schema::Config;

/// Longest file that is read, bytes.
const MAX_BYTES: usize = 256 * 1024;

/// Deepest key of an override, in parts; the schema has five.
const MAX_PARTS: usize = 16;

/// One value from the command line or the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Where it comes from, as the user knows it: `--max-tokens`, `--set`, `MAESTRO_CI_JOBS`.
    pub origin: String,
    /// Dotted key: `resource_limits.max_tokens`.
    pub key: String,
    /// The value as YAML, a scalar or in flow style.
    pub value: String,
}

impl Override {
    /// A value that is text whatever it looks like: `true`, `1` and `a: b` stay what they are.
    pub fn text(origin: impl Into<String>, key: impl Into<String>, text: &str) -> Self {
        Self { origin: origin.into(), key: key.into(), value: Value::from(text).to_string() }
    }
}

/// The text of a configuration file.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file's name, for errors.
    pub name: &'a str,
    /// What it holds.
    pub text: &'a str,
}

/// Lays the layers over each other. Without a file and overrides: the defaults.
///
/// # Errors
/// The first thing that is wrong, with its line in the file or the override it comes from.
pub fn load(file: Option<Source<'_>>, overrides: &[Override]) -> Result<Config, ConfigError> {
    let mut config = match file {
        Some(source) => read(source)?,
        None => Config::default(),
    };
    for change in overrides {
        config = apply(&config, change)?;
    }
    match first_problem(&config) {
        Some(problem) => Err(blame(&problem, overrides)),
        None => Ok(config),
    }
}

/// Reads the `key=value` of `--set`.
///
/// # Errors
/// Where there is no `=`, or a part of the key is empty.
pub fn parse_set(text: &str) -> Result<Override, ConfigError> {
    let expected = "expected key=value, such as `resource_limits.max_tokens=500000`";
    let Some((key, value)) = text.split_once('=') else {
        let hint = text.split_once(':').map(|(k, v)| format!("did you mean `{}={}`?", k.trim(), v.trim()));
        return Err(ConfigError::new(format!("--set `{text}`: {expected}"), hint));
    };
    let key = key.trim();
    if key.split('.').any(str::is_empty) {
        return Err(ConfigError::new(format!("--set `{text}`: a part of the key is empty; {expected}"), None));
    }
    Ok(Override { origin: "--set".to_owned(), key: key.to_owned(), value: value.trim().to_owned() })
}

fn read(source: Source<'_>) -> Result<Config, ConfigError> {
    let Source { name, text } = source;
    if text.len() > MAX_BYTES {
        let message = format!("{name}: the file has {} bytes; at most {MAX_BYTES} are read", text.len());
        return Err(ConfigError::new(message, None));
    }
    if is_blank(text) {
        return Ok(Config::default());
    }
    let read = serde_saphyr::from_str_with_options::<Config>(text, options(NonFiniteFloatPolicy::PassThrough));
    let config = read.map_err(|error| misread(source, &error))?;
    match first_problem(&config) {
        Some(problem) => Err(misplaced(source, problem)),
        None => Ok(config),
    }
}

/// True where nothing but comments and document marks is there. YAML calls that null, people call it empty.
fn is_blank(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}');
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---" || line == "...")
}

fn misread(source: Source<'_>, error: &serde_saphyr::Error) -> ConfigError {
    let place = error.location().map(|at| (at.line(), at.column()));
    let keys = Keys::of(source.text);
    let key = place.and_then(|(line, column)| keys.at(line, column));
    let (message, hint) = explain(error, key);
    placed(source, place, message, hint)
}

fn misplaced(source: Source<'_>, problem: Problem) -> ConfigError {
    let place = Keys::of(source.text).place(&problem.key);
    placed(source, place, problem.to_string(), None)
}

fn placed(source: Source<'_>, place: Option<(u64, u64)>, message: String, hint: Option<String>) -> ConfigError {
    match place {
        Some((line, column)) => ConfigError::new(message, hint).at(Place::new(source.name, source.text, line, column)),
        None => ConfigError::new(format!("{}: {message}", source.name), hint),
    }
}

/// One override laid over the rest. It takes the same way as a file, so that it meets the same checks and the
/// same words.
fn apply(config: &Config, change: &Override) -> Result<Config, ConfigError> {
    let path: Vec<&str> = change.key.split('.').collect();
    if path.len() > MAX_PARTS {
        return Err(rejected(change, "the key has too many parts".to_owned(), None));
    }
    let value = parse_value(change)?;
    let mut tree = serde_json::to_value(config).map_err(|error| rejected(change, error.to_string(), None))?;
    put(&mut tree, &path, value);
    let text = format!("{tree:#}");
    serde_saphyr::from_str_with_options::<Config>(&text, options(NonFiniteFloatPolicy::Reject)).map_err(|error| {
        let place = error.location().map(|at| (at.line(), at.column()));
        let keys = Keys::of(&text);
        let key = place.and_then(|(line, column)| keys.at(line, column));
        let (message, hint) = explain(&error, key);
        rejected(change, message, hint)
    })
}

pub(super) fn parse_value(change: &Override) -> Result<Value, ConfigError> {
    if change.value.is_empty() {
        return Err(rejected(change, "expected a value; write '\"\"' for no text or null for none".to_owned(), None));
    }
    let read = serde_saphyr::from_str_with_options::<Value>(&change.value, options(NonFiniteFloatPolicy::Reject));
    read.map_err(|error| {
        let (message, hint) = explain(&error, None);
        rejected(change, message, hint)
    })
}

fn rejected(change: &Override, message: String, hint: Option<String>) -> ConfigError {
    let Override { origin, key, value } = change;
    let own = format!("`{key}`: ");
    let message = message.strip_prefix(own.as_str()).unwrap_or(&message);
    ConfigError::new(format!("{origin} sets `{key}` to `{value}`: {message}"), hint)
}

/// The last override that had to do with the problem carries the blame; the file was checked by itself before.
fn blame(problem: &Problem, overrides: &[Override]) -> ConfigError {
    match overrides.iter().rev().find(|change| related(&change.key, &problem.key)) {
        Some(change) => rejected(change, problem.to_string(), None),
        None => ConfigError::new(problem.to_string(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Jobs, Network};
    use super::*;

    const DEFAULTS: &str = r#"
orchestrator: {max_iterations: 3, max_task_duration: 1800,
               checkpoint_frequency: phase_complete,   # or task|group|tests_pass
               parallel_execution: true, jobs: auto, context_refresh_interval: 5}
agent: {default: auto, fallback: [], roles: {}}
agents: {}
subagents: {}
resource_limits: {max_duration_seconds: 3600, max_tokens: 1000000, max_api_calls: 1000, max_cost_usd: null,
                  checkpoint_interval: 300, soft_ratio: 0.8, idle_seconds: 600, grace_seconds: 5, unknown_cost: token_cap,
                  task: {max_duration_seconds: null, max_tokens: null, max_api_calls: null, max_cost_usd: null,
                         max_memory_bytes: null, max_processes: null, max_output_bytes: null,
                         max_changed_files: null, max_changed_lines: null}}
decision_engine: {prefer_existing: true, maturity_threshold: 0.7, confidence_threshold: 0.6}
error_recovery: {max_retry_attempts: 3, backoff_multiplier: 2, enable_rollback: true, request_human_on_ambiguous: false}
validation: {run_tests: true, validate_prd: true, quality_gates: [lint, typecheck, security],
             fail_on_gate_violation: true, baseline: new_failures, flaky_retries: 1,   # baseline also strict|none
             requirement_evidence: [check, gate, base_test, new_test, review], unverified: warn, require_gates: false,
             gates: {}}
workspace: {setup: null, dir: auto, strategy: auto,
            setup_key: ["**/Cargo.lock", "**/package-lock.json", "**/pnpm-lock.yaml", "**/yarn.lock", "**/bun.lock",
                        "**/poetry.lock", "**/uv.lock", "**/Pipfile.lock", "**/requirements*.txt", "**/go.sum",
                        "**/Gemfile.lock", "**/composer.lock", "**/gradle.lockfile", "**/mix.lock"]}
policy: {allow: ["**"], test_removal: deny,
         protect: [".flow/**", ".github/**", .gitlab-ci.yml, Jenkinsfile, ".circleci/**", ".buildkite/**",
           azure-pipelines.yml, "**/.claude/**", "**/.mcp.json", "**/.codex/**", "**/.gemini/**", "**/.qwen/**",
           "**/.opencode/**", "**/opencode.json*", "**/.cursor/**", "**/.agents/**", "**/AGENTS.md", "**/CLAUDE.md", "**/GEMINI.md"]}
gateway: {enabled: true, upstream: {}, stall_seconds: 120}
state: {remote: null}
sandbox: {require: L1, network: inherit, env_pass: [], not_secret: [], read: [], write: []}
forge: {comment: auto, checks: false, open_pr: false}
logging: {level: info, include_rationale: true, log_to_file: true}
"#;

    fn file(text: &str) -> Result<Config, ConfigError> {
        load(Some(Source { name: "c.yaml", text }), &[])
    }

    fn set(key: &str, value: &str) -> Override {
        Override { origin: "--set".to_owned(), key: key.to_owned(), value: value.to_owned() }
    }

    /// The error of a file holds every part.
    fn check(text: &str, parts: &[&str]) {
        let error = file(text).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{text}\nlacks {part:?}:\n{error}");
        }
    }

    fn check_set(key: &str, value: &str, parts: &[&str]) {
        let error = load(None, &[set(key, value)]).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{key}={value} lacks {part:?}: {error}");
        }
    }

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        assert_eq!(file(DEFAULTS).unwrap(), Config::default());
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        for text in ["", "\n", "# nothing yet\n", "---\n# nothing\n", "{}"] {
            assert_eq!(file(text).unwrap(), Config::default(), "{text:?}");
        }
    }

    #[test]
    fn an_unknown_key_is_shown_in_its_line_with_a_suggestion() {
        let expected = "c.yaml:2:1: unknown key `resource_limit`\n    2 | resource_limit: {}\n      | ^ did you mean \
                        `resource_limits`?";
        check("agents: {}\nresource_limit: {}\n", &[expected]);
        let meant = "did you mean `resource_limits.max_tokens`?";
        check("resource_limits:\n  max_token: 5\n", &["c.yaml:2:3: unknown key `resource_limits.max_token`", meant]);
        check("max_tokens: 5\n", &["unknown key `max_tokens`", meant]);
        check(
            "validation:\n  gates:\n    a: {run: x, timout: 5}\n",
            &["c.yaml:3:17: unknown key `validation.gates.a.timout`", "did you mean `validation.gates.a.timeout`?"],
        );
    }

    #[test]
    fn limits_that_are_no_limits_name_key_value_and_what_is_accepted() {
        for (value, shown) in
            [("0", "0"), ("-1", "-1"), (".nan", "NaN"), (".inf", "inf"), ("1e400", "inf"), ("1.5", "1.5")]
        {
            let refused = format!("`resource_limits.max_tokens`: `{shown}` is not accepted; expected a whole number");
            check(&format!("resource_limits:\n  max_tokens: {value}\n"), &["c.yaml:2:3: ", &refused, value]);
        }
        check(
            "resource_limits: {max_duration_seconds: 1h}\n",
            &[
                "`resource_limits.max_duration_seconds`: `1h` is not accepted; expected a whole number of seconds, at least 1",
                "did you mean 3600?",
            ],
        );
        check(
            "resource_limits: {max_cost_usd: -2}",
            &["`-2` is not accepted; expected an amount of US dollars above 0"],
        );
        check("error_recovery: {backoff_multiplier: 0.5}", &["`0.5` is not accepted; expected a number of at least 1"]);
        check("decision_engine: {maturity_threshold: 7}", &["`7` is not accepted; expected a number from 0 to 1"]);
    }

    #[test]
    fn wrong_types_and_words_are_named() {
        check("validation: {run_tests: yes please}", &["`validation.run_tests`: expected `true` or `false`"]);
        check(
            "validation: {unverified: fial}",
            &["`fial` is not accepted; expected `warn`, `fail`", "did you mean `fail`?"],
        );
        check("policy: {allow: src}", &["`policy.allow`: expected a list"]);
        check(
            "orchestrator: {jobs: many}",
            &["`orchestrator.jobs`: `many` is not accepted; expected `auto` or a whole"],
        );
        check("sandbox: {network: none of it}", &["expected `inherit`, `none` or `{allow: [hosts]}`"]);
        check("agents: {a: {protocol: cluade}}", &["did you mean `claude`?"]);
        check("agents: {a: {protocol: command}}", &["c.yaml:1:10: `agents.a.command`: expected a shell command"]);
    }

    #[test]
    fn syntax_errors_duplicates_and_second_documents_are_errors_with_a_place() {
        check("agent: [\n", &["c.yaml:"]);
        check("agent: {}\nagent: {}\n", &["c.yaml:2:1: ", "agent"]);
        check("agent: {}\n---\nagent: {}\n", &["c.yaml:"]);
    }

    #[test]
    fn a_large_file_and_a_multiplying_one_are_refused() {
        check(&"#".repeat(MAX_BYTES + 1), &["at most 262144 are read"]);
        let aliases = "*a, ".repeat(100);
        let text = format!("agent: {{fallback: [&a x]}}\nagents: {{a: {{protocol: claude, args: [{aliases}]}}}}\n");
        check(&text, &["c.yaml", "too large or too complex"]);
    }

    #[test]
    fn later_layers_win() {
        let source = Source { name: "c.yaml", text: "resource_limits: {max_tokens: 5, max_api_calls: 6}" };
        let changes = [set("resource_limits.max_tokens", "7"), set("resource_limits.max_tokens", "8")];
        let config = load(Some(source), &changes).unwrap();
        assert_eq!(config.resource_limits.max_tokens, Some(8));
        assert_eq!(config.resource_limits.max_api_calls, Some(6));
        assert_eq!(config.resource_limits.idle_seconds, 600);
    }

    #[test]
    fn an_override_reaches_every_kind_of_value() {
        let changes = [
            set("orchestrator.jobs", "4"),
            set("sandbox.network.allow", "[a.example]"),
            set("resource_limits.max_tokens", "null"),
            set("validation.gates.unit", "{run: make test, kind: test}"),
            Override::text("--agent-cmd", "agents.x.command", "true: false"),
        ];
        let config = load(None, &changes).unwrap();
        assert_eq!(config.orchestrator.jobs, Jobs::Count(4));
        assert_eq!(config.sandbox.network, Network::Allow(vec!["a.example".to_owned()]));
        assert_eq!(config.resource_limits.max_tokens, None);
        assert_eq!(config.validation.gates["unit"].run, "make test");
        assert_eq!(config.agents["x"].command.as_deref(), Some("true: false"));
    }

    #[test]
    fn a_wrong_override_is_named_with_its_origin() {
        let sets = "--set sets `resource_limits.max_tokens` to `1h`: `1h` is not accepted; expected a whole number";
        check_set("resource_limits.max_tokens", "1h", &[sets]);
        check_set("resource_limits.max_tokens", "1e400", &["`1e400`"]);
        check_set("resource_limits.max_tokens", ".nan", &["`.nan`"]);
        check_set("resource_limits.max_tokens", "", &["expected a value"]);
        check_set("resource_limit.max_tokens", "1", &["unknown key `resource_limit`", "`resource_limits`?"]);
        check_set("resource_limits.max_tokens.x", "1", &["expected a whole number"]);
        check_set("validation.gates.a.run", "''", &["--set sets", "to `''`: expected a shell command"]);
        check_set("policy.allow", "['{a']", &["is not a glob"]);
        check_set("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q", "1", &["too many parts"]);
    }

    #[test]
    fn set_takes_key_and_value() {
        assert_eq!(parse_set("a.b=c=d"), Ok(set("a.b", "c=d")));
        let error = parse_set("a.b: c").unwrap_err().to_string();
        assert!(error.contains("did you mean `a.b=c`?"), "{error}");
        assert!(parse_set("=1").is_err() && parse_set("a..b=1").is_err() && parse_set("a").is_err());
    }
}
