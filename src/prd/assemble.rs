//! One pass from text to `Prd`: frontmatter, outline, requirements, criteria, tasks, checks, warnings.
//! In: the text. Out: the words of `core::prd`, and the traces that writing back needs. Each step is a file of its
//! own; this one only puts them in order and settles what frontmatter and body both may say.

use std::path::Path;

use crate::core::{Approval, Prd, Priority, Status, Warning};

use super::frontmatter::{self, Frontmatter, Word};
use super::join::{self, Joined};
use super::layout::{self, Layout};
use super::outline::Body;
use super::problem::Problem;
use super::source::Lines;
use super::status::{self, BodyFields, Field};
use super::yaml::{self, Node};
use super::{approval, checks, criteria, hidden, requirements, tasks};

/// Where in the bytes the bookkeeping stands.
#[derive(Clone, Debug)]
pub(super) struct Traces {
    /// The frontmatter, if there is one.
    pub(super) root: Option<Node>,
    pub(super) layout: Layout,
    /// Fields of the body.
    pub(super) fields: BodyFields,
    pub(super) hidden: bool,
}

impl Traces {
    /// Where the status that counts begins, as an offset into the source.
    pub(super) fn status_at(&self) -> Option<usize> {
        let slot =
            self.root.as_ref().and_then(|root| frontmatter::status_slots(root).first().map(|s| s.entry.key_span.start));
        slot.or_else(|| self.fields.status.as_ref().map(|field| field.name_span.start))
    }
}

/// The longest name of a feature: it becomes part of branch names.
const FEATURE_CHARS: usize = 50;

/// Reads a PRD.
pub(super) fn read(name: &str, source: &str) -> Result<(Prd, Traces), Problem> {
    let layout = layout::find(source)?;
    let root = layout.front.as_ref().map(|front| yaml::parse(source, &front.inner)).transpose()?;
    let front = root.as_ref().map(frontmatter::read).transpose()?.unwrap_or_default();
    let masked = layout::masked(source, &layout);
    let body = Body::new(&masked);
    let fields = status::body_fields(&masked, body.head_end());
    let mut warnings = hidden::find(source, &body);
    let traces = Traces { root, layout, fields, hidden: !warnings.is_empty() };
    let prd = prd(name, source, front, &body, &traces, &mut warnings)?;
    Ok((prd, traces))
}

fn prd(
    name: &str,
    source: &str,
    mut front: Frontmatter,
    body: &Body<'_>,
    traces: &Traces,
    warnings: &mut Vec<Warning>,
) -> Result<Prd, Problem> {
    let status_text = status_text(&front, &traces.fields, &body.lines, warnings);
    let default_priority = default_priority(&front, traces.fields.priority.as_ref(), &body.lines, warnings);
    let mut joined = requirements_of(&mut front, body, default_priority, warnings)?;
    let criteria = criteria::collect(body, &mut joined, warnings);
    let tasks = tasks::read(body, &joined, warnings)?;
    if joined.requirements.is_empty() && tasks.is_empty() {
        let help = "state them as a table, headings or list items with ids like FR-1 below a heading `Requirements`";
        return Err(Problem::new(0, "the PRD states no requirements and no tasks", help));
    }
    let checks = checks::read(body, &joined, warnings);
    warnings.sort_by_key(|warning| warning.line);
    let title = title(body, &front, name);
    let body_sha = traces.fields.approved_sha256.as_ref().map(|field| field.value.to_ascii_lowercase());
    Ok(Prd {
        feature: feature(front.feature.as_deref(), &title, name),
        title,
        status: status::status_of(&status_text),
        status_text,
        approval: Approval {
            approved_sha256: front.approved_sha256.or(body_sha),
            content_sha256: approval::content_hash(source, traces),
        },
        default_priority,
        branch: front.branch,
        related_epics: front.related_epics,
        requirements: joined.requirements,
        criteria,
        tasks,
        checks,
        warnings: std::mem::take(warnings),
    })
}

fn requirements_of(
    front: &mut Frontmatter,
    body: &Body<'_>,
    default: Priority,
    warnings: &mut Vec<Warning>,
) -> Result<Joined, Problem> {
    let front = std::mem::take(&mut front.requirements);
    let mut stated = requirements::with_ids(body);
    if front.is_empty() && stated.is_empty() {
        stated = requirements::without_ids(body, tasks::any(body));
    }
    join::join(front, stated, default, &body.lines, warnings)
}

/// The status as it was written; the frontmatter counts, and a body that says otherwise is reported.
fn status_text(front: &Frontmatter, fields: &BodyFields, lines: &Lines, warnings: &mut Vec<Warning>) -> String {
    let body = fields.status.as_ref().map(|field| Word { text: field.value.clone(), at: field.value_span.start });
    let Some(first) = front.statuses.first() else { return body.map(|word| word.text).unwrap_or_default() };
    let others = front.statuses.iter().skip(1).map(|word| (word, "the frontmatter"));
    // A line like `Status: 200` of an interface is no status of the PRD.
    let spoken = body.as_ref().filter(|word| status::status_of(&word.text) != Status::Other);
    for (other, place) in others.chain(spoken.map(|word| (word, "the body"))) {
        if status::status_of(&other.text) != status::status_of(&first.text) {
            let (here, there) = (lines.of(first.at), lines.of(other.at));
            let message = format!(
                "status is `{}` in the frontmatter (line {here}) and `{}` in {place} (line {there}); the first one counts",
                first.text, other.text,
            );
            warnings.push(Warning { line: there, message });
        }
    }
    first.text.clone()
}

