//! The simulator: whole sessions in microseconds, from a seed, with crashes at every record and in mid-line.
//! A failure names its seed; the same seed and commit give the same run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    clippy::wildcard_imports,
    reason = "tests fail by panicking"
)]

mod calls;
mod run;
#[path = "../shared/mod.rs"]
mod shared;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use maestro_ci::core::*;
use run::{End, Sim};
use shared::{Rng, plan, session};
use world::{Behaviour, Script, World};

fn task(id: &str, depends_on: &[&str]) -> Task {
    Task {
        title: format!("do {id}"),
        requirements: vec![RequirementId::new(id.replace('T', "R"))],
        depends_on: depends_on.iter().map(|d| TaskId::new(*d)).collect(),
        ..Task::bare(id)
    }
}

/// Eight tasks: two chains that meet, and two that stand alone.
fn eight() -> Plan {
    plan(vec![
        task("T-1", &[]),
        task("T-2", &["T-1"]),
        task("T-3", &["T-1"]),
        task("T-4", &[]),
        task("T-5", &["T-4"]),
        task("T-6", &["T-2", "T-3", "T-5"]),
        task("T-7", &[]),
        task("T-8", &[]),
    ])
}

fn gate(name: &str, kind: GateKind) -> GateSpec {
    GateSpec {
        name: name.into(),
        kind,
        run: "true".to_owned(),
        dir: ".".to_owned(),
        timeout_ms: 1000,
        required: true,
        report: None,
        requirements: Vec::new(),
        detected: false,
    }
}

fn settings() -> Settings {
    Settings {
        gates: vec![gate("test", GateKind::Test), gate("lint", GateKind::Lint)],
        protect: vec![".github/**".to_owned()],
        ..shared::settings()
    }
}

fn scripts(plan: &Plan, runs: &[(&str, &[Behaviour])]) -> BTreeMap<TaskId, Script> {
    let runs: BTreeMap<&str, &[Behaviour]> = runs.iter().copied().collect();
    let script = |t: &Task| Script {
        runs: runs.get(t.id.as_str()).map(|r| r.to_vec()).unwrap_or_default(),
        tokens: 100,
        duration_ms: 50,
    };
    plan.tasks.iter().map(|t| (t.id.clone(), script(t))).collect()
}

fn sim(plan: &Plan, runs: &[(&str, &[Behaviour])], seed: u64) -> Sim {
    Sim::new(World::new(seed, scripts(plan, runs)))
}

/// What must hold after any run that came to an end.
fn check_end(sim: &Sim) {
    assert!(sim.state.in_flight.is_empty(), "{:?}", sim.state.in_flight);
    assert_eq!(replay(&sim.records).unwrap(), sim.state, "live state equals replayed state");
    assert_eq!(Some(&sim.world.tip), sim.state.tip.as_ref(), "the tip is where the journal says");
    for (task, count) in &sim.world.integrated {
        assert!(*count <= 1 || sim.state.rolled_back, "{task} was integrated {count} times");
    }
    if let Some(branch) = &sim.world.branch {
        assert!(
            sim.state.checkpoints.iter().any(|c| c.advance && c.commit == *branch),
            "the branch is at a checkpoint of ours"
        );
    }
}

fn content(sim: &Sim) -> BTreeSet<String> {
    sim.world.commits[&sim.world.tip].clone()
}

#[test]
fn a_plan_of_eight_runs_to_its_end() {
    let plan = eight();
    let mut sim = sim(&plan, &[], 1);
    assert_eq!(sim.start(session(settings(), &plan), plan.clone()), End::Finished(Verdict::Passed));
    check_end(&sim);
    assert_eq!(content(&sim).len(), 8);
    assert_eq!(sim.world.branch.as_ref(), Some(&sim.world.tip));
    assert_eq!(sim.state.ledger.used().tokens, sim.world.spent);
}

