//! Words for the forge: what a report comes to as a check run and as a pull request; and lines for the log about what
//! was told. Reports flow in, plain data of the forge room flows out.

use super::output;
use crate::core::finding::{Finding, Level};
use crate::forge::{Annotation, CheckRun, Ci, Failure, Pull};
use crate::report::Report;
use crate::text;

/// Annotations of a check; each 50 are a request, and requests keep a second's distance.
const MAX_ANNOTATIONS: usize = 400;
/// The longest message of one, bytes; GitHub takes 64 KB.
const MAX_MESSAGE_BYTES: usize = 4_000;
/// The longest title of one, characters; GitHub takes 255.
const MAX_TITLE: usize = 200;
/// The longest title of a pull request, characters.
const MAX_PULL_TITLE: usize = 120;

/// Why `publish` has made no comment, and what to do.
pub const NO_PULL_REQUEST: &str = "[Maestro]   → No comment: no open pull or merge request is known for this job's commit \
                                   or the result branch; --comment NUMBER names one";

/// Where an answer is missing.
pub const UNANSWERED: &str = "the forge did not answer in time; the comment lies beside the reports (comment.md)";

/// The check run of a report. None where the commit under review is not known.
pub fn check_run(report: &Report, ci: &Ci, comment: &str) -> Option<CheckRun> {
    let annotations = report.findings.iter().filter_map(annotation).take(MAX_ANNOTATIONS).collect();
    let conclusion = match report.verdict.as_str() {
        "passed" => "success",
        "interrupted" | "terminated" => "cancelled",
        _ => "failure",
    };
    let reason = text::one_line(&text::terminal_line(&report.reason), MAX_TITLE);
    Some(CheckRun {
        name: format!("maestro-ci: {}", text::one_line(&report.prd.path, MAX_TITLE)),
        head_sha: ci.head_sha.clone()?,
        conclusion,
        title: if reason.is_empty() { report.verdict.clone() } else { format!("{}: {reason}", report.verdict) },
        summary: comment.split_once('\n').map_or("", |(_, rest)| rest).to_owned(),
        details_url: ci.job_url.clone(),
        // A session that is resumed or delivered ends again, and its new end is another check.
        external_id: format!("{}@{} {}", report.session, report.timing.elapsed_ms, report.verdict),
        annotations,
    })
}

/// A finding that has a place. The text is shown as it stands, not as Markdown.
fn annotation(finding: &Finding) -> Option<Annotation> {
    let level = match finding.level {
        Level::Error => "failure",
        Level::Warning => "warning",
        Level::Note => "notice",
    };
    Some(Annotation {
        path: finding.path.clone()?,
        line: finding.line.unwrap_or(1).max(1),
        level,
        title: text::one_line(&text::terminal_line(&format!("{} ({})", finding.rule, finding.source)), MAX_TITLE),
        message: visible(&text::head_tail(&finding.message, MAX_MESSAGE_BYTES)),
    })
}

/// Lines without control characters.
fn visible(message: &str) -> String {
    let lines: Vec<String> = message.lines().map(text::terminal_line).collect();
    lines.join("\n")
}

/// The pull request for a report's result. Without a base it is the forge's default branch.
pub fn pull(report: &Report, base: Option<String>, comment: &str) -> Pull {
    Pull {
        head: report.result.branch.clone(),
        base: base.unwrap_or_default(),
        title: title(&report.prd.title, &report.prd.feature),
        body: comment.to_owned(),
    }
}

/// A title that mentions, closes and links nothing: it becomes the message of a merge.
fn title(title: &str, feature: &str) -> String {
    let calm = text::inert_title(&text::one_line(title, MAX_PULL_TITLE));
    if calm.trim().is_empty() {
        format!("maestro-ci: {feature}")
    } else {
        format!("maestro-ci: {} ({feature})", calm.trim())
    }
}

/// Logs what was told. Returns why it was not, where that `counts`; elsewhere it is a warning.
pub fn told(what: &str, done: Result<Option<&str>, &Failure>, counts: bool) -> Option<String> {
    match done {
        Ok(Some(place)) => output::log_line(&format!("[Maestro]   → {what}: {}", text::terminal_line(place))),
        Ok(None) => tracing::debug!("{what}: there is none to write on"),
        Err(failure) => {
            let hint = failure.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
            let why = format!("{what} cannot be written: {failure}{hint}");
            if counts {
                return Some(why);
            }
            tracing::warn!("{}", text::terminal_line(&why));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_mentions_closes_and_links_nothing() {
        let check = |text: &str, expected: &str| assert_eq!(title(text, "login"), expected);
        check("Add login", "maestro-ci: Add login (login)");
        check("fixes #1 for @every`one", "maestro-ci: fixes `#`1 for `@`everyone (login)");
        check("Fixes GH-1", "maestro-ci: Fixes GH`-`1 (login)");
        check("closes https://h/o/r/issues/1", "maestro-ci: closes https`://`h/o/r/issues/1 (login)");
        assert!(!title("a\u{1b}[31m\u{202e}b", "login").contains(['\u{1b}', '\u{202e}']));
        check("", "maestro-ci: login");
    }

    #[test]
    fn only_what_has_a_place_is_an_annotation() {
        let finding = |path: Option<&str>| Finding {
            rule: "test-failed".to_owned(),
            level: Level::Error,
            path: path.map(str::to_owned),
            line: None,
            message: "a\u{1b}[31mb\nc".to_owned(),
            source: "gate test".to_owned(),
        };
        assert_eq!(annotation(&finding(None)), None);
        let there = annotation(&finding(Some("src/a.rs"))).unwrap();
        assert_eq!((there.line, there.level, there.title.as_str()), (1, "failure", "test-failed (gate test)"));
        assert!(there.message.ends_with("\nc") && !there.message.contains('\u{1b}'), "{:?}", there.message);
    }
}
