//! `approve`: status and hash go into the PRD, by a minimal edit. One of the two commands that edit a user's file.

use super::error::CliError;
use super::flags::{ApproveArgs, Global};
use super::output;
use crate::core::Verdict;
use crate::journal::write_atomic;
use crate::plan;
use crate::prd;

pub fn approve(_global: &Global, args: &ApproveArgs) -> Result<Verdict, CliError> {
    let document = prd::load(&args.prd)?;
    // What cannot be planned is not fit to be approved.
    plan::generate(&document.prd).map_err(|e| CliError::plan(&document, e))?;
    let approved = prd::approve(&document)?;
    // Through a link the file it names is edited, and the link stays.
    let path = args.prd.canonicalize()?;
    let original = std::fs::read(&path)?;
    let bom: &[u8] =
        if original.starts_with(b"\xef\xbb\xbf") && !approved.starts_with('\u{feff}') { b"\xef\xbb\xbf" } else { b"" };
    write_atomic(&path, &[bom, approved.as_bytes()].concat())?;
    output::print(&format!("{} is approved", document.name));
    Ok(Verdict::Passed)
}
