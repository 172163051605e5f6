//! What tests of the gateway stand on: an agent's side of HTTP, written by hand so that every byte is known, a budget
//! that answers from a thread of its own, and one request of each dialect.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use maestro_ci::core::{CallAnswer, CallAsk, CallFault, Input, Price, TaskId, Usage};
use maestro_ci::gateway::{Access, Gateway, Line, Options, Upstream};
use serde_json::{Value, json};

use crate::env::wait_until;

pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long a silence of an API may last where the test is about just that.
pub const STALL: Duration = Duration::from_millis(600);
/// One, a tenth, two and ten millionths of a dollar a token.
pub const PRICE: Price = Price {
    input: 1_000_000,
    cached_input: 100_000,
    cache_write: 2_000_000,
    cache_write_1h: 2_000_000,
    output: 10_000_000,
};

/// A gateway with one line to one server.
pub struct World {
    pub gateway: Arc<Gateway>,
    pub access: Access,
    pub told: Arc<Mutex<Vec<Input>>>,
}

/// What the budget says; None is no answer.
pub type Budget = Box<dyn Fn(&CallAsk) -> Option<CallAnswer> + Send>;

pub fn granted(max_output_tokens: u64) -> Option<CallAnswer> {
    Some(CallAnswer::Granted { max_output_tokens })
}

pub fn all() -> Budget {
    Box::new(|ask| granted(ask.output_tokens))
}

impl World {
    pub fn new(url: &str, budget: Budget) -> Self {
        Self::with(url, PATIENCE, budget)
    }

    pub fn with(url: &str, stall: Duration, budget: Budget) -> Self {
        Self::sized(url, stall, 1 << 16, budget)
    }

    /// With requests of so many bytes at most.
    pub fn sized(url: &str, stall: Duration, max_request_bytes: u64, budget: Budget) -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let (send, asks) = mpsc::channel();
        let record = Arc::clone(&told);
        let tell = move |input: Input| {
            record.lock().unwrap().push(input.clone());
            if let Input::CallAsked { call, ask, .. } = input {
                send.send((call, ask)).unwrap();
            }
        };
        let options = Options { stall, max_response_bytes: 1 << 20, max_request_bytes };
        let gateway = Arc::new(Gateway::start(options, Arc::new(tell)).unwrap());
        let answering = Arc::downgrade(&gateway);
        thread::spawn(move || {
            for (call, ask) in asks {
                if let (Some(gateway), Some(answer)) = (answering.upgrade(), budget(&ask)) {
                    gateway.answer(call, answer);
                }
            }
        });
        let at = |path: &str| Upstream::Api { base_url: format!("{url}{path}"), key: Some("real-key".to_owned()) };
        let upstreams = [("anthropic", ""), ("openai", "/v1"), ("gemini", "")];
        let upstreams = upstreams.map(|(provider, path)| (provider.to_owned(), at(path)));
        let upstreams = BTreeMap::from(upstreams);
        let line = Line { task: TaskId::from("T-1"), attempt: 1, upstreams, price: Some(PRICE), model: None };
        let access = gateway.open(line);
        Self { gateway, access, told }
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        send(&format!("{}{path}", self.access.base_url), "POST", "", &body.to_string()).read()
    }

    pub fn asks(&self) -> Vec<CallAsk> {
        let told = self.told.lock().unwrap();
        let asks = told.iter().filter_map(|input| match input {
            Input::CallAsked { ask, .. } => Some(ask.clone()),
            _ => None,
        });
        asks.collect()
    }

    /// What was refused without a question to the budget.
    pub fn unmeterable(&self) -> Vec<String> {
        let told = self.told.lock().unwrap();
        let messages = told.iter().filter_map(|input| match input {
            Input::CallUnmeterable { message, .. } => Some(message.clone()),
            _ => None,
        });
        messages.collect()
    }

    pub fn ends(&self) -> Vec<(u64, Usage, Option<CallFault>)> {
        let told = self.told.lock().unwrap();
        let ends = told.iter().filter_map(|input| match input {
            Input::CallEnded { call, usage, fault, .. } => Some((*call, *usage, fault.clone())),
            _ => None,
        });
        ends.collect()
    }

    /// The one end that was told.
    #[track_caller]
    pub fn end(&self) -> (Usage, Option<CallFault>) {
        wait_until("the end of the call", PATIENCE, || !self.ends().is_empty());
        let ends = self.ends();
        assert_eq!(ends.len(), 1, "{ends:?}");
        (ends[0].1, ends[0].2.clone())
    }
}

