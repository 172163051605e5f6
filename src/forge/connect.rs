//! Connections to one forge: straight, or through the proxy that the environment names. In: a request with its whole
//! address. Out: the response. Every request has a connection of its own: a forge hears of us a few times a minute, and
//! what was never kept open cannot turn out to be closed after a POST has left.
//!
//! It follows redirects within the forge's own origin, which is how renamed repositories answer, and no others: our
//! token is in the request.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue, LOCATION, PROXY_AUTHORIZATION};
use hyper::http::uri::PathAndQuery;
use hyper::rt::{Read, Write};
use hyper::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use octocrab::OctoBody;
use rustls::crypto::ring;
use tower_service::Service;

/// How often a request may be sent on.
const MAX_REDIRECTS: usize = 5;

/// What stands in the way of a response.
pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;

/// Nothing of the request has left.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {host}: {why}")]
pub(super) struct Unsent {
    host: String,
    why: Error,
}

/// The forge sends us to somebody else.
#[derive(Debug, thiserror::Error)]
#[error("it redirects to {to}, which gets no token of ours")]
pub(super) struct Elsewhere {
    /// The other origin.
    pub to: String,
}

/// How a forge is reached.
#[derive(Clone)]
enum Route {
    Straight,
    /// Plain HTTP: the proxy gets the whole address.
    Through(Uri, Option<HeaderValue>),
    /// TLS: the proxy connects us.
    Tunnel(Uri, Option<HeaderValue>),
}

/// Speaks to one origin.
#[derive(Clone)]
pub(super) struct Connector {
    tls: HttpsConnector<HttpConnector>,
    route: Route,
    origin: Arc<Origin>,
}

/// Scheme, host and port.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// Of an address with scheme and host.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let port = uri.port_u16().or(match scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        })?;
        Some(Self { scheme, host: uri.host()?.to_ascii_lowercase(), port })
    }
}

/// The proxies of an environment, which `var` looks up: capitals first.
pub(super) fn proxies(var: &dyn Fn(&str) -> Option<String>) -> Matcher {
    let either = |name: &str| var(name).or_else(|| var(&name.to_ascii_lowercase())).unwrap_or_default();
    let builder = Matcher::builder().all(either("ALL_PROXY")).https(either("HTTPS_PROXY"));
    builder.http(either("HTTP_PROXY")).no(either("NO_PROXY")).build()
}

impl Connector {
    /// To the origin of `base`. The error is a message.
    pub(super) fn new(base: &Uri, proxies: &Matcher) -> Result<Self, String> {
        let origin = Origin::of(base).ok_or_else(|| format!("`{base}` is not an http or https address"))?;
        let is_tls = origin.scheme == "https";
        let route = match proxies.intercept(base) {
            None => Route::Straight,
            Some(proxy) => route(&proxy, is_tls)?,
        };
        Ok(Self { tls: tls()?, route, origin: Arc::new(origin) })
    }

    async fn exchange(self, mut request: Request<OctoBody>) -> Result<Response<Incoming>, Error> {
        for _ in 0..=MAX_REDIRECTS {
            let again = copy(&request);
            let response = self.once(request).await?;
            let Some(to) = redirect(&response) else { return Ok(response) };
            let Some(mut next) = again else { return Ok(response) };
            *next.uri_mut() = resolve(next.uri(), to)?;
            if Origin::of(next.uri()).as_ref() != Some(&*self.origin) {
                let to = next.uri().authority().map_or_else(|| next.uri().to_string(), ToString::to_string);
                return Err(Elsewhere { to }.into());
            }
            request = next;
        }
        Err("it redirects in circles".into())
    }

    async fn once(&self, mut request: Request<OctoBody>) -> Result<Response<Incoming>, Error> {
        let uri = request.uri().clone();
        if Origin::of(&uri).as_ref() != Some(&*self.origin) {
            return Err(Elsewhere { to: uri.to_string() }.into());
        }
        let host = uri.authority().map_or("", |a| a.as_str()).to_owned();
        request.headers_mut().insert(HOST, HeaderValue::from_str(&host)?);
        let opened = match &self.route {
            Route::Through(proxy, auth) => {
                request.headers_mut().extend(auth.clone().map(|auth| (PROXY_AUTHORIZATION, auth)));
                let mut tls = self.tls.clone();
                async { open(tls.call(proxy.clone()).await?).await }.await
            }
            Route::Straight => {
                *request.uri_mut() = origin_form(&uri);
                let mut tls = self.tls.clone();
                async { open(tls.call(uri).await?).await }.await
            }
            Route::Tunnel(proxy, auth) => {
                *request.uri_mut() = origin_form(&uri);
                self.tunnel(proxy, auth.as_ref(), uri).await
            }
        };
        let mut sender = opened.map_err(|why| Unsent { host, why })?;
        Ok(sender.send_request(request).await?)
    }

    async fn tunnel(&self, proxy: &Uri, auth: Option<&HeaderValue>, to: Uri) -> Result<SendRequest<OctoBody>, Error> {
        let tunnel = Tunnel::new(proxy.clone(), self.tls.clone());
        let tunnel = match auth {
            Some(auth) => tunnel.with_auth(auth.clone()),
            None => tunnel,
        };
        let roots = tls_config()?;
        open(
            HttpsConnectorBuilder::new()
                .with_tls_config(roots)
                .https_only()
                .enable_http1()
                .wrap_connector(tunnel)
                .call(to)
                .await?,
        )
        .await
    }
}

