//! One request of an agent, from its body to the first bytes of the response: read it, ask the core, cap it, send it.
//! In: a request with a known bearer. Out: the upstream's response, or a short answer in the API's own shape. It
//! never tries twice. A response that is an error is read first and passed on without our key, should it be in it.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Response};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};

use super::Upstream;
use super::bound::Load;
use super::call::{Attempt, Call, Held};
use super::client::{Answer, Failure};
use super::dialect::{self, Dialect, Request};
use super::meter::Meter;
use super::price::{Tariff, max_output_tokens};
use super::refusal::{busy, refusal, trouble};
use super::relay::{Relay, Reply, short};
use super::script;
use super::secret::Secret;
use super::server::{Shared, error};
use super::settle::{End, Seen, Terms};
use super::upstream::{Outgoing, passed, reason};
use crate::core::{CallAsk, CallTrouble, Input};
use crate::text::one_line;

/// How long a refused agent waits for its answer.
const REFUSAL_PAUSE: Duration = Duration::from_millis(50);
/// Output tokens of a request that names no cap, for a model of which nobody knows how much it can say.
const DEFAULT_OUTPUT: u64 = 32_000;
/// Fewer output tokens than this are of no use to an agent, unless it asks for fewer itself.
const USEFUL_OUTPUT: u64 = 256;
/// Most that the response to a request may hold that spends nothing, bytes.
const MAX_FREE_BYTES: u64 = 16 << 20;
/// Most of an error that is passed on, bytes.
const MAX_ERROR_BYTES: u64 = 256 << 10;
/// The least patience with a response that comes as a whole: it is silent until the model has said its last word.
const WHOLE_PATIENCE: Duration = Duration::from_mins(10);
/// Characters of a model's name and of a message that go into records.
const MODEL_CHARS: usize = 200;
const MESSAGE_CHARS: usize = 500;

/// Status and body of a short answer.
type Short = (u16, Vec<u8>);

/// What a body takes of the memory for bodies: of its attempt's, and of everybody's.
type Room = [OwnedSemaphorePermit; 2];

/// Why a request was not read.
enum Unread {
    /// It must not go out: it cannot be bounded before the call.
    Unmeterable(String),
    /// It did not arrive.
    Broken(String),
    /// Too many others are held.
    Busy,
}

/// One request.
pub(super) struct Visit {
    /// What all share.
    pub shared: Arc<Shared>,
    /// Whose it is.
    pub attempt: Arc<Attempt>,
    /// Where it goes.
    pub upstream: Upstream,
    /// `anthropic`, `openai` or `gemini`.
    pub provider: String,
    /// What follows the provider, with its query.
    pub path: String,
    /// Its method.
    pub method: Method,
    /// Its headers.
    pub headers: HeaderMap,
}

impl Visit {
    /// A request that spends tokens.
    pub(super) async fn call(&self, dialect: Dialect, body: Incoming, place: OwnedSemaphorePermit) -> Reply {
        self.try_call(dialect, body, place).await.unwrap_or_else(|(status, body)| short(status, body))
    }

    /// A request that spends none. It is forwarded and not counted.
    pub(super) async fn free(&self, body: Incoming, place: OwnedSemaphorePermit) -> Reply {
        let reply = self.try_free(body).await.unwrap_or_else(|(status, message)| short(status, error(&message)));
        // The place is taken until the last byte has gone.
        let hold = move |frame| {
            let _: &OwnedSemaphorePermit = &place;
            frame
        };
        reply.map(|body| body.map_frame(hold).boxed_unsync())
    }

    /// A request that is not served at all. Reading something else costs nothing; what could spend is on record.
    pub(super) async fn unserved(&self) -> Reply {
        let (path, _) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let message = format!("the gateway does not serve {} {}{path}", self.method, self.provider);
        if self.method == Method::POST {
            self.refused(&message).await;
        }
        short(404, error(&message))
    }

    /// Has it on record that a request was refused, without a question to the budget.
    async fn refused(&self, message: &str) {
        let Attempt { line, .. } = &*self.attempt;
        let (task, attempt, call) = (line.task.clone(), line.attempt, self.shared.next_call());
        let message = one_line(message, MESSAGE_CHARS);
        (self.shared.tell)(Input::CallUnmeterable { task, attempt, call, message });
        // An agent that tries again at once gets no further by it.
        sleep(REFUSAL_PAUSE).await;
    }

