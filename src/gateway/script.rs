//! A model of our own for `check`: it has an agent write one file with its own tool, where that is offered, and another
//! with a shell command, then says that it is done. So `check` proves that an agent's tools work inside the walls,
//! without a key and without a network; a shell is what fails silently there. In: an agent's request in any dialect.
//! Out: the response that a model API would give.

use std::path::Path;

use serde_json::{Value, json};

use super::dialect::{Dialect, Request};
use super::script_shapes as shapes;

/// The file that the agent's own tool for files writes, in its working directory.
pub const PROBE_WRITTEN: &str = "maestro-ci-probe-written.txt";
/// The file that the shell command writes there; it holds the content only if every call that was asked for worked.
pub const PROBE_RUN: &str = "maestro-ci-probe-run.txt";
/// What stands in them.
pub const PROBE_CONTENT: &str = "ok";

/// What the model says once that is done.
const DONE: &str = "The probe files are written.";
/// What it says to a request without tools: agents ask for titles and summaries on the side.
const ASIDE: &str = "Probe";

/// What the model does next.
pub(super) enum Turn {
    /// Call this tool with this input: an object, or a text for a tool that takes free text.
    Tool {
        /// Its name, as the agent offers it.
        name: String,
        /// Its input.
        input: Value,
        /// It takes free text.
        free_text: bool,
    },
    /// Say this.
    Say(String),
}

/// A tool that an agent offers.
#[derive(Debug, PartialEq, Eq)]
struct Tool {
    name: String,
    free_text: bool,
}

/// Content type and body of the response. `body` is the request's.
pub(super) fn scripted(dialect: Dialect, request: &Request, body: &[u8], dir: &Path) -> (&'static str, Vec<u8>) {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let results = tool_results(dialect, &body);
    let turn = turn(dialect, &body, results, dir);
    // Agents take two messages with one id for the same message.
    let id = format!("probe_{results}_{}", tools(dialect, &body).len());
    let answer = shapes::Answer { id: &id, model: &request.model, turn: &turn };
    if request.streams {
        ("text/event-stream", answer.stream(dialect).into_bytes())
    } else {
        ("application/json", answer.document(dialect).to_string().into_bytes())
    }
}

/// The answer to whatever spends no tokens: a count of tokens in two dialects, a list of no models.
pub(super) fn free() -> String {
    json!({"input_tokens": 1, "totalTokens": 1, "object": "list", "data": [], "models": []}).to_string()
}

fn turn(dialect: Dialect, body: &Value, results: usize, dir: &Path) -> Turn {
    if dialect == Dialect::Gemini && body["generationConfig"]["responseMimeType"] == "application/json" {
        return Turn::Say(shapes::gemini_aside().to_string());
    }
    let tools = tools(dialect, body);
    let written = write_call(&tools, dir);
    let run = shell_call(&tools, dir, written.is_some());
    // One call after the other: each result in the history is one that is done.
    let mut calls = written.into_iter().chain(run).skip(results);
    calls.next().unwrap_or_else(|| Turn::Say(if tools.is_empty() { ASIDE } else { DONE }.to_owned()))
}

/// The call that writes a file, by the tools of the agents that are known.
fn write_call(tools: &[Tool], dir: &Path) -> Option<Turn> {
    let path = dir.join(PROBE_WRITTEN);
    let path = path.to_string_lossy();
    let edit = format!("*** Begin Patch\n*** Add File: {PROBE_WRITTEN}\n+{PROBE_CONTENT}\n*** End Patch\n");
    let inputs = [
        ("Write", json!({"file_path": path, "content": PROBE_CONTENT})),
        ("write_file", json!({"file_path": path, "content": PROBE_CONTENT})),
        ("write", json!({"filePath": path, "content": PROBE_CONTENT})),
        // Codex and opencode have the same tool with another name for its text.
        ("apply_patch", json!({"input": edit, "patchText": edit})),
        // With some models codex has one tool for all: a program that calls the others.
        ("exec", json!({"input": format!("text(await tools.apply_patch({}));", json!(edit))})),
    ];
    call_of(tools, inputs)
}

