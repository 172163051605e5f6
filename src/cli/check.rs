//! `check`: everything a run would look at, and nothing that it would do.

use std::fmt::Write;

use super::context::{Context, check_isolation};
use super::error::CliError;
use super::flags::{Global, RunArgs};
use super::{output, start};
use crate::core::Verdict;
use crate::sandbox;
use crate::text::count;

pub fn check(global: &Global, args: &RunArgs) -> Result<Verdict, CliError> {
    start::check_report_paths(args)?;
    let context = Context::load(global, args)?;
    output::print(&describe(&context));
    context.check_approval(args.force)?;
    context.agent.clone()?;
    check_isolation(&context.config, args.allow_unsandboxed)?;
    Ok(Verdict::Passed)
}

// Writing to a String cannot fail, so the results are dropped.
fn describe(context: &Context) -> String {
    let prd = &context.document.prd;
    let mut text = String::new();
    let criteria = prd.criteria.len() + prd.requirements.iter().map(|r| r.criteria.len()).sum::<usize>();
    let status = if prd.status_text.is_empty() { "none" } else { prd.status_text.as_str() };
    let _ = writeln!(text, "PRD         {} ({})", prd.title, context.document.name);
    let _ = writeln!(text, "status      {status}{}", binding(context));
    let _ = writeln!(
        text,
        "contents    {}, {criteria} criteria, {}",
        count(prd.requirements.len() as u64, "requirement"),
        count(context.plan.tasks.len() as u64, "task")
    );
    for requirement in &prd.requirements {
        let _ = writeln!(
            text,
            "            {} {:?} {} ({} criteria)",
            requirement.id,
            requirement.priority,
            requirement.text,
            requirement.criteria.len()
        );
    }
    let _ = writeln!(text, "repository  {} at {}", context.repo.top.display(), context.base.short());
    let agent = context.agent.as_ref().map_or_else(|e| format!("none ({})", e.message), |(name, _)| name.clone());
    let _ = writeln!(text, "agent       {agent}");
    let _ = writeln!(text, "isolation   {}", sandbox::ISOLATION);
    for gate in &context.gates {
        let detected = if gate.detected { " (detected)" } else { "" };
        let _ = writeln!(text, "gate        {}: {}{detected}", gate.name, gate.run.replace('\n', "; "));
    }
    if context.gates.is_empty() {
        let _ = writeln!(text, "gate        none: nothing will prove the result");
    }
    for warning in &prd.warnings {
        let _ = writeln!(text, "warning     line {}: {}", warning.line, warning.message);
    }
    for note in &context.notes {
        let _ = writeln!(text, "note        {note}");
    }
    text
}

fn binding(context: &Context) -> &'static str {
    let approval = &context.document.prd.approval;
    match (&approval.approved_sha256, approval.holds()) {
        (None, _) => " (not bound to a hash)",
        (Some(_), true) => " (bound to this content)",
        (Some(_), false) => " (bound to other content)",
    }
}
