//! The shapes in which the scripted model answers: each dialect as one document and as a stream of events. In: what
//! the model does next. Out: JSON, or server-sent events.

use serde_json::{Value, json};

use super::dialect::Dialect;
use super::script::Turn;

/// Tokens that every answer says it took.
const INPUT: u64 = 100;
/// Tokens that every answer says it gave.
const OUTPUT: u64 = 20;

/// One answer.
pub(super) struct Answer<'a> {
    /// Its id.
    pub id: &'a str,
    /// The model that was asked.
    pub model: &'a str,
    /// What it says or calls.
    pub turn: &'a Turn,
}

impl Answer<'_> {
    /// As one document.
    pub(super) fn document(&self, dialect: Dialect) -> Value {
        match dialect {
            Dialect::Anthropic => {
                let reason = self.pick("tool_use", "end_turn");
                self.message(&json!([self.block()]), reason.into(), OUTPUT)
            }
            Dialect::Responses => self.response(true),
            Dialect::Chat => {
                let (message, reason) = (self.chat_delta(), self.pick("tool_calls", "stop"));
                let choice = json!({"index": 0, "message": message, "finish_reason": reason});
                self.chat("chat.completion", &json!([choice]), &chat_usage())
            }
            Dialect::Gemini => self.gemini(),
        }
    }

    /// As a stream.
    pub(super) fn stream(&self, dialect: Dialect) -> String {
        match dialect {
            Dialect::Anthropic => self.anthropic_events(),
            Dialect::Responses => self.responses_events(),
            Dialect::Chat => self.chat_events(),
            Dialect::Gemini => data(&self.gemini()),
        }
    }

    fn pick<'t>(&self, tool: &'t str, say: &'t str) -> &'t str {
        match self.turn {
            Turn::Tool { .. } => tool,
            Turn::Say(_) => say,
        }
    }

    // Anthropic Messages.

    fn block(&self) -> Value {
        match self.turn {
            Turn::Tool { name, input, .. } => {
                json!({"type": "tool_use", "id": format!("toolu_{}", self.id), "name": name, "input": input})
            }
            Turn::Say(text) => json!({"type": "text", "text": text}),
        }
    }

    fn message(&self, content: &Value, stop_reason: Value, output: u64) -> Value {
        json!({
            "id": format!("msg_{}", self.id), "type": "message", "role": "assistant", "model": self.model,
            "content": content, "stop_reason": stop_reason, "stop_sequence": null,
            "usage": {
                "input_tokens": INPUT, "output_tokens": output,
                "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            },
        })
    }

    fn anthropic_events(&self) -> String {
        let (empty, delta) = match self.turn {
            Turn::Tool { name, input, .. } => (
                json!({"type": "tool_use", "id": format!("toolu_{}", self.id), "name": name, "input": {}}),
                json!({"type": "input_json_delta", "partial_json": input.to_string()}),
            ),
            Turn::Say(text) => (json!({"type": "text", "text": ""}), json!({"type": "text_delta", "text": text})),
        };
        let ending = json!({"stop_reason": self.pick("tool_use", "end_turn"), "stop_sequence": null});
        events(&[
            json!({"type": "message_start", "message": self.message(&json!([]), Value::Null, 1)}),
            json!({"type": "content_block_start", "index": 0, "content_block": empty}),
            json!({"type": "content_block_delta", "index": 0, "delta": delta}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": ending, "usage": {"output_tokens": OUTPUT}}),
            json!({"type": "message_stop"}),
        ])
    }

    // OpenAI Responses.

    fn item(&self) -> Value {
        let call_id = format!("call_{}", self.id);
        match self.turn {
            Turn::Tool { name, input, free_text: true } => json!({
                "type": "custom_tool_call", "id": format!("ctc_{}", self.id), "call_id": call_id,
                "name": name, "input": input, "status": "completed",
            }),
            Turn::Tool { name, input, free_text: false } => json!({
                "type": "function_call", "id": format!("fc_{}", self.id), "call_id": call_id,
                "name": name, "arguments": input.to_string(), "status": "completed",
            }),
            Turn::Say(text) => json!({
                "type": "message", "id": format!("msg_{}", self.id), "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": text, "annotations": []}],
            }),
        }
    }

    fn response(&self, done: bool) -> Value {
        let mut response = json!({
            "id": format!("resp_{}", self.id), "object": "response", "created_at": 0, "model": self.model,
            "status": "in_progress", "output": [],
        });
        if done {
            response["status"] = "completed".into();
            response["output"] = json!([self.item()]);
            response["usage"] = json!({
                "input_tokens": INPUT, "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": OUTPUT, "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": INPUT + OUTPUT,
            });
        }
        response
    }

    fn responses_events(&self) -> String {
        let item = self.item();
        let mut begun = item.clone();
        begun["status"] = "in_progress".into();
        let mut all = vec![json!({"type": "response.created", "response": self.response(false)})];
        if let Turn::Say(text) = self.turn {
            begun["content"] = json!([]);
            all.push(json!({"type": "response.output_item.added", "output_index": 0, "item": begun}));
            all.push(json!({
                "type": "response.output_text.delta", "item_id": item["id"], "output_index": 0, "content_index": 0,
                "delta": text,
            }));
        } else {
            all.push(json!({"type": "response.output_item.added", "output_index": 0, "item": begun}));
        }
        all.push(json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
        all.push(json!({"type": "response.completed", "response": self.response(true)}));
        events(&all)
    }

    // OpenAI Chat Completions.

    fn chat(&self, object: &str, choices: &Value, usage: &Value) -> Value {
        json!({
            "id": format!("chatcmpl-{}", self.id), "object": object, "created": 0, "model": self.model,
            "choices": choices, "usage": usage,
        })
    }

    fn chat_delta(&self) -> Value {
        match self.turn {
            Turn::Tool { name, input, .. } => {
                let function = json!({"name": name, "arguments": input.to_string()});
                let call = json!({
                    "index": 0, "id": format!("call_{}", self.id), "type": "function", "function": function,
                });
                json!({"role": "assistant", "content": null, "tool_calls": [call]})
            }
            Turn::Say(text) => json!({"role": "assistant", "content": text}),
        }
    }

    fn chat_events(&self) -> String {
        let chunk = |choices: Value, usage: Value| data(&self.chat("chat.completion.chunk", &choices, &usage));
        let choice = |delta: Value, reason: Value| json!([{"index": 0, "delta": delta, "finish_reason": reason}]);
        let parts = [
            chunk(choice(self.chat_delta(), Value::Null), Value::Null),
            chunk(choice(json!({}), self.pick("tool_calls", "stop").into()), Value::Null),
            chunk(json!([]), chat_usage()),
            "data: [DONE]\n\n".to_owned(),
        ];
        parts.concat()
    }

    // Gemini.

    fn gemini(&self) -> Value {
        let part = match self.turn {
            Turn::Tool { name, input, .. } => {
                json!({"functionCall": {"id": format!("call_{}", self.id), "name": name, "args": input}})
            }
            Turn::Say(text) => json!({"text": text}),
        };
        let content = json!({"role": "model", "parts": [part]});
        json!({
            "candidates": [{"content": content, "index": 0, "finishReason": "STOP"}],
            "modelVersion": self.model, "responseId": self.id,
            "usageMetadata": {
                "promptTokenCount": INPUT, "candidatesTokenCount": OUTPUT, "totalTokenCount": INPUT + OUTPUT,
            },
        })
    }
}

/// What Gemini CLI wants to hear on the side: who speaks next, which model shall go on.
pub(super) fn gemini_aside() -> Value {
    json!({
        "reasoning": "probe", "next_speaker": "user", "model_choice": "flash",
        "complexity_reasoning": "probe", "complexity_score": 10,
    })
}

fn chat_usage() -> Value {
    json!({"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT})
}

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// Events that are named by their type.
fn events(all: &[Value]) -> String {
    let named = |event: &Value| format!("event: {}\n{}", event["type"].as_str().unwrap_or(""), data(event));
    all.iter().map(named).collect()
}
