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

/// This much of a text is looked at before it is decided whether it is a token, bytes.
const LOOK_BYTES: usize = 512;
/// Longest name of a kind of key, bytes.
const LABEL_BYTES: usize = 40;
/// Longest key, bytes.
const KEY_BYTES: usize = 16 << 10;

/// Where the token ends that begins at `at` with a beginning; none where it is no token.
pub(super) fn end(beginning: usize, bytes: &[u8], at: usize) -> Option<usize> {
    let text = BEGINNINGS[beginning];
    let rest = at + text.len();
    match text {
        KEY => key_end(bytes, rest),
        JWT => stands_alone(bytes, at).then(|| jwt_end(bytes, at)).flatten(),
        // Words like `task-` end so, and long names with `-` follow.
        "sk-" => stands_alone(bytes, at).then(|| run(bytes, rest, 20..=usize::MAX, is_name, true)).flatten(),
        "AKIA" | "ASIA" => stands_alone(bytes, at).then(|| run(bytes, rest, 16..=16, is_upper, false)).flatten(),
        "github_pat_" => run(bytes, rest, 22..=usize::MAX, is_name, false),
        "AIza" => stands_alone(bytes, at).then(|| run(bytes, rest, 35..=35, is_name, true)).flatten(),
        "sk-ant-" | "glpat-" => run(bytes, rest, 20..=usize::MAX, is_name, true),
        "xoxa-" | "xoxb-" | "xoxp-" => run(bytes, rest, 10..=usize::MAX, is_name, true),
        _ => run(bytes, rest, 36..=usize::MAX, |byte| byte.is_ascii_alphanumeric(), false),
    }
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

/// Three parts with dots between them, of which the first two are JSON in base64. The last may be empty.
fn jwt_end(bytes: &[u8], at: usize) -> Option<usize> {
    let part = |from: usize| from + bytes[from..].iter().take_while(|byte| is_name(**byte)).count();
    let head = part(at);
    let body = part(head + usize::from(bytes.get(head) == Some(&b'.')));
    let is_one = head - at >= 10 && bytes[head..].starts_with(b".eyJ") && bytes.get(body) == Some(&b'.');
    is_one.then(|| part(body + 1))
}

/// A private key in PEM, on many lines or with its ends of lines escaped. One without an end is gone as far as it goes.
fn key_end(bytes: &[u8], from: usize) -> Option<usize> {
    let label =
        from + bytes[from..].iter().take(LABEL_BYTES).take_while(|byte| is_upper(**byte) || **byte == b' ').count();
    let is_private = memmem::find(&bytes[from..label], b"PRIVATE KEY").is_some();
    let body = Some(label + 5).filter(|_| is_private && bytes[label..].starts_with(b"-----"))?;
    let text = &bytes[body..bytes.len().min(body + KEY_BYTES)];
    let inside = memmem::find(text, b"-----").unwrap_or(text.len());
    // Headers, signs of a patch and spaces before lines may be in it; quotes may not.
    let is_inside =
        |byte: &u8| byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b"+/=:,.-\\".contains(byte);
    if text[inside..].starts_with(b"-----END ") && text[..inside].iter().all(is_inside) {
        let label = inside + b"-----END ".len();
        let rest = &text[label..text.len().min(label + LABEL_BYTES)];
        return Some(body + label + memmem::find(rest, b"-----").map_or(0, |end| end + 5));
    }
    Some(body + open_key(&text[..inside]))
}

/// How far a key goes that has no end: base64, with ends of lines that may be escaped.
fn open_key(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'\\' if matches!(bytes.get(at + 1), Some(b'n' | b'r')) => 2,
            b'+' | b'/' | b'=' | b'\n' | b'\r' => 1,
            byte if byte.is_ascii_alphanumeric() => 1,
            _ => break,
        };
    }
    at
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
}
