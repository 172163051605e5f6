//! `run`: a PRD to its end, or the same with its unfinished session.

use super::context::{Context, check_isolation};
use super::error::CliError;
use super::flags::{Global, RunArgs};
use super::{output, outputs, session, start};
use crate::core::{Strategy, Verdict};
use crate::plan::{self, PromptContext};
use crate::report;
use crate::text;

pub fn run(global: &Global, args: &RunArgs) -> Result<Verdict, CliError> {
    outputs::check(args)?;
    let context = Context::load(global, args)?;
    if !context.check_approval(args.force)? {
        output::log_line(&format!("[Maestro] {} is implemented; nothing to do", context.document.name));
        return Ok(Verdict::Passed);
    }
    context.crew.as_ref().map_err(Clone::clone)?;
    if args.dry_run {
        return dry_run(&context);
    }
    check_isolation(&context.config, args.allow_unsandboxed)?;
    for note in &context.notes {
        tracing::warn!("{}", text::terminal_line(note));
    }
    let store = session::store(&context.repo);
    let branch = context.branch(args);
    if !(args.fresh || args.force)
        && let Some(stored) = start::passed_already(&context, &store, &branch)
    {
        let id = &stored.id;
        start::tidy_up(&context, &stored);
        output::log_line(&format!(
            "[Maestro] Session {id} passed and {branch} stands at its result; nothing to do (--fresh runs it again)"
        ));
        let forge = start::forge_of(&context, args);
        let publisher = forge.publisher(&branch);
        let ended = start::Ended { forge, publisher, records: &stored.records, dir: &stored.dir };
        return start::finish(&context, args, ended, Verdict::Passed);
    }
    let unfinished = if args.fresh { None } else { start::unfinished(&context, &store, &branch) };
    match unfinished {
        Some(stored) => {
            output::log_line(&format!("[Maestro] Going on with session {}", stored.id));
            start::go_on(&context, args, &store, &stored.id)
        }
        None => start::fresh(&context, args, &store, &branch),
    }
}

/// Plan, budget and prompts; nothing runs.
fn dry_run(context: &Context) -> Result<Verdict, CliError> {
    let settings = context.settings();
    let agent = &settings.agent;
    let prd = start::prd_summary(context);
    let exists = |path: &str| context.repo.git().run(&["cat-file", "-e", &format!("{}:{path}", context.base)]).is_ok();
    let conventions = plan::conventions(exists);
    let mut text = plan::text(&context.document.prd, &context.plan);
    text.push_str(&format!(
        "\nagent: {agent}\nbudget: {}\nbudget of a task: {}\ngates:\n",
        report::limits(&settings.budget),
        report::limits(&settings.task_budget)
    ));
    if settings.gates.is_empty() {
        text.push_str("  none: nothing will prove the result\n");
    }
    for gate in &settings.gates {
        text.push_str(&format!("  {}: {}\n", gate.name, gate.run.replace('\n', "; ")));
    }
    for task in &context.plan.tasks {
        let (strategy, failures) = (Strategy::First, &[][..]);
        let prompt =
            PromptContext { prd: &prd, plan: &context.plan, settings: &settings, task, attempt: 1, strategy, failures };
        text.push_str(&format!("\n----- prompt of {} -----\n{}{conventions}", task.id, plan::prompt(&prompt)));
    }
    output::print(&text);
    Ok(Verdict::Passed)
}
