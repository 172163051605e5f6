//! A warden at work, as the orchestrator sees it: lines and a report come up, `stop` and `result_is_in` go down. A
//! warden that does not answer in time is ended with its whole tree, so that nothing it watches can hang a run.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;

use super::lines::{Lines, MAX_LINE_BYTES};
use super::spec::{LINE, Limits, Order, READY, REPORT, Report, TERMINAL};
use super::{survivors, tree};
use crate::core::Ended;

/// Name of the hidden subcommand.
pub const WARDEN: &str = "__warden";

/// Byte down: end the tree.
const STOP: u8 = b's';
/// How much later than its last limit a warden may report: the end of a stubborn tree, and a busy machine.
const SLACK: Duration = Duration::from_secs(10);
/// How long after a stop a warden may take to report: its own grace and patience are shorter.
const STOP_PATIENCE: Duration = Duration::from_secs(7);
/// How often somebody who waits looks whether a stop was sent meanwhile.
const POLL_SLICE: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
/// How long the end of a warden is waited for that has reported, or was killed.
const EXIT_PATIENCE: Duration = Duration::from_secs(2);
/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

/// What was said to a warden.
struct Orders {
    /// None once nobody listens.
    pipe: Option<PipeWriter>,
    stopped_at: Option<Instant>,
    result_in_at: Option<Instant>,
}

impl Orders {
    /// A warden that is gone already needs no order. Each byte is sent once, so the pipe never fills.
    fn send(&mut self, byte: u8) {
        if let Some(pipe) = self.pipe.as_mut() {
            let _ = pipe.write_all(&[byte]);
        }
    }
}

/// Ends a running warden's tree, from any thread, once or often.
#[derive(Clone)]
pub struct Stopper(Arc<Mutex<Orders>>);

impl Stopper {
    fn new(pipe: PipeWriter) -> Self {
        Self(Arc::new(Mutex::new(Orders { pipe: Some(pipe), stopped_at: None, result_in_at: None })))
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the warden to end its tree: gently, then hard after the order's grace.
    pub fn stop(&self) {
        let mut orders = self.orders();
        if orders.stopped_at.is_none() {
            orders.stopped_at = Some(Instant::now());
            orders.send(STOP);
        }
    }

    /// Says that the child's result is in: from now on its tree has the order's `linger_ms` to end by itself.
    pub fn result_is_in(&self) {
        let mut orders = self.orders();
        if orders.result_in_at.is_none() {
            orders.result_in_at = Some(Instant::now());
            orders.send(TERMINAL);
        }
    }

    fn close(&self) {
        self.orders().pipe = None;
    }
}

/// A warden at work.
pub struct Warden {
    handle: duct::Handle,
    up: PipeReader,
    stopper: Stopper,
    limits: Limits,
    started: Instant,
}

impl Warden {
    /// Starts a warden with its order.
    ///
    /// # Errors
    /// This binary cannot be started again, it ends or says nothing before it has its order, or a pipe cannot be made.
    pub fn start(order: &Order) -> io::Result<Self> {
        let (down_read, mut down_write) = io::pipe()?;
        let (up, up_write) = io::pipe()?;
        let program = std::env::current_exe()?;
        #[expect(clippy::disallowed_methods, reason = "the one place that starts wardens")]
        let expression = duct::cmd(program, [WARDEN]);
        // Nothing of our environment: whoever may look into a warden would find our secrets there.
        let path = std::env::var("PATH").ok().map(|path| ("PATH", path));
        let expression = expression
            .full_env(path)
            .stdin_file(down_read)
            .stdout_file(up_write)
            .unchecked()
            // A group of its own: a Ctrl-C in the terminal reaches the orchestrator, which then ends things in order.
            .before_spawn(|command| {
                std::os::unix::process::CommandExt::process_group(command, 0);
                Ok(())
            });
        let handle = survivors::start_known(|| expression.start())?;
        // duct keeps its copy of the write end as long as the expression lives; here it ends.
        drop(expression);
        let stopper = Stopper::new(down_write.try_clone()?);
        let mut warden = Self { handle, up, stopper, limits: order.limits.clone(), started: Instant::now() };
        if let Err(error) = warden.take_order(order, &mut down_write) {
            warden.end();
            warden.wait_for_exit();
            return Err(error);
        }
        Ok(warden)
    }

