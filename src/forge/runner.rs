//! The files through which a CI takes results over: outputs and job summary of the GitHub runner, the dotenv report of
//! GitLab. Finished names and texts flow in and are appended; an error names the file. Nothing is decided here.
//!
//! Formats and limits are those of the runner (`FileCommandManager.cs`): an output is `name=value`, or several lines
//! between delimiters that nobody can guess; a step's summary above 1 MiB is dropped as a whole.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::text::{Measure, cut_markdown};

/// Most bytes of a step's summary, everything in it counted; the runner's limit is 1,048,576.
const SUMMARY_BYTES: usize = 1_000_000;
/// Less room than this is not worth a cut summary.
const SUMMARY_ROOM: usize = 1_000;
/// GitLab's default limit of a dotenv report, bytes.
const DOTENV_BYTES: usize = 5 * 1024;

/// A file that did not take what it was to hold.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be written to {}: {source}", path.display())]
pub struct RunnerError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The files that this job has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runner {
    /// `GITHUB_OUTPUT`.
    pub output: Option<PathBuf>,
    /// `GITHUB_STEP_SUMMARY`.
    pub summary: Option<PathBuf>,
}

impl Runner {
    /// The files that the environment names.
    pub fn from_env(env: &BTreeMap<String, String>) -> Self {
        let path = |name: &str| env.get(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        Self { output: path("GITHUB_OUTPUT"), summary: path("GITHUB_STEP_SUMMARY") }
    }

    /// Adds outputs; a later value of the same name wins. Names are ours.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add_outputs(&self, pairs: &[(&str, String)]) -> Result<(), RunnerError> {
        let Some(path) = &self.output else { return Ok(()) };
        let delimiter = format!("ghadelimiter_{}", uuid::Uuid::new_v4());
        let text: String = pairs.iter().map(|(name, value)| output(name, value, &delimiter)).collect();
        append(path, &text).map_err(|source| RunnerError { what: "the step's outputs", path: path.clone(), source })
    }

    /// Adds a page to the step's summary, cut so that what stands there already still fits beside it. `more` says where
    /// the rest is.
    ///
    /// # Errors
    /// The file cannot be written, or has no room left.
    pub fn add_summary(&self, page: &str, more: &str) -> Result<(), RunnerError> {
        let Some(path) = &self.summary else { return Ok(()) };
        let error = |source| RunnerError { what: "the job summary", path: path.clone(), source };
        let taken = fs::metadata(path).map_or(0, |meta| usize::try_from(meta.len()).unwrap_or(usize::MAX));
        // Two more for the line ends in front of the page.
        let room = SUMMARY_BYTES.saturating_sub(taken).saturating_sub(2);
        if room < SUMMARY_ROOM {
            return Err(error(io::Error::other("other steps' text leaves no room in it")));
        }
        append(path, &cut_markdown(page, room, Measure::Bytes, more)).map_err(error)
    }
}

/// Writes a dotenv report as GitLab reads it, `NAME=value`, one a line; names are made of the outputs'. It replaces the
/// file. What has no value, or goes over the limit, is left out.
///
/// # Errors
/// The file cannot be written.
pub fn write_dotenv(path: &Path, prefix: &str, pairs: &[(&str, String)]) -> Result<(), RunnerError> {
    let line = |(name, value): &(&str, String)| format!("{prefix}{}={}\n", name.to_ascii_uppercase(), one_line(value));
    let mut text = String::new();
    for line in pairs.iter().filter(|(_, value)| !value.is_empty()).map(line) {
        if text.len() + line.len() <= DOTENV_BYTES {
            text.push_str(&line);
        }
    }
    fs::write(path, text).map_err(|source| RunnerError { what: "the dotenv report", path: path.to_owned(), source })
}

