//! One comment on a pull or merge request, found again and updated in place. In: a marker, which is the text's first
//! line, and the text. Out: what was done.
//!
//! A comment is ours where its first line is the marker exactly *and* our token's own account wrote it: what somebody
//! else writes, or quotes, is never taken for it. Nothing is made twice: after a POST whose fate is not known, the
//! comments are listed again before anything else is sent.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::access::{Connection, Place};
use super::ci::ForgeKind;
use super::client::{Answer, Api};
use super::gitlab;
use super::retry::Failure;

/// Comments a page, the most that forges give.
const PAGE: usize = 100;
/// Pages that are looked through.
const MAX_PAGES: usize = 50;

/// An account of a forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Author {
    login: String,
    is_bot: bool,
}

impl Author {
    /// The account of an app, by its name with or without `[bot]`.
    pub(super) fn bot(name: &str) -> Self {
        Self { login: format!("{}[bot]", name.trim_end_matches("[bot]")), is_bot: true }
    }

    /// A user as the forge's API shows it. GitLab's bots are users like others.
    pub(super) fn read(kind: ForgeKind, user: &Value) -> Option<Self> {
        let (name, is_bot) = match kind {
            ForgeKind::GitHub => ("login", user.get("type").and_then(Value::as_str) == Some("Bot")),
            ForgeKind::GitLab => ("username", false),
        };
        Some(Self { login: user.get(name)?.as_str()?.to_owned(), is_bot })
    }
}

/// What was done with a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// There was none.
    Created,
    /// It said something else.
    Updated,
    /// It said the same already.
    Unchanged,
}

/// A comment that says what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Its number.
    pub id: u64,
    /// Its page.
    pub url: Option<String>,
    /// What was done.
    pub done: Done,
    /// How many more of ours with the same marker were seen: an old race left them.
    pub twins: usize,
}

/// One of ours.
struct Found {
    id: u64,
    url: Option<String>,
    body: String,
    twins: usize,
}

impl Connection {
    /// Makes the comment say `text`, whose first line is the marker. `known` is its number, where an earlier call has
    /// told it.
    ///
    /// # Errors
    /// Why it does not say so.
    pub async fn comment(
        &self,
        number: u64,
        text: &str,
        known: Option<u64>,
        until: Instant,
    ) -> Result<Posted, Failure> {
        let place = Place { site: self.site.clone(), number };
        let body = json!({ "body": text });
        if let Some(id) = known {
            match self.change(&place, id, &body, until).await {
                Ok(answer) => return Ok(posted(&answer, id, Done::Updated, 0)),
                // Somebody deleted it.
                Err(Failure::Status { code: 404 | 410, .. }) => {}
                Err(failure) => return Err(failure),
            }
        }
        let marker = first_line(text);
        let mut tries = 0;
        loop {
            if let Some(found) = self.find(&place, marker, until).await? {
                return self.make_say(&place, found, text, &body, until).await;
            }
            tries += 1;
            match self.api.post(&create_path(&place), &body, until).await {
                Ok(answer) => match answer.body.get("id").and_then(Value::as_u64) {
                    Some(id) => return Ok(posted(&answer, id, Done::Created, 0)),
                    None => after_accident(&no_comment(), tries, until).await?,
                },
                Err(failure) => after_accident(&failure, tries, until).await?,
            }
        }
    }

    async fn make_say(
        &self,
        place: &Place,
        found: Found,
        text: &str,
        body: &Value,
        until: Instant,
    ) -> Result<Posted, Failure> {
        let Found { id, url, body: now, twins } = found;
        if same_text(&now, text) {
            return Ok(Posted { id, url, done: Done::Unchanged, twins });
        }
        let answer = self.change(place, id, body, until).await?;
        Ok(posted(&answer, id, Done::Updated, twins))
    }

    async fn change(&self, place: &Place, id: u64, body: &Value, until: Instant) -> Result<Answer, Failure> {
        match place.site.kind {
            ForgeKind::GitHub => {
                self.api.patch(&format!("/repos/{}/issues/comments/{id}", place.site.repository), body, until).await
            }
            ForgeKind::GitLab => self.api.put(&gitlab::note(place, id), body, until).await,
        }
    }

    /// Our oldest comment with this marker.
    async fn find(&self, place: &Place, marker: &str, until: Instant) -> Result<Option<Found>, Failure> {
        let author = self.author(until).await?;
        for page in 1..=MAX_PAGES {
            let answer = self.api.get(&list_path(place, page), until).await?;
            let Some(list) = answer.body.as_array() else {
                return Err(Failure::Lost("its list of comments is none".to_owned()));
            };
            if let Some(found) = ours(place.site.kind, list, author, marker) {
                return Ok(Some(found));
            }
            if !answer.has_next.unwrap_or(list.len() >= PAGE) {
                return Ok(None);
            }
        }
        Err(Failure::Elsewhere(format!(
            "it has more than {} comments, and none of the first is ours",
            MAX_PAGES * PAGE
        )))
    }
}

/// Waits, where it is not known what a POST has done; whoever sent it looks then. Every other failure stays one.
async fn after_accident(failure: &Failure, tries: u32, until: Instant) -> Result<(), Failure> {
    if failure.may_have_happened() && Api::pause(failure, tries, until).await {
        return Ok(());
    }
    Err(failure.clone())
}

