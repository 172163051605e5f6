//! What a person sees on a terminal: a real pty, a real run, and an emulator that keeps the screen.

use std::process::Command;

use crate::env::{Env, prd};

/// Wide enough for every line of the log.
const COLUMNS: usize = 200;
const ROWS: usize = 12;

/// Runs a command below a pty of that size and prints every byte that came out of it; its exit code is ours.
const PTY: &str = "
import fcntl, os, pty, struct, sys, termios
pid, fd = pty.fork()
if pid == 0:
    # Not before the size is set.
    sys.stdin.readline()
    os.execvpe(sys.argv[3], sys.argv[3:], os.environ)
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', int(sys.argv[2]), int(sys.argv[1]), 0, 0))
attributes = termios.tcgetattr(fd)
attributes[3] &= ~termios.ECHO
termios.tcsetattr(fd, termios.TCSANOW, attributes)
os.write(fd, b'\\n')
while True:
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    sys.stdout.buffer.write(data)
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
";

/// A terminal: the screen, and the lines that went out at its top.
struct Terminal {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// Sequences that the emulator does not know.
    unknown: Vec<String>,
}

impl Terminal {
    /// The screen after some output.
    fn after(output: &str) -> Self {
        let mut terminal = Self { lines: vec![Vec::new()], row: 0, column: 0, unknown: Vec::new() };
        let mut chars = output.chars();
        while let Some(c) = chars.next() {
            match c {
                '\n' => terminal.down(),
                '\r' => terminal.column = 0,
                '\u{1b}' => {
                    let mut sequence = String::new();
                    while !sequence.ends_with(|c: char| c.is_ascii_alphabetic()) {
                        sequence.push(chars.next().expect("a whole sequence"));
                    }
                    terminal.obey(sequence.trim_start_matches('['));
                }
                c => terminal.put(c),
            }
        }
        terminal
    }

    fn down(&mut self) {
        self.row += 1;
        if self.row == self.lines.len() {
            self.lines.push(Vec::new());
        }
    }

    fn put(&mut self, c: char) {
        if self.column == COLUMNS {
            self.column = 0;
            self.down();
        }
        let line = &mut self.lines[self.row];
        while line.len() <= self.column {
            line.push(' ');
        }
        line[self.column] = c;
        self.column += 1;
    }

    fn obey(&mut self, sequence: &str) {
        let (number, what) = sequence.split_at(sequence.len() - 1);
        let n = number.parse().unwrap_or(1);
        match what {
            "m" => {}
            // Not above what is on the screen: older lines cannot be reached any more.
            "A" => self.row = self.row.saturating_sub(n).max(self.lines.len().saturating_sub(ROWS)),
            "B" => (0..n).for_each(|_| self.down()),
            "K" if number == "2" => self.lines[self.row].clear(),
            "K" => self.lines[self.row].truncate(self.column),
            "J" => {
                self.lines[self.row].truncate(self.column);
                self.lines.truncate(self.row + 1);
            }
            "G" => self.column = n - 1,
            _ => self.unknown.push(sequence.to_owned()),
        }
    }

    fn text(&self) -> Vec<String> {
        let lines = self.lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned());
        lines.filter(|line| !line.is_empty()).collect()
    }
}

/// Runs the command under test below a pty.
fn on_a_terminal(env: &Env, args: &[&str], vars: &[(&str, &str)]) -> (i32, String) {
    let inner = env.command(args);
    // What hangs ends by itself, and says so with its exit code.
    let mut command = Command::new("timeout");
    command
        .args(["60", "python3", "-c", PTY, &COLUMNS.to_string(), &ROWS.to_string()])
        .arg(inner.get_program())
        .args(inner.get_args());
    command.current_dir(&env.repo).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm-256color");
    let output = command.envs(vars.iter().copied()).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), String::from_utf8(output.stdout).unwrap())
}

/// Three tasks of which two run at a time, with an agent that takes a while and says what no terminal should hear.
fn world() -> Env {
    let env = Env::new();
    let requirements = [("FR-1", "the first"), ("FR-2", "a second one ##[error]x"), ("FR-3", "the third 数数数")];
    env.write("prd.md", &prd(&requirements));
    env.commit("prd");
    env
}