#[test]
fn faults_of_every_recoverable_class_are_recovered_from() {
    use Behaviour::{Conflicts, Fails, Hangs, NoChange, Transient, Violates};
    let plan = eight();
    let runs: &[(&str, &[Behaviour])] = &[
        ("T-1", &[Fails]),
        ("T-2", &[Transient, Transient]),
        ("T-3", &[NoChange, Fails]),
        ("T-4", &[Hangs]),
        ("T-5", &[Violates]),
        ("T-7", &[Conflicts]),
        ("T-8", &[Conflicts]),
    ];
    let mut sim = sim(&plan, runs, 2);
    assert_eq!(sim.start(session(settings(), &plan), plan.clone()), End::Finished(Verdict::Passed));
    check_end(&sim);
    assert_eq!(content(&sim).len(), 8);
}

#[test]
fn a_task_that_is_given_up_blocks_only_what_needs_it_and_the_stall_names_it() {
    let plan = eight();
    let mut sim = sim(&plan, &[("T-2", &[Behaviour::Fails; 9])], 3);
    assert_eq!(sim.start(session(settings(), &plan), plan.clone()), End::Finished(Verdict::Failed));
    check_end(&sim);
    assert_eq!(content(&sim).len(), 6);
    let stalled = sim.records.iter().find_map(|r| match &r.event {
        Event::Stalled { waiting } => Some(waiting.clone()),
        _ => None,
    });
    assert_eq!(stalled.unwrap(), [Waiting { task: "T-6".into(), on: vec!["T-2".into()] }]);
    assert_eq!(sim.state.tasks[&TaskId::new("T-2")].attempts.len(), 4, "one attempt and three retries");
}

#[test]
fn a_violated_policy_is_explained_once_and_then_the_task_fails() {
    let plan = plan(vec![task("T-1", &[])]);
    let mut sim = sim(&plan, &[("T-1", &[Behaviour::Violates; 9])], 4);
    assert_eq!(sim.start(session(settings(), &plan), plan.clone()), End::Finished(Verdict::Failed));
    assert_eq!(sim.state.tasks[&TaskId::new("T-1")].attempts.len(), 2);
    assert!(content(&sim).is_empty(), "nothing that breaks policy is integrated");
}

#[test]
fn an_agent_that_is_not_available_parks_its_task_and_a_resume_finishes_it() {
    let plan = eight();
    let mut sim = sim(&plan, &[("T-4", &[Behaviour::Transient; 5])], 5);
    assert_eq!(sim.start(session(settings(), &plan), plan.clone()), End::Finished(Verdict::Agent));
    check_end(&sim);
    let bytes = sim.journal.len();
    assert_eq!(sim.resume(bytes, Budget::default()), End::Finished(Verdict::Passed));
    check_end(&sim);
    assert_eq!(content(&sim).len(), 8);
}

/// One task, and the agents of its attempts.
#[track_caller]
fn check_chain(runs: &[Behaviour], fallback: &[&str], verdict: Verdict, agents: &[&str]) {
    let plan = plan(vec![task("T-1", &[])]);
    let mut settings = settings();
    settings.agent = "a".to_owned();
    settings.fallback = fallback.iter().map(|name| (*name).to_owned()).collect();
    let mut sim = sim(&plan, &[("T-1", runs)], 20);
    assert_eq!(sim.start(session(settings, &plan), plan.clone()), End::Finished(verdict), "{runs:?}");
    check_end(&sim);
    let attempts = &sim.state.tasks[&TaskId::new("T-1")].attempts;
    assert_eq!(attempts.iter().map(|a| a.agent.as_str()).collect::<Vec<_>>(), agents, "{runs:?}");
}

#[test]
fn every_agent_of_a_chain_has_retries_of_its_own() {
    use Behaviour::{Crashes, Fails, Hangs, Transient};
    check_chain(&[Fails; 4], &["b", "c"], Verdict::Passed, &["a", "a", "b", "b", "c"]);
    check_chain(&[Fails; 9], &["b", "c"], Verdict::Failed, &["a", "a", "b", "b", "c", "c", "c", "c"]);
    // The trouble of the first agent's API costs the second one nothing.
    let runs = [Transient, Transient, Transient, Transient, Fails];
    check_chain(&runs, &["b"], Verdict::Passed, &["a", "a", "a", "a", "b", "b"]);
    check_chain(&[Hangs, Crashes, Fails], &["b"], Verdict::Passed, &["a", "a", "b", "b"]);
}

