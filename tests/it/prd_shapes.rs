//! PRDs of six shapes, read and compared with tables that a person made by reading them.
//! In: fixtures of our own, and the PRDs of `../shared/prds` where that folder is present. Nothing is written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use maestro_ci::core::{Prd, Priority, Status};
use maestro_ci::prd::{self, Bookkeeping};
use proptest::prelude::*;
use serde_json::{Value, json};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn expected(path: &Path) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(path).expect("the table is there");
    serde_json::from_str(&text).expect("the table is JSON")
}

/// What the tables say of a PRD.
fn summary(prd: &Prd) -> Value {
    let ids: Vec<&str> = prd.requirements.iter().map(|requirement| requirement.id.as_str()).collect();
    let priorities: BTreeMap<&str, Priority> =
        prd.requirements.iter().map(|requirement| (requirement.id.as_str(), requirement.priority)).collect();
    let criteria: BTreeMap<&str, usize> =
        prd.requirements.iter().map(|requirement| (requirement.id.as_str(), requirement.criteria.len())).collect();
    json!({
        "status": prd.status,
        "requirements": ids.len(),
        "ids": ids,
        "priorities": priorities,
        "criteria_per_requirement": criteria,
        "prd_criteria": prd.criteria.len(),
    })
}

fn check(folder: &Path, table: &Path) {
    let table = expected(table);
    assert_eq!(table.len(), 6);
    for (name, expected) in table {
        let document = prd::load(&folder.join(&name)).expect("readable");
        assert_eq!(summary(&document.prd), expected, "{name}: {:#?}", document.prd.warnings);
    }
}

/// The fixtures as text, by name.
fn texts() -> Vec<(String, String)> {
    let folder = fixtures().join("prds");
    let names = expected(&folder.join("expected.json")).into_keys();
    names.map(|name| (name.clone(), fs::read_to_string(folder.join(&name)).expect("readable"))).collect()
}

#[test]
fn the_six_shapes_are_read_as_a_person_reads_them() {
    check(&fixtures().join("prds"), &fixtures().join("prds/expected.json"));
}

#[test]
fn the_prds_found_in_the_wild_are_read_as_a_person_reads_them() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/prds"));
    if folder.is_dir() {
        check(folder, &fixtures().join("shared-prds-expected.json"));
    } else {
        println!("{} is absent: nothing compared", folder.display());
    }
}

#[test]
fn only_the_doubtful_requirement_of_a_fixture_is_warned_of() {
    let document = prd::load(&fixtures().join("prds/nested-table-scenarios.md")).expect("readable");
    let shown: Vec<&str> = document.prd.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(shown, ["FR-3: its confidence is low; check that it is what you want"]);
    assert_eq!(document.prd.title, "Receipt Export");
    assert_eq!(document.prd.feature, "receipt-export");
    assert_eq!(document.prd.branch.as_deref(), Some("feat-receipt-export"));
    assert_eq!(document.prd.related_epics, ["rx-1", "rx-2"]);
}

#[test]
fn every_shape_can_be_approved_and_stays_bound() {
    for (name, text) in texts() {
        let document = prd::parse(&name, text.as_bytes()).expect("readable");
        let approved = prd::approve(&document).expect("approved");
        let again = prd::parse(&name, approved.as_bytes()).expect("readable").prd;
        assert_eq!(again.status, Status::Approved, "{name}");
        assert!(again.approval.approved_sha256.is_some() && again.approval.holds(), "{name}");
        // Approving adds one line or one pair, and changes one word.
        assert!(approved.lines().count() <= text.lines().count() + 1, "{name}");
    }
}

/// The bytes that differ between two texts: what stands between their common start and their common end.
fn difference<'a>(one: &'a str, two: &'a str) -> (&'a str, &'a str) {
    let start = one.bytes().zip(two.bytes()).take_while(|(a, b)| a == b).count();
    let tails = one.bytes().skip(start).rev().zip(two.bytes().skip(start).rev());
    let end = tails.take_while(|(a, b)| a == b).count();
    let cut = |text: &'a str| text.get(start..text.len() - end).unwrap_or(text);
    (cut(one), cut(two))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        drop(prd::parse("t.md", &bytes));
    }

    #[test]
    fn parsing_lines_in_any_order_never_panics(seed in prop::collection::vec((0_usize..6, 0_usize..200), 0..60)) {
        let texts = texts();
        let line = |(file, line): &(usize, usize)| {
            let text = texts.get(*file).map_or("", |(_, text)| text.as_str());
            text.lines().nth(*line).unwrap_or("---").to_owned()
        };
        let mixed: Vec<String> = seed.iter().map(line).collect();
        if let Ok(document) = prd::parse("t.md", mixed.join("\n").as_bytes()) {
            drop(prd::approve(&document));
        }
    }

    #[test]
    fn a_new_status_changes_only_its_word(word in "[a-z]{3,12}", windows in any::<bool>()) {
        for (name, text) in texts() {
            let text = if windows { text.replace('\n', "\r\n") } else { text };
            let document = prd::parse(&name, text.as_bytes()).expect("readable");
            let old = document.prd.status_text.clone();
            let bookkeeping = Bookkeeping { status: Some(&word), ..Bookkeeping::default() };
            let written = prd::write_back(&document, &bookkeeping).expect("written");
            let (was, is) = difference(&text, &written);
            prop_assert!(old.contains(was), "{}: {:?} of {:?}", name, was, old);
            // `yes` and `no` need quotes in YAML; every other word stands as it is.
            prop_assert!(format!("\"{word}\"").contains(is), "{}: {:?} of {:?}", name, is, word);
        }
    }
}
