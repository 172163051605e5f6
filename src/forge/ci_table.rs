//! What each CI's environment comes to, as a table.

use std::collections::BTreeMap;

use super::ci::{Ci, CiKind, ForgeKind};

fn ci(lines: &str) -> Ci {
    let pairs = lines.lines().filter_map(|line| line.trim().split_once('='));
    Ci::from_env(&pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>())
}

/// Kind, repository, pull request, head and job of an environment.
#[track_caller]
fn check(lines: &str, kind: CiKind, repository: &str, pull_request: u64, head_sha: &str, job: &str) {
    let found = ci(lines);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let found = (
        found.kind,
        text(&found.repository),
        found.pull_request.unwrap_or(0),
        text(&found.head_sha),
        text(&found.job_url),
    );
    assert_eq!(found, (kind, repository.to_owned(), pull_request, head_sha.to_owned(), job.to_owned()));
}

const GITHUB: &str = "GITHUB_ACTIONS=true
    GITHUB_API_URL=https://ghe.example/api/v3/
    GITHUB_SERVER_URL=https://ghe.example
    GITHUB_REPOSITORY=o/r
    GITHUB_RUN_ID=99
    GITHUB_RUN_ATTEMPT=2
    GITHUB_SHA=5e77
    GITHUB_EVENT_PATH=/event.json\n";

#[test]
fn github_names_the_job_and_never_its_own_merge() {
    let job = "https://ghe.example/o/r/actions/runs/99/attempts/2";
    let with = |more: &str| format!("{GITHUB}{more}");
    check(&with("GITHUB_EVENT_NAME=push"), CiKind::GitHub, "o/r", 0, "5e77", job);
    let pull = with("GITHUB_EVENT_NAME=pull_request\nGITHUB_REF=refs/pull/7/merge\nGITHUB_HEAD_REF=topic");
    check(&pull, CiKind::GitHub, "o/r", 7, "", job);
    check(&with("GITHUB_EVENT_NAME=issue_comment"), CiKind::GitHub, "o/r", 0, "", job);
    let found = ci(&pull);
    assert_eq!(found.api_url.as_deref(), Some("https://ghe.example/api/v3"));
    assert_eq!((found.head_ref.as_deref(), found.event_path.as_deref()), (Some("topic"), Some("/event.json")));
}

