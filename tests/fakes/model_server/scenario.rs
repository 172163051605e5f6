//! Scenarios by name: what the model wants done, and what goes wrong meanwhile.

use std::time::Duration;

/// A step of the model's script: one tool call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Write,
    Edit,
    Shell(&'static str),
}

/// What goes wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    None,
    /// An error status, for the first `times` requests.
    Status {
        status: u16,
        times: u64,
    },
    /// Silence after the first words.
    Stall,
    /// Silence before the head.
    StallHead,
    /// The connection ends after the first words.
    Cut,
    /// The connection ends before the head.
    Close,
    /// An event that is no JSON.
    Garbage,
    /// Usage in the last bytes only, after a pause.
    LateUsage,
    /// No word about usage.
    NoUsage,
    /// More output billed than the cap allows.
    Larger,
    /// More input billed than anybody expects: a token for each byte.
    Dense,
    /// A pause before each event.
    Slow(Duration),
}

/// A scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// What the model wants done, by the number of tool results.
    pub steps: &'static [Step],
    /// The last step again and again.
    pub endless: bool,
    /// Some text before each call, in the same message.
    pub talks: bool,
    /// Streams end with the connection instead of being chunked.
    pub close: bool,
    /// `stall`, `cut` and `garbage` strike answers that are not streamed as well.
    pub whole: bool,
    pub quirk: Quirk,
}

const OK: &[Step] = &[Step::Write, Step::Edit];
const NAMES: &str = "ok text two loop hang_tool shell exit3 stall stall_head cut close garbage late_usage no_usage larger \
                     dense slow[-MS] STATUS STATUSxTIMES, each with +close or +whole";

impl Scenario {
    /// The scenario of a name; the names of the older Python server are understood.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn of(name: &str) -> Result<Self, String> {
        let (plain, way) = name.split_once('+').unwrap_or((name, ""));
        if !["", "close", "whole"].contains(&way) {
            return Err(format!("no way {way:?} of a scenario; there are close and whole"));
        }
        let known = Self::plain(plain).ok_or_else(|| format!("no scenario {name:?}; there are {NAMES}"))?;
        Ok(Self { close: way == "close", whole: way == "whole", ..known })
    }

    fn plain(name: &str) -> Option<Self> {
        let scenario = |steps, quirk| Self { steps, endless: false, talks: false, close: false, whole: false, quirk };
        let (head, tail) = name.split_once('-').unwrap_or((name, ""));
        Some(match head {
            "ok" => scenario(OK, Quirk::None),
            "text" => scenario(&[], Quirk::None),
            "two" => Self { talks: true, ..scenario(&[Step::Write], Quirk::None) },
            "loop" => Self { endless: true, ..scenario(&[Step::Shell("echo iteration {n}")], Quirk::None) },
            "hang_tool" | "hang" => scenario(&[Step::Shell("echo started; sleep 1000")], Quirk::None),
            "shell" => scenario(&[Step::Shell("echo hi-from-tool; pwd")], Quirk::None),
            "exit3" => scenario(&[Step::Shell("exit 3")], Quirk::None),
            "stall" => scenario(&[], Quirk::Stall),
            "stall_head" => scenario(&[], Quirk::StallHead),
            "cut" => scenario(&[], Quirk::Cut),
            "close" => scenario(&[], Quirk::Close),
            "garbage" => scenario(&[], Quirk::Garbage),
            "late_usage" => scenario(OK, Quirk::LateUsage),
            "no_usage" => scenario(OK, Quirk::NoUsage),
            "larger" => scenario(OK, Quirk::Larger),
            "dense" => scenario(OK, Quirk::Dense),
            "slow" if tail.is_empty() => scenario(OK, Quirk::Slow(Duration::from_millis(100))),
            "slow" => scenario(OK, Quirk::Slow(Duration::from_millis(tail.parse().ok()?))),
            _ => scenario(OK, status(name)?),
        })
    }

    /// What the model wants done after so many results of tools.
    pub fn step(&self, results: usize) -> Option<&Step> {
        self.steps.get(results).or_else(|| self.steps.last().filter(|_| self.endless))
    }
}

/// `429`, `429x2`, and the same with an `e` before them.
fn status(name: &str) -> Option<Quirk> {
    let name = name.strip_prefix('e').unwrap_or(name);
    let (status, times) = name.split_once('x').unwrap_or((name, ""));
    let times = if times.is_empty() { u64::MAX } else { times.parse().ok()? };
    let status = status.parse().ok().filter(|status| (400..600).contains(status))?;
    Some(Quirk::Status { status, times })
}
