//! Time as the core sees it: handed in, never read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A moment of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct At {
    /// Milliseconds the session has been active, monotonic, carried over resumes. Decisions use only this one.
    pub elapsed_ms: u64,
    /// Milliseconds since the Unix epoch, for people.
    pub wall_ms: i64,
}
