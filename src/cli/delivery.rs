//! The end of a session, when its reports are written: the remote gets the branch, the forge its pull request and
//! comment, the CI its outputs and summary. The session's end leaves all that is wanted open; what cannot be delivered
//! goes into the journal, and then the end of the delivery, so that reports, outputs and exit code agree also where the
//! process dies on the way. `resume` tries again what is missing.

use super::context::Context;
use super::error::CliError;
use super::flags::RunArgs;
use super::forge::{End, Forge, Missing, Wish};
use super::publisher::Publisher;
use super::session;
use super::signals::Signals;
use super::start::holder;
use super::{ci, output, outputs};
use crate::core::{Deliverable, Event, Record, SessionId, State, Verdict};
use crate::driver::{self, DriverError, Written};
use crate::journal::{BranchLock, SessionDir, Store, write_atomic};
use crate::report::{Console, Format, Report};
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
    pub state: State,
    pub records: Vec<Record>,
}

impl Delivery<'_> {
    /// Delivers everything; `unwritten` are the reports that are not where flags want them. Result branch and pull
    /// request come first, then what tells of them; what tells of all comes last. Until the end the session's own
    /// reports say that what is under way is not delivered: the process may die.
    pub fn make(
        mut self,
        unwritten: Vec<Missing>,
        forge: &Forge,
        mut publisher: Option<Publisher>,
        stop: &Signals,
    ) -> Verdict {
        let reported = self.state.seq;
        let mut is_kept = self.fail(unwritten);
        let report = self.report();
        self.keep_comment(forge, &report);
        ci::put_outputs(self.args, &report, self.dir);
        let missing = forge.bring(&self.end(&self.told()), publisher.as_mut(), stop);
        is_kept &= self.fail(missing);
        let untold = forge.tell(&self.end(&self.told()), publisher, stop);
        is_kept &= self.fail(untold);
        is_kept &= self.close(reported);
        let report = self.report();
        self.keep_comment(forge, &report);
        ci::tell(self.args, &report, self.dir);
        if !self.state.undelivered.is_empty() && !report.resumable {
            let id = &report.session;
            output::log_line(&format!("[Maestro]   → To deliver what is missing: maestro-ci resume {id}"));
        }
        let verdict = self.verdict();
        if is_kept { verdict } else { verdict.worse(Verdict::Report) }
    }

    fn verdict(&self) -> Verdict {
        self.state.end().map_or(Verdict::Internal, |(verdict, _)| verdict)
    }

    fn end<'a>(&'a self, report: &'a Report) -> End<'a> {
        End::of_run(report, self.verdict(), &self.context.repo)
    }

    fn report(&self) -> Report {
        Report::of(&self.state, &self.records)
    }

    /// The report for those who are told of it now: what is under way will be delivered, or they are told again.
    fn told(&self) -> Report {
        Report::of(&self.settled(), &self.records)
    }

    fn settled(&self) -> State {
        let mut state = self.state.clone();
        state.end_delivery();
        state
    }

    /// Tells and keeps what could not be delivered. False where the journal does not take it.
    fn fail(&mut self, missing: Vec<Missing>) -> bool {
        let known = |what: &Deliverable| self.state.undelivered.get(what).is_some_and(|why| !why.is_empty());
        let new = missing.into_iter().filter(|(what, _)| !known(what));
        let events = new.map(|(what, why)| Event::DeliveryFailed { what, missing: vec![shown(&why)] });
        self.add(events.collect())
    }

    /// Makes the reports say how the delivery ended, and then the journal. A report that cannot be written now counts
    /// like one that could not be written before. They know what was on record up to `reported`.
    fn close(&mut self, reported: u64) -> bool {
        let is_open = self.state.undelivered.values().any(Vec::is_empty);
        if !is_open && self.state.seq == reported {
            return true;
        }
        let before = self.state.seq;
        let written = write(self.context, self.args, self.dir, &self.settled(), &self.records);
        let mut is_kept = self.fail(missing_of(written));
        if self.state.seq > before {
            let _ = write(self.context, self.args, self.dir, &self.settled(), &self.records);
        }
        if is_open {
            is_kept &= self.add(vec![Event::DeliveryEnded]);
        }
        is_kept
    }

    fn add(&mut self, events: Vec<Event>) -> bool {
        if events.is_empty() {
            return true;
        }
        match add_records(self.dir, events.clone()) {
            Ok(stands) => {
                (self.state, self.records) = stands;
                true
            }
            Err(error) => {
                let failed = events.iter().filter_map(|event| match event {
                    Event::DeliveryFailed { missing, .. } => Some(missing),
                    _ => None,
                });
                for why in failed.flatten() {
                    tracing::error!("not delivered: {why}");
                }
                tracing::error!("the journal does not take how the delivery went, so no report tells of it: {error}");
                false
            }
        }
    }

    fn keep_comment(&self, forge: &Forge, report: &Report) {
        let text = forge.comment(report);
        if let Err(error) = write_atomic(&self.dir.path().join("comment.md"), text.as_bytes()) {
            tracing::warn!("comment.md cannot be written: {error}");
        }
    }
}

