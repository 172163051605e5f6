//! What the reports of a big run cost: a journal of 10,000 tasks (every tenth tried twice) and ten gates with 2,000
//! failed tests each, and of a tenth of both. In: nothing. Out: a table of time and size for each format; the exit code
//! says whether the cost grows with the size of the run and no faster, whether all files together are made in time for
//! a cancelled run, and whether each keeps to what its readers take.
//!
//! A run writes all of them at most every two seconds, and so seldom that they take a twentieth of its time.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints, and fails by panicking")]

#[path = "../tests/shared/mod.rs"]
mod shared;

#[path = "../tests/shared/journal.rs"]
mod handmade;

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use maestro_ci::core::{
    AgentReport, At, Capture, Ended, Event, Fault, FaultClass, FileChange, GateKind, GateName, GateResult, GateSpec,
    GateStatus, Merge, Phase, Record, RequirementId, RoundPurpose, Settings, Spend, Strategy, Task, TaskId, TaskStatus,
    TestCase, TestStatus, Usage, UsageSource, Verdict, replay,
};
use maestro_ci::report::{Format, Report, each_file, render};

use handmade::Journal;

/// Tasks and gates of the big run, and how many times as many they are as those of the small one.
const TASKS: u64 = 10_000;
const GATES: u64 = 10;
const FACTOR: u32 = 10;
/// Failed tests that a gate lists: as many as are kept.
const CASES: u64 = 2_000;
/// Longest time for all files of the big run, replay and model included: a cancelled run is to be over in 3 s, and its
/// agents take some of that.
const LONGEST: Duration = Duration::from_secs(2);
/// How much slower than in proportion the big run may be: noise, and trees that are deeper.
const SLACK: u32 = 3;
/// Below this, time is noise.
const FLOOR: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    let (small, big) = (journal(TASKS / u64::from(FACTOR), GATES / u64::from(FACTOR)), journal(TASKS, GATES));
    println!("{} records; {} records", small.len(), big.len());
    println!("{:<16} {:>12} {:>12} {:>14}", "", "1,000 tasks", "10,000 tasks", "bytes");
    let mut holds = true;
    let mut tell = |name: &str, most_bytes: usize, make: &dyn Fn(&[Record]) -> usize| {
        let (few, _) = timed(|| make(&small));
        let (many, bytes) = timed(|| make(&big));
        let ok = many <= LONGEST.min(few.max(FLOOR) * FACTOR * SLACK) && bytes <= most_bytes;
        holds &= ok;
        println!("{name:<16} {few:>12.1?} {many:>12.1?} {bytes:>14}{}", if ok { "" } else { "  TOO MUCH" });
    };
    tell("replay", usize::MAX, &|records| usize::try_from(replay(records).unwrap().seq).unwrap());
    tell("model", usize::MAX, &|records| Report::from_records(records).unwrap().tasks.len());
    for format in Format::ALL {
        let most_bytes = match format {
            Format::Html | Format::Sarif => 10 << 20,
            Format::Junit => 28 << 20,
            Format::Json | Format::Markdown => usize::MAX,
        };
        let make = |records: &[Record]| {
            let report = Report::from_records(records).unwrap();
            render(format, &report, &|_| None).unwrap().len()
        };
        tell(format.file_name(), most_bytes, &make);
    }
    tell("all files", usize::MAX, &|records| {
        let state = replay(records).unwrap();
        let mut bytes = 0;
        let _ = each_file(&Report::of(&state, records), &state, records, &|_| None, &mut |_, content| {
            bytes += content.unwrap().len();
            ControlFlow::Continue(())
        });
        bytes
    });
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn timed(make: impl Fn() -> usize) -> (Duration, usize) {
    let started = Instant::now();
    let bytes = make();
    (started.elapsed(), bytes)
}

