//! Everything a run needs to know before it starts, read once: repository, base commit, configuration, PRD, plan,
//! gates. `run`, `check`, `plan` and `resume` share it.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::agents::{self, Crew, Env};
use super::error::CliError;
use super::flags::{Global, RunArgs};
use super::gates::{gate_scripts, gates};
use super::{output, secrets};
use crate::config::{self, Config, Override, SandboxLevel, Source, units};
use crate::core::{Commit, GateSpec, Plan, Settings, Status, Verdict};
use crate::git::{self, Repo};
use crate::plan;
use crate::prd::{self, Document};
use crate::sandbox::{self, Level};
use crate::text::Redactor;

/// What is to be run, where, and under which rules.
pub struct Context {
    /// The repository.
    pub repo: Repo,
    /// The commit everything starts from.
    pub base: Commit,
    /// The configuration, all layers applied.
    pub config: Config,
    /// The PRD.
    pub document: Document,
    /// Its path in the repository, where it lies inside.
    pub prd_path: Option<String>,
    /// The plan.
    pub plan: Plan,
    /// The agents; an error is told when a run wants them.
    pub crew: Result<Crew, CliError>,
    /// Our environment.
    pub env: Env,
    /// The gates.
    pub gates: Vec<GateSpec>,
    /// Files of the base commit that gates run by name; no task may change them.
    pub gate_scripts: Vec<String>,
    /// Things the user should know.
    pub notes: Vec<String>,
    /// Finds the secrets of this process.
    pub redactor: Redactor,
}

/// What is lost where agents talk to the model API themselves.
const NO_GATEWAY: &str = "gateway.enabled is false: agents hold the API keys, usage is what they report, and a limit can \
                          be passed by what one call of each running agent spends";

impl Context {
    /// Reads everything. Nothing is changed.
    pub fn load(global: &Global, args: &RunArgs) -> Result<Self, CliError> {
        let document = prd::load(prd_of(args)?)?;
        refuse_hidden_text(args, &document)?;
        let repo = discover(global)?;
        let base = base_commit(&repo, args)?;
        let mut notes = Vec::new();
        let config = load_config(&repo, &base, args, &mut notes)?;
        output::configure(config.logging.level);
        let prd_path = path_in(&repo.top, prd_of(args)?);
        note_uncommitted(&repo, &base, prd_path.as_deref(), &document, &mut notes)?;
        let plan = plan::generate(&document.prd).map_err(|e| CliError::plan(&document, e))?;
        let gates = gates(&repo, &base, &config, &document)?;
        let gate_scripts = gate_scripts(&repo, &base, &gates)?;
        let env = Env::own();
        let redactor = secrets::redactor(&env, Some(&config), Some(&repo))?;
        output::keep_out(redactor.clone());
        let crew = agents::choose(args, &config, &env);
        if let Ok(crew) = &crew {
            notes.extend(crew.notes(&config, &plan, &env));
        }
        if !config.gateway.enabled {
            notes.push(NO_GATEWAY.to_owned());
        }
        Ok(Self { repo, base, config, document, prd_path, plan, crew, env, gates, gate_scripts, notes, redactor })
    }

    /// The rules for the core.
    pub fn settings(&self) -> Settings {
        let agent = self.crew.as_ref().map_or("none", |crew| crew.default.as_str());
        let cpus = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
        let mut settings = self.config.settings(agent, self.gates.clone(), cpus);
        let always = self.prd_path.iter().chain(&self.gate_scripts);
        settings.protect.extend(always.map(|path| globset::escape(path)));
        settings
    }

    /// The result branch.
    pub fn branch(&self, args: &RunArgs) -> String {
        args.branch.clone().unwrap_or_else(|| format!("maestro/{}", self.document.prd.feature))
    }

    /// SHA-256 over everything that must not change between a session and its resume: PRD, plan, configuration,
    /// agent, version. Limits, prices and reporting may change.
    pub fn fingerprint(&self) -> String {
        let mut config = self.config.clone();
        config.resource_limits = config::ResourceLimits::default();
        config.logging = config::Logging::default();
        config.forge = config::Forge::default();
        config.gateway = config::Gateway::default();
        config.orchestrator.jobs = config::Jobs::default();
        config.agents.retain(|_, agent| !agent.only_prices());
        config.agents.values_mut().for_each(|agent| agent.price = None);
        let agent = self.crew.as_ref().map_or_else(|_| String::new(), |crew| format!("{crew:?}"));
        let parts = (
            &self.plan.fingerprint,
            &self.document.prd.approval.content_sha256,
            serde_json::to_value(&config).unwrap_or_default(),
            agent,
            env!("CARGO_PKG_VERSION"),
        );
        hex_sha256(&serde_json::to_vec(&parts).unwrap_or_default())
    }

