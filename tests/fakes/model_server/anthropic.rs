//! Anthropic Messages.

use serde_json::{Value, json};

use super::answer::{Answer, Asked, Billed, Stop, event, names};

pub fn read(body: &Value) -> Asked {
    let messages = body["messages"].as_array().into_iter().flatten();
    let parts = messages.flat_map(|message| message["content"].as_array().into_iter().flatten());
    Asked {
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        streams: body["stream"] == true,
        tools: names(&body["tools"]),
        results: parts.filter(|part| part["type"] == "tool_result").count(),
        cap: body["max_tokens"].as_u64(),
        wants_usage: true,
        wants_json: false,
    }
}

pub fn document(answer: &Answer) -> Value {
    let mut content = Vec::new();
    if !answer.text.is_empty() {
        content.push(json!({"type": "text", "text": answer.text}));
    }
    content.extend(tool_use(answer, true));
    let mut message = message(answer);
    message["content"] = json!(content);
    message["stop_reason"] = json!(stop_reason(answer));
    if let Some(usage) = answer.usage {
        message["usage"] = told(usage, usage.output);
    }
    message
}

fn message(answer: &Answer) -> Value {
    json!({
        "id": format!("msg_{}", answer.id), "type": "message", "role": "assistant", "model": answer.model,
        "content": [], "stop_reason": null, "stop_sequence": null,
    })
}

fn told(usage: Billed, output: u64) -> Value {
    json!({
        "input_tokens": usage.fresh(), "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached, "output_tokens": output, "service_tier": "standard",
    })
}

fn tool_use(answer: &Answer, whole: bool) -> Option<Value> {
    let call = answer.call.as_ref()?;
    let input = if whole { call.input.clone() } else { json!({}) };
    Some(json!({"type": "tool_use", "id": format!("toolu_{}", answer.id), "name": call.name, "input": input}))
}

fn stop_reason(answer: &Answer) -> &'static str {
    match answer.stop {
        Stop::Done => "end_turn",
        Stop::Tool => "tool_use",
        Stop::Cap => "max_tokens",
    }
}

fn named(data: &Value) -> String {
    event(data["type"].as_str(), data)
}

pub fn opening(answer: &Answer) -> String {
    let mut message = message(answer);
    if let Some(usage) = answer.usage.filter(|_| answer.early) {
        message["usage"] = told(usage, 1);
    }
    let mut out = named(&json!({"type": "message_start", "message": message})) + &named(&json!({"type": "ping"}));
    if !answer.text.is_empty() {
        out += &named(&json!({
            "type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""},
        }));
    }
    out
}

pub fn delta(text: &str) -> String {
    named(&json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}))
}

pub fn closing(answer: &Answer) -> String {
    let mut out = String::new();
    if !answer.text.is_empty() {
        out += &named(&json!({"type": "content_block_stop", "index": 0}));
    }
    let index = usize::from(!answer.text.is_empty());
    if let Some(block) = tool_use(answer, false) {
        let part = json!({"type": "input_json_delta", "partial_json": answer.arguments()});
        out += &named(&json!({"type": "content_block_start", "index": index, "content_block": block}));
        out += &named(&json!({"type": "content_block_delta", "index": index, "delta": part}));
        out += &named(&json!({"type": "content_block_stop", "index": index}));
    }
    out
}

pub fn ending(answer: &Answer) -> String {
    let stop = json!({"stop_reason": stop_reason(answer), "stop_sequence": null});
    let mut last = json!({"type": "message_delta", "delta": stop});
    if let Some(usage) = answer.usage {
        last["usage"] = if answer.early { json!({"output_tokens": usage.output}) } else { told(usage, usage.output) };
    }
    named(&last) + &named(&json!({"type": "message_stop"}))
}

pub fn error(kind: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_scripted"})
}
