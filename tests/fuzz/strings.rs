//! The strings: a seed flows in, a text flows out, the same for the same seed.

use crate::shared::Rng;

/// What has a meaning in one of the formats, or for one of their readers.
#[rustfmt::skip]
const TOKENS: &[&str] = &[
    // XML and HTML
    "]]>", "<![CDATA[", "<?xml ?>", "<!DOCTYPE a>", "<", ">", "\"", "'", "&", "&amp;", "&lt;", "&#0;", "&#x1b;",
    "&nbsp;", "<script>", "</script>", "</style>", "<img src=x onerror=a()>", "<a href=\"javascript:a()\">", "</td>",
    "<details>",
    // comments and markers
    "<!--", "-->", "--!>", "<!-- maestro-ci:report v1 prd=prd.md -->",
    // Markdown
    "`", "```", "````", "~~~", "*", "**", "_", "~~", "# ", "\n---\n", "- ", "+ ", "1. ", "> ", "|", "\n|---|\n", "\\",
    "$", "$$", "![", "](", "[x]: y", "[^1]", "- [ ] ", "    ", "  \n", "javascript:",
    // mentions, references, links
    "@", "@everyone", "@org/team", "#1", "!1", "%1", "~1", "&1", "GH-1", "org/repo#1", "fixes #1", "Closes: org/repo#1",
    "https://evil.example/", "://", "www.evil.example", "a@evil.example", "mailto:a@b.c",
    // runners
    "::", "::error::", "::error file=a,line=1::", "::stop-commands::", "::add-mask::", "##[", "##[error]", "##vso[",
    "%0A", "%25", "%", ",", ":", "#", "[", "]",
    // terminals
    "\u{1b}", "\u{1b}[31m", "\u{1b}[2J", "\u{1b}]0;title\u{7}", "\u{1b}]8;;https://evil.example\u{1b}\\", "\u{9b}2J",
    "\u{9d}0;x\u{9c}", "\u{1b}P", "\u{7}", "\u{8}\u{8}", "\u{7f}", "\u{85}",
    // line ends and space
    "\r", "\r\n", "\n", "\t", "\u{a0}",
    // words between them
    "word", "Größe", "数",
];

/// Characters without a shape, and those that XML or Unicode reserves.
#[rustfmt::skip]
const SPECIAL: &[char] = &[
    '\0', '\u{b}', '\u{c}', '\u{1f}', '\u{80}', '\u{ad}', '\u{200b}', '\u{200d}', '\u{202a}', '\u{202e}', '\u{2028}',
    '\u{2029}', '\u{2066}', '\u{2069}', '\u{3000}', '\u{fdd0}', '\u{feff}', '\u{fffd}', '\u{fffe}', '\u{ffff}',
    '\u{e0041}', '\u{1fffe}', '\u{10ffff}', '\u{1f980}',
];

/// The string of a seed. One in 5,000 has a line of 100 KB.
pub fn string(seed: u64) -> String {
    let mut rng = Rng(seed);
    let mut text = String::new();
    for _ in 0..rng.below(14) {
        piece(&mut rng, &mut text);
    }
    if rng.below(5_000) == 0 {
        let token = TOKENS[index(&mut rng, TOKENS.len())];
        text.push_str(&token.repeat(100_000 / token.len()));
    }
    text
}

fn piece(rng: &mut Rng, text: &mut String) {
    match rng.below(100) {
        0..60 => text.push_str(TOKENS[index(rng, TOKENS.len())]),
        60..70 => text.push(SPECIAL[index(rng, SPECIAL.len())]),
        70..75 => text.push(' '),
        75..80 => text.push(char::from(b'0' + digit(rng))),
        80..90 => text.push(char::from(b' ' + u8::try_from(rng.below(95)).unwrap_or(0))),
        _ => text.extend(char::from_u32(u32::try_from(rng.below(0x11_0000)).unwrap_or(0))),
    }
}

fn digit(rng: &mut Rng) -> u8 {
    u8::try_from(rng.below(10)).unwrap_or(0)
}

fn index(rng: &mut Rng, len: usize) -> usize {
    usize::try_from(rng.below(len as u64)).unwrap_or(0)
}

#[test]
fn a_seed_gives_the_same_string_and_all_tokens_come_up() {
    assert_eq!(string(7), string(7));
    let all: String = (0..20_000).map(string).collect();
    let missing: Vec<&str> = TOKENS.iter().copied().filter(|token| !all.contains(token)).collect();
    assert_eq!(missing, Vec::<&str>::new());
    assert!((0..20_000).any(|seed| string(seed).len() > 99_000), "no long line");
}
