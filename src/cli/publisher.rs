//! A thread beside the run that keeps the forge's comment up to date: one update in half a minute at most, the latest
//! text each time, and the end of it within a deadline. The run never waits for it, but at its very end.
//!
//! In: records, as they become durable, and then what is to be said in the end. Out: what was done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use super::teller::{Address, Request, Teller};
use crate::core::Record;
use crate::forge::{CheckRun, Failure, Posted, Pull};
use crate::report::Report;

/// Between two updates of the comment while the run goes on.
const BETWEEN: Duration = Duration::from_secs(30);
/// What one of these updates may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a waiting end looks for a signal.
const SLICE: Duration = Duration::from_millis(50);
/// What is left for the thread to tell what it has done.
const TELLING: Duration = Duration::from_millis(300);

/// Makes the comment's text of a report.
pub type Text = Box<dyn Fn(&Report) -> String + Send>;

/// What is to be said in the end.
pub struct Finale {
    /// The comment, where there is to be one.
    pub comment: Option<String>,
    /// The pull request, where there is to be one. A base without a name is the repository's default branch.
    pub pull: Option<Pull>,
    /// The check, where there is to be one.
    pub check: Option<CheckRun>,
    /// How long all of it may take.
    pub patience: Duration,
}

/// What has come of it; none where it was not asked for.
#[derive(Debug, Default)]
pub struct Told {
    /// The comment; within, none where there is no pull request to comment on.
    pub comment: Option<Result<Option<Posted>, Failure>>,
    /// The pull request's page.
    pub pull: Option<Result<String, Failure>>,
    /// The check's page.
    pub check: Option<Result<Option<String>, Failure>>,
}

enum Message {
    Records(Vec<Record>),
    End(Finale, Instant),
}

/// The end of a run, as it met an update.
struct Met {
    finale: Finale,
    until: Instant,
    /// The update had no answer by then. What came of it is not known, so nothing more may be sent.
    is_unanswered: bool,
}

/// The thread.
pub struct Publisher {
    inbox: UnboundedSender<Message>,
    told: mpsc::Receiver<Told>,
    stopped: Arc<AtomicBool>,
    /// When the end's time is over; none before the end has begun.
    until: Option<std::time::Instant>,
    /// There was no answer in time: what came of it is not known, so nothing more may be sent.
    is_silent: bool,
}

/// What a thread works with.
struct Work {
    teller: Teller,
    request: Request,
    text: Text,
    records: Vec<Record>,
    /// A comment is wanted while the run goes on.
    is_live: bool,
    /// Something has happened since the last one.
    is_stale: bool,
}

impl Publisher {
    /// Starts the thread. None where there can be no more threads. With `is_live` the comment is kept while the run
    /// goes on.
    pub fn start(address: Address, request: Request, text: Text, is_live: bool) -> Option<Self> {
        let (inbox, messages) = unbounded_channel();
        let (tell, told) = mpsc::channel();
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopped);
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            let teller = Teller::new(address);
            let work = Work { teller, request, text, records: Vec::new(), is_live, is_stale: false };
            runtime.block_on(work.run(messages, &tell, &seen));
            // A name that is still looked up must not hold us.
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("publisher".to_owned()).spawn(work).ok()?;
        Some(Self { inbox, told, stopped, until: None, is_silent: false })
    }

    /// What hands over records that are on disk.
    pub fn reporter(&self) -> impl Fn(&[Record]) + use<> {
        let inbox = self.inbox.clone();
        move |records: &[Record]| {
            // A thread that is gone is noticed at the end.
            let _ = inbox.send(Message::Records(records.to_vec()));
        }
    }

    /// Says something of what is to be said in the end, and waits for it; all of it shares the time of the first.
    /// `stop` tells of a signal: from then on there is little more time. None where the forge did not answer in time.
    pub fn finish(&mut self, finale: Finale, stop: &dyn Fn() -> bool) -> Option<Told> {
        if self.is_silent {
            return None;
        }
        let mut until = *self.until.get_or_insert_with(|| std::time::Instant::now() + finale.patience);
        let _ = self.inbox.send(Message::End(finale, Instant::from_std(until)));
        loop {
            if stop() && !self.stopped.swap(true, Ordering::Relaxed) {
                until = until.min(std::time::Instant::now() + super::signals::STOP_PATIENCE);
                self.until = Some(until);
            }
            match self.told.recv_timeout(SLICE) {
                Ok(told) => return Some(told),
                Err(RecvTimeoutError::Timeout) if std::time::Instant::now() < until + TELLING => {}
                Err(_) => {
                    self.is_silent = true;
                    return None;
                }
            }
        }
    }
}