impl Journal {
    fn attempt(&mut self, task: &TaskId, attempt: u32, fails: bool) {
        let task = || task.clone();
        let usage = Usage {
            input_tokens: 900,
            output_tokens: 100,
            api_calls: 3,
            source: UsageSource::Reported,
            ..Usage::default()
        };
        let (onto, reserved) = (shared::base(), Spend { tokens: 5_000, ..Spend::default() });
        let (strategy, agent) = (Strategy::First, "command".to_owned());
        self.push(1, Event::AttemptStarted { task: task(), attempt, strategy, onto, reserved, agent });
        self.push(1, Event::WorkspaceReady { task: task(), attempt, limit_ms: 10_000 });
        self.push(5, Event::UsageReported { task: task(), attempt, usage });
        let ended = Ended::Exited { code: i32::from(fails) };
        let stderr_tail = if fails { "no luck\n".repeat(100) } else { String::new() };
        let report = AgentReport { usage, stderr_tail, ..AgentReport::bare(ended) };
        self.push(5, Event::AgentEnded { task: task(), attempt, report });
        let path = format!("src/module_{}/file.rs", task());
        let files = vec![FileChange { path, status: 'A', added: 12, removed: 0 }];
        let capture = Capture { commit: Some("work".into()), files, file_count: 1, ..Capture::default() };
        self.push(1, Event::Captured { task: task(), attempt, capture });
        if fails {
            let fault = Fault::new(FaultClass::Implementation, "exit", "no luck\n".repeat(100));
            self.push(0, Event::AttemptFailed { task: task(), attempt, fault });
            let (strategy, not_before_ms) = (Strategy::Retry, self.elapsed_ms);
            self.push(0, Event::RetryScheduled { task: task(), not_before_ms, strategy });
            return;
        }
        self.push(1, Event::IntegrationStarted { task: task(), attempt, tip: shared::base() });
        self.push(1, Event::Merged { task: task(), attempt, merge: Merge::Integrated { commit: "c".into() } });
        self.push(0, Event::TaskSettled { task: task(), status: TaskStatus::Done, reason: None });
    }
}

fn gate(n: u64) -> GateName {
    GateName::new(format!("gate-{n}"))
}

/// Gates that all decide.
fn settings(gates: u64) -> Settings {
    let spec = |n| GateSpec {
        name: gate(n),
        kind: GateKind::Test,
        run: "true".to_owned(),
        dir: ".".to_owned(),
        timeout_ms: 60_000,
        required: true,
        report: None,
        requirements: Vec::new(),
        detected: false,
    };
    Settings { gates: (1..=gates).map(spec).collect(), ..shared::settings() }
}

/// A red gate that lists as many failed tests as it can.
fn red(n: u64) -> GateResult {
    let case = |i: u64| TestCase {
        classname: format!("suite_{n}.module"),
        name: format!("the case number {i} does what it should"),
        status: TestStatus::Failed,
        time_ms: 12,
        message: "assertion `left == right` failed\n".repeat(8),
        file: Some(format!("tests/module_{n}.rs")),
        line: u32::try_from(i).ok(),
    };
    GateResult {
        status: GateStatus::Failed,
        ended: Ended::Exited { code: 1 },
        duration_ms: 2_000,
        summary: format!("{CASES} failed"),
        cases: (1..=CASES).map(case).collect(),
        counts: [("failed".to_owned(), CASES)].into(),
        problems: Vec::new(),
        log_tail: "FAILED\n".repeat(500),
        leaked_processes: 0,
    }
}

/// A session whose tasks ran one after the other, ten chains side by side, and then its gates.
fn journal(tasks: u64, gates: u64) -> Vec<Record> {
    let id = |n: u64| TaskId::new(format!("T-{n:05}"));
    let task = |n: u64| Task {
        title: format!("do the work number {n} of all that has to be done"),
        requirements: vec![RequirementId::new(format!("FR-{n}"))],
        depends_on: if n > 10 { vec![id(n - 10)] } else { Vec::new() },
        line: u32::try_from(n).unwrap(),
        ..Task::bare(id(n).as_str())
    };
    let plan = shared::plan((1..=tasks).map(task).collect());
    let mut journal = Journal::default();
    journal.push(0, Event::SessionStarted(Box::new(shared::session(settings(gates), &plan))));
    journal.push(0, Event::Planned { plan: Box::new(plan) });
    journal.push(0, Event::PhaseStarted { phase: Phase::Implementation });
    journal.push(0, Event::SetupStarted);
    journal.push(1, Event::SetupDone);
    for n in 1..=tasks {
        let fails = n % 10 == 0;
        journal.attempt(&id(n), 1, fails);
        if fails {
            journal.attempt(&id(n), 2, false);
        }
    }
    journal.push(0, Event::PhaseStarted { phase: Phase::Validation });
    let names = (1..=gates).map(gate).collect();
    journal.push(0, Event::RoundStarted { round: 1, purpose: RoundPurpose::Final, commit: "c".into(), gates: names });
    for n in 1..=gates {
        journal.push(0, Event::GateStarted { round: 1, gate: gate(n), limit_ms: 60_000 });
        journal.push(5, Event::GateEnded { round: 1, gate: gate(n), result: red(n) });
    }
    let reason = format!("{gates} gates failed");
    journal.push(0, Event::SessionFinished { verdict: Verdict::Failed, reason });
    journal.records
}
