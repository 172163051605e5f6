//! Gates that a repository already has, by the files at its root. Only what the base commit holds counts.

use crate::core::{GateKind, GateName, GateSpec};

/// Limit of a detected gate, milliseconds.
const TIMEOUT_MS: u64 = 600_000;

/// The files of a commit, as far as detection asks.
pub struct Listing<'a> {
    /// Names at the root.
    pub names: Vec<String>,
    /// Reads a file at the root.
    pub read: &'a dyn Fn(&str) -> Option<String>,
}

impl Listing<'_> {
    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }

    fn text(&self, name: &str) -> String {
        if self.has(name) { (self.read)(name).unwrap_or_default() } else { String::new() }
    }
}

/// Finds gates. The first ecosystem that has tests names the test gate `test`; further ones are prefixed.
pub fn detect(listing: &Listing<'_>) -> Vec<GateSpec> {
    let mut found = Vec::new();
    for (ecosystem, gates) in
        [("cargo", cargo(listing)), ("node", node(listing)), ("go", go(listing)), ("python", python(listing))]
    {
        add(&mut found, ecosystem, gates);
    }
    // Task runners usually call the tools above; they count only where nothing else was found.
    if found.is_empty() {
        add(&mut found, "make", make(listing));
    }
    if found.is_empty() {
        add(&mut found, "just", just(listing));
    }
    found
}

type Found = (GateKind, &'static str, String);

fn add(found: &mut Vec<GateSpec>, ecosystem: &str, gates: Vec<Found>) {
    for (kind, name, run) in gates {
        let taken = found.iter().any(|g: &GateSpec| g.name.as_str() == name);
        let name = if taken { format!("{ecosystem}-{name}") } else { name.to_owned() };
        found.push(GateSpec {
            name: GateName::new(name),
            kind,
            run,
            dir: ".".to_owned(),
            timeout_ms: TIMEOUT_MS,
            required: true,
            report: None,
            requirements: Vec::new(),
            detected: true,
        });
    }
}

fn cargo(listing: &Listing<'_>) -> Vec<Found> {
    if !listing.has("Cargo.toml") {
        return Vec::new();
    }
    vec![(GateKind::Test, "test", "cargo test".to_owned())]
}

fn node(listing: &Listing<'_>) -> Vec<Found> {
    let package: serde_json::Value = serde_json::from_str(&listing.text("package.json")).unwrap_or_default();
    let manager = [("pnpm-lock.yaml", "pnpm"), ("yarn.lock", "yarn"), ("bun.lock", "bun"), ("bun.lockb", "bun")]
        .into_iter()
        .find(|(lock, _)| listing.has(lock))
        .map_or("npm", |(_, manager)| manager);
    let kinds = [(GateKind::Test, "test"), (GateKind::Lint, "lint"), (GateKind::Typecheck, "typecheck")];
    let script = |name: &str| package["scripts"][name].as_str().map(str::to_owned);
    // `npm init` writes a test script that only fails.
    let is_real = |text: String| !text.contains("no test specified");
    kinds
        .into_iter()
        .filter(|(_, name)| script(name).is_some_and(is_real))
        .map(|(kind, name)| (kind, name, format!("{manager} run {name}")))
        .collect()
}

fn go(listing: &Listing<'_>) -> Vec<Found> {
    if !listing.has("go.mod") {
        return Vec::new();
    }
    vec![(GateKind::Test, "test", "go test ./...".to_owned()), (GateKind::Lint, "lint", "go vet ./...".to_owned())]
}

fn python(listing: &Listing<'_>) -> Vec<Found> {
    let is_python = ["pyproject.toml", "setup.py", "setup.cfg", "pytest.ini", "tox.ini"].iter().any(|f| listing.has(f));
    let wants_pytest = listing.has("pytest.ini")
        || ["pyproject.toml", "setup.cfg", "tox.ini"].iter().any(|f| listing.text(f).contains("pytest"));
    let has_tests = listing.has("tests") || listing.has("test");
    match (is_python, wants_pytest, has_tests) {
        (true, true, _) => vec![(GateKind::Test, "test", "python3 -m pytest".to_owned())],
        (true, false, true) => vec![(GateKind::Test, "test", "python3 -m unittest discover".to_owned())],
        _ => Vec::new(),
    }
}

fn make(listing: &Listing<'_>) -> Vec<Found> {
    let text = ["GNUmakefile", "makefile", "Makefile"].map(|f| listing.text(f)).concat();
    targets(&text, "make")
}

fn just(listing: &Listing<'_>) -> Vec<Found> {
    let text = ["justfile", "Justfile", ".justfile"].map(|f| listing.text(f)).concat();
    targets(&text, "just")
}

fn targets(text: &str, tool: &str) -> Vec<Found> {
    let has = |target: &str| text.lines().any(|line| line.split(':').next() == Some(target) && line.contains(':'));
    [(GateKind::Test, "test"), (GateKind::Lint, "lint"), (GateKind::Typecheck, "typecheck")]
        .into_iter()
        .filter(|(_, name)| has(name))
        .map(|(kind, name)| (kind, name, format!("{tool} {name}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let read = |name: &str| files.iter().find(|(n, _)| *n == name).map(|(_, text)| (*text).to_owned());
        let names = files.iter().map(|(n, _)| (*n).to_owned()).collect();
        let found = detect(&Listing { names, read: &read });
        let shown: Vec<String> = found.iter().map(|g| format!("{}={}", g.name, g.run)).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn each_ecosystem_is_found_by_its_own_files() {
        check(&[("Cargo.toml", "")], &["test=cargo test"]);
        check(&[("go.mod", "")], &["test=go test ./...", "lint=go vet ./..."]);
        check(&[("pyproject.toml", "[tool.pytest.ini_options]")], &["test=python3 -m pytest"]);
        check(&[("setup.py", ""), ("tests", "")], &["test=python3 -m unittest discover"]);
        check(&[("Makefile", "all: x\ntest: all\n\tsh t.sh\n")], &["test=make test"]);
        check(&[("justfile", "lint:\n  x\ntest:\n  y\n")], &["test=just test", "lint=just lint"]);
    }

    #[test]
    fn the_lock_file_names_the_package_manager() {
        let package = r#"{"scripts":{"test":"jest","lint":"eslint ."}}"#;
        check(&[("package.json", package)], &["test=npm run test", "lint=npm run lint"]);
        check(&[("package.json", package), ("pnpm-lock.yaml", "")], &["test=pnpm run test", "lint=pnpm run lint"]);
        check(&[("package.json", r#"{"scripts":{"test":"echo \"Error: no test specified\" && exit 1"}}"#)], &[]);
    }

    #[test]
    fn two_ecosystems_keep_both_gates_and_a_makefile_adds_none() {
        check(
            &[("Cargo.toml", ""), ("go.mod", ""), ("Makefile", "test:\n")],
            &["test=cargo test", "go-test=go test ./...", "lint=go vet ./..."],
        );
    }

    #[test]
    fn a_repository_without_any_of_them_has_no_gate() {
        check(&[("README.md", "test: x")], &[]);
    }
}
