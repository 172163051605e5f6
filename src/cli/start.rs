//! Starting a session, or going on with one: lock, journal, world, driver; then the reports that were asked for.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::context::{Context, check_isolation, hex_sha256};
use super::delivery::{self, Delivery};
use super::error::CliError;
use super::flags::RunArgs;
use super::publisher::Publisher;
use super::remembered::given;
use super::session::{self, Stored};
use super::signals::Signals;
use super::{ci, history, output, outputs};
use crate::core::{
    AgentInfo, Commit, Given, JOURNAL_VERSION, PrdSummary, PriceList, RequirementSummary, SessionId, SessionStarted,
    State, Verdict,
};
use crate::driver::{Driven, Driver, Hired, Job, Told, World, WorldOptions};
use crate::gateway;
use crate::journal::{BranchLock, Journal, SessionDir, Store, make_dir};
use crate::report::Console;
use crate::sandbox;
use crate::workspace::Workspaces;

/// An unfinished session of the same PRD, plan and configuration, the latest first.
pub fn unfinished(context: &Context, store: &Store, branch: &str) -> Option<Stored> {
    let fingerprint = context.fingerprint();
    store.list().iter().rev().filter_map(|id| session::read(store, id).ok()).find(|s| {
        let started = s.state.started.as_ref();
        started.is_some_and(|st| st.fingerprint == fingerprint && st.branch == branch) && can_go_on(&s.state)
    })
}

/// The session that did exactly this already, where its result still stands on the branch.
pub fn passed_already(context: &Context, store: &Store, branch: &str) -> Option<Stored> {
    let fingerprint = context.fingerprint();
    let now = context.repo.git().commit(&format!("refs/heads/{branch}")).ok()??;
    store.list().iter().rev().filter_map(|id| session::read(store, id).ok()).find(|s| {
        let same = |st: &SessionStarted| {
            let path = context.prd_path.as_ref().unwrap_or(&context.document.name);
            st.fingerprint == fingerprint && st.branch == branch && st.base == context.base && st.prd.path == *path
        };
        let passed = s.state.finished.as_ref().is_some_and(|(verdict, _)| *verdict == Verdict::Passed);
        passed && s.state.started.as_deref().is_some_and(same) && s.state.branch_at() == Some(&now)
    })
}

/// True where a journal holds a plan and no end that is final.
pub fn can_go_on(state: &State) -> bool {
    state.plan.is_some() && state.finished.as_ref().is_none_or(|(verdict, _)| verdict.is_resumable())
}

/// Starts a new session and drives it to its end.
pub fn fresh(context: &Context, args: &RunArgs, store: &Store, branch: &str) -> Result<Verdict, CliError> {
    let crew = staffed(context, args)?;
    let id = SessionId::new(uuid::Uuid::now_v7().to_string());
    let lock_path = store.lock_path(branch)?;
    let _lock = BranchLock::take(&lock_path, &holder(&id))?;
    let branch_was = branch_is_free(context, branch)?;
    let root = work_dir(args, context, &id)?;
    let Given { agent_command, flags, set, wanted } = given(args, delivery::forge_of(context, args).wanted())?;
    let started = SessionStarted {
        version: JOURNAL_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        session: id.clone(),
        prd: prd_summary(context),
        base: context.base.clone(),
        base_branch: context.repo.current_branch()?,
        branch: branch.to_owned(),
        branch_was,
        work_dir: root.display().to_string(),
        fingerprint: context.fingerprint(),
        isolation: sandbox::in_force(crew.walled),
        agents: crew.infos.clone(),
        settings: context.settings(),
        prices: Some(price_list()),
        agent_command,
        flags,
        set,
        wanted,
        notes: context.notes.clone(),
    };
    let dir = store.create(&id)?;
    let journal = Journal::create(&dir.journal())?;
    let job = Job::Start(Box::new(started), Box::new(context.plan.clone()));
    drive(context, args, Prepared { id, dir, journal, crew, root, base: context.base.clone() }, job)
}

/// Goes on with a session and drives it to its end.
pub fn go_on(context: &Context, args: &RunArgs, store: &Store, id: &SessionId) -> Result<Verdict, CliError> {
    let crew = staffed(context, args)?;
    let branch = context.branch(args);
    let lock_path = store.lock_path(&branch)?;
    let _lock = BranchLock::take(&lock_path, &holder(id))?;
    // Read again under the lock: another process may have finished it in between.
    let dir = store.session(id);
    let (journal, contents) = Journal::open(&dir.journal())?;
    if contents.torn_bytes > 0 {
        tracing::warn!(
            "{} bytes at the journal's end were never completely written and are cut off",
            contents.torn_bytes
        );
    }
    let state = crate::core::replay(&contents.records)?;
    let Some(started) = state.started.as_ref().filter(|_| can_go_on(&state)) else {
        return Err(CliError::setup(format!("session {id} has ended; nothing is left to go on with")));
    };
    if started.branch != branch {
        let message = format!("session {id} works on {}, not on {branch}", started.branch);
        return Err(CliError::usage(message).hint("leave --branch out, or start a new session with --fresh"));
    }
    let (root, base) = (PathBuf::from(&started.work_dir), started.base.clone());
    // Wardens end their trees when their orchestrator dies, which takes a moment.
    sandbox::wait_for_survivors(&root, &format!("MAESTRO_SESSION={id}"));
    let settings = Box::new(context.settings());
    let isolation = sandbox::in_force(crew.walled);
    let (agents, notes) = (crew.infos.clone(), context.notes.clone());
    let given = Box::new(given(args, delivery::forge_of(context, args).wanted())?);
    let job = Job::Resume { records: contents.records, settings, isolation, agents, notes, given };
    drive(context, args, Prepared { id: id.clone(), dir, journal, crew, root, base }, job)
}

