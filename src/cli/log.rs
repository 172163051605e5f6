//! `log`: the journal, filtered.

use serde_json::Value;

use super::error::CliError;
use super::flags::{Global, LogArgs, LogKind};
use super::{output, session};
use crate::config;
use crate::core::{Event, Record, TaskId, Verdict};
use crate::report::Console;
use crate::text::{clip, json_safe, one_line, terminal_line};

/// Longest line of a record that has no words of its own, in characters.
const LINE_CHARS: usize = 300;
/// Longest text in a line of JSON, in bytes; the journal has all of it.
const TEXT_BYTES: usize = 4096;

pub fn log(global: &Global, args: &LogArgs) -> Result<Verdict, CliError> {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let (since, until) =
        (moment("--since", args.since.as_deref(), now_ms)?, moment("--until", args.until.as_deref(), now_ms)?);
    let (_, stored) = session::find(global, args.session.as_deref())?;
    if let Some(task) = args.task.as_ref().filter(|task| !stored.state.tasks.contains_key(&TaskId::new(task.as_str())))
    {
        let hint = "`maestro-ci status` shows the tasks of a session";
        return Err(CliError::usage(format!("session {} has no task `{task}`", stored.id)).hint(hint));
    }
    let wanted = |record: &Record| {
        args.kind.is_none_or(|kind| kind_of(&record.event) == Some(kind))
            && args.task.as_ref().is_none_or(|task| task_of(&record.event).is_some_and(|t| t.as_str() == task))
            && since.is_none_or(|since| record.at.wall_ms >= since)
            && until.is_none_or(|until| record.at.wall_ms <= until)
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
            let record = bounded(serde_json::to_value(record).unwrap_or_default());
            lines.push(json_safe(&record.to_string()));
        } else {
            let at = jiff::Timestamp::from_millisecond(record.at.wall_ms).unwrap_or_default();
            let at = at.strftime("%Y-%m-%dT%H:%M:%SZ");
            let text = if text.is_empty() { vec![plain(record)] } else { text };
            lines.extend(text.iter().map(|line| format!("{at} {line}")));
        }
    }
    if !lines.is_empty() {
        output::print(&lines.join("\n"));
    }
    Ok(Verdict::Passed)
}

/// A moment in milliseconds since the Unix epoch: RFC 3339, or how long before `now_ms`.
fn moment(flag: &str, text: Option<&str>, now_ms: i64) -> Result<Option<i64>, CliError> {
    let Some(text) = text else { return Ok(None) };
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Ok(Some(moment.as_millisecond()));
    }
    let ago_ms = config::units::duration_secs(text).ok().and_then(|secs| i64::try_from(secs).ok()?.checked_mul(1000));
    match ago_ms.and_then(|ago| now_ms.checked_sub(ago)) {
        Some(moment) => Ok(Some(moment)),
        None => Err(CliError::usage(format!("{flag}: `{text}` is not a moment"))
            .hint("2026-11-21T20:15:00Z, or how long ago: 10m, 2h, 1d")),
    }
}

/// A record that the console has no words for, as its name and its fields.
fn plain(record: &Record) -> String {
    let mut fields = serde_json::to_value(&record.event).unwrap_or_default();
    if let Some(map) = fields.as_object_mut() {
        map.remove("type");
    }
    terminal_line(&one_line(&format!("{} {fields}", record.event.name()), LINE_CHARS))
}

/// The same value with every long text cut, which says by how much.
fn bounded(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(clip(&text, TEXT_BYTES)),
        Value::Array(items) => items.into_iter().map(bounded).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, bounded(value))).collect(),
        other => other,
    }
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
        Event::EffectBroken { key, .. } | Event::Restarted { key } => key.task().map(|(task, _)| task),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_of_an_attempt_belongs_to_its_task() {
        use crate::core::{Broken, EffectKey};
        let broken = Broken { message: String::new(), critical: false };
        let of = |key| task_of(&Event::EffectBroken { key, broken: broken.clone() }).map(ToString::to_string);
        assert_eq!(of(EffectKey::Capture { task: "T-001".into(), attempt: 1 }).as_deref(), Some("T-001"));
        assert_eq!(of(EffectKey::Setup), None);
    }

    #[test]
    fn long_texts_are_cut_wherever_they_stand_and_nothing_else() {
        let value = serde_json::json!({"n": 1, "list": [{"text": "x".repeat(5_000), "short": "y"}, null]});
        let cut = bounded(value.clone());
        let text = cut["list"][0]["text"].as_str().expect("a text");
        assert!(text.len() <= TEXT_BYTES && text.ends_with(" bytes cut)"), "{} bytes", text.len());
        let mut same = cut.clone();
        same["list"][0]["text"] = value["list"][0]["text"].clone();
        assert_eq!(same, value);
    }

    #[test]
    fn a_moment_is_a_date_or_a_time_ago() {
        let now_ms = 1_700_000_000_000;
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(moment("--since", Some(text), now_ms).ok().flatten(), expected, "{text}");
        };
        check("2023-11-14T22:13:20Z", Some(now_ms));
        check("2023-11-14T23:13:20+01:00", Some(now_ms));
        check("10m", Some(now_ms - 600_000));
        check("1h30m", Some(now_ms - 5_400_000));
        for bad in ["yesterday", "", "-5m", "99999999999999999d", "2023-11-14"] {
            check(bad, None);
        }
        assert_eq!(moment("--since", None, now_ms).ok(), Some(None));
    }
}
