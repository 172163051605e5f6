//! For the tests of this room: a small HTTP server on loopback. A function answers; what was asked is kept.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::access::{Access, Connection, Site};
use super::ci::ForgeKind;
use super::client::Secret;
use super::retry::Failure;

/// One request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Method and target.
    pub line: String,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
}

impl Seen {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// What to answer: the raw bytes of a response; none hangs up.
type Handler = dyn Fn(&Seen) -> Option<String> + Send + Sync;

/// A server that lives as long as the test.
pub(super) struct Server {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Starts one.
    pub(super) fn new(handler: impl Fn(&Seen) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (handler, kept): (Arc<Handler>, _) = (Arc::new(handler), Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (handler, kept) = (Arc::clone(&handler), Arc::clone(&kept));
                thread::spawn(move || serve(stream, &*handler, &kept));
            }
        });
        Self { url, seen }
    }

    /// What was asked so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Methods and targets of what was asked.
    pub(super) fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }
}

fn serve(stream: TcpStream, handler: &Handler, kept: &Mutex<Vec<Seen>>) {
    let mut reader = BufReader::new(stream);
    while let Some(seen) = read(&mut reader) {
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(seen.clone());
        let Some(answer) = handler(&seen) else { return };
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, v)| v.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let line = line.rsplit_once(' ').map_or("", |(line, _)| line).to_owned();
    Some(Seen { line, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

/// A response with a JSON body and further header lines.
pub(super) fn answer(status: u16, headers: &str, body: &str) -> Option<String> {
    let length = body.len();
    Some(format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    ))
}

/// Five minutes from now.
pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_mins(5)
}

/// A connection to the repository `o/r` at this address, with an environment of its own.
pub(super) async fn connect(kind: ForgeKind, api_url: &str, env: &[(&str, &str)]) -> Result<Connection, Failure> {
    let site = Site { kind, api_url: api_url.to_owned(), repository: "o/r".to_owned() };
    let var = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    Connection::open(&site, &Access::Token(Secret::new("t0ken")), &var, soon()).await
}

/// Runs a test's future on a runtime of its own.
pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
