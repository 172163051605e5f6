//! Decisions: what was chosen, among what, and why. Data only; they are journaled as they are made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::id::TaskId;

/// What a decision is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// In which order tasks run.
    TaskOrdering,
    /// What follows a fault.
    Recovery,
    /// Whether to go on near a limit.
    Budget,
    /// Whether to go back to a checkpoint.
    Rollback,
}

/// One option that was considered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DecisionOption {
    /// What it is.
    pub name: String,
    /// 0 (ruled out) to 1.
    pub score: f64,
    /// Why this score.
    pub note: String,
}

/// A decision. Its time is that of its journal record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// What it is about.
    pub kind: DecisionKind,
    /// The task it concerns, if one.
    pub task: Option<TaskId>,
    /// The situation.
    pub context: String,
    /// What was considered, best first.
    pub options: Vec<DecisionOption>,
    /// The option taken.
    pub choice: String,
    /// Why.
    pub rationale: String,
    /// 0 to 1: 0.6 × the best score + the gap to the second, at most 0.4.
    pub confidence: f64,
    /// What follows from it.
    pub impact: String,
}

impl Decision {
    /// Sorts the options, takes the best and works out the confidence.
    pub fn best_of(kind: DecisionKind, context: impl Into<String>, mut options: Vec<DecisionOption>) -> Self {
        options.sort_by(|a, b| b.score.total_cmp(&a.score));
        let best = options.first().map_or(0.0, |o| o.score);
        let second = options.get(1).map_or(0.0, |o| o.score);
        Self {
            kind,
            task: None,
            context: context.into(),
            choice: options.first().map(|o| o.name.clone()).unwrap_or_default(),
            rationale: options.first().map(|o| o.note.clone()).unwrap_or_default(),
            confidence: 0.6 * best + (best - second).clamp(0.0, 0.4),
            options,
            impact: String::new(),
        }
    }

    /// The same, about a task.
    #[must_use]
    pub fn about(mut self, task: &TaskId) -> Self {
        self.task = Some(task.clone());
        self
    }

    /// The same, with what follows from it.
    #[must_use]
    pub fn with_impact(mut self, impact: impl Into<String>) -> Self {
        self.impact = impact.into();
        self
    }
}

/// An option, in one line.
pub fn option(name: &str, score: f64, note: impl Into<String>) -> DecisionOption {
    DecisionOption { name: name.to_owned(), score, note: note.into() }
}
