//! The texts in what reaches the core that somebody else wrote: agents, gates, PRDs, git, model servers, whoever gave
//! the flags. One place to go through them before they are journaled. Names that decisions depend on (ids, branches,
//! commits) and the rules, gates and their commands among them, are not among them. The flags that a resume takes over
//! are: what was a secret in one has to be given again (`masked_flags`).

use std::collections::BTreeMap;

use super::agent::{AgentReport, Terminal};
use super::effect::Input;
use super::outcome::{Broken, Capture, Ended, GateResult, Merge, Outcome};
use super::plan::Plan;
use super::session::{AgentInfo, Given, PrdSummary, SessionStarted};

/// What stands in the place of a secret.
pub const MASK: &str = "***";

/// What is done to each text.
type Each<'a> = &'a mut dyn FnMut(&mut String);

impl Input {
    /// Adds a note where a flag that the next resume is to take over has lost a secret.
    pub fn note_masked(&mut self) {
        let (flags, notes) = match self {
            Self::Start(started, _) => (started.masked_flags(), &mut started.notes),
            Self::Resumed { given: Some(given), notes, .. } => {
                (masked_flags(given.agent_command.as_ref(), &given.flags, &given.set), notes)
            }
            _ => return,
        };
        if !flags.is_empty() {
            notes.push(format!("a secret in a flag is not kept: `resume` needs it again: {}", flags.join(" ")));
        }
    }

    /// Goes through all its texts.
    pub fn each_text(&mut self, each: Each<'_>) {
        match self {
            Self::Start(started, plan) => {
                of_start(started, each);
                of_plan(plan, each);
            }
            Self::Resumed { agents, notes, given, .. } => {
                notes.iter_mut().for_each(&mut *each);
                for agent in agents {
                    of_agent(agent, each);
                }
                if let Some(given) = given {
                    of_given(given, each);
                }
            }
            Self::CallAsked { ask, .. } => each(&mut ask.model),
            Self::CallUnmeterable { message, .. } => each(message),
            Self::CallEnded { fault, .. } => fault.iter_mut().for_each(|fault| each(&mut fault.message)),
            Self::Done(_, outcome) => of_outcome(outcome, each),
            Self::Usage { .. } | Self::Cancel { .. } | Self::Continue => {}
        }
    }
}

impl SessionStarted {
    /// The flags that a resume cannot take over, since there was a secret in what they were given.
    pub fn masked_flags(&self) -> Vec<String> {
        masked_flags(self.agent_command.as_ref(), &self.flags, &self.set)
    }
}

fn masked_flags(command: Option<&String>, flags: &BTreeMap<String, String>, set: &[String]) -> Vec<String> {
    let is_masked = |text: &str| text.contains(MASK);
    let command = command.filter(|text| is_masked(text)).map(|_| "--agent-cmd".to_owned());
    let flags = flags.iter().filter(|(_, text)| is_masked(text)).map(|(name, _)| format!("--{name}"));
    let set = set.iter().filter_map(|text| text.split_once('=')).filter(|(_, value)| is_masked(value));
    let set = set.map(|(key, _)| format!("--set {key}=…"));
    let mut all: Vec<String> = command.into_iter().chain(flags).chain(set).collect();
    all.dedup();
    all
}

impl GateResult {
    /// Goes through all its texts.
    pub fn each_text(&mut self, each: Each<'_>) {
        of_end(&mut self.ended, each);
        each(&mut self.summary);
        each(&mut self.log_tail);
        for case in &mut self.cases {
            each(&mut case.classname);
            each(&mut case.name);
            each(&mut case.message);
            case.file.iter_mut().for_each(&mut *each);
        }
        for problem in &mut self.problems {
            each(&mut problem.path);
            each(&mut problem.message);
        }
    }
}

fn of_start(started: &mut SessionStarted, each: Each<'_>) {
    let SessionStarted { prd, agents, agent_command, flags, set, notes, .. } = started;
    of_prd(prd, each);
    for agent in agents {
        of_agent(agent, each);
    }
    agent_command.iter_mut().chain(flags.values_mut()).chain(set).chain(notes).for_each(each);
}

fn of_prd(prd: &mut PrdSummary, each: Each<'_>) {
    each(&mut prd.title);
    prd.requirements.iter_mut().for_each(|requirement| each(&mut requirement.text));
    prd.criteria.iter_mut().for_each(&mut *each);
    prd.warnings.iter_mut().for_each(|warning| each(&mut warning.message));
}

fn of_plan(plan: &mut Plan, each: Each<'_>) {
    plan.epics.iter_mut().for_each(|epic| each(&mut epic.title));
    for task in &mut plan.tasks {
        each(&mut task.title);
        each(&mut task.description);
        task.acceptance.iter_mut().chain(task.reasons.values_mut()).for_each(&mut *each);
    }
}

