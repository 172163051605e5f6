//! The body of a response on its way to the agent: each part is counted as it comes and ends the call where it is the
//! last. In: the upstream's body. Out: the same bytes, parts that come in quick succession as one; cut where the
//! upstream is silent for too long, sends too much or breaks off, and where the attempt is over.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::time::{Instant, Sleep, sleep};

use super::call::Held;
use super::settle::End;
use super::upstream::reason;
use crate::core::CallTrouble;

/// What the server answers.
pub(super) type Reply = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// Parts at the beginning of a body that go on at once: answers that are small are not held up at all.
const PROMPT_PARTS: u32 = 16;
/// How long later parts are held for others to come along; each on its own costs two calls of the kernel.
const HOLD: Duration = Duration::from_millis(2);
/// What is never held longer, bytes.
const FULL: usize = 64 << 10;

/// A body under way.
pub(super) struct Relay {
    body: UnsyncBoxBody<Bytes, io::Error>,
    /// None where no tokens are spent.
    call: Option<Held>,
    silence: Silence,
    left: u64,
    over: bool,
    /// What came and has not gone on yet.
    held: BytesMut,
    held_until: Option<Pin<Box<Sleep>>>,
    parts: u32,
    /// What goes on after what is held.
    broken: Option<io::Error>,
}

/// What a part means for what is held.
enum Took {
    /// Wait for more.
    Hold,
    /// Let it go on now.
    GoOn,
    /// The response has to be cut.
    Break(CallTrouble, String),
}

type Part = Option<Result<Frame<Bytes>, io::Error>>;

impl Relay {
    /// Passes an upstream's body on. `stall` bounds its silence, `max_bytes` its size.
    pub(super) fn new(body: Incoming, call: Option<Held>, stall: Duration, max_bytes: u64) -> Self {
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
            silence: Silence::new(stall),
            left: max_bytes,
            over: false,
            held: BytesMut::new(),
            held_until: None,
            parts: 0,
            broken: None,
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

    fn took(&mut self, frame: Frame<Bytes>) -> Took {
        self.silence.broken();
        // Trailers say nothing to an agent.
        let Some(data) = frame.into_data().ok().filter(|data| !data.is_empty()) else { return Took::Hold };
        let Some(left) = self.left.checked_sub(bytes_of(&data)) else {
            let message = "the response is larger than a response may be".to_owned();
            return Took::Break(CallTrouble::TooLarge, message);
        };
        self.left = left;
        self.parts = self.parts.saturating_add(1);
        let told_all = self.call.as_ref().is_some_and(|call| call.feed(&data));
        self.held.extend_from_slice(&data);
        // An agent that sees the end in this part may ask again at once, so the end is told before it goes on.
        let is_last = told_all || self.body.is_end_stream();
        if is_last {
            self.end(End::Orderly);
        }
        if is_last || self.parts <= PROMPT_PARTS || self.held.len() >= FULL { Took::GoOn } else { Took::Hold }
    }

    /// What is held goes on.
    fn go_on(&mut self) -> Part {
        self.held_until = None;
        Some(Ok(Frame::data(self.held.split().freeze())))
    }

    /// The response is cut, after what is held.
    fn cut(&mut self, trouble: CallTrouble, message: String) -> Part {
        self.over = true;
        self.end(End::Broke(trouble, message.clone()));
        let error = io::Error::other(message);
        if self.held.is_empty() {
            return Some(Err(error));
        }
        self.broken = Some(error);
        self.go_on()
    }

    /// Takes everything that is there. None where nothing goes on yet.
    fn take_parts(&mut self, cx: &mut Context<'_>) -> Option<Part> {
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match self.took(frame) {
                    Took::Hold => {}
                    Took::GoOn => return Some(self.go_on()),
                    Took::Break(trouble, message) => return Some(self.cut(trouble, message)),
                },
                Poll::Ready(Some(Err(error))) => {
                    let message = format!("the upstream broke off: {}", reason(&error));
                    return Some(self.cut(CallTrouble::Cut, message));
                }
                Poll::Ready(None) => {
                    self.over = true;
                    self.end(End::Orderly);
                    return Some(if self.held.is_empty() { None } else { self.go_on() });
                }
                Poll::Pending => return None,
            }
        }
    }

    fn is_held_long_enough(&mut self, cx: &mut Context<'_>) -> bool {
        let timer = self.held_until.get_or_insert_with(|| Box::pin(sleep(HOLD)));
        timer.as_mut().poll(cx).is_ready()
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Part> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(this.broken.take().map(Err));
        }
        if this.is_cut(cx) {
            this.held.clear();
            return Poll::Ready(this.cut(CallTrouble::Abandoned, "the attempt was ended".to_owned()));
        }
        if let Some(part) = this.take_parts(cx) {
            return Poll::Ready(part);
        }
        if !this.held.is_empty() {
            return if this.is_held_long_enough(cx) { Poll::Ready(this.go_on()) } else { Poll::Pending };
        }
        if this.silence.lasts_too_long(cx) {
            let message = format!("the upstream sent nothing for {} s", this.silence.limit.as_secs_f64());
            return Poll::Ready(this.cut(CallTrouble::Stalled, message));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.broken.is_none() && (self.over || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How long the upstream has been silent. The time in which the agent does not read does not count.
struct Silence {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    counting: bool,
}

impl Silence {
    fn new(limit: Duration) -> Self {
        Self { limit, timer: None, counting: false }
    }

    fn broken(&mut self) {
        self.counting = false;
    }

    fn lasts_too_long(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.counting {
            self.counting = true;
            if let Some(until) = Instant::now().checked_add(limit) {
                timer.as_mut().reset(until);
            }
        }
        timer.as_mut().poll(cx).is_ready()
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
