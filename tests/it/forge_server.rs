//! A forge's HTTP side in the test's own process: a listener on loopback that keeps every request with its headers,
//! answers from a handler, and misbehaves where a script wants it to: before the work was done, or after.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long a mute server holds a connection that nobody closes.
const HELD: Duration = Duration::from_mins(2);

/// One request as it came, and what it was answered.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Without origin and query.
    pub path: String,
    pub query: BTreeMap<String, String>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Value,
    pub at: Instant,
    /// The origin of a request in absolute form, which only proxies get.
    pub origin: Option<String>,
    /// Which answer was meant; None where there was none, or not all of it.
    pub status: Option<u16>,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// True where something is to be changed.
    pub fn is_write(&self) -> bool {
        self.method != "GET"
    }

    fn is(&self, method: &str, part: &str) -> bool {
        (method == "*" || self.method == method) && self.path.contains(part)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Reply {
    pub fn new(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body }
    }

    /// An error as GitHub says it.
    pub fn error(status: u16, message: &str) -> Self {
        Self::new(status, json!({"message": message, "documentation_url": "https://docs.example/rest"}))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn text(&self) -> String {
        let body = if self.status == 204 { String::new() } else { self.body.to_string() };
        let more: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let kind = "application/json; charset=utf-8";
        format!("HTTP/1.1 {} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n{more}\r\n{body}", self.status)
    }
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Manner {
    /// This is answered.
    Says(Reply),
    /// Nothing is answered, and the connection stays open.
    Mute,
    /// The connection is reset.
    Reset,
    /// Half of the right answer comes, then the connection closes.
    Half,
    /// The right answer comes after this time.
    Late(Duration),
    /// It is after this time that anything is done; then the right answer comes.
    Slow(Duration),
}

/// A fault, and whether the work is done all the same.
#[derive(Clone, Debug)]
pub struct Fault {
    done: bool,
    manner: Manner,
}

impl Fault {
    /// Nothing is done.
    pub fn instead(manner: Manner) -> Self {
        Self { done: false, manner }
    }

    /// All is done, and then this.
    pub fn after(manner: Manner) -> Self {
        Self { done: true, manner }
    }

    /// Nothing is done and this error is answered.
    pub fn error(status: u16, message: &str) -> Self {
        Self::instead(Manner::Says(Reply::error(status, message)))
    }
}

struct Rule {
    method: String,
    part: String,
    left: usize,
    fault: Fault,
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Request>>,
}

/// The listener. It lives as long as the test's process.
#[derive(Clone)]
pub struct Server {
    /// Where it listens: `http://127.0.0.1:PORT`.
    pub url: String,
    shared: Arc<Shared>,
}

impl Server {
    /// Starts one on 127.0.0.1.
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_on("127.0.0.1", handler)
    }

    /// Starts one on another address of the loopback: another host, as a client has to see it.
    pub fn start_on(host: &str, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (rules, seen) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let shared = Arc::new(Shared { handler: Box::new(handler), rules, seen });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                thread::spawn(move || while serve(&stream, &shared).is_some() {});
            }
        });
        Self { url, shared }
    }

    /// The next `times` requests of a method (`*` is any) whose path has a part meet a fault. The rule that was made
    /// first comes first.
    pub fn on(&self, method: &str, part: &str, times: usize, fault: Fault) {
        let rule = Rule { method: method.to_owned(), part: part.to_owned(), left: times, fault };
        self.shared.rules.lock().unwrap().push(rule);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.shared.rules.lock().unwrap().clear();
    }

    /// All requests so far, in the order in which they came.
    pub fn seen(&self) -> Vec<Request> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Those of a method (`*` is any) whose path has a part.
    pub fn seen_of(&self, method: &str, part: &str) -> Vec<Request> {
        self.seen().into_iter().filter(|request| request.is(method, part)).collect()
    }
}

impl Shared {
    fn fault_of(&self, request: &Request) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        let rule = rules.iter_mut().find(|rule| rule.left > 0 && request.is(&rule.method, &rule.part))?;
        rule.left -= 1;
        Some(rule.fault.clone())
    }
}

