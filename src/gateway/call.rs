//! One call under way: what it asked for, how far it came, and its end, which is told exactly once whoever notices it
//! first: the upstream, the agent, the attempt's end or a panic. In: what the server and the relay see. Out: one
//! `CallAsked`, and one `CallEnded` for each that was granted.

use std::collections::HashMap;
use std::future::poll_fn;
use std::mem::replace;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Line;
use super::server::Shared;
use super::settle::{End, Seen, Terms, settlement};
use crate::core::{CallAnswer, CallAsk, CallFault, CallTrouble, Input, Usage, UsageSource};

/// Requests of one attempt at once.
const MAX_REQUESTS: usize = 32;
/// How long a close waits for ends that another thread is just telling.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Locks, also where a thread panicked: every change under these locks is one assignment.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An attempt and its calls.
pub(super) struct Attempt {
    /// What it may reach.
    pub line: Line,
    /// Room for the bodies of its requests, bytes.
    pub room: Arc<Semaphore>,
    places: Arc<Semaphore>,
    calls: Mutex<Calls>,
    told: Condvar,
}

#[derive(Default)]
struct Calls {
    closed: bool,
    /// From the ask until the end was told.
    open: HashMap<u64, Arc<Call>>,
}

impl Attempt {
    /// `room` is for the bodies of its requests, bytes.
    pub(super) fn new(line: Line, room: usize) -> Self {
        let (room, places) = (Arc::new(Semaphore::new(room)), Arc::new(Semaphore::new(MAX_REQUESTS)));
        Self { line, room, places, calls: Mutex::default(), told: Condvar::new() }
    }

    /// A place for one more request. None where it has too many under way.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Ends every call and lets no new one in.
    pub(super) fn close(&self) {
        let open: Vec<Arc<Call>> = {
            let mut calls = lock(&self.calls);
            calls.closed = true;
            calls.open.values().cloned().collect()
        };
        for call in open {
            call.cut();
        }
        let calls = lock(&self.calls);
        let waited = self.told.wait_timeout_while(calls, CLOSE_PATIENCE, |calls| !calls.open.is_empty());
        drop(waited);
    }

    fn enter(&self, call: &Arc<Call>) -> bool {
        let mut calls = lock(&self.calls);
        if !calls.closed {
            calls.open.insert(call.id, Arc::clone(call));
        }
        !calls.closed
    }

    fn forget(&self, call: u64) {
        lock(&self.calls).open.remove(&call);
        self.told.notify_all();
    }
}

/// How far a call came.
enum Stage {
    /// The core was asked.
    Asked,
    /// The core said no.
    Refused(String),
    /// The core said yes. Nothing has left.
    Granted {
        /// Output tokens that it counts as where nobody counts them.
        output: u64,
        /// The cap to be set, if one is.
        cap: Option<u64>,
    },
    /// The upstream may have it.
    Sent(u64),
    /// The response has begun.
    Answered(Box<Seen>),
    /// Nobody waits for the core's answer any more.
    Left,
    /// Its end was told, or is being told, or there was nothing to tell.
    Ended,
}

struct Inner {
    stage: Stage,
    /// Its attempt is over: whoever works on it has to stop.
    cut: bool,
    waker: Option<Waker>,
}

/// One call.
pub(super) struct Call {
    id: u64,
    shared: Arc<Shared>,
    attempt: Arc<Attempt>,
    terms: Terms,
    inner: Mutex<Inner>,
}

impl Call {
    /// Asks the core. None where the attempt is over.
    pub(super) fn ask(
        shared: &Arc<Shared>,
        attempt: &Arc<Attempt>,
        ask: CallAsk,
        terms: Terms,
        place: OwnedSemaphorePermit,
    ) -> Option<Held> {
        let inner = Mutex::new(Inner { stage: Stage::Asked, cut: false, waker: None });
        let (id, shared, attempt) = (shared.next_call(), Arc::clone(shared), Arc::clone(attempt));
        let call = Arc::new(Self { id, shared, attempt, terms, inner });
        if !call.attempt.enter(&call) {
            return None;
        }
        // Before the core hears of it: it may answer at once.
        call.shared.add_asked(id, Arc::clone(&call));
        let (task, attempt) = (call.attempt.line.task.clone(), call.attempt.line.attempt);
        (call.shared.tell)(Input::CallAsked { task, attempt, call: id, ask });
        Some(Held { call, _place: place })
    }

