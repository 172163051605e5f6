//! The server: it accepts connections on loopback, finds the attempt by its bearer and the call by its route. In:
//! requests at `/BEARER/PROVIDER/PATH`. Out: what `forward` makes of them; for a bearer that nobody has, nothing; for
//! an attempt that has too many under way, a 429.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};

use super::bound::Bound;
use super::call::{Attempt, Call, lock};
use super::client::Client;
use super::connections::{Connection, Connections};
use super::dialect::{Route, route};
use super::forward::Visit;
use super::refusal::busy;
use super::relay::{Reply, short};
use super::{Options, Tell};

/// Connections at once; for one more, the one that has been idle longest is closed.
const MAX_CONNECTIONS: usize = 512;
/// A connection without a request is closed after this; agents keep idle ones open between calls.
const IDLE_TIMEOUT: Duration = Duration::from_mins(10);
/// Most that the bodies of all requests hold at once, bytes.
const MAX_HELD_BYTES: usize = 256 << 20;
/// How long to wait where a connection could not be accepted: descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the server, its calls and its owner share.
pub(super) struct Shared {
    /// Limits of every call.
    pub options: Options,
    /// Where asks and ends go.
    pub tell: Tell,
    /// Speaks to upstreams.
    pub client: Client,
    /// Bounds the input of requests.
    pub bound: Bound,
    /// Room for the bodies of requests, bytes.
    pub room: Arc<Semaphore>,
    attempts: Mutex<HashMap<String, Arc<Attempt>>>,
    asked: Mutex<HashMap<u64, Arc<Call>>>,
    last_call: AtomicU64,
}

impl Shared {
    pub(super) fn new(options: Options, tell: Tell, client: Client) -> Self {
        Self {
            options,
            tell,
            client,
            bound: Bound::default(),
            room: Arc::new(Semaphore::new(MAX_HELD_BYTES)),
            attempts: Mutex::default(),
            asked: Mutex::default(),
            last_call: AtomicU64::new(0),
        }
    }

    pub(super) fn add(&self, bearer: String, attempt: Arc<Attempt>) {
        lock(&self.attempts).insert(bearer, attempt);
    }

    pub(super) fn remove(&self, bearer: &str) {
        lock(&self.attempts).remove(bearer);
    }

    /// Found by its hash, so that the time it takes says nothing about other bearers.
    fn attempt(&self, bearer: &str) -> Option<Arc<Attempt>> {
        lock(&self.attempts).get(bearer).cloned()
    }

    /// Ends every attempt; what was asked and not answered is forgotten.
    pub(super) fn close_all(&self) {
        let attempts: Vec<Arc<Attempt>> = lock(&self.attempts).drain().map(|(_, attempt)| attempt).collect();
        for attempt in attempts {
            attempt.close();
        }
        lock(&self.asked).clear();
    }

    /// A number for the next call.
    pub(super) fn next_call(&self) -> u64 {
        self.last_call.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn add_asked(&self, id: u64, call: Arc<Call>) {
        lock(&self.asked).insert(id, call);
    }

    pub(super) fn take_asked(&self, id: u64) -> Option<Arc<Call>> {
        lock(&self.asked).remove(&id)
    }
}

/// Serves until it is stopped.
pub(super) async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("the gateway cannot listen: {error}"),
    };
    let connections = Connections::new(MAX_CONNECTIONS);
    loop {
        let accepted = tokio::select! {
            _ = &mut stopped => return,
            accepted = accept(&listener, &connections) => accepted,
        };
        match accepted {
            Some((stream, place)) => drop(tokio::spawn(serve_one(stream, Arc::clone(&shared), place))),
            None => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn accept(listener: &TcpListener, connections: &Arc<Connections>) -> Option<(TcpStream, Connection)> {
    let (stream, _) = listener.accept().await.ok()?;
    Some((stream, connections.enter().await?))
}

async fn serve_one(stream: TcpStream, shared: Arc<Shared>, place: Connection) {
    // Parts of a stream are small and must not wait for each other.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<Incoming>| async {
        place.works();
        let reply = answer(&shared, request).await;
        place.waits();
        Ok::<Reply, Infallible>(reply)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT);
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = place.has_to_go() => {
            if place.is_unused() {
                return;
            }
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection of an agent ended: {error}");
    }
}

async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Reply {
    let Some((bearer, provider, path)) = target(request.uri()) else { return short(404, Vec::new()) };
    let Some(attempt) = shared.attempt(&bearer) else { return short(404, Vec::new()) };
    let Some(upstream) = attempt.line.upstreams.get(&provider).cloned() else {
        return short(404, error("no such provider in this run"));
    };
    let (parts, body) = request.into_parts();
    let route = route(&provider, parts.method.as_str(), &path);
    let (method, headers) = (parts.method, parts.headers);
    let place = attempt.place();
    let visit = Visit { shared: Arc::clone(shared), attempt, upstream, provider, path, method, headers };
    match (route, place) {
        (Route::Unknown, _) => visit.unserved().await,
        (Route::Call(dialect), Some(place)) => visit.call(dialect, body, place).await,
        (Route::Free, Some(place)) => visit.free(body, place).await,
        (Route::Call(dialect), None) => {
            let (status, body) = busy(dialect);
            short(status, body)
        }
        (Route::Free, None) => short(429, error("too many requests of this agent are under way; try again")),
    }
}

/// Bearer, provider, and the rest with its query, which starts with a slash.
fn target(uri: &Uri) -> Option<(String, String, String)> {
    let whole = uri.path_and_query()?.as_str();
    let (bearer, rest) = whole.strip_prefix('/')?.split_once('/')?;
    let (provider, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let slash = if path.starts_with('/') { "" } else { "/" };
    Some((bearer.to_owned(), provider.to_owned(), format!("{slash}{path}")))
}

/// An error in a shape that every client understands well enough.
pub(super) fn error(message: &str) -> Vec<u8> {
    let body = json!({"type": "error", "error": {"type": "gateway_error", "message": message}});
    body.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uri: &str, expected: Option<(&str, &str, &str)>) {
        let expected = expected.map(|(b, p, r)| (b.to_owned(), p.to_owned(), r.to_owned()));
        assert_eq!(target(&uri.parse().unwrap()), expected);
    }

    #[test]
    fn an_address_is_bearer_provider_and_path() {
        check("/b/openai/v1/responses", Some(("b", "openai", "/v1/responses")));
        check("/b/gemini/v1beta/models/m:go?alt=sse", Some(("b", "gemini", "/v1beta/models/m:go?alt=sse")));
        check("/b/anthropic", Some(("b", "anthropic", "/")));
        check("/b/anthropic?x=1", Some(("b", "anthropic", "/?x=1")));
        check("/b", None);
        check("/", None);
    }
}
