//! What crosses the gateway: the upstream's address, and which headers. In: an agent's request. Out: the same request
//! with our key in place of its placeholder, and without what concerns only one connection.

use std::error::Error;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Uri};

/// How many causes of an error are told.
const CAUSES: usize = 6;

/// Headers that belong to one connection (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// What an agent says that no upstream hears: whom it thinks it talks to, every form of key, and every way to have a
/// request taken for one with another method.
const NOT_SENT: [&str; 12] = [
    "accept-encoding",
    "api-key",
    "authorization",
    "content-length",
    "cookie",
    "expect",
    "host",
    "x-api-key",
    "x-goog-api-key",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];
/// What an upstream says that no agent hears.
const NOT_PASSED: [&str; 2] = ["alt-svc", "set-cookie"];
/// Names under which a key can stand in a query.
const QUERY_KEYS: [&str; 4] = ["key", "api_key", "apikey", "access_token"];

/// What is asked of an upstream.
pub(super) struct Outgoing<'a> {
    /// `anthropic`, `openai` or `gemini`.
    pub provider: &'a str,
    /// The upstream's address.
    pub base_url: &'a str,
    /// Our key.
    pub key: Option<&'a str>,
    /// What follows the provider in the agent's request, with its query.
    pub path: &'a str,
}

impl Outgoing<'_> {
    /// The request as the upstream gets it. The error is a message.
    pub(super) fn request(
        &self,
        method: &Method,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method.clone();
        *request.uri_mut() = address(self.base_url, self.path)?;
        *request.headers_mut() = crossing(headers, &NOT_SENT);
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(key) = self.key {
            let (name, value) = credential(self.provider, key.trim());
            let mut value = HeaderValue::from_str(&value)
                .map_err(|_| format!("the key for {} has characters that no header can hold", self.provider))?;
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        Ok(request)
    }
}

/// The headers of a response that the agent gets.
pub(super) fn passed(headers: &HeaderMap) -> HeaderMap {
    crossing(headers, &NOT_PASSED)
}

/// An error with its causes; hyper's own words alone say little.
pub(super) fn reason(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let causes: Vec<String> = causes.take(CAUSES).map(ToString::to_string).collect();
    causes.join(": ")
}

/// How each API takes a key. Anthropic takes tokens, too; they go as authorization.
fn credential(provider: &str, key: &str) -> (HeaderName, String) {
    let bearer = |token: &str| (AUTHORIZATION, format!("Bearer {token}"));
    match provider {
        "gemini" => (HeaderName::from_static("x-goog-api-key"), key.to_owned()),
        "anthropic" => match key.strip_prefix("Bearer ") {
            Some(token) => bearer(token),
            None if key.starts_with("sk-ant-oat") => bearer(key),
            None => (HeaderName::from_static("x-api-key"), key.to_owned()),
        },
        _ => bearer(key.strip_prefix("Bearer ").unwrap_or(key)),
    }
}

fn crossing(headers: &HeaderMap, dropped: &[&str]) -> HeaderMap {
    let listed = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let listed: Vec<&str> = listed.flat_map(|value| value.split(',')).map(str::trim).collect();
    let stays = |name: &str| {
        !HOP_BY_HOP.contains(&name)
            && !dropped.contains(&name)
            && !listed.iter().any(|listed| listed.eq_ignore_ascii_case(name))
    };
    let kept = headers.iter().filter(|(name, _)| stays(name.as_str()));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The upstream's address with the request's path; a version that both name counts once.
fn address(base_url: &str, path: &str) -> Result<Uri, String> {
    let base = base_url.trim_end_matches('/');
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let version = base.rsplit_once('/').map_or("", |(_, last)| last);
    let path = match path.strip_prefix('/').and_then(|p| p.strip_prefix(version)) {
        Some(rest) if is_version(version) && (rest.is_empty() || rest.starts_with('/')) => rest,
        _ => path,
    };
    let query: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !is_key(pair)).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    let address = format!("{base}{path}{mark}{}", query.join("&"));
    let uri: Uri = address.parse().map_err(|_| format!("`{base_url}` is not an address of an API"))?;
    if matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() {
        return Ok(uri);
    }
    Err(format!("`{base_url}` is not an http or https address"))
}

/// `v1`, `v1beta`.
fn is_version(segment: &str) -> bool {
    let mut characters = segment.chars();
    characters.next() == Some('v') && characters.next().is_some_and(|c| c.is_ascii_digit())
}

fn is_key(pair: &str) -> bool {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    QUERY_KEYS.iter().any(|key| name.eq_ignore_ascii_case(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_address(base: &str, path: &str, expected: Option<&str>) {
        assert_eq!(address(base, path).ok().map(|uri| uri.to_string()).as_deref(), expected);
    }

    #[test]
    fn a_version_that_both_sides_name_counts_once() {
        let openai = "https://api.openai.com/v1";
        check_address(openai, "/responses", Some("https://api.openai.com/v1/responses"));
        check_address(openai, "/v1/responses", Some("https://api.openai.com/v1/responses"));
        check_address("http://x:1/", "/v1/messages", Some("http://x:1/v1/messages"));
        check_address("http://x/v1", "/v1beta/models", Some("http://x/v1/v1beta/models"));
        check_address("http://x/api", "/api/y", Some("http://x/api/api/y"));
    }

    #[test]
    fn keys_in_a_query_are_left_out() {
        check_address("http://x", "/m?alt=sse&key=secret", Some("http://x/m?alt=sse"));
        check_address("http://x", "/m?KEY=secret", Some("http://x/m"));
        check_address("http://x", "/m?keys=1", Some("http://x/m?keys=1"));
    }

    #[test]
    fn an_address_names_its_scheme_and_host() {
        check_address("api.openai.com/v1", "/responses", None);
        check_address("ftp://x", "/y", None);
        check_address("", "/y", None);
    }

    #[test]
    fn each_api_gets_its_key_as_it_wants_it() {
        let shown = |provider: &str, key: &str| {
            let (name, value) = credential(provider, key);
            format!("{name}: {value}")
        };
        assert_eq!(shown("anthropic", "sk-1"), "x-api-key: sk-1");
        assert_eq!(shown("anthropic", "sk-ant-oat01-1"), "authorization: Bearer sk-ant-oat01-1");
        assert_eq!(shown("anthropic", "Bearer t"), "authorization: Bearer t");
        assert_eq!(shown("openai", "sk-2"), "authorization: Bearer sk-2");
        assert_eq!(shown("gemini", "AI"), "x-goog-api-key: AI");
    }

    #[test]
    fn only_what_concerns_both_ends_crosses() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("transfer-encoding", "chunked"),
            ("x-api-key", "placeholder"),
            ("authorization", "Bearer placeholder"),
            ("cookie", "a=b"),
            ("anthropic-version", "2023-06-01"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let kept = crossing(&headers, &NOT_SENT);
        let names: Vec<&str> = kept.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["anthropic-version"]);
    }
}
