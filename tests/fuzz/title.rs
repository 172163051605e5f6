//! The title of a pull request, which is no Markdown and becomes the message of a merge: the same words, in one line, and
//! whatever a forge acts on is code.

use maestro_ci::text::{inert_title, is_visible};

use crate::markdown::{acts, clean_line};
use crate::{holds, same};

pub fn check(text: &str) -> Result<(), String> {
    let title = inert_title(text);
    holds(title.chars().all(is_visible), "a character that ends the line or hides", &title)?;
    let parts: Vec<&str> = title.split('`').collect();
    holds(parts.len() % 2 == 1, "code that does not end", &title)?;
    let plain: Vec<&str> = parts.iter().copied().step_by(2).collect();
    holds(!acts(&plain.join("\0")), "something that a forge acts on", &title)?;
    same("the words", &parts.concat(), &clean_line(text).replace('`', ""))
}
