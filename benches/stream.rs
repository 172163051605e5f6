//! What it costs to read agents' streams: the CPU time of `agent::Stream` line by line against `BufRead::lines()` alone
//! on the same bytes, and the memory of streams of any length. In: 200 MB per protocol, made up in the shapes that the
//! recorded CLIs print, in turns of small lines and large ones. Out: a table; the exit code says whether it holds.
//!
//! `ci/bench-stream.sh` runs it, and measures the warden on one endless line.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench prints, and fails by panicking"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::BufRead;
use std::process::ExitCode;
use std::time::Duration;

use maestro_ci::agent::Stream;
use maestro_ci::config::Protocol;
use rustix::time::{ClockId, clock_gettime};

/// Bytes of each stream whose parsing is timed.
const LENGTH: usize = 200_000_000;
/// Rounds; medians are told.
const ROUNDS: usize = 5;
/// Most CPU time, as a multiple of what `BufRead::lines()` alone takes.
const MAX_RATIO: f64 = 3.5;
/// Bytes after which the memory of a stream is looked at first, and last.
const SHORT: usize = 20_000_000;
const LONG: usize = 200_000_000;
/// What memory may differ by between the two, KiB: noise of the allocator.
const FLAT_KIB: u64 = 1024;
/// Text for what tools print and models say: real code.
const SOURCE: &str = include_str!("../src/core/call.rs");

/// Lines of one kind.
struct Shape {
    /// `@N` is the turn's number, `@I` the line's in it, `@TEXT` some text.
    line: &'static str,
    /// Lengths of the text, one after the other from turn to turn, characters.
    text: &'static [usize],
    /// How many in a turn.
    times: usize,
}

const fn one(line: &'static str, text: &'static [usize]) -> Shape {
    Shape { line, text, times: 1 }
}

/// What a model says at once.
const SAYS: &[usize] = &[180, 700, 60];
/// What a piece of a stream holds.
const PIECES: &[usize] = &[14, 40, 5, 22];
/// What commands print and files hold: mostly little, sometimes as much as a CLI lets through.
const PRINTS: &[usize] = &[120, 2400, 600, 30_000, 9000, 80, 100_000, 4000];

const CLAUDE: &[Shape] = &[
    one(
        r#"{"type":"stream_event","event":{"type":"message_start","message":{"id":"msg_@N","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":4,"cache_creation_input_tokens":320,"cache_read_input_tokens":41000,"output_tokens":1,"service_tier":"standard"}}},"session_id":"63b8c47b-14b8-4f4d-a35e-b7c904bfd93e","parent_tool_use_id":null,"uuid":"04930f17-db7b-426a-848f-3c674a362e37","api_message_id":"msg_@N"}"#,
        &[],
    ),
    Shape {
        line: r#"{"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"@TEXT"}},"session_id":"63b8c47b-14b8-4f4d-a35e-b7c904bfd93e","parent_tool_use_id":null,"uuid":"8f18c389-9aa7-4ccb-8bd2-7daa24a3a975","api_message_id":"msg_@N"}"#,
        text: PIECES,
        times: 40,
    },
    one(
        r#"{"type":"assistant","message":{"id":"msg_@N","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[{"type":"text","text":"@TEXT"}],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":4,"cache_creation_input_tokens":320,"cache_read_input_tokens":41000,"output_tokens":1,"service_tier":"standard"},"context_management":null},"parent_tool_use_id":null,"session_id":"63b8c47b-14b8-4f4d-a35e-b7c904bfd93e","uuid":"8f18c389-9aa7-4ccb-8bd2-7daa24a3a976"}"#,
        SAYS,
    ),
    one(
        r#"{"type":"assistant","message":{"id":"msg_@N","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[{"type":"tool_use","id":"toolu_@N","name":"Edit","input":{"file_path":"/repo/src/call.rs","old_string":"@TEXT","new_string":"x"}}],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":4,"cache_creation_input_tokens":320,"cache_read_input_tokens":41000,"output_tokens":1,"service_tier":"standard"},"context_management":null},"parent_tool_use_id":null,"session_id":"63b8c47b-14b8-4f4d-a35e-b7c904bfd93e","uuid":"8f18c389-9aa7-4ccb-8bd2-7daa24a3a977"}"#,
        SAYS,
    ),
    one(
        r#"{"type":"stream_event","event":{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":350}},"session_id":"63b8c47b-14b8-4f4d-a35e-b7c904bfd93e","parent_tool_use_id":null,"uuid":"04930f17-db7b-426a-848f-3c674a362e38","api_message_id":"msg_@N"}"#,
        &[],
    ),
    one(
        r#"{"type":"user","message":{"role":"user","content":[{"tool_use_id":"toolu_@N","type":"tool_result","content":"@TEXT","is_error":false}]},"parent_tool_use_id":null,"session_id":"63b8c47b-14b8-4f4d-a35e-b7c904bfd93e","uuid":"04930f17-db7b-426a-848f-3c674a362e39","tool_use_result":{"stdout":"@TEXT","stderr":"","interrupted":false,"isImage":false}}"#,
        PRINTS,
    ),
];

