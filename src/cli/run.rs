//! `run`: a PRD to its end, or the same with its unfinished session.

use super::context::{Context, check_isolation};
use super::error::CliError;
use super::flags::{Global, RunArgs};
use super::{delivery, output, outputs, session, start};
use crate::core::{Strategy, Verdict};
use crate::plan::{self, PromptContext};
use crate::report;

pub fn run(global: &Global, args: &RunArgs) -> Result<Verdict, CliError> {
    outputs::check(args)?;
    let context = Context::load(global, args)?;
    if !context.check_approval(args.force)? {
        output::log_line(&format!("[Maestro] {} is implemented; nothing to do", context.document.name));
        return Ok(Verdict::Passed);
    }
    context.crew.as_ref().map_err(Clone::clone)?;
    delivery::forge_of(&context, args).check()?;
    if args.dry_run {
        return dry_run(&context);
    }
    check_isolation(&context.config, args.allow_unsandboxed)?;
    let store = session::store(&context.repo);
    let branch = context.branch(args);
    if !(args.fresh || args.force)
        && let Some(stored) = start::passed_already(&context, &store, &branch)
    {
        let id = &stored.id;
        start::tidy_up(&context, &stored);
        let is_delivered = stored.state.undelivered.is_empty();
        let what = match (delivery::wanted(&context, args, &stored.state).is_empty(), is_delivered) {
            (false, _) => "what is not delivered yet is delivered",
            (true, true) => "nothing to do (--fresh runs it again)",
            (true, false) => "what is not delivered is not asked for",
        };
        output::log_line(&format!("[Maestro] Session {id} passed and {branch} stands at its result; {what}"));
        return delivery::again(&context, args, &store, id);
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
