//! What passes between the orchestrator and a warden: one order down, lines of output and one report up.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::core::Ended;

/// What a warden is to run, and within which limits. Sent as JSON on its standard input, after its length; anything after
/// it, and the end of the pipe, means stop.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The child's whole environment.
    pub env: Vec<(String, String)>,
    /// The child's working directory.
    pub dir: PathBuf,
    /// File on the child's standard input; none is `/dev/null`.
    pub stdin: Option<PathBuf>,
    /// File that keeps the child's standard output.
    pub stdout: PathBuf,
    /// File that keeps the child's standard error; the same path as `stdout` puts both into one file.
    pub stderr: PathBuf,
    /// Wall-clock limit, milliseconds.
    pub limit_ms: u64,
    /// Silence limit, milliseconds; none is no limit.
    pub idle_ms: Option<u64>,
    /// Time between the gentle and the hard end, milliseconds.
    pub grace_ms: u64,
    /// True: lines of standard output that begin with `{` are passed up as they come.
    pub forward_json: bool,
}

/// What a warden has to say in the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How the child ended.
    pub ended: Ended,
    /// Wall-clock time, milliseconds.
    pub duration_ms: u64,
    /// Processes that outlived the child and were ended.
    pub leaked_processes: u32,
    /// Bytes the child wrote to standard output.
    pub stdout_bytes: u64,
}

/// First byte of an output line that a warden passes up.
pub(super) const LINE: u8 = b'o';
/// First byte of the report line.
pub(super) const REPORT: u8 = b'r';
