//! Every stream that we have, told as a table: how it ended and what it used. First our own fixtures; then, where they
//! lie beside the repository, the recordings of real runs, whose exit statuses stand in their index.

use std::path::{Path, PathBuf};

use super::Stream;
use crate::config::Protocol;
use crate::core::{Ended, EventCounts, Terminal, Usage};

/// Input, cached, written to a cache, output, reasoning.
type Tokens = (u64, u64, u64, u64, u64);

const NOTHING: Tokens = (0, 0, 0, 0, 0);

fn read(path: &Path) -> Stream {
    let name = path.file_name().unwrap().to_str().unwrap();
    let protocol = match name.split_once(['-', '.']).unwrap().0 {
        "claude" => Protocol::Claude,
        "codex" => Protocol::Codex,
        "gemini" => Protocol::Gemini,
        "opencode" => Protocol::Opencode,
        "qwen" => Protocol::Qwen,
        _ => Protocol::Command,
    };
    let mut stream = Stream::new(protocol);
    for line in std::fs::read_to_string(path).unwrap().lines() {
        stream.line(line);
    }
    stream
}

/// A word for how a stream ended.
fn word(terminal: Option<Terminal>) -> String {
    match terminal {
        None => "-".to_owned(),
        Some(Terminal::Completed) => "completed".to_owned(),
        Some(Terminal::Failed { .. }) => "failed".to_owned(),
        Some(Terminal::Refused { denials }) => format!("refused {denials}"),
        Some(Terminal::Limited { .. }) => "limited".to_owned(),
        Some(Terminal::Unavailable { why, resume_after_ms: None }) => why.to_string(),
        Some(Terminal::Unavailable { why, resume_after_ms: Some(ms) }) => format!("{why} until {ms}"),
        Some(Terminal::Crashed) => "crashed".to_owned(),
        Some(Terminal::NoTerminalEvent) => "no end".to_owned(),
    }
}

fn tokens(usage: Usage) -> Tokens {
    let (input, output) = (usage.input_tokens, usage.output_tokens);
    (input, usage.cached_tokens, usage.cache_write_tokens, output, usage.reasoning_tokens)
}

/// A negative exit status is a signal, as Python has it.
fn ended(status: i32) -> Ended {
    if status < 0 { Ended::Signaled { signal: -status } } else { Ended::Exited { code: status } }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/agents").join(name).with_extension("jsonl")
}

fn check(name: &str, status: i32, expected: &str, used: Tokens) -> Stream {
    let stream = read(&fixture(name));
    let stderr = "Run aborted: tool-call budget of 2 exceeded\n";
    assert_eq!(word(stream.terminal(&ended(status), stderr)), expected, "{name}");
    assert_eq!(tokens(stream.usage()), used, "{name}");
    stream
}

#[test]
fn claude_counts_its_sub_agents_and_each_message_once() {
    let stream = check("claude-subagent", 0, "completed", (1779, 1212, 500, 437, 33));
    assert_eq!((stream.usage().api_calls, stream.usage().cost_microusd), (4, 8800));
    let counts =
        EventCounts { messages: 2, thinking: 1, tool_uses: 3, commands: 1, file_changes: 1, ..EventCounts::default() };
    assert_eq!(stream.counts().unwrap(), counts);
}

#[test]
fn claude_says_success_where_it_was_denied_or_not_served() {
    let stream = check("claude-denied", 0, "refused 2", (11, 0, 0, 30, 0));
    assert_eq!(stream.counts().unwrap().denials, 2);
    assert_eq!(stream.denied_tools(), ["Write", "Bash"]);
    check("claude-quota", 1, "quota", NOTHING);
    check("claude-rate", 1, "rate until 1900000000000", NOTHING);
    check("claude-limit", 1, "limited", (100, 0, 0, 20, 0));
}

#[test]
fn claude_without_a_result_has_used_what_its_messages_say() {
    check("claude-partial", 143, "no end", (180, 30, 0, 65, 0));
    check("claude-partial", -9, "crashed", (180, 30, 0, 65, 0));
}

