//! `OpenAI` Chat Completions.

use serde_json::{Value, json};

use super::answer::{Answer, Asked, Billed, Stop, event, names, with_usage};

pub fn read(body: &Value) -> Asked {
    let messages = body["messages"].as_array().into_iter().flatten();
    let streams = body["stream"] == true;
    Asked {
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        streams,
        tools: names(&body["tools"]),
        results: messages.filter(|message| message["role"] == "tool").count(),
        cap: body["max_completion_tokens"].as_u64().or(body["max_tokens"].as_u64()),
        wants_usage: !streams || body["stream_options"]["include_usage"] == true,
        wants_json: false,
    }
}

fn told(usage: Billed) -> Value {
    json!({
        "prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}

fn tool_calls(answer: &Answer) -> Option<Value> {
    let call = answer.call.as_ref()?;
    let function = json!({"name": call.name, "arguments": answer.arguments()});
    Some(json!([{"index": 0, "id": format!("call_{}", answer.id), "type": "function", "function": function}]))
}

fn finish_reason(answer: &Answer) -> &'static str {
    match answer.stop {
        Stop::Done => "stop",
        Stop::Tool => "tool_calls",
        Stop::Cap => "length",
    }
}

fn base(answer: &Answer, object: &str, choices: Value) -> Value {
    json!({
        "id": format!("chatcmpl-{}", answer.id), "object": object, "created": 1_795_000_000, "model": answer.model,
        "choices": choices,
    })
}

pub fn document(answer: &Answer) -> Value {
    let content = if answer.text.is_empty() { Value::Null } else { json!(answer.text) };
    let message = json!({"role": "assistant", "content": content});
    let message = with_usage(message, "tool_calls", tool_calls(answer));
    let choices = json!([{"index": 0, "message": message, "finish_reason": finish_reason(answer)}]);
    with_usage(base(answer, "chat.completion", choices), "usage", answer.usage.map(told))
}

fn chunk(answer: &Answer, delta: Value, finish: Option<&str>) -> String {
    let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
    event(None, &base(answer, "chat.completion.chunk", choices))
}

pub fn opening(answer: &Answer) -> String {
    chunk(answer, json!({"role": "assistant", "content": ""}), None)
}

pub fn delta(answer: &Answer, text: &str) -> String {
    chunk(answer, json!({"content": text}), None)
}

pub fn closing(answer: &Answer) -> String {
    let calls = tool_calls(answer).map_or_else(String::new, |calls| chunk(answer, json!({"tool_calls": calls}), None));
    calls + &chunk(answer, json!({}), Some(finish_reason(answer)))
}

pub fn ending(answer: &Answer) -> String {
    let usage = answer.usage.map(|usage| {
        let last = base(answer, "chat.completion.chunk", json!([]));
        event(None, &with_usage(last, "usage", Some(told(usage))))
    });
    usage.unwrap_or_default() + "data: [DONE]\n\n"
}
