//! Fenced `check` blocks: a script, and the requirements whose evidence its exit status is.
//! In: the outlined body and the requirements. Out: checks in order. Nothing is run here.

use crate::core::{Check, Warning};

use super::criteria;
use super::ident;
use super::join::Joined;
use super::markdown::{Block, Kind};
use super::outline::Body;

/// Reads all check blocks.
pub(super) fn read(body: &Body<'_>, joined: &Joined, warnings: &mut Vec<Warning>) -> Vec<Check> {
    let mut checks = Vec::new();
    for block in &body.blocks {
        let Kind::Code { info, content } = &block.kind else { continue };
        let mut words = info.split([' ', '\t', ',', ';']).filter(|word| !word.is_empty());
        if words.next() != Some("check") {
            continue;
        }
        let line = body.lines.of(block.span.start);
        let named: Vec<&str> = words.collect();
        let owners =
            if named.is_empty() { around(body, joined, block) } else { listed(joined, &named, line, warnings) };
        let ids = owners.into_iter().filter_map(|index| joined.requirements.get(index));
        let requirements = ids.map(|requirement| requirement.id.clone()).collect();
        checks.push(Check { script: content.clone(), requirements, line });
    }
    checks
}

/// The requirements on the info string.
fn listed(joined: &Joined, named: &[&str], line: u32, warnings: &mut Vec<Warning>) -> Vec<usize> {
    let mut owners = Vec::new();
    for id in named {
        if let Some(index) = joined.index(id) {
            owners.push(index);
        } else {
            let message = format!("{id}: this check names a requirement that the PRD does not have");
            warnings.push(Warning { line, message });
        }
    }
    owners
}

/// The requirement that the block stands in, else those that the closest heading names.
fn around(body: &Body<'_>, joined: &Joined, block: &Block) -> Vec<usize> {
    let contains = |at: usize| body.blocks.get(at).is_some_and(|item| item.span.contains(&block.span.start));
    let item = joined.items().find(|(at, _)| contains(*at)).map(|(_, requirement)| requirement);
    if let Some(owner) = item.or_else(|| criteria::owner(body, joined, block.section)) {
        return vec![owner];
    }
    let mut owners: Vec<usize> =
        ident::mentions(body.title(block)).into_iter().filter_map(|id| joined.index(id)).collect();
    owners.dedup();
    owners
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    fn check(text: &str, expected: &[&[&str]]) {
        let text = format!("# T\n\n## Requirements\n\n- FR-1: a\n- FR-2: b\n\n{text}");
        let prd = parse("t.md", text.as_bytes()).expect("readable").prd;
        let ids: Vec<Vec<&str>> = prd
            .checks
            .iter()
            .map(|check| check.requirements.iter().map(crate::core::id::RequirementId::as_str).collect())
            .collect();
        assert_eq!(ids, expected, "{text}");
    }

    #[test]
    fn a_check_speaks_for_the_requirements_it_names() {
        check("```check FR-1, FR-2\ntrue\n```\n", &[&["FR-1", "FR-2"]]);
        check("```check FR-9\ntrue\n```\n", &[&[]]);
    }

    #[test]
    fn else_for_those_it_stands_with() {
        check("## Acceptance Criteria\n\n### FR-2: x\n\n```check\ntrue\n```\n", &[&["FR-2"]]);
        check("## How FR-1 is checked\n\n```check\ntrue\n```\n", &[&["FR-1"]]);
        check("## Elsewhere\n\n```check\ntrue\n```\n", &[&[]]);
    }

    #[test]
    fn other_code_is_no_check() {
        check("```sh\ntrue\n```\n\n```checks\ntrue\n```\n", &[]);
    }

    #[test]
    fn a_check_inside_of_a_list_item_speaks_for_that_item() {
        let text = b"# T\n\n## Requirements\n\n- FR-1: a\n\n  ```check\n  true\n  ```\n- FR-2: b\n";
        let prd = parse("t.md", text).expect("readable").prd;
        let check = prd.checks.first().expect("one");
        assert_eq!(
            (check.script.as_str(), check.requirements.first().map(crate::core::id::RequirementId::as_str)),
            ("true\n", Some("FR-1"))
        );
    }
}