    /// Sends the order, once nobody else can read it on its way.
    fn take_order(&mut self, order: &Order, down: &mut PipeWriter) -> io::Result<()> {
        while !self.is_readable()? {
            if self.started.elapsed() >= SLACK {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a warden does not begin"));
            }
        }
        let mut ready = [0];
        self.up.read_exact(&mut ready)?;
        if ready != [READY] {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let bytes = serde_json::to_vec(order)?;
        let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        down.write_all(&length.to_le_bytes())?;
        down.write_all(&bytes)
    }

    /// A handle that ends it.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Hands every JSON line up as it comes, then returns the report.
    ///
    /// # Errors
    /// The pipe cannot be read. A warden that dies or hangs without a report is not an error: what is left of it and
    /// its tree is killed, and its child counts as lost. What was adopted from it is for `end_lost`.
    pub fn wait(mut self, mut on_line: impl FnMut(&[u8])) -> io::Result<Report> {
        let heard = self.listen(&mut on_line);
        self.stopper.close();
        let ended = if matches!(heard, Ok(Some(_))) { 0 } else { self.end() };
        self.wait_for_exit();
        Ok(heard?.unwrap_or_else(|| self.lost(ended)))
    }

    /// None where the warden went away, or has not answered for too long.
    fn listen(&mut self, on_line: &mut impl FnMut(&[u8])) -> io::Result<Option<Report>> {
        // A line has its first byte in front on its way.
        let mut lines = Lines::new(MAX_LINE_BYTES + 1);
        let mut buffer = vec![0; READ_BYTES];
        let mut report = None;
        let mut take = |line: &[u8]| {
            match line.split_first() {
                Some((&LINE, rest)) => on_line(rest),
                Some((&REPORT, rest)) => report = serde_json::from_slice(rest).ok(),
                _ => {}
            }
            Ok(())
        };
        loop {
            // What was said in time counts, however late it is heard.
            if self.is_readable()? {
                match self.up.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) => lines.feed(&buffer[..n], &mut take)?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            } else if Instant::now() >= self.gives_up_at() {
                break;
            }
        }
        Ok(report)
    }

    fn is_readable(&self) -> io::Result<bool> {
        match poll(&mut [PollFd::new(&self.up, PollFlags::IN)], Some(&POLL_SLICE)) {
            Err(rustix::io::Errno::INTR) => Ok(false),
            ready => Ok(ready? > 0),
        }
    }

    /// When a warden that keeps its limits must have reported.
    fn gives_up_at(&self) -> Instant {
        let orders = self.stopper.orders();
        let Limits { wall_ms, grace_ms, linger_ms, .. } = self.limits;
        let after = |at: Instant, ms: u64| at + Duration::from_millis(ms.saturating_add(grace_ms)) + SLACK;
        let limit = after(self.started, wall_ms);
        let result = orders.result_in_at.map_or(limit, |at| after(at, linger_ms));
        let stop = orders.stopped_at.map_or(limit, |at| at + STOP_PATIENCE);
        limit.min(result).min(stop)
    }

    /// Nothing of a warden that went away without a word may stay. Its own number is ours until it is waited for.
    fn end(&self) -> u32 {
        let pids = self.handle.pids().into_iter().filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        pids.map(tree::end).fold(0, u32::saturating_add)
    }

    /// A warden that sleeps uninterruptibly is left to itself; `duct` collects it when it can.
    fn wait_for_exit(&self) {
        let since = Instant::now();
        loop {
            match self.handle.try_wait() {
                Ok(None) => {}
                Ok(Some(output)) if output.status.success() => break,
                // Without a report that is all there is to say about its end.
                Ok(Some(output)) => {
                    tracing::warn!("a warden ended: {}", output.status);
                    break;
                }
                Err(_) => break,
            }
            if since.elapsed() >= EXIT_PATIENCE {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        survivors::forget(&self.handle);
    }

    fn lost(&self, leaked_processes: u32) -> Report {
        let duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Report { duration_ms, leaked_processes, ..Report::bare(Ended::Lost) }
    }
}
