//! `init`: a configuration, a draft of a PRD and a pipeline, filled in from the repository. In: flags, the files at the
//! checkout's root, its branches. Out: files that were not there before, and what to do next. With `approve` the only
//! command that writes into the user's checkout; it never writes over a file unless it is told to.

mod agents;
mod fill;
mod found;
mod starter;

use std::path::{Path, PathBuf};

use super::context::discover;
use super::error::CliError;
use super::flags::Global;
use super::flags_init::InitArgs;
use super::output;
use crate::config;
use crate::core::Verdict;
use crate::journal::{make_dir, write_atomic};

use agents::Kit;
use fill::Pipeline;

/// What the files are filled in with.
#[derive(Debug)]
pub struct Facts {
    /// The PRD, from the top of the checkout.
    pub prd: String,
    /// The branch that approved PRDs land on.
    pub branch: String,
    /// The agent.
    pub agent: &'static Kit,
    /// The action, as workflows name it, where it was given.
    pub action: Option<String>,
}

/// A file to write, from the top of the checkout.
struct Planned {
    path: String,
    content: String,
    /// True where one that is there already is simply kept.
    keep: bool,
    /// True where not even `--force` writes over it.
    users: bool,
}

pub fn init(global: &Global, args: &InitArgs) -> Result<Verdict, CliError> {
    let repo = discover(global)?;
    let facts = Facts {
        prd: found::prd(&repo, args.prd.as_deref())?,
        branch: found::branch(&repo)?,
        agent: agents::choose(args.agent.as_deref())?,
        action: found::action(args.action.as_deref())?,
    };
    let pipeline = args.ci.map(fill::pipeline);
    let files = files(&repo.top, &facts, pipeline.as_ref());
    refuse(&repo.top, &files, args.force)?;
    let mut text = String::new();
    for file in &files {
        text.push_str(&format!("{} {}\n", write(&repo.top, file, args.force)?, file.path));
    }
    text.push_str(&next(&facts, pipeline.as_ref()));
    output::print(&text);
    Ok(Verdict::Passed)
}

fn files(top: &Path, facts: &Facts, pipeline: Option<&Pipeline>) -> Vec<Planned> {
    let config = starter::config(facts.agent, &found::gates(top));
    // Without a pipeline the configuration is all there is to write, and one that is there is no reason to go on.
    let keep = pipeline.is_some();
    let mut files = vec![
        Planned { path: config::PATH.to_owned(), content: config, keep, users: false },
        Planned { path: facts.prd.clone(), content: starter::prd(&facts.prd), keep: true, users: true },
    ];
    if let Some(pipeline) = pipeline {
        let content = fill::filled(pipeline.text, facts);
        files.push(Planned { path: pipeline.path.to_owned(), content, keep: false, users: false });
        files.extend(pipeline.root.map(|(path, content)| Planned {
            path: path.to_owned(),
            content: content.to_owned(),
            keep: true,
            users: true,
        }));
    }
    files
}

/// Nothing is written where one of the files stands in the way.
fn refuse(top: &Path, files: &[Planned], force: bool) -> Result<(), CliError> {
    let in_the_way = |file: &&Planned| !file.keep && !force && exists(&top.join(&file.path));
    if let Some(file) = files.iter().find(in_the_way) {
        return Err(CliError::usage(format!("{} exists already; nothing was written", file.path))
            .hint("--force writes over it; `git diff` then shows what changed"));
    }
    let leads_out = |file: &&Planned| !is_kept(top, file, force) && !is_inside(top, &file.path);
    let Some(file) = files.iter().find(leads_out) else { return Ok(()) };
    Err(CliError::usage(format!("{} leads out of the repository by a link; nothing was written", file.path))
        .hint("put a directory in the place of the link"))
}

/// True where a file's directory, as far as it is there, lies in the checkout.
fn is_inside(top: &Path, file: &str) -> bool {
    let path = top.join(file);
    let deepest = path.ancestors().skip(1).find(|dir| exists(dir)).map(Path::canonicalize);
    matches!((deepest, top.canonicalize()), (Some(Ok(dir)), Ok(top)) if dir.starts_with(&top))
}

fn is_kept(top: &Path, file: &Planned, force: bool) -> bool {
    exists(&top.join(&file.path)) && (file.users || (file.keep && !force))
}

/// Also a link that leads nowhere is there.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Writes a file, or keeps the one that is there; says which.
fn write(top: &Path, file: &Planned, force: bool) -> Result<&'static str, CliError> {
    let path: PathBuf = top.join(&file.path);
    if is_kept(top, file, force) {
        return Ok("kept ");
    }
    make_dir(path.parent().unwrap_or(top))?;
    write_atomic(&path, file.content.as_bytes())?;
    Ok("wrote")
}

fn next(facts: &Facts, pipeline: Option<&Pipeline>) -> String {
    let mut steps = vec![
        format!("write the PRD ({}), have it reviewed, and approve it: maestro-ci approve --prd {0}", facts.prd),
        "commit the files".to_owned(),
        format!("see whether everything is in place: maestro-ci check --prd {}", facts.prd),
    ];
    match pipeline {
        Some(pipeline) => {
            if pipeline.uses_action && facts.action.is_none() {
                steps.push(format!(
                    "put your copy of the action in the place of {} (or: init --action OWNER/REPOSITORY@COMMIT)",
                    fill::NO_ACTION
                ));
            }
            steps.extend(pipeline.next.iter().map(|step| fill::filled(step, facts)));
        }
        None => steps.push("a pipeline for CI: maestro-ci init --ci github (or gitlab, jenkins, …)".to_owned()),
    }
    let numbered = steps.iter().enumerate().map(|(i, step)| format!("  {}. {step}\n", i + 1));
    format!("Next:\n{}", numbered.collect::<String>())
}
