//! `init`: what it writes is whole, fits the repository and passes `check`; what is there is not written over.

use std::fs;
use std::path::Path;

use crate::env::Env;
use crate::runner::yaml;

/// Every `--ci` with the file it writes.
pub const ALL: [(&str, &str); 6] = [
    ("github", ".github/workflows/maestro-ci.yml"),
    ("github-two-jobs", ".github/workflows/maestro-ci.yml"),
    ("github-nightly", ".github/workflows/maestro-ci-nightly.yml"),
    ("github-on-approval", ".github/workflows/maestro-ci-on-approval.yml"),
    ("gitlab", ".gitlab/maestro-ci.yml"),
    ("jenkins", "Jenkinsfile.maestro-ci"),
];

const CONFIG: &str = ".flow/maestro/config.yaml";

fn read(env: &Env, path: &str) -> String {
    fs::read_to_string(env.repo.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Names of the files that are not committed.
fn new_files(env: &Env) -> Vec<String> {
    let status = env.git(&["status", "--porcelain", "--untracked-files=all"]);
    status.lines().map(|line| line[3..].to_owned()).collect()
}

#[test]
fn what_it_writes_passes_check_for_every_ci_once_the_prd_is_approved() {
    for (ci, path) in ALL {
        let env = Env::new();
        env.write("go.mod", "module x\n");
        env.commit("code");
        let run = env.run(&["init", "--ci", ci, "--prd", "specs/dark_mode.md", "--agent", "gemini"]).exits(0);
        assert!(run.stdout.contains(&format!("wrote {path}")) && run.stdout.contains("Next:"), "{}", run.stdout);
        let mut expected = vec![CONFIG, path, "specs/dark_mode.md"];
        expected.extend((ci == "gitlab").then_some(".gitlab-ci.yml"));
        expected.sort_unstable();
        assert_eq!(new_files(&env), expected, "{ci}");
        env.commit("maestro");
        let check = ["check", "--prd", "specs/dark_mode.md", "--agent-cmd", "true"];
        env.run(&check).exits(4);
        env.run(&["approve", "--prd", "specs/dark_mode.md"]).exits(0);
        env.commit("approved");
        let checked = env.run(&check).exits(0).stdout;
        for part in ["gate        test: go test ./...", "gate        lint: go vet ./..."] {
            assert!(checked.contains(part), "{ci}: {checked}");
        }
        // The command has no key, which is the test's doing; nothing else is worth a note.
        let notes = checked.lines().filter(|line| line.starts_with("note ") && !line.contains("no key of an API"));
        assert_eq!(notes.count(), 0, "{ci}: {checked}");
        let text = read(&env, path);
        assert!(text.contains("specs/") && text.to_lowercase().contains("gemini"), "{ci}: {text}");
        if ci != "jenkins" {
            yaml(&text);
        }
    }
}

#[test]
fn a_second_time_is_refused_and_changes_nothing_unless_it_is_forced() {
    for (ci, path) in ALL {
        let env = Env::new();
        env.run(&["init", "--ci", ci]).exits(0);
        env.write(path, "mine\n");
        env.write("docs/prd.md", "my PRD\n");
        env.run(&["init", "--ci", ci]).exits(2).says("exists already; nothing was written");
        assert_eq!(read(&env, path), "mine\n");
        let forced = env.run(&["init", "--ci", ci, "--force"]).exits(0);
        assert_ne!(read(&env, path), "mine\n");
        assert_eq!(read(&env, "docs/prd.md"), "my PRD\n", "a PRD is nobody's but its author's");
        assert!(forced.stdout.contains("kept  docs/prd.md"), "{}", forced.stdout);
    }
}

#[test]
fn without_a_ci_it_writes_configuration_and_draft_and_a_pipeline_may_follow() {
    let env = Env::new();
    env.run(&["init"]).exits(0).prints("init --ci github");
    assert_eq!(new_files(&env), [CONFIG, "docs/prd.md"]);
    env.run(&["init"]).exits(2);
    env.write(CONFIG, "logging: {level: debug}\n");
    env.run(&["init", "--ci", "github"]).exits(0).prints(&format!("kept  {CONFIG}"));
    assert_eq!(read(&env, CONFIG), "logging: {level: debug}\n");
}

#[test]
fn a_link_in_the_place_of_a_file_is_not_written_through() {
    let env = Env::new();
    let outside = env.path("outside");
    fs::create_dir_all(env.repo.join(".github/workflows")).unwrap();
    std::os::unix::fs::symlink(&outside, env.repo.join(".github/workflows/maestro-ci.yml")).unwrap();
    env.run(&["init", "--ci", "github"]).exits(2);
    env.run(&["init", "--ci", "github", "--force"]).exits(0);
    assert!(!Path::new(&outside).exists());
}

#[test]
fn a_link_in_the_place_of_a_directory_does_not_lead_out_of_the_repository() {
    for (link, ci) in [(".github", "github"), (".gitlab", "gitlab"), (".flow", "jenkins")] {
        let env = Env::new();
        let out = env.path("out");
        fs::create_dir(&out).unwrap();
        std::os::unix::fs::symlink("../out", env.repo.join(link)).unwrap();
        let before = new_files(&env);
        env.run(&["init", "--ci", ci, "--force"]).exits(2).says("leads out of the repository");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "{link}");
        assert_eq!(new_files(&env), before, "{link}: nothing was written");
        // One that stays inside is as good as a directory.
        fs::remove_file(env.repo.join(link)).unwrap();
        fs::create_dir(env.repo.join("inside")).unwrap();
        std::os::unix::fs::symlink("inside", env.repo.join(link)).unwrap();
        env.run(&["init", "--ci", ci]).exits(0);
        assert!(fs::read_dir(env.repo.join("inside")).unwrap().count() > 0, "{link}");
    }
}

#[test]
fn names_that_yaml_takes_for_something_else_are_strings_in_a_pipeline() {
    for name in ["1.10", "true", "null"] {
        let env = Env::new();
        env.git(&["branch", "-m", name]);
        for (ci, path) in ALL.into_iter().filter(|(ci, _)| *ci != "jenkins") {
            env.run(&["init", "--ci", ci, "--prd", name, "--force"]).exits(0);
            let file = yaml(&read(&env, path));
            let found = match ci {
                "github-on-approval" => &file["on"]["push"]["branches"][0],
                "github-nightly" => &file["jobs"]["maestro"]["env"]["PRD"],
                "gitlab" => &file["maestro-ci"]["variables"]["MAESTRO_CI_PRD"],
                _ => &file["on"]["workflow_dispatch"]["inputs"]["prd"]["default"],
            };
            assert_eq!(*found, name, "{ci}");
        }
    }
}

#[test]
fn it_finds_the_default_branch_and_the_prd_that_is_there() {
    let env = Env::new();
    env.write("PRD.md", "# PRD: x\n");
    env.commit("prd");
    env.git(&["branch", "-m", "trunk"]);
    env.git(&["update-ref", "refs/remotes/origin/stable", "HEAD"]);
    env.git(&["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/stable"]);
    env.run(&["init", "--ci", "github-on-approval"]).exits(0).prints("merge an approved PRD into stable");
    let workflow = yaml(&read(&env, ".github/workflows/maestro-ci-on-approval.yml"));
    assert_eq!(workflow["on"]["push"], serde_json::json!({"branches": ["stable"], "paths": ["**.md"]}));
}

#[test]
fn names_that_could_be_more_than_names_never_reach_a_pipeline() {
    let env = Env::new();
    for prd in ["a b.md", "$(touch x).md", "a'b.md", "a\"b.md", "a#b.md", "a\nb.md", "../out.md", "/etc/prd.md"] {
        env.run(&["init", "--ci", "github", "--prd", prd]).exits(2);
    }
    for action in ["x", "a/b", "a/b@v1\nx: y", "a/b@${{x}}"] {
        env.run(&["init", "--ci", "github", "--action", action]).exits(2);
    }
    env.git(&["branch", "-m", "x$(touch_y)"]);
    env.run(&["init", "--ci", "github-on-approval"]).exits(2);
    assert_eq!(new_files(&env), Vec::<String>::new());
}

#[test]
fn the_action_is_named_where_it_was_said_and_asked_for_where_not() {
    let env = Env::new();
    let action = "acme/maestro-ci@1111111111111111111111111111111111111111";
    let with = env.run(&["init", "--ci", "github", "--action", action]).exits(0).stdout;
    assert!(!with.contains("YOUR_ORG"), "{with}");
    let text = read(&env, ".github/workflows/maestro-ci.yml");
    assert!(text.contains(&format!("uses: {action}\n")) && !text.contains("YOUR_ORG"), "{text}");
    env.run(&["init", "--ci", "github", "--force"]).exits(0).prints("YOUR_ORG/maestro-ci@000000");
}
