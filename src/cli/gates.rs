//! The gates of a run: configured, else detected at the base commit; the PRD's own checks; and the files they run.

use std::path::{Component, Path, PathBuf};

use super::error::CliError;
use crate::config::{self, Config, Evidence};
use crate::core::{Commit, GateKind, GateName, GateSpec};
use crate::gate::{Listing, detect};
use crate::git::Repo;
use crate::prd::Document;

/// A `check` block may take this long, milliseconds.
const CHECK_LIMIT_MS: u64 = 600_000;

/// Configured gates, else detected ones; then the PRD's own checks.
pub fn gates(repo: &Repo, base: &Commit, config: &Config, document: &Document) -> Result<Vec<GateSpec>, CliError> {
    let mut gates = config.configured_gates();
    if config.validation.gates.is_empty() {
        let names = repo.git().run(&["ls-tree", "--name-only", "-z", base.as_str()])?;
        let names = names.split('\0').map(str::to_owned).collect();
        let read = |name: &str| {
            let bytes = repo.git().file_at(base, name).ok()??;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        gates = detect(&Listing { names, read: &read });
        gates.retain(|g| wanted(config, g.kind));
    }
    let evidence = &config.validation.requirement_evidence;
    if !evidence.contains(&Evidence::Gate) {
        for gate in &mut gates {
            gate.requirements.clear();
        }
    }
    if config.validation.validate_prd && evidence.contains(&Evidence::Check) {
        gates.extend(checks(document));
    }
    Ok(gates)
}

/// The files that gates run by name: words of their commands that are paths in the base commit.
pub fn gate_scripts(repo: &Repo, base: &Commit, gates: &[GateSpec]) -> Result<Vec<String>, CliError> {
    let mut words = Vec::new();
    for gate in gates.iter().filter(|g| g.kind != GateKind::Check) {
        let plain = |c: char| c.is_alphanumeric() || "./_-+@".contains(c);
        for word in gate.run.split(|c| !plain(c)).filter(|w| w.contains(['/', '.'])) {
            let path = Path::new(&gate.dir).join(word);
            let parts = path.components().filter(|c| matches!(c, Component::Normal(_)));
            words.extend(parts.collect::<PathBuf>().to_str().map(str::to_owned));
        }
    }
    words.retain(|w| !w.is_empty());
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let mut args = vec!["--literal-pathspecs", "ls-tree", "-z", "--format=%(objecttype) %(path)", base.as_str(), "--"];
    args.extend(words.iter().map(String::as_str));
    let listed = repo.git().run(&args)?;
    Ok(listed.split('\0').filter_map(|entry| entry.strip_prefix("blob ")).map(str::to_owned).collect())
}

/// Detected gates follow `run_tests` and `quality_gates`, as configured ones do.
fn wanted(config: &Config, kind: GateKind) -> bool {
    let validation = &config.validation;
    let quality = |gate| validation.quality_gates.contains(&gate);
    match kind {
        GateKind::Test => validation.run_tests,
        GateKind::Lint => quality(config::QualityGate::Lint),
        GateKind::Typecheck => quality(config::QualityGate::Typecheck),
        GateKind::Security => quality(config::QualityGate::Security),
        GateKind::Build | GateKind::Custom | GateKind::Check => true,
    }
}

/// The PRD's fenced `check` blocks, as gates.
fn checks(document: &Document) -> Vec<GateSpec> {
    let named = document.prd.checks.iter().enumerate();
    named
        .map(|(i, check)| GateSpec {
            name: GateName::new(format!("check-{}", i + 1)),
            kind: GateKind::Check,
            run: format!("set -e\n{}", check.script),
            dir: ".".to_owned(),
            timeout_ms: CHECK_LIMIT_MS,
            required: true,
            report: None,
            requirements: check.requirements.clone(),
            detected: false,
        })
        .collect()
}
