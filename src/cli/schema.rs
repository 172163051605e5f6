//! `schema`: JSON Schemas of what scripts read and write.

use super::error::CliError;
use super::flags::{SchemaArgs, SchemaOf};
use super::output;
use crate::core::{Plan, Prd, Record, Verdict};
use crate::{config, report};

pub fn schema(args: &SchemaArgs) -> Result<Verdict, CliError> {
    let schema = match args.of {
        SchemaOf::Config => config::schema(),
        SchemaOf::Report => report::schema(),
        SchemaOf::Prd => schemars::schema_for!(Prd).to_value(),
        SchemaOf::Plan => schemars::schema_for!(Plan).to_value(),
        SchemaOf::Event => schemars::schema_for!(Record).to_value(),
    };
    output::print(&serde_json::to_string_pretty(&schema).unwrap_or_default());
    Ok(Verdict::Passed)
}
