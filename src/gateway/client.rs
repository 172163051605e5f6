//! Speaks to upstreams over HTTP/1.1. In: a request with its whole address. Out: the response; whoever reads its body
//! moves the connection, too, so that no part of a stream costs a switch between tasks.
//!
//! A connection with TLS that is done with a response is kept for a moment: the next call saves its handshakes. A
//! request of which nothing has left goes out on another connection where that one turns out to be closed; no other is
//! sent twice. Without TLS each request has a connection of its own: that costs little nearby, and small servers hang up
//! after an answer without having said so, maybe just when the next request is on its way.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::mem::take;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper::http::uri::{Authority, Scheme};
use hyper::service::Service;
use hyper::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::crypto::ring;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::call::lock;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept without a request. The hastiest of the usual servers close theirs after two seconds.
const MAX_IDLE: Duration = Duration::from_millis(1500);
/// Connections without a request at most.
const MAX_KEPT: usize = 16;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nothing of the request has left.
    #[error(transparent)]
    Unsent(Box<dyn Error + Send + Sync>),
    /// The upstream may have the request.
    #[error(transparent)]
    Sent(hyper::Error),
}

/// Speaks to upstreams.
pub(super) struct Client {
    connector: TowerToHyperService<HttpsConnector<HttpConnector>>,
    kept: Arc<Kept>,
}

impl Client {
    /// A client with the machine's certificates; Mozilla's, where the machine has none.
    pub(super) fn new() -> io::Result<Self> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let builder = match HttpsConnectorBuilder::new().with_provider_and_native_roots(ring::default_provider()) {
            Ok(builder) => builder,
            Err(error) => {
                tracing::debug!("the machine's certificates cannot be used: {error}");
                let builder = HttpsConnectorBuilder::new();
                builder.with_provider_and_webpki_roots(ring::default_provider()).map_err(io::Error::other)?
            }
        };
        let https = builder.https_or_http().enable_http1().wrap_connector(http);
        Ok(Self { connector: TowerToHyperService::new(https), kept: Arc::new(Kept::of(Scheme::HTTPS)) })
    }

    /// Sends a request and waits until the response begins.
    pub(super) async fn request(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Answer>, Failure> {
        let uri = take(request.uri_mut());
        let host = HeaderValue::from_str(&host(&uri)).map_err(|error| Failure::Unsent(error.into()))?;
        request.headers_mut().insert(HOST, host);
        *request.uri_mut() = uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
        let origin = (uri.scheme().cloned(), uri.authority().cloned());
        while let Some(wire) = self.kept.take(&origin) {
            match self.exchange(wire, request).await {
                Ok(response) => return Ok(response),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Failure::Sent(error.into_error())),
                },
            }
        }
        let wire = self.connect(uri, origin).await.map_err(Failure::Unsent)?;
        self.exchange(wire, request).await.map_err(|error| match error.message() {
            Some(_) => Failure::Unsent(error.into_error().into()),
            None => Failure::Sent(error.into_error()),
        })
    }

    async fn connect(&self, uri: Uri, origin: Origin) -> Result<Wire, Box<dyn Error + Send + Sync>> {
        let stream = self.connector.call(uri).await?;
        let (sender, connection) = handshake(stream).await?;
        Ok(Wire { origin, sender, connection })
    }

    async fn exchange(&self, mut wire: Wire, request: Request<Full<Bytes>>) -> Result<Response<Answer>, Box<NotBegun>> {
        let mut begun = pin!(wire.sender.try_send_request(request));
        let mut wire = Some(wire);
        let response = poll_fn(|cx| {
            advance(&mut wire, cx);
            begun.as_mut().poll(cx)
        });
        let response = response.await.map_err(Box::new)?;
        Ok(response.map(|body| Answer { body, wire, kept: Arc::clone(&self.kept) }))
    }
}

/// Has the request where nothing of it has left.
type NotBegun = TrySendError<Request<Full<Bytes>>>;

/// Where a connection leads.
type Origin = (Option<Scheme>, Option<Authority>);

/// One connection.
struct Wire {
    origin: Origin,
    sender: SendRequest<Full<Bytes>>,
    connection: Connection<MaybeHttpsStream<TokioIo<TcpStream>>, Full<Bytes>>,
}

/// Moves a connection; one that has ended is dropped. What went wrong is told to whoever waits for its response.
fn advance(wire: &mut Option<Wire>, cx: &mut Context<'_>) {
    if wire.as_mut().is_some_and(|wire| Pin::new(&mut wire.connection).poll(cx).is_ready()) {
        *wire = None;
    }
}

/// Connections of one scheme that wait for a request.
struct Kept {
    scheme: Scheme,
    /// The youngest at the end.
    wires: Mutex<Vec<(Instant, Wire)>>,
}

impl Kept {
    fn of(scheme: Scheme) -> Self {
        Self { scheme, wires: Mutex::default() }
    }

