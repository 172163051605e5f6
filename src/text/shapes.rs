//! How a secret looks where programs print it. One secret flows in, everything that it is looked for as flows out, each
//! with what is known when it is found.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::redact::Found;

/// Shortest line that is taken for part of a secret, bytes: what is shorter would hide half of a log.
pub(super) const MIN_BYTES: usize = 8;
/// From here on a value is no word that stands elsewhere by chance, bytes.
const LONG_BYTES: usize = 16;
/// A line of a longer secret that is a secret for sure, bytes; what is shorter may be anybody's (`"type": "account"`).
const SURE_LINE_BYTES: usize = 20;
/// Values that people give where none is wanted, long enough to be one.
const COMMON: [&str; 12] = [
    "00000000",
    "12345678",
    "changeme",
    "disabled",
    "dummy-key",
    "localhost",
    "maestro-ci",
    "not-needed",
    "password",
    "placeholder",
    "postgres",
    "undefined",
];
/// `base64` of the command line breaks its lines here, characters.
const BASE64_LINE: usize = 76;
/// What the encoders of addresses leave as it is besides letters and digits, and what becomes of a space: those of
/// Python, JavaScript (`encodeURIComponent`) and forms.
const ADDRESSES: [(&[u8], &str); 5] =
    [(b"-._~", "%20"), (b"-._~/", "%20"), (b"-._~!'()*", "%20"), (b"-._~", "+"), (b"-._*", "+")];
/// What bash puts a backslash in front of.
const BASH_SPECIAL: &str = " \t'\"\\|&;()<>!{}*[]?^$`,";

/// The lines of a secret that are looked for, each by itself.
pub fn secret_lines(secret: &str) -> impl Iterator<Item = &str> {
    secret.lines().map(str::trim).filter(|line| line.len() >= MIN_BYTES && !COMMON.contains(line))
}

/// Everything that a secret is looked for as.
pub(super) fn shapes(secret: &str) -> Vec<(String, Found)> {
    let secret = secret.trim();
    let is_one_line = !secret.contains('\n');
    // The first and last line of a key in PEM are everybody's.
    let lines = secret_lines(secret).filter(|line| !line.starts_with("-----"));
    let grade = |line: &str| match is_one_line {
        true if is_no_word(line) => Found::Value,
        false if line.len() >= SURE_LINE_BYTES && !line.contains(' ') => Found::Value,
        _ => Found::Maybe,
    };
    let mut all: Vec<(String, Found)> = lines.map(|line| (line.to_owned(), grade(line))).collect();
    let whole = if is_one_line { all.clone() } else { vec![(secret.to_owned(), Found::Value)] };
    for (whole, found) in whole {
        all.extend(encoded(&whole).into_iter().map(|shape| (shape, found)));
    }
    // A line by itself may be quoted, too.
    all.retain(|(shape, _)| shape.len() >= MIN_BYTES && !shape.contains('\n'));
    all
}

/// Long, or with a digit in front of a letter: `s3cr3t-x`, and neither `created_at` nor `testing123`, which may stand
/// anywhere and mean something else.
fn is_no_word(value: &str) -> bool {
    let mixed = |pair: &[u8]| pair[0].is_ascii_digit() && pair[1].is_ascii_alphabetic();
    value.len() >= LONG_BYTES || value.as_bytes().windows(2).any(mixed)
}

/// A secret as JSON, XML, shells, an address, hexadecimal and base64 show it; some of them may be as it is.
fn encoded(secret: &str) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = of_markup(secret).chain(of_shells(secret)).collect();
    let plain = std::iter::once(secret.to_owned()).chain(all.iter().cloned());
    let quoted: Vec<String> = plain.flat_map(|text| of_json(&text)).collect();
    // What is quoted once may be quoted again: an event that holds an event.
    all.extend(of_json(secret).iter().map(|text| json(text)));
    all.extend(quoted);
    all.extend(ADDRESSES.iter().flat_map(|(kept, space)| of_address(secret, kept, space)));
    all.extend([hexadecimal(secret, |byte| format!("{byte:02x}")), hexadecimal(secret, |byte| format!("{byte:02X}"))]);
    all.extend((0..3).flat_map(|before| base64_shapes(secret, before)));
    all
}

