//! The gateway: a loopback HTTP server between agents and the model APIs. In: an agent's request under the bearer of
//! its attempt, and the core's answers. Out: the API's own response as it comes, and for every call an ask before it
//! goes out and an end when it is over. It holds the keys, measures and caps; it decides nothing and retries nothing.
//!
//! It speaks plain HTTP/1.1 to agents, HTTP/1.1 with or without TLS to upstreams. It follows no redirects and knows no
//! outgoing proxy: `HTTPS_PROXY` is not honoured.

mod anthropic;
mod body;
mod bound;
mod call;
mod chat;
mod client;
mod connections;
mod dialect;
mod events;
mod fault;
mod forward;
mod gemini;
mod input;
mod meter;
mod openai;
mod price;
mod refusal;
mod relay;
mod responses;
mod resume;
mod script;
mod script_shapes;
mod secret;
mod server;
mod settle;
mod tally;
mod upstream;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

pub use price::{Tariff, prices_dated};
pub use script::{PROBE_CONTENT, PROBE_RUN, PROBE_WRITTEN};

use crate::core::{CallAnswer, Input, Price, TaskId};
use call::Attempt;
use server::Shared;

/// Where calls to a provider go.
#[derive(Clone)]
pub enum Upstream {
    /// A model API.
    Api {
        /// Its address: `https://api.openai.com/v1`, `https://api.anthropic.com`,
        /// `https://generativelanguage.googleapis.com`.
        base_url: String,
        /// Its key; for Anthropic, one that starts with `Bearer ` or is an OAuth token goes as authorization.
        key: Option<String>,
    },
    /// A script of our own that has an agent write one file; no network, no key.
    Scripted {
        /// The agent's working directory.
        dir: PathBuf,
    },
}

/// Limits of every call.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Silence of an upstream after which a stream is given up; a response that comes as a whole has 10 minutes at least.
    pub stall: Duration,
    /// Most that a response may hold, bytes.
    pub max_response_bytes: u64,
    /// Most that a request may hold, bytes.
    pub max_request_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { stall: Duration::from_mins(2), max_response_bytes: 256 << 20, max_request_bytes: 64 << 20 }
    }
}

/// Where asks and ends go. It is called from the gateway's thread and from `Access::close`, and must not block; it may
/// call `Gateway::answer`.
pub type Tell = Arc<dyn Fn(Input) + Send + Sync>;

/// What one attempt of a task may reach.
#[derive(Clone)]
pub struct Line {
    /// Whose.
    pub task: TaskId,
    /// Which attempt.
    pub attempt: u32,
    /// Upstreams by provider: `anthropic`, `openai`, `gemini`.
    pub upstreams: BTreeMap<String, Upstream>,
    /// The configured price; it beats the table.
    pub price: Option<Price>,
    /// The model of requests that name none.
    pub model: Option<String>,
}

/// The running gateway. Dropping it ends its thread and every call.
pub struct Gateway {
    shared: Arc<Shared>,
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Gateway {
    /// Listens on a free port of 127.0.0.1, on a thread of its own.
    ///
    /// # Errors
    /// No port, no thread, or no usable TLS.
    pub fn start(options: Options, tell: Tell) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::new(Shared::new(options, tell, client::Client::new()?));
        let (stop, stopped) = oneshot::channel();
        let of_thread = Arc::clone(&shared);
        let serve = move || {
            runtime.block_on(server::serve(listener, of_thread, stopped));
            // Calls under way end with their tasks; a name that is being resolved is not waited for.
            runtime.shutdown_background();
        };
        let thread = Builder::new().name("gateway".to_owned()).spawn(serve)?;
        Ok(Self { shared, port, stop: Some(stop), thread: Some(thread) })
    }

    /// Opens a line for one attempt.
    pub fn open(&self, line: Line) -> Access {
        // 122 random bits each; a guess costs a connection.
        let bearer = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        // As much as one request may hold; a second large one waits for the first.
        let room = usize::try_from(self.shared.options.max_request_bytes).unwrap_or(usize::MAX);
        let attempt = Arc::new(Attempt::new(line, room.min(Semaphore::MAX_PERMITS)));
        self.shared.add(bearer.clone(), Arc::clone(&attempt));
        let base_url = format!("http://127.0.0.1:{}/{bearer}", self.port);
        Access { base_url, bearer, attempt, shared: Arc::clone(&self.shared) }
    }

    /// Takes the core's answer to an ask, from any thread. An answer to a call that nobody waits for is given back.
    pub fn answer(&self, call: u64, answer: CallAnswer) {
        if let Some(call) = self.shared.take_asked(call) {
            call.take_answer(answer);
        }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.shared.close_all();
        if let Some(thread) = self.thread.take() {
            // It only fails where the thread panicked, and then it is gone as well.
            let _ = thread.join();
        }
    }
}

/// One attempt's way through the gateway. Dropping it closes it.
pub struct Access {
    /// `http://127.0.0.1:PORT/BEARER`; behind it come the provider and the API's path.
    pub base_url: String,
    bearer: String,
    attempt: Arc<Attempt>,
    shared: Arc<Shared>,
}

impl Access {
    /// Voids the bearer and drops the calls under way. When it returns, the end of each was told; it waits for that
    /// two seconds at most.
    pub fn close(&self) {
        self.shared.remove(&self.bearer);
        self.attempt.close();
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        self.close();
    }
}
