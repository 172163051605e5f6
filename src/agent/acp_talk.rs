//! The client's side of the Agent Client Protocol as a conversation: what it says, given what it hears. It keeps no
//! pipe and no clock; `acp_client` does.
//!
//! In: lines of the agent. Out: what to send it, and what to note. Files and terminals are not offered: an agent that
//! asks for them all the same is told that there is no such method, and uses its own hands.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::acp_choice::{choose_model, most_permissive, new_session, takes_role};
use super::acp_message::{INITIALIZE, NEW_SESSION, PROMPT, SET_MODE, SET_MODEL};
use super::acp_permit::{Permit, permit};

const METHOD_NOT_FOUND: i64 = -32_601;
/// What comes of a line.
#[derive(Debug, PartialEq)]
pub(super) enum Say {
    /// To the agent.
    Send(Value),
    /// To whoever reads our standard output.
    Note(Value),
}

/// A conversation.
#[derive(Default)]
pub(super) struct Talk {
    cwd: String,
    prompt: String,
    /// The model that is asked for.
    model: Option<String>,
    /// What stands before the prompt, where the agent does not take it with the session.
    role: Option<String>,
    /// What claude's agent is told of settings.
    claude: Value,
    only_greets: bool,
    session: Option<String>,
    /// Requests that come before the prompt: id, method, parameters besides the session.
    next: VecDeque<(u64, &'static str, Map<String, Value>)>,
    /// The request whose answer is awaited; none once all is said.
    awaited: Option<u64>,
    cancelled: bool,
    /// Set once the prompt is answered or cannot be: whether the agent says that it is done.
    over: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Head {
    id: Option<Value>,
    method: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Reply {
    result: Option<Value>,
    error: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Outcome {
    protocol_version: Option<u64>,
    session_id: Option<String>,
    stop_reason: Option<String>,
}

impl Talk {
    /// A conversation about one prompt, with the model of that name where one is named. `cwd` is absolute.
    pub(super) fn new(cwd: String, prompt: String, model: Option<String>) -> Self {
        Self { cwd, prompt, model, ..Self::default() }
    }

    /// With what the task's role adds to the agent's own instructions.
    pub(super) fn with_role(self, role: Option<String>) -> Self {
        Self { role, ..self }
    }

    /// With what claude's agent is told of settings.
    pub(super) fn with_claude(self, claude: Value) -> Self {
        Self { claude, ..self }
    }

    /// A conversation that ends when the agent has said who it is.
    pub(super) fn greeting() -> Self {
        Self { only_greets: true, ..Self::default() }
    }

    /// The first word.
    pub(super) fn open(&mut self) -> Value {
        let nothing = json!({"fs": {"readTextFile": false, "writeTextFile": false}, "terminal": false});
        let client = json!({"name": "maestro-ci", "version": env!("CARGO_PKG_VERSION")});
        let params = json!({"protocolVersion": 1, "clientCapabilities": nothing, "clientInfo": client});
        self.ask(INITIALIZE, "initialize", params)
    }

    /// What comes of a line of the agent. What is no message is passed over.
    pub(super) fn hear(&mut self, line: &str) -> Vec<Say> {
        let Ok(head) = serde_json::from_str::<Head>(line) else { return Vec::new() };
        match (head.method.as_deref(), head.id) {
            (Some("session/request_permission"), Some(id)) => self.permit(&id, line),
            (Some(_), Some(id)) => {
                let error = json!({"code": METHOD_NOT_FOUND, "message": "the client does not offer this method"});
                vec![Say::Send(json!({"jsonrpc": "2.0", "id": id, "error": error}))]
            }
            (None, Some(id)) if id.as_u64().is_some() && id.as_u64() == self.awaited => self.answered(line),
            _ => Vec::new(),
        }
    }

    /// Ends the agent's turn: what to send, where the prompt is out.
    pub(super) fn cancel(&mut self) -> Option<Value> {
        let first = !std::mem::replace(&mut self.cancelled, true);
        let session = self.session.as_ref().filter(|_| first && self.awaited == Some(PROMPT))?;
        Some(json!({"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": session}}))
    }

    /// Set once all is said: whether the agent says that it is done.
    pub(super) fn over(&self) -> Option<bool> {
        self.over
    }

    fn ask(&mut self, id: u64, method: &str, params: Value) -> Value {
        self.awaited = Some(id);
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
    }

    /// The answer to the request that is awaited, and with it the next step.
    fn answered(&mut self, line: &str) -> Vec<Say> {
        let asked = self.awaited.take();
        let reply: Reply = serde_json::from_str(line).unwrap_or_default();
        // A mode is only a wish.
        if let Some(error) = reply.error.filter(|_| asked != Some(SET_MODE)) {
            return self.end(false, json!({"maestro": "acp", "did": "end", "error": error}));
        }
        let result = reply.result.unwrap_or_default();
        let outcome = Outcome::deserialize(&result).unwrap_or_default();
        match asked {
            Some(SET_MODE | SET_MODEL) => self.go_on(),
            Some(INITIALIZE) if outcome.protocol_version.is_some_and(|version| version != 1) => {
                self.fail("the agent does not speak version 1 of the protocol")
            }
            Some(INITIALIZE) if self.only_greets => self.end(true, json!({"maestro": "acp", "did": "end"})),
            Some(INITIALIZE) => {
                let agent = result["agentInfo"]["name"].as_str().unwrap_or_default();
                let role = if takes_role(agent) { self.role.take() } else { None };
                let params = new_session(&self.cwd, role.as_deref(), &self.claude);
                vec![Say::Send(self.ask(NEW_SESSION, "session/new", params))]
            }
            Some(NEW_SESSION) => self.opened(&result, outcome),
            _ => match outcome.stop_reason {
                Some(reason) => {
                    let done = reason == "end_turn";
                    self.end(done, json!({"maestro": "acp", "did": "end", "stop": reason}))
                }
                None => self.fail("the agent's answer to the prompt has no stop reason"),
            },
        }
    }

    /// There is a session: the model that is asked for, the most permissive mode, then the prompt.
    fn opened(&mut self, result: &Value, outcome: Outcome) -> Vec<Say> {
        let Some(session) = outcome.session_id else { return self.fail("the agent opened no session") };
        self.session = Some(session);
        if let Some(model) = &self.model {
            match choose_model(result, model) {
                Ok(choice) => self.next.extend(choice.map(|(method, params)| (SET_MODEL, method, params))),
                Err(error) => {
                    return self.end(false, json!({"maestro": "acp", "did": "failed", "why": "model", "error": error}));
                }
            }
        }
        if let Some(mode) = most_permissive(result) {
            let params = Map::from_iter([("modeId".to_owned(), json!(mode))]);
            self.next.push_back((SET_MODE, "session/set_mode", params));
        }
        self.go_on()
    }

    /// The next request; the prompt where no other is left.
    fn go_on(&mut self) -> Vec<Say> {
        let Some((id, method, mut params)) = self.next.pop_front() else { return vec![self.prompt()] };
        let note = json!({"maestro": "acp", "did": "set", "method": method, "params": params});
        params.insert("sessionId".to_owned(), json!(self.session));
        vec![Say::Note(note), Say::Send(self.ask(id, method, Value::Object(params)))]
    }

    fn prompt(&mut self) -> Say {
        let prompt = std::mem::take(&mut self.prompt);
        let text = self.role.as_ref().map_or(prompt.clone(), |role| format!("{}\n\n{prompt}", role.trim()));
        let params = json!({"sessionId": self.session, "prompt": [{"type": "text", "text": text}]});
        Say::Send(self.ask(PROMPT, "session/prompt", params))
    }

    fn permit(&self, id: &Value, line: &str) -> Vec<Say> {
        let Permit { tool, name, done, outcome } = permit(line, self.cancelled);
        vec![
            Say::Note(json!({"maestro": "acp", "did": "permission", "tool": tool, "name": name, "outcome": done})),
            Say::Send(json!({"jsonrpc": "2.0", "id": id, "result": {"outcome": outcome}})),
        ]
    }

    fn fail(&mut self, error: &str) -> Vec<Say> {
        self.end(false, json!({"maestro": "acp", "did": "failed", "error": error}))
    }

    fn end(&mut self, done: bool, note: Value) -> Vec<Say> {
        self.over = Some(done);
        vec![Say::Note(note)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(talk: &mut Talk, line: &Value) -> Vec<Say> {
        talk.hear(&line.to_string())
    }

    /// What is sent, without the notes.
    fn sent(talk: &mut Talk, line: &Value) -> Vec<Value> {
        let says = hear(talk, line).into_iter();
        says.filter_map(|say| if let Say::Send(value) = say { Some(value) } else { None }).collect()
    }

    fn session(modes: &[&str]) -> Value {
        let modes: Vec<Value> = modes.iter().map(|id| json!({"id": id, "name": "x"})).collect();
        json!({"id": NEW_SESSION, "result": {"sessionId": "s1", "modes": {"availableModes": modes}}})
    }

    /// A conversation whose prompt is out.
    fn prompted() -> Talk {
        let mut talk = Talk::new("/w".to_owned(), "do it".to_owned(), None);
        talk.open();
        sent(&mut talk, &json!({"id": INITIALIZE, "result": {"protocolVersion": 1}}));
        sent(&mut talk, &session(&[]));
        assert_eq!(talk.awaited, Some(PROMPT));
        talk
    }

    #[track_caller]
    fn check_mode(offered: &[&str], expected: Option<&str>) {
        let mut talk = Talk::new("/w".to_owned(), "do it".to_owned(), None);
        talk.open();
        let new = sent(&mut talk, &json!({"id": INITIALIZE, "result": {"protocolVersion": 1}}));
        assert_eq!(new[0]["params"], new_session("/w", None, &Value::Null));
        let mut next = sent(&mut talk, &session(offered));
        if let Some(mode) = expected {
            assert_eq!(next[0]["params"], json!({"sessionId": "s1", "modeId": mode}));
            next = sent(&mut talk, &json!({"id": SET_MODE, "error": {"code": -32602, "message": "no"}}));
        }
        assert_eq!(next[0]["method"], "session/prompt");
        assert_eq!(next[0]["params"]["prompt"], json!([{"type": "text", "text": "do it"}]));
    }

    #[test]
    fn the_most_permissive_mode_is_set_and_a_refusal_of_it_changes_nothing() {
        check_mode(&["default", "auto", "bypassPermissions"], Some("bypassPermissions"));
        check_mode(&["plan", "auto", "yolo"], Some("yolo"));
        check_mode(&["read-only", "auto", "full-access"], Some("full-access"));
        check_mode(&["plan", "build"], None);
        check_mode(&[], None);
    }

    #[test]
    fn the_model_is_set_first_and_a_refusal_of_it_ends_the_conversation() {
        let mut talk = Talk::new("/w".to_owned(), "do it".to_owned(), Some("m".to_owned()));
        talk.open();
        sent(&mut talk, &json!({"id": INITIALIZE, "result": {"protocolVersion": 1}}));
        let modes = json!({"availableModes": [{"id": "yolo"}]});
        let result = json!({"sessionId": "s1", "modes": modes, "models": {"availableModels": [{"modelId": "m"}]}});
        let set = sent(&mut talk, &json!({"id": NEW_SESSION, "result": result}));
        assert_eq!(set[0]["method"], "session/set_model");
        assert_eq!(set[0]["params"], json!({"sessionId": "s1", "modelId": "m"}));
        let mode = sent(&mut talk, &json!({"id": SET_MODEL, "result": null}));
        assert_eq!(mode[0]["params"], json!({"sessionId": "s1", "modeId": "yolo"}));
        assert_eq!(sent(&mut talk, &json!({"id": SET_MODE, "result": {}}))[0]["method"], "session/prompt");

        let mut talk = Talk::new("/w".to_owned(), "do it".to_owned(), Some("n".to_owned()));
        talk.open();
        sent(&mut talk, &json!({"id": INITIALIZE, "result": {"protocolVersion": 1}}));
        assert!(sent(&mut talk, &json!({"id": NEW_SESSION, "result": result})).is_empty());
        assert_eq!(talk.over(), Some(false));
    }

    /// A role, an agent's name; what the session's system prompt gets, and the prompt.
    #[track_caller]
    fn check_role(agent: &str, appended: Value, prompt: &str) {
        let mut talk = Talk::new("/w".to_owned(), "do it".to_owned(), None).with_role(Some("You are it.\n".to_owned()));
        talk.open();
        let hello = json!({"protocolVersion": 1, "agentInfo": {"name": agent}});
        let new = sent(&mut talk, &json!({"id": INITIALIZE, "result": hello}));
        let meta = &new[0]["params"]["_meta"];
        assert_eq!(meta["systemPrompt"]["append"], appended);
        assert_eq!(sent(&mut talk, &session(&[]))[0]["params"]["prompt"][0]["text"], prompt);
    }

    #[test]
    fn a_role_goes_where_the_agent_is_known_to_take_it() {
        check_role("@agentclientprotocol/claude-agent-acp", json!("You are it.\n"), "do it");
        check_role("gemini", Value::Null, "You are it.\n\ndo it");
    }

    #[test]
    fn claudes_agent_hears_of_settings_with_its_session() {
        let told = json!({"strictMcpConfig": true});
        let mut talk = Talk::new("/w".to_owned(), "do it".to_owned(), None).with_claude(told.clone());
        talk.open();
        let new = sent(&mut talk, &json!({"id": INITIALIZE, "result": {"protocolVersion": 1}}));
        assert_eq!(new[0]["params"]["_meta"]["claudeCode"]["options"], told);
    }

    #[test]
    fn a_greeting_ends_with_the_answer_to_it() {
        let mut talk = Talk::greeting();
        assert_eq!(talk.open()["method"], "initialize");
        hear(&mut talk, &json!({"id": INITIALIZE, "result": {"protocolVersion": 1, "agentInfo": {"version": "1"}}}));
        assert_eq!(talk.over(), Some(true));
    }

    #[test]
    fn a_permission_is_answered_under_the_id_of_its_request() {
        let params = json!({"options": [{"optionId": "y", "kind": "allow_once"}], "toolCall": {"toolCallId": "t"}});
        let ask = json!({"id": "p7", "method": "session/request_permission", "params": params});
        let outcome = json!({"outcome": "selected", "optionId": "y"});
        let answer = json!({"jsonrpc": "2.0", "id": "p7", "result": {"outcome": outcome}});
        assert_eq!(sent(&mut prompted(), &ask), [answer]);
    }

    #[test]
    fn a_request_for_what_is_not_offered_is_answered_all_the_same() {
        let ask = json!({"id": 0, "method": "fs/read_text_file", "params": ["odd"]});
        let answer = sent(&mut prompted(), &ask);
        assert_eq!(answer[0]["error"]["code"], METHOD_NOT_FOUND);
        assert_eq!(answer[0]["id"], 0);
    }

    #[test]
    fn the_answer_to_the_prompt_ends_it_once() {
        for (result, done) in [(json!({"stopReason": "end_turn"}), true), (json!({"stopReason": "refusal"}), false)] {
            let mut talk = prompted();
            assert_eq!(talk.over(), None);
            hear(&mut talk, &json!({"id": PROMPT, "result": result}));
            assert_eq!(talk.over(), Some(done));
            assert!(hear(&mut talk, &session(&["yolo"])).is_empty());
        }
    }

    #[test]
    fn errors_before_the_prompt_end_it() {
        let mut talk = Talk::new("/w".to_owned(), String::new(), None);
        talk.open();
        hear(&mut talk, &json!({"id": INITIALIZE, "error": {"code": -32000, "message": "log in"}}));
        assert_eq!(talk.over(), Some(false));
    }

    #[test]
    fn a_cancel_is_sent_once_and_only_where_there_is_a_turn() {
        let mut talk = prompted();
        assert_eq!(talk.cancel().unwrap()["method"], "session/cancel");
        assert_eq!(talk.cancel(), None);
        assert_eq!(Talk::new("/w".to_owned(), String::new(), None).cancel(), None);
    }

    #[test]
    fn noise_is_passed_over() {
        let mut talk = prompted();
        for line in ["", "log: hello", "[1,2]", r#"{"id":{}}"#, r#"{"id":99,"result":{"stopReason":"end_turn"}}"#] {
            assert!(talk.hear(line).is_empty());
        }
        assert_eq!(talk.over(), None);
    }
}