const AGENT: &str = "printf '\\033]0;title\\007\\033[2Jboo' >&2; sleep 2; echo done > \"$MAESTRO_TASK.txt\"";
const ARGS: [&str; 6] = ["--prd", "prd.md", "--agent-cmd", AGENT, "--jobs", "2"];

#[test]
fn bars_show_what_runs_and_leave_nothing_but_the_log() {
    let env = world();
    let (code, output) = on_a_terminal(&env, &ARGS, &[]);
    assert_eq!(code, 0, "{output}");
    for expected in ["0/3 tasks", "2/3 tasks", "T-001 command · the first", "\u{1b}[32m✓\u{1b}[0m T-001 integrated"]
    {
        assert!(output.contains(expected), "{expected:?} in {output:?}");
    }
    let terminal = Terminal::after(&output);
    assert_eq!(terminal.unknown, Vec::<String>::new());
    let lines = terminal.text();
    let is_log = |line: &String| line.starts_with("[Maestro] ") || line.starts_with("WARN ");
    assert!(lines.iter().all(is_log), "something is left beside the log: {lines:#?}");
    let log: Vec<&String> = lines.iter().filter(|line| line.starts_with("[Maestro] ")).collect();
    for n in 1..=5 {
        assert_eq!(
            log.iter().filter(|line| line.starts_with(&format!("[Maestro] Phase {n}"))).count(),
            1,
            "{lines:#?}"
        );
    }
    for task in ["T-001", "T-002", "T-003"] {
        assert_eq!(log.iter().filter(|l| l.contains(&format!("✓ {task} integrated"))).count(), 1, "{lines:#?}");
    }
}

#[test]
fn the_log_below_bars_is_the_log_without_them() {
    // Times differ from run to run, and so do names of sessions and commits.
    let words = |lines: &[String]| {
        let starts = lines.iter().filter_map(|l| l.strip_prefix("[Maestro] "));
        let mut words: Vec<String> =
            starts.map(|l| l.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect();
        words.retain(|w| !w.starts_with("Session") && !w.starts_with("Base"));
        words.sort();
        words
    };
    let (_, bars) = on_a_terminal(&world(), &ARGS, &[("NO_COLOR", "1")]);
    let plain = world().run(&ARGS).exits(0).stderr;
    assert!(!bars.contains("\u{1b}[3") && !bars.contains("\u{1b}[1m"), "NO_COLOR: {bars:?}");
    let plain: Vec<String> = plain.lines().map(str::to_owned).collect();
    assert_eq!(words(&Terminal::after(&bars).text()), words(&plain));
}

#[test]
fn flags_and_ci_turn_bars_and_colours_off() {
    let check = |args: &[&str], vars: &[(&str, &str)], bars: bool, color: bool| {
        let all: Vec<&str> = ARGS.iter().chain(args).copied().collect();
        let (code, output) = on_a_terminal(&world(), &all, vars);
        assert_eq!(code, 0, "{output}");
        assert_eq!(output.contains("0/3 tasks"), bars, "{args:?} {vars:?}: {output:?}");
        assert_eq!(output.contains("\u{1b}[32m"), color, "{args:?} {vars:?}: {output:?}");
    };
    check(&["--progress", "plain", "--color", "never"], &[], false, false);
    check(&["--progress", "plain"], &[], false, true);
    check(&[], &[("CI", "true")], false, true);
    check(&["--progress", "bar"], &[("CI", "true"), ("NO_COLOR", "1")], true, false);
    check(&[], &[("TERM", "dumb")], false, false);
    check(&["--log-format", "json"], &[], false, false);
}

#[test]
fn none_shows_how_it_ended_and_quiet_less() {
    let run = world().run(&[&ARGS[..], &["--progress", "none"]].concat()).exits(0).says("✓ passed");
    assert!(!run.stderr.contains("Phase") && !run.stderr.contains("T-001"), "{}", run.stderr);
    let run = world().run(&[&ARGS[..], &["-q"]].concat()).exits(0);
    assert_eq!(run.stderr, "");
    let run = world().run(&[&ARGS[..], &["--color", "always"]].concat()).exits(0);
    assert!(run.stderr.contains("\u{1b}[32m✓\u{1b}[0m"), "{}", run.stderr);
}
