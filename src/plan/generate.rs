//! Generating the plan: explicit tasks as they stand, one task for each requirement that none of them serves.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::depends;
use crate::core::{Epic, Plan, Prd, Requirement, RequirementId, Task, TaskId, TaskSpec};

/// Role of a task for which the PRD names none.
const DEFAULT_ROLE: &str = "general-purpose";

/// A PRD that cannot become a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PlanError {
    /// What is wrong.
    pub message: String,
    /// 1-based line in the PRD; 0 for the whole.
    pub line: u32,
    /// What to do.
    pub help: String,
}

fn error(message: String, line: u32, help: &str) -> PlanError {
    PlanError { message, line, help: help.to_owned() }
}

/// Makes the plan of a PRD.
///
/// # Errors
/// No task, an unknown id, a task that depends on itself, a cycle.
pub fn generate(prd: &Prd) -> Result<Plan, PlanError> {
    let drafts = drafts(prd);
    if drafts.is_empty() {
        return Err(error(
            "the PRD has no requirement and no task".to_owned(),
            0,
            "add requirements or a `## Tasks` section",
        ));
    }
    let mut epics = Epics::default();
    let mut tasks = Vec::with_capacity(drafts.len());
    for draft in &drafts {
        let (depends_on, reasons) = dependencies(draft, &drafts)?;
        let epic = epics.of(draft);
        tasks.push(draft.task(epic, depends_on, reasons));
    }
    let mut plan = Plan { epics: epics.list, tasks, fingerprint: String::new() };
    plan.topological().map_err(|cycle| {
        let line = cycle.0.first().and_then(|id| plan.task(id)).map_or(0, |t| t.line);
        error(cycle.to_string(), line, "remove one of these dependencies")
    })?;
    plan.fingerprint = fingerprint(&plan);
    Ok(plan)
}

/// A task to be, with where its dependencies are written.
struct Draft<'a> {
    id: TaskId,
    requirements: Vec<&'a Requirement>,
    spec: Option<&'a TaskSpec>,
    section: String,
}

fn drafts(prd: &Prd) -> Vec<Draft<'_>> {
    let by_id: BTreeMap<&RequirementId, &Requirement> = prd.requirements.iter().map(|r| (&r.id, r)).collect();
    let mut drafts: Vec<Draft<'_>> = prd
        .tasks
        .iter()
        .map(|spec| {
            let requirements: Vec<&Requirement> =
                spec.requirements.iter().filter_map(|id| by_id.get(id).copied()).collect();
            let section = requirements.first().map_or("Tasks".to_owned(), |r| r.section.clone());
            Draft { id: spec.id.clone(), requirements, spec: Some(spec), section }
        })
        .collect();
    let served: BTreeSet<&RequirementId> = prd.tasks.iter().flat_map(|t| &t.requirements).collect();
    let mut taken: BTreeSet<TaskId> = drafts.iter().map(|d| d.id.clone()).collect();
    let mut number = 0;
    for requirement in prd.requirements.iter().filter(|r| !served.contains(&r.id)) {
        let id = loop {
            number += 1;
            let id = TaskId::new(format!("T-{number:03}"));
            if taken.insert(id.clone()) {
                break id;
            }
        };
        drafts.push(Draft { id, requirements: vec![requirement], spec: None, section: requirement.section.clone() });
    }
    drafts
}

