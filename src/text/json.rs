//! The way out as JSON that a terminal or a CI log may see: `serde_json` escapes what JSON demands, this the rest.

use super::terminal::with_second_sign;

/// JSON text with DEL and the C1 controls escaped, which JSON leaves as they are and a terminal obeys, and without the
/// commands that CI runners find anywhere in a line. The value it stands for stays the same.
pub fn json_safe(text: &str) -> String {
    // Signs stand in strings only, and no escape of JSON has one.
    let text = with_second_sign(text, "\\u0023");
    let is_raw = |c: char| ('\u{7f}'..='\u{9f}').contains(&c);
    if !text.contains(is_raw) {
        return text;
    }
    text.chars().map(|c| if is_raw(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_stays_and_the_controls_go() {
        let json = serde_json::to_string("a\u{9b}31m\u{7f}ü ##[error]x ###vso[y]").unwrap();
        let safe = json_safe(&json);
        assert!(!safe.contains(char::is_control) && !safe.contains("##[") && !safe.contains("##vso["), "{safe:?}");
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), "a\u{9b}31m\u{7f}ü ##[error]x ###vso[y]");
    }
}
