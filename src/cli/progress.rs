//! Bars on a terminal, below the log: tasks done of all, what was spent, and what runs with its time. What
//! `report::live` reads off the state flows in; nothing is left on the screen when the run is over. Everything else
//! that is printed meanwhile goes through `Bars::beside`, so that no line and no bar run into each other.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::core::State;
use crate::report::{self, Live, Work};

/// Most pieces of work that have a line of their own.
const MAX_LINES: usize = 6;
/// How often the time on the screen goes on.
const TICK: Duration = Duration::from_millis(250);
/// Of the time, one part in so many is spent on reading the state; on a machine that is held up, never more than so
/// long without a look at it.
const READ_SHARE: u32 = 20;
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The bars.
pub(super) struct Bars {
    all: MultiProgress,
    total: Option<ProgressBar>,
    running: Vec<(String, ProgressBar)>,
    more: Option<ProgressBar>,
    /// When the state may be read again.
    read_at: Option<Instant>,
    color: bool,
}

impl Bars {
    /// Bars on standard error, if that is a terminal.
    pub(super) fn new(color: bool) -> Self {
        Self::on(ProgressDrawTarget::stderr_with_hz(10), color)
    }

    fn on(target: ProgressDrawTarget, color: bool) -> Self {
        let all = MultiProgress::with_draw_target(target);
        Self { all, total: None, running: Vec::new(), more: None, read_at: None, color }
    }

    /// Prints with the bars out of the way.
    pub(super) fn beside(&self, print: impl FnOnce()) {
        self.all.suspend(print);
    }

    /// Takes a state in. With thousands of tasks that takes a while, and not every state is worth it: the next one
    /// comes soon, and while anything runs at least every five seconds.
    pub(super) fn see(&mut self, state: &State) {
        let now = Instant::now();
        if self.read_at.is_none_or(|at| now >= at) || state.finished.is_some() {
            self.show(&report::live(state), state.at.elapsed_ms);
            self.read_at = Some(Instant::now() + pause_after(now.elapsed()));
        }
    }

    fn show(&mut self, live: &Live, now_ms: u64) {
        if live.all == 0 {
            return self.clear();
        }
        let since = |ms: u64| Duration::from_millis(now_ms.saturating_sub(ms));
        let total = self.total.get_or_insert_with(|| {
            let bar = ProgressBar::new(live.all).with_elapsed(since(0)).with_style(total_style(self.color));
            ticking(self.all.add(bar.with_prefix(live.unit).with_message(live.words.clone())))
        });
        total.set_length(live.all);
        total.set_position(live.done);
        total.set_prefix(live.unit);
        total.set_message(live.words.clone());
        self.drop_ended(&live.running);
        let left = live.running.len().saturating_sub(MAX_LINES);
        for work in live.running.iter().take(MAX_LINES) {
            self.add(work, since(work.started_ms));
        }
        self.say_more(left);
    }

    fn drop_ended(&mut self, running: &[Work]) {
        let shown = running.iter().take(MAX_LINES);
        let keys: Vec<&str> = shown.map(|work| work.key.as_str()).collect();
        let (kept, ended) = self.running.drain(..).partition(|(key, _)| keys.contains(&key.as_str()));
        self.running = kept;
        let ended: Vec<(String, ProgressBar)> = ended;
        for (_, bar) in ended {
            self.remove(&bar);
        }
    }

    fn add(&mut self, work: &Work, elapsed: Duration) {
        if self.running.iter().any(|(key, _)| *key == work.key) {
            return;
        }
        let bar = ProgressBar::new_spinner().with_style(line_style(self.color)).with_elapsed(elapsed);
        let bar = bar.with_message(work.name.clone());
        let bar = match &self.more {
            Some(more) => self.all.insert_before(more, bar),
            None => self.all.add(bar),
        };
        self.running.push((work.key.clone(), ticking(bar)));
    }

    fn say_more(&mut self, left: usize) {
        if left == 0 {
            if let Some(more) = self.more.take() {
                self.remove(&more);
            }
            return;
        }
        let more = self.more.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("           {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            self.all.add(ProgressBar::new_spinner().with_style(style))
        });
        more.set_message(format!("and {left} more"));
        more.tick();
    }

    fn remove(&self, bar: &ProgressBar) {
        bar.disable_steady_tick();
        bar.finish_and_clear();
        self.all.remove(bar);
    }

    /// Takes all of it off the screen.
    pub(super) fn clear(&mut self) {
        let bars: Vec<ProgressBar> = self.running.drain(..).map(|(_, bar)| bar).chain(self.more.take()).collect();
        for bar in bars.into_iter().chain(self.total.take()) {
            self.remove(&bar);
        }
        let _ = self.all.clear();
    }
}

/// How long the state is left alone after a look at it that took so long.
fn pause_after(took: Duration) -> Duration {
    (took * READ_SHARE).min(LONGEST_PAUSE)
}

fn ticking(bar: ProgressBar) -> ProgressBar {
    bar.enable_steady_tick(TICK);
    bar
}

fn total_style(color: bool) -> ProgressStyle {
    let bar = if color { "{bar:24.green/dim}" } else { "{bar:24}" };
    let template = format!("{{elapsed_precise}} {bar} {{pos}}/{{len}} {{prefix}} · {{wide_msg}}");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━╸─")
}

fn line_style(color: bool) -> ProgressStyle {
    let time = if color { "{elapsed_precise:.dim}" } else { "{elapsed_precise}" };
    let template = format!("  {time} {{wide_msg}}");
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(n: u64) -> Work {
        Work { key: n.to_string(), name: format!("T-{n}"), started_ms: n }
    }

    fn live(done: u64, running: std::ops::Range<u64>) -> Live {
        Live { done, all: 9, unit: "tasks", words: "Implementation".to_owned(), running: running.map(work).collect() }
    }

    #[test]
    fn there_are_never_more_lines_than_fit_and_the_rest_is_counted() {
        let mut bars = Bars::on(ProgressDrawTarget::hidden(), true);
        bars.show(&live(0, 0..9), 10);
        assert_eq!(bars.running.len(), MAX_LINES);
        assert_eq!(bars.more.as_ref().map(ProgressBar::message).as_deref(), Some("and 3 more"));
        bars.show(&live(4, 4..9), 20);
        let keys: Vec<&str> = bars.running.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["4", "5", "6", "7", "8"]);
        assert!(bars.more.is_none());
        assert_eq!(bars.total.as_ref().map(|bar| (bar.position(), bar.length())), Some((4, Some(9))));
    }

    #[test]
    fn a_slow_machine_does_not_hold_the_bars_up() {
        assert_eq!(pause_after(Duration::from_millis(2)), Duration::from_millis(40));
        assert_eq!(pause_after(Duration::from_secs(3)), LONGEST_PAUSE);
    }

    #[test]
    fn nothing_is_left_at_the_end() {
        let mut bars = Bars::on(ProgressDrawTarget::hidden(), false);
        bars.show(&live(0, 0..9), 10);
        bars.show(&Live::default(), 20);
        assert!(bars.total.is_none() && bars.running.is_empty() && bars.more.is_none());
    }
}
