//! The four shapes in which agents speak to model APIs: which paths are calls, what a request asks for, and the body
//! that goes out with its output capped. In: an agent's request, which is untrusted. Out: what the budget has to know
//! of it, or why it cannot be let out.
//!
//! Before a call its input is bounded by what its body carries (`bound`). So a body that points at input elsewhere (a
//! file id, a URL, an earlier response) is refused; a URL would also have the API fetch what the sandbox keeps an agent
//! from.
//! So is a tier of service that costs more than the listed price. Tools that the API runs itself (web search and the
//! like) are let through: what they add to the input is counted after the call and bounded by nothing before it, and
//! what they cost besides tokens is not counted at all.

use super::body::Body;
use super::input::Media;
use super::{anthropic, chat, gemini, responses};

/// The shape of requests and responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Anthropic Messages.
    Anthropic,
    /// `OpenAI` Responses.
    Responses,
    /// `OpenAI` Chat Completions, which others speak too.
    Chat,
    /// Gemini `generateContent`.
    Gemini,
}

/// What a method and a path mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// A call that spends tokens.
    Call(Dialect),
    /// Spends none: a list of models, a count of tokens, a sign of life.
    Free,
    /// Everything else: it could spend or leak, and is refused.
    Unknown,
}

/// What the budget has to know of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The model; untrusted text.
    pub model: String,
    /// True where the response is to come in parts.
    pub streams: bool,
    /// Its own cap of the output tokens of all choices together.
    pub max_output: Option<u64>,
    /// Fewest output tokens of all choices together that it allows; at least 1.
    pub min_output: u64,
    /// Images, sounds and files that it carries.
    pub media: Media,
    /// It asks for a cache that lives for hours, which costs more to write than the listed price.
    pub long_cache: bool,
}

/// What `path`, which follows the provider in the URL and may have a query, means. `provider` is `anthropic`, `openai`
/// or `gemini`; for `openai` the version in the path may be missing.
pub(super) fn route(provider: &str, method: &str, path: &str) -> Route {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    match provider {
        "anthropic" => of_anthropic(method, path),
        "openai" => of_openai(method, path.strip_prefix("/v1").unwrap_or(path)),
        "gemini" => of_gemini(method, path),
        _ => Route::Unknown,
    }
}

fn of_anthropic(method: &str, path: &str) -> Route {
    match (method, path) {
        ("POST", "/v1/messages") => Route::Call(Dialect::Anthropic),
        ("POST", "/v1/messages/count_tokens") | ("HEAD", "/" | "") => Route::Free,
        ("GET", _) => models(path.strip_prefix("/v1")),
        _ => Route::Unknown,
    }
}

fn of_openai(method: &str, path: &str) -> Route {
    match (method, path) {
        ("POST", "/responses") => Route::Call(Dialect::Responses),
        ("POST", "/chat/completions") => Route::Call(Dialect::Chat),
        ("HEAD", "/" | "") => Route::Free,
        ("GET", _) => models(Some(path)),
        _ => Route::Unknown,
    }
}

fn of_gemini(method: &str, path: &str) -> Route {
    let rest = path.strip_prefix("/v1beta").or_else(|| path.strip_prefix("/v1"));
    match method {
        "HEAD" if matches!(path, "/" | "") => Route::Free,
        // A name with a colon is an action, and who knows what makes a POST of a GET.
        "GET" if !path.contains(':') => models(rest),
        "POST" => match rest.and_then(gemini::action) {
            Some((_, "generateContent" | "streamGenerateContent")) => Route::Call(Dialect::Gemini),
            Some((_, "countTokens")) => Route::Free,
            _ => Route::Unknown,
        },
        _ => Route::Unknown,
    }
}

/// The list of models, or one of them.
fn models(path: Option<&str>) -> Route {
    match path.and_then(|p| p.strip_prefix("/models")) {
        Some("") => Route::Free,
        Some(rest) if rest.strip_prefix('/').is_some_and(is_model_name) => Route::Free,
        _ => Route::Unknown,
    }
}

/// True for one segment of a path that no server can read as another path.
pub(super) fn is_model_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_plain)
}

