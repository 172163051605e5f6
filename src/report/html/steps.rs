//! The report's own Markdown as markup: next steps are written once, for `final-report.md`. Markdown flows in, markup
//! flows out. Only what that Markdown uses is known here; everything else, HTML and links among it, stays words.

use std::collections::HashMap;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, TextMergeStream};

use super::markup::Markup;
use crate::text::html_text;

/// The Markdown as markup. The first word of a list item that is one of the names links to that name's anchor.
pub(super) fn markup(markdown: &str, anchors: &HashMap<&str, String>) -> Markup {
    let mut html = String::new();
    let mut begins_item = false;
    for event in TextMergeStream::new(Parser::new_ext(markdown, Options::empty())) {
        match &event {
            Event::Text(text) if begins_item => html.push_str(&linked(text, anchors)),
            Event::Text(text) | Event::Code(text) | Event::Html(text) | Event::InlineHtml(text) => {
                html.push_str(&html_text(text));
            }
            Event::SoftBreak | Event::HardBreak => html.push(' '),
            Event::Start(tag) => html.push_str(opening(tag)),
            Event::End(tag) => html.push_str(closing(*tag)),
            _ => {}
        }
        begins_item = matches!(event, Event::Start(Tag::Item));
    }
    Markup::raw(html)
}

fn linked(text: &str, anchors: &HashMap<&str, String>) -> String {
    let (word, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
    match anchors.get(word) {
        Some(anchor) => format!("<a href=\"#{anchor}\">{}</a>{}", html_text(word), html_text(rest)),
        None => html_text(text),
    }
}

fn opening(tag: &Tag<'_>) -> &'static str {
    match tag {
        Tag::Paragraph => "<p>",
        Tag::List(_) => "<ul>",
        Tag::Item => "<li>",
        Tag::CodeBlock(_) => "<pre class=\"command\">",
        Tag::Strong => "<strong>",
        Tag::Heading { .. } => "<p><strong>",
        _ => "",
    }
}

fn closing(tag: TagEnd) -> &'static str {
    match tag {
        TagEnd::Paragraph => "</p>\n",
        TagEnd::List(_) => "</ul>\n",
        TagEnd::Item => "</li>\n",
        TagEnd::CodeBlock => "</pre>\n",
        TagEnd::Strong => "</strong>",
        TagEnd::Heading(_) => "</strong></p>\n",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(markdown: &str, expected: &str) {
        let anchors = HashMap::from([("T-001", "task-T-001".to_owned())]);
        assert_eq!(markup(markdown, &anchors).to_string().replace('\n', ""), expected);
    }

    #[test]
    fn what_the_report_writes_becomes_markup() {
        check("Look:\n\n```sh\ngit diff <a>\n```\n", "<p>Look:</p><pre class=\"command\">git diff &lt;a&gt;</pre>");
        check(
            "- T-001 failed: x\n- y T-001\n",
            "<ul><li><a href=\"#task-T-001\">T-001</a> failed: x</li><li>y T-001</li></ul>",
        );
    }

    #[test]
    fn what_nobody_of_us_writes_stays_words() {
        check("x <script>y</script> [a](javascript:b)", "<p>x &lt;script&gt;y&lt;/script&gt; a</p>");
        check("![i](http://x) `code`", "<p>i code</p>");
    }
}
