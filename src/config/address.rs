//! Addresses of model APIs: which are accepted, where they lead, and how one is shown. Text comes in, a judgement goes
//! out. No name is looked up: only what the text itself says counts.

use std::net::{IpAddr, Ipv4Addr};

use hyper::Uri;

/// Where an address leads, as far as its text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This machine.
    Machine,
    /// A private network: a private IP address, or a name that only such a network knows.
    Network,
    /// Anywhere else.
    World,
}

/// Endings of names that the public name system does not have.
const PRIVATE_NAMES: [&str; 4] = [".local", ".internal", ".lan", ".home.arpa"];

/// Judges the address of an API. Keys and code go there, so plain http is for this machine and private networks only.
///
/// # Errors
/// What is wrong with it and what is accepted, in words.
pub fn reach(address: &str) -> Result<Reach, String> {
    let shown = shown_address(address);
    let expected = || format!("`{shown}` is not accepted; expected an address such as `https://api.example.com/v1`");
    let uri: Uri = address.parse().map_err(|_| expected())?;
    let host = uri.host().filter(|host| !host.is_empty());
    let (Some(scheme @ ("http" | "https")), Some(host)) = (uri.scheme_str(), host) else { return Err(expected()) };
    if uri.query().is_some() || address.contains('#') {
        return Err(format!("`{shown}` is not accepted; expected an address without `?` and `#`"));
    }
    let reach = reach_of(host);
    if scheme == "http" && reach == Reach::World {
        let why = "plain http would carry key and code in the open; expected https";
        return Err(format!("`{shown}` is not accepted: {why} (http only for this machine or a private network)"));
    }
    Ok(reach)
}

/// True where an accepted address is plain http to another machine.
pub fn is_in_the_open(address: &str) -> bool {
    let plain = address.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http:"));
    plain && reach(address) == Ok(Reach::Network)
}

/// An address as it may be shown: without the name, password and query that it may hold.
pub fn shown_address(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let has_port = |host: &str| {
        let port = host.rsplit_once(':').map_or("", |(_, port)| port);
        host.ends_with(']') || port.chars().all(|c| c.is_ascii_digit())
    };
    // What has no port there is no address: a password with a slash in it, maybe.
    let (host, path) = match rest.split_at(end) {
        (host, path) if has_port(host) || host.contains('@') => (host, path),
        _ => (rest, ""),
    };
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}{host}{path}")
}

fn reach_of(host: &str) -> Reach {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    if let Ok(address) = host.parse::<IpAddr>() {
        return reach_of_ip(address.to_canonical());
    }
    let name = host.trim_end_matches('.');
    if name == "localhost" || name.ends_with(".localhost") {
        return Reach::Machine;
    }
    let is_private = !name.contains('.') || PRIVATE_NAMES.iter().any(|ending| name.ends_with(ending));
    if is_private { Reach::Network } else { Reach::World }
}

fn reach_of_ip(address: IpAddr) -> Reach {
    let is_private = match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || is_shared(v4),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    };
    match (address.is_loopback(), is_private) {
        (true, _) => Reach::Machine,
        (false, true) => Reach::Network,
        (false, false) => Reach::World,
    }
}

/// 100.64.0.0/10 (RFC 6598): networks behind a carrier, and private overlays.
fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && second & 0xc0 == 64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, expected: Result<Reach, &str>) {
        match (reach(address), expected) {
            (Ok(reach), Ok(expected)) => assert_eq!(reach, expected, "{address}"),
            (Err(words), Err(part)) => assert!(words.contains(part), "{address}: {words}"),
            (got, _) => panic!("{address} gave {got:?}"),
        }
    }

    #[test]
    fn https_goes_anywhere_and_http_only_nearby() {
        check("https://api.anthropic.com", Ok(Reach::World));
        for machine in ["http://127.0.0.1:8080/v1", "http://localhost", "http://[::1]:9", "http://a.localhost/x"] {
            check(machine, Ok(Reach::Machine));
        }
        for network in ["http://10.1.2.3", "http://192.168.0.9:1", "http://litellm:4000", "http://[fd00::1]/v1"] {
            check(network, Ok(Reach::Network));
            assert!(is_in_the_open(network) && !is_in_the_open(&network.replace("http", "https")), "{network}");
        }
        for world in ["http://api.anthropic.com", "http://127.0.0.1.evil.example", "http://localhost.evil.example"] {
            check(world, Err("plain http"));
        }
        check("http://1.1.1.1", Err("private network"));
    }

    #[test]
    fn what_is_no_address_of_an_api_is_refused() {
        for text in ["", "api.anthropic.com", "ftp://a.example", "https://", "https://a b", "httpss://a.example"] {
            assert!(reach(text).is_err(), "{text}");
        }
        check("https://a.example/?key=1", Err("without `?`"));
    }

    #[test]
    fn names_and_passwords_are_never_shown() {
        assert_eq!(shown_address("https://user:p@ss@a.example:1/v1@2"), "https://a.example:1/v1@2");
        assert_eq!(shown_address("https://a.example"), "https://a.example");
        assert_eq!(shown_address("user:pw@a.example"), "a.example");
        assert_eq!(shown_address("https://user:p/w@a.example/v1"), "https://a.example/v1");
        assert_eq!(shown_address("http://[::1]:9/v1?key=secret"), "http://[::1]:9/v1");
        assert_eq!(reach("https://user:pw@a.example").map_err(drop), Ok(Reach::World));
        assert!(!reach("http://user:pw@a.example").unwrap_err().contains("pw"));
    }
}