/// GitLab refuses a report with a value of several lines.
fn one_line(value: &str) -> String {
    value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn output(name: &str, value: &str, delimiter: &str) -> String {
    if value.contains(['\n', '\r']) {
        format!("{name}<<{delimiter}\n{value}\n{delimiter}\n")
    } else {
        format!("{name}={value}\n")
    }
}

/// Appends, on a line of its own: an earlier step may have left its last line open.
fn append(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
    let glue = if ends_in_line_end(&mut file)? { "" } else { "\n" };
    file.write_all(format!("{glue}{text}").as_bytes())
}

fn ends_in_line_end(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the runner makes of the file, after `FileCommandManager.cs`: an error where it would throw.
    fn parsed(text: &str) -> Result<BTreeMap<String, String>, String> {
        let (mut found, mut lines) = (BTreeMap::new(), text.split_inclusive('\n'));
        while let Some(line) = lines.next() {
            let line = line.strip_suffix('\n').ok_or("no line end")?;
            let (equals, heredoc) = (line.find('='), line.find("<<"));
            match (equals, heredoc) {
                (Some(at), other) if other.is_none_or(|other| at < other) => {
                    found.insert(line[..at].to_owned(), line[at + 1..].to_owned());
                }
                (_, Some(at)) => {
                    let (name, delimiter, mut value) = (&line[..at], &line[at + 2..], String::new());
                    loop {
                        let line = lines.next().ok_or("matching delimiter not found")?;
                        let line = line.strip_suffix('\n').ok_or("EOF marker missing new line")?;
                        if line == delimiter {
                            break;
                        }
                        value.push_str(line);
                        value.push('\n');
                    }
                    found.insert(name.to_owned(), value.trim_end_matches('\n').to_owned());
                }
                _ => return Err(format!("invalid format {line:?}")),
            }
        }
        Ok(found)
    }

    fn runner(dir: &Path) -> Runner {
        Runner { output: Some(dir.join("output")), summary: Some(dir.join("summary")) }
    }

    #[test]
    fn outputs_are_what_the_runner_reads_whatever_they_hold() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("output"), "before=1").expect("written");
        let values =
            ["", "plain", "a=b<<c", "two\nlines", "ghadelimiter_x\nghadelimiter_x", "cr\rin it", "x\nname=evil"];
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        let pairs: Vec<(&str, String)> = names.into_iter().zip(values.map(str::to_owned)).collect();
        runner(dir.path()).add_outputs(&pairs).expect("written");
        let found = parsed(&fs::read_to_string(dir.path().join("output")).expect("a file")).expect("well-formed");
        assert_eq!(found.get("before").map(String::as_str), Some("1"));
        assert_eq!(found.len(), names.len() + 1, "{found:?}");
        for (name, value) in pairs {
            assert_eq!(found.get(name), Some(&value));
        }
    }

    #[test]
    fn a_summary_leaves_room_for_what_is_there_and_stays_below_the_limit() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("summary");
        fs::write(&path, "x".repeat(600_000)).expect("written");
        let page = format!("<details>\n\n```text\n{}```\n\n</details>\n", "line\n".repeat(200_000));
        runner(dir.path()).add_summary(&page, "the rest is in the artifact").expect("written");
        let text = fs::read_to_string(&path).expect("a file");
        assert!(text.len() <= SUMMARY_BYTES && text.len() > SUMMARY_BYTES - 100, "{}", text.len());
        assert!(text.contains("x\n<details>") && text.ends_with("```\n\n</details>\n\nthe rest is in the artifact\n"));
        let full = runner(dir.path()).add_summary(&page, "").expect_err("no room is left");
        assert!(full.to_string().contains("no room"), "{full}");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let runner = runner(&dir.path().join("missing"));
        let error = runner.add_outputs(&[("a", "b".to_owned())]).expect_err("no directory");
        assert!(error.to_string().contains("missing/output"), "{error}");
        assert_eq!(Runner::default().add_summary("x", "y").ok(), Some(()));
    }

    #[test]
    fn a_dotenv_report_has_one_line_a_value_and_stays_small() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("m.env");
        let pairs = [("a_b", "x\ny".to_owned()), ("c", String::new()), ("d", "z".repeat(6000)), ("e", "1".to_owned())];
        write_dotenv(&path, "MAESTRO_RESULT_", &pairs).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("a file"), "MAESTRO_RESULT_A_B=x y\nMAESTRO_RESULT_E=1\n");
    }
}