#[test]
fn the_event_has_the_pull_request_and_its_head() {
    let check = |event: &str, expected: (Option<u64>, Option<&str>, bool)| {
        let found = ci(&format!("{GITHUB}GITHUB_EVENT_NAME=x")).with_event(event);
        assert_eq!((found.pull_request, found.head_sha.as_deref(), found.from_fork), expected, "{event}");
    };
    let own = r#"{"number":7,"repository":{"full_name":"o/r"},
        "pull_request":{"number":7,"base":{"ref":"main"},"head":{"sha":"4ead","ref":"t","repo":{"full_name":"o/r"}}}}"#;
    check(own, (Some(7), Some("4ead"), false));
    check(&own.replace(r#""ref":"t","repo":{"full_name":"o/r"}"#, r#""repo":null"#), (Some(7), Some("4ead"), true));
    check(r#"{"issue":{"number":8,"pull_request":{"url":"x"}}}"#, (Some(8), Some("5e77"), false));
    check(r#"{"issue":{"number":8}}"#, (None, Some("5e77"), false));
    let run = r#"{"workflow_run":{"head_sha":"aa","pull_requests":[{"number":9}]}}"#;
    check(run, (Some(9), Some("aa"), false));
    for broken in ["", "{", "[]", r#"{"pull_request":7}"#, r#"{"pull_request":{"number":-1}}"#, "null"] {
        let found = ci(&format!("{GITHUB}GITHUB_EVENT_NAME=x")).with_event(broken);
        assert_eq!((found.pull_request, found.head_sha.as_deref()), (None, Some("5e77")), "{broken}");
    }
}

#[test]
fn gitlab_names_the_merge_request_also_for_a_branch() {
    let job = "https://gl.example/g/r/-/jobs/1";
    let base = "GITLAB_CI=true\nCI_API_V4_URL=https://gl.example/api/v4\nCI_PROJECT_PATH=g/r\nCI_PROJECT_ID=12
        CI_JOB_URL=https://gl.example/g/r/-/jobs/1\nCI_COMMIT_SHA=c0\n";
    check(&format!("{base}CI_MERGE_REQUEST_IID=3"), CiKind::GitLab, "g/r", 3, "c0", job);
    let merged = format!("{base}CI_MERGE_REQUEST_IID=3\nCI_MERGE_REQUEST_SOURCE_BRANCH_SHA=50");
    check(&merged, CiKind::GitLab, "g/r", 3, "50", job);
    check(&format!("{base}CI_OPEN_MERGE_REQUESTS=g/r!4,g/r!5"), CiKind::GitLab, "g/r", 4, "c0", job);
    let fork = ci(&format!("{base}CI_MERGE_REQUEST_IID=3\nCI_MERGE_REQUEST_SOURCE_PROJECT_PATH=x/r"));
    assert_eq!((fork.forge, fork.project_id.as_deref(), fork.from_fork), (Some(ForgeKind::GitLab), Some("12"), true));
}

#[test]
fn other_systems_lead_to_a_github_where_their_variables_do() {
    let jenkins = "JENKINS_URL=https://ci.example/\nBUILD_URL=https://ci.example/job/a/1/\nCHANGE_ID=7\nGIT_COMMIT=aa
        CHANGE_URL=https://github.com/o/r/pull/7\nGIT_URL=https://github.com/o/r.git";
    check(jenkins, CiKind::Jenkins, "o/r", 7, "", "https://ci.example/job/a/1/");
    let buildkite = "BUILDKITE=true\nBUILDKITE_BUILD_URL=https://buildkite.com/b/1\nBUILDKITE_JOB_ID=j
        BUILDKITE_REPO=git@github.com:o/r.git\nBUILDKITE_PULL_REQUEST=8\nBUILDKITE_COMMIT=bb
        BUILDKITE_PULL_REQUEST_REPO=https://github.com/x/r.git";
    check(buildkite, CiKind::Buildkite, "o/r", 8, "bb", "https://buildkite.com/b/1#j");
    assert!(ci(buildkite).from_fork);
    check("BUILDKITE=true\nBUILDKITE_PULL_REQUEST=false", CiKind::Buildkite, "", 0, "", "");
    let circle = "CIRCLECI=true\nCIRCLE_PULL_REQUEST=https://github.com/o/r/pull/9\nCIRCLE_SHA1=cc
        CIRCLE_BUILD_URL=https://circleci.com/x/1";
    check(circle, CiKind::CircleCi, "o/r", 9, "cc", "https://circleci.com/x/1");
    let azure = "TF_BUILD=True\nSYSTEM_COLLECTIONURI=https://dev.azure.com/org/\nSYSTEM_TEAMPROJECT=my project
        BUILD_BUILDID=5\nBUILD_REPOSITORY_PROVIDER=GitHub\nBUILD_REPOSITORY_URI=https://github.com/o/r
        SYSTEM_PULLREQUEST_PULLREQUESTID=77\nSYSTEM_PULLREQUEST_PULLREQUESTNUMBER=10
        SYSTEM_PULLREQUEST_SOURCECOMMITID=dd\nBUILD_SOURCEVERSION=merge";
    check(azure, CiKind::Azure, "o/r", 10, "dd", "https://dev.azure.com/org/my%20project/_build/results?buildId=5");
}

#[test]
fn what_is_not_known_is_not_guessed() {
    check("", CiKind::None, "", 0, "", "");
    check("GITHUB_ACTIONS=\nGITLAB_CI=false\nCI=1", CiKind::Other, "", 0, "", "");
    check("CIRCLECI=true\nCIRCLE_REPOSITORY_URL=git@bitbucket.org:o/r.git", CiKind::CircleCi, "", 0, "", "");
    assert_eq!(ci("CI=true").forge, None);
    let by_hand = ci("GITHUB_REPOSITORY=o/r");
    assert_eq!((by_hand.kind, by_hand.api_url.as_deref()), (CiKind::None, Some("https://api.github.com")));
}
