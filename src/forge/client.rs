//! One forge's API: requests go in, JSON or a [`Failure`] comes out. octocrab without retries of its own carries them;
//! when to try again is `retry`'s to say, and a POST is never repeated here where the first one may have arrived.
//!
//! The token is added here and nowhere else, to addresses of the forge's own origin (`connect`). Writes keep a second's
//! distance, as GitHub asks for. Everything has a deadline.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderName, HeaderValue, LINK, USER_AGENT};
use hyper::http::request::Builder;
use hyper::{HeaderMap, Method, Uri};
use octocrab::{AuthState, Octocrab, OctocrabBuilder};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::connect::{Connector, Elsewhere, Unsent, proxies};
use super::retry::{self, Failure, Limits, Next};
use crate::text;

/// The longest that one request may take.
const REQUEST_PATIENCE: Duration = Duration::from_secs(8);
/// Between two writes (GitHub's best practices for its API).
pub(super) const BETWEEN_WRITES: Duration = Duration::from_secs(1);
/// The most of a response that is read: a page of 100 of the longest comments is 26 MB at worst, 6.5 MB of ASCII.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;
/// The most of a forge's words that a message repeats, characters.
const MAX_WORDS: usize = 300;
/// How many causes of an error are told.
const CAUSES: usize = 6;

/// A token. It shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A token without the spaces around it.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// What it is.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// How a forge wants its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenStyle {
    /// `Authorization: Bearer`.
    Bearer,
    /// `PRIVATE-TOKEN`, GitLab's.
    Private,
}

/// The environment, looked up by name.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// One forge's API.
pub struct Api {
    crab: Octocrab,
    base: String,
    auth: (HeaderName, HeaderValue),
    wrote: Mutex<Option<Instant>>,
}

/// What a request does, whatever its method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing.
    Reads,
    /// Two do no more than one.
    Sets,
    /// Two do more than one.
    Adds,
}

/// What a forge answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its JSON; null where there is none.
    pub body: Value,
    /// True where it names a next page.
    pub has_next: Option<bool>,
}

impl Api {
    /// The API at `base` (`https://api.github.com`, `https://HOST/api/v3`, `https://HOST/api/v4`). Has to be called
    /// within a runtime. The proxies are those of `var`.
    ///
    /// # Errors
    /// A message: the address is none, the token cannot stand in a header.
    pub fn new(base: &str, style: TokenStyle, token: &Secret, var: Lookup<'_>) -> Result<Self, String> {
        let base = base.trim_end_matches('/').to_owned();
        let uri: Uri = base.parse().map_err(|_| format!("`{base}` is not an address of an API"))?;
        let connector = Connector::new(&uri, &proxies(var))?;
        let (name, value) = match style {
            TokenStyle::Bearer => (AUTHORIZATION, format!("Bearer {}", token.expose())),
            TokenStyle::Private => (HeaderName::from_static("private-token"), token.expose().to_owned()),
        };
        let mut value =
            HeaderValue::from_str(&value).map_err(|_| "the token has characters that no header can hold".to_owned())?;
        value.set_sensitive(true);
        let crab = OctocrabBuilder::new_empty().with_service(connector).with_auth(AuthState::None).build();
        let Ok(crab) = crab;
        Ok(Self { crab, base, auth: (name, value), wrote: Mutex::new(None) })
    }

    /// Reads; again after accidents.
    ///
    /// # Errors
    /// The last failure.
    pub async fn get(&self, path: &str, until: Instant) -> Result<Answer, Failure> {
        self.repeated(Method::GET, &self.at(path), None, Kind::Reads, until).await
    }

    /// Changes what is there to `body`; again after accidents, for that changes nothing more.
    ///
    /// # Errors
    /// The last failure.
    pub async fn patch(&self, path: &str, body: &Value, until: Instant) -> Result<Answer, Failure> {
        self.repeated(Method::PATCH, &self.at(path), Some(body), Kind::Sets, until).await
    }

    /// A PATCH of which two do more than one: one that adds.
    ///
    /// # Errors
    /// The last failure.
    pub async fn patch_once(&self, path: &str, body: &Value, until: Instant) -> Result<Answer, Failure> {
        self.repeated(Method::PATCH, &self.at(path), Some(body), Kind::Adds, until).await
    }

    /// `patch`, as GitLab calls it.
    ///
    /// # Errors
    /// The last failure.
    pub async fn put(&self, path: &str, body: &Value, until: Instant) -> Result<Answer, Failure> {
        self.repeated(Method::PUT, &self.at(path), Some(body), Kind::Sets, until).await
    }

    /// Makes something. It is sent again only where it cannot have arrived; after any other accident the caller looks
    /// whether it is there.
    ///
    /// # Errors
    /// The last failure.
    pub async fn post(&self, path: &str, body: &Value, until: Instant) -> Result<Answer, Failure> {
        self.repeated(Method::POST, &self.at(path), Some(body), Kind::Adds, until).await
    }

    /// A POST of which two do no more than one: an App's token.
    ///
    /// # Errors
    /// The last failure.
    pub async fn post_again(&self, path: &str, body: &Value, until: Instant) -> Result<Answer, Failure> {
        self.repeated(Method::POST, &self.at(path), Some(body), Kind::Sets, until).await
    }

