//! `plan`: the plan, for people and for tools.

use super::context::Context;
use super::error::CliError;
use super::flags::{Global, PlanArgs, PlanFormat};
use super::output;
use crate::core::Verdict;
use crate::plan;

pub fn plan(global: &Global, args: &PlanArgs) -> Result<Verdict, CliError> {
    let context = Context::load(global, &args.run)?;
    let prd = &context.document.prd;
    output::print(&match args.format {
        PlanFormat::Text => plan::text(prd, &context.plan),
        PlanFormat::Json => serde_json::to_string_pretty(&plan::json(prd, &context.plan)).unwrap_or_default(),
        PlanFormat::Mermaid => plan::mermaid(&context.plan),
        PlanFormat::Dot => plan::dot(&context.plan),
    });
    Ok(Verdict::Passed)
}
