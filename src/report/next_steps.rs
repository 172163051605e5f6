//! Next steps of `final-report.md`: how to look at the result, how to go on, where to look. A report flows in, Markdown
//! flows out; commands are such that they can be pasted into a shell.

use super::format::resource;
use super::markdown::{list, md};
use super::markdown_sections::own;
use super::model::{Report, StoppedBy};
use super::model_work::{GateReport, GateStanding, RequirementReport, TaskReport, TaskStanding};
use crate::core::budget::Resource;
use crate::core::call::Scope;
use crate::core::evidence::RequirementStatus;
use crate::text::markdown_code_block;

pub(super) fn next_steps(report: &Report) -> String {
    let mut text = review(report);
    if let Some(stop) = &report.budget.stopped_by {
        text.push_str(&raise(stop));
    }
    if report.resumable {
        text.push_str("\nGo on with the session:\n\n");
        let stop = report.budget.stopped_by.as_ref();
        let command = resume_command(&report.session, &report.isolation.level, stop);
        text.push_str(&markdown_code_block(&command, "sh"));
    }
    let logs = list(trouble(report));
    if !logs.is_empty() {
        text.push_str(&format!("\nLook at:\n\n{logs}"));
    }
    let unverified: Vec<&RequirementReport> =
        report.requirements.iter().filter(|r| r.status == RequirementStatus::Unverified).collect();
    if !unverified.is_empty() {
        let ids = unverified.iter().map(|r| r.id.as_str()).collect::<Vec<_>>().join(", ");
        text.push_str(&format!(
            "\nGive these requirements a gate or a `check` block, or check them by hand: {}\n",
            md(&ids)
        ));
    }
    text
}

/// The command that goes on, with the flags that it needs: the permission the run had, and more of what ran out.
pub(super) fn resume_command(session: &str, isolation: &str, stop: Option<&StoppedBy>) -> String {
    let mut command = format!("maestro-ci resume {}", word(session));
    if isolation == "L0" {
        command.push_str(" --allow-unsandboxed");
    }
    if let Some(stop) = stop {
        command.push_str(&more(stop));
    }
    command
}

/// Which limit stopped the run, and by how much.
fn raise(stop: &StoppedBy) -> String {
    let show = |amount| own(&resource(stop.resource, amount));
    let whose = stop.task.as_ref().map(|task| format!(" of {}", md(task))).unwrap_or_default();
    let wanted =
        if stop.wanted > 1 { format!(", the next call could take {}", show(stop.wanted)) } else { String::new() };
    let (name, used, limit) = (stop.resource, show(stop.used), show(stop.limit));
    format!("\nRaise the limit{whose} on {name} that stopped the run ({used} of {limit}{wanted}) before going on.\n")
}

/// The flag that raises a limit to twice what it was or what was used of it, or to what was asked for.
fn more(stop: &StoppedBy) -> String {
    let n = stop.limit.max(stop.used).saturating_mul(2).max(stop.used.saturating_add(stop.wanted));
    let (secs, usd) = (n.div_ceil(1000), format!("{}.{:06}", n / 1_000_000, n % 1_000_000));
    let set = |key: &str, value: &str| format!(" --set resource_limits.{key}={value}");
    match (stop.resource, stop.scope) {
        (Resource::Duration, Scope::Session) => format!(" --max-duration {secs}s"),
        (Resource::Tokens, Scope::Session) => format!(" --max-tokens {n}"),
        (Resource::ApiCalls, Scope::Session) => format!(" --max-api-calls {n}"),
        (Resource::Cost, Scope::Session) => format!(" --max-cost {usd}"),
        (Resource::Duration, Scope::Task) => set("task.max_duration_seconds", &secs.to_string()),
        (Resource::Tokens, Scope::Task) => set("task.max_tokens", &n.to_string()),
        (Resource::ApiCalls, Scope::Task) => set("task.max_api_calls", &n.to_string()),
        (Resource::Cost, Scope::Task) => set("task.max_cost_usd", &usd),
        (Resource::Idle, _) => set("idle_seconds", &secs.to_string()),
        (Resource::Memory, _) => format!(" --max-memory {n}"),
        (Resource::Processes, _) => set("task.max_processes", &n.to_string()),
        (Resource::Output, _) => set("task.max_output_bytes", &n.to_string()),
        (Resource::Disk, _) => set("task.max_disk_bytes", &n.to_string()),
        (Resource::ChangedFiles, _) => set("task.max_changed_files", &n.to_string()),
        (Resource::ChangedLines, _) => set("task.max_changed_lines", &n.to_string()),
    }
}