    /// Fails where the PRD is not approved. `Ok(false)` means there is nothing to do.
    pub fn check_approval(&self, force: bool) -> Result<bool, CliError> {
        let prd = &self.document.prd;
        let not_approved = |message: String| CliError::new(Verdict::NotApproved, message);
        let line = prd::status_line(&self.document).map(|line| format!(":{line}")).unwrap_or_default();
        let name = format!("{}{line}", self.document.name);
        match prd.status {
            Status::Implemented if !force => return Ok(false),
            Status::Approved | Status::Implementing | Status::Implemented => {}
            Status::Draft => {
                return Err(not_approved(format!("{name}: the PRD's status is draft"))
                    .hint("review it, then run `maestro-ci approve --prd …`"));
            }
            Status::Other if prd.status_text.is_empty() => {
                return Err(not_approved(format!("{name}: the PRD has no status"))
                    .hint("review it, then run `maestro-ci approve --prd …`"));
            }
            Status::Other => {
                return Err(not_approved(format!("{name}: the PRD's status is `{}`, not `approved`", prd.status_text))
                    .hint("review it, then run `maestro-ci approve --prd …`"));
            }
        }
        if prd.approval.holds() {
            return Ok(true);
        }
        Err(not_approved(format!("{name}: the PRD is not what was approved; {}", self.what_changed()))
            .hint("review the change, then run `maestro-ci approve --prd …` again"))
    }

    /// Looks in the PRD's history for the version that was approved.
    fn what_changed(&self) -> String {
        let unknown = "the approved version is not in its recent history".to_owned();
        let Some(path) = &self.prd_path else { return unknown };
        let git = self.repo.git();
        let Ok(log) = git.run(&["log", "--format=%H", "-n", "50", self.base.as_str(), "--", path]) else {
            return unknown;
        };
        let approved = &self.document.prd.approval.approved_sha256;
        let versions = log.lines().filter_map(|c| git.file_at(&Commit::new(c), path).ok()?);
        let old = versions.filter_map(|bytes| prd::parse(path, &bytes).ok());
        let found = old.into_iter().find(|d| Some(&d.prd.approval.content_sha256) == approved.as_ref());
        found.map_or(unknown, |old| first_difference(&old.source, &self.document.source))
    }
}

fn first_difference(old: &str, new: &str) -> String {
    let same = old.lines().zip(new.lines()).take_while(|(a, b)| a == b).count();
    let line =
        |text: &str| text.lines().nth(same).unwrap_or("(end of file)").trim().chars().take(100).collect::<String>();
    format!("line {} was \"{}\" and is \"{}\"", same + 1, line(old), line(new))
}

/// SHA-256 in hexadecimal.
pub fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn prd_of(args: &RunArgs) -> Result<&Path, CliError> {
    args.prd
        .as_deref()
        .ok_or_else(|| CliError::usage("which PRD? give its path with --prd").hint("maestro-ci --prd docs/prd.md"))
}

fn refuse_hidden_text(args: &RunArgs, document: &Document) -> Result<(), CliError> {
    if !(args.strict_prd && prd::hidden_text(document)) {
        return Ok(());
    }
    let warnings: Vec<String> =
        document.prd.warnings.iter().map(|w| format!("line {}: {}", w.line, w.message)).collect();
    Err(CliError::new(
        Verdict::InvalidPrd,
        format!("{}: the PRD holds text that a reader does not see\n{}", document.name, warnings.join("\n")),
    )
    .hint("remove it, or run without --strict-prd"))
}

/// The repository that `--repo` names, or the one around the current directory.
pub fn discover(global: &Global) -> Result<Repo, CliError> {
    let (major, minor) =
        git::version().map_err(|e| CliError::setup(e.to_string()).hint("install git 2.38 or later"))?;
    if (major, minor) < git::MIN_VERSION {
        let message = format!("git {major}.{minor} is too old; maestro-ci needs 2.38 or later");
        return Err(CliError::setup(message));
    }
    let dir = global.repo.clone().unwrap_or_else(|| PathBuf::from("."));
    if !dir.is_dir() {
        return Err(CliError::setup(format!("--repo {}: there is no such directory", dir.display())));
    }
    Ok(Repo::discover(&dir)?)
}

fn base_commit(repo: &Repo, args: &RunArgs) -> Result<Commit, CliError> {
    let Some(revision) = &args.base else {
        return repo
            .head()?
            .ok_or_else(|| CliError::setup("the repository has no commit yet").hint("commit something first"));
    };
    let hint = "fetch it first; in a shallow clone, fetch more of the history (fetch-depth: 0)";
    repo.git()
        .commit(revision)?
        .ok_or_else(|| CliError::setup(format!("--base: there is no commit `{revision}`")).hint(hint))
}

/// The configuration of the base commit; locally, an uncommitted one with a note.
fn load_config(repo: &Repo, base: &Commit, args: &RunArgs, notes: &mut Vec<String>) -> Result<Config, CliError> {
    let overrides = overrides(args)?;
    if let Some(path) = &args.config {
        let text =
            std::fs::read_to_string(path).map_err(|e| CliError::usage(format!("--config {}: {e}", path.display())))?;
        return layered(Some(Source { name: &path.display().to_string(), text: &text }), &overrides, notes);
    }
    let committed = repo.git().file_at(base, config::PATH)?.map(|b| String::from_utf8_lossy(&b).into_owned());
    let local = std::fs::read_to_string(repo.top.join(config::PATH)).ok();
    let in_ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false");
    let text = match local {
        Some(local) if !in_ci && committed.as_ref() != Some(&local) => {
            notes.push(format!("{} is not committed; in CI only the base commit's one counts", config::PATH));
            Some(local)
        }
        _ => committed,
    };
    layered(text.as_deref().map(|text| Source { name: config::PATH, text }), &overrides, notes)
}

