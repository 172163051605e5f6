//! What a child behind walls may reach: the system, the toolchains that its environment names or that the home keeps,
//! its own directories, a few devices. Never the whole home, never the user's checkout, never the runner's temporary
//! files, and no credentials that lie beside a toolchain.
//!
//! In: a child's environment and directories. Out: `Walls`. It changes nothing.
//!
//! `/tmp` is not among them (a child has a `TMPDIR` of its own), nor is `/dev/shm`: both are shared by everybody on the
//! machine, one attempt could leave something for the next, and what lies there counts against nobody's limit. Python's
//! `multiprocessing` locks and some browsers want `/dev/shm`; a project that needs it names it in `sandbox.write`.
//! Disks (`/dev/vda`) are out of reach because `/dev` is listed device by device: root may open them without any
//! capability. `/proc` and `/sys` are readable and never writable: root may write much of them without any, too.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::spec::Walls;

/// What every program may need of the system. `/opt` and `/__t` keep the tool caches of hosted runners and of their
/// container jobs; resolvers keep the target of `/etc/resolv.conf` in `/run`.
const SYSTEM: [&str; 29] = [
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr",
    "/etc",
    "/opt",
    "/nix",
    "/gnu/store",
    "/snap",
    "/proc",
    "/sys",
    "/__t",
    "/home/linuxbrew/.linuxbrew",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager/resolv.conf",
    "/run/current-system",
    "/var/lib/alternatives",
    "/var/lib/ca-certificates",
    "/var/lib/dpkg",
    "/var/lib/gems",
    "/var/lib/ghc",
    "/var/lib/rpm",
    "/var/lib/snapd/snap",
    "/var/cache/fontconfig",
    "/var/cache/man",
];

/// Devices that programs read and write.
const DEVICES: [&str; 8] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts"];

