//! HTML, as a browser's tokenizer reads it: between tags and in an attribute with quotes of either kind.

use maestro_ci::text::html_text;

use crate::markdown::clean_lines;
use crate::{holds, same};

pub fn check(text: &str) -> Result<(), String> {
    let (html, expected) = (html_text(text), clean_lines(text));
    holds(!html.chars().any(|c| c.is_control() && c != '\n'), "a control character", &html)?;
    let page = format!("<p title=\"{html}\" lang='{html}'>{html}</p><!-- end -->");
    let tokens = tokens(&page)?;
    let names: Vec<&str> = tokens.iter().map(|t| t.name.as_str()).collect();
    holds(
        names == ["p", "#text", "/p", "!--"] || (expected.is_empty() && names == ["p", "/p", "!--"]),
        "a tag",
        &page,
    )?;
    let attributes: Vec<(&str, &str)> = tokens[0].attributes.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    holds(attributes.len() == 2 && attributes[0].0 == "title" && attributes[1].0 == "lang", "an attribute", &page)?;
    for (_, value) in attributes {
        same("the attribute", value, &expected)?;
    }
    let shown: &str = tokens.iter().find(|t| t.name == "#text").map_or("", |t| &t.text);
    same("the text", shown, &expected)
}

/// What stands in a page, to be compared with another one.
pub fn read(page: &str) -> Result<String, String> {
    Ok(format!("{:?}", tokens(page.trim_start_matches("<!DOCTYPE html>"))?))
}

/// A tag, a comment or a run of text.
#[derive(Debug, Default)]
struct Token {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
}

/// The tokens of a page, as the HTML standard's tokenizer takes them from it; an error where it would recover.
fn tokens(page: &str) -> Result<Vec<Token>, String> {
    let (mut tokens, mut rest) = (Vec::new(), page);
    while !rest.is_empty() {
        let end = rest.find('<').unwrap_or(rest.len());
        if end > 0 {
            tokens.push(Token { name: "#text".to_owned(), text: decoded(&rest[..end])?, ..Token::default() });
            rest = &rest[end..];
        } else if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.split_once("-->").ok_or("an open comment")?.1;
            tokens.push(Token { name: "!--".to_owned(), ..Token::default() });
        } else {
            let (token, after) = tag(&rest[1..])?;
            tokens.push(token);
            rest = after;
        }
    }
    Ok(tokens)
}

/// A tag without its `<`, and what follows it.
fn tag(text: &str) -> Result<(Token, &str), String> {
    let end = text.find(|c: char| c.is_ascii_whitespace() || c == '>').ok_or("an open tag")?;
    let mut token = Token { name: text[..end].to_ascii_lowercase(), ..Token::default() };
    let mut rest = &text[end..];
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        if let Some(after) = rest.strip_prefix('>') {
            return Ok((token, after));
        }
        let (name, after) = rest.split_once('=').ok_or("an attribute without a value")?;
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or("a value without quotes")?;
        let (value, after) = after[1..].split_once(quote).ok_or("an open value")?;
        token.attributes.push((name.to_ascii_lowercase(), decoded(value)?));
        rest = after;
    }
}

/// Character references resolved. Named ones work without their semicolon, so that each `&` has to begin a whole one.
fn decoded(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut parts = text.split('&');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (name, after) = part.split_once(';').ok_or_else(|| format!("a bare & before {part:?}"))?;
        let number = |name: &str| match name.strip_prefix("#x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => name.strip_prefix('#')?.parse().ok(),
        };
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            name => number(name).and_then(char::from_u32).ok_or_else(|| format!("an unknown reference &{name};"))?,
        });
        out.push_str(after);
    }
    Ok(out)
}

#[test]
fn the_tokenizer_sees_tags_that_break_out() {
    let names = |page| tokens(page).map(|t| t.iter().map(|t| t.name.clone()).collect::<Vec<_>>());
    assert_eq!(names("<p title=\"a\"><script src='b'>x</p>").unwrap(), ["p", "script", "#text", "/p"]);
    assert!(names("<p title=\"a\" b\">").is_err() && names("a & b").is_err());
}
