//! What the frontmatter of a PRD says, in its nested form (`prd.status`) or its flat one (`status`).
//! In: the YAML tree. Out: plain values with their places. Unknown keys are left alone; it writes nothing.

use crate::core::Confidence;

use super::found::{Found, Home, Origin};
use super::ident;
use super::problem::Problem;
use super::yaml::{Entry, Node, Quote, Value};

/// A word with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) at: usize,
}

/// The keys that are understood.
#[derive(Debug, Default)]
pub(super) struct Frontmatter {
    /// Every `status` key, the one that counts first.
    pub(super) statuses: Vec<Word>,
    pub(super) approved_sha256: Option<String>,
    pub(super) title: Option<String>,
    pub(super) feature: Option<String>,
    pub(super) branch: Option<String>,
    pub(super) related_epics: Vec<String>,
    pub(super) default_priority: Option<Word>,
    pub(super) requirements: Vec<Found>,
}

/// A key and the map it stands in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot<'a> {
    pub(super) map: &'a Node,
    pub(super) entry: &'a Entry,
}

/// The `status` keys of a frontmatter, the one that counts first.
pub(super) fn status_slots(root: &Node) -> Vec<Slot<'_>> {
    slots(root, &["prd", ""], "status")
}

/// The `approved_sha256` keys, the one that counts first.
pub(super) fn approval_slots(root: &Node) -> Vec<Slot<'_>> {
    slots(root, &["prd", ""], "approved_sha256")
}

/// A bookkeeping key, wherever PRDs keep it.
pub(super) fn bookkeeping_slots<'a>(root: &'a Node, key: &str) -> Vec<Slot<'a>> {
    slots(root, &["metadata", "git", "beads", "prd", ""], key)
}

/// A key inside of some maps of the root; the empty name is the root itself.
fn slots<'a>(root: &'a Node, maps: &[&str], key: &str) -> Vec<Slot<'a>> {
    let mut found = Vec::new();
    for name in maps {
        let map = if name.is_empty() { Some(root) } else { root.get(name).map(|entry| &entry.node) };
        if let Some((map, entry)) = map.and_then(|map| Some((map, map.get(key)?))) {
            found.push(Slot { map, entry });
        }
    }
    found
}

fn entries<'a>(root: &'a Node, maps: &[&str], key: &str) -> Vec<&'a Entry> {
    slots(root, maps, key).into_iter().map(|slot| slot.entry).collect()
}

pub(super) fn read(root: &Node) -> Result<Frontmatter, Problem> {
    let statuses: Result<Vec<Word>, Problem> =
        entries(root, &["prd", ""], "status").into_iter().map(status_word).collect();
    let word = |maps: &[&str], key: &str| {
        let entry = entries(root, maps, key).into_iter().find(|entry| entry.node.text().is_some());
        entry.map(|entry| Word { text: trimmed(&entry.node), at: entry.node.span.start })
    };
    let text = |maps: &[&str], key: &str| word(maps, key).map(|word| word.text).filter(|text| !text.is_empty());
    let epics = entries(root, &["beads", ""], "related_epics");
    Ok(Frontmatter {
        statuses: statuses?,
        approved_sha256: text(&["prd", ""], "approved_sha256").map(|sha| sha.to_ascii_lowercase()),
        title: text(&["prd", ""], "title"),
        feature: text(&["prd", ""], "feature_name"),
        branch: text(&["git", ""], "branch"),
        related_epics: epics.first().map(|entry| words(&entry.node)).unwrap_or_default(),
        default_priority: word(&["priorities"], "default").or_else(|| word(&["prd", ""], "priority")),
        requirements: requirements(root)?,
    })
}

fn status_word(entry: &Entry) -> Result<Word, Problem> {
    let at = entry.node.span.start;
    let help = "write one word: draft, approved, implementing or implemented";
    match &entry.node.value {
        Value::Null => Ok(Word { text: String::new(), at }),
        Value::Scalar(_, Quote::Block) => Err(Problem::new(entry.key_span.start, "`status` spans lines", help)),
        Value::Scalar(text, _) => Ok(Word { text: text.trim().to_owned(), at }),
        Value::List { .. } => Err(Problem::new(at, "`status` is a list", help)),
        Value::Map { .. } => Err(Problem::new(at, "`status` is a map", help)),
    }
}

fn trimmed(node: &Node) -> String {
    node.text().unwrap_or("").trim().to_owned()
}

