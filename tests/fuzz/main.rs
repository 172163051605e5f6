//! Fuzz: random strings, most of them built from what has ever broken out of a report, through every encoder of `text`.
//! What comes out is read back by a parser of its format: it has to say the same, and to do nothing.
//!
//! `MAESTRO_FUZZ_STRINGS` sets how many strings each encoder gets (20,000; `ci/fuzz.sh`: 1,000,000), and
//! `MAESTRO_FUZZ_SEED` where they begin. A failure names the seed of its string and the shortest
//! string found that fails the same way.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests fail by panicking")]

mod html;
mod json;
mod markdown;
#[path = "../shared/runner_line.rs"]
mod runner_line;
mod runner_page;
#[path = "../shared/mod.rs"]
mod shared;
mod strings;
mod terminal;
mod title;
mod workflow;
mod xml;

use std::time::Instant;

/// What is wrong with the encoding of a text.
type Check = fn(&str) -> Result<(), String>;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |n| n.parse().unwrap())
}

/// Gives an encoder all the strings.
fn fuzz(what: &str, check: Check) {
    let (strings, seed) = (number("MAESTRO_FUZZ_STRINGS", 20_000), number("MAESTRO_FUZZ_SEED", 1));
    let (started, mut bytes) = (Instant::now(), 0_u64);
    for seed in seed..seed + strings {
        let text = strings::string(seed);
        bytes += text.len() as u64;
        if let Err(why) = check(&text) {
            let (text, why) = shortest(text, why, check);
            panic!("{what}, seed {seed}: {why}\nthe text: {text:?}");
        }
    }
    println!("{what}: {strings} strings from seed {seed}, {bytes} bytes, {:.1} s", started.elapsed().as_secs_f64());
}

/// Leaves characters out as long as the check still fails.
fn shortest(mut text: String, mut why: String, check: Check) -> (String, String) {
    let mut size = text.chars().count() / 2;
    while size > 0 {
        let chars: Vec<char> = text.chars().collect();
        let without = |from: usize| chars.iter().take(from).chain(chars.iter().skip(from + size)).collect::<String>();
        let mut shorter = (0..chars.len()).step_by(size).map(without);
        match shorter.find_map(|text| check(&text).err().map(|why| (text, why))) {
            Some(found) => (text, why) = found,
            None => size /= 2,
        }
    }
    (text, why)
}

/// An error where something does not hold.
fn holds(is: bool, what: &str, got: &str) -> Result<(), String> {
    if is { Ok(()) } else { Err(format!("{what}: {got:?}")) }
}

/// An error where two texts differ.
fn same(what: &str, got: &str, expected: &str) -> Result<(), String> {
    if got == expected { Ok(()) } else { Err(format!("{what}: got {got:?}, expected {expected:?}")) }
}

#[test]
fn xml_says_the_same_and_every_character_is_legal() {
    fuzz("xml", xml::check);
}

#[test]
fn json_holds_the_same_value_and_no_control_character() {
    fuzz("json", json::check);
}

#[test]
fn markdown_shows_the_same_words_and_does_nothing() {
    fuzz("markdown", markdown::check);
}

#[test]
fn a_title_shows_the_same_words_and_does_nothing() {
    fuzz("title", title::check);
}

#[test]
fn a_link_goes_where_it_was_told_or_is_none() {
    fuzz("markdown link", markdown::check_link);
}

#[test]
fn a_report_in_the_log_gives_no_command_and_reads_the_same() {
    fuzz("runner page", runner_page::check);
}

#[test]
fn html_shows_the_same_words_and_has_no_tag() {
    fuzz("html", html::check);
}

#[test]
fn a_workflow_command_is_one_command_that_says_the_same() {
    fuzz("workflow command", workflow::check);
}

#[test]
fn a_line_of_the_log_gives_no_command_and_moves_no_cursor() {
    fuzz("terminal", terminal::check);
}

#[test]
fn a_check_that_fails_is_told_with_the_shortest_text() {
    let check: Check = |text| holds(!text.contains("##["), "a command", text);
    let text = format!("{}##[{}", "a".repeat(99), "b".repeat(50));
    assert_eq!(shortest(text, String::new(), check).0, "##[");
}