/// The call of a shell that writes a file, by the tools of the agents that are known. Where one was to be `written`
/// before, it copies that: so its own holds the content only if both calls worked.
fn shell_call(tools: &[Tool], dir: &Path, written: bool) -> Option<Turn> {
    let path = |name: &str| quoted(&dir.join(name).to_string_lossy());
    let from = if written { format!("cat {}", path(PROBE_WRITTEN)) } else { format!("printf %s {PROBE_CONTENT}") };
    let shell = format!("{from} > {}", path(PROBE_RUN));
    let (in_bash, why) = (json!(["bash", "-lc", shell]), "Write the probe file");
    let inputs = [
        ("Bash", json!({"command": shell, "description": why})),
        ("run_shell_command", json!({"command": shell, "description": why, "is_background": false})),
        ("bash", json!({"command": shell, "description": why})),
        ("exec_command", json!({"cmd": shell, "yield_time_ms": 10_000})),
        ("shell_command", json!({"command": shell})),
        ("shell", json!({"command": in_bash})),
        ("local_shell", json!({"command": in_bash})),
        ("exec", json!({"input": format!("text(await tools.exec_command({}));", json!({"cmd": shell}))})),
    ];
    call_of(tools, inputs)
}

/// A call of the first of these tools that is offered.
fn call_of<const N: usize>(tools: &[Tool], inputs: [(&str, Value); N]) -> Option<Turn> {
    inputs.into_iter().find_map(|(name, input)| {
        let tool = tools.iter().find(|tool| is_named(&tool.name, name))?;
        let input = if tool.free_text { input["input"].clone() } else { input };
        Some(Turn::Tool { name: tool.name.clone(), input, free_text: tool.free_text })
    })
}

/// True for the name itself and behind the prefix of a tool server: `mcp__acp__Write`.
fn is_named(offered: &str, name: &str) -> bool {
    offered.strip_suffix(name).is_some_and(|prefix| prefix.is_empty() || prefix.ends_with("__"))
}

/// As one word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn tools(dialect: Dialect, body: &Value) -> Vec<Tool> {
    let offered = list(&body["tools"]);
    let named = |tool: &Value, name: &Value| {
        let name = name.as_str().or_else(|| tool["type"].as_str())?;
        Some(Tool { name: name.to_owned(), free_text: tool["type"] == "custom" && dialect == Dialect::Responses })
    };
    match dialect {
        Dialect::Anthropic => offered.iter().filter_map(|t| named(t, &t["name"])).collect(),
        Dialect::Responses => {
            // Also in the input, there in groups of one name each.
            let more = list(&body["input"]).iter().filter(|item| item["type"] == "additional_tools");
            let groups = more.flat_map(|item| list(&item["tools"])).flat_map(|group| list(&group["tools"]));
            offered.iter().chain(groups).filter_map(|t| named(t, &t["name"])).collect()
        }
        Dialect::Chat => offered.iter().filter_map(|t| named(t, &t["function"]["name"])).collect(),
        Dialect::Gemini => {
            let declared = offered.iter().flat_map(|t| list(&t["functionDeclarations"]));
            declared.filter_map(|t| named(t, &t["name"])).collect()
        }
    }
}

