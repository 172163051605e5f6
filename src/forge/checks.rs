//! A check run on a commit, with its annotations. In: plain data. Out: the check's page. GitHub takes 50 annotations in
//! a request; the others follow in further ones. Only Apps may make checks, and a workflow's own token is one.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::access::Connection;
use super::client::Api;
use super::pulls::encoded;
use super::retry::Failure;

/// Annotations in one request (GitHub's API).
const PER_REQUEST: usize = 50;
/// Check runs on one page of a list.
const PAGE: usize = 100;
/// Pages that are looked at: GitHub looks at the 1,000 latest suites of a commit.
const MAX_PAGES: usize = 10;

/// A place that a check points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// Path in the repository.
    pub path: String,
    /// 1-based line.
    pub line: u32,
    /// `failure`, `warning` or `notice`.
    pub level: &'static str,
    /// At most 255 characters.
    pub title: String,
    /// At most 64 KB.
    pub message: String,
}

/// A finished check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRun {
    /// Its name, under which branch protection knows it.
    pub name: String,
    /// The commit under review.
    pub head_sha: String,
    /// `success`, `failure`, `neutral`, `cancelled`, …
    pub conclusion: &'static str,
    /// One line.
    pub title: String,
    /// Markdown, at most 65,535 characters.
    pub summary: String,
    /// Where its details are.
    pub details_url: Option<String>,
    /// Ours: it tells the check of this session from others of the same name.
    pub external_id: String,
    /// Where to look.
    pub annotations: Vec<Annotation>,
}

/// A check that is there, with how many annotations it has.
struct Made {
    id: u64,
    url: Option<String>,
    annotated: usize,
}

