//! What an ACP session is set to: what it loads when it is opened; then, of what the agent offers, its mode and its
//! model. In: a role; the answer to `session/new`, and a model's name. Out: parameters; a mode; the request that chooses
//! the model, or why it cannot be chosen. Two ways to choose a model are in use: a configuration option of the category
//! `model`, and a list of `models`.

use serde_json::{Map, Value, json};

/// A request: its method, and its parameters besides the session.
pub(super) type Choice = (&'static str, Map<String, Value>);

/// Modes in which nobody is asked, the most permissive first: claude, gemini and qwen, codex; then those that decide
/// by themselves. Any other mode's name says nothing to us.
const MODES: [&str; 4] = ["bypasspermissions", "yolo", "fullaccess", "auto"];
/// Models named in a message at most.
const MAX_NAMED: usize = 12;

/// The agent that is known to add a role to its system prompt (its `agentInfo.name`; measured with 0.100.0).
const TAKES_ROLE: &str = "@agentclientprotocol/claude-agent-acp";

/// True for an agent that takes a role with `session/new`; others are told with the prompt.
pub(super) fn takes_role(agent: &str) -> bool {
    agent == TAKES_ROLE
}

/// Parameters of `session/new`. `claude` is for claude's agent, as its `options`; others pass `_meta` over.
pub(super) fn new_session(cwd: &str, role: Option<&str>, claude: &Value) -> Value {
    let mut meta = json!({"claudeCode": {"options": claude}});
    if let Some(role) = role {
        meta["systemPrompt"] = json!({"append": role});
    }
    json!({"cwd": cwd, "mcpServers": [], "_meta": meta})
}

/// The mode that asks least, by the letters of its id alone: `bypassPermissions`, `full-access`.
pub(super) fn most_permissive(session: &Value) -> Option<&str> {
    let offered = session["modes"]["availableModes"].as_array()?;
    let ids: Vec<&str> = offered.iter().filter_map(|mode| mode["id"].as_str()).collect();
    let letters = |id: &str| id.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    MODES.iter().find_map(|name| ids.iter().copied().find(|id| letters(id) == *name))
}

/// The request that chooses `wanted`, which is a model's id or its name in the agent's own list; none where it is chosen
/// already (some agents ask their API about each choice).
///
/// # Errors
/// The agent offers no choice, or not this one; the message says which.
pub(super) fn choose_model(session: &Value, wanted: &str) -> Result<Option<Choice>, String> {
    let options = session.get("configOptions").and_then(Value::as_array).into_iter().flatten();
    let option = options.into_iter().find(|option| option["category"] == "model" || option["id"] == "model");
    let (method, key, current, models) = if let Some(option) = option {
        let models = offered(&option["options"], "value");
        ("session/set_config_option", "value", &option["currentValue"], models)
    } else {
        let list = &session["models"];
        ("session/set_model", "modelId", &list["currentModelId"], offered(&list["availableModels"], "modelId"))
    };
    let by = |field: fn(&(String, String)) -> &String| models.iter().find(|model| field(model) == wanted);
    let Some((id, _)) = by(|(id, _)| id).or_else(|| by(|(_, name)| name)) else {
        return Err(not_offered(wanted, &models));
    };
    if current == id {
        return Ok(None);
    }
    let mut params = Map::new();
    if let Some(option) = option {
        params.insert("configId".to_owned(), option["id"].clone());
    }
    params.insert(key.to_owned(), json!(id));
    Ok(Some((method, params)))
}

/// Id and name of each entry; an entry may be a group of them.
fn offered(list: &Value, key: &str) -> Vec<(String, String)> {
    let word = |value: &Value| value.as_str().map(str::to_owned);
    let entries = list.as_array().into_iter().flatten();
    let group = |entry: &'_ Value| entry["options"].as_array().cloned().unwrap_or_else(|| vec![entry.clone()]);
    let flat = entries.flat_map(group);
    flat.filter_map(|entry| Some((word(&entry[key])?, word(&entry["name"]).unwrap_or_default()))).collect()
}

fn not_offered(wanted: &str, models: &[(String, String)]) -> String {
    let way = "leave `model` out and choose it where the agent's command or its variables take it";
    if models.is_empty() {
        return format!("the agent lets no client choose its model, so it cannot be `{wanted}`; {way}");
    }
    let named: Vec<&str> = models.iter().take(MAX_NAMED).map(|(id, _)| id.as_str()).collect();
    format!("the agent does not offer the model `{wanted}`; it offers {}; or {way}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(session: &Value, wanted: &str, expected: (&str, Value)) {
        let (method, params) = choose_model(session, wanted).unwrap().unwrap();
        assert_eq!((method, Value::Object(params)), expected, "{wanted}");
    }

    fn with_option(options: &Value) -> Value {
        let mode = json!({"id": "mode", "category": "mode", "options": [{"value": "plan", "name": "Plan"}]});
        json!({"configOptions": [mode, {"id": "llm", "category": "model", "options": options}]})
    }

    #[test]
    fn a_model_is_chosen_by_id_or_name_in_whichever_way_the_agent_offers() {
        let option = with_option(&json!([{"value": "opus", "name": "Opus 5.5"}, {"value": "m|x", "name": "x"}]));
        let set = |value: &str| ("session/set_config_option", json!({"configId": "llm", "value": value}));
        check(&option, "opus", set("opus"));
        check(&option, "x", set("m|x"));
        let grouped = with_option(&json!([{"group": "a", "name": "A", "options": [{"value": "a/b", "name": "B"}]}]));
        check(&grouped, "a/b", set("a/b"));
        let list = json!({"models": {"availableModels": [{"modelId": "auto"}, {"modelId": "pro", "name": "auto"}]}});
        check(&list, "auto", ("session/set_model", json!({"modelId": "auto"})));
        check(&list, "pro", ("session/set_model", json!({"modelId": "pro"})));
    }

    #[test]
    fn a_model_that_is_chosen_already_is_not_chosen_again() {
        let options = json!([{"value": "opus", "name": "Opus 5.5"}]);
        let option = json!({"configOptions": [{"id": "model", "currentValue": "opus", "options": options}]});
        assert_eq!(choose_model(&option, "Opus 5.5"), Ok(None));
        let list = json!({"models": {"currentModelId": "pro", "availableModels": [{"modelId": "pro"}]}});
        assert_eq!(choose_model(&list, "pro"), Ok(None));
    }

    #[test]
    fn a_model_that_is_not_offered_is_an_error_that_names_those_that_are() {
        let option = with_option(&json!([{"value": "opus", "name": "Opus 5.5"}]));
        assert!(choose_model(&option, "sonnet").unwrap_err().contains("it offers opus; or leave"));
        let nothing = choose_model(&json!({"models": "odd", "configOptions": {}}), "sonnet").unwrap_err();
        assert!(nothing.contains("lets no client choose its model"), "{nothing}");
    }
}
