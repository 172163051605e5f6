//! The way out to the GitHub runner: workflow commands, which it reads off the log. Untrusted text flows in; a whole
//! command in one line flows out, in which that text can be nothing but the data it was meant to be.
//!
//! Escapes and limits are the runner's own (`ActionCommand.cs`, `command.ts`): data escapes `%`, CR and LF, property
//! values `:` and `,` as well. A message is cut by the runner at 4096 characters; cut here, the cut says so.

use super::clip::clip;
use super::shapes::secret_lines;
use super::terminal::{break_commands, with_second_sign};
use super::untrusted::clean_lines;

/// The runner's limit for one message, characters. Bytes are counted, of which there are never fewer.
const MESSAGE_BYTES: usize = 4096;

/// The data of a command: any number of lines, without a control character, cut to what the runner takes.
pub fn workflow_data(text: &str) -> String {
    // Cut last: what makes it inert makes it longer, and no cut through that makes a command.
    escaped(&clip(&inert(text), MESSAGE_BYTES))
}

/// The value of a property.
pub fn workflow_property(text: &str) -> String {
    workflow_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A command in one line: `::error file=src/a.rs,line=3,title=test::message`. `name` and keys are ours; a property
/// without a value is left out, as the runner's own toolkit does it.
pub fn workflow_command(name: &str, properties: &[(&str, &str)], message: &str) -> String {
    let given = properties.iter().filter(|(_, value)| !value.is_empty());
    let list: Vec<String> = given.map(|(key, value)| format!("{key}={}", workflow_property(value))).collect();
    let space = if list.is_empty() { "" } else { " " };
    format!("::{name}{space}{}::{}", list.join(","), workflow_data(message))
}

/// A report that goes to the log of a CI, where it was asked for as a whole: no line of it is a command. JSON comes
/// from `json_safe` and has none; in XML and HTML a sign becomes its entity, so that the value stays; in everything else a
/// visible space breaks it.
pub fn runner_page(page: &str) -> String {
    let is_markup = page.trim_start().starts_with('<') && !page.trim_start().starts_with("<!-- ");
    let (colon, sign) = if is_markup { ("&#58;", "&#35;") } else { (": ", " #") };
    let line = |line: &str| {
        let text = line.trim_start_matches(|c: char| c.is_whitespace() || !super::is_visible(c));
        let indent = &line[..line.len() - text.len()];
        match text.strip_prefix("::") {
            Some(rest) => format!("{indent}{colon}:{rest}"),
            None => line.to_owned(),
        }
    };
    with_second_sign(&page.split_inclusive('\n').map(line).collect::<String>(), sign)
}

/// The commands that have the runner hide a secret from here on: one a line of it, since the runner looks for each
/// line apart. What is too short to be a secret would hide half of the log and is left out.
pub fn workflow_masks(secret: &str) -> Vec<String> {
    secret_lines(secret).map(|line| format!("::add-mask::{}", escaped(line))).collect()
}

/// Not cleaned: a secret has to be found as it is.
fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The runner prints an annotation into the log again, where its older commands are looked for in the whole line.
fn inert(text: &str) -> String {
    break_commands(&clean_lines(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_what_the_runner_reads() {
        let command = workflow_command("error", &[("file", "a,b:c.rs"), ("line", ""), ("title", "50 %")], "one\r\ntwo");
        assert_eq!(command, "::error file=a%2Cb%3Ac.rs,title=50 %25::one%0Atwo");
        assert_eq!(workflow_command("endgroup", &[], ""), "::endgroup::");
        assert_eq!(workflow_command("group", &[], "Phase 1"), "::group::Phase 1");
    }

    #[test]
    fn a_message_stays_below_the_runners_limit() {
        for text in ["ä", "##[x]", "\t", "\0"] {
            let command = workflow_data(&text.repeat(5000));
            assert!(command.chars().count() <= 4096 && command.ends_with("bytes cut)"), "{}", command.len());
        }
    }

    #[test]
    fn older_commands_and_terminal_sequences_do_not_come_along() {
        assert_eq!(
            workflow_data("a ##[error]x \u{1b}[31mred #\u{200b}#vso[task]"),
            "a # #[error]x \u{fffd}[31mred #\u{fffd}#vso[task]"
        );
        assert_eq!(workflow_data("##vso[task.complete]"), "# #vso[task.complete]");
    }

    #[test]
    fn a_secret_is_masked_line_by_line_as_it_is() {
        assert_eq!(
            workflow_masks("first-line\n\n  \nsecond%line\nshort"),
            ["::add-mask::first-line", "::add-mask::second%25line"]
        );
        assert!(workflow_masks("true").is_empty());
    }

    #[test]
    fn a_page_in_the_log_gives_no_command_and_markup_keeps_its_value() {
        let check = |page: &str, expected: &str| assert_eq!(runner_page(page), expected);
        check(
            "```\n::error::x\n  ::warning::y ##[error]z\n```\n",
            "```\n: :error::x\n  : :warning::y # #[error]z\n```\n",
        );
        check("<a>\n::error::x ##[y]</a>", "<a>\n&#58;:error::x #&#35;[y]</a>");
        check("<!-- maestro-ci -->\n::x", "<!-- maestro-ci -->\n: :x");
        check("# title\na :: b\n", "# title\na :: b\n");
    }
}
