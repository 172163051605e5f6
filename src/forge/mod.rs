//! Everything that speaks to a forge or to the CI that runs us: which CI this is, the runner's own files, and the APIs
//! of GitHub and GitLab.
//!
//! In: finished text and plain data; the environment as a lookup. Out: a comment, a check, a pull request, or a
//! [`Failure`] that says why not. Nothing here knows a report, decides a verdict or ends a run; everything that goes
//! over the network has a deadline, and no request carries our token to another origin than the forge's.

mod access;
mod app;
mod checks;
mod ci;
#[cfg(test)]
mod ci_table;
mod client;
#[cfg(test)]
mod client_tests;
mod comment;
mod connect;
mod gitlab;
mod pulls;
mod remote;
mod retry;
mod runner;
#[cfg(test)]
mod testing;

pub use access::{Access, Connection, Place, Site};
pub use checks::{Annotation, CheckRun};
pub use ci::{Ci, CiKind, ForgeKind};
pub use client::{Lookup, Secret};
pub use comment::{Done, Posted};
pub use pulls::{Opened, Pull};
pub use remote::Remote;
pub use retry::Failure;
pub use runner::*;

impl Failure {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        let Self::Status { code, limited, .. } = self else { return None };
        Some(match code {
            _ if *limited => "the forge limits how much is asked of it; `maestro-ci publish` posts the report later",
            401 => "the token is not valid, or no longer",
            403 => {
                "the token may not write here: the job needs `pull-requests: write` (or `checks`, `contents`), and to \
                 open one the setting \"Allow GitHub Actions to create and approve pull requests\"; for a \
                 fork's pull request, publish from a second job (`maestro-ci publish report.json`)"
            }
            404 => "it is not there, or the token may not see it",
            410 | 422 => "the conversation may be locked, or the forge refuses the text",
            _ => return None,
        })
    }
}
