//! Requirement ids in Markdown text: `FR-1`, `**FR-1:** …`, `[US-2] …`, `NFR1.2 – …`.
//! In: raw text of a heading, a list item or a cell. Out: the id and what follows it.
//! Which ids are requirements depends on where they stand; the rules for that are here too.

/// Families that mean a requirement wherever they stand.
const KNOWN: [&str; 10] = ["FR", "NFR", "US", "TR", "UR", "SR", "BR", "R", "G", "REQ"];
/// Look like an id and are none: names of standards, priorities, phases, services.
const NEVER: [&str; 19] = [
    "UTF", "SHA", "RFC", "ISO", "HTTP", "AES", "TLS", "SSL", "MD", "ES", "S", "EC", "H", "Q", "V", "P", "T", "TASK",
    "AC",
];
const SEPARATORS: [char; 8] = [':', '-', '–', '—', '.', ')', '|', '→'];
const MARKS: [&str; 6] = ["**", "__", "*", "_", "`", "["];

/// A text that begins with an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lead {
    pub(super) id: String,
    /// The text after the id and its separator, without the marks around the id.
    pub(super) rest: String,
    /// Whether a separator or a mark sets the id apart from what follows.
    pub(super) separated: bool,
}

impl Lead {
    /// True where this id is a requirement. Inside a requirements section any family counts.
    pub(super) fn is_requirement(&self, inside: bool) -> bool {
        let family = family(&self.id);
        KNOWN.contains(&family) || (inside && self.separated && !NEVER.contains(&family))
    }

    /// True for `AC-1`: the id of a criterion.
    pub(super) fn is_criterion(&self) -> bool {
        family(&self.id) == "AC"
    }
}

/// The id that a text begins with, marks around it ignored.
pub(super) fn leading(text: &str) -> Option<Lead> {
    let text = text.trim_start();
    let mark = MARKS.into_iter().find(|mark| text.starts_with(*mark)).unwrap_or("");
    let inner = text.strip_prefix(mark)?;
    let end = scan(inner)?;
    let (id, tail) = (inner.get(..end)?, inner.get(end..)?);
    let closing = if mark == "[" { "]" } else { mark };
    let closed = tail.strip_prefix(closing).filter(|_| !mark.is_empty());
    let trimmed = closed.unwrap_or(tail).trim_start();
    let after = trimmed.strip_prefix(SEPARATORS);
    let separated = after.is_some() || closed.is_some() || trimmed.is_empty();
    let rest = after.unwrap_or(trimmed);
    let open = !mark.is_empty() && closed.is_none();
    let rest = if open { rest.replacen(closing, "", 1) } else { rest.to_owned() };
    Some(Lead { id: id.to_owned(), rest: rest.trim().to_owned(), separated })
}

/// All ids named in a text, in order.
pub(super) fn mentions(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut before = ' ';
    for (at, letter) in text.char_indices() {
        let starts = letter.is_ascii_uppercase() && !(before.is_alphanumeric() || matches!(before, '_' | '-'));
        let rest = text.get(at..).filter(|_| starts).unwrap_or("");
        if let Some(id) = scan(rest).and_then(|end| rest.get(..end)) {
            found.push(id);
        }
        before = letter;
    }
    found
}

/// True for a text that is an id and nothing else.
pub(super) fn is_id(text: &str) -> bool {
    scan(text) == Some(text.len())
}

/// What two spellings of one id have in common: `FR1` and `FR-1`.
pub(super) fn key(id: &str) -> String {
    id.replacen('-', "", 1).to_ascii_uppercase()
}

fn family(id: &str) -> &str {
    let end = id.find(|c: char| !c.is_ascii_uppercase()).unwrap_or(id.len());
    id.get(..end).unwrap_or("")
}

/// The length of the id at the start of a text: one to four capitals, a dash or none, digits, dotted digits.
fn scan(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let letters = bytes.iter().take(5).take_while(|byte| byte.is_ascii_uppercase()).count();
    if !(1..=4).contains(&letters) {
        return None;
    }
    let dash = usize::from(bytes.get(letters) == Some(&b'-'));
    let mut end = digits(bytes, letters + dash)?;
    while let Some(next) = bytes.get(end).filter(|byte| **byte == b'.').and_then(|_| digits(bytes, end + 1)) {
        end = next;
    }
    ends(bytes, end).then_some(end)
}

fn digits(bytes: &[u8], from: usize) -> Option<usize> {
    let count = bytes.get(from..)?.iter().take(7).take_while(|byte| byte.is_ascii_digit()).count();
    (1..=6).contains(&count).then_some(from + count)
}

/// An id does not end in the middle of a word.
fn ends(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at) {
        None => true,
        Some(b'-' | b'_') => !bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric),
        Some(byte) => !byte.is_ascii_alphanumeric(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, &str)>) {
        let found = leading(text);
        let found = found.as_ref().map(|lead| (lead.id.as_str(), lead.rest.as_str()));
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn an_id_is_found_in_the_forms_people_write() {
        check("FR-1: Title", Some(("FR-1", "Title")));
        check("TR-1 - Title", Some(("TR-1", "Title")));
        check("**FR-1**: text", Some(("FR-1", "text")));
        check("**FR-1:** text", Some(("FR-1", "text")));
        check("**FR-1: Title** more **bold**", Some(("FR-1", "Title more **bold**")));
        check("[US-2] text", Some(("US-2", "text")));
        check("`NFR1.2` — text", Some(("NFR1.2", "text")));
        check("FR1", Some(("FR1", "")));
        check("FR-1 The system", Some(("FR-1", "The system")));
    }

    #[test]
    fn a_word_is_no_id() {
        for text in ["FR-1a: x", "Fr-1: x", "FRXYZ-1: x", "FR-: x", "FR", "", "FR-12-b", "ÄFR-1", "FR-1234567"] {
            check(text, None);
        }
    }

    #[test]
    fn standards_are_requirements_nowhere_and_other_families_only_inside() {
        let is = |text: &str, inside| leading(text).is_some_and(|lead| lead.is_requirement(inside));
        assert!(is("FR-1 text", false));
        assert!(is("AUTH-1: text", true));
        assert!(!is("AUTH-1: text", false));
        assert!(!is("AUTH-1 text", true));
        assert!(!is("UTF-8: text", true));
        assert!(!is("AC-1: text", true));
        assert!(!is("T-001: text", true));
    }

    #[test]
    fn mentions_are_whole_words() {
        assert_eq!(mentions("see FR-1, (US-2) and xFR-3, FR-4-x; AC-5."), ["FR-1", "US-2", "AC-5"]);
    }

    #[test]
    fn two_spellings_have_one_key() {
        assert_eq!(key("FR-1"), key("FR1"));
        assert!(is_id("FR-1.2") && !is_id("FR-1 x"));
    }
}
