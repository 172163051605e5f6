//! How an ACP agent's request for permission is answered. In: the request as it came, and whether the turn is cancelled.
//! Out: what is sent, and what is noted about it. Ids of options are the agent's own and mean nothing; kinds do.

use serde::Deserialize;
use serde_json::{Value, json};

const ALLOWING: [&str; 2] = ["allow_always", "allow_once"];
const DENYING: [&str; 2] = ["reject_once", "reject_always"];

/// An answer.
#[derive(Debug, PartialEq)]
pub(super) struct Permit {
    /// Id of the tool call, as the agent has it.
    pub(super) tool: String,
    /// What kind of tool it is: `edit`, `execute`, …; may be empty.
    pub(super) name: String,
    /// What was done about it: the kind of the option, `denied` or `cancelled`.
    pub(super) done: String,
    /// What is sent.
    pub(super) outcome: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    params: Params,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Params {
    options: Vec<Choice>,
    tool_call: ToolCall,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Choice {
    option_id: String,
    kind: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ToolCall {
    tool_call_id: String,
    kind: String,
}

/// Allows, by kind. Denies where no answer allows; after a cancel every request is cancelled, too.
pub(super) fn permit(line: &str, cancelled: bool) -> Permit {
    let Params { options, tool_call } = serde_json::from_str::<Asked>(line).unwrap_or_default().params;
    let of_kind =
        |kinds: [&str; 2]| kinds.into_iter().find_map(|kind| options.iter().find(|choice| choice.kind == kind));
    let (choice, done) = match (cancelled, of_kind(ALLOWING)) {
        (true, _) => (None, "cancelled"),
        (false, Some(choice)) => (Some(choice), choice.kind.as_str()),
        (false, None) => (of_kind(DENYING), "denied"),
    };
    let outcome = match choice {
        Some(choice) => json!({"outcome": "selected", "optionId": choice.option_id}),
        None => json!({"outcome": "cancelled"}),
    };
    Permit { tool: tool_call.tool_call_id, name: tool_call.kind, done: done.to_owned(), outcome }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kinds: &[&str], cancelled: bool, done: &str, expected: &Value) {
        let option = |kind: &&str| json!({"optionId": format!("id-{kind}"), "kind": kind});
        let options: Vec<Value> = kinds.iter().map(option).collect();
        let params = json!({"options": options, "toolCall": {"toolCallId": "t", "kind": "edit"}});
        let permit = permit(&json!({"id": "p7", "params": params}).to_string(), cancelled);
        assert_eq!((permit.tool.as_str(), permit.name.as_str(), permit.done.as_str()), ("t", "edit", done));
        assert_eq!(permit.outcome, *expected);
    }

    #[test]
    fn permissions_are_answered_by_kind() {
        let selected = |id: &str| json!({"outcome": "selected", "optionId": id});
        let kinds = ["reject_once", "allow_once", "allow_always"];
        check(&kinds, false, "allow_always", &selected("id-allow_always"));
        check(&["allow_once", "reject_once"], false, "allow_once", &selected("id-allow_once"));
        check(&["reject_once"], false, "denied", &selected("id-reject_once"));
        check(&[], false, "denied", &json!({"outcome": "cancelled"}));
        check(&kinds, true, "cancelled", &json!({"outcome": "cancelled"}));
    }
}
