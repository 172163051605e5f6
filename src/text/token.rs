//! Tokens of known makes: how they begin, and how far they go. In: bytes, and where one of the beginnings stands in
//! them. Out: where the token ends, or that it is none.

use std::ops::RangeInclusive;

use memchr::memmem;

/// What tokens begin with.
pub(super) const BEGINNINGS: [&str; 17] = [
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxa-",
    "xoxb-",
    "xoxp-",
    "sk-ant-",
    "sk-",
    "AKIA",
    "ASIA",
    "AIza",
    JWT,
    KEY,
];
const JWT: &str = "eyJ";
const KEY: &str = "-----BEGIN ";
const END: &[u8] = b"-----END ";

/// This much of a text is looked at before it is decided whether it is a token, bytes.
const LOOK_BYTES: usize = 512;
/// Longest name of a kind of key, bytes.
const LABEL_BYTES: usize = 40;
/// No word of people is as long, bytes.
const LONG_WORD_BYTES: usize = 32;
/// Longest key, bytes.
const KEY_BYTES: usize = 16 << 10;

/// Where a token ends.
pub(super) struct End {
    pub(super) at: usize,
    /// True where the text ends in it: it may go on.
    pub(super) is_open: bool,
}

/// Where the token ends that begins at `at` with a beginning; none where it is no token.
pub(super) fn end(beginning: usize, bytes: &[u8], at: usize) -> Option<End> {
    let text = BEGINNINGS[beginning];
    let rest = at + text.len();
    if text == KEY {
        return key_end(bytes, rest);
    }
    let end = match text {
        JWT => stands_alone(bytes, at).then(|| jwt_end(bytes, at)).flatten(),
        // Words like `task-` end so, and long names with `-` follow.
        "sk-" => stands_alone(bytes, at).then(|| run(bytes, rest, 20..=usize::MAX, is_name, true)).flatten(),
        "AKIA" | "ASIA" => stands_alone(bytes, at).then(|| run(bytes, rest, 16..=16, is_upper, false)).flatten(),
        "github_pat_" => run(bytes, rest, 22..=usize::MAX, is_name, false),
        "AIza" => stands_alone(bytes, at).then(|| run(bytes, rest, 35..=35, is_name, true)).flatten(),
        "sk-ant-" | "glpat-" => run(bytes, rest, 20..=usize::MAX, is_name, true),
        "xoxa-" | "xoxb-" | "xoxp-" => run(bytes, rest, 10..=usize::MAX, is_name, true),
        _ => run(bytes, rest, 36..=usize::MAX, |byte| byte.is_ascii_alphanumeric(), false),
    };
    end.map(|end| End { at: end, is_open: end == bytes.len() })
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn is_upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

/// True where no word runs into it: not a part of a longer name. The letter of an escape in JSON is none of a name.
fn stands_alone(bytes: &[u8], at: usize) -> bool {
    match bytes[..at] {
        [.., b'\\', b'n' | b'r' | b't'] | [] => true,
        [.., before] => !is_name(before),
    }
}

/// The end of a run of so many bytes of a kind. `mixed`: words of people have no digit in them.
fn run(
    bytes: &[u8],
    from: usize,
    length: RangeInclusive<usize>,
    is_part: impl Fn(u8) -> bool,
    mixed: bool,
) -> Option<usize> {
    let part = |from: usize, most: usize| bytes[from..].iter().take(most).take_while(|byte| is_part(**byte)).count();
    let looked_at = part(from, LOOK_BYTES);
    let seen = &bytes[from..from + looked_at];
    let is_random = !mixed || (seen.iter().any(u8::is_ascii_digit) && seen.iter().any(u8::is_ascii_alphabetic));
    let is_token = length.contains(&looked_at) && is_random;
    is_token.then(|| from + looked_at + if looked_at == LOOK_BYTES { part(from + looked_at, usize::MAX) } else { 0 })
}

/// Three parts with dots between them, of which the first two are JSON in base64. The last may be empty. Where the text
/// ends in one of the first two, there is no telling: it counts as one.
fn jwt_end(bytes: &[u8], at: usize) -> Option<usize> {
    let part = |from: usize| from + bytes[from..].iter().take_while(|byte| is_name(**byte)).count();
    let head = part(at);
    let body = part(head + usize::from(bytes.get(head) == Some(&b'.')));
    let is_jwt = head - at >= 10 && (bytes[head..].starts_with(b".eyJ") || b".eyJ".starts_with(&bytes[head..]));
    match bytes.get(body) {
        None => is_jwt.then_some(body),
        Some(b'.') => is_jwt.then(|| part(body + 1)),
        Some(_) => None,
    }
}

/// A private key in PEM, on many lines or with its ends of lines escaped. One without an end is gone as far as it goes.
fn key_end(bytes: &[u8], from: usize) -> Option<End> {
    let label =
        from + bytes[from..].iter().take(LABEL_BYTES).take_while(|byte| is_upper(**byte) || **byte == b' ').count();
    let is_private = memmem::find(&bytes[from..label], b"PRIVATE KEY").is_some();
    let body = Some(label + 5).filter(|_| is_private && bytes[label..].starts_with(b"-----"))?;
    let text = &bytes[body..bytes.len().min(body + KEY_BYTES)];
    let is_all = body + text.len() == bytes.len();
    let inside = memmem::find(text, b"-----").unwrap_or(text.len());
    if text[inside..].starts_with(END) && text[..inside].iter().copied().all(is_inside) {
        let label = inside + END.len();
        let rest = &text[label..text.len().min(label + LABEL_BYTES)];
        let end = memmem::find(rest, b"-----").map(|end| label + end + 5);
        return Some(End { at: body + end.unwrap_or(text.len()), is_open: end.is_none() && is_all });
    }
    let end = open_key(&text[..inside]);
    // What comes next is not in the text yet; the end of a line in front of it is not part of the key.
    let is_open = END.starts_with(text[end..].trim_ascii_start()) && is_all;
    Some(End { at: body + end, is_open })
}

/// Headers, signs of a patch and spaces before lines may be in a key; quotes may not.
fn is_inside(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b"+/=:,.-\\".contains(&byte)
}

/// How far a key goes that has no end: whole lines that may be inside of one, without the end of the last; and of the
/// line behind them what stands in front of a quote, or looks like base64.
fn open_key(bytes: &[u8]) -> usize {
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let inside = line.iter().take_while(|byte| is_inside(**byte)).count();
        if inside == line.len() && is_line_of_key(line) {
            at += line.len();
            continue;
        }
        let is_quoted = line.get(inside).is_some_and(|byte| b"\"'`".contains(byte));
        // The backslash in front of a quote is the quote's.
        let quoted = line[..inside].iter().rev().skip_while(|byte| **byte == b'\\').count();
        at += if is_quoted { quoted } else { base64_run(line) };
        break;
    }
    bytes[..at].trim_ascii_end().len()
}

