//! The tasks that a PRD's author wrote out below `## Tasks`, one heading each.
//! In: the outlined body and the requirements. Out: task specifications; a requirement that does not exist is
//! refused with its place. What a task depends on stays text: the plan resolves it. Nothing is run here.

use std::collections::HashMap;

use crate::core::{Priority, RequirementId, TaskId, TaskSpec, Warning};

use super::ident::{self, Lead};
use super::join::Joined;
use super::markdown::{self, Block, Kind};
use super::outline::{Body, Section, Topic};
use super::problem::Problem;

/// True where the PRD has at least one task heading.
pub(super) fn any(body: &Body<'_>) -> bool {
    headings(body).next().is_some()
}

/// Reads all tasks.
pub(super) fn read(body: &Body<'_>, joined: &Joined, warnings: &mut Vec<Warning>) -> Result<Vec<TaskSpec>, Problem> {
    warn_of_plain_list(body, warnings);
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut tasks = Vec::new();
    for (section, lead) in headings(body) {
        if let Some(before) = seen.insert(ident::key(&lead.id), section.at) {
            let line = body.lines.of(before);
            let message = format!("task `{}` stands twice: line {line} has it too", lead.id);
            return Err(Problem::new(section.at, message, "give one of the two another id"));
        }
        tasks.push(task(body, joined, section, lead)?);
    }
    Ok(tasks)
}

/// Headings below `## Tasks` that begin with an id and are not inside of another task.
fn headings<'a>(body: &'a Body<'_>) -> impl Iterator<Item = (&'a Section, &'a Lead)> {
    body.sections.iter().filter(|section| section.topic == Topic::Tasks).filter_map(move |section| {
        let outer = section.parent.is_some_and(|parent| {
            body.around(parent).any(|(_, around)| around.topic == Topic::Tasks && around.lead.is_some())
        });
        section.lead.as_ref().filter(|_| !outer).map(|lead| (section, lead))
    })
}

/// A check list below `## Tasks` is not read as tasks; its author should know.
fn warn_of_plain_list(body: &Body<'_>, warnings: &mut Vec<Warning>) {
    let tasks = body.sections.iter().find(|section| section.topic == Topic::Tasks);
    if let Some(tasks) = tasks.filter(|_| !any(body)) {
        let message = "the section `Tasks` has no headings like `### T-001: title`; its list is not used as tasks";
        warnings.push(Warning { line: body.lines.of(tasks.at), message: message.to_owned() });
    }
}

fn task(body: &Body<'_>, joined: &Joined, section: &Section, lead: &Lead) -> Result<TaskSpec, Problem> {
    let mut spec = TaskSpec {
        id: TaskId::new(lead.id.as_str()),
        title: lead.rest.clone(),
        requirements: Vec::new(),
        depends_on: Vec::new(),
        owns: Vec::new(),
        role: None,
        priority: None,
        no_op: false,
        text: String::new(),
        steps: None,
        line: body.lines.of(section.at),
    };
    let mut text: Vec<String> = Vec::new();
    let first = body.blocks.partition_point(|block| block.span.start < section.content);
    for block in body.blocks.iter().skip(first).take_while(|block| block.span.start < section.end) {
        match &block.kind {
            Kind::Code { info, content } => code(body, block, info, content, &mut spec, &mut text),
            Kind::Item(_) => item(joined, body, block, &mut spec, &mut text)?,
            Kind::Paragraph => {
                for part in lines(body, block) {
                    line(joined, &part, "", block, &mut spec, &mut text)?;
                }
            }
            Kind::Heading(_) | Kind::Table(_) => text.push(body.passage(block.span.start, block.span.end)),
        }
    }
    spec.text = text.join("\n");
    Ok(spec)
}

fn code(body: &Body<'_>, block: &Block, info: &str, content: &str, spec: &mut TaskSpec, text: &mut Vec<String>) {
    match info.split_whitespace().next() {
        Some("steps") => spec.steps.get_or_insert_default().push_str(content),
        Some("check") => {}
        _ => text.push(body.passage(block.span.start, block.span.end)),
    }
}

/// One item of a list: a field and what stands lazily below it, or free text in one line.
fn item(
    joined: &Joined,
    body: &Body<'_>,
    block: &Block,
    spec: &mut TaskSpec,
    text: &mut Vec<String>,
) -> Result<(), Problem> {
    let parts = lines(body, block);
    match parts.split_first() {
        Some((first, lazy)) if field(first).is_some() => {
            line(joined, first, "- ", block, spec, text)?;
            lazy.iter().try_for_each(|part| line(joined, part, "", block, spec, text))
        }
        _ => line(joined, &body.line_of(block), "- ", block, spec, text),
    }
}