#[test]
fn an_agent_that_only_crashes_could_not_work_and_one_that_also_failed_did() {
    use Behaviour::{Crashes, Fails, Transient};
    check_chain(&[Crashes; 4], &[], Verdict::Agent, &["a"; 4]);
    check_chain(&[Crashes; 8], &["b"], Verdict::Agent, &["a", "a", "b", "b", "b", "b"]);
    check_chain(&[Transient, Crashes, Crashes, Crashes], &[], Verdict::Agent, &["a"; 4]);
    check_chain(&[Fails, Crashes, Crashes, Crashes], &[], Verdict::Failed, &["a"; 4]);
}

#[test]
fn attempts_that_are_always_too_slow_park_their_task_at_that_limit() {
    let plan = eight();
    let mut sim = sim(&plan, &[("T-4", &[Behaviour::Hangs; 4])], 21);
    assert_eq!(sim.start(session(settings(), &plan), plan.clone()), End::Finished(Verdict::Budget));
    check_end(&sim);
    let stop = StopCause::Budget {
        resource: Resource::Duration,
        used: 10_000,
        limit: 10_000,
        soft: true,
        scope: Scope::Task,
        task: Some("T-4".into()),
        wanted: 0,
    };
    assert_eq!(sim.state.stop, Some(stop));
    let bytes = sim.journal.len();
    assert_eq!(sim.resume(bytes, Budget::default()), End::Finished(Verdict::Passed));
}

#[test]
fn an_agent_that_is_cut_short_by_the_sessions_time_is_not_blamed() {
    let plan = plan(vec![task("T-1", &[]), task("T-2", &[])]);
    let hangs: &[Behaviour] = &[Behaviour::Hangs];
    for soft in [false, true] {
        let mut settings = settings();
        settings.budget.max_duration_ms = Some(3000);
        settings.jobs = 1 + u32::from(soft);
        // The second task is done soon; what the first needs is then known to be too much.
        settings.soft_ratio = if soft { 0.01 } else { 1.0 };
        let mut sim = sim(&plan, &[("T-1", hangs)], 22);
        assert_eq!(sim.start(session(settings, &plan), plan.clone()), End::Finished(Verdict::Budget));
        check_end(&sim);
        let task = &sim.state.tasks[&TaskId::new("T-1")];
        for attempt in &task.attempts {
            let fault = attempt.fault.as_ref().map(|f| (f.class, f.reason.as_str()));
            assert_eq!(fault, Some((FaultClass::Lost, "stopped")));
        }
        assert_eq!((task.failures, task.failures_to_tell()), (0, Vec::new()));
        let bytes = sim.journal.len();
        assert_eq!(sim.resume(bytes, Budget::default()), End::Finished(Verdict::Passed));
    }
}

#[test]
fn a_gate_that_is_cut_short_by_the_sessions_time_runs_again_after_a_resume() {
    let plan = plan(vec![task("T-1", &[])]);
    let mut whole = sim(&plan, &[], 23);
    whole.start(session(settings(), &plan), plan.clone());
    let gates_at = whole.records.iter().find(|r| matches!(r.event, Event::GateStarted { .. })).unwrap().at.elapsed_ms;
    let mut settings = settings();
    (settings.budget.max_duration_ms, settings.soft_ratio) = (Some(gates_at + 10), 1.0);
    let mut sim = sim(&plan, &[], 23);
    assert_eq!(sim.start(session(settings, &plan), plan.clone()), End::Finished(Verdict::Budget));
    check_end(&sim);
    let bytes = sim.journal.len();
    assert_eq!(sim.resume(bytes, Budget::default()), End::Finished(Verdict::Passed));
}

#[test]
fn the_clock_of_a_killed_process_is_never_behind_by_more_than_a_heartbeat() {
    let plan = plan(vec![task("T-1", &[])]);
    let mut sim = sim(&plan, &[("T-1", &[Behaviour::Hangs])], 24);
    sim.start(session(settings(), &plan), plan.clone());
    let gaps = sim.records.windows(2).map(|w| w[1].at.elapsed_ms - w[0].at.elapsed_ms);
    assert!(gaps.max().unwrap() <= 5000);
}

