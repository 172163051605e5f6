//! The HTML report of real runs: where it is written, that it shows the work itself, and that it believes no file that
//! the journal does not name. What a browser makes of it is looked at by `ci/html.sh`.

use std::fs;

use crate::env::{Env, prd};

fn world() -> Env {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "a <script>alert(1)</script> greeting")]));
    env.commit("prd");
    env
}

const WRITES_MARKUP: &str = "echo 'say <b>hello</b> & go' > greeting.txt; echo 'it was <i>easy</i>' >&2";

#[test]
fn the_page_is_written_where_it_was_asked_for_and_rebuilt_byte_for_byte() {
    let env = world();
    let asked = env.path("out/page.html");
    env.run_prd(WRITES_MARKUP, &["--html", asked.to_str().unwrap()]).exits(0);
    let page = fs::read_to_string(&asked).unwrap();
    assert_eq!(page, fs::read_to_string(env.session_dir().join("report.html")).unwrap());
    assert_eq!(page, env.run(&["report", "--format", "html"]).exits(0).stdout);
}

#[test]
fn the_page_shows_diff_and_log_of_the_work_as_words() {
    let env = world();
    env.run_prd(WRITES_MARKUP, &[]).exits(0);
    let page = fs::read_to_string(env.session_dir().join("report.html")).unwrap();
    let diff = "+say &lt;b&gt;hello&lt;/b&gt; &amp; go";
    for words in [diff, "it was &lt;i&gt;easy&lt;/i&gt;", "&lt;script&gt;alert(1)&lt;/script&gt;"] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("<script>alert") && !page.contains("<b>hello"));
}

#[test]
fn a_patch_that_somebody_changed_is_not_shown() {
    let env = world();
    env.run_prd(WRITES_MARKUP, &[]).exits(0);
    let patch = env.session_dir().join("tasks/T-001/attempt-1/changes.patch");
    fs::write(&patch, "+something else\n").unwrap();
    let page = env.run(&["report", "--format", "html"]).exits(0).stdout;
    assert!(page.contains("its file is not the one that the journal names") && !page.contains("+something else"));
    fs::remove_file(&patch).unwrap();
    let page = env.run(&["report", "--format", "html"]).exits(0).stdout;
    assert!(page.contains("its file could not be read"));
}

#[test]
fn a_run_that_stopped_has_a_page_that_says_so() {
    let env = world();
    let asked = env.path("page.html");
    env.run_prd("exit 1", &["--html", asked.to_str().unwrap()]).exits(1);
    let page = fs::read_to_string(&asked).unwrap();
    assert!(page.contains("<meta name=\"maestro-ci:verdict\" content=\"failed\">"));
    assert!(page.contains("<meta name=\"maestro-ci:exit-code\" content=\"1\">"));
}