/// Removes the workspaces of a session whose process died between its last record and its end.
pub fn tidy_up(context: &Context, stored: &Stored) {
    let Some(started) = &stored.state.started else { return };
    let root = PathBuf::from(&started.work_dir);
    if !root.exists() {
        return;
    }
    let workspaces = Workspaces::new(context.repo.clone(), stored.id.clone(), root, started.base.clone());
    if let Err(error) = workspaces.remove_all() {
        tracing::warn!("workspaces are left behind: {error}");
    }
}

struct Prepared {
    id: SessionId,
    dir: SessionDir,
    journal: Journal,
    crew: Staffed,
    root: PathBuf,
    base: Commit,
}

fn drive(context: &Context, args: &RunArgs, prepared: Prepared, job: Job) -> Result<Verdict, CliError> {
    let Prepared { id, dir, journal, crew, root, base } = prepared;
    let session_dir = dir.clone();
    // Also of a process that dies a job wants to keep what there is.
    ci::put_session(&id, &dir);
    let workspaces = Workspaces::new(context.repo.clone(), id.clone(), root, base);
    let sandbox = &context.config.sandbox;
    let world = World::new(WorldOptions {
        workspaces: workspaces.clone(),
        session: dir.clone(),
        agents: crew.hired,
        gateway: gateway_options(context),
        walled: crew.walled,
        read: context.env.expand(&sandbox.read),
        write: context.env.expand(&sandbox.write),
        never: never(context),
        setup: context.config.workspace.setup.clone(),
        prd_path: context.prd_path.clone(),
        env: context.env.0.clone(),
        env_pass: sandbox.env_pass.clone(),
        redactor: context.redactor.clone(),
    });
    let logging = &context.config.logging;
    let console = Console::new(logging.include_rationale).with_reports(dir.path().display().to_string());
    let forge = delivery::forge_of(context, args);
    let publisher = forge.publisher(&context.branch(args));
    let report = publisher.as_ref().map(Publisher::reporter);
    // From the first turn on the driver hears signals, until it has ended; then nobody would until the delivery.
    let since_start = Rc::new(OnceCell::new());
    let listen = Rc::clone(&since_start);
    let sink = Box::new(move |told: Told<'_>| match (told, &report) {
        (Told::Records(new), Some(report)) => report(new),
        (told, _) => {
            if matches!(told, Told::State(_)) {
                listen.get_or_init(Signals::new);
            }
            output::tell(told);
        }
    });
    let driver = Driver::new(journal, dir, world, console, sink, logging.log_to_file);
    let driver = driver.with_reports(outputs::asked(args));
    let internal =
        |e: CliError| e.hint(format!("session {id}; its journal is kept, and `maestro-ci resume` goes on with it"));
    let outcome = driver.run(job).map_err(|e| internal(e.into()));
    let ended = match outcome {
        Ok(ended) => ended,
        Err(error) => {
            delivery::broke_off(&forge, publisher, context, &session_dir, &error);
            return Err(error);
        }
    };
    let Driven { state, records, written } = ended;
    if let Err(error) = history::keep(&session::store(&context.repo), &id, &records) {
        tracing::warn!("the history of decisions is not kept: {error}");
    }
    if let Err(error) = workspaces.remove_all() {
        tracing::warn!("workspaces are left behind: {error}");
    }
    // The signal that ended the run does not hurry its delivery; one more does.
    let is_interrupted = matches!(state.end(), Some((Verdict::Interrupted | Verdict::Terminated, _)));
    let (anew, earlier) = (OnceCell::new(), since_start.get().filter(|_| !is_interrupted));
    let stop = earlier.unwrap_or_else(|| anew.get_or_init(Signals::new));
    let delivery = Delivery { context, args, dir: &session_dir, state, records };
    Ok(delivery.make(delivery::missing_of(written), &forge, publisher, stop))
}

/// What no child has any business with: the checkout with its credentials and our state, and the runner's own files.
fn never(context: &Context) -> Vec<PathBuf> {
    let runner = ["RUNNER_TEMP", "GITHUB_WORKSPACE"].into_iter().filter_map(|name| context.env.get(name));
    std::iter::once(context.repo.top.clone()).chain(runner.map(PathBuf::from)).collect()
}