#[test]
fn a_red_gate_fails_the_run_and_the_branch_does_not_move() {
    let plan = eight();
    let mut sim = sim(&plan, &[], 6);
    sim.world.red_gates.insert("test".into());
    assert_eq!(sim.start(session(settings(), &plan), plan.clone()), End::Finished(Verdict::Failed));
    check_end(&sim);
    assert_eq!(sim.world.branch, None);
    assert_eq!(content(&sim).len(), 8, "the work is kept");
}

#[test]
fn a_broken_repository_rolls_back_to_the_last_checkpoint() {
    let plan = eight();
    let mut settings = settings();
    settings.checkpoint_frequency = CheckpointFrequency::Task;
    for broken in ["integrate T-6", "capture T-5", "checkpoint 3"] {
        let mut sim = sim(&plan, &[], 7);
        let message = "objects are missing".to_owned();
        sim.world.breaks.insert(broken.to_owned(), Broken { message, critical: true });
        assert_eq!(
            sim.start(session(settings.clone(), &plan), plan.clone()),
            End::Finished(Verdict::RolledBack),
            "{broken}"
        );
        let last = sim.state.last_checkpoint().unwrap().commit.clone();
        assert_eq!(sim.world.tip, last, "{broken}");
        check_end(&sim);
    }
}

#[test]
fn a_rollback_that_is_interrupted_is_finished_and_never_passes() {
    let plan = eight();
    let mut settings = settings();
    settings.checkpoint_frequency = CheckpointFrequency::Task;
    let broken = || Broken { message: "objects are missing".to_owned(), critical: true };
    let mut whole = sim(&plan, &[], 13);
    whole.world.breaks.insert("integrate T-6".to_owned(), broken());
    whole.start(session(settings.clone(), &plan), plan.clone());
    let first = whole.records.iter().position(|r| matches!(r.event, Event::EffectBroken { .. })).unwrap();
    for crash_at in first + 1..whole.records.len() {
        let mut sim = sim(&plan, &[], 13);
        sim.world.breaks.insert("integrate T-6".to_owned(), broken());
        sim.crash_at = Some(crash_at);
        sim.cancel_at = Some(crash_at);
        let mut end = sim.start(session(settings.clone(), &plan), plan.clone());
        if end == End::Crashed {
            let bytes = newline_ends(&sim.journal)[crash_at - 1];
            end = sim.resume(bytes, Budget::default());
        }
        check_end(&sim);
        check_verdict(&sim, sim.state.finished.as_ref().unwrap().0);
        let begun = sim.records.iter().any(|r| matches!(r.event, Event::RollbackStarted { .. }));
        if begun {
            assert_eq!(end, End::Finished(Verdict::RolledBack), "crash at {crash_at}");
        }
    }
}

#[test]
fn a_full_disk_ends_the_run_with_setup_and_a_resume_finishes_it() {
    let plan = eight();
    for broken in
        ["setup", "prepare T-4", "agent T-2", "capture T-1", "integrate T-3", "gate test", "checkpoint 1", "PRD status"]
    {
        let mut sim = sim(&plan, &[], 8);
        let message = "no space left".to_owned();
        sim.world.breaks.insert(broken.to_owned(), Broken { message, critical: false });
        assert_eq!(sim.start(session(settings(), &plan), plan.clone()), End::Finished(Verdict::Setup), "{broken}");
        check_end(&sim);
        let bytes = sim.journal.len();
        assert_eq!(sim.resume(bytes, Budget::default()), End::Finished(Verdict::Passed), "{broken}");
        check_end(&sim);
        assert_eq!(content(&sim).len(), 8, "{broken}");
    }
}

/// What follows a state as the next record.
fn with(state: &State, event: Event) -> Result<State, Illegal> {
    let mut state = state.clone();
    let record = Record { seq: state.seq + 1, at: state.at, event };
    state.apply(&record).map(|()| state)
}

