//! The environment of children: an allow-list, so that a token nobody thought of stays with us.

use globset::{Glob, GlobSet, GlobSetBuilder};

/// What every child gets, where it is set. Toolchains need the rest of the list; none of it is a secret.
const ALLOWED: [&str; 35] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TMPDIR",
    "TERM",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "GOPATH",
    "GOROOT",
    "GOCACHE",
    "GOMODCACHE",
    "GOFLAGS",
    "JAVA_HOME",
    "NVM_DIR",
    "VOLTA_HOME",
    "BUN_INSTALL",
    "NPM_CONFIG_PREFIX",
    "NODE_PATH",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "DOTNET_ROOT",
    "ANDROID_HOME",
    "ANDROID_SDK_ROOT",
];

/// What no child gets, whatever is listed: with these a job proves to others who it is, or changes its own records.
/// The last two are how we speak to the forge ourselves.
const NEVER: [&str; 5] = [
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "ACTIONS_RUNTIME_TOKEN",
    "MAESTRO_CI_APP_KEY",
    "MAESTRO_CI_FORGE_TOKEN",
];
/// Tokens with which a child can do to the forge what the job may.
const JOB_TOKENS: [&str; 4] = ["GITHUB_TOKEN", "GH_TOKEN", "CI_JOB_TOKEN", "GITLAB_TOKEN"];

/// What a list of names to pass says about the job's own tokens.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// These go through.
    pub passed: Vec<&'static str>,
    /// These are listed and do not.
    pub withheld: Vec<&'static str>,
}

/// Looks for the job's tokens among names or globs to pass.
pub fn tokens_among(pass: &[String]) -> Tokens {
    let listed = globs(pass.iter().map(String::as_str));
    let among = |names: &[&'static str]| names.iter().copied().filter(|name| listed.is_match(name)).collect();
    Tokens { passed: among(&JOB_TOKENS), withheld: among(&NEVER) }
}

/// Filters `ours` down to the allow-list plus `pass` (names or globs), then adds `extra`.
pub fn child_env(
    ours: impl IntoIterator<Item = (String, String)>,
    pass: &[String],
    extra: &[(&str, String)],
) -> Vec<(String, String)> {
    let allowed = globs(ALLOWED.iter().copied().chain(pass.iter().map(String::as_str)));
    let passes = |name: &String| allowed.is_match(name) && !NEVER.contains(&name.as_str());
    let mut env: Vec<(String, String)> = ours.into_iter().filter(|(name, _)| passes(name)).collect();
    env.retain(|(name, _)| extra.iter().all(|(own, _)| own != name) && name != "CI");
    env.push(("CI".to_owned(), "true".to_owned()));
    env.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    env
}

fn globs<'a>(patterns: impl Iterator<Item = &'a str>) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for glob in patterns.filter_map(|p| Glob::new(p).ok()) {
        set.add(glob);
    }
    set.build().unwrap_or_else(|_| GlobSet::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stay_with_us_and_listed_names_go_through() {
        let ours =
            [("PATH", "/bin"), ("GITHUB_TOKEN", "x"), ("LC_ALL", "C"), ("MY_KEY", "k"), ("ACTIONS_ID_TOKEN", "y")];
        let ours = ours.map(|(k, v)| (k.to_owned(), v.to_owned()));
        let env = child_env(ours, &["MY_*".to_owned()], &[("MAESTRO_TASK", "T-1".to_owned())]);
        let names: Vec<&str> = env.iter().map(|(k, _)| k.as_str()).collect();
        assert_eq!(names, ["PATH", "LC_ALL", "MY_KEY", "CI", "MAESTRO_TASK"]);
    }

    #[test]
    fn a_jobs_identity_stays_with_us_even_where_it_is_listed_and_its_token_is_named() {
        let ours = NEVER.into_iter().chain(JOB_TOKENS).map(|name| (name.to_owned(), "x".to_owned()));
        let env = child_env(ours, &["*".to_owned()], &[]);
        let names: Vec<&str> = env.iter().map(|(k, _)| k.as_str()).collect();
        assert_eq!(names, ["GITHUB_TOKEN", "GH_TOKEN", "CI_JOB_TOKEN", "GITLAB_TOKEN", "CI"]);
        let listed = ["GITHUB_*".to_owned(), "ACTIONS_RUNTIME_TOKEN".to_owned()];
        let expected = Tokens { passed: vec!["GITHUB_TOKEN"], withheld: vec!["ACTIONS_RUNTIME_TOKEN"] };
        assert_eq!(tokens_among(&listed), expected);
        assert_eq!(tokens_among(&["NPM_TOKEN".to_owned()]), Tokens::default());
    }
}