/// The lines of a block. An indented one goes on with the value above it; one that begins in the first column is a line
/// of its own, also where Markdown would join them.
fn lines(body: &Body<'_>, block: &Block) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for raw in body.text.get(block.inline.clone()).unwrap_or_default().lines() {
        let goes_on = raw.starts_with([' ', '\t']);
        let Some(part) = markdown::text_lines(raw, &(0..raw.len())).next() else { continue };
        match parts.last_mut().filter(|above| goes_on && field(above).is_some()) {
            Some(above) => *above = format!("{above} {part}"),
            None => parts.push(part.to_owned()),
        }
    }
    parts
}

/// One line of a task: a field, or free text.
fn line(
    joined: &Joined,
    line: &str,
    mark: &str,
    block: &Block,
    spec: &mut TaskSpec,
    text: &mut Vec<String>,
) -> Result<(), Problem> {
    let at = block.inline.start;
    let Some((name, value)) = field(line) else {
        text.push(format!("{mark}{line}"));
        return Ok(());
    };
    match name.as_str() {
        "requirements" | "requirement" => spec.requirements.extend(requirements(joined, value, at)?),
        "depends on" | "depends-on" => spec.depends_on.extend(words(value)),
        "owns" => spec.owns.extend(globs(value)),
        "role" => spec.role = Some(bare(value).to_owned()).filter(|role| !role.is_empty()),
        "priority" => spec.priority = Some(priority(value, at)?),
        "no-op" | "noop" => spec.no_op = yes_or_no(value, at)?,
        _ => text.push(format!("{mark}{line}")),
    }
    Ok(())
}

/// The names of fields; any other word before a colon is text.
const FIELDS: [&str; 9] =
    ["requirements", "requirement", "depends on", "depends-on", "owns", "role", "priority", "no-op", "noop"];

/// Splits `**Name:** value`. The value may end in `**`: it can be a glob.
fn field(line: &str) -> Option<(String, &str)> {
    let body = line.trim_start_matches(['*', '_', ' ']);
    let bold = line.trim_start().starts_with("**");
    let (before, after) = body.split_once(':')?;
    let name = before.trim_end_matches(['*', '_', ' ']);
    let open = bold && name.len() == before.trim_end().len();
    let value = if open { after.strip_prefix("**").unwrap_or(after) } else { after };
    let name = name.to_ascii_lowercase();
    FIELDS.contains(&name.as_str()).then(|| (name, value.trim()))
}

/// A word without the marks around it.
fn bare(value: &str) -> &str {
    value.trim_matches(['`', '"', '\'', '*', '_', ' ', '[', ']', '.'])
}

/// Words between commas; `none` and a dash mean that there are none.
fn words(value: &str) -> Vec<String> {
    let words = value.split([',', ';']).map(bare);
    let some =
        words.filter(|word| !matches!(word.to_ascii_lowercase().as_str(), "" | "none" | "-" | "–" | "—" | "n/a"));
    some.map(str::to_owned).collect()
}

fn requirements(joined: &Joined, value: &str, at: usize) -> Result<Vec<RequirementId>, Problem> {
    if bare(value).eq_ignore_ascii_case("all") {
        return Ok(joined.requirements.iter().map(|requirement| requirement.id.clone()).collect());
    }
    let mut ids = Vec::new();
    for word in words(&value.replace(" and ", ",")).iter().flat_map(|word| word.split_whitespace()) {
        let known = joined.index(bare(word)).and_then(|index| joined.requirements.get(index));
        let Some(requirement) = known else {
            let message = format!("this task names the requirement `{word}`, which the PRD does not have");
            return Err(Problem::new(at, message, "correct the id, or add the requirement"));
        };
        ids.push(requirement.id.clone());
    }
    Ok(ids)
}

fn priority(value: &str, at: usize) -> Result<Priority, Problem> {
    let message = format!("priority `{}` is not a priority", bare(value));
    Priority::parse(bare(value)).ok_or_else(|| Problem::new(at, message, "write P0, P1, P2, P3 or P4"))
}

/// By the first word: people add why.
fn yes_or_no(value: &str, at: usize) -> Result<bool, Problem> {
    let value = bare(value).to_ascii_lowercase();
    match value.split(|c: char| !c.is_alphabetic()).next() {
        Some("yes" | "true" | "y") => Ok(true),
        Some("" | "no" | "false" | "n" | "none") => Ok(false),
        _ => {
            let message = format!("no-op is `{value}`, which is neither yes nor no");
            Err(Problem::new(at, message, "write `No-op: yes` or `No-op: no`"))
        }
    }
}