/// The layers of the configuration, with a note for each key in them that does nothing yet.
fn layered(file: Option<Source<'_>>, overrides: &[Override], notes: &mut Vec<String>) -> Result<Config, CliError> {
    let config = config::load(file, overrides)?;
    notes.extend(config::later(file, overrides, &config));
    Ok(config)
}

/// Everything that sets keys of the configuration: the agent last, since no setting of the run may take its place.
fn overrides(args: &RunArgs) -> Result<Vec<Override>, CliError> {
    let mut list = settings_given(args)?;
    list.extend(args.agent.as_ref().map(|agent| Override::text("--agent", "agent.default", agent)));
    Ok(list)
}

/// Settings that a resume takes over, then flags and settings of this run.
pub fn settings_given(args: &RunArgs) -> Result<Vec<Override>, CliError> {
    let mut list = args.set_before.iter().map(|set| config::parse_set(set)).collect::<Result<Vec<_>, _>>()?;
    let mut add =
        |origin: &str, key: &str, value: Option<Result<String, config::ConfigError>>| -> Result<(), CliError> {
            if let Some(value) = value {
                let value = value.map_err(|e| CliError::usage(format!("{origin}: {e}")))?;
                list.push(Override { origin: origin.to_owned(), key: key.to_owned(), value });
            }
            Ok(())
        };
    let number = |parse: fn(&str) -> Result<u64, config::ConfigError>, text: &Option<String>| {
        text.as_deref().map(|t| parse(t).map(|n| n.to_string()))
    };
    add("--jobs", "orchestrator.jobs", args.jobs.clone().map(Ok))?;
    add("--max-duration", "resource_limits.max_duration_seconds", number(units::duration_secs, &args.max_duration))?;
    add("--max-tokens", "resource_limits.max_tokens", number(units::count, &args.max_tokens))?;
    add("--max-api-calls", "resource_limits.max_api_calls", number(units::count, &args.max_api_calls))?;
    add(
        "--max-cost",
        "resource_limits.max_cost_usd",
        args.max_cost.as_deref().map(|t| units::usd(t).map(|n| format!("{n:?}"))),
    )?;
    add("--max-memory", "resource_limits.task.max_memory_bytes", number(units::bytes, &args.max_memory))?;
    let comment = args.forge.comment.map(|comment| Ok(serde_json::json!(comment).to_string().replace('"', "")));
    add("--comment", "forge.comment", comment)?;
    add("--checks", "forge.checks", args.forge.checks.then(|| Ok("true".to_owned())))?;
    add("--open-pr", "forge.open_pr", args.forge.open_pr.then(|| Ok("true".to_owned())))?;
    add("--require-gates", "validation.require_gates", args.require_gates.then(|| Ok("true".to_owned())))?;
    for set in &args.set {
        list.push(config::parse_set(set)?);
    }
    Ok(list)
}

/// A path relative to the top of the checkout, where it lies inside.
fn path_in(top: &Path, path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let top = top.canonicalize().ok()?;
    path.strip_prefix(top).ok()?.to_str().map(str::to_owned)
}

fn note_uncommitted(
    repo: &Repo,
    base: &Commit,
    path: Option<&str>,
    document: &Document,
    notes: &mut Vec<String>,
) -> Result<(), CliError> {
    let Some(path) = path else {
        notes.push("the PRD lies outside of the repository; its status is not written back".to_owned());
        return Ok(());
    };
    match repo.git().file_at(base, path)? {
        None => notes.push(format!("{path} is not part of the base commit; its status is not written back")),
        Some(bytes) if bytes != document.source.as_bytes() && !bytes.ends_with(document.source.as_bytes()) => {
            notes.push(format!("{path} differs from the one in the base commit; the file as it lies here is used"));
        }
        Some(_) => {}
    }
    Ok(())
}

/// Fails where the walls that the configuration wants cannot be built. True where there are to be walls.
pub fn check_isolation(config: &Config, allow_unsandboxed: bool) -> Result<bool, CliError> {
    if allow_unsandboxed {
        return Ok(false);
    }
    let hint = "run in a throw-away container or machine and pass --allow-unsandboxed";
    match (config.sandbox.require, sandbox::level()) {
        (SandboxLevel::L1, Level::L1) => Ok(true),
        (SandboxLevel::L1, Level::L0) => {
            let message = format!("sandbox.require is L1, and this machine cannot build it: {}", sandbox::why_not());
            Err(CliError::setup(message).hint(hint))
        }
        (SandboxLevel::L2, level) => {
            Err(CliError::setup(format!("sandbox.require is L2, and this version builds {level} at most")).hint(hint))
        }
    }
}
