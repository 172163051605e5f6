//! One request of an agent, from its body to the first bytes of the response: read it, ask the core, cap it, send it.
//! In: a request with a known bearer. Out: the upstream's response, or a short answer in the API's own shape. It
//! never tries twice.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Response};
use tokio::time::{sleep, timeout};

use super::Upstream;
use super::call::{Attempt, Call, Held};
use super::dialect::{self, Dialect, Request};
use super::meter::Meter;
use super::price::{price_of, with_long_cache};
use super::refusal::{refusal, trouble};
use super::relay::{Relay, Reply, short};
use super::script;
use super::server::{Shared, error};
use super::settle::{End, Seen};
use super::upstream::{Outgoing, passed, reason};
use crate::core::{CallAsk, CallTrouble};

/// How long a refused agent waits for its answer.
const REFUSAL_PAUSE: Duration = Duration::from_millis(50);
/// Output tokens of a request that names no cap.
const DEFAULT_OUTPUT: u64 = 32_000;
/// Fewer output tokens than this are of no use to an agent, unless it asks for fewer itself.
const USEFUL_OUTPUT: u64 = 256;
/// Most that the response to a request may hold that spends nothing, bytes.
const MAX_FREE_BYTES: u64 = 16 << 20;

/// Status and body of a short answer.
type Short = (u16, Vec<u8>);

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
    pub(super) async fn call(&self, dialect: Dialect, body: Incoming) -> Reply {
        self.try_call(dialect, body).await.unwrap_or_else(|(status, body)| short(status, body))
    }

    /// A request that spends none. It is forwarded and not counted.
    pub(super) async fn free(&self, body: Incoming) -> Reply {
        self.try_free(body).await.unwrap_or_else(|(status, message)| short(status, error(&message)))
    }

    async fn try_call(&self, dialect: Dialect, body: Incoming) -> Result<Reply, Short> {
        let refuse = |message: String| refusal(dialect, &message);
        let body = self.body(body).await.map_err(refuse)?;
        let request = dialect::read(dialect, &self.path, &body).map_err(refuse)?;
        let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let ask = self.ask(&request, bytes);
        let call = Call::ask(&self.shared, &self.attempt, ask, bytes).ok_or_else(over)?;
        let cap = match call.answered().await.ok_or_else(over)? {
            Ok(cap) => cap,
            Err(message) => {
                // An agent that tries again at once gets no further by it.
                sleep(REFUSAL_PAUSE).await;
                return Err(refuse(message));
            }
        };
        let capped = dialect::set_cap(dialect, &body, cap).map_err(|message| {
            call.end(End::Broke(CallTrouble::Request, message.clone()));
            refuse(message)
        })?;
        drop(body);
        match &self.upstream {
            Upstream::Api { base_url, key } => self.forward(dialect, call, base_url, key.as_deref(), capped).await,
            Upstream::Scripted { dir } => {
                let (content_type, bytes) = script::scripted(dialect, &request, &capped, dir);
                call.sent();
                call.begun(|cap| Seen::new(cap, 200, HeaderMap::new(), Meter::new(dialect, content_type)));
                Ok(whole(content_type, Relay::whole(bytes, Some(call))))
            }
        }
    }

    fn ask(&self, request: &Request, bytes: u64) -> CallAsk {
        let line = &self.attempt.line;
        let named = Some(request.model.as_str()).filter(|model| !model.is_empty());
        let model = named.or(line.model.as_deref()).unwrap_or("").to_owned();
        let price = line.price.or_else(|| price_of(&model));
        let cap = request.max_output.unwrap_or(DEFAULT_OUTPUT);
        let min_output_tokens = request.min_output.max(cap.min(USEFUL_OUTPUT)).max(1);
        CallAsk {
            input_tokens: self.shared.input_bound(bytes),
            output_tokens: cap.max(min_output_tokens),
            min_output_tokens,
            price: if request.long_cache { price.map(with_long_cache) } else { price },
            model,
        }
    }

    async fn forward(
        &self,
        dialect: Dialect,
        call: Held,
        base_url: &str,
        key: Option<&str>,
        body: Vec<u8>,
    ) -> Result<Reply, Short> {
        let outgoing = self.outgoing(base_url, key).request(&self.method, &self.headers, body.into());
        let outgoing = outgoing.map_err(|message| {
            call.end(End::Broke(CallTrouble::Network, message.clone()));
            trouble(dialect, CallTrouble::Network, &message)
        })?;
        call.sent();
        let stall = self.shared.options.stall;
        let head = tokio::select! {
            biased;
            () = call.cut_off() => return Err(over()),
            head = timeout(stall, self.shared.client.request(outgoing)) => head,
        };
        let (end, kind, message) = match head {
            Ok(Ok(response)) if !response.status().is_redirection() => {
                return Ok(self.relay(Some((dialect, call)), response));
            }
            Ok(Ok(_)) => {
                let message = "the upstream sends to another address; configure that one".to_owned();
                (End::Unreached(message.clone()), CallTrouble::Network, message)
            }
            Ok(Err(error)) => {
                let message = format!("the upstream cannot be reached: {}", reason(&error));
                let end = if error.is_connect() {
                    End::Unreached(message.clone())
                } else {
                    End::Broke(CallTrouble::Network, message.clone())
                };
                (end, CallTrouble::Network, message)
            }
            Err(_) => {
                let message = format!("the upstream sent nothing for {} s", stall.as_secs_f64());
                (End::Broke(CallTrouble::Stalled, message.clone()), CallTrouble::Stalled, message)
            }
        };
        call.end(end);
        Err(trouble(dialect, kind, &message))
    }

    async fn try_free(&self, body: Incoming) -> Result<Reply, (u16, String)> {
        let body = self.body(body).await.map_err(|message| (400, message))?;
        let (base_url, key) = match &self.upstream {
            Upstream::Api { base_url, key } => (base_url, key.as_deref()),
            Upstream::Scripted { .. } => {
                return Ok(whole("application/json", Relay::whole(script::free().into_bytes(), None)));
            }
        };
        let outgoing = self.outgoing(base_url, key).request(&self.method, &self.headers, body);
        let outgoing = outgoing.map_err(|message| (502, message))?;
        match timeout(self.shared.options.stall, self.shared.client.request(outgoing)).await {
            Ok(Ok(response)) => Ok(self.relay(None, response)),
            Ok(Err(error)) => Err((502, format!("the upstream cannot be reached: {}", reason(&error)))),
            Err(_) => Err((504, "the upstream does not answer".to_owned())),
        }
    }

    fn outgoing<'a>(&'a self, base_url: &'a str, key: Option<&'a str>) -> Outgoing<'a> {
        Outgoing { provider: &self.provider, base_url, key, path: &self.path }
    }

    /// The response as it comes; a call is counted on the way.
    fn relay(&self, call: Option<(Dialect, Held)>, response: Response<Incoming>) -> Reply {
        let (parts, body) = response.into_parts();
        let options = &self.shared.options;
        let max_bytes = if call.is_some() { options.max_response_bytes } else { MAX_FREE_BYTES };
        let call = call.map(|(dialect, call)| {
            let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
            let meter = Meter::new(dialect, content_type);
            call.begun(|cap| Seen::new(cap, parts.status.as_u16(), parts.headers.clone(), meter));
            call
        });
        let mut reply = Response::new(Relay::new(body, call, options.stall, max_bytes).boxed());
        *reply.status_mut() = parts.status;
        *reply.headers_mut() = passed(&parts.headers);
        reply
    }

    /// The whole body. The error is a message.
    async fn body(&self, body: Incoming) -> Result<Bytes, String> {
        let encoded = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
        if self.headers.get_all(CONTENT_ENCODING).iter().any(encoded) {
            return Err("the gateway reads only requests that are not compressed".to_owned());
        }
        let max = self.shared.options.max_request_bytes;
        let limit = usize::try_from(max).unwrap_or(usize::MAX);
        match timeout(self.shared.options.stall, Limited::new(body, limit).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(format!("a request may hold {max} bytes")),
            Ok(Err(error)) => Err(format!("the request cannot be read: {error}")),
            Err(_) => Err("the request does not end".to_owned()),
        }
    }
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
