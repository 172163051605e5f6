//! Bounds for text of any length. Text flows in, text of a known size flows out, and every cut says so.
//! Cut before encoding: a cut through an escape could make it live.

/// At most `max_bytes` bytes: the beginning, and how much is missing.
pub fn clip(text: &str, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    let Some(room) = max_bytes.checked_sub(marker(text.len()).len()) else {
        return text[..text.floor_char_boundary(max_bytes)].to_owned();
    };
    let keep = text.floor_char_boundary(room);
    format!("{}{}", &text[..keep], marker(text.len() - keep))
}

/// At most `max_bytes` bytes: the beginning and the end, with how much is missing between them on a line of its own.
pub fn head_tail(text: &str, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    let Some(room) = max_bytes.checked_sub(marker(text.len()).len() + 2) else {
        return clip(text, max_bytes);
    };
    let head = text.floor_char_boundary(room / 2);
    let tail = text.ceil_char_boundary(text.len() - (room - room / 2));
    format!("{}\n{}\n{}", &text[..head], marker(tail - head), &text[tail..])
}

/// One line of at most `max_chars` characters; runs of white space become one space, a cut ends in `…`.
pub fn one_line(text: &str, max_chars: usize) -> String {
    let text = text.trim();
    // Bounded before the words are joined: only so much can matter, and the text can be a whole log.
    let enough = text.floor_char_boundary(max_chars.saturating_mul(8));
    let line = text[..enough].split_whitespace().collect::<Vec<_>>().join(" ");
    if enough == text.len() && line.chars().count() <= max_chars {
        return line;
    }
    let mut cut: String = line.chars().take(max_chars.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

fn marker(bytes: usize) -> String {
    format!("… ({bytes} bytes cut)")
}

/// `1 file`, `3 files`.
pub fn count(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_text_is_left_alone() {
        assert_eq!(clip("abc", 3), "abc");
        assert_eq!(head_tail("abc", 3), "abc");
        assert_eq!(one_line(" a \n b ", 3), "a b");
    }

    #[test]
    fn a_cut_says_how_much_is_missing() {
        assert_eq!(clip(&"a".repeat(100), 30), format!("{}… (89 bytes cut)", "a".repeat(11)));
        let cut = head_tail(&format!("first{}last", "x".repeat(100)), 40);
        assert!(cut.starts_with("first") && cut.ends_with("last") && cut.contains("bytes cut"), "{cut}");
        assert_eq!(one_line("one two three", 8), "one two…");
    }

    proptest! {
        #[test]
        fn no_cut_goes_over_its_bound_or_through_a_character(text in ".{0,300}", max in 0_usize..400) {
            prop_assert!(clip(&text, max).len() <= max);
            prop_assert!(head_tail(&text, max).len() <= max);
            prop_assert!(one_line(&text, max).chars().count() <= max.max(1));
        }
    }

    #[test]
    fn one_is_singular_and_everything_else_plural() {
        assert_eq!((count(1, "file"), count(0, "file")), ("1 file".to_owned(), "0 files".to_owned()));
    }
}
