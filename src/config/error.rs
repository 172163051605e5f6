//! The one error of this room: what is wrong, where it stands and what would be right.
//! It knows nothing of YAML; `explain` turns a parser's error into one of these.

/// A place in a file, with the line it points into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's name, as it was given.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
    /// The line itself, made printable and cut to a readable length.
    pub text: String,
}

/// Longest piece of a line that is shown, characters.
const SHOWN: usize = 160;

impl Place {
    /// The place at `line` and `column` (both from 1) of `text`.
    pub fn new(file: &str, text: &str, line: u64, column: u64) -> Self {
        let nth = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
        let shown = text.lines().nth(nth).unwrap_or_default().chars().take(SHOWN);
        Self { file: file.to_owned(), line, column, text: printable(shown) }
    }

    fn indent(&self) -> String {
        let column = usize::try_from(self.column.saturating_sub(1)).unwrap_or(SHOWN);
        " ".repeat(column.min(SHOWN))
    }
}

/// Something in the configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", render(.message, .place.as_ref(), .hint.as_deref()))]
pub struct ConfigError {
    /// What is wrong: lower case, one line.
    pub message: String,
    /// Where, if it stands in a file.
    pub place: Option<Place>,
    /// What the user can do.
    pub hint: Option<String>,
}

impl ConfigError {
    /// An error that stands in no file. Control characters in either text become spaces.
    pub fn new(message: impl AsRef<str>, hint: Option<String>) -> Self {
        let clean = |text: &str| printable(text.chars());
        Self { message: clean(message.as_ref()), place: None, hint: hint.as_deref().map(clean) }
    }

    /// The same error, at a place.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self { place: Some(place), ..self }
    }
}

fn printable(text: impl Iterator<Item = char>) -> String {
    text.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn render(message: &str, place: Option<&Place>, hint: Option<&str>) -> String {
    match (place, hint) {
        (None, None) => message.to_owned(),
        (None, Some(hint)) => format!("{message}; {hint}"),
        (Some(place), hint) => {
            let Place { file, line, column, text } = place;
            let head = format!("{file}:{line}:{column}: {message}\n{line:>5} | {text}\n      | {}^", place.indent());
            hint.as_ref().map_or_else(|| head.clone(), |hint| format!("{head} {hint}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: &ConfigError, expected: &str) {
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn an_error_in_a_file_shows_its_line_and_points_at_the_column() {
        let place = Place::new("docs/x.yaml", "a: 1\nb:\n    c: 2\n", 3, 5);
        let error = ConfigError::new("unknown key `c`", Some("did you mean `d`?".to_owned())).at(place);
        check(&error, "docs/x.yaml:3:5: unknown key `c`\n    3 |     c: 2\n      |     ^ did you mean `d`?");
    }

    #[test]
    fn an_error_without_a_place_is_one_line_without_control_characters() {
        check(&ConfigError::new("bad \u{1b}[31m\nvalue", None), "bad  [31m value");
        check(&ConfigError::new("bad", Some("use `x`".to_owned())), "bad; use `x`");
    }
}
