//! Commands to the GitHub runner: whatever text is put into one comes back as its data and its properties, and the line
//! gives no other command.

use maestro_ci::text::{is_visible, workflow_command, workflow_data, workflow_masks};

use crate::markdown::clean_lines;
use crate::runner_line::command;
use crate::{holds, same};

/// The runner's limit for a message, characters.
const MESSAGE_CHARS: usize = 4096;

pub fn check(text: &str) -> Result<(), String> {
    let line = workflow_command("error", &[("file", text), ("line", "3"), ("title", text)], text);
    holds(line.chars().all(is_visible), "a character that ends the line or hides", &line)?;
    let found = command(&line).ok_or_else(|| format!("no command: {line:?}"))?;
    same("the name", &found.name, "error")?;
    let keys: Vec<&str> = found.properties.iter().map(|(key, _)| key.as_str()).collect();
    // The runner trims the list of properties, and with it one that is nothing but space.
    let is_blank = found.data.trim().is_empty();
    let expected: &[&str] = if is_blank { &["line"] } else { &["file", "line", "title"] };
    let keys: Vec<&str> = keys.into_iter().filter(|key| !is_blank || *key == "line").collect();
    holds(keys == expected, "other properties", &line)?;
    for (key, value) in &found.properties {
        if key == "line" { same("the line", value, "3")? } else { says(text, value)? }
    }
    says(text, &found.data)?;
    masks(text)
}

/// The runner prints what it was given, so that this must give no command of the old form either.
fn says(text: &str, got: &str) -> Result<(), String> {
    holds(got.chars().count() <= MESSAGE_CHARS, "longer than the runner takes", got)?;
    holds(!got.contains("##[") && !got.contains("##vso["), "a command of the old form", got)?;
    if text.len() <= MESSAGE_CHARS {
        let words = |text: &str| text.split_whitespace().collect::<String>();
        return same("the words", &words(got), &words(&clean_lines(text)));
    }
    holds(got.ends_with("bytes cut)"), "a cut that does not say so", got)
}

/// Every line of a secret is masked as it is; data of a group is one line.
fn masks(text: &str) -> Result<(), String> {
    for line in workflow_masks(text) {
        holds(!line.contains(['\n', '\r']), "more than one line", &line)?;
        let data = line.strip_prefix("::add-mask::").ok_or_else(|| format!("no mask: {line:?}"))?;
        let secret = data.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%");
        holds(text.contains(&secret) && !secret.trim().is_empty(), "a mask of something else", &line)?;
    }
    holds(!workflow_data(text).contains(['\n', '\r']), "more than one line", text)
}
