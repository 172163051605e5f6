//! Pull requests: which one a commit belongs to, and one for the result. In: plain data. Out: its number and page. What
//! people wrote into a pull request's text stays; ours stands between two marks and is updated in place.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::access::Connection;
use super::client::Api;
use super::retry::Failure;

/// Ends our part of a pull request's text; the marker begins it.
const END: &str = "<!-- /maestro-ci:report -->";

/// A pull request that there should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The branch with the work.
    pub head: String,
    /// The branch that it goes into.
    pub base: String,
    /// One line of plain text.
    pub title: String,
    /// Markdown; its first line is the marker.
    pub body: String,
}

/// A pull request that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its number.
    pub number: u64,
    /// Its page.
    pub url: Option<String>,
    /// True where there was none.
    pub is_new: bool,
}

impl Connection {
    /// The open pull request that a commit is the head of, else one that has it.
    ///
    /// # Errors
    /// The forge does not say.
    pub async fn pull_of_commit(&self, sha: &str, until: Instant) -> Result<Option<u64>, Failure> {
        let path = format!("/repos/{}/commits/{sha}/pulls?per_page=100", self.site.repository);
        Ok(pull_of(&self.api.get(&path, until).await?.body, sha))
    }

    /// The open pull request of a branch of this repository.
    ///
    /// # Errors
    /// The forge does not say.
    pub async fn pull_of_branch(&self, branch: &str, until: Instant) -> Result<Option<u64>, Failure> {
        let open = self.open_of_branch(branch, None, until).await?;
        Ok(open.and_then(|pull| pull.get("number")?.as_u64()))
    }

    /// The open pull request of a fork's branch (`owner:branch`) whose head is this commit; none where there are two.
    ///
    /// # Errors
    /// The forge does not say.
    pub async fn pull_of_fork(&self, head: &str, sha: &str, until: Instant) -> Result<Option<u64>, Failure> {
        let query = format!("state=open&head={}&per_page=100", encoded(head));
        let answer = self.api.get(&format!("/repos/{}/pulls?{query}", self.site.repository), until).await?;
        Ok(pull_of_fork(&answer.body, head, sha))
    }

    /// The repository's default branch.
    ///
    /// # Errors
    /// The forge does not say.
    pub async fn default_branch(&self, until: Instant) -> Result<String, Failure> {
        let answer = self.api.get(&format!("/repos/{}", self.site.repository), until).await?;
        let name = answer.body.get("default_branch").and_then(Value::as_str).map(str::to_owned);
        name.ok_or_else(|| Failure::Lost("it names no default branch".to_owned()))
    }

    /// Opens a pull request for a branch, or updates our part of the text of the one that is open.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn open_pull(&self, pull: &Pull, until: Instant) -> Result<Opened, Failure> {
        let repository = &self.site.repository;
        let mut tries = 0;
        loop {
            if let Some(open) = self.open_of_branch(&pull.head, Some(&pull.base), until).await? {
                return self.update_pull(&open, pull, until).await;
            }
            let body =
                json!({ "title": pull.title, "head": pull.head, "base": pull.base, "body": section(&pull.body) });
            tries += 1;
            match self.api.post(&format!("/repos/{repository}/pulls"), &body, until).await {
                Ok(answer) => return opened(&answer.body, true),
                Err(failure) if failure.may_have_happened() && Api::pause(&failure, tries, until).await => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn open_of_branch(&self, head: &str, base: Option<&str>, until: Instant) -> Result<Option<Value>, Failure> {
        let repository = &self.site.repository;
        let owner = repository.split('/').next().unwrap_or_default();
        let into = base.map(|base| format!("&base={}", encoded(base))).unwrap_or_default();
        let query = format!("state=open&head={}{into}", encoded(&format!("{owner}:{head}")));
        let answer = self.api.get(&format!("/repos/{repository}/pulls?{query}"), until).await?;
        // A forge that does not know these filters lists others, too.
        let is_it = |open: &&Value| {
            let text = |path: &str| open.pointer(path).and_then(Value::as_str);
            let same_home = text("/head/repo/full_name").is_none_or(|name| name.eq_ignore_ascii_case(repository));
            text("/head/ref") == Some(head) && base.is_none_or(|base| text("/base/ref") == Some(base)) && same_home
        };
        Ok(answer.body.as_array().into_iter().flatten().find(is_it).cloned())
    }

    async fn update_pull(&self, open: &Value, pull: &Pull, until: Instant) -> Result<Opened, Failure> {
        let opened = opened(open, false)?;
        let was = open.get("body").and_then(Value::as_str).unwrap_or_default();
        let now = merged(was, &pull.body);
        if now != was.replace("\r\n", "\n") {
            let path = format!("/repos/{}/pulls/{}", self.site.repository, opened.number);
            self.api.patch(&path, &json!({ "body": now }), until).await?;
        }
        Ok(opened)
    }
}

/// The pull request of a list that a commit is the head of, else the first that is open.
fn pull_of(list: &Value, sha: &str) -> Option<u64> {
    let open = || list.as_array().into_iter().flatten().filter(|p| p.get("state").is_none_or(|state| state == "open"));
    let is_head = |pull: &&Value| pull.pointer("/head/sha").and_then(Value::as_str) == Some(sha);
    open().find(is_head).or_else(|| open().next())?.get("number")?.as_u64()
}

/// The pull request of a list that comes from there with this commit as its head, where there is one only. A forge that
/// does not know the filter lists others, too.
fn pull_of_fork(list: &Value, head: &str, sha: &str) -> Option<u64> {
    let is_it = |pull: &&Value| {
        let text = |path: &str| pull.pointer(path).and_then(Value::as_str);
        text("/head/sha") == Some(sha) && text("/head/label").is_some_and(|label| label.eq_ignore_ascii_case(head))
    };
    let mut found = list.as_array().into_iter().flatten().filter(is_it);
    match (found.next(), found.next()) {
        (Some(pull), None) => pull.get("number")?.as_u64(),
        _ => None,
    }
}

fn opened(pull: &Value, is_new: bool) -> Result<Opened, Failure> {
    let number = pull.get("number").and_then(Value::as_u64);
    let number = number.ok_or_else(|| Failure::Lost("its pull request has no number".to_owned()))?;
    Ok(Opened { number, url: pull.get("html_url").and_then(Value::as_str).map(str::to_owned), is_new })
}

fn section(body: &str) -> String {
    format!("{}\n\n{END}", body.trim_end())
}

/// A text with our part of it replaced; at its end where there is none yet.
fn merged(was: &str, body: &str) -> String {
    let was = was.replace("\r\n", "\n");
    let marker = body.lines().next().unwrap_or_default();
    let section = section(body);
    let begin = line_starts(&was).find(|at| was[*at..].lines().next() == Some(marker));
    let Some(begin) = begin else {
        let gap = if was.trim().is_empty() { "" } else { "\n\n" };
        return format!("{}{gap}{section}", was.trim_end());
    };
    let end = was[begin..].find(END).map_or(was.len(), |at| begin + at + END.len());
    format!("{}{section}{}", &was[..begin], &was[end..])
}

fn line_starts(text: &str) -> impl Iterator<Item = usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1))
}

