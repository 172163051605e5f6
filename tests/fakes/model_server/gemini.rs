//! Gemini generateContent and streamGenerateContent.

use serde_json::{Value, json};

use super::answer::{Answer, Asked, Billed, Stop, event, names, with_usage};

pub fn read(path: &str, body: &Value) -> Asked {
    let name = path.split("/models/").nth(1).and_then(|rest| rest.split(':').next());
    let config = &body["generationConfig"];
    let declared = body["tools"].as_array().into_iter().flatten();
    let contents = body["contents"].as_array().into_iter().flatten();
    let parts = contents.flat_map(|content| content["parts"].as_array().into_iter().flatten());
    let json = config["responseMimeType"] == "application/json" || config["responseSchema"].is_object();
    Asked {
        model: name.unwrap_or_default().to_owned(),
        streams: path.contains(":streamGenerateContent"),
        tools: declared.flat_map(|tool| names(&tool["functionDeclarations"])).collect(),
        results: parts.filter(|part| part["functionResponse"].is_object()).count(),
        cap: config["maxOutputTokens"].as_u64(),
        wants_usage: true,
        wants_json: json || config["responseJsonSchema"].is_object(),
    }
}

fn told(usage: Billed) -> Value {
    json!({
        "promptTokenCount": usage.input, "cachedContentTokenCount": usage.cached,
        "candidatesTokenCount": usage.output - usage.reasoning, "thoughtsTokenCount": usage.reasoning,
        "totalTokenCount": usage.input + usage.output,
    })
}

/// What is known while the answer is being written.
fn told_early(usage: Billed) -> Value {
    json!({
        "promptTokenCount": usage.input, "cachedContentTokenCount": usage.cached, "candidatesTokenCount": 1,
        "totalTokenCount": usage.input + 1,
    })
}

fn response(answer: &Answer, parts: Value, finish: Option<&str>, usage: Option<Value>) -> Value {
    let mut candidate = json!({"content": {"role": "model", "parts": parts}, "index": 0});
    if let Some(finish) = finish {
        candidate["finishReason"] = json!(finish);
    }
    let response = json!({"candidates": [candidate], "modelVersion": answer.model, "responseId": answer.id});
    with_usage(response, "usageMetadata", usage)
}

fn call(answer: &Answer) -> Option<Value> {
    let call = answer.call.as_ref()?;
    let called = json!({"id": format!("fc{}", answer.id), "name": call.name, "args": call.input});
    Some(json!({"functionCall": called}))
}

fn finish(answer: &Answer) -> &'static str {
    if answer.stop == Stop::Cap { "MAX_TOKENS" } else { "STOP" }
}

pub fn document(answer: &Answer) -> Value {
    let said = (!answer.text.is_empty()).then(|| json!({"text": answer.text}));
    let parts: Vec<Value> = said.into_iter().chain(call(answer)).collect();
    response(answer, json!(parts), Some(finish(answer)), answer.usage.map(told))
}

pub fn delta(answer: &Answer, text: &str) -> String {
    let early = answer.usage.filter(|_| answer.early).map(told_early);
    event(None, &response(answer, json!([{"text": text}]), None, early))
}

pub fn ending(answer: &Answer) -> String {
    let parts: Vec<Value> = call(answer).into_iter().collect();
    let parts = if parts.is_empty() { json!([{"text": ""}]) } else { json!(parts) };
    event(None, &response(answer, parts, Some(finish(answer)), answer.usage.map(told)))
}

pub fn error(status: u16, message: &str) -> Value {
    let name = match status {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        _ => "INTERNAL",
    };
    json!({"error": {"code": status, "message": message, "status": name}})
}
