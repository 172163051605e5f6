//! The small pieces that the page is made of. Untrusted text flows in and leaves through `html_text` only; markup
//! that is already safe has the type `Markup`, so that the compiler keeps the two apart.

use std::fmt;

use super::super::model_work::{AttemptOutcome, AttemptReport, GateStanding, TaskStanding};
use crate::core::evidence::RequirementStatus;
use crate::core::fault::FaultClass;
use crate::text::{clip, html_text, one_line};

/// Longest untrusted text in one line, in characters.
const LINE_CHARS: usize = 300;

/// Markup that is safe to stand in the page as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Markup(String);

impl Markup {
    /// Markup that this program wrote itself, with no word of anybody else in it that is not encoded.
    pub(super) fn raw(markup: impl Into<String>) -> Self {
        Self(markup.into())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many elements it has, about.
    pub(super) fn elements(&self) -> usize {
        self.0.matches("</").count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, more: &Self) {
        self.0.push_str(&more.0);
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromIterator<Markup> for Markup {
    fn from_iter<I: IntoIterator<Item = Self>>(pieces: I) -> Self {
        let mut all = Self::default();
        pieces.into_iter().for_each(|piece| all.push(&piece));
        all
    }
}

/// Untrusted text in one line.
pub(super) fn t(text: &str) -> Markup {
    Markup(html_text(&one_line(text, LINE_CHARS)))
}

/// Untrusted text of many lines, at most so many bytes of it.
pub(super) fn lines(text: &str, max_bytes: usize) -> Markup {
    Markup(html_text(&clip(text, max_bytes)))
}

/// How something stands: gives it its colour. A word or a sign always says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tone {
    Ok,
    Bad,
    Warn,
    Run,
    Off,
}

impl Tone {
    /// Its class in the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Bad => "bad",
            Self::Warn => "warn",
            Self::Run => "run",
            Self::Off => "off",
        }
    }

    /// The sign that says the same without colour.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Ok => "✓",
            Self::Bad => "✗",
            Self::Warn => "!",
            Self::Run => "●",
            Self::Off => "–",
        }
    }

    pub(super) fn of_task(standing: TaskStanding) -> Self {
        match standing {
            TaskStanding::Done | TaskStanding::NoOp => Self::Ok,
            TaskStanding::Failed => Self::Bad,
            TaskStanding::Blocked | TaskStanding::Parked => Self::Warn,
            TaskStanding::Running => Self::Run,
            TaskStanding::Waiting => Self::Off,
        }
    }

    /// What the run itself cut short is nobody's failure.
    pub(super) fn of_attempt(attempt: &AttemptReport) -> Self {
        let is_lost = attempt.fault.as_ref().is_some_and(|fault| fault.class == FaultClass::Lost);
        match attempt.outcome {
            AttemptOutcome::Integrated | AttemptOutcome::NoChange => Self::Ok,
            AttemptOutcome::Failed if is_lost => Self::Warn,
            AttemptOutcome::Failed => Self::Bad,
            AttemptOutcome::Captured | AttemptOutcome::Running => Self::Run,
        }
    }

    pub(super) fn of_gate(standing: GateStanding) -> Self {
        match standing {
            GateStanding::Passed => Self::Ok,
            GateStanding::Failed => Self::Bad,
            GateStanding::Inconclusive => Self::Warn,
            GateStanding::Skipped | GateStanding::NotRun => Self::Off,
        }
    }

    pub(super) fn of_requirement(status: RequirementStatus) -> Self {
        match status {
            RequirementStatus::Met => Self::Ok,
            RequirementStatus::Unmet => Self::Bad,
            RequirementStatus::Unverified => Self::Warn,
        }
    }
}

/// A word with its colour and sign.
pub(super) fn badge(tone: Tone, word: &str) -> Markup {
    let (class, sign) = (tone.class(), tone.sign());
    Markup(format!("<span class=\"badge {class}\"><span aria-hidden=\"true\">{sign}</span> {}</span>", t(word)))
}

/// A section with its heading; the id is ours.
pub(super) fn section(id: &str, title: &str, body: &Markup) -> Markup {
    Markup(format!(
        "<section id=\"{id}\" aria-labelledby=\"h-{id}\"><h2 id=\"h-{id}\">{title}</h2>\n{body}</section>\n"
    ))
}

