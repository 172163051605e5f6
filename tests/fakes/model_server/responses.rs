//! `OpenAI` Responses.

use serde_json::{Value, json};

use super::answer::{Answer, Asked, Billed, Stop, event, names, with_usage};

pub fn read(body: &Value) -> Asked {
    let items = body["input"].as_array().into_iter().flatten();
    let is_result = |item: &&Value| item["type"].as_str().is_some_and(|kind| kind.ends_with("_call_output"));
    Asked {
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        streams: body["stream"] == true,
        tools: names(&body["tools"]),
        results: items.filter(is_result).count(),
        cap: body["max_output_tokens"].as_u64(),
        wants_usage: true,
        wants_json: false,
    }
}

fn told(usage: Billed) -> Value {
    json!({
        "input_tokens": usage.input, "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.output, "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    })
}

fn message(answer: &Answer) -> Option<Value> {
    (!answer.text.is_empty()).then(|| {
        json!({
            "type": "message", "id": format!("msg_{}", answer.id), "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": answer.text, "annotations": []}],
        })
    })
}

fn tool_call(answer: &Answer) -> Option<Value> {
    let call = answer.call.as_ref()?;
    let (kind, field) = if call.custom { ("custom_tool_call", "input") } else { ("function_call", "arguments") };
    let given = if call.custom { call.input.clone() } else { json!(answer.arguments()) };
    let mut item = json!({
        "type": kind, "id": format!("fc_{}", answer.id), "call_id": format!("call_{}", answer.id),
        "name": call.name, "status": "completed",
    });
    item[field] = given;
    Some(item)
}

fn response(answer: &Answer, status: &str, output: &[Value]) -> Value {
    let mut response = json!({
        "id": format!("resp_{}", answer.id), "object": "response", "created_at": 1_795_000_000, "model": answer.model,
        "status": status, "output": output,
    });
    if status == "incomplete" {
        response["incomplete_details"] = json!({"reason": "max_output_tokens"});
    }
    response
}

pub fn document(answer: &Answer) -> Value {
    let output: Vec<Value> = message(answer).into_iter().chain(tool_call(answer)).collect();
    let status = if answer.stop == Stop::Cap { "incomplete" } else { "completed" };
    with_usage(response(answer, status, &output), "usage", answer.usage.map(told))
}

fn named(data: &Value) -> String {
    event(data["type"].as_str(), data)
}

fn added(index: usize, item: &Value) -> String {
    let mut item = item.clone();
    item["status"] = json!("in_progress");
    if item["type"] == "message" {
        item["content"] = json!([]);
    }
    named(&json!({"type": "response.output_item.added", "output_index": index, "item": item}))
}

pub fn opening(answer: &Answer) -> String {
    let created = json!({"type": "response.created", "response": response(answer, "in_progress", &[])});
    named(&created) + &message(answer).map_or_else(String::new, |item| added(0, &item))
}

pub fn delta(answer: &Answer, text: &str) -> String {
    named(&json!({
        "type": "response.output_text.delta", "item_id": format!("msg_{}", answer.id), "output_index": 0,
        "content_index": 0, "delta": text,
    }))
}

pub fn closing(answer: &Answer) -> String {
    let done = |index: usize, item: Value| {
        named(&json!({"type": "response.output_item.done", "output_index": index, "item": item}))
    };
    let index = usize::from(!answer.text.is_empty());
    let said = message(answer).map_or_else(String::new, |item| done(0, item));
    said + &tool_call(answer).map_or_else(String::new, |item| added(index, &item) + &done(index, item))
}

pub fn ending(answer: &Answer) -> String {
    let response = document(answer);
    let kind = if answer.stop == Stop::Cap { "response.incomplete" } else { "response.completed" };
    named(&json!({"type": kind, "response": response}))
}

pub fn error(kind: &str, message: &str) -> Value {
    let code = if kind == "rate_limit_error" { "rate_limit_exceeded" } else { kind };
    json!({"error": {"message": message, "type": kind, "code": code, "param": null}})
}
