//! Tells the forge, request by request: finds the pull request, keeps the comment, opens a pull request, makes a check.
//! In: finished texts and a deadline. Out: what was done, or why not. What a forge refuses for good is not tried again,
//! and what it wants to be left alone with is left alone for as long as it says.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::forge::{Access, CheckRun, Connection, Failure, ForgeKind, Opened, Posted, Pull, Site};

/// A connection is used this long; an App's token holds for an hour.
const RENEW: Duration = Duration::from_mins(45);
/// How long a forge is left alone that names no moment.
const UNNAMED_LIMIT: Duration = Duration::from_mins(1);
/// How long it is not asked again whether there is a pull request, where there was none.
const BETWEEN_SEARCHES: Duration = Duration::from_mins(10);

/// Which pull or merge request is commented on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// This one.
    Number(u64),
    /// The open one of a fork's branch whose head this commit is.
    OfFork {
        /// Owner of the fork and its branch, `owner:branch`.
        head: String,
        /// The commit under review.
        sha: String,
    },
    /// The open one that this commit is part of, else the one whose head this branch is.
    Of {
        /// The commit under review.
        sha: Option<String>,
        /// The result branch.
        branch: Option<String>,
    },
}

/// Where and as whom.
#[derive(Clone, Debug)]
pub struct Address {
    /// The repository.
    pub site: Site,
    /// What we may speak with.
    pub access: Access,
    /// Our environment; it names the proxies.
    pub env: BTreeMap<String, String>,
}

/// Speaks to one forge about one session.
pub struct Teller {
    address: Address,
    connection: Option<(Connection, Instant)>,
    /// The pull request, once it is known.
    number: Option<u64>,
    /// There was none; it is searched for again from this moment on.
    search_after: Option<Instant>,
    /// Our comment, once it is known, and what it says.
    said: Option<(u64, String)>,
    /// The forge said no for good.
    refused: Option<Failure>,
    /// It wants to hear nothing before that moment, and said so with these words.
    limited: Option<(Instant, Failure)>,
}

impl Teller {
    /// Somebody who has said nothing yet.
    pub fn new(address: Address) -> Self {
        let (number, search_after, said) = (None, None, None);
        Self { address, connection: None, number, search_after, said, refused: None, limited: None }
    }

    /// Makes the comment say `text`. None where there is nothing to comment on.
    ///
    /// # Errors
    /// Why it does not say so.
    pub async fn comment(&mut self, request: &Request, text: &str, until: Instant) -> Result<Option<Posted>, Failure> {
        if let Some(refusal) = self.must_be_silent(until) {
            return Err(refusal);
        }
        let told = self.try_comment(request, text, until).await;
        self.remember(told.as_ref().err());
        told
    }

    async fn try_comment(&mut self, request: &Request, text: &str, until: Instant) -> Result<Option<Posted>, Failure> {
        let Some(number) = self.number(request, until).await? else { return Ok(None) };
        let known = self.said.as_ref().map(|(id, _)| *id);
        let posted = self.connect(until).await?.comment(number, text, known, until).await?;
        self.said = Some((posted.id, text.to_owned()));
        Ok(Some(posted))
    }

    /// Opens a pull request, or updates the one that is open.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn open_pull(&mut self, pull: &Pull, until: Instant) -> Result<Opened, Failure> {
        self.connect(until).await?.open_pull(pull, until).await
    }

    /// Makes a check.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn check(&mut self, check: &CheckRun, until: Instant) -> Result<Option<String>, Failure> {
        self.connect(until).await?.check(check, until).await
    }

    /// The repository's default branch.
    ///
    /// # Errors
    /// The forge does not say.
    pub async fn default_branch(&mut self, until: Instant) -> Result<String, Failure> {
        self.connect(until).await?.default_branch(until).await
    }

    /// The end tries once more what was refused or not found while the run went on: a pull request is opened (again), a
    /// token gets its rights, a server comes to know a commit. What is closed to this token, or gone, stays so.
    pub fn forgive(&mut self) {
        self.search_after = None;
        self.refused = self.refused.take().filter(|refusal| match refusal {
            Failure::Status { code: 403, message, .. } => message.contains("not accessible"),
            Failure::Status { code, .. } => *code == 410,
            _ => true,
        });
    }

    /// Another comment may be posted from this moment on.
    pub fn silent_until(&self) -> Option<Instant> {
        self.limited.as_ref().map(|(at, _)| *at)
    }

    /// Why nothing is to be said at all before the deadline.
    fn must_be_silent(&self, until: Instant) -> Option<Failure> {
        let limited = self.limited.as_ref().filter(|(at, _)| *at >= until).map(|(_, failure)| failure);
        self.refused.as_ref().or(limited).cloned()
    }

    fn remember(&mut self, failure: Option<&Failure>) {
        self.limited = None;
        match failure {
            Some(failure @ Failure::Status { limited: true, wait, .. }) => {
                self.limited = Some((Instant::now() + wait.unwrap_or(UNNAMED_LIMIT), failure.clone()));
            }
            Some(failure @ (Failure::Status { .. } | Failure::Elsewhere(_))) if !failure.may_have_happened() => {
                self.refused = Some(failure.clone());
            }
            _ => {}
        }
    }

    async fn number(&mut self, request: &Request, until: Instant) -> Result<Option<u64>, Failure> {
        let is_searched = self.search_after.is_some_and(|at| Instant::now() < at);
        if self.number.is_none() && !is_searched {
            self.number = match request {
                Request::Number(number) => Some(*number),
                _ if self.address.site.kind == ForgeKind::GitLab => None,
                Request::OfFork { head, sha } => self.connect(until).await?.pull_of_fork(head, sha, until).await?,
                Request::Of { sha, branch } => self.search(sha.as_deref(), branch.as_deref(), until).await?,
            };
            self.search_after = self.number.is_none().then(|| Instant::now() + BETWEEN_SEARCHES);
        }
        Ok(self.number)
    }

    async fn search(
        &mut self,
        sha: Option<&str>,
        branch: Option<&str>,
        until: Instant,
    ) -> Result<Option<u64>, Failure> {
        let connection = self.connect(until).await?;
        if let Some(sha) = sha {
            match connection.pull_of_commit(sha, until).await {
                Ok(Some(number)) => return Ok(Some(number)),
                // The forge does not know the commit (yet).
                Ok(None) | Err(Failure::Status { code: 404 | 409 | 422, .. }) => {}
                Err(failure) => return Err(failure),
            }
        }
        match branch {
            Some(branch) => connection.pull_of_branch(branch, until).await,
            None => Ok(None),
        }
    }

    async fn connect(&mut self, until: Instant) -> Result<&Connection, Failure> {
        let kept = self.connection.take().filter(|(_, since)| since.elapsed() < RENEW);
        let connection = if let Some(kept) = kept {
            kept
        } else {
            let Address { site, access, env } = &self.address;
            let var = |name: &str| env.get(name).cloned();
            (Connection::open(site, access, &var, until).await?, Instant::now())
        };
        Ok(&self.connection.insert(connection).0)
    }
}
