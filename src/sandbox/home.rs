//! A private home for one child: empty but for links to what the real home has of toolchains and of downloads. The
//! links lead to places that the child may only read, so what it downloads or installs lands in its own home, and
//! work without a network finds what is there already.
//!
//! In: where to make it, the real home, and the home that `workspace.setup` filled, whose things come first. Out: two
//! directories and the variables that send tools there.
//!
//! * cargo: crates, their sources and the index, each entry a link. Measured: `cargo test --offline` works, `cargo
//!   fetch` keeps new crates here, an index entry that cannot be renewed costs a warning. Every home gives a crate's
//!   source another path, so a warm `target` of another home builds its dependencies again.
//! * rustup, pyenv, nvm and the like: as they are. Python packages of the user: package by package.
//! * Go: a cache of modules serves as a proxy for the next one, in Go's own layout; it is copied from, not linked.
//! * Java asks the password file for the home and never looks at `TMPDIR`; a variable tells it, and it tells standard
//!   error that it was told.
//! * Left out: the caches of npm, pip, Maven and Gradle. They write where they read, or serve no work without a
//!   network.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

/// A private home and a private directory for temporary files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The home; for its child to write.
    pub home: PathBuf,
    /// Temporary files; for its child to write.
    pub tmp: PathBuf,
    /// Where the links lead; its child has to be allowed to read there.
    pub links: Vec<PathBuf>,
}

/// Toolchains below the real home that look for themselves in `$HOME`.
const TOOLCHAINS: [&str; 10] =
    [".rustup", ".pyenv", ".rbenv", ".nodenv", ".goenv", ".nvm", ".volta", ".sdkman", ".asdf", ".ghcup"];
/// Of a cargo home, what is linked as it is. Never its credentials.
const CARGO_WHOLE: [&str; 3] = ["config", "config.toml", "env"];
/// Of a registry's index, what cargo locks or changes; `.cache` is linked file by file.
const CARGO_OWN: [&str; 3] = [".cache", ".cargo-index-lock", ".last-updated"];
/// Go's downloaded modules, in the layout of a proxy.
const GO_DOWNLOADS: &str = "go/pkg/mod/cache/download";

/// Makes `dir/home` and `dir/t`, for nobody else to look into. `cargo_home` is the real one wherever it is;
/// `layer_from` is the home of `workspace.setup`. What is missing of the real things is left out.
///
/// # Errors
/// One of the two is there already (an agent may have been in it: remove it first), or the disk said no.
pub fn make_home(
    dir: &Path,
    real_home: Option<&Path>,
    cargo_home: Option<&Path>,
    layer_from: Option<&Path>,
) -> io::Result<Home> {
    fs::create_dir_all(dir)?;
    let mut made = Home { home: dir.join("home"), tmp: dir.join("t"), links: Vec::new() };
    let cargo = made.home.join(".cargo");
    for private in [&made.home, &made.tmp, &cargo] {
        DirBuilder::new().mode(0o700).create(private)?;
    }
    // git then writes its global settings here and nowhere else.
    fs::write(made.home.join(".gitconfig"), "")?;
    if let Some(layer) = layer_from {
        layer_cargo(&layer.join(".cargo"), &cargo)?;
        made.link_python(layer)?;
        made.links.push(layer.to_owned());
    }
    if let Some(real) = cargo_home {
        layer_cargo(real, &cargo)?;
        let parts = CARGO_WHOLE.into_iter().chain(["bin", "registry", "git"]);
        made.links.extend(parts.map(|part| real.join(part)).filter(|path| path.exists()));
    }
    if let Some(real) = real_home {
        made.link_python(real)?;
        made.link_toolchains(real)?;
    }
    Ok(made)
}

impl Home {
    /// The variables that send a child's tools here. They go before those that the child would get otherwise.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let at = |part: &str| self.home.join(part).display().to_string();
        let (home, tmp) = (self.home.display().to_string(), self.tmp.display().to_string());
        let java = format!("-Duser.home=\"{home}\" -Djava.io.tmpdir=\"{tmp}\"");
        let mut env = vec![
            ("HOME", home),
            ("TMPDIR", tmp),
            ("CARGO_HOME", at(".cargo")),
            ("GOPATH", at("go")),
            ("GOMODCACHE", at("go/pkg/mod")),
            ("GOCACHE", at(".cache/go-build")),
            ("GRADLE_USER_HOME", at(".gradle")),
            ("JAVA_TOOL_OPTIONS", java),
        ];
        env.extend(self.go_proxy().map(|list| ("GOPROXY", list)));
        env
    }

    /// The caches of modules that the links know of, then what Go itself would ask.
    fn go_proxy(&self) -> Option<String> {
        let caches = self.links.iter().map(|link| link.join(GO_DOWNLOADS)).chain(self.links.clone());
        let caches: Vec<String> = caches
            .filter(|path| path.ends_with(GO_DOWNLOADS) && path.is_dir())
            .map(|path| format!("file://{}", path.display()))
            .collect();
        (!caches.is_empty()).then(|| format!("{},https://proxy.golang.org,direct", caches.join(",")))
    }

    fn link_toolchains(&mut self, real: &Path) -> io::Result<()> {
        for path in TOOLCHAINS.iter().map(|name| real.join(name)).filter(|path| path.is_dir()) {
            link(&path, &self.home)?;
            self.links.push(path);
        }
        let modules = real.join(GO_DOWNLOADS);
        if modules.is_dir() {
            self.links.push(modules);
        }
        Ok(())
    }

    fn link_python(&mut self, from: &Path) -> io::Result<()> {
        let (from, to) = (from.join(".local/lib"), self.home.join(".local/lib"));
        let versions = entries(&from).filter(|path| path.join("site-packages").is_dir());
        for version in versions {
            let name = version.file_name().unwrap_or_default();
            link_entries(&version.join("site-packages"), &to.join(name).join("site-packages"), |_| true)?;
            self.links.push(version);
        }
        Ok(())
    }
}