fn json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// As it is in most languages, with `\/` (PHP), with `\u0026` for what is special in HTML (Go), all in ASCII (Python).
fn of_json(text: &str) -> Vec<String> {
    let once = json(text);
    let go = once.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
    let ascii = |text: &str| {
        let mut units = [0; 2];
        let mut escape = |c: char| {
            if c.is_ascii() {
                return c.to_string();
            }
            c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
        };
        text.chars().map(&mut escape).collect::<String>()
    };
    vec![once.replace('/', "\\/"), ascii(&once), ascii(&once.replace('/', "\\/")), ascii(&go), go, once]
}

/// Text of XML and HTML, with each name that their encoders have for quotes.
fn of_markup(text: &str) -> impl Iterator<Item = String> {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    ["\"", "&quot;", "&#34;"].into_iter().flat_map(move |double| {
        let text = text.replace('"', double);
        ["'", "&#x27;", "&#39;", "&#039;", "&apos;"].map(|single| text.replace('\'', single))
    })
}

/// Words of a shell as `printf %q` and `set -x` write them, in any locale; `repr` of Python is like one of them.
fn of_shells(text: &str) -> impl Iterator<Item = String> {
    let slashed = |special: &str| {
        let escape = |c: char| if special.contains(c) { format!("\\{c}") } else { c.to_string() };
        text.chars().map(escape).collect::<String>()
    };
    let octal = |text: &str| {
        let escape = |c: char| {
            if c.is_ascii() { c.to_string() } else { c.to_string().bytes().map(|b| format!("\\{b:03o}")).collect() }
        };
        text.chars().map(escape).collect::<String>()
    };
    let dollar = slashed("\\'").replace('\n', "\\n").replace('\t', "\\t").replace('\r', "\\r");
    let repr = dollar.replace("\\'", "'");
    [slashed(BASH_SPECIAL), text.replace('\'', "'\\''"), octal(&dollar), dollar, repr].into_iter()
}

/// With upper and with lower digits.
fn of_address(text: &str, kept: &[u8], space: &str) -> [String; 2] {
    let escape = |byte: u8, is_upper: bool| match byte {
        b' ' => space.to_owned(),
        byte if byte.is_ascii_alphanumeric() || kept.contains(&byte) => char::from(byte).to_string(),
        _ if is_upper => format!("%{byte:02X}"),
        _ => format!("%{byte:02x}"),
    };
    [true, false].map(|is_upper| text.bytes().map(|byte| escape(byte, is_upper)).collect())
}

fn hexadecimal(text: &str, digits: impl Fn(u8) -> String) -> String {
    text.bytes().map(digits).collect()
}

/// What base64 makes of a secret that stands behind `before` bytes (modulo 3) of something else: the characters that
/// depend on nothing else.
fn base64_shapes(secret: &str, before: usize) -> Vec<String> {
    let bytes: Vec<u8> = std::iter::repeat_n(0, before).chain(secret.bytes()).collect();
    let own = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
    let both = [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)];
    let wrapped = both[0].as_bytes().chunks(BASE64_LINE).filter(|_| before == 0 && both[0].len() > BASE64_LINE);
    let lines: Vec<String> = wrapped.map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    both.iter().filter_map(|text| text.get(own.clone())).map(str::to_owned).chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_an_ordinary_word_is_no_secret_for_sure() {
        let check = |value: &str, expected: bool| assert_eq!(is_no_word(value), expected, "{value}");
        check("s3cr3t-value", true);
        check("correct horse battery", true);
        check("aB3xQ9kLm", true);
        check("created_at", false);
        check("minioadmin", false);
        check("testing123", false);
        check("2026-01-01", false);
    }
}
