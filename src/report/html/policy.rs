//! What the page may do: show its own style and run its own script, each named by its hash, and nothing else. Style and
//! script flow in, the value of `Content-Security-Policy` flows out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The policy. Without `unsafe-inline`, markup that slipped in could neither run nor load anything.
pub(super) fn policy(style: &str, script: &str) -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(style),
        hash(script)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_forbidden_but_what_has_a_hash() {
        let policy = policy("", "");
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(policy.contains("'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='") && !policy.contains("inline"));
    }
}
