//! The body of a response on its way to the agent: each part goes on as it comes, is counted, and ends the call where
//! it is the last. In: the upstream's body. Out: the same bytes; cut where the upstream is silent for too long, sends
//! too much or breaks off, and where the attempt is over.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

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

/// A body under way.
pub(super) struct Relay {
    body: UnsyncBoxBody<Bytes, io::Error>,
    /// None where no tokens are spent.
    call: Option<Held>,
    silence: Silence,
    left: u64,
    over: bool,
}

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
        let relay = Self { body, call, silence: Silence::new(stall), left: max_bytes, over: false };
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

    fn took(&mut self, frame: Frame<Bytes>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.silence.broken();
        let Some(data) = frame.data_ref() else { return Poll::Ready(Some(Ok(frame))) };
        let Some(left) = self.left.checked_sub(bytes_of(data)) else {
            return self.broke(CallTrouble::TooLarge, "the response is larger than a response may be".to_owned());
        };
        self.left = left;
        let told_all = self.call.as_ref().is_some_and(|call| call.feed(data));
        // An agent that sees the end in this part may ask again at once, so the end is told before it goes on.
        if told_all || self.body.is_end_stream() {
            self.end(End::Orderly);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn broke(&mut self, trouble: CallTrouble, message: String) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.over = true;
        self.end(End::Broke(trouble, message.clone()));
        Poll::Ready(Some(Err(io::Error::other(message))))
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        if this.is_cut(cx) {
            return this.broke(CallTrouble::Abandoned, "the attempt was ended".to_owned());
        }
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => this.took(frame),
            Poll::Ready(Some(Err(error))) => {
                let message = format!("the upstream broke off: {}", reason(&error));
                this.broke(CallTrouble::Cut, message)
            }
            Poll::Ready(None) => {
                this.over = true;
                this.end(End::Orderly);
                Poll::Ready(None)
            }
            Poll::Pending if this.silence.lasts_too_long(cx) => {
                let message = format!("the upstream sent nothing for {} s", this.silence.limit.as_secs_f64());
                this.broke(CallTrouble::Stalled, message)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
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
