//! Which tool call does a step, by the tools that a request offers.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::answer::{Asked, Call, Tool};
use super::scenario::Step;

/// The file that the model writes where the prompt names no other with `fake-file: NAME`.
const FILE: &str = "hello.txt";

/// What stands before the working directory in what the CLIs tell the model.
const BEFORE_CWD: [&str; 5] =
    ["working directory: ", "working in the directory: ", "working directory is ", "<cwd>", "current directory: "];

/// The call that does a step, or nothing where no tool offered can do it.
pub fn call(step: &Step, asked: &Asked, body: &str, dir: Option<&Path>) -> Option<Call> {
    let file = after(body, "fake-file: ", |c| c.is_alphanumeric() || "._-/".contains(c)).unwrap_or(FILE);
    let place = working_dir(body).or_else(|| dir.map(Path::to_owned)).unwrap_or_default().join(file);
    let place = place.display().to_string();
    let custom = |name: &str| asked.tools.iter().any(|tool| tool.name == name && tool.custom);
    let (name, input) = match step {
        Step::Write => write(&asked.tools, file, &place)?,
        Step::Edit => edit(&asked.tools, file, &place)?,
        // Some agents end a loop of one and the same command by themselves.
        Step::Shell(command) => shell(&asked.tools, &command.replace("{n}", &asked.results.to_string()))?,
    };
    let custom = custom(name);
    let input = if input.is_string() && !custom { json!({"input": input, "patchText": input}) } else { input };
    Some(Call { name: name.to_owned(), input, custom })
}

fn has(tools: &[Tool], name: &str) -> bool {
    tools.iter().any(|tool| tool.name == name)
}

fn write(tools: &[Tool], file: &str, place: &str) -> Option<(&'static str, Value)> {
    let text = "hello world\n";
    if has(tools, "Write") {
        return Some(("Write", json!({"file_path": place, "content": text})));
    }
    if has(tools, "write_file") {
        return Some(("write_file", json!({"file_path": place, "content": text})));
    }
    if has(tools, "write") {
        return Some(("write", json!({"filePath": file, "content": text})));
    }
    if has(tools, "apply_patch") {
        let patch = format!("*** Begin Patch\n*** Add File: {file}\n+hello world\n*** End Patch\n");
        return Some(("apply_patch", json!(patch)));
    }
    shell(tools, &format!("printf 'hello world\\n' > {file}"))
}

fn edit(tools: &[Tool], file: &str, place: &str) -> Option<(&'static str, Value)> {
    let (old, new) = ("world", "maestro");
    let snake = json!({"file_path": place, "old_string": old, "new_string": new});
    if has(tools, "Edit") {
        return Some(("Edit", snake));
    }
    if has(tools, "replace") {
        let mut with_reason = snake;
        with_reason["instruction"] = json!("greet the maestro");
        return Some(("replace", with_reason));
    }
    if has(tools, "edit") && has(tools, "write") {
        return Some(("edit", json!({"filePath": file, "oldString": old, "newString": new})));
    }
    if has(tools, "edit") {
        return Some(("edit", snake));
    }
    if has(tools, "apply_patch") {
        let change = "@@\n-hello world\n+hello maestro";
        let patch = format!("*** Begin Patch\n*** Update File: {file}\n{change}\n*** End Patch\n");
        return Some(("apply_patch", json!(patch)));
    }
    shell(tools, &format!("sed -i s/world/maestro/ {file}"))
}

fn shell(tools: &[Tool], command: &str) -> Option<(&'static str, Value)> {
    let list = json!({"command": ["bash", "-lc", command]});
    let known = [
        ("Bash", json!({"command": command, "description": "run"})),
        ("run_shell_command", json!({"command": command, "description": "run", "is_background": false})),
        ("bash", json!({"command": command, "description": "run"})),
        ("exec_command", json!({"cmd": command, "yield_time_ms": 30_000})),
        ("shell_command", json!({"command": command})),
        ("shell", list.clone()),
        ("local_shell", list),
    ];
    known.into_iter().find(|(name, _)| has(tools, name))
}

/// The working directory that a request tells of.
fn working_dir(body: &str) -> Option<PathBuf> {
    let lower = body.to_ascii_lowercase();
    let start = BEFORE_CWD.iter().filter_map(|mark| Some(lower.find(mark)? + mark.len())).min()?;
    let path = body[start..].split(|c: char| "\\\"<\n`".contains(c)).next()?.trim_end_matches(['.', ' ']);
    path.starts_with('/').then(|| PathBuf::from(path))
}

/// The word after a mark.
fn after<'a>(body: &'a str, mark: &str, holds: fn(char) -> bool) -> Option<&'a str> {
    let rest = &body[body.find(mark)? + mark.len()..];
    let end = rest.find(|c| !holds(c)).unwrap_or(rest.len());
    Some(&rest[..end]).filter(|word| !word.is_empty())
}
