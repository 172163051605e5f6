//! The hidden line by which the comment on a PRD is found again: its first one. The PRD's path flows in.

/// The marker of a PRD's comment. A path has to stay within an HTML comment and on one line, so what is not plain in it
/// is percent-encoded, and no two paths have one marker.
pub fn comment_marker(prd_path: &str) -> String {
    let mut path = String::new();
    for byte in prd_path.bytes() {
        let after_dash = path.ends_with('-');
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'/' => path.push(char::from(byte)),
            // Two of them would end the HTML comment early in some readers.
            b'-' if !after_dash => path.push('-'),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("<!-- maestro-ci:report v1 prd={path} -->")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &str) {
        assert_eq!(comment_marker(path), format!("<!-- maestro-ci:report v1 prd={expected} -->"));
    }

    #[test]
    fn a_path_stays_within_the_comment_whatever_it_holds() {
        check("docs/my-prd_1.md", "docs/my-prd_1.md");
        check("a b.md", "a%20b.md");
        check("a-->b\n.md", "a-%2D%3Eb%0A.md");
        check("a%2Db", "a%252Db");
        check("ü", "%C3%BC");
    }
}