#[test]
fn a_delivery_follows_the_end_only_and_what_failed_counts_until_it_is_tried_again() {
    let failed = |what: Deliverable, why: &str| Event::DeliveryFailed { what, missing: vec![why.to_owned()] };
    let tried = |wanted: &[Deliverable]| Event::DeliveryStarted { wanted: wanted.to_vec() };
    let plan = eight();
    let mut sim = sim(&plan, &[], 14);
    assert_eq!(sim.start(session(settings(), &plan), plan.clone()), End::Finished(Verdict::Passed));
    for cut in 0..sim.records.len() {
        let state = replay(&sim.records[..cut]).unwrap();
        for event in [failed(Deliverable::Push, "push"), tried(&[]), Event::DeliveryEnded] {
            assert!(with(&state, event.clone()).is_err(), "{event:?} after {cut} records");
        }
    }
    let once = with(&sim.state, failed(Deliverable::Push, "push")).unwrap();
    assert_eq!(once.end(), Some((Verdict::Report, "passed, 8 unverified; not delivered: push".to_owned())));
    assert_eq!(once.finished, sim.state.finished, "the work is what it was");
    assert!(with(&once, Event::Heartbeat).is_err(), "nothing else follows");
    let twice = with(&once, failed(Deliverable::Comment, "comment")).unwrap();
    assert_eq!(twice.end(), Some((Verdict::Report, "passed, 8 unverified; not delivered: push; comment".to_owned())));
    let again = with(&twice, tried(&[Deliverable::Comment])).unwrap();
    let reason = "passed, 8 unverified; not delivered: push; the comment (interrupted)".to_owned();
    assert_eq!(again.end(), Some((Verdict::Report, reason)), "an open delivery is none");
    let again = with(&again, Event::DeliveryEnded).unwrap();
    assert_eq!(again.end(), once.end(), "what was not tried stays missing");
    let again = with(&with(&again, tried(&[Deliverable::Push])).unwrap(), Event::DeliveryEnded).unwrap();
    assert_eq!(again.end(), sim.state.finished);
    assert_eq!(step(&again, again.at, Input::Continue), []);
    // A journal of an older version: nothing says what it was about.
    let older = with(&sim.state, failed(Deliverable::Unknown, "push")).unwrap();
    assert_eq!(with(&older, tried(&[])).unwrap().end(), sim.state.finished);
}

#[test]
fn the_end_of_a_session_leaves_all_that_is_wanted_open() {
    let plan = eight();
    let started = SessionStarted { wanted: vec![Deliverable::Push], ..session(settings(), &plan) };
    let mut sim = sim(&plan, &[], 14);
    assert_eq!(sim.start(started, plan.clone()), End::Finished(Verdict::Passed));
    let reason = "passed, 8 unverified; not delivered: the result branch (interrupted)".to_owned();
    assert_eq!(sim.state.end(), Some((Verdict::Report, reason)));
    assert_eq!(with(&sim.state, Event::DeliveryEnded).unwrap().end(), sim.state.finished);
}

#[test]
fn a_session_that_stopped_and_could_not_say_so_goes_on_like_any_other() {
    let plan = eight();
    let mut sim = sim(&plan, &[], 15);
    let mut limited = settings();
    limited.budget.max_tokens = Some(350);
    assert_eq!(sim.start(session(limited, &plan), plan.clone()), End::Finished(Verdict::Budget));
    let event = Event::DeliveryFailed { what: Deliverable::Comment, missing: vec!["comment".to_owned()] };
    let record = Record { seq: sim.state.seq + 1, at: sim.state.at, event };
    sim.journal.extend(maestro_ci::journal::encode(&record).unwrap().into_bytes());
    assert_eq!(with(&sim.state, record.event).unwrap().end().unwrap().0, Verdict::Budget);
    let bytes = sim.journal.len();
    assert_eq!(sim.resume(bytes, Budget::default()), End::Finished(Verdict::Passed));
    assert_eq!(sim.state.end(), sim.state.finished, "a resume begins anew");
}

#[test]
fn limits_are_kept_to_the_token_and_a_higher_one_lets_the_session_finish() {
    let plan = eight();
    for (limit, verdict) in
        [(801, Verdict::Passed), (800, Verdict::Passed), (799, Verdict::Budget), (350, Verdict::Budget)]
    {
        let mut sim = sim(&plan, &[], 9);
        let mut settings = settings();
        settings.budget.max_tokens = Some(limit);
        assert_eq!(sim.start(session(settings, &plan), plan.clone()), End::Finished(verdict), "{limit}");
        check_end(&sim);
        assert!(sim.world.spent <= limit + 100, "at most one report beyond the limit: {} of {limit}", sim.world.spent);
        if verdict == Verdict::Budget {
            let bytes = sim.journal.len();
            let budget = Budget { max_tokens: Some(2000), ..Budget::default() };
            assert_eq!(sim.resume(bytes, budget), End::Finished(Verdict::Passed), "{limit}");
            assert_eq!(sim.state.ledger.used().tokens, sim.world.spent, "spending adds up over the resume");
            check_end(&sim);
        }
    }
}