const CODEX: &[Shape] = &[
    one(r#"{"type":"item.completed","item":{"id":"item_@N_0","type":"reasoning","text":"@TEXT"}}"#, SAYS),
    Shape {
        line: r#"{"type":"item.started","item":{"id":"item_@N_@I","type":"command_execution","command":"/bin/bash -lc 'cargo test -p core'","aggregated_output":"","exit_code":null,"status":"in_progress"}}"#,
        text: &[],
        times: 3,
    },
    one(
        r#"{"type":"item.completed","item":{"id":"item_@N_3","type":"command_execution","command":"/bin/bash -lc 'cargo test -p core'","aggregated_output":"@TEXT","exit_code":0,"status":"completed"}}"#,
        PRINTS,
    ),
    Shape {
        line: r#"{"type":"item.completed","item":{"id":"item_@N_@I","type":"file_change","changes":[{"path":"/repo/src/call.rs","kind":"update"}],"status":"completed"}}"#,
        text: &[],
        times: 4,
    },
    one(r#"{"type":"item.completed","item":{"id":"item_@N_9","type":"agent_message","text":"@TEXT"}}"#, SAYS),
];

const GEMINI: &[Shape] = &[
    Shape {
        line: r#"{"type":"message","timestamp":"2026-11-21T09:07:09.201Z","role":"assistant","content":"@TEXT","delta":true}"#,
        text: &[140, 300, 60],
        times: 12,
    },
    one(
        r#"{"type":"tool_use","timestamp":"2026-11-21T09:07:09.158Z","tool_name":"replace","tool_id":"replace__@N","parameters":{"file_path":"/repo/src/call.rs","instruction":"rename","old_string":"@TEXT","new_string":"x"}}"#,
        SAYS,
    ),
    one(
        r#"{"type":"tool_result","timestamp":"2026-11-21T09:07:09.178Z","tool_id":"replace__@N","status":"success","output":"@TEXT"}"#,
        PRINTS,
    ),
];

const QWEN: &[Shape] = &[
    one(
        r#"{"type":"assistant","uuid":"84fc08fe-9ac4-4d72-bba0-c19e9c5e1371","session_id":"e8bca5da-a188-4e6c-95ba-7f74e6774fc2","parent_tool_use_id":null,"message":{"id":"@N-9ac4-4d72","type":"message","role":"assistant","model":"qwen3-coder-plus","content":[{"type":"text","text":"@TEXT"}],"stop_reason":null,"usage":{"input_tokens":42000,"output_tokens":350,"cache_read_input_tokens":41000,"total_tokens":42350}}}"#,
        SAYS,
    ),
    one(
        r#"{"type":"assistant","uuid":"84fc08fe-9ac4-4d72-bba0-c19e9c5e1372","session_id":"e8bca5da-a188-4e6c-95ba-7f74e6774fc2","parent_tool_use_id":null,"message":{"id":"@N-9ac4-4d72","type":"message","role":"assistant","model":"qwen3-coder-plus","content":[{"type":"tool_use","id":"call_@N","name":"edit","input":{"file_path":"/repo/src/call.rs","old_string":"@TEXT","new_string":"x"}}],"stop_reason":"tool_use","usage":{"input_tokens":42000,"output_tokens":350,"cache_read_input_tokens":41000,"total_tokens":42350}}}"#,
        SAYS,
    ),
    one(
        r#"{"type":"user","uuid":"2194397f-957b-438f-9019-f5c2ab06146b","session_id":"e8bca5da-a188-4e6c-95ba-7f74e6774fc2","parent_tool_use_id":null,"message":{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_@N","is_error":false,"content":"@TEXT"}]}}"#,
        PRINTS,
    ),
];

const OPENCODE: &[Shape] = &[
    one(
        r#"{"type":"step_start","timestamp":1795251988549,"sessionID":"ses_e02a4b90dffeBKHA62pIT2DjQU","part":{"id":"prt_@N0","messageID":"msg_@N","sessionID":"ses_e02a4b90dffeBKHA62pIT2DjQU","snapshot":"3942cedfea53e999bd13d0a27a905957c5e62b1a","type":"step-start"}}"#,
        &[],
    ),
    one(
        r#"{"type":"text","timestamp":1795251990060,"sessionID":"ses_e02a4b90dffeBKHA62pIT2DjQU","part":{"id":"prt_@N1","messageID":"msg_@N","sessionID":"ses_e02a4b90dffeBKHA62pIT2DjQU","type":"text","text":"@TEXT","time":{"start":1795251990051,"end":1795251990056}}}"#,
        SAYS,
    ),
    one(
        r#"{"type":"tool_use","timestamp":1795251988610,"sessionID":"ses_e02a4b90dffeBKHA62pIT2DjQU","part":{"type":"tool","tool":"bash","callID":"call_@N","state":{"status":"completed","input":{"command":"cargo test -p core","description":"run the tests"},"output":"@TEXT","metadata":{"output":"@TEXT","exit":0,"truncated":false},"title":"run the tests","time":{"start":1795251988532,"end":1795251988601}},"id":"prt_@N2","sessionID":"ses_e02a4b90dffeBKHA62pIT2DjQU","messageID":"msg_@N"}}"#,
        PRINTS,
    ),
    one(
        r#"{"type":"step_finish","timestamp":1795251988821,"sessionID":"ses_e02a4b90dffeBKHA62pIT2DjQU","part":{"id":"prt_@N3","reason":"tool-calls","snapshot":"11adbe99240493ba29501a25ce9f9ce51b2ecdbc","messageID":"msg_@N","sessionID":"ses_e02a4b90dffeBKHA62pIT2DjQU","type":"step-finish","tokens":{"total":42350,"input":1000,"output":343,"reasoning":7,"cache":{"write":0,"read":41000}},"cost":0.00294}}"#,
        &[],
    ),
];

const STREAMS: [(&str, Protocol, &[Shape]); 5] = [
    ("claude", Protocol::Claude, CLAUDE),
    ("codex", Protocol::Codex, CODEX),
    ("gemini", Protocol::Gemini, GEMINI),
    ("qwen", Protocol::Qwen, QWEN),
    ("opencode", Protocol::Opencode, OPENCODE),
];

/// A stream without an end, turn by turn; no two turns have the same ids.
struct Turns {
    shapes: &'static [Shape],
    /// Texts by their length, as they stand in JSON.
    texts: BTreeMap<usize, String>,
    turn: usize,
}

impl Turns {
    fn new(shapes: &'static [Shape]) -> Self {
        let lengths = shapes.iter().flat_map(|shape| shape.text);
        let texts = lengths.map(|length| (*length, text(*length))).collect();
        Self { shapes, texts, turn: 0 }
    }

    /// Adds the next turn's lines.
    fn next(&mut self, out: &mut String) {
        let number = format!("{:08}", self.turn);
        for shape in self.shapes {
            for i in 0..shape.times {
                let line = shape.line.replace("@N", &number).replace("@I", &i.to_string());
                let length = shape.text.get((self.turn + i) % shape.text.len().max(1));
                let text = length.and_then(|length| self.texts.get(length)).map_or("", String::as_str);
                out.push_str(&line.replace("@TEXT", text));
                out.push('\n');
            }
        }
        self.turn += 1;
    }
}

/// So many characters of code, escaped, without quotes.
fn text(length: usize) -> String {
    let code: String = SOURCE.chars().cycle().skip(700).take(length).collect();
    let json = serde_json::to_string(&code).unwrap();
    json[1..json.len() - 1].to_owned()
}

/// Reads a stream as the orchestrator does; returns how many events it held.
fn parse(stream: &mut Stream, mut input: &[u8]) -> usize {
    let (mut line, mut events) = (Vec::new(), 0);
    while input.read_until(b'\n', &mut line).unwrap() > 0 {
        events += stream.bytes(&line).len();
        line.clear();
    }
    events
}

/// The yardstick; returns how many bytes the lines had.
fn only_lines(input: &[u8]) -> usize {
    input.lines().map(|line| line.unwrap().len()).sum()
}

/// CPU time of this process so far.
fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap()
}

fn timed(work: impl FnOnce() -> usize) -> f64 {
    let before = cpu();
    black_box(work());
    cpu().saturating_sub(before).as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The most memory that this process ever had, KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Reads every protocol's stream up to a length, and never has more of it than one turn.
fn read_all(length: usize) -> usize {
    let mut events = 0;
    for (_, protocol, shapes) in STREAMS {
        let (mut turns, mut stream) = (Turns::new(shapes), Stream::new(protocol));
        let (mut turn, mut read) = (String::new(), 0);
        while read < length {
            turn.clear();
            turns.next(&mut turn);
            events += parse(&mut stream, turn.as_bytes());
            read += turn.len();
        }
        assert!(stream.counts().map_or(0, |counts| counts.messages) > 0, "{protocol:?}: nothing was understood");
    }
    events
}

fn is_flat() -> bool {
    black_box(read_all(SHORT));
    let short = peak_kib();
    black_box(read_all(LONG));
    let long = peak_kib();
    let holds = long <= short + FLAT_KIB;
    println!(
        "memory, all protocols: {short} KiB after {SHORT} bytes each, {long} KiB after {LONG}: {}",
        verdict(holds)
    );
    holds
}

fn is_quick(name: &str, protocol: Protocol, shapes: &'static [Shape]) -> bool {
    let (mut turns, mut text) = (Turns::new(shapes), String::with_capacity(LENGTH + (LENGTH >> 6)));
    while text.len() < LENGTH {
        turns.next(&mut text);
    }
    let bytes = text.as_bytes();
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(timed(|| only_lines(bytes)));
        ours.push(timed(|| parse(&mut Stream::new(protocol), bytes)));
        ratios.push(ours[ours.len() - 1] / theirs[theirs.len() - 1]);
    }
    let (ours, theirs, ratio) = (median(ours), median(theirs), median(ratios));
    let lines = memchr::memchr_iter(b'\n', bytes).count();
    let rate = |seconds: f64| bytes.len() as f64 / 1e6 / seconds;
    let (mean, holds) = (bytes.len() / lines, ratio <= MAX_RATIO);
    println!(
        "{name:<9} {lines:>7} lines, {mean:>6} bytes in the mean: {ours:.3} s ({:.0} MB/s), lines alone {theirs:.3} s \
         ({:.0} MB/s), ratio {ratio:.2}: {}",
        rate(ours),
        rate(theirs),
        verdict(holds)
    );
    holds
}

fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "TOO MUCH" }
}

fn main() -> ExitCode {
    // Before anything large is made: a high-water mark never falls.
    let mut holds = is_flat();
    println!("CPU time of {LENGTH} bytes, medians of {ROUNDS} pairs; the ratio may be {MAX_RATIO}");
    for (name, protocol, shapes) in STREAMS {
        holds &= is_quick(name, protocol, shapes);
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