    /// Asks GitHub's GraphQL API, which only reads here. It lies beside the REST API: `/graphql`, `/api/graphql`.
    ///
    /// # Errors
    /// The last failure.
    pub async fn graphql(&self, query: &str, until: Instant) -> Result<Answer, Failure> {
        let beside = self.base.strip_suffix("/v3").unwrap_or(&self.base);
        let body = serde_json::json!({ "query": query });
        self.repeated(Method::POST, &format!("{beside}/graphql"), Some(&body), Kind::Reads, until).await
    }

    /// Waits after a failure as `retry` says. False where there is nothing to wait for.
    pub(super) async fn pause(failure: &Failure, tries: u32, until: Instant) -> bool {
        match retry::next(failure, tries, until.saturating_duration_since(Instant::now())) {
            Next::GiveUp => false,
            Next::Wait(wait) => {
                tracing::debug!("the forge: {failure}; again in {} s", wait.as_secs());
                tokio::time::sleep(wait).await;
                true
            }
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn repeated(
        &self,
        method: Method,
        address: &str,
        body: Option<&Value>,
        kind: Kind,
        until: Instant,
    ) -> Result<Answer, Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            let failure = match self.once(&method, address, body, kind, until).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let may_repeat = kind != Kind::Adds || !failure.may_have_happened();
            if !(may_repeat && Self::pause(&failure, tries, until).await) {
                return Err(failure);
            }
        }
    }

    async fn once(
        &self,
        method: &Method,
        address: &str,
        body: Option<&Value>,
        kind: Kind,
        until: Instant,
    ) -> Result<Answer, Failure> {
        let is_write = kind != Kind::Reads;
        let mut wrote = self.wrote.lock().await;
        if let Some(before) = wrote.filter(|_| is_write) {
            sleep_until(before + BETWEEN_WRITES).await;
        }
        let until = until.min(Instant::now() + REQUEST_PATIENCE);
        if until <= Instant::now() {
            return Err(Failure::Unsent("no time is left".to_owned()));
        }
        let answer = timeout_at(until, self.exchange(method, address, body)).await;
        if is_write {
            *wrote = Some(Instant::now());
        }
        answer.unwrap_or_else(|_| Err(Failure::Lost("no answer came in time".to_owned())))
    }

    async fn exchange(&self, method: &Method, address: &str, body: Option<&Value>) -> Result<Answer, Failure> {
        let request = Builder::new()
            .method(method)
            .uri(address)
            .header(USER_AGENT, concat!("maestro-ci/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json")
            .header(&self.auth.0, &self.auth.1);
        let request = self.crab.build_request(request, body).map_err(|e| Failure::Unsent(reason(&e)))?;
        let response = self.crab.execute(request).await.map_err(|e| failure_of(&e))?;
        let (head, body) = response.into_parts();
        let bytes = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        let bytes = bytes.map(http_body_util::Collected::to_bytes).map_err(|e| Failure::Lost(reason(&*e)));
        if !head.status.is_success() {
            let now = jiff::Timestamp::now().as_second();
            let words = message(&bytes.unwrap_or_default());
            return Err(Failure::status(head.status.as_u16(), words, limits(&head.headers), now));
        }
        let bytes = bytes?;
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).map_err(|e| Failure::Lost(format!("its answer is no JSON: {e}")))?
        };
        Ok(Answer { body, has_next: has_next(&head.headers) })
    }
}

/// Whether the `Link` header names a next page, where there is such a header.
fn has_next(headers: &HeaderMap) -> Option<bool> {
    let links = headers.get(LINK)?.to_str().ok()?;
    Some(links.split(',').any(|link| link.contains("rel=\"next\"") || link.contains("rel=next")))
}

fn limits(headers: &HeaderMap) -> Limits<'_> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Limits {
        retry_after: text("retry-after"),
        remaining: text("x-ratelimit-remaining").or_else(|| text("ratelimit-remaining")),
        reset: text("x-ratelimit-reset").or_else(|| text("ratelimit-reset")),
    }
}

/// A forge's own words about a refusal: GitHub's `message` with its `errors`, GitLab's `message` or `error`.
fn message(body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return String::new() };
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let main = value.get("message").or_else(|| value.get("error")).map(shown).unwrap_or_default();
    let errors = value.get("errors").and_then(Value::as_array).into_iter().flatten();
    let errors = errors.filter_map(|e| e.get("message").or(Some(e))?.as_str());
    let words: Vec<&str> = std::iter::once(main.as_str()).chain(errors).filter(|w| !w.is_empty()).collect();
    text::one_line(&words.join("; "), MAX_WORDS)
}

/// What octocrab says about a request that brought no response.
fn failure_of(error: &octocrab::Error) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<Unsent>().is_some() {
            return Failure::Unsent(reason(error));
        }
        if let Some(elsewhere) = error.downcast_ref::<Elsewhere>() {
            return Failure::Elsewhere(elsewhere.to_string());
        }
        cause = error.source();
    }
    Failure::Lost(reason(error.source().unwrap_or(error)))
}

/// An error with its causes; hyper's own words alone say little.
fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let mut words: Vec<String> = causes.take(CAUSES).map(ToString::to_string).collect();
    words.dedup_by(|next, before| before.contains(next.as_str()));
    text::one_line(&words.join(": "), MAX_WORDS)
}
