//! Annotations for the GitHub runner: the verdict and the findings that weigh most, as workflow commands. A report
//! flows in; finished lines flow out. The runner shows ten of each level and drops the rest without a word, so the last one
//! of a level that has more says how many.

use super::format::len;
use super::model::Report;
use crate::core::finding::{Finding, Level};
use crate::text::{count, workflow_command};

/// What the runner takes of one level.
const MAX_PER_LEVEL: usize = 10;

/// The commands, each a line.
pub fn annotations(report: &Report) -> Vec<String> {
    let levels = [Level::Error, Level::Warning, Level::Note];
    levels.into_iter().flat_map(|level| of_level(report, level)).collect()
}

fn of_level(report: &Report, level: Level) -> Vec<String> {
    let found = report.findings.iter().filter(|f| f.level == level);
    let verdict = verdict(report).filter(|(of, _)| *of == level).map(|(_, command)| command);
    let all: Vec<String> = verdict.into_iter().chain(found.map(|f| annotation(f, level))).collect();
    if all.len() <= MAX_PER_LEVEL {
        return all;
    }
    let shown = MAX_PER_LEVEL - 1;
    let message = format!("{} more in the job summary and the reports", count(len(all.len() - shown), level.name()));
    let last = workflow_command(command(level), &[("title", "maestro-ci")], &message);
    all.into_iter().take(shown).chain([last]).collect()
}

/// Why the step is red, or what a green one leaves open; none while the run goes on and for a plain pass.
fn verdict(report: &Report) -> Option<(Level, String)> {
    let level = match report.exit_code? {
        0 if report.qualifiers().is_empty() => return None,
        0 => Level::Warning,
        _ => Level::Error,
    };
    let title = format!("maestro-ci: {}", report.verdict);
    let headline = report.headline();
    let message = if report.reason == headline { headline } else { format!("{headline}: {}", report.reason) };
    let path = [("file", report.prd.path.as_str()), ("title", title.as_str())];
    Some((level, workflow_command(command(level), &path, &message)))
}

fn annotation(finding: &Finding, level: Level) -> String {
    let line = finding.line.map(|line| line.to_string()).unwrap_or_default();
    let title = format!("{} ({})", finding.rule, finding.source);
    let place = [("file", finding.path.as_deref().unwrap_or_default()), ("line", &line), ("title", &title)];
    workflow_command(command(level), &place, &finding.message)
}

fn command(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "notice",
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn report(findings: Vec<Finding>) -> Report {
        Report { findings, ..testing::report() }
    }

    fn finding(level: Level, line: Option<u32>, message: &str) -> Finding {
        let (path, source) = (Some("src/a,b.rs".to_owned()), "gate test".to_owned());
        Finding { rule: "test-failed".to_owned(), level, path, line, message: message.to_owned(), source }
    }

    #[test]
    fn the_verdict_comes_first_then_what_was_found_where() {
        let lines = annotations(&report(vec![finding(Level::Note, None, "n"), finding(Level::Error, Some(3), "a\nb")]));
        let first = "::error file=docs/prd.md,title=maestro-ci%3A failed::failed, 1 task failed";
        assert!(lines[0].starts_with(first), "{}", lines[0]);
        assert_eq!(lines[1], "::error file=src/a%2Cb.rs,line=3,title=test-failed (gate test)::a%0Ab");
        assert_eq!(lines[2], "::notice file=src/a%2Cb.rs,title=test-failed (gate test)::n");
    }

    #[test]
    fn no_level_has_more_than_the_runner_shows_and_the_rest_is_counted() {
        let many = (0..40).map(|n| finding(Level::Warning, Some(n), "w")).collect();
        let lines = annotations(&report(many));
        let warnings: Vec<&String> = lines.iter().filter(|l| l.starts_with("::warning")).collect();
        assert_eq!(warnings.len(), 10);
        assert_eq!(warnings[9], "::warning title=maestro-ci::31 warnings more in the job summary and the reports");
    }

    #[test]
    fn a_run_under_way_and_a_plain_pass_have_none() {
        let mut report = report(Vec::new());
        report.exit_code = None;
        assert!(annotations(&report).is_empty());
        report.exit_code = Some(0);
        assert!(annotations(&report)[0].starts_with("::warning"), "it is not a plain pass");
        (report.tasks, report.gates, report.requirements) = (Vec::new(), Vec::new(), Vec::new());
        assert!(annotations(&report).is_empty());
    }

    #[test]
    fn hostile_text_gives_no_command_of_its_own() {
        let lines = annotations(&report(vec![finding(Level::Error, None, testing::HOSTILE)]));
        for line in lines {
            assert!(!line.contains("##[") && line.chars().all(crate::text::is_visible), "{line:?}");
        }
    }
}