fn default_priority(
    front: &Frontmatter,
    field: Option<&Field>,
    lines: &Lines,
    warnings: &mut Vec<Warning>,
) -> Priority {
    let body = field.map(|field| Word { text: field.value.clone(), at: field.value_span.start });
    let Some(word) = front.default_priority.clone().or(body) else { return Priority::default() };
    Priority::parse(&word.text).unwrap_or_else(|| {
        let default = Priority::default();
        let message = format!("the PRD's priority `{}` is not P0 to P4; {default:?} is used", word.text);
        warnings.push(Warning { line: lines.of(word.at), message });
        default
    })
}

/// The first heading without `PRD:`, else the frontmatter's title, else the name of the feature or of the file.
fn title(body: &Body<'_>, front: &Frontmatter, name: &str) -> String {
    let heading = body.title_heading().map(|section| untitled(&section.title).to_owned());
    let heading = heading.filter(|title| !title.is_empty());
    heading.or_else(|| front.title.clone()).or_else(|| front.feature.clone()).unwrap_or_else(|| stem(name))
}

fn untitled(title: &str) -> &str {
    let title = title.trim_matches(['*', '_', ' ']);
    for prefix in ["product requirements document", "prd"] {
        let starts = title.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        let rest = title.get(prefix.len()..).filter(|_| starts).map(str::trim_start);
        if let Some(rest) = rest.and_then(|rest| rest.strip_prefix([':', '-', '–', '—'])) {
            return rest.trim();
        }
    }
    title
}

fn stem(name: &str) -> String {
    Path::new(name).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A short name of letters, digits and dashes.
fn feature(given: Option<&str>, title: &str, name: &str) -> String {
    let stem = stem(name);
    let names = [given.unwrap_or(""), title, &stem, "prd"];
    names.into_iter().map(slug).find(|slug| !slug.is_empty()).unwrap_or_default()
}

fn slug(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let slug: String = words.collect::<Vec<_>>().join("-").chars().take(FEATURE_CHARS).collect();
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn prd(text: &str) -> Prd {
        parse("docs/prd-login.md", text.as_bytes()).expect("readable").prd
    }

    fn check(head: &str, title: &str, feature: &str, status: Status) {
        let prd = prd(&format!("{head}\n\n## Requirements\n\n- FR-1: a\n"));
        assert_eq!((prd.title.as_str(), prd.feature.as_str(), prd.status), (title, feature, status), "{head}");
    }

    #[test]
    fn title_feature_and_status_are_found_in_every_shape() {
        check(
            "---\nprd: {feature_name: My Feature, status: approved}\n---\n# PRD: Big Thing",
            "Big Thing",
            "my-feature",
            Status::Approved,
        );
        check("# Product Requirements Document: X & Y\n\n**Status:** Done", "X & Y", "x-y", Status::Implemented);
        check("---\ntitle: From Front\nstatus: draft\n---\n", "From Front", "from-front", Status::Draft);
        check("## Status: implementing", "prd-login", "prd-login", Status::Implementing);
        check("# Größe", "Größe", "gr-e", Status::Other);
    }

    #[test]
    fn a_status_that_is_missing_is_an_empty_other() {
        let prd = prd("# T\n\n## Requirements\n\n- FR-1: a\n");
        assert_eq!((prd.status, prd.status_text.as_str()), (Status::Other, ""));
        assert!(prd.warnings.is_empty());
    }

    #[test]
    fn frontmatter_and_body_that_disagree_are_reported_once() {
        let prd = prd("---\nstatus: approved\n---\n# T\n\n**Status:** draft\n\n## Requirements\n\n- FR-1: a\n");
        assert_eq!(prd.status, Status::Approved);
        let shown: Vec<_> = prd.warnings.iter().map(|warning| (warning.line, warning.message.as_str())).collect();
        let expected =
            "status is `approved` in the frontmatter (line 2) and `draft` in the body (line 6); the first one counts";
        assert_eq!(shown, [(6, expected)]);
    }

    #[test]
    fn the_default_priority_comes_from_frontmatter_or_body() {
        let first = |text: &str| prd(text).requirements.first().map(|requirement| requirement.priority);
        assert_eq!(first("**Priority:** High\n\n## Requirements\n\n- FR-1: a\n"), Some(Priority::P1));
        assert_eq!(first("---\npriority: P3\n---\n## Requirements\n\n- FR-1: a\n"), Some(Priority::P3));
        assert_eq!(first("## Requirements\n\n- FR-1: a\n"), Some(Priority::P2));
    }

    #[test]
    fn a_long_title_makes_a_short_name() {
        let slug = slug(&"word ".repeat(40));
        assert!(slug.len() <= FEATURE_CHARS && !slug.ends_with('-'), "{slug}");
    }
}
