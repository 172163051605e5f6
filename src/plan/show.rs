//! A plan for people and for tools: text, JSON, Mermaid, Graphviz.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::core::{Plan, Prd, Task, TaskId};
use crate::text::count;

// Writing to a String cannot fail, so the results are dropped.

/// A table with groups and dependencies.
pub fn text(prd: &Prd, plan: &Plan) -> String {
    let groups = groups(plan);
    let mut out = String::new();
    let critical = plan.critical_path().unwrap_or(0);
    let group_count = groups.values().max().map_or(0, |g| g + 1);
    let _ = writeln!(out, "{}", prd.title);
    let _ = writeln!(
        out,
        "{}, {}, {} in {}, critical path {critical}",
        count(prd.requirements.len() as u64, "requirement"),
        count(plan.epics.len() as u64, "epic"),
        count(plan.tasks.len() as u64, "task"),
        count(u64::from(group_count), "parallel group")
    );
    for epic in &plan.epics {
        let _ = writeln!(out, "\n{} {} ({:?})", epic.id, epic.title, epic.priority);
        for task in plan.tasks.iter().filter(|t| t.epic == epic.id) {
            let _ = writeln!(out, "  {}", line(task, group(&groups, &task.id)));
        }
    }
    for warning in &prd.warnings {
        let _ = writeln!(out, "\nwarning: line {}: {}", warning.line, warning.message);
    }
    out
}

fn line(task: &Task, group: u32) -> String {
    let mut line = format!("{} [P:Group-{}] {:?} {}", task.id, group + 1, task.priority, task.title);
    let ids = |ids: &mut dyn Iterator<Item = &str>| ids.collect::<Vec<_>>().join(", ");
    if !task.requirements.is_empty() {
        let _ = write!(
            line,
            " ({})",
            ids(&mut task.requirements.iter().map(super::super::core::id::RequirementId::as_str))
        );
    }
    if !task.depends_on.is_empty() {
        let _ = write!(line, " after {}", ids(&mut task.depends_on.iter().map(TaskId::as_str)));
    }
    line
}

/// The contract of `plan --format json`: requirements, epics, tasks, and what follows from them.
pub fn json(prd: &Prd, plan: &Plan) -> Value {
    let groups = groups(plan);
    let tasks: Vec<Value> = plan
        .tasks
        .iter()
        .map(|task| {
            let mut value = serde_json::to_value(task).unwrap_or_default();
            value["group"] = json!(group(&groups, &task.id) + 1);
            value
        })
        .collect();
    json!({
        "version": 1,
        "title": prd.title,
        "feature": prd.feature,
        "status": prd.status,
        "requirements": prd.requirements,
        "criteria": prd.criteria,
        "epics": plan.epics,
        "tasks": tasks,
        "critical_path": plan.critical_path().unwrap_or(0),
        "fingerprint": plan.fingerprint,
        "warnings": prd.warnings,
    })
}

/// A Mermaid flowchart.
pub fn mermaid(plan: &Plan) -> String {
    let mut out = String::from("flowchart LR\n");
    for task in &plan.tasks {
        let title: String =
            task.title.chars().filter(|c| c.is_alphanumeric() || " -_.,/".contains(*c)).take(60).collect();
        let _ = writeln!(out, "  {}[\"{} {}\"]", node(&task.id), task.id, title.trim());
    }
    for (from, to) in edges(plan) {
        let _ = writeln!(out, "  {} --> {}", node(from), node(to));
    }
    out
}

/// A Graphviz digraph.
pub fn dot(plan: &Plan) -> String {
    let mut out = String::from("digraph plan {\n  rankdir=LR;\n");
    for task in &plan.tasks {
        let title = task.title.replace(['\\', '"', '\n'], " ");
        let _ = writeln!(out, "  \"{}\" [label=\"{}\\n{}\"];", task.id, task.id, title.trim());
    }
    for (from, to) in edges(plan) {
        let _ = writeln!(out, "  \"{from}\" -> \"{to}\";");
    }
    out.push_str("}\n");
    out
}

fn edges(plan: &Plan) -> impl Iterator<Item = (&TaskId, &TaskId)> {
    plan.tasks.iter().flat_map(|t| t.depends_on.iter().map(move |d| (d, &t.id)))
}

fn node(id: &TaskId) -> String {
    id.as_str().replace('-', "_")
}

fn groups(plan: &Plan) -> BTreeMap<TaskId, u32> {
    plan.groups().unwrap_or_default()
}

fn group(groups: &BTreeMap<TaskId, u32>, id: &TaskId) -> u32 {
    groups.get(id).copied().unwrap_or(0)
}