impl Draft<'_> {
    fn line(&self) -> u32 {
        self.spec.map(|s| s.line).or(self.requirements.first().map(|r| r.line)).unwrap_or(0)
    }

    fn task(&self, epic: String, depends_on: Vec<TaskId>, reasons: BTreeMap<TaskId, String>) -> Task {
        let priority = self.requirements.iter().map(|r| r.priority).min().unwrap_or_default();
        Task {
            id: self.id.clone(),
            title: self.title(),
            epic,
            description: self.description(),
            requirements: self.requirements.iter().map(|r| r.id.clone()).collect(),
            acceptance: self.requirements.iter().flat_map(|r| &r.criteria).map(|c| c.text.clone()).collect(),
            depends_on,
            reasons,
            role: self.spec.and_then(|s| s.role.clone()).unwrap_or_else(|| DEFAULT_ROLE.to_owned()),
            owns: self.spec.map(|s| s.owns.clone()).unwrap_or_default(),
            priority: self.spec.and_then(|s| s.priority).unwrap_or(priority),
            no_op: self.spec.is_some_and(|s| s.no_op),
            steps: self.spec.and_then(|s| s.steps.clone()),
            line: self.line(),
        }
    }

    fn title(&self) -> String {
        let own = self.spec.map(|s| s.title.clone());
        own.or_else(|| self.requirements.first().map(|r| r.text.clone())).unwrap_or_else(|| self.id.to_string())
    }

    fn description(&self) -> String {
        let mut parts: Vec<&str> = self.spec.map(|s| s.text.trim()).into_iter().collect();
        parts.extend(self.requirements.iter().map(|r| r.notes.trim()));
        parts.retain(|p| !p.is_empty());
        parts.join("\n\n")
    }

    /// Ids this draft waits for, each with the words that say so.
    fn named_dependencies(&self) -> Vec<(String, String)> {
        let explicit = self
            .spec
            .into_iter()
            .flat_map(|s| &s.depends_on)
            .map(|id| (id.clone(), "the PRD's task says so".to_owned()));
        let spoken = self.requirements.iter().flat_map(|r| {
            let ids = depends::named_in(&format!("{}\n{}", r.text, r.notes));
            ids.into_iter().map(move |id| (id, format!("{} says so", r.id)))
        });
        explicit.chain(spoken).collect()
    }
}

/// Resolves what a draft waits for: task ids, and requirement ids to the tasks that serve them.
fn dependencies(draft: &Draft<'_>, all: &[Draft<'_>]) -> Result<(Vec<TaskId>, BTreeMap<TaskId, String>), PlanError> {
    let mut depends_on = Vec::new();
    let mut reasons = BTreeMap::new();
    for (name, reason) in draft.named_dependencies() {
        let targets = resolve(&name, all);
        if targets.is_empty() {
            let message = format!("{} depends on {name}, which does not exist", draft.id);
            return Err(error(message, draft.line(), "name a task or requirement of this PRD"));
        }
        // A task that serves a requirement and the one before it does not wait for itself by way of that.
        let own = targets.contains(&draft.id);
        if own && (targets.len() == 1 && names_itself(draft, &name)) {
            let message = format!("{} depends on itself ({name})", draft.id);
            return Err(error(message, draft.line(), "remove the dependency"));
        }
        for target in targets.into_iter().filter(|t| *t != draft.id) {
            if !depends_on.contains(&target) {
                reasons.insert(target.clone(), reason.clone());
                depends_on.push(target);
            }
        }
    }
    Ok((depends_on, reasons))
}

