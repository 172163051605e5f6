//! Markdown, as pulldown-cmark reads it with everything that forges add. What forges look for in the rendered text
//! (mentions, references, bare links) may stand in code only, where they leave it alone.

use maestro_ci::text::{is_visible, markdown_code_block, markdown_inline, markdown_link};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::{holds, same};

pub fn check(text: &str) -> Result<(), String> {
    let markdown = markdown_inline(text);
    holds(!markdown.contains(['<', '\n', '\r']), "a tag or a line end", &markdown)?;
    let words = clean_line(text);
    // Where reports put it: a line, a cell, an item, bold, a heading, a quotation.
    for (before, after) in
        [("", ""), ("| a |\n| --- |\n| ", " |"), ("- ", ""), ("**x ", " x**"), ("## ", " h"), ("> ", ""), ("text ", "")]
    {
        in_place(&markdown, &words, before, after)?;
    }
    in_block(text)
}

fn in_place(markdown: &str, words: &str, before: &str, after: &str) -> Result<(), String> {
    let page = format!("{before}{markdown}{after}\n");
    let (shown, plain) = read(&page)?;
    let (outer, _) = read(&format!("{before}{after}\n"))?;
    holds(!acts(&plain), "something that a forge acts on", &page)?;
    // The place has words of its own around it.
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let around = |words: &str| match (before, after) {
        ("**x ", _) => format!("x {words} x"),
        ("## ", _) => format!("{words} h"),
        ("text ", _) => format!("text {words}"),
        (_, " |") => format!("a {words}"),
        _ => words.to_owned(),
    };
    same("the place alone", &squeeze(&outer), &squeeze(&around("")))?;
    same(&page, &squeeze(&shown), &squeeze(&around(words)))
}

/// Text of a page, and the part of it outside of code; an error where there is more than words in their place.
fn read(page: &str) -> Result<(String, String), String> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_GFM
        | Options::ENABLE_MATH;
    let (mut shown, mut plain) = (String::new(), String::new());
    let (mut cells, mut items) = (0, 0);
    for event in Parser::new_ext(page, options) {
        match event {
            Event::Text(text) => {
                shown.push_str(&text);
                plain.push_str(&text);
            }
            Event::Code(code) => {
                shown.push_str(&code);
                plain.push('\0');
            }
            Event::Start(Tag::TableCell) => cells += 1,
            Event::Start(Tag::Item) => items += 1,
            Event::End(TagEnd::TableCell) => shown.push(' '),
            Event::Start(
                Tag::Paragraph
                | Tag::Table(_)
                | Tag::TableHead
                | Tag::TableRow
                | Tag::List(None)
                | Tag::Strong
                | Tag::Heading { .. }
                | Tag::BlockQuote(None),
            )
            | Event::End(_) => {}
            other => return Err(format!("{other:?} in {page:?}")),
        }
    }
    let is_table = page.starts_with("| a");
    let expected = (if is_table { 2 } else { 0 }, i32::from(page.starts_with("- ")));
    if (cells, items) == expected { Ok((shown, plain)) } else { Err(format!("{cells} cells, {items} items: {page:?}")) }
}

/// True for what GitHub or GitLab turn into a mention, a reference, a link or a command.
pub fn acts(text: &str) -> bool {
    let lower = text.to_lowercase();
    let before =
        |sign: char, is: fn(char) -> bool| lower.match_indices(sign).any(|(at, _)| lower[at + 1..].starts_with(is));
    let number = ['#', '!', '&'].into_iter().any(|sign| before(sign, |c| c.is_ascii_digit()));
    let name = ['%', '~'].into_iter().any(|sign| before(sign, char::is_alphanumeric));
    let issue = lower.match_indices("gh-").any(|(at, _)| lower[at + 3..].starts_with(|c: char| c.is_ascii_digit()));
    let quick =
        lower.trim_start().strip_prefix('/').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()));
    number || name || issue || quick || lower.contains('@') || lower.contains("://") || lower.contains("www.")
}