/// A list of words, or one word.
fn words(node: &Node) -> Vec<String> {
    let one = node.text().into_iter();
    let all = node.items().iter().filter_map(Node::text).chain(one);
    all.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

fn requirements(root: &Node) -> Result<Vec<Found>, Problem> {
    let lists = entries(root, &["priorities", "prd", ""], "requirements");
    // `requirements:` elsewhere can be a list of packages; requirements of ours are maps.
    let list = lists.into_iter().find(|list| list.node.items().iter().any(|item| !item.entries().is_empty()));
    let items = list.map(|entry| entry.node.items()).unwrap_or_default();
    items.iter().map(requirement).collect()
}

fn requirement(node: &Node) -> Result<Found, Problem> {
    let text = |keys: &[&str]| {
        let entry = keys.iter().find_map(|key| node.get(key));
        entry.map(|entry| trimmed(&entry.node)).unwrap_or_default()
    };
    let (id, says, at) = named(node)?;
    let says = if says.is_empty() { text(&["text", "title", "description", "requirement"]) } else { says };
    Ok(Found {
        id,
        text: says.split_whitespace().collect::<Vec<_>>().join(" "),
        notes: text(&["notes"]),
        priority: text(&["priority"]),
        confidence: confidence(&text(&["confidence"])),
        section: String::new(),
        at,
        origin: Origin::Frontmatter,
        home: Home::None,
    })
}

/// The id of an entry, its text where both stand in one (`- FR-1: text`), and its place.
fn named(node: &Node) -> Result<(String, String, usize), Problem> {
    let at = node.span.start;
    if let Some(entry) = node.get("id") {
        let id = trimmed(&entry.node);
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if !id.is_empty() && id.len() <= 40 && id.chars().all(sound) {
            return Ok((id, String::new(), entry.node.span.start));
        }
        let message = format!("`{id}` is not a requirement id");
        return Err(Problem::new(entry.node.span.start, message, "write an id like FR-1"));
    }
    if let Some(entry) = node.entries().first().filter(|entry| ident::is_id(&entry.key)) {
        return Ok((entry.key.clone(), trimmed(&entry.node), entry.key_span.start));
    }
    if let Some(lead) = node.text().and_then(ident::leading) {
        return Ok((lead.id, lead.rest, at));
    }
    Err(Problem::new(at, "this requirement has no id", "give it one: `id: FR-1`"))
}

fn confidence(word: &str) -> Option<Confidence> {
    match word.to_ascii_lowercase().as_str() {
        "high" => Some(Confidence::High),
        "medium" => Some(Confidence::Medium),
        "low" => Some(Confidence::Low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::yaml;
    use super::*;

    fn front(text: &str) -> Frontmatter {
        let root = yaml::parse(text, &(0..text.len())).expect("yaml");
        read(&root).expect("frontmatter")
    }

    fn check(text: &str, status: &str, priority: Option<&str>) {
        let front = front(text);
        assert_eq!(front.statuses.first().map(|word| word.text.as_str()), Some(status), "{text}");
        assert_eq!(front.default_priority.map(|word| word.text).as_deref(), priority, "{text}");
    }

    #[test]
    fn nested_and_flat_keys_are_read() {
        check("prd:\n  status: approved\npriorities:\n  default: P1\n", "approved", Some("P1"));
        check("status: draft\npriority: high\n", "draft", Some("high"));
        check("Status: \"approved\"\n", "approved", None);
        check("prd: {status: approved}\nstatus: draft\n", "approved", None);
        check("status:\n", "", None);
    }

    #[test]
    fn a_status_that_is_no_word_is_refused() {
        for text in ["status: [approved]\n", "status: {a: b}\n", "status: |\n  approved\n"] {
            let root = yaml::parse(text, &(0..text.len())).expect("yaml");
            assert!(read(&root).is_err(), "{text}");
        }
    }

    #[test]
    fn requirements_are_read_with_priority_and_confidence() {
        let text = "priorities:\n  requirements:\n    - id: FR-1\n      text: \"Do it\"\n      priority: P0\n      confidence: low\n    - FR-2: Short form\n";
        let found = front(text).requirements;
        let first = found.first().expect("one");
        assert_eq!((first.id.as_str(), first.text.as_str(), first.priority.as_str()), ("FR-1", "Do it", "P0"));
        assert_eq!(first.confidence, Some(Confidence::Low));
        assert_eq!(found.get(1).map(|second| second.text.as_str()), Some("Short form"));
    }

    #[test]
    fn a_requirement_without_an_id_is_refused() {
        let text = "priorities:\n  requirements:\n    - text: x\n";
        let root = yaml::parse(text, &(0..text.len())).expect("yaml");
        assert!(read(&root).is_err());
    }

    #[test]
    fn epics_are_a_list_or_one_word() {
        assert_eq!(front("beads:\n  related_epics: [a, b]\n").related_epics, ["a", "b"]);
        assert_eq!(front("related_epics: a\n").related_epics, ["a"]);
    }
}