impl Service<Request<OctoBody>> for Connector {
    type Response = Response<Incoming>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<OctoBody>) -> Self::Future {
        Box::pin(self.clone().exchange(request))
    }
}

fn route(proxy: &Intercept, is_tls: bool) -> Result<Route, String> {
    let uri = proxy.uri().clone();
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        let scheme = uri.scheme_str().unwrap_or_default();
        return Err(format!("the proxy for it speaks `{scheme}`; only http and https proxies are known"));
    }
    let auth = proxy.basic_auth().cloned();
    Ok(if is_tls { Route::Tunnel(uri, auth) } else { Route::Through(uri, auth) })
}

/// The machine's certificates; Mozilla's, where the machine has none.
fn tls_config() -> Result<rustls::ClientConfig, String> {
    use hyper_rustls::ConfigBuilderExt;
    let builder = || {
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        config.with_safe_default_protocol_versions().map_err(|e| e.to_string())
    };
    match builder()?.with_native_roots() {
        Ok(config) => Ok(config.with_no_client_auth()),
        Err(error) => {
            tracing::debug!("the machine's certificates cannot be used: {error}");
            Ok(builder()?.with_webpki_roots().with_no_client_auth())
        }
    }
}

fn tls() -> Result<HttpsConnector<HttpConnector>, String> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls_config()?);
    Ok(builder.https_or_http().enable_http1().wrap_connector(http))
}

async fn open<S: Read + Write + Unpin + Send + 'static>(stream: S) -> Result<SendRequest<OctoBody>, Error> {
    let (sender, connection) = handshake(stream).await?;
    tokio::spawn(async move {
        // Whoever waits for the response hears of the error, too.
        let _ = connection.await;
    });
    Ok(sender)
}

fn origin_form(uri: &Uri) -> Uri {
    uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from)
}

/// The same request once more, where its body can be sent twice.
fn copy(request: &Request<OctoBody>) -> Option<Request<OctoBody>> {
    let body = request.body().try_clone();
    let has_body = !matches!(*request.method(), hyper::Method::GET | hyper::Method::HEAD);
    let mut copy = Request::new(if has_body { body? } else { OctoBody::empty() });
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}

/// Where a response sends its request. The method stays: that is how forges mean it.
fn redirect(response: &Response<Incoming>) -> Option<&str> {
    let is_one = matches!(response.status().as_u16(), 301 | 302 | 307 | 308);
    response.headers().get(LOCATION).filter(|_| is_one)?.to_str().ok()
}

/// An address as one page names another.
fn resolve(from: &Uri, to: &str) -> Result<Uri, Error> {
    if !to.starts_with('/') {
        return Ok(to.parse()?);
    }
    let mut parts = from.clone().into_parts();
    if to.starts_with("//") {
        return Ok(format!("{}:{to}", from.scheme_str().unwrap_or("https")).parse()?);
    }
    parts.path_and_query = Some(to.parse::<PathAndQuery>()?);
    Ok(Uri::from_parts(parts)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(set: &[(&str, &str)], target: &str, expected: &str) {
        let var = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let connector = Connector::new(&target.parse().unwrap(), &proxies(&var));
        let shown = match connector.map(|c| c.route) {
            Ok(Route::Straight) => "straight".to_owned(),
            Ok(Route::Through(proxy, auth)) => format!("through {proxy} {}", auth.is_some()),
            Ok(Route::Tunnel(proxy, auth)) => format!("tunnel {proxy} {}", auth.is_some()),
            Err(error) => error,
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_environment_says_which_proxy_leads_where() {
        let github = "https://api.github.com/";
        check(&[], github, "straight");
        check(&[("HTTPS_PROXY", "http://p:3128")], github, "tunnel http://p:3128/ false");
        check(&[("https_proxy", "http://u:w@p:3128")], github, "tunnel http://p:3128/ true");
        check(&[("HTTP_PROXY", "http://p:3128")], github, "straight");
        check(&[("HTTP_PROXY", "p:3128")], "http://ghe.local/api/v3", "through http://p:3128/ false");
        check(&[("ALL_PROXY", "http://p:1"), ("NO_PROXY", "x, .github.com")], github, "straight");
        let no_socks = "the proxy for it speaks `socks5`; only http and https proxies are known";
        check(&[("ALL_PROXY", "socks5://p:1")], github, no_socks);
        check(&[], "ftp://x/", "`ftp://x/` is not an http or https address");
    }

    #[test]
    fn a_port_that_goes_without_saying_makes_no_other_origin() {
        let origin = |uri: &str| Origin::of(&uri.parse().unwrap());
        assert_eq!(origin("https://A.example/x"), origin("https://a.example:443"));
        assert_ne!(origin("https://a.example"), origin("http://a.example"));
        assert_ne!(origin("http://a.example:1"), origin("http://a.example:2"));
        assert_eq!(origin("/x"), None);
    }

    #[test]
    fn redirects_are_resolved_as_browsers_do() {
        let resolve = |to: &str| resolve(&"http://a:1/x/y".parse().unwrap(), to).map(|uri| uri.to_string()).ok();
        assert_eq!(resolve("/z?q=1"), Some("http://a:1/z?q=1".to_owned()));
        assert_eq!(resolve("//b/z"), Some("http://b/z".to_owned()));
        assert_eq!(resolve("https://c/z"), Some("https://c/z".to_owned()));
    }
}
