//! The way out to Markdown as forges render it. Untrusted text flows in; text flows out that shows the same words and
//! does nothing: no markup, no HTML, no link, no mention, no issue reference. Where it stands is the caller's business.
//!
//! Forges look for `@name` and `#1` in the *rendered* text, so that neither a backslash nor an entity disarms them;
//! all of them leave code spans alone. Hence the sign, and only the sign, becomes a code span. The same disarms what
//! GitLab takes for a command to itself: `/merge` at the start of a line.

use super::untrusted::{clean_line, clean_lines};

/// One line, inert at the start of a line, within one, and in a table's cell.
pub fn markdown_inline(text: &str) -> String {
    let chars: Vec<char> = clean_line(text).chars().collect();
    signs_in_code(&chars, &|out, i| push_escaped(out, chars[i], opens_block(&chars, i)))
}

/// One line for a place that is no Markdown and where forges act all the same: the title of a pull request, which
/// becomes the message of a merge. Its own backticks are left out.
pub fn inert_title(text: &str) -> String {
    let chars: Vec<char> = clean_line(text).chars().filter(|c| *c != '`').collect();
    signs_in_code(&chars, &|out, i| out.push(chars[i]))
}

/// The text with every sign that makes a forge act as a code span; `push` adds the other characters, by their place.
fn signs_in_code(chars: &[char], push: &dyn Fn(&mut String, usize)) -> String {
    let mut out = String::with_capacity(chars.len() + 16);
    let mut in_code = false;
    for (i, &c) in chars.iter().enumerate() {
        if is_active(chars, i) != in_code {
            out.push('`');
            in_code = !in_code;
        }
        if in_code { out.push(c) } else { push(&mut out, i) }
    }
    if in_code {
        out.push('`');
    }
    out
}

/// A link to an address that a CI system gave us; just the words where it is not plainly one of the web.
pub fn markdown_link(words: &str, address: &str) -> String {
    let is_plain =
        |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '(' | ')' | '[' | ']' | '\\' | '"' | '`' | '|');
    let is_web = address.starts_with("https://") || address.starts_with("http://");
    let words = markdown_inline(words);
    if is_web && address.chars().all(is_plain) {
        format!("[{words}]({})", address.replace('&', "&amp;"))
    } else {
        words
    }
}

/// A fenced block, each line as it is, but for what forges take for a command; ends with a newline. The fence is longer
/// than any run of backticks inside.
/// `lang` is the info string; anything but letters, digits, `+` and `-` is left out of it.
pub fn markdown_code_block(text: &str, lang: &str) -> String {
    // A marker of ours inside untrusted text must not be found by a search of the raw comment.
    let body = without_commands(&clean_lines(text)).replace("<!--", "<! --");
    let fence = "`".repeat(longest_run(&body, '`').max(2) + 1);
    let lang: String = lang.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-')).collect();
    format!("{fence}{lang}\n{}\n{fence}\n", body.trim_end_matches('\n'))
}

/// Older versions of `GitLab` look for commands line by line, and a closing tag is enough for them to forget that they
/// are in a block of code: a space in front makes a line none.
fn without_commands(text: &str) -> String {
    let is_command =
        |line: &str| line.strip_prefix('/').is_some_and(|rest| rest.starts_with(|c: char| c.is_alphabetic()));
    let line = |line: &str| if is_command(line) { format!(" {line}") } else { line.to_owned() };
    text.split_inclusive('\n').map(line).collect()
}

fn longest_run(text: &str, of: char) -> usize {
    text.split(|c| c != of).map(str::len).max().unwrap_or(0)
}

/// True where the character at `i` makes a forge act: mention, reference, link.
fn is_active(chars: &[char], i: usize) -> bool {
    let at =
        |offset: isize| i.checked_add_signed(offset).and_then(|i| chars.get(i)).map_or('\0', char::to_ascii_lowercase);
    match chars[i] {
        '@' => true,
        '#' | '!' | '&' => at(1).is_ascii_digit(),
        // GitLab: milestones and labels, also by name.
        '%' | '~' => at(1).is_alphanumeric() || at(1) == '"',
        // GitLab: a command to it, which it carries out with the rights of our token.
        '/' if i == 0 => at(1).is_ascii_alphabetic(),
        ':' => at(1) == '/' && at(2) == '/',
        '/' => (at(-1) == ':' && at(1) == '/') || (at(-2) == ':' && at(-1) == '/'),
        '.' => (at(-3), at(-2), at(-1)) == ('w', 'w', 'w'),
        '-' => (at(-2), at(-1)) == ('g', 'h') && at(1).is_ascii_digit(),
        _ => false,
    }
}

/// True where the character at `i` would begin a list, a heading's underline or a definition.
fn opens_block(chars: &[char], i: usize) -> bool {
    match chars[i] {
        '-' | '+' | '=' | ':' => i == 0,
        // CommonMark: an ordered list's number has at most nine digits.
        '.' => (1..=9).contains(&i) && chars[..i].iter().all(char::is_ascii_digit),
        _ => false,
    }
}