/// A paragraph that is said in a low voice.
pub(super) fn aside(words: impl fmt::Display) -> Markup {
    Markup(format!("<p class=\"dim\">{words}</p>\n"))
}

/// A table of at most `cap` rows; the first cell of a row is its header, and what is cut is counted.
pub(super) fn table(caption: &str, head: &[&str], rows: &[Vec<Markup>], cap: usize) -> Markup {
    let columns: String = head.iter().map(|name| format!("<th scope=\"col\">{name}</th>")).collect();
    let body: String = rows.iter().take(cap).map(|row| table_row(row)).collect();
    let more = rows.len().saturating_sub(cap);
    let table = Markup(format!(
        "<table><caption>{caption}</caption><thead><tr>{columns}</tr></thead>\n<tbody>{body}</tbody></table>\n"
    ));
    let table = if head.len() > 3 { scroll(caption, &table) } else { table };
    if more > 0 { [table, left_out(more, "rows")].into_iter().collect() } else { table }
}

/// How many of the rows, at most `cap`, stay within so many bytes.
pub(super) fn fitting(rows: &[Vec<Markup>], bytes: usize, cap: usize) -> usize {
    let mut room = bytes;
    let mut fits = |row: &Vec<Markup>| {
        let left = room.checked_sub(table_row(row).len());
        room = left.unwrap_or(0);
        left.is_some()
    };
    rows.iter().take(cap).take_while(|row| fits(row)).count()
}

fn table_row(cells: &[Markup]) -> String {
    let cell = |(i, cell): (usize, &Markup)| match i {
        0 => format!("<th scope=\"row\">{cell}</th>"),
        _ => format!("<td>{cell}</td>"),
    };
    format!("<tr>{}</tr>\n", cells.iter().enumerate().map(cell).collect::<String>())
}

/// What may be wider than the page, and is then scrolled by itself: with the keyboard, too.
pub(super) fn scroll(label: &str, wide: &Markup) -> Markup {
    Markup(format!("<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"{label}\">{wide}</div>\n"))
}

/// That something is left out, how much of it, and where it is.
pub(super) fn left_out(n: usize, what: &str) -> Markup {
    aside(format!("{n} more {what} are left out here; <code>report.json</code> has all of them."))
}

/// Something that opens. The summary is markup, so that it can hold badges.
pub(super) fn details(open: bool, summary: &Markup, body: &Markup) -> Markup {
    let open = if open { " open" } else { "" };
    Markup(format!("<details{open}><summary>{summary}</summary>{body}</details>\n"))
}

/// Untrusted lines as they are: a log, a message.
pub(super) fn pre(class: &str, text: &Markup) -> Markup {
    Markup(format!("<pre class=\"{class}\">{text}</pre>\n"))
}

/// Names with their values.
pub(super) fn facts(pairs: &[(&str, Markup)]) -> Markup {
    let pair = |(name, value): &(&str, Markup)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>");
    Markup(format!("<dl class=\"facts\">{}</dl>\n", pairs.iter().map(pair).collect::<String>()))
}

/// An id that is plain enough for an anchor stays as it is; another one gets a number. Both kinds keep apart.
pub(super) fn anchor(kind: &str, id: &str, index: usize) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !id.is_empty() && id.len() <= 60 && id.chars().all(plain) {
        format!("{kind}-{id}")
    } else {
        format!("{kind}_{index}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_markup_through_the_encoder_only() {
        assert_eq!(t("<b>\u{202e}").to_string(), "&lt;b&gt;\u{fffd}");
        assert_eq!(lines("a\n<b>", 100).to_string(), "a\n&lt;b&gt;");
        assert!(!badge(Tone::Bad, "<script>").to_string().contains("<script"));
    }

    #[test]
    fn a_long_table_is_cut_and_says_where_the_rest_is() {
        let rows = vec![vec![t("x"), t("y")]; 12];
        let table = table("c", &["A", "B"], &rows, 10).to_string();
        assert_eq!(table.matches("<tr>").count(), 11);
        assert!(table.contains("2 more rows are left out here; <code>report.json</code> has all of them."), "{table}");
    }

    #[test]
    fn two_ids_never_share_an_anchor() {
        let all: Vec<String> =
            ["T-001", "a b", "a/b", "_1", ""].iter().enumerate().map(|(i, id)| anchor("task", id, i)).collect();
        assert_eq!(all, ["task-T-001", "task_1", "task_2", "task-_1", "task_4"]);
    }
}