/// Variables that name directories of a toolchain, or certificates.
const NAMING: [&str; 19] = [
    "RUSTUP_HOME",
    "GOROOT",
    "GOPATH",
    "GOMODCACHE",
    "JAVA_HOME",
    "NVM_DIR",
    "VOLTA_HOME",
    "BUN_INSTALL",
    "NPM_CONFIG_PREFIX",
    "NODE_PATH",
    "PYENV_ROOT",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "DOTNET_ROOT",
    "ANDROID_HOME",
    "ANDROID_SDK_ROOT",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Toolchains and caches below a home. Their neighbours (`.npmrc`, `.m2/settings.xml`, keyrings) keep secrets.
const HOME_PARTS: [&str; 36] = [
    ".rustup",
    ".pyenv",
    ".rbenv",
    ".nodenv",
    ".goenv",
    ".nvm",
    ".volta",
    ".sdkman",
    ".asdf",
    ".ghcup",
    ".bun",
    ".deno",
    ".dotnet",
    ".nuget/packages",
    ".gem/ruby",
    ".local/bin",
    ".local/lib",
    ".local/pipx",
    ".local/share/claude",
    ".local/share/fnm",
    ".local/share/mise",
    ".local/share/pipx",
    ".local/share/pnpm",
    ".local/share/uv",
    ".m2/repository",
    ".gradle/caches",
    ".gradle/wrapper",
    ".npm/_cacache",
    ".cache/go-build",
    ".cache/ms-playwright",
    ".cache/node",
    ".cache/pip",
    ".cache/uv",
    "go/bin",
    "go/pkg",
    "sdk",
];

/// What children see of a cargo home.
const CARGO_PARTS: [&str; 6] = ["bin", "registry", "git", "config", "config.toml", "env"];
/// What belongs to the programs in `bin` where the directory around it may hold other things as well.
const BESIDE_BIN: [&str; 4] = ["lib", "lib64", "libexec", "include"];
/// Files beside a toolchain that are nobody's business.
const CREDENTIALS: [&str; 3] = ["credentials", "credentials.toml", ".npmrc"];
/// A self-hosted runner's directory has this file, its credentials, and every checkout.
const RUNNER: &str = ".runner";

/// The walls of a child: what every child may read, `read`, and devices; and to change, `write`. Nothing that the
/// standard part finds lies in `never` (the user's checkout, `RUNNER_TEMP`, our own state); `read` and `write` may.
/// Of `never`, programs that `PATH` names in a `node_modules` or a virtual environment stay readable.
pub fn standard_walls(env: &[(String, String)], read: &[PathBuf], write: &[PathBuf], never: &[PathBuf]) -> Walls {
    // The child's own HOME is a private one; the toolchains are in ours.
    let mut search = Search::new(std::env::home_dir().as_deref(), never);
    search.add_system();
    search.add_home();
    search.add_named(env);
    Walls {
        read: search.found.into_iter().chain(read.iter().cloned()).collect(),
        write: write.iter().cloned().chain(DEVICES.map(PathBuf::from)).collect(),
    }
}

/// Paths found so far, all of them existing and without links, and what must not be among them.
struct Search {
    home: Option<PathBuf>,
    never: Vec<PathBuf>,
    found: BTreeSet<PathBuf>,
}

impl Search {
    fn new(home: Option<&Path>, never: &[PathBuf]) -> Self {
        let home = home.and_then(|path| path.canonicalize().ok());
        let is_system = |path: &Path| path.parent().is_none() || SYSTEM.iter().any(|system| Path::new(system) == path);
        Self {
            home: home.filter(|path| !is_system(path)),
            never: never.iter().filter_map(|path| path.canonicalize().ok()).collect(),
            found: BTreeSet::new(),
        }
    }

    fn add_system(&mut self) {
        // A home in `/opt` is no part of the system, only for this while.
        let home_at = self.never.len();
        self.never.extend(self.home.clone());
        if geteuid().is_root() {
            self.keep_private(Path::new("/etc"));
        }
        let runners = entries(Path::new("/opt")).filter(|path| path.join(RUNNER).exists());
        self.never.extend(runners);
        self.keep_credentials(Path::new("/usr/local/cargo"));
        for path in SYSTEM {
            self.add(Path::new(path));
        }
        if self.home.is_some() {
            self.never.remove(home_at);
        }
    }

    fn add_home(&mut self) {
        let Some(home) = self.home.clone() else { return };
        for part in HOME_PARTS {
            self.add(&home.join(part));
        }
        for part in CARGO_PARTS {
            self.add(&home.join(".cargo").join(part));
        }
    }

    /// What the child's environment names.
    fn add_named(&mut self, env: &[(String, String)]) {
        for (name, value) in env {
            for path in value.split(':').map(Path::new).filter(|path| path.is_absolute()) {
                match name.as_str() {
                    "PATH" => self.add_programs(path),
                    "CARGO_HOME" => CARGO_PARTS.iter().for_each(|part| self.add(&path.join(part))),
                    name if NAMING.contains(&name) && !self.is_common(path) => self.add(path),
                    _ => {}
                }
            }
        }
    }

    /// A directory of programs with what belongs to them, and the places that its links lead to.
    fn add_programs(&mut self, dir: &Path) {
        let Ok(dir) = dir.canonicalize() else { return };
        self.add_installation(&dir);
        if self.is_common(&dir) || dir.starts_with("/usr/bin") || dir.starts_with("/usr/sbin") {
            return;
        }
        let targets = entries(&dir).filter(|path| path.is_symlink()).filter_map(|path| path.canonicalize().ok());
        for target in targets {
            match target.parent() {
                Some(bin) if is_bin(bin) => self.add_installation(bin),
                _ => self.add(&target),
            }
        }
    }

    fn add_installation(&mut self, bin: &Path) {
        if self.is_common(bin) {
            return;
        }
        self.add(bin);
        let Some(root) = bin.parent().filter(|_| is_bin(bin)) else { return };
        if root.ends_with("node_modules") || root.join("pyvenv.cfg").is_file() {
            self.found.extend(root.to_str().map(PathBuf::from));
        } else if self.is_wide(root) {
            for part in BESIDE_BIN {
                self.add(&root.join(part));
            }
        } else {
            self.add(root);
        }
    }

    /// Everything below a path, and no more: a link counts as what it leads to.
    fn add(&mut self, path: &Path) {
        if let Ok(path) = path.canonicalize() {
            self.keep_credentials(&path);
            self.add_around(&path);
        }
    }

    /// A path, or, where something that must stay out lies below it, whatever else is there.
    fn add_around(&mut self, path: &Path) {
        // Walls travel as text, and a name that is none would take everything else with it.
        if path.to_str().is_none() {
            return;
        }
        let is_within = |other: &PathBuf| path.starts_with(other);
        if self.never.iter().any(is_within) || self.found.iter().any(is_within) {
            return;
        }
        if !self.never.iter().any(|never| never.starts_with(path)) {
            self.found.insert(path.to_owned());
            return;
        }
        // What a link leads to has, or has not, a place of its own in the list.
        entries(path).filter(|entry| !entry.is_symlink()).for_each(|entry| self.add_around(&entry));
    }

    fn keep_credentials(&mut self, dir: &Path) {
        let files = CREDENTIALS.iter().map(|name| dir.join(name)).filter(|path| path.exists());
        self.never.extend(files);
    }

    /// What only its owner may read. Root is the owner, with or without capabilities.
    fn keep_private(&mut self, dir: &Path) {
        for path in entries(dir) {
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_symlink() => {}
                Ok(meta) if meta.mode() & 0o004 == 0 => self.never.push(path),
                Ok(meta) if meta.is_dir() => self.keep_private(&path),
                _ => {}
            }
        }
    }

    /// Directories that hold everybody's things: they stand in a `PATH` by mistake.
    fn is_common(&self, path: &Path) -> bool {
        path.parent().is_none()
            || path.ends_with("_temp")
            || ["/tmp", "/var/tmp", "/run"].iter().any(|common| Path::new(common) == path)
            || self.home.as_ref().is_some_and(|home| home.starts_with(path))
    }

    /// Directories that may hold more than one installation: `/app`, `~/.fly` with its token, `~/.config/x`.
    fn is_wide(&self, path: &Path) -> bool {
        let is_top = path.parent().is_none_or(|parent| parent.parent().is_none());
        let is_in = |dir: &Path| path.parent().is_some_and(|parent| parent == dir);
        let is_in_home = self.home.as_ref().is_some_and(|home| is_in(home) || is_in(&home.join(".config")));
        is_top || is_in_home || self.is_common(path)
    }
}

