//! `resume`: go on with a session, refused where PRD, plan or configuration are no longer what it was made from.

use super::context::{Context, check_isolation, hex_sha256, settings_given};
use super::error::CliError;
use super::flags::{Global, ResumeArgs, RunArgs};
use super::{delivery, output, outputs, remembered, session, start};
use crate::core::{Deliverable, SessionStarted, Verdict};

pub fn resume(global: &Global, args: &ResumeArgs) -> Result<Verdict, CliError> {
    refuse_flags(args)?;
    outputs::check(&args.run)?;
    let (repo, stored) = session::find(global, args.session.as_deref())?;
    let (goes_on, delivers) = (start::can_go_on(&stored.state), !stored.state.undelivered.is_empty());
    let Some(started) = stored.state.started.as_ref().filter(|_| goes_on || delivers) else {
        let end = stored.state.finished.as_ref().map_or("it has no plan", |(_, reason)| reason.as_str());
        let message = format!("session {} cannot go on: {end}", stored.id);
        return Err(CliError::setup(message).hint("start a new session with `maestro-ci --prd …`"));
    };
    refuse_masked(&args.run, started)?;
    let mut run = remembered::as_it_was_started(&args.run, started, &repo.top);
    outputs::make_places(&run);
    // A later run may have asked for it.
    let is_missing = |what| !goes_on && stored.state.undelivered.contains_key(&what);
    run.forge.push |= is_missing(Deliverable::Push);
    run.forge.open_pr |= is_missing(Deliverable::PullRequest);
    let context = Context::load(global, &run)?;
    if context.fingerprint() != started.fingerprint {
        return Err(what_differs(&context, started));
    }
    delivery::forge_of(&context, &run).check()?;
    let store = session::store(&repo);
    if !goes_on {
        return delivery::again(&context, &run, &store, &stored.id);
    }
    context.check_approval(true)?;
    check_isolation(&context.config, run.allow_unsandboxed)?;
    output::log_line(&format!("[Maestro] Going on with session {}", stored.id));
    start::go_on(&context, &run, &store, &stored.id)
}

/// Flags of a run that a resume cannot follow; to ignore one of them could cost money.
fn refuse_flags(args: &ResumeArgs) -> Result<(), CliError> {
    let run = &args.run;
    let (flag, hint) = if run.dry_run {
        ("dry-run", "`maestro-ci run --dry-run …` shows plan and budget, `maestro-ci status` how far the session is")
    } else if run.fresh {
        ("fresh", "`maestro-ci run --fresh …` starts anew")
    } else if run.force {
        ("force", "leave it out: a session that can go on needs no force")
    } else {
        return Ok(());
    };
    let variable = flag.to_ascii_uppercase().replace('-', "_");
    let message = format!("`resume` goes on with a session and takes no --{flag} (MAESTRO_CI_{variable})");
    Err(CliError::usage(message).hint(hint))
}

/// A flag that lost a secret in the journal would do something else now.
fn refuse_masked(run: &RunArgs, started: &SessionStarted) -> Result<(), CliError> {
    let names_agent = run.agent.is_some() || run.agent_cmd.is_some();
    let (has_model, has_config) = (run.model.is_some(), run.config.is_some());
    let flags = [("agent-cmd", names_agent), ("agent", names_agent), ("model", has_model), ("config", has_config)];
    let flags = flags.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| format!("--{name}"));
    let set = settings_given(run)?;
    let given: Vec<String> = flags.chain(set.iter().map(|change| format!("--set {}=…", change.key))).collect();
    let missing: Vec<String> = started.masked_flags().into_iter().filter(|flag| !given.contains(flag)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("session {} was started with a secret in a flag, which is not kept", started.session);
    Err(CliError::setup(message).hint(format!("give this again: {}", missing.join(" "))))
}

fn what_differs(context: &Context, started: &SessionStarted) -> CliError {
    let hint = "put it back as it was, or start a new session with --fresh";
    if hex_sha256(context.document.source.as_bytes()) != started.prd.sha256 {
        let message =
            format!("the PRD {} is not the one that session {} was started with", started.prd.path, started.session);
        return CliError::new(Verdict::NotApproved, message).hint(hint);
    }
    let message = format!("plan, configuration, agent or version are not those of session {}", started.session);
    CliError::setup(message).hint(hint)
}