/// A word, a header, or words of which one is too long for prose: a line of base64 behind a time.
fn is_line_of_key(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let mut words = line.split(u8::is_ascii_whitespace);
    let is_header = memmem::find(line, b": ").is_some();
    is_header || !line.contains(&b' ') || words.any(|word| word.len() >= LONG_WORD_BYTES)
}

/// The base64 at the beginning of a line, where it is too long for a word; ends of lines may be escaped in it.
fn base64_run(line: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = line.get(at) {
        at += match byte {
            b'\\' if matches!(line.get(at + 1), Some(b'n' | b'r')) => 2,
            b'+' | b'/' | b'=' => 1,
            byte if byte.is_ascii_alphanumeric() => 1,
            _ => break,
        };
    }
    if at >= LONG_WORD_BYTES { at } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::super::Redactor;

    fn check(text: &str, expected: &str) {
        assert_eq!(Redactor::new([]).unwrap().text(text), expected);
    }

    #[test]
    fn tokens_of_known_makes_are_masked() {
        let digits = "0123456789abcdefghijABCDEFGHIJ456789xyz";
        for head in ["ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "sk-ant-api03-", "sk-proj-", "sk-", "xoxb-12-"] {
            check(&format!("token={head}{digits}, more"), "token=***, more");
        }
        check("AKIAIOSFODNN7EXAMPLE.", "***.");
        check(&format!("AIza{}", &digits[..35]), "***");
        check("Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP-mB92K27 x", "Bearer *** x");
        check(r#"{"a":"x\neyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjft"}"#, r#"{"a":"x\n***"}"#);
        check(&format!("ghp_{} end", "a1".repeat(2000)), "*** end");
    }

    #[test]
    fn words_that_only_begin_like_one_stay() {
        for text in [
            "task-0123456789-0123456789-abcdef",
            "sk-loading-indicator-placeholder-of-some-length",
            "sk-short1",
            "ghp_too_short",
            "AKIAIOSFODNN7EXAMPLES",
            "eyJust.a.word",
            "disk-0123456789-0123456789",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn private_keys_are_masked_however_their_lines_end() {
        check(
            "a\n-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIE+/=\n-----END RSA PRIVATE KEY-----\nb",
            "a\n***\nb",
        );
        check(
            r#"{"k":"-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n","b":1}"#,
            r#"{"k":"***\n","b":1}"#,
        );
        check(r#"{"k":"-----BEGIN PRIVATE KEY-----\nMIIE"} {"#, r#"{"k":"***"} {"#);
        check("+-----BEGIN PRIVATE KEY-----\n+MIIE\n+-----END PRIVATE KEY-----\n b", "+***\n b");
    }

    #[test]
    fn a_key_without_an_end_is_masked_by_whole_lines() {
        check("-----BEGIN PRIVATE KEY-----\n    MIIE\n    AbCd=\n", "***\n");
        check("-----BEGIN PRIVATE KEY-----\nMIIE\n{\"type\":\"result\"}\n", "***\n{\"type\":\"result\"}\n");
        check("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIE\nand so on", "***\nand so on");
        check(r#"{"a":"{\"k\":\"-----BEGIN PRIVATE KEY-----\\nMIIE\"}"}"#, r#"{"a":"{\"k\":\"***\"}"}"#);
    }

    #[test]
    fn a_token_that_the_text_ends_in_is_masked() {
        check("a eyJhbGciOiJIUzI1NiJ9.eyJzdWIi", "a ***");
        check("a eyJhbGciOiJIUzI1NiJ9", "a ***");
        check("a eyJhbGciOiJIUzI1NiJ9 b", "a eyJhbGciOiJIUzI1NiJ9 b");
    }
}