/// Layers one cargo home over another: what is there already stays.
fn layer_cargo(from: &Path, to: &Path) -> io::Result<()> {
    for name in CARGO_WHOLE.iter().filter(|name| from.join(name).exists()) {
        link(&from.join(name), to)?;
    }
    link_entries(&from.join("bin"), &to.join("bin"), |_| true)?;
    // A source that was being unpacked would be unpacked again, through the link.
    let is_whole = |path: &Path| path.join(".cargo-ok").exists();
    link_below(&from.join("registry/cache"), &to.join("registry/cache"), |_| true)?;
    link_below(&from.join("registry/src"), &to.join("registry/src"), is_whole)?;
    link_below(&from.join("git/checkouts"), &to.join("git/checkouts"), is_whole)?;
    link_entries(&from.join("git/db"), &to.join("git/db"), |_| true)?;
    let is_shared = |path: &Path| !CARGO_OWN.iter().any(|own| path.ends_with(own));
    link_below(&from.join("registry/index"), &to.join("registry/index"), is_shared)?;
    for index in entries(&from.join("registry/index")) {
        let name = index.file_name().unwrap_or_default();
        link_files(&index.join(".cache"), &to.join("registry/index").join(name).join(".cache"))?;
    }
    Ok(())
}

/// Links every file below a directory, in directories of our own.
fn link_files(from: &Path, to: &Path) -> io::Result<()> {
    for path in entries(from) {
        if path.is_dir() && !path.is_symlink() {
            link_files(&path, &to.join(path.file_name().unwrap_or_default()))?;
        } else {
            fs::create_dir_all(to)?;
            link(&path, to)?;
        }
    }
    Ok(())
}

/// Links the entries of every directory in a directory.
fn link_below(from: &Path, to: &Path, fits: impl Fn(&Path) -> bool) -> io::Result<()> {
    for dir in entries(from) {
        link_entries(&dir, &to.join(dir.file_name().unwrap_or_default()), &fits)?;
    }
    Ok(())
}

/// Links the entries of a directory; one that is missing has none.
fn link_entries(from: &Path, to: &Path, fits: impl Fn(&Path) -> bool) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
    }
    entries(from).filter(|path| fits(path)).try_for_each(|path| link(&path, to))
}

/// Links a path into a directory, under its own name, unless that is taken.
fn link(path: &Path, into: &Path) -> io::Result<()> {
    match symlink(path, into.join(path.file_name().unwrap_or_default())) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, path.display().to_string()).unwrap();
    }

    /// Two cargo homes with these files, and what a home over both finds under a name: the layer's, the real one's.
    fn check(layer: &[&str], real: &[&str], name: &str, expected: Option<&str>) {
        let dir = tempfile::tempdir().unwrap();
        let (setup, cargo) = (dir.path().join("setup"), dir.path().join("cargo"));
        for file in layer {
            write(&setup.join(".cargo").join(file));
        }
        for file in real {
            write(&cargo.join(file));
        }
        let home = make_home(&dir.path().join("new"), None, Some(&cargo), Some(&setup)).unwrap();
        let found = fs::read_to_string(home.home.join(".cargo").join(name)).ok();
        let from = found.map(|path| if Path::new(&path).starts_with(&cargo) { "real" } else { "layer" });
        assert_eq!(from, expected);
    }

    #[test]
    fn downloads_are_found_in_both_layers_and_the_nearer_one_wins() {
        let crates = ["registry/cache/r/a.crate", "registry/cache/r/b.crate"];
        check(&crates[..1], &crates, crates[0], Some("layer"));
        check(&crates[..1], &crates, crates[1], Some("real"));
        check(&[], &["registry/index/r/.cache/se/rd/serde"], "registry/index/r/.cache/se/rd/serde", Some("real"));
        check(&[], &["git/db/x/HEAD"], "git/db/x/HEAD", Some("real"));
    }

    #[test]
    fn only_sources_that_are_whole_are_linked() {
        let source = "registry/src/r/a/src/lib.rs";
        check(&[], &[source], source, None);
        check(&[], &[source, "registry/src/r/a/.cargo-ok"], source, Some("real"));
    }

    #[test]
    fn credentials_and_locks_stay_where_they_are() {
        check(&[], &["credentials.toml"], "credentials.toml", None);
        check(&[], &["config.toml"], "config.toml", Some("real"));
        check(&[], &["registry/index/r/.last-updated"], "registry/index/r/.last-updated", None);
    }

    #[test]
    fn a_home_that_is_there_already_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        make_home(dir.path(), None, None, None).unwrap();
        assert_eq!(make_home(dir.path(), None, None, None).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
