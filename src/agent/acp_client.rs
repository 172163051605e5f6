//! The client's side of the `acp` protocol: a hidden subcommand of this binary, started under the warden inside the
//! walls, with the agent as its child. `acp_talk` knows what to say; here are the pipes, the clock and the signals.
//!
//! In: options and the agent's command line as arguments, the prompt on standard input. Out: on standard output every
//! line of the agent as it came, and lines of our own (`"maestro":"acp"`) for what was done about it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, ErrorKind, PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::acp_talk::{Say, Talk};

/// Name of the hidden subcommand.
pub const ACP: &str = "__acp";

/// Longest line of the agent that is read; a longer one is passed over.
const MAX_LINE_BYTES: usize = 8 << 20;
/// Most that waits for an agent that does not read.
const MAX_QUEUE_BYTES: usize = 64 << 20;
/// A stopped agent's time to answer that it is cancelled.
const CANCEL: Duration = Duration::from_secs(1);
/// An agent's time to end by itself once its input is closed.
const EXIT: Duration = Duration::from_secs(2);
/// The same after a stop, when the warden's own grace is short.
const EXIT_AFTER_STOP: Duration = Duration::from_millis(300);
/// Exit statuses of a shell for a program that is not there, and for one that cannot be started.
const NOT_FOUND: u8 = 127;
const CANNOT_START: u8 = 126;

/// What the client is told besides the agent's command line.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Options {
    /// Where the session works; absolute.
    pub(super) cwd: PathBuf,
    /// The model that the agent is to use, where one is named.
    pub(super) model: Option<String>,
    /// What the task's role adds to the agent's own instructions.
    #[serde(default)]
    pub(super) role: Option<String>,
    /// What claude's agent is told of settings.
    #[serde(default)]
    pub(super) claude: Value,
    /// No session and no prompt: the agent is only asked who it is.
    #[serde(default)]
    pub(super) only_greets: bool,
}

/// Runs the hidden subcommand: `__acp <options as JSON> -- program args…`. Exit status 0 only where the agent says
/// that its turn is done.
pub fn acp_main() -> ExitCode {
    run(std::env::args_os().skip(2)).unwrap_or_else(|error| {
        // Standard error is the log file of this attempt; without it there is nobody to tell.
        let _ = writeln!(io::stderr(), "maestro-ci: {error}");
        ExitCode::FAILURE
    })
}