fn gateway_options(context: &Context) -> Option<gateway::Options> {
    let gateway = &context.config.gateway;
    let stall = Duration::from_secs(gateway.stall_seconds);
    gateway.enabled.then(|| gateway::Options { stall, ..gateway::Options::default() })
}

/// The agents of a run that are there and may be let in.
struct Staffed {
    hired: BTreeMap<String, Hired>,
    infos: Vec<AgentInfo>,
    walled: bool,
}

fn staffed(context: &Context, args: &RunArgs) -> Result<Staffed, CliError> {
    let crew = context.crew.clone()?;
    let walled = check_isolation(&context.config, args.allow_unsandboxed)?;
    let hired = crew.hire(&context.config, &context.env)?;
    let infos = crew.probe(&context.config, &context.env, walled)?.into_iter().map(|(info, _)| info).collect();
    Ok(Staffed { hired, infos, walled })
}

fn price_list() -> PriceList {
    let (date, source) = gateway::prices_dated();
    PriceList { date: date.to_owned(), source: source.to_owned() }
}

pub fn holder(id: &SessionId) -> String {
    format!("pid {} (session {id})", std::process::id())
}

/// The result branch must not be checked out, and must be ours where it exists. Returns where it stands.
fn branch_is_free(context: &Context, branch: &str) -> Result<Option<Commit>, CliError> {
    let repo = &context.repo;
    let valid = repo.git().output(&["check-ref-format", "--branch", branch], Vec::new())?.code == 0;
    if !valid {
        return Err(CliError::usage(format!("--branch: `{branch}` is not a name for a branch")));
    }
    if repo.checked_out_branches()?.iter().any(|b| b == branch) {
        let message =
            format!("the result branch {branch} is checked out in a worktree, which must not change under it");
        return Err(CliError::setup(message).hint("check out another branch, or name another one with --branch"));
    }
    let Some(at) = repo.git().commit(&format!("refs/heads/{branch}"))? else { return Ok(None) };
    // A trailer alone proves nothing: a person's amend keeps it. Our checkpoints are tagged.
    let tags = repo.git().run(&["tag", "--points-at", at.as_str()])?;
    if at != context.base && !tags.lines().any(|tag| tag.starts_with("maestro/")) {
        let message = format!("the branch {branch} exists and does not stand at a checkpoint of maestro-ci");
        return Err(CliError::setup(message).hint("name another result branch with --branch, or delete that one"));
    }
    Ok(Some(at))
}

/// `--work-dir`, else the configured one, else the user's cache directory; one directory a session.
fn work_dir(args: &RunArgs, context: &Context, id: &SessionId) -> Result<PathBuf, CliError> {
    let configured = Some(context.config.workspace.dir.as_str()).filter(|dir| *dir != "auto").map(PathBuf::from);
    let root = args.work_dir.clone().or(configured).unwrap_or_else(cache_dir);
    // Looked at before it is made: what is refused leaves nothing behind.
    let planned = std::path::absolute(&root)?;
    let existing = planned.ancestors().find_map(|p| p.canonicalize().ok().map(|real| (p, real)));
    let real =
        existing.map_or(planned.clone(), |(p, real)| real.join(planned.strip_prefix(p).unwrap_or(Path::new(""))));
    let top = context.repo.top.canonicalize()?;
    if real.starts_with(&top) || real.components().any(|c| c.as_os_str() == ".git") {
        let message = format!("the work directory {} lies inside of the repository", real.display());
        return Err(CliError::usage(message).hint("name one outside of it with --work-dir"));
    }
    let hint = "name another one with --work-dir";
    make_dir(&real).map_err(|e| CliError::setup(format!("the work directory cannot be made: {e}")).hint(hint))?;
    Ok(real.join(short(id)))
}

/// The last part of an id, which is random: the paths of sockets that agents make begin with it, and have to be short.
pub fn short(id: &SessionId) -> &str {
    id.as_str().rsplit('-').next().unwrap_or_default()
}

fn cache_dir() -> PathBuf {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = var("XDG_CACHE_HOME").or_else(|| var("HOME").map(|home| home.join(".cache")));
    cache.unwrap_or_else(std::env::temp_dir).join("maestro-ci/work")
}

pub fn prd_summary(context: &Context) -> PrdSummary {
    let prd = &context.document.prd;
    let requirements = prd.requirements.iter().map(|r| RequirementSummary {
        id: r.id.clone(),
        text: r.text.clone(),
        priority: r.priority,
        criteria: u32::try_from(r.criteria.len()).unwrap_or(u32::MAX),
        line: r.line,
    });
    PrdSummary {
        path: context.prd_path.clone().unwrap_or_else(|| context.document.name.clone()),
        sha256: hex_sha256(context.document.source.as_bytes()),
        title: prd.title.clone(),
        feature: prd.feature.clone(),
        requirements: requirements.collect(),
        criteria: prd.criteria.iter().map(|c| c.text.clone()).collect(),
        warnings: prd.warnings.clone(),
    }
}
