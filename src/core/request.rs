//! From events to effects: what the shell has to do now that an event is on disk. Everything an effect needs
//! stands in the state, so a resume can make the same request again.

use super::call::CallAnswer;
use super::effect::{Effect, EffectKey};
use super::event::Event;
use super::id::TaskId;
use super::session::StopCause;
use super::settings::Settings;
use super::state::{State, StatusWrite};

/// True where a limit of session or task depends on how much a call puts out.
fn limits_output(settings: &Settings) -> bool {
    let budgets = [&settings.budget, &settings.task_budget];
    budgets.iter().any(|b| b.max_tokens.is_some() || b.max_cost_microusd.is_some())
}

impl State {
    /// The effect that an applied event requests. Events that are only facts request nothing.
    pub fn request(&self, event: &Event) -> Option<Effect> {
        match event {
            Event::StopRequested { stop } if !stop.is_soft() && !matches!(stop, StopCause::Agent { .. }) => {
                Some(Effect::StopAll)
            }
            Event::AttemptStopping { task, attempt, .. }
            | Event::CostUnknown { task, attempt }
            | Event::RefusedTooOften { task, attempt, .. } => {
                Some(Effect::StopAttempt { task: task.clone(), attempt: *attempt })
            }
            Event::CallStarted { call, max_output_tokens, .. } => {
                let answer = if self.settings().is_some_and(|settings| !limits_output(settings)) {
                    CallAnswer::Unlimited
                } else {
                    CallAnswer::Granted { max_output_tokens: *max_output_tokens }
                };
                Some(Effect::AnswerCall { call: *call, answer })
            }
            Event::CallRefused { call, refusal, .. } => {
                let answer = CallAnswer::Refused { message: refusal.to_string() };
                Some(Effect::AnswerCall { call: *call, answer })
            }
            _ => self.effect(&event.opens()?),
        }
    }

    /// The effect behind a key.
    fn effect(&self, key: &EffectKey) -> Option<Effect> {
        match key {
            EffectKey::Setup => Some(Effect::Setup),
            EffectKey::Prepare { task, attempt } => {
                let onto = self.latest(task)?.onto.clone();
                Some(Effect::Prepare { task: task.clone(), attempt: *attempt, onto })
            }
            EffectKey::RunAgent { task, attempt } => self.run_agent(task, *attempt),
            EffectKey::Capture { task, attempt } => {
                let onto = self.latest(task)?.onto.clone();
                Some(Effect::Capture { task: task.clone(), attempt: *attempt, onto })
            }
            EffectKey::Integrate { task, attempt } => self.integrate(task, *attempt),
            EffectKey::Gate { round, gate } => {
                let run = self.rounds.last()?;
                let limit_ms = run.gates.iter().find(|g| g.gate == *gate)?.limit_ms?;
                Some(Effect::RunGate { round: *round, gate: gate.clone(), commit: run.commit.clone(), limit_ms })
            }
            EffectKey::Checkpoint { n } => {
                let checkpoint = self.checkpoints.iter().find(|c| c.n == *n)?;
                Some(Effect::Checkpoint { n: *n, commit: checkpoint.commit.clone(), advance: checkpoint.advance })
            }
            EffectKey::WriteStatus => match &self.status_write {
                StatusWrite::Running(status, at) => {
                    Some(Effect::WriteStatus { status: status.clone(), tip: self.tip.clone()?, wall_ms: at.wall_ms })
                }
                StatusWrite::Pending | StatusWrite::Done => None,
            },
            EffectKey::Rollback => Some(Effect::Rollback { to: self.rolling_back.clone()? }),
        }
    }

    fn run_agent(&self, task: &TaskId, attempt: u32) -> Option<Effect> {
        let state = self.tasks.get(task)?;
        let latest = state.attempts.last()?;
        Some(Effect::RunAgent {
            task: task.clone(),
            attempt,
            agent: latest.agent.clone(),
            strategy: latest.strategy,
            failures: state.failures_to_tell(),
            limit_ms: latest.limit_ms,
        })
    }

    fn integrate(&self, task: &TaskId, attempt: u32) -> Option<Effect> {
        let latest = self.latest(task)?;
        let (_, _, tip, at) = self.integration.as_ref()?;
        Some(Effect::Integrate {
            task: task.clone(),
            attempt,
            commit: latest.capture.as_ref()?.commit.clone()?,
            onto: latest.onto.clone(),
            tip: tip.clone(),
            wall_ms: at.wall_ms,
        })
    }
}
