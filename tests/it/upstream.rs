//! A model API in the test's own process: it speaks the four dialects on loopback, keeps what it was sent, and
//! misbehaves where a test wants it to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// Input tokens that each answer says it took, 300 of them from a cache.
pub const INPUT: u64 = 1000;
/// Output tokens that each answer says it gave, 7 of them thoughts.
pub const OUTPUT: u64 = 50;

/// What it does with the next call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Answers in order, with its usage.
    Well,
    /// Answers in order and says nothing about usage.
    Silent,
    /// Says that this many tokens went out.
    Claims(u64),
    /// Begins and then sends nothing more.
    Stalls,
    /// Takes the request and sends nothing at all.
    Mute,
    /// Begins and then hangs up.
    Cuts,
    /// Answers with something else.
    Garbage,
    /// Answers with this status and this further header line.
    Status(u16, String),
    /// Sends this many bytes.
    Floods(usize),
    /// Answers in order, after this many milliseconds.
    Late(u64),
    /// Answers with this status and the headers it was sent, in a header and in the body.
    Echoes(u16),
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method and path with its query.
    pub line: String,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Value,
}

impl Seen {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// The server.
pub struct Server {
    /// Where it listens.
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Starts one; `manner` chooses by the request.
    pub fn start(manner: impl Fn(&Seen) -> Manner + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (record, manner) = (Arc::clone(&seen), Arc::new(manner));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (record, manner) = (Arc::clone(&record), Arc::clone(&manner));
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    while let Some(request) = read_request(&mut reader) {
                        record.lock().unwrap().push(request.clone());
                        if answer(&stream, &request, &manner(&request)).is_none() {
                            break;
                        }
                    }
                });
            }
        });
        Self { url, seen }
    }

    /// One that always does the same.
    pub fn that(manner: Manner) -> Self {
        Self::start(move |_| manner.clone())
    }

    /// What it was sent so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Seen> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    Some(Seen { line, headers, body: serde_json::from_slice(&body).unwrap_or_default() })
}

/// None where the connection is of no more use.
fn answer(mut stream: &TcpStream, request: &Seen, manner: &Manner) -> Option<()> {
    let head = |status: u16, more: &str, kind: &str, length: usize| {
        let more = if more.is_empty() { String::new() } else { format!("{more}\r\n") };
        format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n{more}\r\n")
    };
    if let Manner::Late(ms) = manner {
        thread::sleep(Duration::from_millis(*ms));
    }
    let streams = request.body["stream"] == true || request.line.contains("streamGenerateContent");
    let kind = if streams { "text/event-stream" } else { "application/json" };
    let usage = match manner {
        Manner::Silent => None,
        Manner::Claims(output) => Some(*output),
        _ => Some(OUTPUT),
    };
    let body = if streams { stream_of(request, usage) } else { document_of(request, usage).to_string() };
    let half = &body[..body.len() / 2];
    let text = match manner {
        Manner::Well | Manner::Silent | Manner::Claims(_) | Manner::Late(_) if streams => in_chunks(&body),
        Manner::Well | Manner::Silent | Manner::Claims(_) | Manner::Late(_) => head(200, "", kind, body.len()) + &body,
        Manner::Stalls | Manner::Cuts => head(200, "", kind, body.len()) + half,
        Manner::Mute => String::new(),
        Manner::Garbage => head(200, "", "text/html", 9) + "<html>{{{",
        Manner::Status(status, more) => {
            let body = json!({"type": "error", "error": {"type": "x", "message": "scripted"}}).to_string();
            head(*status, more, "application/json", body.len()) + &body
        }
        Manner::Echoes(status) => {
            let echo = format!("{:?}", request.headers);
            let body = json!({"error": {"message": format!("not with {echo}"), "code": "invalid_api_key"}}).to_string();
            head(*status, &format!("x-heard: {echo}"), "application/json", body.len()) + &body
        }
        Manner::Floods(bytes) => head(200, "", kind, *bytes) + &"x".repeat(*bytes),
    };
    stream.write_all(text.as_bytes()).ok()?;
    match manner {
        Manner::Stalls | Manner::Mute => {
            // Until the other side has had enough.
            stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
            let _ = stream.read(&mut [0]);
            None
        }
        Manner::Cuts => None,
        _ => Some(()),
    }
}

