//! Dependencies that people write into a requirement's text: a trigger, then ids.

/// Words that make the ids behind them dependencies.
const TRIGGERS: [&str; 9] =
    ["depends on", "depends upon", "depend on", "dependent on", "blocked by", "requires", "needs", "require", "after"];

/// Ids behind a trigger, in the order in which they stand; each once.
pub(super) fn named_in(text: &str) -> Vec<String> {
    let lower = text.to_ascii_lowercase();
    let mut found: Vec<String> = Vec::new();
    for trigger in TRIGGERS {
        for (start, _) in lower.match_indices(trigger) {
            let end = start + trigger.len();
            if is_word(&lower, start, end) {
                for id in ids_at(&text[end..]) {
                    if !found.contains(&id) {
                        found.push(id);
                    }
                }
            }
        }
    }
    found
}

fn is_word(text: &str, start: usize, end: usize) -> bool {
    let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    !letter(text[..start].chars().next_back()) && !letter(text[end..].chars().next())
}

/// The list of ids that a text begins with: `FR-1, FR-2 and FR-3`.
fn ids_at(text: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || ",:;/&+*`_(".contains(c));
        for filler in ["and ", "or ", "on ", "task ", "tasks ", "requirement ", "requirements "] {
            if rest.get(..filler.len()).is_some_and(|s| s.eq_ignore_ascii_case(filler)) {
                rest = rest[filler.len()..].trim_start();
            }
        }
        let Some(length) = id_length(rest) else { return ids };
        ids.push(rest[..length].to_owned());
        rest = rest[length..].trim_start_matches(['*', '`', '_', ')']);
    }
}

/// Length of the id (`FR-1`, `T-001`, `US2`) that a text begins with.
fn id_length(text: &str) -> Option<usize> {
    let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
    let dash = usize::from(text.as_bytes().get(letters) == Some(&b'-'));
    let digits = text.bytes().skip(letters + dash).take_while(u8::is_ascii_digit).count();
    let length = letters + dash + digits;
    let ends = !text[length..].chars().next().is_some_and(|c| c.is_alphanumeric() || c == '-');
    ((1..=4).contains(&letters) && (1..=5).contains(&digits) && ends).then_some(length)
}

/// `FR-1` and `FR1` are the same id.
pub(super) fn same_id(a: &str, b: &str) -> bool {
    let plain = |id: &str| id.replace('-', "").to_ascii_uppercase();
    plain(a) == plain(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(named_in(text), expected, "{text}");
    }

    #[test]
    fn ids_behind_a_trigger_are_dependencies() {
        check("Depends on FR-1.", &["FR-1"]);
        check("must run after FR-1, FR-2 and FR-3, then stop", &["FR-1", "FR-2", "FR-3"]);
        check("(blocked by: `T-001`; needs **US2**)", &["T-001", "US2"]);
        check("requires FR-1 & FR-4", &["FR-1", "FR-4"]);
    }

    #[test]
    fn triggers_without_ids_and_ids_without_triggers_are_not() {
        check("requires a config file; FR-2 is unrelated", &[]);
        check("see FR-1", &[]);
        check("thereafter FR-1", &[]);
        check("needs UTF-8x", &[]);
        check("hereafter, FR-9", &[]);
    }
}
