//! How a line of the log is dressed: colours on a terminal, groups in the log of a GitHub job. A finished line flows
//! in; what is written for it flows out. Lines come from `report::Console`, whose shape is `[Maestro] Phase 2: …` for what
//! begins something and `[Maestro]   ✓ …` for what happens within.

use crate::text::workflow_command;

const PREFIX: &str = "[Maestro] ";
const RESET: &str = "\u{1b}[0m";

/// True for a line that says something of the run as a whole, not of a step within it.
pub(super) fn is_top(line: &str) -> bool {
    line.strip_prefix(PREFIX).is_some_and(|rest| !rest.starts_with(' '))
}

/// True for a line that begins a phase.
fn is_phase(line: &str) -> bool {
    line.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with("Phase "))
}

/// True for what is shown where only failures and the end are wanted.
pub(super) fn is_outcome(line: &str) -> bool {
    line.contains('✗') || (is_top(line) && !is_phase(line))
}

/// The line in colours.
pub(super) fn painted(line: &str) -> String {
    let Some(rest) = line.strip_prefix(PREFIX) else { return line.to_owned() };
    let text = rest.trim_start();
    let indent = &rest[..rest.len() - text.len()];
    let mark = text.chars().next().unwrap_or(' ');
    let body = match mark {
        '✓' => format!("\u{1b}[32m{mark}{RESET}{}", &text[mark.len_utf8()..]),
        '✗' => format!("\u{1b}[31m{mark}{RESET}{}", &text[mark.len_utf8()..]),
        '–' => format!("\u{1b}[33m{mark}{RESET}{}", &text[mark.len_utf8()..]),
        '→' => format!("\u{1b}[36m{mark}{RESET}{}", &text[mark.len_utf8()..]),
        _ if is_phase(line) => format!("\u{1b}[1m{text}{RESET}"),
        _ => text.to_owned(),
    };
    format!("\u{1b}[2m{}{RESET} {indent}{body}", PREFIX.trim_end())
}

/// Which group of the job's log is open. A phase opens one; whatever is said of the run as a whole stands outside,
/// where nobody has to unfold it.
#[derive(Debug)]
pub(super) struct Groups {
    is_open: bool,
}

impl Groups {
    /// None is open.
    pub(super) const fn new() -> Self {
        Self { is_open: false }
    }

    /// What is written for a line, each a line of its own.
    pub(super) fn lines(&mut self, line: &str) -> Vec<String> {
        let mut lines = Vec::new();
        if is_top(line) {
            lines.extend(self.close());
        }
        if is_phase(line) {
            self.is_open = true;
            lines.push(workflow_command("group", &[], line));
        } else {
            lines.push(line.to_owned());
        }
        lines
    }

    /// The end of the group that is open, if one is.
    pub(super) fn close(&mut self) -> Option<String> {
        std::mem::take(&mut self.is_open).then(|| workflow_command("endgroup", &[], ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: [&str; 6] = [
        "[Maestro] Session 1",
        "[Maestro] Phase 1: Planning",
        "[Maestro]   → docs/prd.md",
        "[Maestro] Phase 2: Task Generation",
        "[Maestro]   ✗ T-001 failed",
        "[Maestro] ✗ failed: why",
    ];

    #[test]
    fn phases_are_groups_and_the_end_stands_outside() {
        let mut groups = Groups::new();
        let lines: Vec<String> = LOG.iter().flat_map(|line| groups.lines(line)).collect();
        let expected = [
            "[Maestro] Session 1",
            "::group::[Maestro] Phase 1: Planning",
            "[Maestro]   → docs/prd.md",
            "::endgroup::",
            "::group::[Maestro] Phase 2: Task Generation",
            "[Maestro]   ✗ T-001 failed",
            "::endgroup::",
            "[Maestro] ✗ failed: why",
        ];
        assert_eq!(lines, expected);
        assert_eq!(groups.close(), None);
    }

    #[test]
    fn only_failures_and_the_end_are_outcomes() {
        let outcomes: Vec<&str> = LOG.into_iter().filter(|line| is_outcome(line)).collect();
        assert_eq!(outcomes, ["[Maestro] Session 1", "[Maestro]   ✗ T-001 failed", "[Maestro] ✗ failed: why"]);
    }

    #[test]
    fn colours_change_no_word() {
        for line in LOG.into_iter().chain(["[Maestro]   – x", "[Maestro]   ✓ y", "anything else", "[Maestro] "]) {
            let mut plain = painted(line);
            for code in ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[2m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[36m"]
            {
                plain = plain.replace(code, "");
            }
            assert_eq!(plain, line);
        }
        assert!(painted("[Maestro]   ✗ x").contains("\u{1b}[31m✗\u{1b}[0m x"));
    }
}
