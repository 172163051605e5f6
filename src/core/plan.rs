//! The plan: epics and tasks with dependencies, and the graph questions asked of it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::id::{RequirementId, TaskId};
use super::prd::Priority;

/// Epics and tasks made from a PRD. Same PRD, same plan, byte for byte.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Groups of tasks, in the PRD's order.
    pub epics: Vec<Epic>,
    /// Tasks, in the PRD's order.
    pub tasks: Vec<Task>,
    /// SHA-256 (hex) over epics and tasks; a resume with another one is refused.
    pub fingerprint: String,
}

/// A group of tasks that makes sense by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Epic {
    /// `E-1`, `E-2`, …
    pub id: String,
    /// Title, from the PRD's section.
    pub title: String,
    /// The highest priority of its tasks' requirements.
    pub priority: Priority,
}

/// A unit of work given to one agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// `T-001`, or the id the PRD gave.
    pub id: TaskId,
    /// One line.
    pub title: String,
    /// Its epic's id.
    pub epic: String,
    /// What to do, in Markdown.
    pub description: String,
    /// Requirements it serves.
    pub requirements: Vec<RequirementId>,
    /// Acceptance criteria, as text.
    pub acceptance: Vec<String>,
    /// Tasks that must be integrated first.
    pub depends_on: Vec<TaskId>,
    /// Why each dependency exists.
    pub reasons: BTreeMap<TaskId, String>,
    /// The role that does it.
    pub role: String,
    /// Globs it may change; empty: anything the policy allows.
    pub owns: Vec<String>,
    /// Urgency.
    pub priority: Priority,
    /// True where ending without a change is success.
    pub no_op: bool,
    /// Script for the `steps` agent.
    pub steps: Option<String>,
    /// 1-based line in the PRD.
    pub line: u32,
}

impl Task {
    /// A task with an id, which is its title, too, and nothing else.
    pub fn bare(id: &str) -> Self {
        Self {
            id: id.into(),
            title: id.to_owned(),
            epic: "E-1".to_owned(),
            description: String::new(),
            requirements: Vec::new(),
            acceptance: Vec::new(),
            depends_on: Vec::new(),
            reasons: BTreeMap::new(),
            role: "general-purpose".to_owned(),
            owns: Vec::new(),
            priority: Priority::P2,
            no_op: false,
            steps: None,
            line: 1,
        }
    }
}

/// Tasks that wait for each other, in order; the last one waits for the first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("dependency cycle: {}", join_cycle(.0))]
pub struct Cycle(pub Vec<TaskId>);

fn join_cycle(ids: &[TaskId]) -> String {
    let mut names: Vec<&str> = ids.iter().map(TaskId::as_str).collect();
    names.extend(ids.first().map(TaskId::as_str));
    names.join(" → ")
}

impl Plan {
    /// The task with this id.
    pub fn task(&self, id: &TaskId) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id == *id)
    }

    /// For each task its group: 0 for tasks without dependencies, else one more than the latest dependency.
    /// Shown as `[P:Group-n]`; the scheduler does not wait for groups.
    ///
    /// # Errors
    /// A cycle, named.
    pub fn groups(&self) -> Result<BTreeMap<TaskId, u32>, Cycle> {
        let by_id = self.by_id();
        let mut groups = BTreeMap::new();
        for id in self.topological()? {
            let needs = by_id.get(&id).map_or(&[][..], |task| &task.depends_on);
            let group = needs.iter().filter_map(|d| groups.get(d)).max().map_or(0, |g: &u32| g + 1);
            groups.insert(id, group);
        }
        Ok(groups)
    }

    /// For each task the number of tasks on the longest chain that starts with it: the scheduler's rank.
    ///
    /// # Errors
    /// A cycle, named.
    pub fn ranks(&self) -> Result<BTreeMap<TaskId, u32>, Cycle> {
        let order = self.topological()?;
        let by_id = self.by_id();
        let mut ranks: BTreeMap<TaskId, u32> = order.iter().map(|id| (id.clone(), 1)).collect();
        for id in order.iter().rev() {
            let rank = ranks.get(id).copied().unwrap_or(1);
            for dependency in by_id.get(id).map_or(&[][..], |task| &task.depends_on) {
                let entry = ranks.entry(dependency.clone()).or_insert(1);
                *entry = (*entry).max(rank + 1);
            }
        }
        Ok(ranks)
    }

    /// Length, in tasks, of the longest chain.
    ///
    /// # Errors
    /// A cycle, named.
    pub fn critical_path(&self) -> Result<u32, Cycle> {
        Ok(self.ranks()?.into_values().max().unwrap_or(0))
    }

    /// Tasks in an order in which each comes after what it needs; ties by the plan's order.
    ///
    /// # Errors
    /// A cycle, named.
    pub fn topological(&self) -> Result<Vec<TaskId>, Cycle> {
        let index: BTreeMap<&TaskId, usize> = self.tasks.iter().enumerate().map(|(i, t)| (&t.id, i)).collect();
        let mut unmet = vec![0_usize; self.tasks.len()];
        let mut dependants = vec![Vec::new(); self.tasks.len()];
        for (i, task) in self.tasks.iter().enumerate() {
            for dependency in task.depends_on.iter().filter_map(|d| index.get(d)) {
                unmet[i] += 1;
                dependants[*dependency].push(i);
            }
        }
        let mut ready: std::collections::BTreeSet<usize> =
            unmet.iter().enumerate().filter(|(_, n)| **n == 0).map(|(i, _)| i).collect();
        let mut order = Vec::with_capacity(self.tasks.len());
        while let Some(i) = ready.pop_first() {
            order.push(self.tasks[i].id.clone());
            for &dependant in &dependants[i] {
                unmet[dependant] -= 1;
                if unmet[dependant] == 0 {
                    ready.insert(dependant);
                }
            }
        }
        if order.len() == self.tasks.len() { Ok(order) } else { Err(self.find_cycle(&index, &unmet)) }
    }

    /// Walks unmet dependencies until a task comes up again.
    fn find_cycle(&self, index: &BTreeMap<&TaskId, usize>, unmet: &[usize]) -> Cycle {
        let mut at = unmet.iter().position(|n| *n > 0).unwrap_or(0);
        let mut path: Vec<usize> = Vec::new();
        while !path.contains(&at) {
            path.push(at);
            let next = self.tasks[at].depends_on.iter().filter_map(|d| index.get(d)).find(|i| unmet[**i] > 0);
            at = next.copied().unwrap_or(at);
        }
        let start = path.iter().position(|i| *i == at).unwrap_or(0);
        Cycle(path[start..].iter().map(|i| self.tasks[*i].id.clone()).collect())
    }

    fn by_id(&self) -> BTreeMap<&TaskId, &Task> {
        self.tasks.iter().map(|task| (&task.id, task)).collect()
    }
}