/// What a try at an ended session's delivery is about: all that is asked for and was not delivered before.
pub fn wanted(context: &Context, args: &RunArgs, state: &State) -> Vec<Deliverable> {
    let is_missing = |what: &Deliverable| state.undelivered.contains_key(what);
    let is_unknown = is_missing(&Deliverable::Unknown);
    let reports = outputs::asked(args).into_iter().map(|(_, format)| report_of(format));
    let reports = reports.filter(|what| is_missing(what) || is_unknown);
    let forge = forge_of(context, args).wanted().into_iter();
    forge.filter(|what| is_missing(what) || !state.delivered.contains(what)).chain(reports).collect()
}

/// Delivers what a session that has ended has to deliver. What is missing and not asked for here stays missing.
pub fn again(context: &Context, args: &RunArgs, store: &Store, id: &SessionId) -> Result<Verdict, CliError> {
    let branch = context.branch(args);
    let lock_path = store.lock_path(&branch)?;
    let _lock = BranchLock::take(&lock_path, &holder(id))?;
    let stored = session::read(store, id)?;
    let wanted = wanted(context, args, &stored.state);
    let (state, records) = if wanted.is_empty() {
        (stored.state, stored.records)
    } else {
        add_records(&stored.dir, vec![Event::DeliveryStarted { wanted }])?
    };
    let forge = forge_of(context, args);
    let publisher = forge.publisher(&branch);
    let written = write(context, args, &stored.dir, &state, &records);
    let delivery = Delivery { context, args, dir: &stored.dir, state, records };
    Ok(delivery.make(missing_of(written), &forge, publisher, &Signals::new()))
}

/// The reports that are not where flags want them.
pub fn missing_of(written: Written) -> Vec<Missing> {
    written.undelivered.into_iter().map(|(format, why)| (report_of(format), why)).collect()
}

fn report_of(format: Format) -> Deliverable {
    match format {
        Format::Json => Deliverable::Json,
        Format::Junit => Deliverable::Junit,
        Format::Markdown => Deliverable::Markdown,
        Format::Html => Deliverable::Html,
        Format::Sarif => Deliverable::Sarif,
    }
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
    for (_, why) in forge.tell(&end, publisher, &Signals::new()) {
        tracing::error!("not delivered: {}", text::terminal_line(&why));
    }
}

/// What people and the journal are told of why something is not delivered, in one line.
fn shown(why: &str) -> String {
    text::one_line(&text::terminal_line(&output::clean(why)), 500)
}

fn add_records(dir: &SessionDir, events: Vec<Event>) -> Result<(State, Vec<Record>), DriverError> {
    let new = events.len();
    let (state, records) = driver::add_records(dir, events)?;
    let mut console = Console::new(true);
    for record in &records[records.len() - new..] {
        console.lines(&state, record).iter().for_each(|line| output::log_line(line));
    }
    Ok((state, records))
}

fn write(context: &Context, args: &RunArgs, dir: &SessionDir, state: &State, records: &[Record]) -> Written {
    driver::write_derived(dir, state, records, context.config.logging.log_to_file, outputs::asked(args))
}
