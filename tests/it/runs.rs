//! Whole runs: what lands on the branch, what the exit code says, and that nothing else moves.

use crate::env::{Env, prd};

/// An agent that writes a file named after its task.
pub const WRITES_A_FILE: &str = "echo done > \"$MAESTRO_TASK.txt\"";

#[test]
fn an_approved_prd_becomes_a_branch_and_the_checkout_stays_as_it_was() {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "the first"), ("FR-2", "the second, after FR-1")]));
    env.commit("prd");
    let before = env.checkout();
    let run = env.run_prd(WRITES_A_FILE, &[]).exits(0).says("passed, 2 unverified");
    env.check_run(&run);
    assert_eq!(env.checkout(), before);
    assert_eq!(env.show("maestro/feature", "T-001.txt").as_deref(), Some("done\n"));
    assert_eq!(env.show("maestro/feature", "T-002.txt").as_deref(), Some("done\n"));
    assert!(env.show("maestro/feature", "prd.md").unwrap().contains("status: implemented"));
    let message = env.git(&["log", "-1", "--format=%B", "maestro/feature~1"]);
    assert!(message.contains("Maestro-Task: T-002") && message.contains("Maestro-Requirement: FR-2"), "{message}");
}

#[test]
fn an_agent_that_changes_nothing_is_a_failure() {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "the first")]));
    env.commit("prd");
    let run = env.run_prd("echo 'done ✅'", &[]).exits(1).says("no_change");
    env.check_run(&run);
    let report = env.report();
    assert_eq!(report["tasks"][0]["status"], "failed");
    assert_eq!(report["tasks"][0]["attempts"].as_array().unwrap().len(), 4, "one attempt and three retries");
    assert!(env.git(&["for-each-ref", "refs/heads/maestro"]).is_empty(), "no branch for no work");
}

#[test]
fn a_validation_without_anything_to_look_at_says_so() {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "the first")]));
    env.commit("prd");
    env.run_prd(WRITES_A_FILE, &[]).exits(0).says("no gate is configured or was detected");
    let gate = "validation.gates.g.run=true";
    env.run_prd("false", &["--fresh", "--set", gate]).exits(1).says("gates are not run: nothing was integrated");
}
