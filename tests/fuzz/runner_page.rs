//! Reports that go to the log of a job as they are: no line of them gives the runner a command, and what reads XML and
//! HTML reads the same as before.

use maestro_ci::text::{head_tail, html_text, markdown_code_block, markdown_inline, one_line, runner_page, xml_text};

use crate::runner_line::command;
use crate::{holds, html, same, xml};

pub fn check(text: &str) -> Result<(), String> {
    let words = html_text(text);
    let page = format!("<!DOCTYPE html>\n<p title=\"{words}\">\n{words}</p>\n");
    let guarded = inert(&page)?;
    same("the HTML", &html::read(&guarded)?, &html::read(&page)?)?;
    let report = xml::write(&one_line(&xml_text(text), 200), &head_tail(&xml_text(text), 16 * 1024));
    let guarded = inert(&report)?;
    // quick-junit resolves no references by number; every XML parser does, and these two are all that there can be.
    same("the XML", &guarded.replace("&#35;", "#").replace("&#58;", ":"), &report)?;
    let page = format!("# {}\n\n{}", markdown_inline(text), markdown_code_block(text, ""));
    let guarded = inert(&page)?;
    let words = |text: &str| text.split_whitespace().collect::<String>();
    same("the words", &words(&guarded), &words(&page))
}

/// The page as the runner gets it; an error where it finds a command in there.
fn inert(page: &str) -> Result<String, String> {
    let guarded = runner_page(page);
    for line in guarded.split(['\n', '\r']) {
        holds(command(line).is_none(), "a command to the runner", line)?;
    }
    Ok(guarded)
}
