//! `check`: everything a run would look at, and nothing that it would do.

use std::fmt::Write;

use super::context::{Context, check_isolation};
use super::error::CliError;
use super::flags::{Global, RunArgs};
use super::prices::price_in_words;
use super::{output, outputs, prove};
use crate::agent::Probe;
use crate::core::{AgentInfo, Verdict};
use crate::sandbox;
use crate::text::count;

pub fn check(global: &Global, args: &RunArgs) -> Result<Verdict, CliError> {
    outputs::check(args)?;
    let context = Context::load(global, args)?;
    let walls = check_isolation(&context.config, args.allow_unsandboxed);
    let staff = context.crew.clone().and_then(|crew| {
        // Where there can be no walls, nothing is started that belongs behind them.
        let walled = *walls.as_ref().unwrap_or(&true);
        let probes = crew.probe(&context.config, &context.env, walled)?;
        Ok((crew, probes))
    });
    output::print(&describe(&context, args, staff.as_ref().map(|(_, probes)| probes.as_slice())));
    context.check_approval(args.force)?;
    let (crew, _) = staff?;
    let walled = walls?;
    for agent in crew.agents.values().filter(|agent| agent.has_stream()) {
        output::print(&prove::one_tool_call(agent, &context.config, &context.env, walled)?);
    }
    Ok(Verdict::Passed)
}

// Writing to a String cannot fail, so the results are dropped.
fn describe(context: &Context, args: &RunArgs, probes: Result<&[(AgentInfo, Probe)], &CliError>) -> String {
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
    text.push_str(&agents(context, probes));
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

/// The agents of the run in one block: who works on what; then each with its program, its version, and where its model
/// calls go.
fn agents(context: &Context, probes: Result<&[(AgentInfo, Probe)], &CliError>) -> String {
    let crew = match &context.crew {
        Ok(crew) => crew,
        Err(error) => return format!("agent       none ({})\n", error.message),
    };
    let chosen = &context.config.agent;
    let mut text = format!("agent       {}\n", crew.default);
    if !chosen.fallback.is_empty() {
        let _ = writeln!(text, "            fallback: {}", chosen.fallback.join(", "));
    }
    for (role, agent) in &chosen.roles {
        let _ = writeln!(text, "            role {role}: {agent}");
    }
    match probes {
        Ok(probes) => {
            let settings = context.settings();
            for (info, probe) in probes {
                text.push_str(&agent(info, probe));
                let agent = crew.agents.get(&info.name);
                if let Some(price) = agent.and_then(|agent| price_in_words(agent, &context.config, &settings)) {
                    let _ = writeln!(text, "            {} price: {price}", info.name);
                }
            }
        }
        Err(error) => {
            let _ = writeln!(text, "            cannot work: {}", error.message);
        }
    }
    text
}

fn agent(info: &AgentInfo, probe: &Probe) -> String {
    let version = match (&info.version, info.tested) {
        (Some(version), true) => format!("{version} (tested with maestro-ci)"),
        (Some(version), false) => format!("{version} (not tested with this version of maestro-ci)"),
        (None, _) => "version not known".to_owned(),
    };
    let program = probe.program.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
    let mut text = format!("            {} ({}): {program}, {version}\n", info.name, info.protocol);
    if info.repo_settings {
        let _ = writeln!(text, "            {} loads the settings, hooks and servers of the repository", info.name);
    }
    for api in &info.apis {
        let key = api.key.as_ref().map_or_else(|| "without a key".to_owned(), |key| format!("with {key}"));
        let _ = writeln!(text, "            {} → gateway → {} at {}, {key}", info.name, api.provider, api.address);
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
