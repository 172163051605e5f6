//! What an approved PRD says, after reading: requirements, criteria, explicit tasks, approval.
//! The bytes are read by the `prd` room; these are only the words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::id::{RequirementId, TaskId};

/// Where a PRD stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not approved: nothing runs.
    Draft,
    /// Approved: a run may start.
    Approved,
    /// A run has started; accepted as a resume.
    Implementing,
    /// Nothing left to do.
    Implemented,
    /// Anything else; the run is refused and the word shown.
    Other,
}

/// P0 (critical) to P4 (backlog). Smaller is more urgent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Priority {
    /// Critical.
    P0,
    /// High.
    P1,
    /// Normal; the default.
    #[default]
    P2,
    /// Low.
    P3,
    /// Backlog.
    P4,
}

impl Priority {
    /// Reads `P0`..`P4` and the words real PRDs use (`critical`, `high`, `medium`, `normal`, `low`, `backlog`).
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "p0" | "critical" | "urgent" | "blocker" => Some(Self::P0),
            "p1" | "high" => Some(Self::P1),
            "p2" | "medium" | "normal" => Some(Self::P2),
            "p3" | "low" => Some(Self::P3),
            "p4" | "backlog" | "trivial" => Some(Self::P4),
            _ => None,
        }
    }
}

/// How sure the PRD's author was of a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Stated by the user.
    High,
    /// Inferred.
    Medium,
    /// Guessed; the plan warns.
    Low,
}

/// What binds an approval to the content that was approved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// SHA-256 (hex) that `approve` wrote, if it did.
    pub approved_sha256: Option<String>,
    /// SHA-256 (hex) of the content now, bookkeeping fields left out.
    pub content_sha256: String,
}

impl Approval {
    /// True where the content is still what was approved, or where no hash was written.
    pub fn holds(&self) -> bool {
        self.approved_sha256.as_ref().is_none_or(|sha| *sha == self.content_sha256)
    }
}

/// A PRD, read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Prd {
    /// Its title, without a leading `PRD:`.
    pub title: String,
    /// A short name fit for a branch: `feature_name`, else made from the title.
    pub feature: String,
    /// Its status.
    pub status: Status,
    /// The status as it was written (empty where the PRD has none).
    pub status_text: String,
    /// What binds the approval.
    pub approval: Approval,
    /// `priorities.default`, else `priority`, else P2.
    pub default_priority: Priority,
    /// `git.branch`, kept as it was found.
    pub branch: Option<String>,
    /// `beads.related_epics`, kept as found.
    pub related_epics: Vec<String>,
    /// Requirements, in the order in which they stand.
    pub requirements: Vec<Requirement>,
    /// Criteria that belong to the PRD as a whole.
    pub criteria: Vec<Criterion>,
    /// Tasks of a `## Tasks` section; empty where there is none.
    pub tasks: Vec<TaskSpec>,
    /// Fenced `check` blocks, in order.
    pub checks: Vec<Check>,
    /// Disagreements, dangling references, odd characters: never fatal.
    pub warnings: Vec<Warning>,
}

/// One thing the PRD wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Requirement {
    /// Its id.
    pub id: RequirementId,
    /// What is wanted, one line.
    pub text: String,
    /// Notes and body text that stand with it (Markdown).
    pub notes: String,
    /// Its own priority, else the PRD's default.
    pub priority: Priority,
    /// The author's confidence, where given.
    pub confidence: Option<Confidence>,
    /// Acceptance criteria tied to it.
    pub criteria: Vec<Criterion>,
    /// Heading of the section it was found under (frontmatter: empty).
    pub section: String,
    /// 1-based line where it stands.
    pub line: u32,
}

/// The form a criterion was written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CriterionKind {
    /// Given / When / Then / And, one scenario.
    Scenario,
    /// `- [ ] …`
    Checkbox,
    /// A plain list item.
    Bullet,
}

/// One acceptance criterion. A whole Given/When/Then list is one criterion; its lines are joined by newlines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Criterion {
    /// Its own id (`AC-3`), where it has one.
    pub id: Option<String>,
    /// Its form.
    pub kind: CriterionKind,
    /// Its text.
    pub text: String,
    /// 1-based line where it starts.
    pub line: u32,
}

/// A task that the PRD's author wrote out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskSpec {
    /// Its id.
    pub id: TaskId,
    /// Its title.
    pub title: String,
    /// Requirements it serves.
    pub requirements: Vec<RequirementId>,
    /// Ids after `Depends on:`; tasks or requirements.
    pub depends_on: Vec<String>,
    /// Globs it may change; empty: anything the policy allows.
    pub owns: Vec<String>,
    /// `Role:`, where given.
    pub role: Option<String>,
    /// `Priority:`, where given.
    pub priority: Option<Priority>,
    /// True for `No-op: yes`: ending without a change is success.
    pub no_op: bool,
    /// Free text.
    pub text: String,
    /// The fenced `steps` block, run only by the `steps` agent.
    pub steps: Option<String>,
    /// 1-based line of its heading.
    pub line: u32,
}

/// A fenced `check` block: a command whose exit status is evidence for requirements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// The shell script.
    pub script: String,
    /// Requirements it speaks for.
    pub requirements: Vec<RequirementId>,
    /// 1-based line of the fence.
    pub line: u32,
}

/// Something a person should know, with its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// 1-based line; 0 for the file as a whole.
    pub line: u32,
    /// What, and what to do.
    pub message: String,
}
