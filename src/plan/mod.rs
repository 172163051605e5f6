//! From a PRD to a plan: tasks, dependencies, epics, a fingerprint; and the ways a plan is shown.
//!
//! In: a `Prd`. Out: a `Plan`, the same byte for byte for the same PRD, or what is wrong and where. It reads no
//! file and starts nothing.

mod depends;
mod generate;
mod prompt;
mod show;

pub use generate::{PlanError, generate};
pub use prompt::{PromptContext, conventions, prompt, role};
pub use show::{dot, json, mermaid, text};