#[test]
fn what_no_version_should_say_is_passed_over() {
    let stream = check("claude-noise", 0, "no end", (0, 0, 0, u64::MAX, 0));
    assert_eq!((stream.counts().unwrap().messages, stream.has_ended()), (1, false));
}

#[test]
fn codex_has_its_usage_from_the_end_of_the_turn() {
    let stream = check("codex-work", 0, "completed", (5200, 4100, 0, 310, 120));
    let counts = EventCounts {
        messages: 1,
        thinking: 1,
        tool_uses: 3,
        commands: 1,
        file_changes: 1,
        errors: 1,
        ..EventCounts::default()
    };
    assert_eq!(stream.counts().unwrap(), counts);
    check("codex-work", 1, "failed", (5200, 4100, 0, 310, 120));
    check("codex-work", -11, "crashed", (5200, 4100, 0, 310, 120));
    assert_eq!(check("codex-denied", 0, "refused 1", (900, 0, 0, 12, 0)).denied_tools(), ["command_execution"]);
    check("codex-quota", 1, "quota", NOTHING);
}

#[test]
fn gemini_thinks_in_the_total_alone() {
    let stream = check("gemini-thoughts", 0, "completed", (8000, 5000, 0, 1000, 360));
    let counts = EventCounts { messages: 2, tool_uses: 3, commands: 1, file_changes: 1, ..EventCounts::default() };
    assert_eq!(stream.counts().unwrap(), counts);
    check("gemini-forbidden", 147, "auth", NOTHING);
    check("gemini-cut", 0, "failed", (120, 0, 0, 10, 0));
}

#[test]
fn qwen_ends_without_a_result_at_its_own_limits() {
    let stream = check("qwen-work", 0, "completed", (6300, 5000, 0, 110, 0));
    assert_eq!((stream.usage().api_calls, stream.counts().unwrap().file_changes), (3, 1));
    check("qwen-budget", 55, "limited", (2000, 0, 0, 40, 0));
    check("qwen-budget", 1, "no end", (2000, 0, 0, 40, 0));
}

#[test]
fn opencode_ends_where_its_process_does() {
    let stream = check("opencode-work", 0, "completed", (2730, 1720, 20, 67, 12));
    let usage = stream.usage();
    assert_eq!((usage.api_calls, usage.cost_microusd, usage.unpriced_calls), (3, 3000, 1));
    assert_eq!((stream.has_ended(), stream.counts().unwrap().tool_uses), (false, 3));
    check("opencode-work", 1, "failed", (2730, 1720, 20, 67, 12));
    check("opencode-work", -15, "crashed", (2730, 1720, 20, 67, 12));
    assert_eq!(check("opencode-denied", 0, "refused 1", (30, 0, 0, 3, 0)).denied_tools(), ["bash"]);
    check("opencode-rate", 1, "rate", NOTHING);
}

#[test]
fn a_command_has_totals_and_no_end() {
    let stream = check("command", 0, "-", (100, 0, 0, 50, 0));
    assert_eq!((stream.usage().api_calls, stream.usage().cost_microusd), (2, 10_000));
    assert_eq!(stream.counts(), None);
}

