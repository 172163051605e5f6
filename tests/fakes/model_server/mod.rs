//! A scripted model server over real HTTP: four APIs, streaming and not, with faults on demand and an exact bill.
//!
//! In: requests to `/s/<scenario>/<run>/<api path>`; a path without `/s/` is the default scenario and the run
//! `default`. Out: answers by script, and what was billed, from [`ModelServer::count`] or
//! `GET /s/<scenario>/<run>/count`. Usage counts as in `core::Usage`: input holds its cached parts, output its
//! reasoning.

#![allow(dead_code, reason = "the example and each test suite use different parts")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a fake fails by panicking")]

mod answer;
mod anthropic;
mod chat;
mod gemini;
mod http;
mod responses;
mod scenario;
mod script;
mod serve;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

pub use answer::Billed;

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// 0 for a free one.
    pub port: u16,
    /// The scenario of paths that name none.
    pub scenario: String,
    /// Where runs work, for tools that take absolute paths only: `<dir>/<run>` where that exists, else `dir`.
    pub dir: Option<PathBuf>,
    /// One JSON line per request.
    pub log: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { port: 0, scenario: "ok".to_owned(), dir: None, log: None }
    }
}

/// What one run was asked and billed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Requests for an answer, whatever became of them.
    pub requests: u64,
    /// Requests that were billed.
    pub calls: u64,
    /// Requests answered with an error status.
    pub refused: u64,
    /// Requests without a cap on output.
    pub uncapped: u64,
    /// Answers under way.
    pub open: u64,
    /// Total over all calls.
    pub billed: Billed,
    /// The same by the model that was asked.
    pub models: BTreeMap<String, Billed>,
    /// The most of each kind in one call.
    pub max: Billed,
    /// The largest cap on output that a request had.
    pub max_cap: u64,
}

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method, a space, and the path with its query.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, unchanged.
    pub body: Vec<u8>,
}

/// What the threads share.
struct Shared {
    options: Options,
    runs: Mutex<HashMap<String, Count>>,
    seen: Mutex<Vec<Seen>>,
    log: Option<Mutex<File>>,
    stopped: AtomicBool,
}

/// A running server; dropping it ends it and cuts its connections within 200 ms.
pub struct ModelServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<thread::JoinHandle<()>>,
}

/// How often a waiting thread looks whether the server was stopped.
const TICK: Duration = Duration::from_millis(100);

/// Requests that [`ModelServer::seen`] keeps.
const SEEN_MAX: usize = 20_000;

impl ModelServer {
    /// Starts to listen on the loopback.
    ///
    /// # Errors
    /// The port is taken, or the log cannot be made.
    pub fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", options.port))?;
        let address = listener.local_addr()?;
        let log = options.log.as_ref().map(File::create).transpose()?.map(Mutex::new);
        let (runs, seen) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { options, runs, seen, log, stopped: AtomicBool::new(false) });
        let for_thread = Arc::clone(&shared);
        let accepting = thread::spawn(move || accept(&listener, &for_thread));
        Ok(Self { address, shared, accepting: Some(accepting) })
    }

    /// A server on a free port.
    pub fn on_free_port() -> Self {
        Self::start(Options::default()).unwrap()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The base URL of one run; no slash at its end.
    pub fn url(&self, scenario: &str, run: &str) -> String {
        format!("http://{}/s/{scenario}/{run}", self.address)
    }

    /// What a run was billed so far.
    pub fn count(&self, scenario: &str, run: &str) -> Count {
        self.shared.runs.lock().unwrap().get(&format!("{scenario}/{run}")).cloned().unwrap_or_default()
    }

    /// The sum over all runs.
    pub fn total(&self) -> Count {
        self.shared.runs.lock().unwrap().values().fold(Count::default(), Count::plus)
    }

    /// Every request so far, the first 20,000 of them.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        drop(self.accepting.take().map(thread::JoinHandle::join));
    }
}

/// Whether there is a scenario of that name.
///
/// # Errors
/// There is none; the text lists what there is.
pub fn check_scenario(name: &str) -> Result<(), String> {
    scenario::Scenario::of(name).map(drop)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let (Ok(stream), shared) = (stream, Arc::clone(shared)) else { continue };
        // A connection that breaks is the other side's business.
        thread::spawn(move || drop(serve::connection(&shared, stream)));
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Changes a run's count and returns it.
    fn change(&self, run: &str, change: impl FnOnce(&mut Count)) -> Count {
        let mut runs = self.runs.lock().unwrap();
        let count = runs.entry(run.to_owned()).or_default();
        change(count);
        count.clone()
    }

    fn bill(&self, run: &str, model: &str, billed: Billed) {
        self.change(run, |count| {
            count.calls += 1;
            count.billed = count.billed.zip(billed, u64::saturating_add);
            let of_model = count.models.entry(model.to_owned()).or_default();
            *of_model = of_model.zip(billed, u64::saturating_add);
            count.max = count.max.zip(billed, u64::max);
        });
    }

    fn saw(&self, request: &http::Request) {
        let line = format!("{} {}", request.method, request.path);
        let mut seen = self.seen.lock().unwrap();
        if seen.len() < SEEN_MAX {
            seen.push(Seen { line, headers: request.headers.clone(), body: request.body.clone() });
        }
    }

    /// Adds a line to the log; a log that cannot be written is no reason to fail.
    fn say(&self, what: &Value) {
        if let Some(log) = &self.log {
            drop(writeln!(log.lock().unwrap(), "{what}"));
        }
    }
}

impl Count {
    fn plus(mut self, other: &Self) -> Self {
        for (model, billed) in &other.models {
            let sum = self.models.entry(model.clone()).or_default();
            *sum = sum.zip(*billed, u64::saturating_add);
        }
        Self {
            requests: self.requests + other.requests,
            calls: self.calls + other.calls,
            refused: self.refused + other.refused,
            uncapped: self.uncapped + other.uncapped,
            open: self.open + other.open,
            billed: self.billed.zip(other.billed, u64::saturating_add),
            models: self.models,
            max: self.max.zip(other.max, u64::max),
            max_cap: self.max_cap.max(other.max_cap),
        }
    }

    /// As `GET …/count` tells it.
    pub fn json(&self) -> Value {
        let mut told = self.billed.json();
        let max = self.max.json();
        let models: BTreeMap<&String, Value> =
            self.models.iter().map(|(model, billed)| (model, billed.json())).collect();
        for (name, value) in [
            ("requests", json!(self.requests)),
            ("calls", json!(self.calls)),
            ("refused", json!(self.refused)),
            ("uncapped", json!(self.uncapped)),
            ("open", json!(self.open)),
            ("models", json!(models)),
            ("max", max),
            ("max_cap", json!(self.max_cap)),
        ] {
            told[name] = value;
        }
        told
    }
}