/// Globs between commas; a comma inside of braces belongs to its glob.
fn globs(value: &str) -> Vec<String> {
    let mut globs = vec![String::new()];
    let mut depth = 0_u32;
    for letter in value.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if letter == ',' && depth == 0 {
            globs.push(String::new());
        } else if let Some(last) = globs.last_mut() {
            last.push(letter);
        }
    }
    let bare = globs.iter().map(|glob| glob.trim().trim_matches(['`', '"', '\'']).trim().to_owned());
    bare.filter(|glob| !glob.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn tasks(text: &str) -> Vec<TaskSpec> {
        let text = format!("# T\n\n## Requirements\n\n- FR-1: a\n- FR-2: b\n\n## Tasks\n\n{text}");
        parse("t.md", text.as_bytes()).expect("readable").prd.tasks
    }

    fn check_globs(value: &str, expected: &[&str]) {
        assert_eq!(globs(value), expected);
    }

    #[test]
    fn all_fields_are_read() {
        let text = "### T-001: First\n\nDo `this`.\n\n- Requirements: FR-1, FR2\n- **Depends on:** T-000, FR-2\n- Owns: src/**, \"tests/**\"\n- **Role**: backend\n- Priority: P1\n- No-op: yes\n- and that\n\n```steps\nwrite a b\n```\n";
        let tasks = tasks(&text.replace("FR2", "FR-2"));
        let first = tasks.first().expect("one");
        assert_eq!((first.id.as_str(), first.title.as_str(), first.line), ("T-001", "First", 10));
        let ids: Vec<_> = first.requirements.iter().map(RequirementId::as_str).collect();
        assert_eq!(ids, ["FR-1", "FR-2"]);
        assert_eq!(first.depends_on, ["T-000", "FR-2"]);
        assert_eq!(first.owns, ["src/**", "tests/**"]);
        assert_eq!((first.role.as_deref(), first.priority, first.no_op), (Some("backend"), Some(Priority::P1), true));
        assert_eq!(first.text, "Do `this`.\n- and that");
        assert_eq!(first.steps.as_deref(), Some("write a b\n"));
    }

    #[test]
    fn globs_keep_their_stars_and_braces() {
        check_globs("src/**", &["src/**"]);
        check_globs("`src/{a,b}/**`, 'x'", &["src/{a,b}/**", "x"]);
        assert_eq!(field("**Owns:** src/**"), Some(("owns".to_owned(), "src/**")));
        assert_eq!(field("**Owns**: **/*.rs"), Some(("owns".to_owned(), "**/*.rs")));
    }

    #[test]
    fn unknown_requirements_and_duplicates_are_refused() {
        for tasks in [
            "### T-1: a\n- Requirements: FR-9\n",
            "### T-1: a\n\n### T-1: b\n",
            "### T-1: a\n- Priority: soon\n",
            "### T-1: a\n- No-op: perhaps\n",
        ] {
            let text = format!("# T\n\n## Requirements\n\n- FR-1: a\n\n## Tasks\n\n{tasks}");
            assert!(parse("t.md", text.as_bytes()).is_err(), "{tasks}");
        }
    }

    #[test]
    fn a_no_op_may_say_why() {
        for (said, expected) in [("yes\nIt is there.", true), ("**Yes** (it is there)", true), ("no, not yet", false)] {
            assert_eq!(tasks(&format!("### T-1: a\n- No-op: {said}\n"))[0].no_op, expected, "{said}");
        }
    }

    #[test]
    fn a_value_goes_on_in_indented_lines_only() {
        let items =
            "- Role: backend\nWrite it.\n- Owns: src/**,\n  tests/**\nAnd test it.\n- Priority: P1\nRole: docs\n";
        let rest = "\nNo-op: no\n  not yet\nDone: later.\n\n- Note: one\n  two\nthree\n";
        let tasks = tasks(&format!("### T-1: a\n{items}{rest}"));
        let first = tasks.first().expect("one");
        assert_eq!((first.role.as_deref(), first.priority), (Some("docs"), Some(Priority::P1)));
        assert_eq!(first.owns, ["src/**", "tests/**"]);
        assert!(!first.no_op);
        assert_eq!(first.text, "Write it.\nAnd test it.\nDone: later.\n- Note: one two three");
    }

    #[test]
    fn none_means_none() {
        let tasks = tasks("### T-1: a\n- Depends on: none\n- Requirements: all\n");
        let first = tasks.first().expect("one");
        assert_eq!((first.depends_on.len(), first.requirements.len()), (0, 2));
    }

    #[test]
    fn tasks_without_requirements_are_enough() {
        let prd = parse("t.md", b"# T\n\n## Tasks\n\n### T-1: a\n").expect("readable").prd;
        assert_eq!((prd.requirements.len(), prd.tasks.len()), (0, 1));
    }
}
