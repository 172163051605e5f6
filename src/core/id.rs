//! Names of things: small string newtypes, so that a task id is never taken for a requirement id.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps the text as it stands.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }
    };
}

string_id!(
    /// A task of the plan: `T-001`.
    TaskId
);
string_id!(
    /// A requirement of the PRD: `FR-1`, `US-2`, or `R-1` where the PRD gives none.
    RequirementId
);
string_id!(
    /// One run of one PRD; a UUID v7, so that ids sort by time.
    SessionId
);
string_id!(
    /// A validation gate, by its name in the configuration.
    GateName
);
string_id!(
    /// A git commit, in full hexadecimal.
    Commit
);

impl Commit {
    /// The first twelve digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}