    async fn try_call(&self, dialect: Dialect, body: Incoming, place: OwnedSemaphorePermit) -> Result<Reply, Short> {
        let read = self.body(body).await.and_then(|(body, room)| {
            let request = dialect::read(dialect, &self.path, &body).map_err(Unread::Unmeterable)?;
            Ok((body, room, request))
        });
        let (body, room, request) = match read {
            Ok(read) => read,
            Err(Unread::Busy) => return Err(busy(dialect)),
            Err(Unread::Broken(message)) => return Err(refusal(dialect, &message)),
            Err(Unread::Unmeterable(message)) => {
                self.refused(&message).await;
                return Err(refusal(dialect, &message));
            }
        };
        let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let (ask, terms) = self.ask(&request, bytes);
        let call = Call::ask(&self.shared, &self.attempt, ask, terms, place).ok_or_else(over)?;
        let cap = match call.answered().await.ok_or_else(over)? {
            Ok(cap) => cap,
            Err(message) => {
                sleep(REFUSAL_PAUSE).await;
                return Err(refusal(dialect, &message));
            }
        };
        let capped = dialect::set_cap(dialect, &body, cap).map_err(|message| {
            call.end(End::Broke(CallTrouble::Request, message.clone()));
            refusal(dialect, &message)
        })?;
        drop(body);
        let reply = match &self.upstream {
            Upstream::Api { base_url, key } => {
                let outgoing = self.outgoing(base_url, key.as_deref());
                let outgoing = outgoing.request(&self.method, &self.headers, capped.into());
                let stall = self.shared.options.stall;
                let patience = if request.streams { stall } else { stall.max(WHOLE_PATIENCE) };
                self.forward(dialect, call, outgoing, patience).await
            }
            Upstream::Scripted { dir } => {
                let (content_type, bytes) = script::scripted(dialect, &request, &capped, dir);
                call.sent();
                call.begun(|cap| Seen::new(cap, 200, HeaderMap::new(), Meter::new(dialect, content_type)));
                Ok(whole(content_type, Relay::whole(bytes, Some(call))))
            }
        };
        drop(room);
        reply
    }

    fn ask(&self, request: &Request, bytes: u64) -> (CallAsk, Terms) {
        let line = &self.attempt.line;
        let named = Some(request.model.as_str()).filter(|model| !model.is_empty());
        let model = one_line(named.or(line.model.as_deref()).unwrap_or(""), MODEL_CHARS);
        let tariff = line.price.map(Tariff::flat).or_else(|| Tariff::listed(&model));
        let tariff = tariff.map(|all| if request.long_cache { all } else { all.without_long_cache() });
        let cap = request.max_output.or_else(|| max_output_tokens(&model)).unwrap_or(DEFAULT_OUTPUT);
        let min_output_tokens = request.min_output.max(cap.min(USEFUL_OUTPUT)).max(1);
        let load = Load::new(bytes, request.media);
        let input_bound = self.shared.bound.of(load);
        let output = cap.max(min_output_tokens);
        let ask = CallAsk {
            input_tokens: input_bound,
            output_tokens: output,
            min_output_tokens,
            price: tariff.map(|tariff| tariff.up_to(input_bound)),
            model,
        };
        (ask, Terms { input_bound, output, load, tariff, key: self.key().map(str::to_owned) })
    }

    async fn forward(
        &self,
        dialect: Dialect,
        call: Held,
        outgoing: Result<hyper::Request<Full<Bytes>>, String>,
        patience: Duration,
    ) -> Result<Reply, Short> {
        let outgoing = outgoing.map_err(|message| {
            call.end(End::Broke(CallTrouble::Network, message.clone()));
            trouble(dialect, CallTrouble::Network, &message)
        })?;
        call.sent();
        let head = tokio::select! {
            biased;
            () = call.cut_off() => return Err(over()),
            head = timeout(patience, self.shared.client.request(outgoing)) => head,
        };
        let (end, kind, message) = match head {
            Ok(Ok(response)) if !response.status().is_redirection() => {
                return self.relay(Some((dialect, call)), response, patience).await;
            }
            Ok(Ok(_)) => {
                let message = "the upstream sends to another address; configure that one".to_owned();
                (End::Unreached(message.clone()), CallTrouble::Network, message)
            }
            Ok(Err(error)) => {
                let message = format!("the upstream cannot be reached: {}", reason(&error));
                let end = if matches!(error, Failure::Unsent(_)) {
                    End::Unreached(message.clone())
                } else {
                    End::Broke(CallTrouble::Network, message.clone())
                };
                (end, CallTrouble::Network, message)
            }
            Err(_) => {
                let message = format!("the upstream sent nothing for {} s", patience.as_secs_f64());
                (End::Broke(CallTrouble::Stalled, message.clone()), CallTrouble::Stalled, message)
            }
        };
        call.end(end);
        Err(trouble(dialect, kind, &message))
    }