fn resolve(name: &str, all: &[Draft<'_>]) -> Vec<TaskId> {
    let by_task = all.iter().find(|d| depends::same_id(d.id.as_str(), name));
    if let Some(draft) = by_task {
        return vec![draft.id.clone()];
    }
    let serves = |d: &&Draft<'_>| d.requirements.iter().any(|r| depends::same_id(r.id.as_str(), name));
    all.iter().filter(serves).map(|d| d.id.clone()).collect()
}

/// True where the dependency can only mean the task itself: its own id, or its only requirement.
fn names_itself(draft: &Draft<'_>, name: &str) -> bool {
    let by_id = depends::same_id(draft.id.as_str(), name);
    let only = draft.requirements.len() == 1;
    by_id || only
}

/// Epics in the order in which their sections come up.
#[derive(Default)]
struct Epics {
    list: Vec<Epic>,
}

impl Epics {
    fn of(&mut self, draft: &Draft<'_>) -> String {
        let title = if draft.section.is_empty() { "Requirements" } else { draft.section.as_str() };
        let priority = draft.requirements.iter().map(|r| r.priority).min().unwrap_or_default();
        if let Some(epic) = self.list.iter_mut().find(|e| e.title == title) {
            epic.priority = epic.priority.min(priority);
            return epic.id.clone();
        }
        let id = format!("E-{}", self.list.len() + 1);
        self.list.push(Epic { id: id.clone(), title: title.to_owned(), priority });
        id
    }
}

fn fingerprint(plan: &Plan) -> String {
    let bytes = serde_json::to_vec(&(&plan.epics, &plan.tasks)).unwrap_or_default();
    Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Approval, Priority, Status};

    fn requirement(id: &str, notes: &str) -> Requirement {
        Requirement {
            id: id.into(),
            text: format!("do {id}"),
            notes: notes.to_owned(),
            priority: Priority::P2,
            confidence: None,
            criteria: Vec::new(),
            section: "Functional".to_owned(),
            line: 3,
        }
    }

    fn prd(requirements: &[(&str, &str)]) -> Prd {
        Prd {
            title: "t".to_owned(),
            feature: "t".to_owned(),
            status: Status::Approved,
            status_text: "approved".to_owned(),
            approval: Approval::default(),
            default_priority: Priority::P2,
            branch: None,
            related_epics: Vec::new(),
            requirements: requirements.iter().map(|(id, notes)| requirement(id, notes)).collect(),
            criteria: Vec::new(),
            tasks: Vec::new(),
            checks: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn spec(id: &str, requirements: &[&str], depends_on: &[&str]) -> TaskSpec {
        TaskSpec {
            id: id.into(),
            title: id.to_owned(),
            requirements: requirements.iter().map(|r| RequirementId::new(*r)).collect(),
            depends_on: depends_on.iter().map(|d| (*d).to_owned()).collect(),
            owns: Vec::new(),
            role: None,
            priority: None,
            no_op: false,
            text: String::new(),
            steps: None,
            line: 9,
        }
    }

    fn edges(plan: &Plan) -> Vec<String> {
        plan.tasks.iter().flat_map(|t| t.depends_on.iter().map(move |d| format!("{}<-{d}", t.id))).collect()
    }

    #[test]
    fn each_requirement_becomes_a_task_and_text_becomes_edges() {
        let plan =
            generate(&prd(&[("FR-1", ""), ("FR-2", "depends on FR-1"), ("FR-3", "after FR1 and FR-2")])).unwrap();
        assert_eq!(edges(&plan), ["T-002<-T-001", "T-003<-T-001", "T-003<-T-002"]);
        assert_eq!(plan.critical_path().unwrap(), 3);
        assert_eq!(plan.groups().unwrap().values().copied().collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn requirements_that_no_explicit_task_serves_get_one() {
        let mut prd = prd(&[("FR-1", ""), ("FR-2", "")]);
        prd.tasks = vec![spec("T-001", &["FR-1"], &[]), spec("T-007", &["FR-1"], &["T-001"])];
        let plan = generate(&prd).unwrap();
        let ids: Vec<&str> = plan.tasks.iter().map(|t| t.id.as_str()).collect();
        assert_eq!(ids, ["T-001", "T-007", "T-002"]);
        assert_eq!(edges(&plan), ["T-007<-T-001"]);
    }

    fn check_error(prd: &Prd, part: &str) {
        let error = generate(prd).unwrap_err();
        assert!(error.message.contains(part), "{error:?}");
    }

    #[test]
    fn cycles_unknown_ids_and_self_dependencies_are_errors_that_name_them() {
        check_error(
            &prd(&[("FR-1", "needs FR-2"), ("FR-2", "needs FR-3"), ("FR-3", "needs FR-1")]),
            "T-001 → T-002 → T-003 → T-001",
        );
        check_error(&prd(&[("FR-1", "requires FR-9")]), "FR-9, which does not exist");
        check_error(&prd(&[("FR-1", "depends on FR-1")]), "T-001 depends on itself");
        check_error(&prd(&[]), "no requirement and no task");
    }

    #[test]
    fn the_same_prd_gives_the_same_fingerprint_and_another_one_another() {
        let one = generate(&prd(&[("FR-1", "")])).unwrap();
        assert_eq!(one.fingerprint, generate(&prd(&[("FR-1", "")])).unwrap().fingerprint);
        assert_ne!(one.fingerprint, generate(&prd(&[("FR-1", "x")])).unwrap().fingerprint);
    }
}