/// Text as a value in a query.
pub(super) fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' | b':' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "<!-- m -->\nnew";

    #[track_caller]
    fn check(was: &str, expected: &str) {
        assert_eq!(merged(was, NEW), expected);
        assert_eq!(merged(expected, NEW), expected, "a second time changes nothing");
    }

    #[test]
    fn our_part_is_replaced_and_what_people_wrote_stays() {
        let ours = format!("<!-- m -->\nnew\n\n{END}");
        check("", &ours);
        check("Hello.\r\n", &format!("Hello.\n\n{ours}"));
        check(&format!("Hello.\n\n<!-- m -->\nold\n\n{END}\nMore."), &format!("Hello.\n\n{ours}\nMore."));
        // Somebody cut the end off.
        check("Hello.\n<!-- m -->\nold", &format!("Hello.\n{ours}"));
        // A marker in the middle of a line is a quotation.
        check("> <!-- m -->", &format!("> <!-- m -->\n\n{ours}"));
    }

    #[track_caller]
    fn check_pull(list: &Value, expected: Option<u64>) {
        assert_eq!(pull_of(list, "abc"), expected);
    }

    #[test]
    fn a_commits_pull_request_is_the_open_one_it_is_the_head_of() {
        let pull =
            |number: u64, state: &str, sha: &str| json!({ "number": number, "state": state, "head": { "sha": sha } });
        check_pull(&json!([]), None);
        check_pull(&json!([pull(1, "closed", "abc")]), None);
        check_pull(&json!([pull(1, "open", "def"), pull(2, "open", "abc")]), Some(2));
        check_pull(&json!([pull(1, "closed", "abc"), pull(3, "open", "def")]), Some(3));
        check_pull(&json!({ "message": "x" }), None);
    }

    #[test]
    fn a_forks_pull_request_is_the_only_one_with_its_branch_and_commit() {
        let pull =
            |number: u64, label: &str, sha: &str| json!({ "number": number, "head": { "label": label, "sha": sha } });
        let check = |list: &[Value], expected: Option<u64>| {
            assert_eq!(pull_of_fork(&json!(list), "Ann:fix", "abc"), expected, "{list:?}");
        };
        check(&[], None);
        check(&[pull(1, "ann:fix", "abc")], Some(1));
        check(&[pull(1, "ann:fix", "def")], None);
        check(&[pull(1, "bob:fix", "abc"), pull(2, "ann:fix2", "abc"), pull(3, "ann:fix", "abc")], Some(3));
        check(&[pull(1, "ann:fix", "abc"), pull(2, "ann:fix", "abc")], None);
    }

    #[test]
    fn a_branchs_name_can_stand_in_a_query() {
        assert_eq!(encoded("o:maestro/a b&c#d"), "o:maestro/a%20b%26c%23d");
    }
}