fn run(mut args: impl Iterator<Item = OsString>) -> io::Result<ExitCode> {
    let options: Options = serde_json::from_slice(args.next().unwrap_or_default().as_encoded_bytes())?;
    let program = match (args.next(), args.next()) {
        (Some(dashes), Some(program)) if dashes == "--" => program,
        _ => return Err(io::Error::new(ErrorKind::InvalidInput, format!("`{ACP}` needs options, `--` and a program"))),
    };
    let talk = if options.only_greets {
        Talk::greeting()
    } else {
        let mut prompt = Vec::new();
        io::stdin().lock().read_to_end(&mut prompt)?;
        let prompt = String::from_utf8_lossy(&prompt).into_owned();
        let talk = Talk::new(options.cwd.display().to_string(), prompt, options.model);
        talk.with_role(options.role).with_claude(options.claude)
    };
    #[expect(clippy::disallowed_methods, reason = "the agent is this client's own child; the warden ends both")]
    let mut command = Command::new(&program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    let signals = watch_signals()?;
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let message = format!("cannot start `{}`: {error}", program.display());
            note(&json!({"maestro": "acp", "did": "failed", "error": message}))?;
            return Ok(ExitCode::from(if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { CANNOT_START }));
        }
    };
    let mut client = Client::new(child, signals, talk)?;
    let talked = client.converse();
    client.end()?;
    talked?;
    Ok(if client.talk.over() == Some(true) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Client {
    child: Child,
    pidfd: OwnedFd,
    /// The agent's standard input; none once it is closed.
    input: Option<ChildStdin>,
    /// The agent's standard output; none once it has ended.
    output: Option<ChildStdout>,
    signals: PipeReader,
    /// What the agent has not read yet.
    queue: VecDeque<u8>,
    lines: Lines,
    talk: Talk,
    stopped: bool,
    /// When the agent has had its time; none while it works.
    until: Option<Instant>,
}

#[derive(Default)]
struct Ready {
    ended: bool,
    stop: bool,
}

impl Client {
    fn new(mut child: Child, signals: PipeReader, talk: Talk) -> io::Result<Self> {
        let (input, output) = (child.stdin.take(), child.stdout.take());
        // Neither side may wait for the other: both pipes can be full at once.
        if let (Some(input), Some(output)) = (&input, &output) {
            rustix::io::ioctl_fionbio(input, true)?;
            rustix::io::ioctl_fionbio(output, true)?;
        }
        Ok(Self {
            pidfd: pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?,
            child,
            input,
            output,
            signals,
            queue: VecDeque::new(),
            lines: Lines::default(),
            talk,
            stopped: false,
            until: None,
        })
    }

    /// Talks until all is said and the agent is gone, or has had its time.
    fn converse(&mut self) -> io::Result<()> {
        let first = self.talk.open();
        self.send(&first)?;
        loop {
            self.flush()?;
            let ready = self.wait()?;
            if ready.stop {
                self.stop()?;
            }
            let heard = self.listen()?;
            if self.talk.over().is_some() || self.output.is_none() || ready.ended {
                self.close();
            }
            let gone = ready.ended && !heard;
            if gone || self.until.is_some_and(|until| Instant::now() >= until) {
                return Ok(());
            }
        }
    }

    /// Ends what is left of the agent, and says how it ended. A signal of ours, or one that came with our stop, is no crash of the agent's.
    fn end(&mut self) -> io::Result<()> {
        self.input = None;
        let killed = self.child.try_wait()?.is_none();
        if killed {
            self.child.kill()?;
        }
        let status = self.child.wait()?;
        let signal = status.signal().filter(|_| !killed && !self.stopped);
        note(&json!({"maestro": "acp", "did": "exit", "code": status.code(), "signal": signal, "killed": killed}))
    }

    fn wait(&self) -> io::Result<Ready> {
        let mut fds = vec![PollFd::new(&self.pidfd, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        fds.extend(self.output.iter().map(|output| PollFd::new(output, PollFlags::IN)));
        // A pipe with room is always ready; it is asked only while something waits for it.
        let input = self.input.iter().filter(|_| !self.queue.is_empty());
        fds.extend(input.map(|input| PollFd::new(input, PollFlags::OUT)));
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(Ready::default()),
            other => other?,
        };
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        Ok(Ready { ended: is_ready(&fds[0]), stop: is_ready(&fds[1]) })
    }

    /// The turn is cancelled where there is one; else there is nothing to wait for.
    fn stop(&mut self) -> io::Result<()> {
        let _ = self.signals.read(&mut [0; 64]);
        self.stopped = true;
        if let Some(cancel) = self.talk.cancel() {
            self.until = Some(Instant::now() + CANCEL);
            self.send(&cancel)
        } else {
            self.close();
            Ok(())
        }
    }

    /// Closes the agent's input, which is how it is told to end.
    fn close(&mut self) {
        if self.input.take().is_some() {
            self.queue.clear();
            self.until = Some(Instant::now() + if self.stopped { EXIT_AFTER_STOP } else { EXIT });
        }
    }

    /// Puts a message in the queue; an agent whose input is closed is told nothing more.
    fn send(&mut self, message: &Value) -> io::Result<()> {
        if self.input.is_none() {
            return Ok(());
        }
        let line = message.to_string();
        if self.queue.len() + line.len() > MAX_QUEUE_BYTES {
            let error = "the agent asks and does not read the answers";
            note(&json!({"maestro": "acp", "did": "failed", "error": error}))?;
            self.close();
            return Ok(());
        }
        self.queue.extend(line.as_bytes());
        self.queue.push_back(b'\n');
        Ok(())
    }

    /// Writes what the agent has room for. One that closed its input may still have something to say.
    fn flush(&mut self) -> io::Result<()> {
        while let (Some(input), false) = (&mut self.input, self.queue.is_empty()) {
            match input.write(self.queue.as_slices().0) {
                Ok(written) => drop(self.queue.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => self.close(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what is there. True where there was something.
    fn listen(&mut self) -> io::Result<bool> {
        let mut buffer = vec![0; 64 << 10];
        let mut heard = false;
        // An agent that writes without end must not keep the client from looking at the clock.
        for _ in 0..64 {
            let Some(output) = &mut self.output else { break };
            match output.read(&mut buffer) {
                Ok(0) => {
                    self.output = None;
                    let rest = self.lines.cut(b"\n");
                    self.hear(rest)?;
                }
                Ok(n) => {
                    heard = true;
                    let lines = self.lines.cut(&buffer[..n]);
                    self.hear(lines)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(heard)
    }

    fn hear(&mut self, lines: Vec<Line>) -> io::Result<()> {
        for line in lines {
            let Line::Whole(line) = line else {
                let error = format!("a line of the agent is longer than {MAX_LINE_BYTES} bytes");
                note(&json!({"maestro": "acp", "did": "skipped", "error": error}))?;
                continue;
            };
            print(&line)?;
            for say in self.talk.hear(&String::from_utf8_lossy(&line)) {
                match say {
                    Say::Send(message) => self.send(&message)?,
                    Say::Note(value) => {
                        if let (Some("failed"), Some(error)) = (value["did"].as_str(), value["error"].as_str()) {
                            // The last words of an attempt are those on standard error.
                            writeln!(io::stderr(), "{error}")?;
                        }
                        note(&value)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// SIGTERM, SIGINT and SIGHUP arrive as bytes in a pipe.
fn watch_signals() -> io::Result<PipeReader> {
    let (read, write) = io::pipe()?;
    rustix::io::ioctl_fionbio(&read, true)?;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        signal_hook::low_level::pipe::register(signal.as_raw(), write.try_clone()?)?;
    }
    Ok(read)
}

fn note(value: &Value) -> io::Result<()> {
    print(value.to_string().as_bytes())
}

fn print(line: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(line)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// A line, or that there was one that is too long to keep.
#[derive(Debug, PartialEq)]
enum Line {
    Whole(Vec<u8>),
    TooLong,
}

/// Cuts bytes into lines.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    too_long: bool,
}

impl Lines {
    /// The lines that these bytes complete; empty ones are passed over.
    fn cut(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.extend(piece);
            if pieces.peek().is_some() {
                lines.extend(self.take());
            }
        }
        lines
    }

    fn extend(&mut self, piece: &[u8]) {
        if self.too_long || self.line.len() + piece.len() > MAX_LINE_BYTES {
            self.too_long = true;
            self.line = Vec::new();
        } else {
            self.line.extend_from_slice(piece);
        }
    }

    fn take(&mut self) -> Option<Line> {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.too_long) {
            return Some(Line::TooLong);
        }
        (!line.is_empty()).then_some(Line::Whole(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Line {
        Line::Whole(text.as_bytes().to_vec())
    }

    #[test]
    fn lines_come_out_whole_however_they_arrive() {
        let mut lines = Lines::default();
        assert!(lines.cut(b"{\"a\"").is_empty());
        assert_eq!(lines.cut(b":1}\n\n{\"b\":2}\n{"), [whole("{\"a\":1}"), whole("{\"b\":2}")]);
        assert!(lines.cut(b"}").is_empty());
        assert_eq!(lines.cut(b"\n"), [whole("{}")]);
        assert!(lines.cut(b"\n").is_empty());
    }

    #[test]
    fn a_line_without_bound_is_dropped_and_said() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            assert!(lines.cut(&piece).is_empty());
            assert!(lines.line.len() <= MAX_LINE_BYTES);
        }
        assert_eq!(lines.cut(b"\nok\n"), [Line::TooLong, whole("ok")]);
    }
}