/// What each recording of a real run says.
const RECORDINGS: [(&str, &str, Tokens); 50] = [
    ("claude-agents", "completed", (6000, 1200, 800, 200, 0)),
    ("claude-default-perm", "refused 1", (4500, 900, 600, 150, 0)),
    ("claude-e401", "auth", NOTHING),
    ("claude-e429x2", "completed", (4500, 900, 600, 150, 0)),
    ("claude-e529", "rate", NOTHING),
    ("claude-garbage", "completed", (3000, 600, 400, 51, 0)),
    ("claude-jsonschema", "completed", (1500, 300, 200, 50, 0)),
    ("claude-maxbudget", "limited", (7500, 1500, 1000, 250, 0)),
    ("claude-maxturns", "limited", (4500, 900, 600, 150, 0)),
    ("claude-ok", "completed", (4500, 900, 600, 150, 0)),
    ("claude-partial", "completed", (4500, 900, 600, 150, 0)),
    ("claude-sigint", "failed", (1500, 300, 200, 50, 0)),
    ("claude-sigkill", "crashed", (1500, 300, 200, 1, 0)),
    ("claude-stall", "no end", NOTHING),
    ("claude-two", "completed", (3000, 600, 400, 100, 0)),
    ("codex-cut", "failed", NOTHING),
    ("codex-e401", "auth", NOTHING),
    ("codex-e429", "rate", NOTHING),
    ("codex-e500x2", "completed", (3000, 900, 0, 150, 21)),
    ("codex-exit3", "completed", (2000, 600, 0, 100, 14)),
    ("codex-ok", "completed", (3000, 900, 0, 150, 21)),
    ("codex-outside", "completed", (2000, 600, 0, 100, 14)),
    ("codex-resume1", "completed", (3000, 900, 0, 150, 21)),
    ("codex-resume2", "completed", (4000, 1200, 0, 200, 28)),
    ("codex-schema", "completed", (1000, 300, 0, 50, 7)),
    ("codex-sigterm", "crashed", NOTHING),
    ("codex-stall", "crashed", NOTHING),
    ("gemini-cut", "failed", (4000, 1200, 0, 228, 28)),
    ("gemini-e400", "failed", NOTHING),
    ("gemini-e429x2", "completed", (3000, 900, 0, 171, 21)),
    ("gemini-gterm", "no end", NOTHING),
    ("gemini-maxturns", "limited", (3000, 900, 0, 171, 21)),
    ("gemini-ok", "completed", (3000, 900, 0, 171, 21)),
    ("gemini-stall", "no end", NOTHING),
    ("gemini-untrusted", "no end", NOTHING),
    ("opencode-ask", "completed", (2000, 600, 0, 100, 14)),
    ("opencode-cut", "crashed", NOTHING),
    ("opencode-e401", "auth", NOTHING),
    ("opencode-e500x2", "completed", (3000, 900, 0, 150, 21)),
    ("opencode-ok", "completed", (3000, 900, 0, 150, 21)),
    ("opencode-sigterm", "crashed", NOTHING),
    ("opencode-steps", "crashed", (40_000, 12_000, 0, 2000, 280)),
    ("qwen-e401", "auth", NOTHING),
    ("qwen-e429x2", "completed", (3000, 900, 0, 150, 0)),
    ("qwen-jsonschema", "completed", (1000, 300, 0, 50, 0)),
    ("qwen-maxtools", "limited", (3000, 900, 0, 150, 0)),
    ("qwen-maxturns", "limited", (3000, 900, 0, 150, 0)),
    ("qwen-ok", "completed", (3000, 900, 0, 150, 0)),
    ("qwen-sigterm", "crashed", (1000, 300, 0, 50, 0)),
    ("qwen-stall", "crashed", NOTHING),
];

#[test]
fn every_recording_of_a_real_run_is_understood() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/agent-recordings");
    let Ok(index) = std::fs::read_to_string(dir.join("INDEX.tsv")) else { return };
    for row in index.lines().skip(1).filter(|row| !row.starts_with("acp-")) {
        let columns: Vec<&str> = row.split('\t').collect();
        let (name, status) = (columns[0], columns[1].parse::<i32>().unwrap_or(0));
        let Some((_, expected, used)) = RECORDINGS.iter().find(|(known, ..)| *known == name) else {
            panic!("no expectation for {name}");
        };
        let stream = read(&dir.join(name).with_extension("jsonl"));
        let stderr = columns.get(4).copied().unwrap_or_default();
        assert_eq!(word(stream.terminal(&ended(status), stderr)), *expected, "{name}");
        assert_eq!(tokens(stream.usage()), *used, "{name}");
    }
}