/// How many results of tools the history holds.
fn tool_results(dialect: Dialect, body: &Value) -> usize {
    let count = |items: &[Value], is: &dyn Fn(&Value) -> bool| items.iter().filter(|item| is(item)).count();
    match dialect {
        Dialect::Anthropic => {
            let messages = list(&body["messages"]).iter();
            messages.map(|m| count(list(&m["content"]), &|part: &Value| part["type"] == "tool_result")).sum()
        }
        Dialect::Responses => count(list(&body["input"]), &|item: &Value| {
            item["type"].as_str().is_some_and(|kind| kind.ends_with("_call_output"))
        }),
        Dialect::Chat => count(list(&body["messages"]), &|message: &Value| message["role"] == "tool"),
        Dialect::Gemini => {
            let contents = list(&body["contents"]).iter();
            contents.map(|c| count(list(&c["parts"]), &|part: &Value| part.get("functionResponse").is_some())).sum()
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(dialect: Dialect, body: &Value, expected: Option<&str>) {
        let results = tool_results(dialect, body);
        let tool = match turn(dialect, body, results, Path::new("/w")) {
            Turn::Tool { name, .. } => Some(name),
            Turn::Say(_) => None,
        };
        assert_eq!(tool.as_deref(), expected, "{body}");
    }

    #[test]
    fn each_agent_is_told_to_write_with_a_tool_of_its_own() {
        check(Dialect::Anthropic, &json!({"tools": [{"name": "Bash"}, {"name": "Write"}]}), Some("Write"));
        check(Dialect::Anthropic, &json!({"tools": [{"name": "mcp__acp__Write"}]}), Some("mcp__acp__Write"));
        let codex = json!({"tools": [{"type": "function", "name": "exec_command"}, {"type": "local_shell"}]});
        check(Dialect::Responses, &codex, Some("exec_command"));
        let group = json!({"type": "namespace", "name": "functions", "tools": [{"type": "custom", "name": "exec"}]});
        let codex = json!({"tools": [], "input": [{"type": "additional_tools", "tools": [group]}]});
        check(Dialect::Responses, &codex, Some("exec"));
        let chat = json!({"tools": [{"type": "function", "function": {"name": "write_file"}}]});
        check(Dialect::Chat, &chat, Some("write_file"));
        let gemini = json!({"tools": [{"functionDeclarations": [{"name": "run_shell_command"}]}]});
        check(Dialect::Gemini, &gemini, Some("run_shell_command"));
    }

    #[test]
    fn after_the_file_comes_the_shell_and_then_nothing() {
        let tools = json!([{"name": "Bash"}, {"name": "Write"}]);
        let result = json!({"role": "user", "content": [{"type": "tool_result"}]});
        check(Dialect::Anthropic, &json!({"tools": tools, "messages": [result]}), Some("Bash"));
        check(Dialect::Anthropic, &json!({"tools": tools, "messages": [result, result]}), None);
        check(Dialect::Anthropic, &json!({"tools": [{"name": "Bash"}], "messages": [result]}), None);
        let input = json!([{"type": "function_call_output"}]);
        check(Dialect::Responses, &json!({"tools": [{"name": "shell"}], "input": input}), None);
        let messages = json!([{"role": "tool"}]);
        check(Dialect::Chat, &json!({"tools": [{"function": {"name": "write"}}], "messages": messages}), None);
        let contents = json!([{"parts": [{"functionResponse": {}}]}]);
        let tools = json!([{"functionDeclarations": [{"name": "write_file"}]}]);
        check(Dialect::Gemini, &json!({"tools": tools, "contents": contents}), None);
    }

    #[test]
    fn without_tools_it_only_talks() {
        check(Dialect::Anthropic, &json!({}), None);
        check(Dialect::Chat, &json!({"tools": [{"function": {"name": "no_such_tool"}}]}), None);
    }

    #[test]
    fn a_patch_tool_takes_text_where_it_says_so() {
        let custom = [Tool { name: "apply_patch".to_owned(), free_text: true }];
        let Some(Turn::Tool { input, .. }) = write_call(&custom, Path::new("/w")) else { panic!("no call") };
        assert!(input.as_str().unwrap().contains("Add File: maestro-ci-probe-written.txt"), "{input}");
    }

    #[test]
    fn a_directory_is_one_word_for_a_shell() {
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }
}