fn push_escaped(out: &mut String, c: char, opens_block: bool) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        // Not by a backslash: a backtick next to our own code spans would change where they end, and `\$` still
        // delimits mathematics.
        '`' => out.push_str("&#96;"),
        '$' => out.push_str("&#36;"),
        '\\' | '*' | '_' | '[' | ']' | '(' | ')' | '#' | '|' | '!' | '~' => out.extend(['\\', c]),
        c if opens_block => out.extend(['\\', c]),
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

    use super::*;

    /// What a renderer shows outside of code; fails on anything but plain words in one paragraph.
    fn rendered(markdown: &str) -> Result<String, String> {
        let options = Options::ENABLE_TABLES
            | Options::ENABLE_FOOTNOTES
            | Options::ENABLE_STRIKETHROUGH
            | Options::ENABLE_TASKLISTS
            | Options::ENABLE_GFM
            | Options::ENABLE_MATH;
        let mut text = String::new();
        for event in Parser::new_ext(markdown, options) {
            match event {
                Event::Start(Tag::Paragraph) | Event::End(TagEnd::Paragraph) => {}
                Event::Text(words) => text.push_str(&words),
                Event::Code(_) => text.push('\u{0}'),
                other => return Err(format!("{other:?} in {markdown:?}")),
            }
        }
        Ok(text)
    }

    fn acts(text: &str) -> bool {
        let reference = text.as_bytes().windows(2).any(|w| matches!(w[0], b'#' | b'!') && w[1].is_ascii_digit());
        text.contains('@') || text.contains("://") || text.to_ascii_lowercase().contains("www.") || reference
    }

    #[test]
    fn mentions_references_and_links_are_disarmed() {
        assert_eq!(markdown_inline("@everyone fixes #1"), "`@`everyone fixes `#`1");
        assert_eq!(markdown_inline("https://evil www.evil GH-7 C#"), "https`://`evil www`.`evil GH`-`7 C\\#");
        assert_eq!(markdown_inline("/merge ~bug %v1 a/b 50 %"), "`/`merge `~`bug `%`v1 a/b 50 %");
    }

    #[test]
    fn an_address_that_is_more_than_one_is_only_words() {
        let check = |address: &str, expected: &str| assert_eq!(markdown_link("the job", address), expected);
        check("https://ci.example/o/r/1?a=b#c", "[the job](https://ci.example/o/r/1?a=b#c)");
        check("https://ci.example/?a&copy;", "[the job](https://ci.example/?a&amp;copy;)");
        for hostile in ["javascript:alert(1)", "https://x)[y](https://z", "https://x y", "https://x\n", "//x", ""] {
            check(hostile, "the job");
        }
    }

    #[test]
    fn html_images_comments_and_entities_are_words() {
        let markdown = markdown_inline("<img src=x> ![a](b) <!-- m --> &copy; `code` $x$ a|b");
        assert_eq!(rendered(&markdown).as_deref(), Ok("<img src=x> ![a](b) <!-- m --> &copy; `code` $x$ a|b"));
        assert!(!markdown.contains('<'), "{markdown}");
    }

    #[test]
    fn a_line_start_opens_no_block() {
        for text in [
            "# h", "- a", "+ a", "1. a", "1) a", "> q", "---", "===", "```", "~~~", "| a |", "    code", "[x]: y",
            ": d",
        ] {
            assert_eq!(rendered(&markdown_inline(text)).as_deref(), Ok(text.trim()));
        }
    }

    #[test]
    fn a_fence_inside_does_not_close_the_block() {
        let block = markdown_code_block("a\n````\n@x <!-- marker -->\u{1b}\n", "sh <script>");
        assert_eq!(block, "`````shscript\na\n````\n@x <! -- marker -->\u{fffd}\n`````\n");
        assert_eq!(markdown_code_block("", ""), "```\n\n```\n");
        assert_eq!(markdown_code_block("/a\n/1\n</x>\n/merge", ""), "```\n /a\n/1\n</x>\n /merge\n```\n");
    }

    proptest! {
        #[test]
        fn whatever_comes_in_does_nothing(text in "([@#!&<>`*_\\[\\]()|~$:/.w0-9 \\\\\n-]|.){0,60}") {
            let markdown = markdown_inline(&text);
            prop_assert!(!markdown.contains(['<', '\n']));
            match rendered(&markdown) {
                Ok(words) => prop_assert!(!acts(&words), "{words:?} of {markdown:?}"),
                Err(why) => prop_assert!(false, "{why}"),
            }
        }

        #[test]
        fn no_text_leaves_its_code_block(text in "([`~\n <@]|.){0,80}") {
            let block = markdown_code_block(&text, "text");
            let mut depth = 0_i32;
            for event in Parser::new(&block) {
                match event {
                    Event::Start(Tag::CodeBlock(_)) => depth += 1,
                    Event::End(TagEnd::CodeBlock) => depth -= 1,
                    Event::Text(_) => prop_assert_eq!(depth, 1),
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
    }
}
