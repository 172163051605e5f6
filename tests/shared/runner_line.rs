//! The GitHub runner's reading of a line, after its source (`ActionCommand.cs`): a command in the new form at the
//! line's start, else one in the old form anywhere in it. Its comparisons skip characters without a
//! shape, and so does this.

use maestro_ci::text::is_visible;

/// A command, as the runner takes it from a line.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// That of one in the old form begins with `##`, as no name does.
    pub name: String,
    pub properties: Vec<(String, String)>,
    pub data: String,
}

/// The command that a line gives, if it gives one. The names of commands are not looked at: more of them may come.
pub fn command(line: &str) -> Option<Command> {
    let line: String = line.chars().filter(|c| is_visible(*c) || c.is_whitespace()).collect();
    new_form(line.trim_start()).or_else(|| ["##[", "##vso["].iter().find_map(|opening| old_form(&line, opening)))
}

/// `::name key=value,key=value::data`
fn new_form(line: &str) -> Option<Command> {
    let (head, data) = line.strip_prefix("::")?.split_once("::")?;
    let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
    let pairs = properties.trim().split(',').filter_map(|pair| pair.split_once('='));
    let properties = pairs.filter(|(_, value)| !value.is_empty());
    let properties = properties.map(|(key, value)| (key.to_owned(), unescape(value, true))).collect();
    Some(Command { name: name.to_owned(), properties, data: unescape(data, false) })
}

/// `##[name key=value;key=value]data`; other runners write `##vso[…]`.
fn old_form(line: &str, opening: &str) -> Option<Command> {
    let (head, data) = line.split_once(opening)?.1.split_once(']')?;
    let name = head.split(' ').next().unwrap_or(head);
    Some(Command { name: format!("##{name}"), properties: Vec::new(), data: data.to_owned() })
}

fn unescape(text: &str, is_property: bool) -> String {
    let text = text.replace("%0D", "\r").replace("%0A", "\n");
    let text = if is_property { text.replace("%3A", ":").replace("%2C", ",") } else { text };
    text.replace("%25", "%")
}

#[test]
fn commands_are_found_where_the_runner_finds_them() {
    let name = |line| command(line).map(|c| c.name);
    assert_eq!(name(" \u{a0}::error file=a::x").as_deref(), Some("error"));
    assert_eq!(name("\u{ad}:\u{200b}:error::x").as_deref(), Some("error"));
    assert_eq!(name("text ##[group]x").as_deref(), Some("##group"));
    assert_eq!(name("text ##vso[task.complete]x ##[").as_deref(), Some("##task.complete"));
    assert_eq!(name("text ::error::x"), None);
    assert_eq!(name("::error"), None);
    let found = command("::error file=a%3Ab,line=1::x%0Ay%250A").unwrap();
    assert_eq!(found.properties, [("file".to_owned(), "a:b".to_owned()), ("line".to_owned(), "1".to_owned())]);
    assert_eq!(found.data, "x\ny%0A");
}