    fn put(&self, wire: Wire) {
        if wire.origin.0.as_ref() != Some(&self.scheme) || !wire.sender.is_ready() {
            return;
        }
        let mut kept = lock(&self.wires);
        if kept.len() >= MAX_KEPT {
            kept.remove(0);
        }
        kept.push((Instant::now(), wire));
    }

    fn take(&self, origin: &Origin) -> Option<Wire> {
        let mut kept = lock(&self.wires);
        kept.retain(|(since, _)| since.elapsed() < MAX_IDLE);
        let at = kept.iter().rposition(|(_, wire)| wire.origin == *origin)?;
        Some(kept.remove(at).1)
    }
}

/// The body of a response.
pub(super) struct Answer {
    body: Incoming,
    wire: Option<Wire>,
    kept: Arc<Kept>,
}

impl Answer {
    fn advance(&mut self, waker: &Waker) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        advance(&mut self.wire, &mut Context::from_waker(waker));
        // Only the connection has news for it, and that is moved right here.
        Pin::new(&mut self.body).poll_frame(&mut Context::from_waker(Waker::noop()))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        // A body that takes a part wakes its connection, which would be this task; so only a look that precedes a wait
        // leaves the task's waker.
        let mut frame = this.advance(Waker::noop());
        if frame.is_pending() {
            frame = this.advance(cx.waker());
        }
        let is_done = matches!(frame, Poll::Ready(None)) || this.body.is_end_stream();
        if let Some(wire) = this.wire.take_if(|_| is_done) {
            this.kept.put(wire);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The header that names the host; a port only where it is not the scheme's own.
fn host(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    match (uri.scheme_str(), uri.port_u16()) {
        (_, None) | (Some("http"), Some(80)) | (Some("https"), Some(443)) => host.to_owned(),
        (_, Some(port)) => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use http_body_util::BodyExt;
    use tokio::time::sleep;

    use super::*;

    /// A server that answers so many requests on each connection; it reads one more and hangs up where `hears_more`,
    /// else it hangs up at once, without having said so. Returns its address and counts (connections, requests).
    fn serve(answers: usize, hears_more: bool) -> (String, Arc<(AtomicUsize, AtomicUsize)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let counts = Arc::<(AtomicUsize, AtomicUsize)>::default();
        let counted = Arc::clone(&counts);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                counted.0.fetch_add(1, Ordering::SeqCst);
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                for number in 1..=answers + usize::from(hears_more) {
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
                    if head.is_empty() {
                        break;
                    }
                    counted.1.fetch_add(1, Ordering::SeqCst);
                    if number <= answers {
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
                    }
                }
            }
        });
        (url, counts)
    }

    /// So many requests one after the other, with a pause after each. Returns (connections, requests) as the server
    /// saw them, and how the last request went.
    fn after(scheme: Scheme, server: (usize, bool), requests: usize, pause: Duration) -> (usize, usize, bool) {
        let (url, counts) = serve(server.0, server.1);
        let client = Client { kept: Arc::new(Kept::of(scheme)), ..Client::new().unwrap() };
        let mut result = None;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for _ in 0..requests {
                let mut request = Request::new(Full::default());
                *request.uri_mut() = url.parse().unwrap();
                result = match client.request(request).await {
                    Ok(response) => Some(Ok(response.into_body().collect().await.unwrap().to_bytes())),
                    Err(failure) => Some(Err(failure)),
                };
                sleep(pause).await;
            }
        });
        let is_well = match result.unwrap() {
            Ok(body) => body == "ok",
            Err(failure) => {
                assert!(matches!(failure, Failure::Sent(_)), "the server has heard it: {failure}");
                false
            }
        };
        (counts.0.load(Ordering::SeqCst), counts.1.load(Ordering::SeqCst), is_well)
    }

    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn a_connection_serves_the_next_request_until_it_was_idle_for_too_long() {
        assert_eq!(after(Scheme::HTTP, (9, false), 4, SHORT), (1, 4, true));
        assert_eq!(after(Scheme::HTTP, (9, false), 2, MAX_IDLE + SHORT), (2, 2, true));
    }

    #[test]
    fn a_connection_that_the_server_closed_costs_nothing() {
        assert_eq!(after(Scheme::HTTP, (1, false), 4, SHORT), (4, 4, true));
        assert_eq!(after(Scheme::HTTP, (2, false), 4, SHORT), (2, 4, true));
    }

    #[test]
    fn a_request_that_the_server_may_have_heard_is_not_sent_twice() {
        assert_eq!(after(Scheme::HTTP, (1, true), 2, SHORT), (1, 2, false));
    }

    #[test]
    fn without_tls_each_request_has_a_connection_of_its_own() {
        assert_eq!(after(Scheme::HTTPS, (9, false), 4, SHORT), (4, 4, true));
    }

    #[test]
    fn a_host_is_named_with_its_port_where_that_is_not_the_usual_one() {
        for (uri, expected) in [
            ("https://api.openai.com/v1", "api.openai.com"),
            ("https://x:443/", "x"),
            ("http://x:443/", "x:443"),
            ("http://user@[::1]:80/y", "[::1]"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(host(&uri.parse().unwrap()), expected, "{uri}");
        }
    }
}
