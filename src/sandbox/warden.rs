//! The warden: a single-threaded process of its own that starts one child, watches it and everything it starts,
//! and leaves nothing of it alive. It takes orders on standard input and reports on standard output; when its
//! parent dies, the order pipe ends, and that means: end the tree.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Instant;

use rustix::process::{Signal, getpid, set_child_subreaper};

use super::child;
use super::spec::{Order, READY, REPORT, Report};
use super::stream::Up;
use super::tree::{KILL_PATIENCE, Reaper};
use super::watch::Watch;
use crate::core::Ended;

/// Room for lines on their way up, bytes.
const UP_BYTES: usize = 64 << 10;

/// Runs the hidden subcommand. Standard input brings the order, standard output takes lines and the report.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // The orchestrator is gone: the tree has ended or was never started, and there is nobody to tell.
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof) => {
            ExitCode::FAILURE
        }
        Err(error) => {
            // Standard error is the orchestrator's own.
            let _ = writeln!(io::stderr(), "maestro-ci warden: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    set_child_subreaper(Some(getpid()))?;
    // Past the buffers of `io::stdin` and `io::stdout`: what follows the order must stay in the pipe, where `poll`
    // can see it, and a line of megabytes is written from where it lies.
    let mut orders = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut up = Up::with_capacity(UP_BYTES, File::from(io::stdout().as_fd().try_clone_to_owned()?));
    // `main` has hardened this process before anything else.
    up.write_all(&[READY])?;
    up.flush()?;
    let order = read_order(&mut orders)?;
    let report = carry_out(&order, orders, &mut up);
    up.write_all(&[REPORT])?;
    serde_json::to_writer(&mut up, &report)?;
    up.write_all(b"\n")?;
    up.flush()
}

/// Reads exactly the order: four bytes of length, then JSON.
fn read_order(orders: &mut File) -> io::Result<Order> {
    let mut length = [0; 4];
    orders.read_exact(&mut length)?;
    let mut order = vec![0; u32::from_le_bytes(length) as usize];
    orders.read_exact(&mut order)?;
    Ok(serde_json::from_slice(&order)?)
}

fn carry_out(order: &Order, orders: File, up: &mut Up) -> Report {
    let started = Instant::now();
    let program = order.argv.first().map_or("", String::as_str);
    let begun = watch_signals().and_then(|signals| Ok((signals, child::start(order)?)));
    let report = match begun {
        Ok((signals, child)) => {
            let watched = Watch::over(order, child, orders, signals, started).watch(up);
            watched.map_err(|error| format!("`{program}` cannot be watched: {error}"))
        }
        Err(error) => Err(format!("cannot start `{program}` in {}: {error}", order.dir.display())),
    };
    report.unwrap_or_else(given_up)
}

/// SIGTERM, SIGINT and SIGHUP to the warden itself mean stop, too. They arrive as bytes in a pipe.
fn watch_signals() -> io::Result<PipeReader> {
    let (read, write) = io::pipe()?;
    // It is emptied whenever a stop arrives, also one that came as an order.
    rustix::io::ioctl_fionbio(&read, true)?;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        signal_hook::low_level::pipe::register(signal.as_raw(), write.try_clone()?)?;
    }
    Ok(read)
}

/// Whatever went wrong (a full disk under the log, an orchestrator that is gone): nothing stays alive.
fn given_up(message: String) -> Report {
    let leaked_processes = Reaper::new(None).sweep(KILL_PATIENCE);
    Report { leaked_processes, ..Report::bare(Ended::NotStarted { message }) }
}
