//! What passes between the orchestrator and a warden: one order down, lines of output and one report up; and the walls
//! that an order may ask for.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::core::Ended;

/// What a warden is to run, and within which limits. Sent as JSON on its standard input, after its length, once the
/// warden has said `READY`: what lies in the pipe before can be read by whoever shares our user. After it,
/// a `TERMINAL` byte says that the child's result is in; any other byte, and the end of the pipe, means stop.
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
    /// What holds the tree in.
    pub limits: Limits,
    /// What the tree may touch; none is no walls (level 0).
    pub walls: Option<Walls>,
    /// True: lines of standard output that begin with `{` are passed up as they come.
    pub forward_json: bool,
    /// Secrets that its output is to lose on its way into files and up.
    pub secrets: Vec<String>,
}

/// Limits of one process tree. Reaching one is allowed, going over it is not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Wall-clock limit, milliseconds.
    pub wall_ms: u64,
    /// Silence limit, milliseconds; none is no limit.
    pub idle_ms: Option<u64>,
    /// Time until the first event (where lines are passed up) or byte of output, milliseconds; none is no limit.
    pub startup_ms: Option<u64>,
    /// Time between the gentle and the hard end, milliseconds.
    pub grace_ms: u64,
    /// Time the tree has to end by itself once its result is in, milliseconds.
    pub linger_ms: u64,
    /// Memory of all its processes together, bytes.
    pub max_memory_bytes: Option<u64>,
    /// Processes at once.
    pub max_processes: Option<u64>,
    /// Output on both streams together, bytes.
    pub max_output_bytes: Option<u64>,
    /// Disk that the directories it may write to take together, bytes.
    pub max_disk_bytes: Option<u64>,
}

/// Walls of level 1: what a process tree may read and write. Everything else on the file system is out of its reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walls {
    /// Files and directories (with everything below) that it may read and execute. Missing ones are skipped.
    pub read: Vec<PathBuf>,
    /// Files and directories (with everything below) that it may read, execute and change. Missing ones are skipped.
    pub write: Vec<PathBuf>,
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
    /// Most memory that its processes held together, bytes; sampled.
    pub peak_memory_bytes: u64,
    /// Most processes at once; sampled.
    pub peak_processes: u64,
}

impl Report {
    /// A report that says only how it ended.
    pub fn bare(ended: Ended) -> Self {
        Self { ended, duration_ms: 0, leaked_processes: 0, stdout_bytes: 0, peak_memory_bytes: 0, peak_processes: 0 }
    }
}

/// Byte up, the first: nobody may look into the warden any more, the order can be sent.
pub(super) const READY: u8 = b'h';
/// First byte of an output line that a warden passes up.
pub(super) const LINE: u8 = b'o';
/// First byte of the report line.
pub(super) const REPORT: u8 = b'r';
/// Byte down: the child's result is in, it has `linger_ms` to end by itself.
pub(super) const TERMINAL: u8 = b't';
