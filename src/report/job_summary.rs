//! The page that a CI shows for the job: the head that people read in ten seconds, then the final report, then what
//! annotations have no room for. A report flows in, Markdown flows out; whoever writes it cuts it to the
//! runner's limit.

use super::format::len;
use super::markdown::{final_report, md};
use super::model::Report;
use super::model_work::{GateReport, GateStanding};
use super::overview::{self, bullets, code};
use crate::core::finding::Finding;
use crate::text::{count, head_tail, markdown_code_block, markdown_link};

/// Findings that are listed; annotations hold ten of a level at most.
const MAX_FINDINGS: usize = 500;
/// End of a red gate's log, bytes.
const LOG_BYTES: usize = 20_000;

/// The page. `live` as for the comment: false where who speaks is not the run itself.
pub fn job_summary(report: &Report, job_url: Option<&str>, live: bool) -> String {
    let standing = overview::standing(report, live);
    let mut page = format!("# {}\n\n**{}**\n\n", overview::heading(report, standing), overview::facts(report));
    for part in [overview::trouble(report), overview::next(report, standing)] {
        if !part.is_empty() {
            page.push_str(&format!("{}\n\n", part.trim_end()));
        }
    }
    if let Some(url) = job_url {
        page.push_str(&format!("{}\n\n", markdown_link("The job", url)));
    }
    page.push_str(&findings(report));
    // Its own title and verdict stand above already.
    let rest = final_report(report);
    page.push_str(rest.find("\n## ").map_or("", |at| &rest[at + 1..]));
    page.push_str(&logs(report));
    page
}

fn findings(report: &Report) -> String {
    if report.findings.is_empty() {
        return String::new();
    }
    let all = len(report.findings.len()).saturating_add(report.findings_not_listed);
    let rows: Vec<String> = report.findings.iter().map(finding).collect();
    let list = bullets(&rows, MAX_FINDINGS);
    format!("<details><summary>{}</summary>\n\n{list}\n</details>\n\n", count(all, "finding"))
}

fn finding(finding: &Finding) -> String {
    let place = match (&finding.path, finding.line) {
        (Some(path), Some(line)) => format!(" {}:{line}", md(path)),
        (Some(path), None) => format!(" {}", md(path)),
        (None, _) => String::new(),
    };
    format!(
        "{} {}{place}: {} ({})",
        finding.level.name(),
        code(&finding.rule),
        md(&finding.message),
        md(&finding.source)
    )
}

fn logs(report: &Report) -> String {
    let red = |g: &&GateReport| matches!(g.status, GateStanding::Failed | GateStanding::Inconclusive);
    let red = report.gates.iter().filter(red).filter(|g| !g.log_tail.trim().is_empty());
    let logs: String = red
        .map(|gate| {
            let log = markdown_code_block(&head_tail(&gate.log_tail, LOG_BYTES), "text");
            format!("\n### {}\n\n{log}", md(&gate.name))
        })
        .collect();
    if logs.is_empty() { logs } else { format!("\n## Logs of gates that are not green\n{logs}") }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::core::finding::Level;

    #[test]
    fn the_verdict_comes_first_and_stands_there_once() {
        let page = job_summary(&testing::report(), Some("https://ci.example/1"), true);
        assert!(page.starts_with("# ❌ "), "{page}");
        assert_eq!(page.lines().filter(|line| line.starts_with("# ")).count(), 1);
        assert!(page.contains("\n[The job](https://ci.example/1)\n"), "{page}");
        for section in ["Summary", "Decisions", "Quality Gates", "Budget", "Next Steps", "Logs of gates"] {
            assert!(page.contains(&format!("\n## {section}")), "{section} in {page}");
        }
    }

    #[test]
    fn findings_say_where_they_are_and_how_many_there_are() {
        let mut report = testing::report();
        let finding = |n: u32| Finding {
            rule: "test-failed".to_owned(),
            level: Level::Error,
            path: Some("src/@a.rs".to_owned()),
            line: Some(n),
            message: "<b>".to_owned(),
            source: "gate test".to_owned(),
        };
        report.findings = (1..=600).map(finding).collect();
        let page = job_summary(&report, None, true);
        assert!(page.contains("<summary>600 findings</summary>"), "{page}");
        assert!(page.contains("- error `test-failed` src/`@`a.rs:1: &lt;b&gt; (gate test)\n"), "{page}");
        assert!(page.contains("- and 100 more\n"), "{page}");
    }
}
