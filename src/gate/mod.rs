//! Gates: found by looking at the repository where the configuration names none, run under the warden in a fresh
//! tree, judged by exit status and report together. Green needs both; skipped and inconclusive are never green.
//!
//! In: a gate and a tree. Out: a result. It knows no task, no requirement and no verdict.

mod detect;
mod junit;
mod place;
mod problems;
mod run;

pub use detect::{Listing, detect};
pub use run::{GateRun, run};
