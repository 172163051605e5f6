//! Where processes are started and ended. Every agent, every gate and `workspace.setup` runs under a warden of its
//! own (a hidden subcommand of this binary); the orchestrator only holds the pipe that keeps it alive.
//!
//! In: an `Order`. Out: lines of JSON as they come, then a `Report`. It must not know what an agent or a gate is.

mod capped;
mod env;
mod spec;
mod survivors;
mod tree;
mod warden;

use std::io::{self, BufRead, BufReader, PipeWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};

pub use env::child_env;
pub use spec::{Order, Report};
pub use survivors::{end_survivors, wait_for_survivors};
pub use warden::main as warden_main;

use crate::core::Ended;

/// Name of the hidden subcommand.
pub const WARDEN: &str = "__warden";

/// The walls that this version can build.
pub const ISOLATION: &str = "L0";

/// Ends a running warden's tree, from any thread, once or often.
#[derive(Clone)]
pub struct Stopper(Arc<Mutex<Option<PipeWriter>>>);

impl Stopper {
    /// Asks the warden to end its tree: gently, then hard after the order's grace.
    pub fn stop(&self) {
        let mut pipe = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipe) = pipe.as_mut() {
            // A warden that is gone already needs no order.
            let _ = pipe.write_all(b"stop\n");
        }
    }

    fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A warden at work.
pub struct Warden {
    handle: duct::Handle,
    up: BufReader<io::PipeReader>,
    stopper: Stopper,
}

impl Warden {
    /// Starts a warden with its order.
    ///
    /// # Errors
    /// This binary cannot be started again, or a pipe cannot be made.
    pub fn start(order: &Order) -> io::Result<Self> {
        let (down_read, mut down_write) = io::pipe()?;
        let (up_read, up_write) = io::pipe()?;
        let program = std::env::current_exe()?;
        #[expect(clippy::disallowed_methods, reason = "the one place that starts wardens")]
        let expression = duct::cmd(program, [WARDEN]);
        let handle = expression
            .stdin_file(down_read)
            .stdout_file(up_write)
            .unchecked()
            // A group of its own: a Ctrl-C in the terminal reaches the orchestrator, which then ends things in order.
            .before_spawn(|command| {
                std::os::unix::process::CommandExt::process_group(command, 0);
                Ok(())
            })
            .start()?;
        // duct keeps its copy of the write end as long as the expression lives; here it ends.
        drop(expression);
        let order = serde_json::to_vec(order)?;
        let length = u32::try_from(order.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        down_write.write_all(&length.to_le_bytes())?;
        down_write.write_all(&order)?;
        let stopper = Stopper(Arc::new(Mutex::new(Some(down_write))));
        Ok(Self { handle, up: BufReader::new(up_read), stopper })
    }

    /// A handle that ends it.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Hands every JSON line up as it comes, then returns the report.
    ///
    /// # Errors
    /// The pipe cannot be read. A warden that dies without a report is not an error: its child counts as lost.
    pub fn wait(mut self, mut on_line: impl FnMut(&str)) -> io::Result<Report> {
        let mut report = None;
        let mut line = Vec::new();
        while {
            line.clear();
            self.up.read_until(b'\n', &mut line)?
        } > 0
        {
            match line.split_first() {
                Some((&spec::LINE, rest)) => on_line(String::from_utf8_lossy(rest).trim_end()),
                Some((&spec::REPORT, rest)) => report = serde_json::from_slice(rest).ok(),
                _ => {}
            }
        }
        self.stopper.close();
        self.handle.wait()?;
        let lost = Report { ended: Ended::Lost, duration_ms: 0, leaked_processes: 0, stdout_bytes: 0 };
        Ok(report.unwrap_or(lost))
    }
}
