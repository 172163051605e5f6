//! Who speaks to which forge. The environment and a site flow in; a connection that knows its own name flows out.
//!
//! A comment is ours only where its author is the one that our token writes as, so that name is asked for once:
//! GitHub's `GET /user` for people, its GraphQL `viewer` for the tokens of apps (to which `/user` is closed), and the
//! app's own answer where we are one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::app::App;
use super::ci::ForgeKind;
use super::client::{Api, Lookup, Secret, TokenStyle};
use super::comment::Author;
use super::retry::Failure;

/// Whose comments those of a workflow's own token are.
const ACTIONS: &str = "github-actions[bot]";

/// A repository on a forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Which kind of forge.
    pub kind: ForgeKind,
    /// Base address of its API.
    pub api_url: String,
    /// `owner/name`, or GitLab's number or path of the project.
    pub repository: String,
}

/// A pull or merge request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub site: Site,
    /// Its number.
    pub number: u64,
}

/// What we may speak with.
#[derive(Clone, Debug)]
pub enum Access {
    /// A token.
    Token(Secret),
    /// A GitHub App, which makes its own tokens.
    App(App),
}

impl Access {
    /// What the environment holds for this kind of forge: an App, our own variable, the forge's usual one.
    ///
    /// # Errors
    /// A message: there is an App whose key cannot be used.
    pub fn from_env(kind: ForgeKind, var: Lookup<'_>) -> Result<Option<Self>, String> {
        let token = |names: &[&str]| {
            let found = names.iter().find_map(|name| var(name).filter(|value| !value.trim().is_empty()));
            found.map(|token| Self::Token(Secret::new(&token)))
        };
        Ok(match kind {
            ForgeKind::GitHub => match App::from_env(var)? {
                Some(app) => Some(Self::App(app)),
                None => token(&["MAESTRO_CI_FORGE_TOKEN", "GITHUB_TOKEN"]),
            },
            // The job's own token cannot write notes.
            ForgeKind::GitLab => token(&["MAESTRO_CI_FORGE_TOKEN", "GITLAB_TOKEN"]),
        })
    }

    /// The token itself, where it is one.
    pub fn token(&self) -> Option<&Secret> {
        match self {
            Self::Token(token) => Some(token),
            Self::App(_) => None,
        }
    }
}

/// A forge that we can speak to, for less than an hour: an App's token lives no longer.
pub struct Connection {
    /// Its API.
    pub(super) api: Api,
    /// Where.
    pub site: Site,
    author: OnceCell<Author>,
    token: Secret,
}

impl Connection {
    /// Opens it. Has to be called within a runtime.
    ///
    /// # Errors
    /// The address or the token is none, or the App has no token for this repository.
    pub async fn open(site: &Site, access: &Access, var: Lookup<'_>, until: Instant) -> Result<Self, Failure> {
        let style = match site.kind {
            ForgeKind::GitHub => TokenStyle::Bearer,
            ForgeKind::GitLab => TokenStyle::Private,
        };
        let author = OnceCell::new();
        let token = match access {
            Access::Token(token) => token.clone(),
            Access::App(app) => {
                let (token, name) = app.token(site, var, until).await?;
                // It is empty: nobody has asked yet.
                let _ = author.set(name);
                token
            }
        };
        let api = Api::new(&site.api_url, style, &token, var).map_err(Failure::Unsent)?;
        Ok(Self { api, site: site.clone(), author, token })
    }

    /// What git sends to this forge with a push: the value of an `Authorization` header.
    pub fn credential(&self) -> String {
        let user = match self.site.kind {
            ForgeKind::GitHub => "x-access-token",
            ForgeKind::GitLab => "oauth2",
        };
        format!("Basic {}", BASE64.encode(format!("{user}:{}", self.token.expose())))
    }

    /// Whom the forge knows us as.
    pub(super) async fn author(&self, until: Instant) -> Result<&Author, Failure> {
        self.author.get_or_try_init(|| self.ask_for_author(until)).await
    }

    async fn ask_for_author(&self, until: Instant) -> Result<Author, Failure> {
        let no_user = match self.api.get("/user", until).await {
            Ok(answer) => return author_of(self.site.kind, &answer.body),
            Err(failure) => failure,
        };
        match no_user {
            Failure::Status { code: 403 | 404, limited: false, .. } if self.site.kind == ForgeKind::GitHub => {}
            failure => return Err(failure),
        }
        match self.api.graphql("query { viewer { login } }", until).await {
            Ok(answer) => {
                let login = answer.body.pointer("/data/viewer/login").and_then(Value::as_str);
                Ok(Author::bot(login.unwrap_or(ACTIONS)))
            }
            // A server without it has no other apps than its own actions.
            Err(failure) if failure.may_have_happened() => Err(failure),
            Err(_) => Ok(Author::bot(ACTIONS)),
        }
    }
}

fn author_of(kind: ForgeKind, user: &Value) -> Result<Author, Failure> {
    Author::read(kind, user).ok_or_else(|| Failure::Lost("it does not say whose token this is".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: ForgeKind, set: &[(&str, &str)], expected: Option<&str>) {
        let var = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let access = Access::from_env(kind, &var).unwrap();
        assert_eq!(access.as_ref().and_then(Access::token).map(Secret::expose), expected);
    }

    #[test]
    fn our_own_variable_comes_before_the_forges_and_an_empty_one_is_none() {
        let both = [("GITHUB_TOKEN", "job"), ("MAESTRO_CI_FORGE_TOKEN", " own\n"), ("GITLAB_TOKEN", "lab")];
        check(ForgeKind::GitHub, &both, Some("own"));
        check(ForgeKind::GitLab, &both, Some("own"));
        check(ForgeKind::GitHub, &[("GITHUB_TOKEN", "job"), ("MAESTRO_CI_FORGE_TOKEN", " ")], Some("job"));
        check(ForgeKind::GitLab, &[("GITHUB_TOKEN", "job"), ("CI_JOB_TOKEN", "x")], None);
        check(ForgeKind::GitHub, &[("GITLAB_TOKEN", "lab")], None);
    }

    #[test]
    fn a_token_is_never_shown() {
        let access = Access::Token(Secret::new("ghs_abc"));
        assert_eq!(format!("{access:?}"), "Token((secret))");
    }
}