/// What an agent gets.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: String,
    /// False where it was cut.
    pub whole: bool,
}

/// A request under way.
pub struct Sent(TcpStream);

pub fn send(url: &str, method: &str, headers: &str, body: &str) -> Sent {
    begin(url, method, &format!("content-length: {}\r\n{headers}", body.len()), body)
}

/// The head and the beginning of a body, in one piece.
fn begin(url: &str, method: &str, headers: &str, body: &str) -> Sent {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let head = format!("{method} /{path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n");
    stream.write_all((head + body).as_bytes()).unwrap();
    Sent(stream)
}

/// A request without a length: nobody knows how much will come.
pub fn post_in_chunks(url: &str, body: &[u8]) -> Answer {
    let Sent(mut stream) = begin(url, "POST", "transfer-encoding: chunked\r\n", "");
    for chunk in body.chunks(1 << 20) {
        stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).unwrap();
        stream.write_all(chunk).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    Sent(stream).read()
}

impl Sent {
    pub fn read(self) -> Answer {
        let mut reader = BufReader::new(self.0);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return Answer { status: 0, headers: head, body: String::new(), whole: false };
            }
        }
        let headers = head.to_ascii_lowercase();
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        let length = headers.lines().find_map(|line| line.strip_prefix("content-length: "));
        let (body, whole) = match length {
            Some(length) => {
                let length: u64 = length.parse().unwrap();
                let mut body = Vec::new();
                let read = reader.take(length).read_to_end(&mut body);
                let whole = read.is_ok() && body.len() as u64 == length;
                (body, whole)
            }
            None => chunks(&mut reader),
        };
        Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned(), whole }
    }
}

fn chunks(reader: &mut impl BufRead) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        if reader.read_line(&mut size).unwrap_or(0) == 0 {
            return (body, false);
        }
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        if reader.read_exact(&mut chunk).is_err() {
            return (body, false);
        }
        if size == 0 {
            return (body, true);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

/// One dialect: where its calls go, what they hold, and where their cap stands.
pub struct Dialect {
    pub path: fn(bool) -> &'static str,
    pub body: fn(bool) -> Value,
    pub cap: &'static str,
    pub cache_write_tokens: u64,
}

pub const ANTHROPIC: Dialect = Dialect {
    path: |_| "/anthropic/v1/messages",
    body: |stream| json!({"model": "m", "max_tokens": 1000, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}),
    cap: "/max_tokens",
    cache_write_tokens: 200,
};
const RESPONSES: Dialect = Dialect {
    path: |_| "/openai/v1/responses",
    body: |stream| json!({"model": "m", "max_output_tokens": 1000, "stream": stream, "store": false, "input": "hi"}),
    cap: "/max_output_tokens",
    cache_write_tokens: 0,
};
pub const CHAT: Dialect = Dialect {
    path: |_| "/openai/chat/completions",
    body: |stream| json!({"model": "m", "max_tokens": 1000, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}),
    cap: "/max_tokens",
    cache_write_tokens: 0,
};
const GEMINI: Dialect = Dialect {
    path: |stream| {
        if stream {
            "/gemini/v1beta/models/m:streamGenerateContent?alt=sse&key=placeholder"
        } else {
            "/gemini/v1beta/models/m:generateContent"
        }
    },
    body: |_| json!({"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"maxOutputTokens": 1000}}),
    cap: "/generationConfig/maxOutputTokens",
    cache_write_tokens: 0,
};
pub const DIALECTS: [Dialect; 4] = [ANTHROPIC, RESPONSES, CHAT, GEMINI];