/// Reads what a request asks for. `path` as for `route`.
///
/// # Errors
/// Why it cannot be let out, in words for the agent.
pub(super) fn read(dialect: Dialect, path: &str, body: &[u8]) -> Result<Request, String> {
    let body = Body::parse(body)?;
    match dialect {
        Dialect::Anthropic => anthropic::read(&body),
        Dialect::Responses => responses::read(&body),
        Dialect::Chat => chat::read(&body),
        Dialect::Gemini => gemini::read(path, &body),
    }
}

/// The body with its output capped at `max_output` tokens over all choices, also where it had no cap; a lower cap of
/// its own stays. A stream of Chat Completions is also made to report its usage. Nothing else changes, and no key is
/// left in it twice: the API reads what we read. Without a cap to set, only the latter is done.
///
/// # Errors
/// The body is not what `read` takes, or the cap is less than a token for each choice.
pub(super) fn set_cap(dialect: Dialect, body: &[u8], max_output: Option<u64>) -> Result<Vec<u8>, String> {
    let mut body = Body::parse(body)?;
    if let Some(max_output) = max_output {
        match dialect {
            Dialect::Anthropic => anthropic::cap(&mut body, max_output)?,
            Dialect::Responses => responses::cap(&mut body, max_output)?,
            Dialect::Chat => chat::cap(&mut body, max_output)?,
            Dialect::Gemini => gemini::cap(&mut body, max_output)?,
        }
    }
    if dialect == Dialect::Chat {
        chat::report_usage(&mut body)?;
    }
    Ok(body.to_json().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(provider: &str, request: &str, expected: Route) {
        let (method, path) = request.split_once(' ').unwrap();
        assert_eq!(route(provider, method, path), expected, "{provider} {request}");
    }

    #[test]
    fn calls_are_known_by_their_path() {
        check("anthropic", "POST /v1/messages?beta=true", Route::Call(Dialect::Anthropic));
        check("openai", "POST /v1/responses", Route::Call(Dialect::Responses));
        check("openai", "POST /responses", Route::Call(Dialect::Responses));
        check("openai", "POST /v1/chat/completions", Route::Call(Dialect::Chat));
        check("gemini", "POST /v1beta/models/gemini-2.5-pro:generateContent", Route::Call(Dialect::Gemini));
        check("gemini", "POST /v1/models/m:streamGenerateContent?alt=sse", Route::Call(Dialect::Gemini));
    }

    #[test]
    fn what_spends_nothing_is_free() {
        check("anthropic", "POST /v1/messages/count_tokens?beta=true", Route::Free);
        check("anthropic", "HEAD /", Route::Free);
        check("anthropic", "GET /v1/models?limit=1000", Route::Free);
        check("openai", "GET /v1/models/ft:gpt-4o:org::id", Route::Free);
        check("gemini", "GET /v1beta/models/gemini-2.5-pro", Route::Free);
        check("gemini", "POST /v1beta/models/gemini-2.5-pro:countTokens", Route::Free);
    }

    #[test]
    fn everything_else_is_unknown() {
        check("anthropic", "POST /v1/messages/batches", Route::Unknown);
        check("anthropic", "POST /v1/files", Route::Unknown);
        check("anthropic", "GET /v1/messages", Route::Unknown);
        check("anthropic", "POST /v1/messages/", Route::Unknown);
        check("openai", "POST /v1/embeddings", Route::Unknown);
        check("openai", "GET /v1/responses/resp_1", Route::Unknown);
        check("openai", "POST /v1/responses/compact", Route::Unknown);
        check("gemini", "POST /v1beta/models/m:embedContent", Route::Unknown);
        check("gemini", "GET /v1beta/models/gemini-2.5-pro:generateContent", Route::Unknown);
        check("gemini", "POST /v1beta/files:generateContent", Route::Unknown);
        check("mistral", "POST /v1/chat/completions", Route::Unknown);
    }

    #[test]
    fn a_path_cannot_pose_as_another() {
        check("openai", "GET /v1/models/..", Route::Unknown);
        check("openai", "GET /v1/models/../files", Route::Unknown);
        check("openai", "GET /v1/models/%2e%2e", Route::Unknown);
        check("openai", "POST /v1//responses", Route::Unknown);
        check("gemini", "POST /v1beta/models/../m:generateContent", Route::Unknown);
        check("anthropic", "POST /v1/files/../messages", Route::Unknown);
    }
}