/// In parts that end anywhere.
fn in_chunks(body: &str) -> String {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let parts = body.as_bytes().chunks(37).map(|part| String::from_utf8_lossy(part));
    let parts: String = parts.map(|part| format!("{:x}\r\n{part}\r\n", part.len())).collect();
    format!("{head}{parts}0\r\n\r\n")
}

fn anthropic_usage(output: u64) -> Value {
    json!({"input_tokens": 500, "cache_creation_input_tokens": 200, "cache_read_input_tokens": 300,
        "output_tokens": output})
}

fn openai_usage(request: &Seen, output: u64) -> Value {
    if request.line.contains("/chat/") {
        json!({"prompt_tokens": INPUT, "completion_tokens": output, "total_tokens": INPUT + output,
            "prompt_tokens_details": {"cached_tokens": 300}, "completion_tokens_details": {"reasoning_tokens": 7}})
    } else {
        json!({"input_tokens": INPUT, "output_tokens": output, "total_tokens": INPUT + output,
            "input_tokens_details": {"cached_tokens": 300}, "output_tokens_details": {"reasoning_tokens": 7}})
    }
}

fn gemini_usage(output: u64) -> Value {
    json!({"promptTokenCount": INPUT, "cachedContentTokenCount": 300, "candidatesTokenCount": output - 7,
        "thoughtsTokenCount": 7, "totalTokenCount": INPUT + output})
}

fn document_of(request: &Seen, usage: Option<u64>) -> Value {
    let (key, mut document, usage) = if request.line.contains("/messages") {
        let document = json!({"id": "m", "type": "message", "role": "assistant", "model": "x",
            "stop_reason": "end_turn", "content": [{"type": "text", "text": "done"}]});
        ("usage", document, usage.map(anthropic_usage))
    } else if request.line.contains("/responses") {
        let text = json!({"type": "output_text", "text": "done"});
        let said = json!({"type": "message", "role": "assistant", "content": [text]});
        let document = json!({"id": "r", "object": "response", "status": "completed", "output": [said]});
        ("usage", document, usage.map(|output| openai_usage(request, output)))
    } else if request.line.contains("/chat/") {
        let choice = json!({"index": 0, "message": {"role": "assistant", "content": "done"}, "finish_reason": "stop"});
        let document = json!({"id": "c", "object": "chat.completion", "choices": [choice]});
        ("usage", document, usage.map(|output| openai_usage(request, output)))
    } else {
        let candidate = json!({"content": {"role": "model", "parts": [{"text": "done"}]}, "finishReason": "STOP"});
        ("usageMetadata", json!({"candidates": [candidate]}), usage.map(gemini_usage))
    };
    if let Some(usage) = usage {
        document[key] = usage;
    }
    document
}

fn stream_of(request: &Seen, usage: Option<u64>) -> String {
    let document = document_of(request, usage);
    let event = |value: Value| format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap_or("message"));
    if request.line.contains("/messages") {
        let mut begun = document.clone();
        begun["content"] = json!([]);
        let mut delta = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}});
        if let Some(output) = usage {
            begun["usage"] = anthropic_usage(1);
            delta["usage"] = json!({"output_tokens": output});
        }
        let text = json!({"type": "text_delta", "text": "done"});
        [
            event(json!({"type": "message_start", "message": begun})),
            event(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})),
            event(json!({"type": "content_block_delta", "index": 0, "delta": text})),
            event(json!({"type": "content_block_stop", "index": 0})),
            event(delta),
            event(json!({"type": "message_stop"})),
        ]
        .concat()
    } else if request.line.contains("/responses") {
        let begun = json!({"id": "r", "object": "response", "status": "in_progress", "output": []});
        let created = event(json!({"type": "response.created", "response": begun}));
        created + &event(json!({"type": "response.completed", "response": document}))
    } else if request.line.contains("/chat/") {
        let delta = json!([{"index": 0, "delta": {"content": "done"}, "finish_reason": "stop"}]);
        let mut text = format!("data: {}\n\n", json!({"object": "chat.completion.chunk", "choices": delta}));
        if let Some(output) = usage {
            let usage = openai_usage(request, output);
            let last = json!({"object": "chat.completion.chunk", "choices": [], "usage": usage});
            text += &format!("data: {last}\n\n");
        }
        text + "data: [DONE]\n\n"
    } else {
        let parts = json!({"content": {"role": "model", "parts": [{"text": "do"}]}});
        format!("data: {}\n\ndata: {document}\n\n", json!({"candidates": [parts]}))
    }
}
