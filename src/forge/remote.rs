//! What the address of a repository says: whose server it is on, and its name there. Text flows in, data flows out;
//! a name and password in the address stay behind.

/// A repository on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// `https://github.com`, without a slash at its end.
    pub server: String,
    /// `owner/name`; GitLab's can have more parts.
    pub repository: String,
}

impl Remote {
    /// Reads `https://host/o/r.git`, `git@host:o/r.git`, `ssh://git@host:22/o/r`, and the link to a pull request of it.
    /// None for a path or anything else.
    pub fn parse(address: &str) -> Option<Self> {
        let address = address.trim();
        let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
        let (host, path) = match scheme {
            // A path on this machine has no `:` before its first `/`.
            "" => rest.split_once(':').filter(|(host, _)| !host.contains('/'))?,
            "http" | "https" | "ssh" | "git" => rest.split_once('/')?,
            _ => return None,
        };
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let is_web = scheme.starts_with("http");
        let host = if is_web { host } else { host.split(':').next().unwrap_or(host) };
        let path = path.split(['?', '#']).next().unwrap_or(path);
        let path = ["/pull/", "/-/merge_requests/"].iter().fold(path, |p, mark| p.split(mark).next().unwrap_or(p));
        let repository = path.trim_matches('/').trim_end_matches(".git").to_owned();
        let is_name = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        let server = format!("{}://{host}", if scheme == "http" { "http" } else { "https" });
        let is_repository = repository.contains('/') && repository.split('/').all(is_name);
        (!host.is_empty() && is_repository).then_some(Self { server, repository })
    }

    /// True for github.com and for servers that say in their name that they are GitHub's.
    pub fn is_github(&self) -> bool {
        let host = self.server.split("://").nth(1).unwrap_or_default();
        self.repository.matches('/').count() == 1
            && host.split(['.', ':']).any(|part| part == "github" || part == "ghe")
    }

    /// Base address of GitHub's API on that server.
    pub fn github_api(&self) -> String {
        if self.server == "https://github.com" {
            "https://api.github.com".to_owned()
        } else {
            format!("{}/api/v3", self.server)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, expected: Option<(&str, &str)>) {
        let found = Remote::parse(address);
        let found = found.as_ref().map(|r| (r.server.as_str(), r.repository.as_str()));
        assert_eq!(found, expected, "{address}");
    }

    #[test]
    fn every_way_to_write_an_address_is_understood() {
        let github = Some(("https://github.com", "o/r"));
        check("https://github.com/o/r.git", github);
        check("https://x-access-token:secret@github.com/o/r", github);
        check("git@github.com:o/r.git", github);
        check("ssh://git@github.com:22/o/r/", github);
        check("https://github.com/o/r/pull/7", github);
        check("http://ghe.example:8080/o/r", Some(("http://ghe.example:8080", "o/r")));
        check("https://gitlab.example/g/sub/r/-/merge_requests/3", Some(("https://gitlab.example", "g/sub/r")));
    }

    #[test]
    fn what_is_no_repository_on_a_server_is_none() {
        for address in
            ["/srv/git/r.git", "../r", "file:///srv/r", "https://github.com/o", "https://h/o/r;x", "", "C:\\x"]
        {
            check(address, None);
        }
    }

    #[test]
    fn an_api_is_where_githubs_servers_have_it() {
        let api = |address: &str| Remote::parse(address).map(|r| (r.is_github(), r.github_api()));
        assert_eq!(api("git@github.com:o/r"), Some((true, "https://api.github.com".to_owned())));
        assert_eq!(
            api("https://github.corp.example/o/r"),
            Some((true, "https://github.corp.example/api/v3".to_owned()))
        );
        assert_eq!(api("https://gitlab.com/o/r").map(|(is, _)| is), Some(false));
        assert_eq!(api("https://notgithub.com/o/r").map(|(is, _)| is), Some(false));
    }
}
