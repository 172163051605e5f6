//! The end of a session, when its reports are written: the CI gets its outputs, the remote its branch, the forge its
//! comment. What was asked for and cannot be delivered goes into the journal, so that reports, outputs and exit code
//! agree; the same command, or `resume`, tries it again.

use super::context::Context;
use super::error::CliError;
use super::flags::RunArgs;
use super::forge::{End, Forge, Wish};
use super::publisher::Publisher;
use super::session;
use super::signals::Signals;
use super::start::holder;
use super::{ci, output, outputs};
use crate::core::{Event, Record, SessionId, State, Verdict};
use crate::driver::{self, DriverError, Written};
use crate::journal::{BranchLock, SessionDir, Store, write_atomic};
use crate::report::{Console, Report};
use crate::text;

/// What forge a run has.
pub fn forge_of(context: &Context, args: &RunArgs) -> Forge {
    Forge::new(&context.env.0, Wish::new(&context.config.forge, args.forge.push), Some(&context.repo))
}

/// A session that has ended, to be delivered.
pub struct Delivery<'a> {
    pub context: &'a Context,
    pub args: &'a RunArgs,
    pub dir: &'a SessionDir,
    /// Its report as it stands.
    pub report: Report,
    /// How the process ends, as it stands.
    pub verdict: Verdict,
}

impl Delivery<'_> {
    /// Delivers everything; `unwritten` are the reports that are not where flags want them. The forge comes last, for
    /// it may take its time and be cut short.
    pub fn make(mut self, unwritten: Vec<String>, forge: &Forge, publisher: Option<Publisher>) -> Verdict {
        self.missing(unwritten);
        ci::hand_over(self.args, &self.report, self.dir);
        self.keep_comment(forge);
        let stop = Signals::new();
        let pushed = forge.push(&self.end(), &stop);
        let stands = *pushed.as_ref().unwrap_or(&false);
        let is_changed = self.missing(pushed.err().into_iter().collect());
        let untold = forge.tell(&self.end(), stands, publisher, &stop);
        if self.missing(untold) || is_changed {
            self.keep_comment(forge);
            ci::hand_over_again(self.args, &self.report, self.dir);
        }
        self.verdict
    }

    fn end(&self) -> End<'_> {
        End::of_run(&self.report, self.verdict, &self.context.repo)
    }

    /// Tells and keeps what could not be delivered, and makes the reports again. True where there is something.
    fn missing(&mut self, missing: Vec<String>) -> bool {
        if missing.is_empty() {
            return false;
        }
        self.verdict = self.verdict.worse(Verdict::Report);
        let missing: Vec<String> = missing.iter().map(|why| shown(why)).collect();
        match add_record(self.dir, Event::DeliveryFailed { missing: missing.clone() }) {
            Ok((state, records)) => {
                self.report = write(self.context, self.args, self.dir, &state, &records).report;
            }
            Err(error) => {
                for why in &missing {
                    tracing::error!("not delivered: {why}");
                }
                tracing::error!("the journal does not take it, so no report tells of it: {error}");
            }
        }
        true
    }

    fn keep_comment(&self, forge: &Forge) {
        let text = forge.comment(&self.report);
        if let Err(error) = write_atomic(&self.dir.path().join("comment.md"), text.as_bytes()) {
            tracing::warn!("comment.md cannot be written: {error}");
        }
    }
}

/// Delivers what a session that has ended has to deliver; what was missing is tried anew.
pub fn again(context: &Context, args: &RunArgs, store: &Store, id: &SessionId) -> Result<Verdict, CliError> {
    let branch = context.branch(args);
    let lock_path = store.lock_path(&branch)?;
    let _lock = BranchLock::take(&lock_path, &holder(id))?;
    let stored = session::read(store, id)?;
    let is_missing = !stored.state.undelivered.is_empty();
    let (state, records) =
        if is_missing { add_record(&stored.dir, Event::DeliveryStarted)? } else { (stored.state, stored.records) };
    let forge = forge_of(context, args);
    let publisher = forge.publisher(&branch);
    let Written { report, undelivered } = write(context, args, &stored.dir, &state, &records);
    let verdict = state.end().map_or(Verdict::Internal, |(verdict, _)| verdict);
    let delivery = Delivery { context, args, dir: &stored.dir, report, verdict };
    Ok(delivery.make(undelivered, &forge, publisher))
}

/// Tells the forge that the run broke off; its comment would say for ever that it goes on. The journal takes no more,
/// so the reports cannot say so.
pub fn broke_off(forge: &Forge, publisher: Option<Publisher>, context: &Context, dir: &SessionDir, error: &CliError) {
    let read = crate::journal::read(&dir.journal()).ok();
    let Some(mut report) = read.and_then(|contents| Report::from_records(&contents.records).ok()) else { return };
    report.verdict = error.verdict.name().to_owned();
    report.exit_code = Some(error.verdict.code());
    report.reason = format!("stopped: internal error: {}", output::clean(&error.message));
    let end = End::of_run(&report, error.verdict, &context.repo);
    for why in forge.tell(&end, false, publisher, &Signals::new()) {
        tracing::error!("not delivered: {}", text::terminal_line(&why));
    }
}

/// What people and the journal are told of why something is not delivered, in one line.
fn shown(why: &str) -> String {
    text::one_line(&text::terminal_line(&output::clean(why)), 500)
}

fn add_record(dir: &SessionDir, event: Event) -> Result<(State, Vec<Record>), DriverError> {
    let (state, records) = driver::add_record(dir, event)?;
    let last = records.last().map(|record| Console::new(true).lines(&state, record));
    last.unwrap_or_default().iter().for_each(|line| output::log_line(line));
    Ok((state, records))
}

fn write(context: &Context, args: &RunArgs, dir: &SessionDir, state: &State, records: &[Record]) -> Written {
    driver::write_derived(dir, state, records, context.config.logging.log_to_file, outputs::asked(args))
}
