//! House rules: walls between rooms, sizes, the table of exit codes, no forgotten file. They read the sources as
//! text, or as syn sees them; each answers with a list of everything that breaks it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use maestro_ci::core::Verdict;
use syn::visit::{self, Visit};

use crate::env::BINARY;

/// Rooms by level: a room may use those of lower levels, and itself; never a neighbour, never one above.
const LEVELS: [&[&str]; 9] = [
    &["core"],
    &["text"],
    &["git", "sandbox"],
    &["prd", "config"],
    &["plan", "journal"],
    &["agent", "gateway", "workspace", "gate", "forge", "report"],
    &["driver"],
    &["cli"],
    // The crate's roots: they name the rooms.
    &["main", "lib"],
];

/// What reaches the world; the core may name none of it.
const WORLD: [&str; 13] = [
    "std::fs",
    "std::env",
    "std::time",
    "std::process",
    "std::thread",
    "std::net",
    "std::io",
    "tokio::",
    "jiff::",
    "duct::",
    "rustix::",
    "tempfile::",
    "uuid::",
];

const MAX_FUNCTION_LINES: usize = 70;
const MAX_FILE_LINES: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a directory of the repository, as (path from the root, text).
fn sources(dir: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut left = vec![root().join(dir)];
    while let Some(dir) = left.pop() {
        for path in fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{dir} holds no Rust file; the rule looks at the wrong place");
    found
}

/// Numbered lines that are neither comments nor part of the file's own tests, which stand at its end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..tests].lines().enumerate().map(|(i, line)| (i + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[track_caller]
fn holds(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

fn level(room: &str) -> Option<usize> {
    LEVELS.iter().position(|rooms| rooms.contains(&room))
}

/// `src/core/plan.rs` lies in `core`, `src/main.rs` in `main`.
fn room_of(file: &str) -> &str {
    let inside = file.strip_prefix("src/").unwrap();
    inside.split(['/', '.']).next().unwrap()
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// The first names behind a path's root: one, or those of a list in braces.
fn first_names(path: &str) -> Vec<&str> {
    let Some(list) = path.strip_prefix('{') else { return vec![word(path)] };
    let mut depth = 0;
    let mut start = 0;
    let mut names = Vec::new();
    for (i, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(word(list[start..i].trim()));
                start = i + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Every (line, room) that a file's code names, by `crate::…`, `maestro_ci::…` or `super::super::…`.
fn rooms_used(text: &str) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    let lines: Vec<(usize, &str)> = code(text).collect();
    // A list in braces may go over several lines, so the code is searched as one text.
    let joined: String = lines.iter().map(|(_, line)| format!("{line}\n")).collect();
    for (prefix, only_rooms) in [("crate::", false), ("maestro_ci::", false), ("super::super::", true)] {
        for (at, _) in joined.match_indices(prefix) {
            if joined[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            let number = lines[joined[..at].matches('\n').count()].0;
            let names = first_names(&joined[at + prefix.len()..]);
            // `super::super::x` leads into another room only where x is one.
            let names = names.into_iter().filter(|name| !only_rooms || level(name).is_some());
            used.extend(names.map(|name| (number, name.to_owned())));
        }
    }
    used
}

#[test]
fn the_reader_of_use_lines_sees_what_it_should() {
    let text = "//! crate::zero\nuse crate::one::{A, B};\nuse crate::{\n    two::{C, D},\n    three,\n};\n\
        fn f() { crate::four::x(); my_crate::five(); }\n#[cfg(test)]\nmod tests {\n    use crate::six;\n}\n";
    let used: Vec<(usize, String)> = rooms_used(text);
    let used: Vec<(usize, &str)> = used.iter().map(|(line, room)| (*line, room.as_str())).collect();
    assert_eq!(used, [(2, "one"), (3, "two"), (3, "three"), (7, "four")]);
}

#[test]
fn dependencies_point_one_way_through_the_house() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for (file, text) in sources("src") {
        let from = room_of(&file);
        let Some(from_level) = level(from) else {
            broken.push(format!("{file}: the room `{from}` has no place in LEVELS"));
            continue;
        };
        for (line, to) in rooms_used(&text) {
            seen += 1;
            let allowed = to == from || level(&to).is_some_and(|to_level| to_level < from_level);
            if !allowed {
                broken.push(format!("{file}:{line}: {from} must not know {to}"));
            }
        }
    }
    assert!(seen > 100, "only {seen} paths were seen; the scan is blind");
    holds("a wall between rooms is broken", &broken);
}

#[test]
fn the_core_names_no_clock_file_process_or_thread() {
    let mut broken = Vec::new();
    for (file, text) in sources("src/core") {
        for (line, code) in code(&text) {
            let named = WORLD.iter().filter(|world| code.contains(*world));
            broken.extend(named.map(|world| format!("{file}:{line}: {world}")));
        }
    }
    holds("the core touches the world", &broken);
}

/// Collects functions that are too long.
struct Lengths<'a> {
    file: &'a str,
    seen: usize,
    broken: Vec<String>,
}

impl Lengths<'_> {
    fn measure(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.fn_token.span.start().line;
        let last = block.brace_token.span.close().end().line;
        let lines = last + 1 - first;
        self.seen += 1;
        if lines > MAX_FUNCTION_LINES {
            self.broken.push(format!("{}:{first}: {} has {lines} lines", self.file, signature.ident));
        }
    }
}

impl<'ast> Visit<'ast> for Lengths<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.measure(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

#[test]
fn no_function_is_longer_than_seventy_lines() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for (file, text) in sources("src") {
        let parsed = syn::parse_file(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
        let mut lengths = Lengths { file: &file, seen: 0, broken: Vec::new() };
        lengths.visit_file(&parsed);
        seen += lengths.seen;
        broken.append(&mut lengths.broken);
    }
    assert!(seen > 500, "only {seen} functions were seen; the scan is blind");
    holds("a function is too long", &broken);
}

#[test]
fn no_file_is_longer_than_four_hundred_lines() {
    let long = sources("src").into_iter().map(|(file, text)| (file, text.lines().count()));
    let broken: Vec<String> = long
        .filter(|(_, lines)| *lines > MAX_FILE_LINES)
        .map(|(file, lines)| format!("{file}: {lines} lines"))
        .collect();
    holds("a file is too long", &broken);
}

/// (code, name) of every verdict.
fn verdicts() -> Vec<(String, String)> {
    Verdict::ALL.iter().map(|v| (v.code().to_string(), v.name().to_owned())).collect()
}

#[test]
fn the_readme_lists_every_exit_code_and_no_other() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let section = readme.split("\n## ").find(|s| s.starts_with("Exit codes")).expect("README has a section of them");
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = rows.map(|row| row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>());
    let listed: Vec<(String, String)> = cells.map(|cells| (cells[1].clone(), cells[2].clone())).collect();
    assert_eq!(listed, verdicts(), "README's table (left) and the enum (right) disagree");
}

#[test]
fn the_help_lists_every_exit_code_and_no_other() {
    let output = Command::new(BINARY).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let (_, list) = help.split_once("Exit codes:").expect("--help has a list of them");
    // `130, 143 interrupted` is two codes with one name.
    let mut listed: Vec<(String, String)> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut named = true;
    for word in list.split_whitespace() {
        let word = word.trim_end_matches(',');
        if word.chars().all(|c| c.is_ascii_digit()) {
            if named {
                open.clear();
            }
            named = false;
            open.push(listed.len());
            listed.push((word.to_owned(), String::new()));
            continue;
        }
        named = true;
        for index in &open {
            let name = &mut listed[*index].1;
            name.push_str(if name.is_empty() { "" } else { " " });
            name.push_str(word);
        }
    }
    assert_eq!(listed, verdicts(), "--help (left) and the enum (right) disagree");
}

/// Modules that a file declares.
fn declared(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(str::trim);
    let modules = lines.filter_map(|line| {
        let line = line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub ")).unwrap_or(line);
        Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned())
    });
    modules.collect()
}

/// Files of a tree that no file above them declares as a module.
fn forgotten(dir: &str, roots: &[&str]) -> Vec<String> {
    let files: BTreeMap<PathBuf, String> = sources(dir).into_iter().map(|(f, text)| (PathBuf::from(f), text)).collect();
    let is_root = |file: &Path| roots.iter().any(|root| Path::new(dir).join(root) == file);
    let is_declared = |file: &Path| {
        let (home, name) = if file.file_name().is_some_and(|n| n == "mod.rs") {
            let own = file.parent().unwrap();
            (own.parent().unwrap(), own.file_name().unwrap())
        } else {
            (file.parent().unwrap(), file.file_stem().unwrap())
        };
        let mut parents = vec![home.join("mod.rs"), home.with_extension("rs")];
        if home == Path::new(dir) {
            parents.extend(roots.iter().map(|root| home.join(root)));
        }
        let name = name.to_str().unwrap();
        parents.iter().filter_map(|parent| files.get(parent)).any(|text| declared(text).contains(name))
    };
    let lost = files.keys().filter(|file| !is_root(file) && !is_declared(file));
    lost.map(|file| format!("{} is named by no `mod` line", file.display())).collect()
}

#[test]
fn no_test_file_is_forgotten() {
    let tests = fs::read_dir(root().join("tests")).unwrap().map(|entry| entry.unwrap().path());
    let suites = tests.filter(|path| path.join("main.rs").is_file());
    let names = suites.map(|path| format!("tests/{}", path.file_name().unwrap().to_str().unwrap()));
    let names: Vec<String> = names.collect();
    assert!(names.contains(&"tests/it".to_owned()), "{names:?}");
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut broken: Vec<String> = names.iter().flat_map(|dir| forgotten(dir, &["main.rs"])).collect();
    // `autotests` is off: a suite that the manifest does not name never runs.
    let unnamed = names.iter().filter(|dir| !manifest.contains(&format!("path = \"{dir}/main.rs\"")));
    broken.extend(unnamed.map(|dir| format!("{dir}/main.rs is named by no [[test]] of Cargo.toml")));
    holds("a test never runs", &broken);
}

#[test]
fn no_source_file_is_forgotten() {
    holds("a file is never compiled", &forgotten("src", &["lib.rs", "main.rs"]));
}

#[test]
fn nothing_is_left_to_do_later() {
    let marks = ["todo!", "unimplemented!", "TODO", "FIXME"];
    let mut broken = Vec::new();
    for (file, text) in sources("src") {
        for (number, line) in text.lines().enumerate() {
            let found = marks.iter().filter(|mark| line.contains(*mark));
            broken.extend(found.map(|mark| format!("{file}:{}: {mark}", number + 1)));
        }
    }
    holds("unfinished work is marked", &broken);
}

#[test]
fn no_test_is_ignored() {
    // Put together here, so that this file does not find itself.
    let mark = concat!("#[", "ignore");
    let mut broken = Vec::new();
    for (file, text) in sources("src").into_iter().chain(sources("tests")) {
        let lines = text.lines().enumerate().filter(|(_, line)| line.contains(mark));
        broken.extend(lines.map(|(i, _)| format!("{file}:{}", i + 1)));
    }
    holds("a test is ignored", &broken);
}

#[test]
fn there_is_no_unsafe_code() {
    let mut broken = Vec::new();
    for (file, text) in sources("src") {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        let found = lines.filter(|(_, line)| line.contains("unsafe"));
        broken.extend(found.map(|(i, line)| format!("{file}:{}: {}", i + 1, line.trim())));
    }
    holds("the word stands in the sources", &broken);
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let silent = sources("src").into_iter().filter(|(_, text)| !text.starts_with("//!"));
    let broken: Vec<String> = silent.map(|(file, _)| file).collect();
    holds("a file does not begin with a `//!` comment", &broken);
}
