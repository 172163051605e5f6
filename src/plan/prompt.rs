//! The prompt of an attempt: purpose, task, context, what is expected, what is forbidden, what failed before.
//! Built from the approved PRD's words only.

use std::fmt::Write;

use crate::core::{Plan, PrdSummary, Settings, Strategy, Task};

/// A failure told to the next attempt is cut to this many characters.
const MAX_FAILURE_CHARS: usize = 4000;

/// Criteria of the whole PRD that a prompt names.
const MAX_CRITERIA: usize = 40;

/// What a prompt is made of.
pub struct PromptContext<'a> {
    /// The PRD.
    pub prd: &'a PrdSummary,
    /// The plan.
    pub plan: &'a Plan,
    /// The rules.
    pub settings: &'a Settings,
    /// The task.
    pub task: &'a Task,
    /// Which attempt.
    pub attempt: u32,
    /// What is different about it.
    pub strategy: Strategy,
    /// What failed before, oldest first.
    pub failures: &'a [String],
}

/// Builds the prompt. Same context, same bytes.
pub fn prompt(context: &PromptContext<'_>) -> String {
    let mut text = String::new();
    purpose(&mut text, context);
    failures(&mut text, context);
    work(&mut text, context.task);
    surroundings(&mut text, context);
    whole(&mut text, context);
    constraints(&mut text, context);
    text
}

/// Files in which repositories tell agents how work in them is done. Each agent by itself reads some of them at most.
const GUIDES: [&str; 6] =
    ["AGENTS.md", "CLAUDE.md", "GEMINI.md", "QWEN.md", "CONTRIBUTING.md", ".github/copilot-instructions.md"];

/// Directories of skills: `<name>/SKILL.md` each.
const SKILLS: [&str; 7] = [
    ".agents/skills",
    ".claude/skills",
    ".codex/skills",
    ".gemini/skills",
    ".qwen/skills",
    ".opencode/skills",
    ".opencode/skill",
];

/// The end of a prompt that points to the repository's own instructions and skills, the same for every agent; empty
/// where there are none. `exists` knows the paths of the base tree.
pub fn conventions(exists: impl Fn(&str) -> bool) -> String {
    let found =
        |paths: &[&'static str]| paths.iter().copied().filter(|path| exists(path)).collect::<Vec<_>>().join(", ");
    let (guides, skills) = (found(&GUIDES), found(&SKILLS));
    let mut text = String::new();
    if !guides.is_empty() {
        let _ = writeln!(
            text,
            "\nCONVENTIONS\nHow work in this repository is done: {guides}. Read that first and follow it; so do for files of \
             these names in the directories where you work. Where it contradicts this task, the task holds."
        );
    }
    if !skills.is_empty() {
        let _ = writeln!(
            text,
            "\nSKILLS\n{skills}: each directory there has a SKILL.md that says what it is for. Read those that fit the task."
        );
    }
    text
}

/// What a task's role adds to an agent's own instructions.
pub fn role(task: &Task) -> String {
    format!(
        "You work as {} and alone: nobody can be asked, and nobody reads along. Do the task that you are given, in the \
         current directory, and stop when it is done.",
        task.role
    )
}

// Writing to a String cannot fail, so the results are dropped.

fn purpose(text: &mut String, context: &PromptContext<'_>) {
    let task = context.task;
    let _ = writeln!(text, "# {}: {}\n", task.id, task.title);
    let _ = writeln!(text, "PURPOSE\nThis task is part of \"{}\". Your role: {}.", context.prd.title, task.role);
    for id in &task.requirements {
        if let Some(requirement) = context.prd.requirements.iter().find(|r| r.id == *id) {
            let _ = writeln!(text, "It serves {id} ({:?}): {}", requirement.priority, requirement.text);
        }
    }
    if !task.acceptance.is_empty() {
        let _ = writeln!(text, "\nIt is done when all of this holds:");
        for criterion in &task.acceptance {
            let _ = writeln!(text, "- {}", criterion.replace('\n', "\n  "));
        }
    }
}

fn failures(text: &mut String, context: &PromptContext<'_>) {
    if context.failures.is_empty() {
        return;
    }
    let _ = writeln!(text, "\nWHAT FAILED BEFORE\nThis is attempt {} ({}).", context.attempt, context.strategy.name());
    for failure in context.failures {
        let cut: String = failure.chars().take(MAX_FAILURE_CHARS).collect();
        let _ = writeln!(text, "- {}", cut.replace('\n', "\n  "));
    }
    let _ = writeln!(text, "Choose another approach than the one that failed.");
}

fn work(text: &mut String, task: &Task) {
    if !task.description.is_empty() {
        let _ = writeln!(text, "\nTASK\n{}", task.description);
    }
}

fn whole(text: &mut String, context: &PromptContext<'_>) {
    let criteria: Vec<&String> = context.prd.criteria.iter().take(MAX_CRITERIA).collect();
    if !criteria.is_empty() {
        let _ =
            writeln!(text, "\nTHE WHOLE\nThis task need not do all of it; when all tasks are done, this must hold:");
        for criterion in criteria {
            let _ = writeln!(text, "- {}", criterion.replace('\n', "\n  "));
        }
    }
}

fn surroundings(text: &mut String, context: &PromptContext<'_>) {
    let task = context.task;
    if task.depends_on.is_empty() {
        return;
    }
    let _ = writeln!(text, "\nCONTEXT\nThese tasks are finished and their changes are in your tree:");
    for id in &task.depends_on {
        let title = context.plan.task(id).map_or("", |t| t.title.as_str());
        let _ = writeln!(text, "- {id}: {title}");
    }
}

fn constraints(text: &mut String, context: &PromptContext<'_>) {
    let task = context.task;
    let _ = writeln!(
        text,
        "\nEXPECTED\nThe change itself, in the files of the current directory. It need not be committed."
    );
    let _ = writeln!(
        text,
        "\nCONSTRAINTS\n- Ask nothing: nobody can answer. Decide, and leave the reason where a reader finds it."
    );
    if !task.owns.is_empty() {
        let _ = writeln!(text, "- Change only: {}", task.owns.join(", "));
    }
    if !context.settings.protect.is_empty() {
        let _ = writeln!(text, "- Never change: {}", context.settings.protect.join(", "));
    }
    let _ =
        writeln!(text, "- Stay in the current directory. There are {} s.", context.settings.task_duration_ms / 1000);
    if task.no_op {
        let _ = writeln!(text, "- Ending without a change is fine for this task.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_points_to_the_instructions_and_skills_that_are_there() {
        let text = conventions(|path| ["CLAUDE.md", "AGENTS.md", ".claude/skills"].contains(&path));
        assert!(text.contains("is done: AGENTS.md, CLAUDE.md. Read"), "{text}");
        assert!(text.contains("SKILLS\n.claude/skills: each"), "{text}");
        assert_eq!(conventions(|_| false), "");
    }
}
