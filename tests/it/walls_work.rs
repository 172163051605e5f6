//! What an agent finds behind the walls of level 1: a home, its tools, the paths that were opened for it, and nobody
//! else.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::walls::{everybody, holds_signals, of_result, passes, run_sets, said, walled};

#[test]
fn each_attempt_has_a_home_of_its_own_and_nothing_is_left_of_it() {
    let env = walled(1);
    fs::write(env.path("home/.netrc"), "machine x password y\n").unwrap();
    let script = "echo \"$HOME $TMPDIR\"\nls -A $HOME $TMPDIR\necho left > $HOME/left; echo left > $TMPDIR/left\n\
        cat ~/left > x\ngit config --global user.name me\n[ $MAESTRO_ATTEMPT = 2 ]\n";
    let run = run_sets(&env, script, &[]).exits(0);
    env.check_run(&run);
    let places: Vec<String> = [1, 2].map(|n| said(&env, "T-001", n, "stream.jsonl")).into();
    for place in &places {
        assert!(!place.contains("left") && !place.contains(".netrc"), "{place}");
        let dirs: Vec<&str> = place.lines().next().unwrap().split(' ').collect();
        assert!(dirs.len() == 2 && dirs.iter().all(|dir| Path::new(dir).starts_with(env.work())), "{place}");
        assert!(dirs.iter().all(|dir| !Path::new(dir).exists()), "{place}");
    }
    assert_ne!(places[0].lines().next(), places[1].lines().next());
    assert_eq!(of_result(&env, "x"), "left\n");
}

#[test]
fn what_an_agent_locks_is_removed_all_the_same() {
    for who in everybody() {
        let mut env = walled(1);
        let script = "for d in $PWD $TMPDIR $HOME; do\n\
            mkdir -p $d/locked/in; echo x > $d/locked/in/f; chmod 000 $d/locked/in/f $d/locked/in $d/locked; done\n\
            chmod 000 .git $TMPDIR $HOME\n[ $MAESTRO_ATTEMPT = 2 ] || exit 3\n\
            chmod -R 700 locked; rm -r locked\necho x > x\n";
        // The check of every run looks for what is left.
        passes(&mut env, who, script, &[]);
        assert_eq!(of_result(&env, "x"), "x\n", "{who:?}");
    }
}

#[test]
fn attempts_at_the_same_time_see_nothing_of_each_other() {
    let env = walled(2);
    let meet = env.path("meet");
    fs::create_dir(&meet).unwrap();
    let script = format!(
        "m={meet}; echo secret > $MAESTRO_TASK.txt; echo $$ > $m/$MAESTRO_TASK\n\
         until [ -s $m/T-001 ] && [ -s $m/T-002 ]; do sleep 0.02; done\n\
         [ $MAESTRO_TASK = T-001 ] && other=T-002 || other=T-001\n\
         for f in ../$other-1 $HOME/../../$other-1 /proc/$(cat $m/$other)/cwd /proc/$(cat $m/$other)/environ; do\n\
         ls -A $f/ || cat $f || cat $f/$other.txt || echo bad > $f/bad; done >> $MAESTRO_TASK.txt 2> /dev/null\n\
         {kill} $(cat $m/$other) && echo killed >> $MAESTRO_TASK.txt\n\
         : > $m/$MAESTRO_TASK.done; until [ -e $m/T-001.done ] && [ -e $m/T-002.done ]; do sleep 0.02; done\n",
        meet = meet.display(),
        kill = if holds_signals() { "kill -9" } else { "false" }
    );
    let write = format!("sandbox.write=[{}]", meet.display());
    let run = run_sets(&env, &script, &[&write, "orchestrator.jobs=2"]).exits(0);
    env.check_run(&run);
    for task in ["T-001", "T-002"] {
        assert_eq!(of_result(&env, &format!("{task}.txt")), "secret\n");
    }
    for task in env.report()["tasks"].as_array().unwrap() {
        assert_eq!(task["attempts"].as_array().unwrap().len(), 1, "{task}");
    }
}