/// How to look at the result and take it over.
fn review(report: &Report) -> String {
    let result = &report.result;
    let branch = word(&result.branch);
    let mut text = if result.moved {
        let base = word(&report.base.commit);
        let commands = format!("git diff {base}..{branch}\ngit merge {branch}");
        format!("Review the result and take it over:\n\n{}", markdown_code_block(&commands, "sh"))
    } else {
        let ran = report.gates.iter().any(|g| g.status != GateStanding::NotRun);
        let why = if ran { "no tree passed everything that was required" } else { "the run ended before validation" };
        format!("The result branch {} was not moved: {why}.\n", md(&result.branch))
    };
    let kept =
        result.tip.as_ref().filter(|tip| Some(*tip) != result.branch_commit.as_ref() && **tip != report.base.commit);
    if let Some(tip) = kept {
        let from = word(result.branch_commit.as_ref().filter(|_| result.moved).unwrap_or(&report.base.commit));
        let command = format!("git diff {from}..{}", word(tip));
        let place = md(&format!("refs/maestro/{}/", report.session));
        text.push_str(&format!("\nLater work is kept under {place}:\n\n{}", markdown_code_block(&command, "sh")));
    }
    text
}

/// Tasks and gates that are not green, with where their logs are.
fn trouble(report: &Report) -> Vec<String> {
    let home = format!(".flow/maestro/sessions/{}", report.session);
    let task = |t: &TaskReport| {
        let attempt = t.attempts.len();
        let place = if attempt > 0 { format!("{home}/tasks/{}/attempt-{attempt}/", t.id) } else { home.clone() };
        format!(
            "{} {}: {} — {}",
            md(&t.id),
            t.status.name(),
            md(t.reason.as_deref().unwrap_or("no end on record")),
            md(&place)
        )
    };
    let gate = |g: &GateReport| {
        format!(
            "{} {}: {} — {}",
            md(&g.name),
            g.status.name(),
            md(&g.summary),
            md(&format!("{home}/gates/{}/", g.name))
        )
    };
    let open =
        |t: &&TaskReport| matches!(t.status, TaskStanding::Failed | TaskStanding::Parked | TaskStanding::Running);
    let red = |g: &&GateReport| matches!(g.status, GateStanding::Failed | GateStanding::Inconclusive);
    let tasks = report.tasks.iter().filter(open).map(task);
    tasks.chain(report.gates.iter().filter(red).map(gate)).collect()
}

/// A word for a command that people paste into a POSIX shell.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_the_shell_cannot_run_anything() {
        assert_eq!(word("maestro/token-refresh"), "maestro/token-refresh");
        assert_eq!(word("a;$(id)'b"), "'a;$(id)'\\''b'");
    }

    #[test]
    fn the_advice_raises_the_limit_that_was_reached_and_not_another() {
        let stop = |resource, scope| StoppedBy {
            resource,
            used: 90,
            limit: 100,
            soft: true,
            scope,
            task: Some("T-001".to_owned()).filter(|_| scope == Scope::Task),
            wanted: 141,
        };
        assert_eq!(more(&stop(Resource::Tokens, Scope::Session)), " --max-tokens 231");
        assert_eq!(more(&stop(Resource::Tokens, Scope::Task)), " --set resource_limits.task.max_tokens=231");
        assert_eq!(more(&stop(Resource::Cost, Scope::Task)), " --set resource_limits.task.max_cost_usd=0.000231");
        let over = StoppedBy { used: 150, wanted: 0, ..stop(Resource::ApiCalls, Scope::Task) };
        assert_eq!(more(&over), " --set resource_limits.task.max_api_calls=300");
        let silent = StoppedBy { used: 5000, limit: 5000, wanted: 0, ..stop(Resource::Idle, Scope::Task) };
        assert_eq!(more(&silent), " --set resource_limits.idle_seconds=10");
        let raise = raise(&stop(Resource::Tokens, Scope::Task));
        assert!(raise.contains("of T") && raise.contains("90 tokens of 100 tokens"), "{raise}");
    }
}