impl Work {
    /// Until whoever has more to say is gone, or an answer has not come in time.
    async fn run(mut self, mut messages: UnboundedReceiver<Message>, tell: &mpsc::Sender<Told>, stopped: &AtomicBool) {
        let mut due = Instant::now();
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Some(Message::Records(new)) => self.take(new),
                    Some(Message::End(finale, until)) => {
                        let _ = tell.send(self.end(finale, until, stopped).await);
                    }
                    None => return,
                },
                () = sleep_until(due), if self.is_stale => {
                    self.is_stale = false;
                    let Some(text) = self.live_text() else { continue };
                    if let Some(met) = self.say(&text, &mut messages).await {
                        let told = match met {
                            Met { finale, is_unanswered: true, .. } => {
                                let _ = tell.send(unanswered(&finale));
                                return;
                            }
                            Met { finale, until, .. } => self.end(finale, until, stopped).await,
                        };
                        let _ = tell.send(told);
                        continue;
                    }
                    let silent = self.teller.silent_until();
                    due = silent.into_iter().fold(Instant::now() + BETWEEN, Instant::max);
                }
            }
        }
    }

    fn take(&mut self, new: Vec<Record>) {
        if self.is_live {
            self.is_stale |= new.iter().any(|record| !record.event.is_metering());
            self.records.extend(new);
        }
    }

    /// The comment as the run goes on; none before there is a plan to show.
    fn live_text(&self) -> Option<String> {
        let report = Report::from_records(&self.records).ok().filter(|report| !report.tasks.is_empty())?;
        Some((self.text)(&report))
    }

    /// Updates the comment while the run goes on. What fails is tried again with the next text. Where the end comes
    /// meanwhile, the update is waited for as long as the end has: a request that has left may be done in any case.
    async fn say(&mut self, text: &str, messages: &mut UnboundedReceiver<Message>) -> Option<Met> {
        let (mut met, mut late): (Option<Met>, Vec<Record>) = (None, Vec::new());
        {
            let update = self.teller.comment(&self.request, text, Instant::now() + PATIENCE);
            tokio::pin!(update);
            loop {
                let until = met.as_ref().map_or_else(Instant::now, |met| met.until);
                tokio::select! {
                    result = &mut update => {
                        if let Err(failure) = result {
                            tracing::debug!("the comment is not updated: {failure}");
                        }
                        break;
                    }
                    message = messages.recv(), if met.is_none() => match message {
                        Some(Message::Records(new)) => late.extend(new),
                        Some(Message::End(finale, until)) => met = Some(Met { finale, until, is_unanswered: false }),
                        None => break,
                    },
                    () = sleep_until(until), if met.is_some() => {
                        met = met.map(|met| Met { is_unanswered: true, ..met });
                        break;
                    }
                }
            }
        }
        self.take(late);
        met
    }

    async fn end(&mut self, finale: Finale, until: Instant, stopped: &AtomicBool) -> Told {
        // From now on it is told how the run ended.
        (self.is_live, self.is_stale) = (false, false);
        self.teller.forgive();
        let mut told = Told::default();
        if let Some(pull) = finale.pull {
            told.pull = Some(self.pull(pull, until).await);
        }
        if let Some(text) = finale.comment {
            told.comment = Some(self.teller.comment(&self.request, &text, until).await);
        }
        if let Some(check) = finale.check.filter(|_| !stopped.load(Ordering::Relaxed)) {
            told.check = Some(self.teller.check(&check, until).await);
        }
        told
    }

    async fn pull(&mut self, mut pull: Pull, until: Instant) -> Result<String, Failure> {
        if pull.base.is_empty() {
            pull.base = self.teller.default_branch(until).await?;
        }
        let opened = self.teller.open_pull(&pull, until).await?;
        Ok(opened.url.unwrap_or_else(|| format!("#{}", opened.number)))
    }
}

/// What came of an end that could say nothing.
fn unanswered(finale: &Finale) -> Told {
    let failure =
        || Failure::Lost("an update was under way and had no answer in time; nothing more was sent".to_owned());
    Told {
        comment: finale.comment.as_ref().map(|_| Err(failure())),
        pull: finale.pull.as_ref().map(|_| Err(failure())),
        check: finale.check.as_ref().map(|_| Err(failure())),
    }
}