fn is_bin(path: &Path) -> bool {
    ["bin", ".bin", "sbin"].iter().any(|name| path.ends_with(name))
}

/// What is in a directory; nothing where it cannot be read.
fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes files in a directory with a home in it, searches with one PATH entry, and asks what can be read.
    fn check(files: &[&str], path: &str, never: &[&str], readable: &[&str], hidden: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for file in files {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "").unwrap();
        }
        fs::create_dir_all(root.join("home/me")).unwrap();
        let never: Vec<PathBuf> = never.iter().map(|path| root.join(path)).collect();
        let mut search = Search::new(Some(&root.join("home/me")), &never);
        search.add_home();
        search.add_named(&[("PATH".to_owned(), format!("relative:{}", root.join(path).display()))]);
        let covered = |file: &&str| search.found.iter().any(|found| root.join(file).starts_with(found));
        assert_eq!(readable.iter().copied().find(|file| !covered(file)), None, "{:?}", search.found);
        assert_eq!(hidden.iter().copied().find(covered), None, "{:?}", search.found);
    }

    #[test]
    fn programs_bring_their_installation_along() {
        let files = ["sw/node/bin/node", "sw/node/lib/x", "sw/other"];
        check(&files, "sw/node/bin", &[], &files[..2], &files[2..]);
        check(&["sw/tools/run", "sw/x"], "sw/tools", &[], &["sw/tools/run"], &["sw/x"]);
    }

    #[test]
    fn a_home_shows_its_toolchains_and_no_secrets() {
        let files = [
            "home/me/.cargo/bin/cargo",
            "home/me/.cargo/registry/x",
            "home/me/.cargo/credentials.toml",
            "home/me/.rustup/settings.toml",
            "home/me/.netrc",
        ];
        check(&files, "home/me/.cargo/bin", &[], &[files[0], files[1], files[3]], &[files[2], files[4]]);
        let files = ["home/me/.fly/bin/fly", "home/me/.fly/config.yml"];
        check(&files, "home/me/.fly/bin", &[], &files[..1], &files[1..]);
        check(&["home/me/x"], "home/me", &[], &[], &["home/me/x"]);
    }

    #[test]
    fn credentials_beside_a_toolchain_are_cut_out() {
        let files = ["sw/cargo/bin/cargo", "sw/cargo/env", "sw/cargo/credentials"];
        check(&files, "sw/cargo/bin", &[], &[files[0], files[1]], &[files[2]]);
    }

    #[test]
    fn what_must_stay_out_is_left_out_wherever_it_lies() {
        let files = ["sw/app/bin/run", "sw/app/repo/.git/config", "sw/app/lib/x"];
        check(&files, "sw/app/bin", &["sw/app/repo"], &[files[0], files[2]], &[files[1]]);
        check(&["repo/bin/x", "repo/.git/config"], "repo/bin", &["repo"], &[], &["repo/bin/x", "repo/.git/config"]);
    }

    #[test]
    fn programs_installed_in_a_checkout_stay_readable() {
        let files = ["repo/node_modules/.bin/x", "repo/node_modules/x/cli.js", "repo/.git/config"];
        check(&files, "repo/node_modules/.bin", &["repo"], &[files[0], files[1]], &[files[2]]);
    }
}