#[test]
fn a_session_that_runs_out_of_time_stops_wherever_it_is() {
    let plan = eight();
    for limit in [1, 40, 100, 160, 220, 260, 300, 340] {
        let mut sim = sim(&plan, &[], 10);
        let mut settings = settings();
        settings.budget.max_duration_ms = Some(limit);
        settings.soft_ratio = 1.0;
        let end = sim.start(session(settings, &plan), plan.clone());
        check_end(&sim);
        if end == End::Finished(Verdict::Budget) {
            let bytes = sim.journal.len();
            assert_eq!(sim.resume(bytes, Budget::default()), End::Finished(Verdict::Passed), "{limit}");
            check_end(&sim);
        } else {
            assert_eq!(end, End::Finished(Verdict::Passed), "{limit}");
        }
    }
}

/// The journal is cut at every record and in the middle of every line; each time a new process goes on.
#[test]
fn a_crash_at_every_record_and_in_mid_line_ends_in_the_same_tree() {
    let plan = eight();
    let runs: &[(&str, &[Behaviour])] =
        &[("T-3", &[Behaviour::Fails]), ("T-5", &[Behaviour::Transient]), ("T-7", &[Behaviour::NoChange])];
    for frequency in [
        CheckpointFrequency::PhaseComplete,
        CheckpointFrequency::Task,
        CheckpointFrequency::Group,
        CheckpointFrequency::TestsPass,
    ] {
        let mut settings = settings();
        settings.checkpoint_frequency = frequency;
        settings.budget.max_tokens = Some(100_000);
        let mut whole = sim(&plan, runs, 11);
        assert_eq!(whole.start(session(settings.clone(), &plan), plan.clone()), End::Finished(Verdict::Passed));
        let total = whole.records.len();
        let first = 1 + whole.records.iter().position(|r| matches!(r.event, Event::Planned { .. })).unwrap();
        for crash_at in first..total {
            for mid_line in [false, true] {
                let mut sim = sim(&plan, runs, 11);
                sim.crash_at = Some(crash_at);
                if sim.start(session(settings.clone(), &plan), plan.clone()) != End::Crashed {
                    continue;
                }
                // A turn is written at once; what a crash leaves of it is any prefix.
                let lines: Vec<usize> = newline_ends(&sim.journal);
                let cut = if mid_line { lines[crash_at - 1] + 20 } else { lines[crash_at - 1] };
                let bytes = cut.min(sim.journal.len());
                let end = sim.resume(bytes, settings.budget);
                assert_eq!(end, End::Finished(Verdict::Passed), "crash at {crash_at} of {total}, {frequency:?}");
                check_end(&sim);
                assert_eq!(content(&sim), content(&whole), "crash at {crash_at} of {total}, {frequency:?}");
                assert_eq!(sim.world.branch.as_ref(), Some(&sim.world.tip));
            }
        }
    }
}

fn newline_ends(journal: &[u8]) -> Vec<usize> {
    journal.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1).collect()
}

#[test]
fn sigint_at_every_record_is_a_resumable_end() {
    let plan = eight();
    let mut whole = sim(&plan, &[], 12);
    whole.start(session(settings(), &plan), plan.clone());
    for cancel_at in 1..whole.records.len() - 1 {
        let mut sim = sim(&plan, &[], 12);
        sim.cancel_at = Some(cancel_at);
        let end = sim.start(session(settings(), &plan), plan.clone());
        if end == End::Finished(Verdict::Passed) {
            continue;
        }
        assert_eq!(end, End::Finished(Verdict::Interrupted), "at {cancel_at}");
        check_end(&sim);
        let bytes = sim.journal.len();
        assert_eq!(sim.resume(bytes, Budget::default()), End::Finished(Verdict::Passed), "at {cancel_at}");
        check_end(&sim);
        assert_eq!(content(&sim).len(), 8);
    }
}

