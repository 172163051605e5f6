//! What a resume takes over of the session's latest run. In: flags, or what the journal keeps of them. Out: what the
//! journal is to keep, or the flags of a resume.

use std::path::{Path, PathBuf};

use super::context::settings_given;
use super::error::CliError;
use super::flags::RunArgs;
use crate::core::{Deliverable, Given, SessionStarted};

/// A flag's place.
enum Slot<'a> {
    Text(&'a mut Option<String>),
    File(&'a mut Option<PathBuf>),
    Switch(&'a mut bool),
}

/// The flags that are no settings, by their names: those that are kept, and so those that are taken over.
fn slots(run: &mut RunArgs) -> [(&'static str, Slot<'_>); 10] {
    [
        ("agent", Slot::Text(&mut run.agent)),
        ("model", Slot::Text(&mut run.model)),
        ("config", Slot::File(&mut run.config)),
        ("push", Slot::Switch(&mut run.forge.push)),
        ("json", Slot::File(&mut run.json)),
        ("junit", Slot::File(&mut run.junit)),
        ("markdown", Slot::File(&mut run.markdown)),
        ("html", Slot::File(&mut run.html)),
        ("sarif", Slot::File(&mut run.sarif)),
        ("dotenv", Slot::File(&mut run.dotenv)),
    ]
}

impl Slot<'_> {
    fn value(self) -> Option<String> {
        match self {
            Self::Text(text) => text.clone(),
            Self::File(path) => {
                let path = path.as_ref()?;
                Some(std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string())
            }
            Self::Switch(is_on) => is_on.then(|| "true".to_owned()),
        }
    }

    /// Takes a kept value where the flag is not given.
    fn fill(self, kept: &str) {
        match self {
            Self::Text(text) => *text = text.take().or_else(|| Some(kept.to_owned())),
            Self::File(path) => *path = path.take().or_else(|| Some(PathBuf::from(kept))),
            Self::Switch(is_on) => *is_on = true,
        }
    }
}

/// What the next resume takes over: who works, what goes where, and all settings in their order, those of earlier runs
/// among them.
pub fn given(args: &RunArgs, wanted: Vec<Deliverable>) -> Result<Given, CliError> {
    let mut kept = args.clone();
    let flags = slots(&mut kept).into_iter().filter_map(|(name, slot)| Some((name.to_owned(), slot.value()?)));
    Ok(Given {
        agent_command: args.agent_cmd.clone(),
        flags: flags.collect(),
        set: settings_given(args)?.iter().map(|change| format!("{}={}", change.key, change.value)).collect(),
        wanted,
    })
}

/// The flags of a resume, with what the session's latest run was told. `top` is the checkout.
pub fn as_it_was_started(run: &RunArgs, started: &SessionStarted, top: &Path) -> RunArgs {
    let mut run = run.clone();
    run.prd = run.prd.or_else(|| Some(top.join(&started.prd.path)));
    run.base = run.base.or_else(|| Some(started.base.to_string()));
    run.branch = run.branch.or_else(|| Some(started.branch.clone()));
    let names_agent = run.agent.is_some() || run.agent_cmd.is_some();
    if !names_agent {
        run.agent_cmd.clone_from(&started.agent_command);
    }
    let is_command = run.agent_cmd.is_some();
    for (name, slot) in slots(&mut run) {
        // A command has no model.
        let is_settled = (name == "agent" && names_agent) || (name == "model" && is_command);
        if let Some(kept) = started.flags.get(name).filter(|_| !is_settled) {
            slot.fill(kept);
        }
    }
    // Later settings win, so those of the resume go last, its flags among them.
    run.set_before.clone_from(&started.set);
    run
}