impl Connection {
    /// Makes a check say this; the newest one where it is that of the same end of the session. An older one stays what
    /// it was: people and branch protection go by the newest.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn check(&self, check: &CheckRun, until: Instant) -> Result<Option<String>, Failure> {
        let mut made = self.made(check, until).await?;
        let mut tries = 0;
        while made.annotated < check.annotations.len() {
            let rest = &check.annotations[made.annotated..];
            let part = &rest[..rest.len().min(PER_REQUEST)];
            tries += 1;
            let path = self.path_of(made.id);
            match self.api.patch_once(&path, &json!({ "output": output(check, part) }), until).await {
                Ok(_) => (made.annotated, tries) = (made.annotated + part.len(), 0),
                // It may have them now: a PATCH adds, so a second one would show them twice.
                Err(failure) if failure.may_have_happened() && Api::pause(&failure, tries, until).await => {
                    made = read(&self.api.get(&path, until).await?.body)?;
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(made.url)
    }

    async fn made(&self, check: &CheckRun, until: Instant) -> Result<Made, Failure> {
        let first = &check.annotations[..check.annotations.len().min(PER_REQUEST)];
        let mut body = json!({
            "name": check.name, "head_sha": check.head_sha, "status": "completed", "conclusion": check.conclusion,
            "external_id": check.external_id, "output": output(check, first),
        });
        if let Some(url) = &check.details_url {
            body["details_url"] = json!(url);
        }
        let mut tries = 0;
        loop {
            if let Some(newest) = self.newest(check, until).await?.filter(|run| run["external_id"] == check.external_id)
            {
                return read(&newest);
            }
            tries += 1;
            match self.api.post(&format!("/repos/{}/check-runs", self.site.repository), &body, until).await {
                // What it says of annotations can be late; what was sent is known.
                Ok(answer) => return Ok(Made { annotated: first.len(), ..read(&answer.body)? }),
                Err(failure) if failure.may_have_happened() && Api::pause(&failure, tries, until).await => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    /// The latest check of this name on the commit; numbers grow.
    async fn newest(&self, check: &CheckRun, until: Instant) -> Result<Option<Value>, Failure> {
        let (repository, sha, name) = (&self.site.repository, &check.head_sha, encoded(&check.name));
        let mut newest: Option<Value> = None;
        for page in 1..=MAX_PAGES {
            let query = format!("check_name={name}&filter=all&per_page={PAGE}&page={page}");
            let answer = self.api.get(&format!("/repos/{repository}/commits/{sha}/check-runs?{query}"), until).await?;
            let runs = answer.body.get("check_runs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            newest = runs.iter().cloned().chain(newest).max_by_key(|run| run["id"].as_u64());
            if !answer.has_next.unwrap_or(runs.len() >= PAGE) {
                return Ok(newest);
            }
        }
        Err(Failure::Elsewhere(format!("the commit has more than {} checks of this name", MAX_PAGES * PAGE)))
    }

    fn path_of(&self, id: u64) -> String {
        format!("/repos/{}/check-runs/{id}", self.site.repository)
    }
}

fn read(run: &Value) -> Result<Made, Failure> {
    let id = run.get("id").and_then(Value::as_u64);
    let count = run.pointer("/output/annotations_count").and_then(Value::as_u64).unwrap_or(0);
    Ok(Made {
        id: id.ok_or_else(|| Failure::Lost("its check run has no number".to_owned()))?,
        url: run.get("html_url").and_then(Value::as_str).map(str::to_owned),
        annotated: usize::try_from(count).unwrap_or(usize::MAX),
    })
}

fn output(check: &CheckRun, annotations: &[Annotation]) -> Value {
    let annotation = |a: &Annotation| {
        json!({ "path": a.path, "start_line": a.line, "end_line": a.line, "annotation_level": a.level,
                "title": a.title, "message": a.message })
    };
    let list: Vec<Value> = annotations.iter().map(annotation).collect();
    json!({ "title": check.title, "summary": check.summary, "annotations": list })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::ci::ForgeKind;
    use super::super::testing::{Server, answer, connect, run, soon};
    use super::*;

    fn check_run(annotations: usize) -> CheckRun {
        let annotation = |n: usize| Annotation {
            path: format!("src/f{n}.rs"),
            line: 1,
            level: "failure",
            title: "t".to_owned(),
            message: "m".to_owned(),
        };
        CheckRun {
            name: "maestro-ci: prd.md".to_owned(),
            head_sha: "abc".to_owned(),
            conclusion: "failure",
            title: "failed".to_owned(),
            summary: "s".to_owned(),
            details_url: None,
            external_id: "session@1".to_owned(),
            annotations: (0..annotations).map(annotation).collect(),
        }
    }

    fn paths(body: &str) -> Vec<String> {
        let body: Value = serde_json::from_str(body).unwrap();
        let list = body.pointer("/output/annotations").and_then(Value::as_array).unwrap();
        assert!(list.len() <= PER_REQUEST, "{} annotations in one request", list.len());
        list.iter().map(|a| a["path"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn annotations_whose_fate_is_not_known_are_counted_and_never_sent_twice() {
        let there = Mutex::new(Vec::<String>::new());
        let faults = Mutex::new(1);
        let server = Server::new(move |seen| {
            let mut there = there.lock().unwrap();
            let made = |there: &[String]| {
                let count = there.len();
                json!({ "id": 9, "html_url": "https://h/9", "output": { "annotations_count": count } }).to_string()
            };
            match seen.line.split(' ').next().unwrap() {
                "GET" if seen.line.contains("/commits/") => answer(200, "", r#"{"check_runs":[]}"#),
                "GET" => answer(200, "", &made(&there)),
                _ => {
                    there.extend(paths(&seen.body));
                    let mut faults = faults.lock().unwrap();
                    if seen.line.starts_with("PATCH") && *faults > 0 {
                        *faults -= 1;
                        return answer(502, "", "{}");
                    }
                    answer(201, "", &made(&there))
                }
            }
        });
        let url = run(async {
            let forge = connect(ForgeKind::GitHub, &server.url, &[]).await.unwrap();
            forge.check(&check_run(120), soon()).await.unwrap()
        });
        assert_eq!(url.as_deref(), Some("https://h/9"));
        let sent: Vec<String> =
            server.seen().iter().filter(|s| !s.body.is_empty()).flat_map(|s| paths(&s.body)).collect();
        assert_eq!(sent.len(), 120, "{:?}", server.lines());
    }

    #[test]
    fn the_check_of_this_end_of_the_session_is_not_made_again() {
        let server = Server::new(|_| {
            let other = json!({ "id": 8, "external_id": "other", "output": { "annotations_count": 0 } });
            let same = json!({ "id": 9, "external_id": "session@1", "output": { "annotations_count": 3 } });
            answer(200, "", &json!({ "check_runs": [other, same] }).to_string())
        });
        run(async {
            let forge = connect(ForgeKind::GitHub, &server.url, &[]).await.unwrap();
            forge.check(&check_run(3), soon()).await.unwrap();
        });
        let query = "check_name=maestro-ci:%20prd.md&filter=all&per_page=100&page=1";
        assert_eq!(server.lines(), [format!("GET /repos/o/r/commits/abc/check-runs?{query}")]);
    }

    #[test]
    fn a_check_is_looked_for_on_every_page() {
        let server = Server::new(|seen| {
            let runs = |ids: std::ops::Range<u64>| {
                let run = |id: u64| {
                    let external = if id == 149 { "session@1" } else { "other" };
                    json!({ "id": id, "external_id": external, "output": { "annotations_count": 0 } })
                };
                json!({ "check_runs": ids.map(run).collect::<Vec<_>>() }).to_string()
            };
            answer(200, "", &if seen.line.ends_with("page=1") { runs(0..100) } else { runs(100..150) })
        });
        run(async {
            let forge = connect(ForgeKind::GitHub, &server.url, &[]).await.unwrap();
            forge.check(&check_run(0), soon()).await.unwrap();
        });
        assert_eq!(server.lines().len(), 2, "found, and not made again: {:?}", server.lines());
    }
}