/// Random plans, faults, budgets and crashes: whatever happens, the invariants hold and the run ends.
#[test]
fn a_thousand_seeds_hold_every_invariant() {
    let seeds = std::env::var("MAESTRO_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1000);
    for seed in 0..seeds {
        let result = std::panic::catch_unwind(|| random_session(seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}

fn random_session(seed: u64) {
    let mut rng = Rng(seed);
    let plan = random_plan(&mut rng);
    let mut settings = settings();
    settings.jobs = 1 + u32::try_from(rng.below(4)).unwrap();
    settings.checkpoint_frequency = [
        CheckpointFrequency::PhaseComplete,
        CheckpointFrequency::Task,
        CheckpointFrequency::Group,
        CheckpointFrequency::TestsPass,
    ][usize::try_from(rng.below(4)).unwrap()];
    if rng.chance(30) {
        settings.budget.max_tokens = Some(50 + rng.below(2000));
    }
    if rng.chance(20) {
        settings.budget.max_duration_ms = Some(20 + rng.below(3000));
    }
    let behaviours = [
        Behaviour::Works,
        Behaviour::Fails,
        Behaviour::Transient,
        Behaviour::NoChange,
        Behaviour::Hangs,
        Behaviour::Crashes,
        Behaviour::Conflicts,
        Behaviour::Violates,
    ];
    let mut scripts = BTreeMap::new();
    for task in &plan.tasks {
        let runs = (0..rng.below(6)).map(|_| behaviours[usize::try_from(rng.below(8)).unwrap()]).collect();
        scripts.insert(task.id.clone(), Script { runs, tokens: rng.below(200), duration_ms: rng.below(300) });
    }
    let mut sim = Sim::new(World::new(seed, scripts));
    if rng.chance(20) {
        sim.world.red_gates.insert("test".into());
    }
    if rng.chance(20) {
        let key = ["setup", "prepare", "agent", "capture", "integrate", "gate", "checkpoint", "PRD status"]
            [usize::try_from(rng.below(8)).unwrap()];
        let critical = rng.chance(50);
        sim.world.breaks.insert(key.to_owned(), Broken { message: "broken".to_owned(), critical });
    }
    sim.crash_at = rng.chance(70).then(|| 5 + usize::try_from(rng.below(60)).unwrap());
    sim.cancel_at = rng.chance(20).then(|| 5 + usize::try_from(rng.below(60)).unwrap());
    let mut budget = settings.budget;
    let mut end = sim.start(session(settings, &plan), plan.clone());
    for _ in 0..20 {
        let bytes = sim.journal.len();
        match end {
            End::Finished(verdict) => {
                check_end(&sim);
                check_verdict(&sim, verdict);
                if !verdict.is_resumable() {
                    return;
                }
                budget = Budget::default();
            }
            End::Crashed => {
                sim.crash_at = rng.chance(50).then(|| sim.records.len() + usize::try_from(rng.below(40)).unwrap());
            }
        }
        end = sim.resume(bytes, budget);
    }
    panic!("twenty resumes do not finish the session: {end:?}");
}

fn check_verdict(sim: &Sim, verdict: Verdict) {
    let all_good = sim.state.tasks.values().all(|t| t.status().is_some_and(TaskStatus::is_success));
    if verdict == Verdict::Passed {
        assert!(all_good, "a pass with tasks that are not done");
        assert_eq!(content(sim).len(), sim.state.tasks.len(), "a pass without the work");
        assert!(sim.world.red_gates.is_empty(), "a pass with a red gate");
    }
    if !sim.world.red_gates.is_empty() {
        assert_eq!(sim.world.branch, None, "the branch moved to a tree with a red gate");
    }
}

fn random_plan(rng: &mut Rng) -> Plan {
    let n = 1 + rng.below(12);
    let tasks = (0..n).map(|i| {
        let depends_on: Vec<String> = (0..i).filter(|_| rng.chance(25)).map(|d| format!("T-{d}")).collect();
        task(&format!("T-{i}"), &depends_on.iter().map(String::as_str).collect::<Vec<_>>())
    });
    plan(tasks.collect())
}