fn of_agent(agent: &mut AgentInfo, each: Each<'_>) {
    agent.version.iter_mut().for_each(&mut *each);
    agent.apis.iter_mut().for_each(|api| each(&mut api.address));
}

fn of_given(given: &mut Given, each: Each<'_>) {
    given.agent_command.iter_mut().chain(given.flags.values_mut()).chain(&mut given.set).for_each(each);
}

fn of_outcome(outcome: &mut Outcome, each: Each<'_>) {
    match outcome {
        Outcome::SetupFailed { message } | Outcome::Broken(Broken { message, .. }) => each(message),
        Outcome::Agent(report) => of_report(report, each),
        Outcome::Captured(capture) => of_capture(capture, each),
        Outcome::Merged(Merge::Conflict { paths }) => paths.iter_mut().for_each(each),
        Outcome::Gate(result) => result.each_text(each),
        Outcome::Done | Outcome::Merged(Merge::Integrated { .. }) | Outcome::StatusWritten(_) => {}
    }
}

fn of_report(report: &mut AgentReport, each: Each<'_>) {
    of_end(&mut report.ended, each);
    each(&mut report.stderr_tail);
    report.denied_tools.iter_mut().for_each(&mut *each);
    if let Some(Terminal::Failed { reason: text } | Terminal::Limited { which: text }) = &mut report.terminal {
        each(text);
    }
}

fn of_capture(capture: &mut Capture, each: Each<'_>) {
    capture.files.iter_mut().for_each(|file| each(&mut file.path));
    capture.secrets.iter_mut().for_each(|secret| each(&mut secret.path));
    capture.rejected.iter_mut().chain(&mut capture.violation).for_each(each);
}

fn of_end(ended: &mut Ended, each: Each<'_>) {
    if let Ended::NotStarted { message } = ended {
        each(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{EffectKey, FileChange, GateName, GateStatus, TestCase, TestStatus};

    /// What is left of an input when every text is gone through.
    fn cleaned(mut input: Input) -> String {
        input.each_text(&mut |text| *text = text.replace("s3cr3t", "***"));
        format!("{input:?}")
    }

    #[test]
    fn no_text_of_an_outcome_is_passed_over() {
        let text = || "a s3cr3t".to_owned();
        let not_started = || Ended::NotStarted { message: text() };
        let file = FileChange { path: text(), status: 'A', added: 1, removed: 0 };
        let case = TestCase {
            classname: text(),
            name: text(),
            status: TestStatus::Failed,
            time_ms: 1,
            message: text(),
            file: Some(text()),
            line: None,
        };
        let mut gate = GateResult::stopped();
        gate = GateResult {
            status: GateStatus::Failed,
            ended: not_started(),
            summary: text(),
            cases: vec![case],
            problems: vec![crate::core::Problem { path: text(), line: 1, message: text() }],
            log_tail: text(),
            ..gate
        };
        let capture =
            Capture { files: vec![file], rejected: Some(text()), violation: Some(text()), ..Capture::default() };
        let report = AgentReport {
            terminal: Some(Terminal::Failed { reason: text() }),
            denied_tools: vec![text()],
            stderr_tail: text(),
            ..AgentReport::bare(not_started())
        };
        for outcome in [
            Outcome::SetupFailed { message: text() },
            Outcome::Agent(report),
            Outcome::Captured(capture),
            Outcome::Merged(Merge::Conflict { paths: vec![text()] }),
            Outcome::Gate(gate),
            Outcome::Broken(Broken { message: text(), critical: false }),
        ] {
            let key = EffectKey::Gate { round: 1, gate: GateName::new("s3cr3t-gate") };
            let clean = cleaned(Input::Done(key, outcome));
            // The name of the gate is one that decisions depend on.
            assert_eq!(clean.matches("s3cr3t").count(), 1, "{clean}");
            assert!(clean.contains("***"), "{clean}");
        }
    }

    #[test]
    fn ids_of_a_plan_stay_what_they_are() {
        let plan = Plan {
            epics: Vec::new(),
            tasks: vec![crate::core::Task {
                description: "a s3cr3t".to_owned(),
                ..crate::core::Task::bare("T-s3cr3t")
            }],
            fingerprint: String::new(),
        };
        let mut clean = plan.clone();
        of_plan(&mut clean, &mut |text| *text = text.replace("s3cr3t", "***"));
        assert_eq!(clean.tasks[0].id, plan.tasks[0].id);
        assert_eq!((clean.tasks[0].title.as_str(), clean.tasks[0].description.as_str()), ("T-***", "a ***"));
    }
}
