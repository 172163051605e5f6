//! The body of a response on its way to the agent: each part is counted as it comes and ends the call where it is the
//! last. In: the upstream's body. Out: the same bytes, parts that come in quick succession as one; cut where the
//! upstream is silent for too long, sends too much or breaks off, and where the attempt is over.

use std::io;
use std::mem::replace;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::time::{Instant, Sleep, sleep};

use super::call::Held;
use super::client::Answer;
use super::settle::End;
use super::upstream::reason;
use crate::core::CallTrouble;

/// What the server answers.
pub(super) type Reply = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// Parts at the beginning of a body that go on at once: answers that are small are not held up at all.
const PROMPT_PARTS: u32 = 16;
/// How long later parts are held while the kernel gathers what follows; each on its own costs two calls of the kernel.
const HOLD: Duration = Duration::from_millis(2);
/// What is never held longer, bytes.
const FULL: usize = 64 << 10;

/// A body under way.
pub(super) struct Relay {
    body: UnsyncBoxBody<Bytes, io::Error>,
    /// None where no tokens are spent.
    call: Option<Held>,
    /// The time in which the agent does not read does not count.
    silence: Timer,
    left: u64,
    over: bool,
    /// What came and has not gone on yet.
    held: BytesMut,
    hold: Timer,
    parts: u32,
    /// What goes on after what is held.
    broken: Option<io::Error>,
    has_paused: bool,
}

type Part = Option<Result<Frame<Bytes>, io::Error>>;

impl Relay {
    /// Passes an upstream's body on. `stall` bounds its silence, `max_bytes` its size.
    pub(super) fn new(body: Answer, call: Option<Held>, stall: Duration, max_bytes: u64) -> Self {
        Self::of(body.map_err(io::Error::other).boxed_unsync(), call, stall, max_bytes)
    }

    /// Passes a body on that is there already.
    pub(super) fn whole(bytes: Vec<u8>, call: Option<Held>) -> Self {
        Self::of(full(bytes), call, Duration::MAX, u64::MAX)
    }

    /// As the body of a response.
    pub(super) fn boxed(self) -> UnsyncBoxBody<Bytes, io::Error> {
        self.boxed_unsync()
    }

    fn of(body: UnsyncBoxBody<Bytes, io::Error>, call: Option<Held>, stall: Duration, max_bytes: u64) -> Self {
        let relay = Self {
            body,
            call,
            silence: Timer::new(stall),
            left: max_bytes,
            over: false,
            held: BytesMut::new(),
            hold: Timer::new(HOLD),
            parts: 0,
            broken: None,
            has_paused: false,
        };
        // Nobody polls a body that has ended before it began.
        if relay.body.is_end_stream() {
            relay.end(End::Orderly);
        }
        relay
    }

    fn end(&self, end: End) {
        if let Some(call) = &self.call {
            call.end(end);
        }
    }

    fn is_cut(&self, cx: &Context<'_>) -> bool {
        self.call.as_ref().is_some_and(|call| call.is_cut(cx))
    }

    /// Takes a part. True where it goes on now.
    fn took(&mut self, frame: Frame<Bytes>) -> bool {
        self.silence.stop();
        // Trailers say nothing to an agent.
        let Some(data) = frame.into_data().ok().filter(|data| !data.is_empty()) else { return false };
        let Some(left) = self.left.checked_sub(bytes_of(&data)) else {
            self.cut(CallTrouble::TooLarge, "the response is larger than a response may be".to_owned());
            return true;
        };
        self.left = left;
        self.parts = self.parts.saturating_add(1);
        let told_all = self.call.as_ref().is_some_and(|call| call.feed(&data));
        if self.held.is_empty() && self.parts > PROMPT_PARTS {
            // At once for all that will be held; else it would be copied with each step of its growth.
            self.held.reserve(FULL);
        }
        self.held.extend_from_slice(&data);
        // An agent that sees the end in this part may ask again at once, so the end is told before it goes on.
        let is_last = told_all || self.body.is_end_stream();
        if is_last {
            self.end(End::Orderly);
        }
        is_last || self.parts <= PROMPT_PARTS || self.held.len() >= FULL
    }

    /// The response is cut, after what is held.
    fn cut(&mut self, trouble: CallTrouble, message: String) {
        self.over = true;
        self.end(End::Broke(trouble, message.clone()));
        self.broken = Some(io::Error::other(message));
    }

    /// Takes everything that is there. True where something goes on now: a part, or the end.
    fn take_parts(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if self.took(frame) {
                        return true;
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.cut(CallTrouble::Cut, format!("the upstream broke off: {}", reason(&error)));
                    return true;
                }
                Poll::Ready(None) => {
                    self.over = true;
                    self.end(End::Orderly);
                    return true;
                }
                Poll::Pending => return false,
            }
        }
    }

    /// True where something goes on now; else the task is woken when it may.
    fn has_news(&mut self, cx: &mut Context<'_>) -> bool {
        if self.over {
            return true;
        }
        if self.is_cut(cx) {
            self.held.clear();
            self.cut(CallTrouble::Abandoned, "the attempt was ended".to_owned());
            return true;
        }
        let was_held = self.hold.is_running;
        // Meanwhile the kernel gathers.
        if was_held && !self.hold.is_over(cx) {
            return false;
        }
        if self.take_parts(cx) {
            return true;
        }
        if !self.held.is_empty() {
            return was_held || self.hold.is_over(cx);
        }
        let is_silent = self.silence.is_over(cx);
        if is_silent {
            let message = format!("the upstream sent nothing for {} s", self.silence.length.as_secs_f64());
            self.cut(CallTrouble::Stalled, message);
        }
        is_silent
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Part> {
        let this = self.get_mut();
        if !this.has_news(cx) {
            return Poll::Pending;
        }
        if !this.held.is_empty() {
            this.hold.stop();
            return Poll::Ready(Some(Ok(Frame::data(this.held.split().freeze()))));
        }
        // The server writes when it has to wait; an error would make it drop what it was given before.
        if this.broken.is_some() && !replace(&mut this.has_paused, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(this.broken.take().map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.broken.is_none() && (self.over || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A time that begins when it is first asked whether it is over.
struct Timer {
    length: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    is_running: bool,
}

impl Timer {
    fn new(length: Duration) -> Self {
        Self { length, sleep: None, is_running: false }
    }

    fn stop(&mut self) {
        self.is_running = false;
    }

    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let length = self.length;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(length)));
        if !self.is_running {
            self.is_running = true;
            if let Some(until) = Instant::now().checked_add(length) {
                sleep.as_mut().reset(until);
            }
        }
        sleep.as_mut().poll(cx).is_ready()
    }
}

fn bytes_of(data: &Bytes) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}

/// A short answer of our own, JSON or nothing.
pub(super) fn short(status: u16, body: Vec<u8>) -> Reply {
    let json = !body.is_empty();
    let mut reply = Response::new(full(body));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if json {
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    reply
}

fn full(bytes: Vec<u8>) -> UnsyncBoxBody<Bytes, io::Error> {
    Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync()
}