/// A link goes where it was told, or there is none; its words are words.
pub fn check_link(text: &str) -> Result<(), String> {
    for address in [text.to_owned(), format!("https://{text}"), format!("https://ci.example/{text}?a=b&c#{text}")] {
        let link = markdown_link(text, &address);
        for page in [format!("{link}\n"), format!("| a |\n| --- |\n| {link} |\n")] {
            read_link(&page, text, &address)?;
        }
    }
    Ok(())
}

fn read_link(page: &str, text: &str, address: &str) -> Result<(), String> {
    let (mut words, mut links, mut plain) = (String::new(), 0, String::new());
    for event in Parser::new_ext(page, Options::ENABLE_TABLES | Options::ENABLE_GFM | Options::ENABLE_MATH) {
        match event {
            Event::Start(Tag::Link { dest_url, .. }) => {
                same("the address", &dest_url, address)?;
                links += 1;
            }
            Event::End(TagEnd::TableHead) => (words, plain) = (String::new(), String::new()),
            Event::Text(part) => {
                words.push_str(&part);
                plain.push_str(&part);
            }
            Event::Code(part) => {
                words.push_str(&part);
                plain.push('\0');
            }
            Event::Start(Tag::Paragraph | Tag::Table(_) | Tag::TableHead | Tag::TableRow | Tag::TableCell)
            | Event::End(_) => {}
            other => return Err(format!("{other:?} in {page:?}")),
        }
    }
    let is_web = address.starts_with("https://") || address.starts_with("http://");
    holds(links == 0 || (links == 1 && is_web && address.chars().all(|c| c.is_ascii_graphic())), "a link", page)?;
    holds(!acts(&plain), "something that a forge acts on", page)?;
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    same("the words", &squeeze(&words), &squeeze(&clean_line(text)))
}

fn in_block(text: &str) -> Result<(), String> {
    let block = markdown_code_block(text, text);
    holds(!block.contains("<!--"), "a comment that a search would find", &block)?;
    let page = format!("before\n\n{block}\nafter\n");
    let (mut inside, mut outside, mut blocks, mut depth) = (String::new(), String::new(), 0, 0);
    for event in Parser::new_ext(&page, Options::all()) {
        match event {
            Event::Start(Tag::CodeBlock(_)) => (blocks, depth) = (blocks + 1, depth + 1),
            Event::End(TagEnd::CodeBlock) => depth -= 1,
            Event::Text(text) if depth == 1 => inside.push_str(&text),
            Event::Text(text) => outside.push_str(&text),
            Event::Start(Tag::Paragraph) | Event::End(TagEnd::Paragraph) => {}
            other => return Err(format!("{other:?} in {page:?}")),
        }
    }
    holds(blocks == 1 && outside == "beforeafter", "more than one block of code", &page)?;
    let is_command =
        |line: &str| line.strip_prefix('/').is_some_and(|rest| rest.starts_with(|c: char| c.is_alphabetic()));
    holds(!block.lines().any(is_command), "a command to GitLab", &block)?;
    let spaced = |line: &str| format!("{}{line}", if is_command(line) { " " } else { "" });
    let expected = clean_lines(text).split('\n').map(spaced).collect::<Vec<_>>().join("\n").replace("<!--", "<! --");
    same("the block", inside.trim_end_matches('\n'), expected.trim_end_matches('\n'))
}

/// What a line of text shows: said here a second time, so that the encoders' own idea of it is held against something.
pub fn clean_line(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\r' | '\t' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => ' ',
        c if is_visible(c) => c,
        _ => '\u{fffd}',
    };
    text.trim().chars().map(shown).collect::<String>().trim().to_owned()
}

/// The same for many lines.
pub fn clean_lines(text: &str) -> String {
    let ends = text.replace("\r\n", "\n").replace(['\r', '\u{2028}', '\u{2029}'], "\n").replace('\t', "    ");
    ends.chars().map(|c| if c == '\n' || is_visible(c) { c } else { '\u{fffd}' }).collect()
}
