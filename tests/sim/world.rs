//! A simulated world: it interprets the same effects as the real one, with a seed instead of processes and git.
//! Commits are sets of tasks, so that "the same final tree" is a comparison of sets.

use std::collections::{BTreeMap, BTreeSet};

use maestro_ci::core::*;

use crate::shared::{Rng, base};

/// What a task's agent does in its n-th run (1, 2, …), whatever the attempt's number.
#[derive(Clone, Debug)]
pub struct Script {
    pub runs: Vec<Behaviour>,
    pub tokens: u64,
    pub duration_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Works,
    Fails,
    Transient,
    NoChange,
    Hangs,
    Crashes,
    Conflicts,
    Violates,
}

/// The world outlives its orchestrator: what is in here survives a crash.
pub struct World {
    pub scripts: BTreeMap<TaskId, Script>,
    /// How often each task's agent ran to its own end.
    pub runs: BTreeMap<TaskId, usize>,
    /// Contents of every commit, as the tasks integrated in it.
    pub commits: BTreeMap<Commit, BTreeSet<String>>,
    pub tip: Commit,
    pub branch: Option<Commit>,
    pub tags: BTreeMap<u32, Commit>,
    /// How often each task's change reached the tip.
    pub integrated: BTreeMap<TaskId, u32>,
    /// Tokens that agents really used, lost runs included.
    pub spent: u64,
    pub red_gates: BTreeSet<GateName>,
    /// Effects that break once, by what their key begins with.
    pub breaks: BTreeMap<String, Broken>,
    rng: Rng,
}

/// An effect under way, with what it will answer and when.
#[derive(Clone, Debug)]
pub struct Pending {
    pub key: EffectKey,
    pub done_ms: u64,
    pub usage: Option<(TaskId, u32, Usage)>,
    pub outcome: Outcome,
}

impl World {
    pub fn new(seed: u64, scripts: BTreeMap<TaskId, Script>) -> Self {
        Self {
            scripts,
            runs: BTreeMap::new(),
            commits: BTreeMap::from([(base(), BTreeSet::new())]),
            tip: base(),
            branch: None,
            tags: BTreeMap::new(),
            integrated: BTreeMap::new(),
            spent: 0,
            red_gates: BTreeSet::new(),
            breaks: BTreeMap::new(),
            rng: Rng(seed),
        }
    }

    /// Starts an effect: works out its answer and how long it takes. What touches git happens at once, as a crash
    /// between the act and its record must be survived; what an agent does happens when its time has come.
    pub fn start(&mut self, effect: &Effect, now_ms: u64) -> Option<Pending> {
        if let Some(broken) = self.break_once(&key_of(effect)?) {
            let outcome = Outcome::Broken(broken);
            return Some(Pending { key: key_of(effect)?, done_ms: now_ms + 1, usage: None, outcome });
        }
        let (key, outcome, takes_ms, usage) = match effect {
            Effect::StopAll | Effect::StopAttempt { .. } | Effect::AnswerCall { .. } => return None,
            Effect::Setup => (EffectKey::Setup, Outcome::Done, 5, None),
            Effect::Prepare { task, attempt, .. } => {
                (EffectKey::Prepare { task: task.clone(), attempt: *attempt }, Outcome::Done, 1, None)
            }
            Effect::RunAgent { task, attempt, limit_ms, .. } => self.agent(task, *attempt, *limit_ms),
            Effect::Capture { task, attempt, .. } => {
                let key = EffectKey::Capture { task: task.clone(), attempt: *attempt };
                (key, Outcome::Captured(self.capture(task)), 1, None)
            }
            Effect::Integrate { task, attempt, commit, onto, tip, .. } => {
                let key = EffectKey::Integrate { task: task.clone(), attempt: *attempt };
                (key, Outcome::Merged(self.integrate(task, commit, onto, tip)), 1, None)
            }
            Effect::RunGate { round, gate, limit_ms, .. } => {
                let key = EffectKey::Gate { round: *round, gate: gate.clone() };
                (key, Outcome::Gate(self.gate(gate, *limit_ms)), 20, None)
            }
            Effect::Checkpoint { n, commit, advance } => {
                self.tags.insert(*n, commit.clone());
                if *advance {
                    self.branch = Some(commit.clone());
                }
                (EffectKey::Checkpoint { n: *n }, Outcome::Done, 1, None)
            }
            Effect::WriteStatus { status, tip, .. } => {
                let commit = self.write_status(status, tip);
                (EffectKey::WriteStatus, Outcome::StatusWritten(Some(commit)), 1, None)
            }
            Effect::Rollback { to } => {
                self.tip = to.clone();
                (EffectKey::Rollback, Outcome::Done, 1, None)
            }
        };
        Some(Pending { key, done_ms: now_ms + takes_ms, usage, outcome })
    }

    fn break_once(&mut self, key: &EffectKey) -> Option<Broken> {
        let name = key.to_string();
        let matching = self.breaks.keys().find(|prefix| name.starts_with(prefix.as_str())).cloned()?;
        self.breaks.remove(&matching)
    }

    fn behaviour(&self, task: &TaskId) -> Behaviour {
        let run = self.runs.get(task).copied().unwrap_or(0);
        self.scripts[task].runs.get(run).copied().unwrap_or(Behaviour::Works)
    }