/// Serves one request; None where the connection is of no more use.
fn serve(stream: &TcpStream, shared: &Shared) -> Option<()> {
    let mut request = read_request(stream)?;
    let fault = shared.fault_of(&request);
    let works = fault
        .as_ref()
        .is_none_or(|fault| fault.done || matches!(fault.manner, Manner::Half | Manner::Late(_) | Manner::Slow(_)));
    // The request is on record before anybody can see that it was answered, and so before what it leads to.
    let place = {
        let mut seen = shared.seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    if let Some(Fault { manner: Manner::Slow(time), .. }) = &fault {
        thread::sleep(*time);
    }
    let right = works.then(|| (shared.handler)(&request));
    request.status = match &fault {
        None => right.as_ref().map(|reply| reply.status),
        Some(Fault { manner: Manner::Says(reply), .. }) => Some(reply.status),
        Some(_) => None,
    };
    shared.seen.lock().unwrap()[place].status = request.status;
    answer(stream, right, fault)
}

/// Sends what is to be sent. The last byte of the request is still unread: a socket that is closed with unread bytes
/// resets its connection.
fn answer(mut stream: &TcpStream, right: Option<Reply>, fault: Option<Fault>) -> Option<()> {
    let right = right.unwrap_or_else(|| Reply::error(500, "not done"));
    match fault.map(|fault| fault.manner) {
        Some(Manner::Reset) => None,
        None | Some(Manner::Slow(_)) => {
            stream.read_exact(&mut [0]).ok().and_then(|()| stream.write_all(right.text().as_bytes()).ok())
        }
        Some(Manner::Says(reply)) => {
            stream.read_exact(&mut [0]).ok()?;
            stream.write_all(reply.text().as_bytes()).ok()
        }
        Some(Manner::Late(time)) => {
            stream.read_exact(&mut [0]).ok()?;
            thread::sleep(time);
            stream.write_all(right.text().as_bytes()).ok()
        }
        Some(Manner::Mute) => {
            stream.read_exact(&mut [0]).ok()?;
            stream.set_read_timeout(Some(HELD)).ok()?;
            let _ = stream.read(&mut [0]);
            None
        }
        Some(Manner::Half) => {
            stream.read_exact(&mut [0]).ok()?;
            let text = right.text();
            stream.write_all(&text.as_bytes()[..text.len() - right.body.to_string().len() / 2]).ok()?;
            None
        }
    }
}

/// Reads all of a request but its last byte, which is looked at and left where it is.
fn read_request(mut stream: &TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
        assert!(head.len() < 1 << 16, "a head of 64 KiB");
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers: Vec<(String, String)> =
        headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let find = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    assert!(find("transfer-encoding").is_none(), "requests come with their length");
    let length: usize = find("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    if length > 0 {
        stream.read_exact(&mut [0]).ok()?;
        stream.read_exact(&mut body[..length - 1]).ok()?;
        stream.peek(&mut body[length - 1..]).ok().filter(|n| *n == 1)?;
    } else {
        stream.peek(&mut [0]).ok().filter(|n| *n == 1)?;
    }
    let (origin, path) = origin_of(&target);
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let query = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), decoded(v)));
    Some(Request {
        method,
        path: path.to_owned(),
        query: query.collect(),
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
        at: Instant::now(),
        origin: origin.map(str::to_owned),
        status: None,
    })
}

/// `http://host:1/a` is (`http://host:1`, `/a`); `/a` has no origin.
fn origin_of(target: &str) -> (Option<&str>, &str) {
    let Some(rest) = target.strip_prefix("http://") else { return (None, target) };
    let host = rest.find('/').unwrap_or(rest.len());
    let (origin, path) = target.split_at("http://".len() + host);
    (Some(origin), path)
}

/// A value of a query, without its percents.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let hex = (*first == b'%').then(|| more.get(..2)).flatten().and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if byte.is_some() { &more[2..] } else { more };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a client on a plain socket sees of one request, and what went wrong with it.
fn exchange(server: &Server) -> (String, Option<std::io::ErrorKind>) {
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    stream.write_all(b"POST /x?a=b%20c HTTP/1.1\r\nHost: h\r\ncontent-length: 7\r\n\r\n{\"a\":1}").unwrap();
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => return (String::from_utf8(bytes).unwrap(), None),
            Ok(n) => bytes.extend(&part[..n]),
            Err(error) => return (String::from_utf8(bytes).unwrap(), Some(error.kind())),
        }
    }
}

#[test]
fn the_faults_are_what_they_are_called() {
    use std::io::ErrorKind;
    let check = |fault: Option<Fault>, done: usize, says: &str, ends: Option<ErrorKind>| {
        let works = Arc::new(Mutex::new(0));
        let counting = Arc::clone(&works);
        let server = Server::start(move |request| {
            *counting.lock().unwrap() += 1;
            Reply::new(201, json!({"q": request.query["a"], "body": request.body}))
        });
        let name = format!("{fault:?}");
        if let Some(fault) = fault {
            server.on("POST", "/x", 1, fault);
        }
        let (text, end) = exchange(&server);
        assert_eq!((text.split("\r\n\r\n").last().unwrap(), end), (says, ends), "{name}");
        assert_eq!(*works.lock().unwrap(), done, "{name}");
        assert_eq!(server.seen_of("POST", "/x").len(), 1, "{name}");
    };
    let whole = r#"{"body":{"a":1},"q":"b c"}"#;
    let open = Some(ErrorKind::WouldBlock);
    check(None, 1, whole, open);
    check(
        Some(Fault::error(502, "no")),
        0,
        r#"{"documentation_url":"https://docs.example/rest","message":"no"}"#,
        open,
    );
    check(Some(Fault::after(Manner::Says(Reply::new(502, json!([]))))), 1, "[]", open);
    check(Some(Fault::instead(Manner::Reset)), 0, "", Some(ErrorKind::ConnectionReset));
    check(Some(Fault::after(Manner::Reset)), 1, "", Some(ErrorKind::ConnectionReset));
    check(Some(Fault::after(Manner::Half)), 1, &whole[..13], None);
    check(Some(Fault::instead(Manner::Mute)), 0, "", open);
    check(Some(Fault::after(Manner::Mute)), 1, "", open);
}
