//! A GitHub App as the one who speaks. Its id and private key flow in, from the environment; a token for one repository
//! flows out, which lives for an hour, and the name that the App's comments have.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::access::Site;
use super::client::{Api, Lookup, Secret, TokenStyle};
use super::comment::Author;
use super::retry::Failure;

/// A proof is dated back this much, seconds: clocks differ.
const DATED_BACK: i64 = 60;
/// How long a proof holds, seconds; GitHub takes 10 minutes at most.
const HOLDS: i64 = 9 * 60;

/// A GitHub App.
#[derive(Clone)]
pub struct App {
    /// Its number, or its client id.
    id: String,
    key: Arc<RsaKeyPair>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("id", &self.id).finish_non_exhaustive()
    }
}

impl App {
    /// `MAESTRO_CI_APP_ID` with `MAESTRO_CI_APP_KEY`, which is a PEM file's text or its path.
    ///
    /// # Errors
    /// A message: one of the two is missing, or the key is none.
    pub(super) fn from_env(var: Lookup<'_>) -> Result<Option<Self>, String> {
        let set = |name: &str| var(name).filter(|value| !value.trim().is_empty());
        match (set("MAESTRO_CI_APP_ID"), set("MAESTRO_CI_APP_KEY")) {
            (None, None) => Ok(None),
            (Some(id), Some(key)) => {
                let pem = if key.contains("-----BEGIN") {
                    key
                } else {
                    let path = key.trim();
                    std::fs::read_to_string(path).map_err(|e| format!("MAESTRO_CI_APP_KEY: {path}: {e}"))?
                };
                let key = read_key(&pem).map_err(|why| format!("MAESTRO_CI_APP_KEY: {why}"))?;
                Ok(Some(Self { id: id.trim().to_owned(), key: Arc::new(key) }))
            }
            (Some(_), None) => Err("MAESTRO_CI_APP_ID is set and MAESTRO_CI_APP_KEY is not".to_owned()),
            (None, Some(_)) => Err("MAESTRO_CI_APP_KEY is set and MAESTRO_CI_APP_ID is not".to_owned()),
        }
    }

    /// A token for one repository, and who comments with it.
    pub(super) async fn token(
        &self,
        site: &Site,
        var: Lookup<'_>,
        until: Instant,
    ) -> Result<(Secret, Author), Failure> {
        let proof = self.proof(jiff::Timestamp::now().as_second()).map_err(Failure::Unsent)?;
        let api = Api::new(&site.api_url, TokenStyle::Bearer, &proof, var).map_err(Failure::Unsent)?;
        let missing = |what: &str| Failure::Lost(format!("its answer about the App has no {what}"));
        let installed = api.get(&format!("/repos/{}/installation", site.repository), until).await?;
        let id = installed.body.get("id").and_then(Value::as_u64).ok_or_else(|| missing("installation"))?;
        let own = api.get("/app", until).await?;
        let slug = own.body.get("slug").and_then(Value::as_str).ok_or_else(|| missing("name"))?;
        let name = site.repository.rsplit('/').next().unwrap_or_default();
        let path = format!("/app/installations/{id}/access_tokens");
        let made = api.post_again(&path, &json!({ "repositories": [name] }), until).await?;
        let token = made.body.get("token").and_then(Value::as_str).ok_or_else(|| missing("token"))?;
        Ok((Secret::new(token), Author::bot(slug)))
    }

    /// A JSON Web Token (RFC 7519), RS256, as GitHub wants it of Apps.
    fn proof(&self, now: i64) -> Result<Secret, String> {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = part(json!({ "alg": "RS256", "typ": "JWT" }));
        let claims = part(json!({ "iat": now - DATED_BACK, "exp": now + HOLDS, "iss": self.id }));
        let text = format!("{head}.{claims}");
        let mut signature = vec![0; self.key.public().modulus_len()];
        let signed = self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature);
        signed.map_err(|_| "the App's key cannot sign".to_owned())?;
        Ok(Secret::new(&format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

/// A private key as GitHub hands it out (PKCS #1), or as other tools keep it (PKCS #8). Some CIs keep line ends as
/// `\n`.
fn read_key(pem: &str) -> Result<RsaKeyPair, String> {
    let pem = if pem.trim().contains('\n') { pem.to_owned() } else { pem.replace("\\n", "\n") };
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| "this is no private key in PEM".to_owned())?;
    let pair = match &key {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        _ => return Err("this is no RSA key".to_owned()),
    };
    pair.map_err(|why| format!("the key cannot be used: {why}"))
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    /// A key that was made for these tests and opens nothing, as a PEM file.
    fn pem(kind: &str) -> String {
        let (label, inside) = match kind {
            "pkcs1" => ("RSA PRIVATE KEY", include_str!("../../tests/fixtures/forge/app-key.pkcs1.b64")),
            _ => ("PRIVATE KEY", include_str!("../../tests/fixtures/forge/app-key.pkcs8.b64")),
        };
        format!("-----BEGIN {label}-----\n{inside}-----END {label}-----\n")
    }

    fn app(id: &str, key: &str) -> Result<Option<App>, String> {
        let set = [("MAESTRO_CI_APP_ID", id), ("MAESTRO_CI_APP_KEY", key)];
        App::from_env(&|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn a_key_is_text_or_a_path_in_either_form() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), pem("pkcs1")).unwrap();
        let escaped = pem("pkcs1").trim().replace('\n', "\\n");
        for key in [&pem("pkcs1"), &pem("pkcs8"), &escaped, file.path().to_str().unwrap()] {
            assert_eq!(app("7", key).unwrap().unwrap().id, "7", "{key}");
        }
        assert!(app("", "").unwrap().is_none());
    }

    #[track_caller]
    fn check_refused(id: &str, key: &str, expected: &str) {
        assert_eq!(app(id, key).unwrap_err(), expected);
    }

    #[test]
    fn half_an_app_and_a_broken_key_are_named() {
        check_refused("7", "", "MAESTRO_CI_APP_ID is set and MAESTRO_CI_APP_KEY is not");
        check_refused("", &pem("pkcs1"), "MAESTRO_CI_APP_KEY is set and MAESTRO_CI_APP_ID is not");
        check_refused("7", "-----BEGIN X", "MAESTRO_CI_APP_KEY: this is no private key in PEM");
        check_refused("7", "/nowhere.pem", "MAESTRO_CI_APP_KEY: /nowhere.pem: No such file or directory (os error 2)");
    }

    #[test]
    fn a_proof_names_the_app_holds_under_ten_minutes_and_is_signed() {
        let app = app("12", &pem("pkcs1")).unwrap().unwrap();
        let proof = app.proof(1_000_000).unwrap();
        let parts: Vec<&str> = proof.expose().split('.').collect();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        assert_eq!(claims, json!({ "iat": 999_940, "exp": 1_000_540, "iss": "12" }));
        let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, app.key.public().as_ref());
        let text = format!("{}.{}", parts[0], parts[1]);
        assert!(public.verify(text.as_bytes(), &signature).is_ok());
        assert!(public.verify(b"another text", &signature).is_err());
        assert!(!format!("{app:?}").contains("PRIVATE"));
    }
}