fn no_comment() -> Failure {
    Failure::Lost("its answer is no comment".to_owned())
}

fn list_path(place: &Place, page: usize) -> String {
    match place.site.kind {
        ForgeKind::GitHub => {
            let Place { site, number } = place;
            format!("/repos/{}/issues/{number}/comments?per_page={PAGE}&page={page}", site.repository)
        }
        ForgeKind::GitLab => {
            format!("{}?sort=asc&order_by=created_at&per_page={PAGE}&page={page}", gitlab::notes(place))
        }
    }
}

fn create_path(place: &Place) -> String {
    match place.site.kind {
        ForgeKind::GitHub => format!("/repos/{}/issues/{}/comments", place.site.repository, place.number),
        ForgeKind::GitLab => gitlab::notes(place),
    }
}

/// The oldest comment of a page that is ours.
fn ours(kind: ForgeKind, list: &[Value], author: &Author, marker: &str) -> Option<Found> {
    let user = match kind {
        ForgeKind::GitHub => "user",
        ForgeKind::GitLab => "author",
    };
    let mut mine: Vec<Found> = list
        .iter()
        .filter(|comment| comment.get(user).and_then(|u| Author::read(kind, u)).as_ref() == Some(author))
        .filter_map(|comment| {
            let body = comment.get("body")?.as_str()?;
            let (id, url) = (comment.get("id")?.as_u64()?, page_of(comment));
            (first_line(body) == marker).then(|| Found { id, url, body: body.to_owned(), twins: 0 })
        })
        .collect();
    let twins = mine.len().checked_sub(1)?;
    mine.sort_by_key(|found| found.id);
    mine.into_iter().next().map(|found| Found { twins, ..found })
}

fn posted(answer: &Answer, id: u64, done: Done, twins: usize) -> Posted {
    Posted { id, url: page_of(&answer.body), done, twins }
}

fn page_of(comment: &Value) -> Option<String> {
    comment.get("html_url").and_then(Value::as_str).map(str::to_owned)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Forges keep their own kind of line ends and cut blanks at the end.
fn same_text(a: &str, b: &str) -> bool {
    a.trim_end().lines().eq(b.trim_end().lines())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKER: &str = "<!-- maestro-ci:report v1 prd=docs/x.md -->";

    fn comment(id: u64, login: &str, kind: &str, body: &str) -> Value {
        let url = format!("https://h/{id}");
        json!({ "id": id, "user": { "login": login, "type": kind }, "body": body, "html_url": url })
    }

    /// Which of the comments is taken for ours, and how many more there are.
    #[track_caller]
    fn check(list: &[Value], expected: Option<(u64, usize)>) {
        let found = ours(ForgeKind::GitHub, list, &Author::bot("github-actions"), MARKER);
        assert_eq!(found.map(|f| (f.id, f.twins)), expected);
    }

    #[test]
    fn ours_is_what_our_account_wrote_with_the_marker_as_its_first_line() {
        let text = format!("{MARKER}\nhello");
        check(&[], None);
        check(&[comment(7, "github-actions[bot]", "Bot", &text)], Some((7, 0)));
        check(&[comment(7, "github-actions[bot]", "Bot", &format!("{MARKER}\r\nhello"))], Some((7, 0)));
    }

    #[test]
    fn a_spoofed_or_quoted_marker_is_nobodys() {
        let bot = |body: &str| comment(7, "github-actions[bot]", "Bot", body);
        let text = format!("{MARKER}\nhello");
        check(&[comment(7, "mallory", "User", &text)], None);
        check(&[comment(7, "other[bot]", "Bot", &text)], None);
        // Nobody can have this name; if somebody could, it would not be a bot's.
        check(&[comment(7, "github-actions[bot]", "User", &text)], None);
        check(&[bot(&format!("hello\n{MARKER}"))], None);
        check(&[bot(&format!(" {MARKER}"))], None);
        check(&[bot(&format!("{MARKER} and more"))], None);
        check(&[bot("<!-- maestro-ci:report v1 prd=docs/y.md -->\n")], None);
        check(&[json!({ "id": 7, "user": null, "body": text }), json!({}), json!(3)], None);
    }

    #[test]
    fn of_two_the_oldest_stays_and_the_other_is_counted() {
        let text = format!("{MARKER}\nhello");
        let list = [9, 7, 8].map(|id| comment(id, "github-actions[bot]", "Bot", &text));
        check(&list, Some((7, 2)));
    }

    #[test]
    fn a_note_of_gitlab_is_known_by_its_username() {
        let note = |name: &str| json!({ "id": 3, "author": { "username": name }, "body": MARKER });
        let me = Author::read(ForgeKind::GitLab, &json!({ "username": "project_1_bot" })).unwrap();
        assert!(ours(ForgeKind::GitLab, &[note("project_1_bot")], &me, MARKER).is_some());
        assert!(ours(ForgeKind::GitLab, &[note("mallory")], &me, MARKER).is_none());
    }

    #[test]
    fn line_ends_make_no_other_text() {
        assert!(same_text("a\r\nb\r\n", "a\nb"));
        assert!(!same_text("a\nb", "a\n\nb"));
    }
}