    /// Takes the core's answer.
    pub(super) fn take_answer(&self, answer: CallAnswer) {
        let granted = !matches!(answer, CallAnswer::Refused { .. });
        let left = {
            let mut inner = lock(&self.inner);
            let answered = match (&inner.stage, answer) {
                (Stage::Asked, CallAnswer::Granted { max_output_tokens: cap }) => {
                    Stage::Granted { output: cap, cap: Some(cap) }
                }
                (Stage::Asked, CallAnswer::Unlimited) => Stage::Granted { output: self.terms.output, cap: None },
                (Stage::Asked, CallAnswer::Refused { message }) => Stage::Refused(message),
                (_, _) => Stage::Ended,
            };
            let before = replace(&mut inner.stage, answered);
            wake(&mut inner);
            matches!(before, Stage::Left)
        };
        if left && granted {
            let fault = CallFault {
                trouble: CallTrouble::Abandoned,
                status: None,
                resume_after_ms: None,
                message: "the agent did not wait for the budget's answer".to_owned(),
            };
            self.tell_end(Usage { source: UsageSource::Gateway, ..Usage::default() }, Some(fault));
        }
    }

    /// Waits for the core: the cap on output tokens if there is to be one, or why not. None where the attempt is over.
    pub(super) async fn answered(&self) -> Option<Result<Option<u64>, String>> {
        poll_fn(|cx| {
            let mut inner = lock(&self.inner);
            let answer = match &inner.stage {
                Stage::Asked => None,
                Stage::Granted { cap, .. } => Some(Some(Ok(*cap))),
                Stage::Refused(message) => Some(Some(Err(message.clone()))),
                _ => Some(None),
            };
            match answer {
                Some(answer) => Poll::Ready(answer),
                None => wait(&mut inner, cx),
            }
        })
        .await
    }

    /// Waits until the attempt is over.
    pub(super) async fn cut_off(&self) {
        poll_fn(|cx| if self.is_cut(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// True where the attempt is over; else the task is woken when it is.
    pub(super) fn is_cut(&self, cx: &Context<'_>) -> bool {
        let mut inner = lock(&self.inner);
        if !inner.cut {
            let _: Poll<()> = wait(&mut inner, cx);
        }
        inner.cut
    }

    /// From now on the upstream may have it.
    pub(super) fn sent(&self) {
        let mut inner = lock(&self.inner);
        if let Stage::Granted { output, .. } = inner.stage {
            inner.stage = Stage::Sent(output);
        }
    }

    /// The response has begun.
    pub(super) fn begun(&self, seen: impl FnOnce(u64) -> Seen) {
        let mut inner = lock(&self.inner);
        if let Stage::Sent(cap) = inner.stage {
            inner.stage = Stage::Answered(Box::new(seen(cap)));
        }
    }

    /// A part of the response came. True where it was the end of the response's own account: all it used is known.
    pub(super) fn feed(&self, bytes: &[u8]) -> bool {
        match &mut lock(&self.inner).stage {
            Stage::Answered(seen) => seen.feed(bytes),
            _ => false,
        }
    }

    /// It is over. Only the first end counts.
    pub(super) fn end(&self, end: End) {
        let stage = {
            let mut inner = lock(&self.inner);
            let after = match inner.stage {
                Stage::Ended | Stage::Left => return,
                Stage::Asked => Stage::Left,
                _ => Stage::Ended,
            };
            let stage = replace(&mut inner.stage, after);
            wake(&mut inner);
            stage
        };
        let ended = match stage {
            Stage::Granted { .. } => Some(settlement(&self.terms, None, None, end)),
            Stage::Sent(cap) => Some(settlement(&self.terms, Some(cap), None, end)),
            Stage::Answered(seen) => Some(settlement(&self.terms, Some(seen.cap), Some(*seen), end)),
            _ => None,
        };
        if let Some((usage, fault)) = ended {
            self.shared.bound.learn(self.terms.load, &usage);
            self.tell_end(usage, fault);
        }
        self.attempt.forget(self.id);
    }

    /// The attempt is over.
    fn cut(&self) {
        {
            let mut inner = lock(&self.inner);
            inner.cut = true;
            // Also where all is told: the body may still be under way.
            wake(&mut inner);
        }
        self.end(End::Broke(CallTrouble::Abandoned, "the attempt was ended".to_owned()));
    }

    fn tell_end(&self, usage: Usage, fault: Option<CallFault>) {
        let (task, attempt) = (self.attempt.line.task.clone(), self.attempt.line.attempt);
        (self.shared.tell)(Input::CallEnded { task, attempt, call: self.id, usage, fault });
    }
}

fn wake(inner: &mut Inner) {
    if let Some(waker) = inner.waker.take() {
        waker.wake();
    }
}

fn wait<T>(inner: &mut Inner, cx: &Context<'_>) -> Poll<T> {
    inner.waker = Some(cx.waker().clone());
    Poll::Pending
}

/// A call in the hands of the task that serves it. Dropped before the end, it ends as abandoned.
pub(super) struct Held {
    call: Arc<Call>,
    _place: OwnedSemaphorePermit,
}

impl Deref for Held {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.call
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.call.end(End::Broke(CallTrouble::Abandoned, "the agent hung up".to_owned()));
    }
}