    fn agent(
        &mut self,
        task: &TaskId,
        attempt: u32,
        limit_ms: u64,
    ) -> (EffectKey, Outcome, u64, Option<(TaskId, u32, Usage)>) {
        let script = self.scripts[task].clone();
        let usage = Usage { input_tokens: script.tokens, source: UsageSource::Reported, ..Usage::default() };
        let takes_ms = script.duration_ms + self.rng.below(20);
        let (ended, takes_ms) = match self.behaviour(task) {
            _ if takes_ms > limit_ms => (Ended::Timeout { limit_ms }, limit_ms),
            Behaviour::Hangs => (Ended::Timeout { limit_ms }, limit_ms),
            Behaviour::Fails => (Ended::Exited { code: 1 }, takes_ms),
            Behaviour::Transient => (Ended::Exited { code: 75 }, takes_ms),
            Behaviour::Crashes => (Ended::Signaled { signal: 11 }, takes_ms),
            _ => (Ended::Exited { code: 0 }, takes_ms),
        };
        let report = AgentReport { usage, duration_ms: takes_ms, ..AgentReport::bare(ended) };
        let key = EffectKey::RunAgent { task: task.clone(), attempt };
        (key, Outcome::Agent(report), takes_ms, Some((task.clone(), attempt, usage)))
    }

    fn capture(&mut self, task: &TaskId) -> Capture {
        let run = self.runs.get(task).copied().unwrap_or(1).saturating_sub(1);
        let behaviour = self.scripts[task].runs.get(run).copied().unwrap_or(Behaviour::Works);
        let path = if behaviour == Behaviour::Violates { ".github/x" } else { "src/x" };
        match behaviour {
            Behaviour::NoChange => Capture::default(),
            _ => Capture {
                commit: Some(Commit::new(format!("work-{task}-{run}"))),
                files: vec![FileChange { path: path.to_owned(), status: 'A', added: 1, removed: 0 }],
                file_count: 1,
                changed_lines: 1,
                rejected: None,
                violation: (behaviour == Behaviour::Violates).then(|| "these paths are protected".to_owned()),
                secrets: Vec::new(),
                patch_sha256: None,
            },
        }
    }

    /// Like git: the same merge gives the same commit, and the ref moves only from where it is expected.
    fn integrate(&mut self, task: &TaskId, work: &Commit, onto: &Commit, tip: &Commit) -> Merge {
        let run = self.runs.get(task).copied().unwrap_or(1).saturating_sub(1);
        let conflicts = self.scripts[task].runs.get(run) == Some(&Behaviour::Conflicts);
        if conflicts && onto != tip {
            return Merge::Conflict { paths: vec!["src/x".to_owned()] };
        }
        let commit = Commit::new(format!("{tip}+{task}@{work}"));
        let mut content = self.commits[tip].clone();
        content.insert(task.to_string());
        self.commits.insert(commit.clone(), content);
        if self.tip != commit {
            assert_eq!(self.tip, *tip, "the tip moves only from where it is expected");
            self.tip = commit.clone();
            *self.integrated.entry(task.clone()).or_default() += 1;
        }
        Merge::Integrated { commit }
    }

    fn gate(&self, gate: &GateName, limit_ms: u64) -> GateResult {
        let red = self.red_gates.contains(gate);
        let (status, ended) = match (limit_ms < 20, red) {
            (true, _) => (GateStatus::Inconclusive, Ended::Timeout { limit_ms }),
            (false, true) => (GateStatus::Failed, Ended::Exited { code: 1 }),
            (false, false) => (GateStatus::Passed, Ended::Exited { code: 0 }),
        };
        GateResult {
            status,
            ended,
            duration_ms: 20,
            summary: String::new(),
            cases: Vec::new(),
            counts: BTreeMap::new(),
            problems: Vec::new(),
            log_tail: String::new(),
            leaked_processes: 0,
        }
    }

    fn write_status(&mut self, status: &str, tip: &Commit) -> Commit {
        let commit = Commit::new(format!("{tip}+{status}"));
        self.commits.insert(commit.clone(), self.commits[tip].clone());
        self.tip = commit.clone();
        commit
    }

    /// An agent came to its own end: its run counts and its tokens are gone, whoever hears of it.
    pub fn agent_ended(&mut self, task: &TaskId) {
        *self.runs.entry(task.clone()).or_default() += 1;
        self.spent += self.scripts[task].tokens;
    }
}

fn key_of(effect: &Effect) -> Option<EffectKey> {
    let of = |task: &TaskId, attempt: &u32| (task.clone(), *attempt);
    Some(match effect {
        Effect::StopAll | Effect::StopAttempt { .. } | Effect::AnswerCall { .. } => return None,
        Effect::Setup => EffectKey::Setup,
        Effect::Prepare { task, attempt, .. } => {
            let (task, attempt) = of(task, attempt);
            EffectKey::Prepare { task, attempt }
        }
        Effect::RunAgent { task, attempt, .. } => {
            let (task, attempt) = of(task, attempt);
            EffectKey::RunAgent { task, attempt }
        }
        Effect::Capture { task, attempt, .. } => {
            let (task, attempt) = of(task, attempt);
            EffectKey::Capture { task, attempt }
        }
        Effect::Integrate { task, attempt, .. } => {
            let (task, attempt) = of(task, attempt);
            EffectKey::Integrate { task, attempt }
        }
        Effect::RunGate { round, gate, .. } => EffectKey::Gate { round: *round, gate: gate.clone() },
        Effect::Checkpoint { n, .. } => EffectKey::Checkpoint { n: *n },
        Effect::WriteStatus { .. } => EffectKey::WriteStatus,
        Effect::Rollback { .. } => EffectKey::Rollback,
    })
}