    async fn try_free(&self, body: Incoming) -> Result<Reply, (u16, String)> {
        let (base_url, key) = match &self.upstream {
            Upstream::Api { base_url, key } => (base_url, key.as_deref()),
            Upstream::Scripted { .. } => {
                return Ok(whole("application/json", Relay::whole(script::free().into_bytes(), None)));
            }
        };
        // What only reads needs no body; with one it could be taken for something else.
        let (body, room) = if self.method == Method::POST {
            let (body, room) = self.body(body).await.map_err(|unread| match unread {
                Unread::Busy => (429, "too many requests are held at once; try again".to_owned()),
                Unread::Broken(message) | Unread::Unmeterable(message) => (400, message),
            })?;
            (body, Some(room))
        } else {
            (Bytes::new(), None)
        };
        let outgoing = self.outgoing(base_url, key).request(&self.method, &self.headers, body);
        let outgoing = outgoing.map_err(|message| (502, message))?;
        let stall = self.shared.options.stall;
        let head = timeout(stall, self.shared.client.request(outgoing)).await;
        drop(room);
        match head {
            Ok(Ok(response)) => self.relay(None, response, stall).await.map_err(|_| (503, String::new())),
            Ok(Err(error)) => Err((502, format!("the upstream cannot be reached: {}", reason(&error)))),
            Err(_) => Err((504, "the upstream does not answer".to_owned())),
        }
    }

    fn outgoing<'a>(&'a self, base_url: &'a str, key: Option<&'a str>) -> Outgoing<'a> {
        Outgoing { provider: &self.provider, base_url, key, path: &self.path }
    }

    fn key(&self) -> Option<&str> {
        match &self.upstream {
            Upstream::Api { key, .. } => key.as_deref(),
            Upstream::Scripted { .. } => None,
        }
    }

    /// The response as it comes; a call is counted on the way. An error is read first: it could name our key.
    async fn relay(
        &self,
        call: Option<(Dialect, Held)>,
        response: Response<Answer>,
        patience: Duration,
    ) -> Result<Reply, Short> {
        let (mut parts, body) = response.into_parts();
        let secret = Secret::new(self.key());
        secret.mask_headers(&mut parts.headers);
        let options = &self.shared.options;
        let max_bytes = if call.is_some() { options.max_response_bytes } else { MAX_FREE_BYTES };
        let call = call.map(|(dialect, call)| {
            let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
            let meter = Meter::new(dialect, content_type);
            call.begun(|cap| Seen::new(cap, parts.status.as_u16(), parts.headers.clone(), meter));
            call
        });
        let relay = if parts.status.is_success() {
            Relay::new(body, call, patience, max_bytes)
        } else {
            parts.headers.remove(CONTENT_LENGTH);
            let error = all_of(Relay::new(body, None, patience, MAX_ERROR_BYTES), patience);
            let error = match &call {
                None => error.await,
                Some(call) => tokio::select! {
                    biased;
                    () = call.cut_off() => return Err(over()),
                    error = error => error,
                },
            };
            Relay::whole(secret.masked(&error).into_owned(), call)
        };
        let mut reply = Response::new(relay.boxed());
        *reply.status_mut() = parts.status;
        *reply.headers_mut() = passed(&parts.headers);
        Ok(reply)
    }

    /// The whole body, and its room.
    async fn body(&self, body: Incoming) -> Result<(Bytes, Room), Unread> {
        let encoded = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
        if self.headers.get_all(CONTENT_ENCODING).iter().any(encoded) {
            let message = "the gateway reads only requests that are not compressed".to_owned();
            return Err(Unread::Unmeterable(message));
        }
        let max = self.shared.options.max_request_bytes;
        let patience = self.shared.options.stall;
        let length = body.size_hint().upper().unwrap_or(max).min(max);
        let room = timeout(patience, self.room(length)).await.ok().flatten().ok_or(Unread::Busy)?;
        let limit = usize::try_from(max).unwrap_or(usize::MAX);
        match timeout(patience, Limited::new(body, limit).collect()).await {
            Ok(Ok(body)) => {
                let body = body.to_bytes();
                // What it could have been is free again.
                Ok((body.clone(), room.map(|mut all| all.split(body.len()).unwrap_or(all))))
            }
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Err(Unread::Unmeterable(format!("a request may hold {max} bytes")))
            }
            Ok(Err(error)) => Err(Unread::Broken(format!("the request cannot be read: {error}"))),
            Err(_) => Err(Unread::Broken("the request does not end".to_owned())),
        }
    }

    /// Waits for room, first among its attempt's own bodies: one agent cannot take everybody's.
    async fn room(&self, bytes: u64) -> Option<Room> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let own = Arc::clone(&self.attempt.room).acquire_many_owned(bytes).await.ok()?;
        let of_all = Arc::clone(&self.shared.room).acquire_many_owned(bytes).await.ok()?;
        Some([own, of_all])
    }
}

/// What comes of a body within its patience.
async fn all_of(relay: Relay, patience: Duration) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut body = relay.boxed();
    let all = async {
        while let Some(Ok(frame)) = body.frame().await {
            bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
    };
    // An error that does not end is passed on as far as it came.
    let _ = timeout(patience, all).await;
    bytes
}

/// The attempt is over; nobody reads this for long.
fn over() -> Short {
    (503, error("this attempt is over"))
}

fn whole(content_type: &'static str, relay: Relay) -> Reply {
    let mut reply = Response::new(relay.boxed());
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}
