//! A line of the log, as a terminal and a CI runner see it.

use maestro_ci::text::{is_visible, terminal_line};

use crate::runner_line::command;
use crate::{holds, same};

pub fn check(text: &str) -> Result<(), String> {
    let line = terminal_line(text);
    holds(line.chars().all(is_visible), "a character that moves, hides or reorders", &line)?;
    for place in [line.clone(), format!("[Maestro] {line}"), format!("  {line} ::"), format!("{line} · {line}")] {
        holds(command(&place).is_none(), "a command to the runner", &place)?;
    }
    same("encoded twice", &terminal_line(&line), &line)?;
    // Where nothing had to go, every word is there; only space may have come in between.
    if text.chars().all(|c| is_visible(c) || c.is_whitespace()) {
        let words = |text: &str| text.split_whitespace().collect::<String>();
        same("the words", &words(&line), &words(text))?;
    }
    Ok(())
}
