//! `check`: everything a run would look at, and nothing that it would do.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::context::{Context, check_isolation};
use super::error::CliError;
use super::flags::{Global, RunArgs};
use super::{output, prove, start};
use crate::agent::Probe;
use crate::core::{AgentInfo, Verdict};
use crate::driver::Hired;
use crate::gateway::Upstream;
use crate::sandbox;
use crate::text::count;

pub fn check(global: &Global, args: &RunArgs) -> Result<Verdict, CliError> {
    start::check_report_paths(args)?;
    let context = Context::load(global, args)?;
    output::print(&describe(&context, args));
    context.check_approval(args.force)?;
    let crew = context.crew.clone()?;
    let walled = check_isolation(&context.config, args.allow_unsandboxed)?;
    let hired = crew.hire(&context.config, &context.env)?;
    let probes = crew.probe(&context.env)?;
    output::print(&agents(&hired, &probes));
    for agent in crew.agents.values().filter(|agent| agent.has_stream()) {
        output::print(&prove::one_tool_call(agent, &context.config.sandbox, &context.env, walled)?);
    }
    Ok(Verdict::Passed)
}

/// The agents of the run: version, and where their model calls go.
fn agents(hired: &BTreeMap<String, Hired>, probes: &[(AgentInfo, Probe)]) -> String {
    let mut text = String::new();
    for (info, probe) in probes {
        let version = match (&info.version, info.tested) {
            (Some(version), true) => format!("{version} (tested with maestro-ci)"),
            (Some(version), false) => format!("{version} (not tested with this version of maestro-ci)"),
            (None, _) => "version not known".to_owned(),
        };
        let program = probe.program.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
        let _ = writeln!(text, "            {} ({}): {program}, {version}", info.name, info.protocol);
        let upstreams = hired.get(&info.name).into_iter().flat_map(|h| &h.upstreams);
        for (provider, upstream) in upstreams {
            if let Upstream::Api { base_url, key } = upstream {
                let key = if key.is_some() { "with its key" } else { "without a key" };
                let _ = writeln!(text, "            {} → gateway → {provider} at {base_url}, {key}", info.name);
            }
        }
    }
    text
}

// Writing to a String cannot fail, so the results are dropped.
fn describe(context: &Context, args: &RunArgs) -> String {
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
    let agent = context.crew.as_ref().map_or_else(|e| format!("none ({})", e.message), |crew| crew.default.clone());
    let _ = writeln!(text, "agent       {agent}");
    let _ = writeln!(text, "isolation   {}", isolation(args));
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

fn isolation(args: &RunArgs) -> String {
    if args.allow_unsandboxed { "L0 (no walls: --allow-unsandboxed)".to_owned() } else { sandbox::describe() }
}

fn binding(context: &Context) -> &'static str {
    let approval = &context.document.prd.approval;
    match (&approval.approved_sha256, approval.holds()) {
        (None, _) => " (not bound to a hash)",
        (Some(_), true) => " (bound to this content)",
        (Some(_), false) => " (bound to other content)",
    }
}