#[test]
fn configured_paths_are_open_as_far_as_they_are_configured() {
    let env = walled(1);
    let (read, write) = (env.path("to read"), env.path("to write"));
    for dir in [&read, &write] {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join("file"), "before\n").unwrap();
    }
    let script = format!(
        "cat '{read}/file' '{write}/file' > x\necho after > '{write}/file'\necho new > '{write}/new'\n\
         echo after > '{read}/file' || echo new > '{read}/new' || echo denied >> x\n",
        read = read.display(),
        write = write.display()
    );
    let sets = [format!("sandbox.read=[\"{}\"]", read.display()), format!("sandbox.write=[\"{}\"]", write.display())];
    let run = run_sets(&env, &script, &[&sets[0], &sets[1]]).exits(0);
    env.check_run(&run);
    assert_eq!(of_result(&env, "x"), "before\nbefore\ndenied\n");
    assert_eq!(fs::read_to_string(write.join("file")).unwrap(), "after\n");
    assert_eq!(fs::read_to_string(write.join("new")).unwrap(), "new\n");
    assert!(!read.join("new").exists());
}

#[test]
fn tools_that_work_outside_work_behind_walls() {
    let mut env = walled(1);
    let home = std::env::home_dir().unwrap();
    for (name, dir) in [("RUSTUP_HOME", ".rustup"), ("PYENV_ROOT", ".pyenv")] {
        if home.join(dir).is_dir() {
            env.set(name, &home.join(dir).display().to_string());
        }
    }
    let tools = [
        "cargo --version && rustc --version",
        "cargo init -q --vcs none --name demo crate && cargo run -q --offline --manifest-path crate/Cargo.toml",
        "python3 -c 'import json, subprocess, tempfile; tempfile.TemporaryFile()'",
        "node -e 'require(\"fs\")' && npm -v",
        "go version",
        "git add -A && git commit -qm mine && git stash list && git log --oneline | grep -q mine",
        "printf 'int main(void){return 0;}' > $TMPDIR/m.c && cc -o $TMPDIR/m $TMPDIR/m.c && $TMPDIR/m",
        "sort /dev/null > /dev/null && head -c 9 /dev/urandom | base64 && sh -c 'echo $((1 + 1))'",
    ];
    let outside = env.path("outside");
    let copy = |dir: &Path| Command::new("git").args(["clone", "-q"]).arg(&env.repo).arg(dir).status().unwrap();
    assert!(copy(&outside).success());
    let works = |tool: &&str| {
        let ours = env.command(&[]);
        let vars = ours.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let mut command = Command::new("sh");
        command.arg("-c").arg(tool).current_dir(&outside).env_clear().envs(vars).env("TMPDIR", &outside);
        command.env("GIT_AUTHOR_NAME", "x").env("GIT_AUTHOR_EMAIL", "x@localhost");
        command.env("GIT_COMMITTER_NAME", "x").env("GIT_COMMITTER_EMAIL", "x@localhost");
        command.output().unwrap().status.success()
    };
    let present: Vec<&str> = tools.into_iter().filter(works).collect();
    assert!(present.iter().any(|tool| tool.contains("git commit")), "{present:?}");
    let mut script = "echo x > x\n".to_owned();
    for tool in &present {
        let name = tool.replace('\'', "");
        script.push_str(&format!("( {tool} ) > out 2>&1 || {{ echo '## {name}'; cat out; }} >> bad\n"));
    }
    let run = run_sets(&env, &format!("{script}rm -rf out crate\ntest ! -e bad || cat bad\n"), &[]).exits(0);
    env.check_run(&run);
    assert_eq!(said(&env, "T-001", 1, "stream.jsonl"), "", "of {present:?}");
}

#[test]
fn names_that_an_agent_chooses_do_not_make_its_fault_the_machines() {
    for agent in ["echo x > x; git init -q sub.lock", "echo x > x; git init -q 'No space left on device'"] {
        let env = walled(1);
        let run = run_sets(&env, agent, &["error_recovery.max_retry_attempts=0"]).exits(1);
        env.check_run(&run);
        assert_eq!(env.report()["tasks"][0]["attempts"][0]["fault"]["reason"], "rejected_tree");
    }
}
