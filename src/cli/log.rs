//! `log`: the journal, filtered.

use super::error::CliError;
use super::flags::{Global, LogArgs, LogKind};
use super::{output, session};
use crate::core::{Event, Record, TaskId, Verdict};
use crate::report::Console;
use crate::text::{json_safe, terminal_line};

pub fn log(global: &Global, args: &LogArgs) -> Result<Verdict, CliError> {
    let (_, stored) = session::find(global, args.session.as_deref())?;
    let wanted = |record: &Record| {
        args.kind.is_none_or(|kind| kind_of(&record.event) == Some(kind))
            && args.task.as_ref().is_none_or(|task| task_of(&record.event).is_some_and(|t| t.as_str() == task))
    };
    let mut lines = Vec::new();
    let mut console = Console::new(true);
    let mut state = crate::core::State::default();
    for record in &stored.records {
        state.apply(record)?;
        // The console keeps count of what it has seen, so it sees every record.
        let text = console.lines(&state, record);
        if !wanted(record) {
            continue;
        }
        if args.json {
            lines.push(json_safe(&serde_json::to_string(record).unwrap_or_default()));
        } else {
            let at = jiff::Timestamp::from_millisecond(record.at.wall_ms).map(|t| t.strftime("%H:%M:%S").to_string());
            let text = if text.is_empty() { vec![plain(record)] } else { text };
            lines.extend(text.iter().map(|line| format!("{} {line}", at.as_deref().unwrap_or_default())));
        }
    }
    if !lines.is_empty() {
        output::print(&lines.join("\n"));
    }
    Ok(Verdict::Passed)
}

/// A record that the console has no words for, as its name and its fields.
fn plain(record: &Record) -> String {
    let mut fields = serde_json::to_value(&record.event).unwrap_or_default();
    if let Some(map) = fields.as_object_mut() {
        map.remove("type");
    }
    terminal_line(&format!("{} {fields}", record.event.name()))
}

fn kind_of(event: &Event) -> Option<LogKind> {
    match event {
        Event::Decided { .. } => Some(LogKind::Decision),
        Event::AttemptFailed { .. }
        | Event::EffectBroken { .. }
        | Event::SetupFailed { .. }
        | Event::Stalled { .. } => Some(LogKind::Fault),
        Event::RoundStarted { .. } | Event::GateStarted { .. } | Event::GateEnded { .. } => Some(LogKind::Gate),
        Event::UsageReported { .. }
        | Event::CallWaits { .. }
        | Event::CallStarted { .. }
        | Event::CallRefused { .. }
        | Event::CallEnded { .. }
        | Event::AttemptStopping { .. }
        | Event::RefusedTooOften { .. }
        | Event::CostUnknown { .. }
        | Event::StopRequested { .. } => Some(LogKind::Spend),
        _ => task_of(event).map(|_| LogKind::Task),
    }
}

fn task_of(event: &Event) -> Option<&TaskId> {
    match event {
        Event::AttemptStarted { task, .. }
        | Event::WorkspaceReady { task, .. }
        | Event::UsageReported { task, .. }
        | Event::CallWaits { task, .. }
        | Event::CallStarted { task, .. }
        | Event::CallRefused { task, .. }
        | Event::CallEnded { task, .. }
        | Event::AttemptStopping { task, .. }
        | Event::RefusedTooOften { task, .. }
        | Event::CostUnknown { task, .. }
        | Event::AgentEnded { task, .. }
        | Event::Captured { task, .. }
        | Event::AttemptFailed { task, .. }
        | Event::RetryScheduled { task, .. }
        | Event::TaskParked { task, .. }
        | Event::IntegrationStarted { task, .. }
        | Event::Merged { task, .. }
        | Event::TaskSettled { task, .. } => Some(task),
        Event::Decided { decision } => decision.task.as_ref(),
        _ => None,
    }
}
