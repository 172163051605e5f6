//! Does a part of a request point at input that is not in it? In: JSON of any size, walked once and kept nowhere. Out:
//! yes or no, by the rules of the dialect.

use std::cell::Cell;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::body::{Body, Key};

/// How a dialect points at input.
pub(super) struct Rules {
    /// Fields of the request that carry input.
    pub fields: &'static [&'static str],
    /// Keys whose values are the agent's own data, where any key can mean anything.
    pub opaque: &'static [&'static str],
    /// Is this text a reference? The key of the object it stands in, its own key, the text.
    pub is_reference: fn(&str, &str, &str) -> bool,
}

/// Refuses a request that points at input elsewhere.
///
/// # Errors
/// It does, or cannot be read.
pub(super) fn refuse(body: &Body, rules: &Rules) -> Result<(), String> {
    for name in rules.fields {
        if body.get(name).map(|json| is_in(json, rules)).transpose()? == Some(true) {
            return Err(format!(
                "`{name}` points at input elsewhere (a URL, a file or an earlier item), which cannot be counted before \
                 the call; send its content inline"
            ));
        }
    }
    Ok(())
}

/// True for what is fetched and not carried along: any URL but a `data:` one.
pub(super) fn is_remote(url: &str) -> bool {
    url.get(..5).is_none_or(|scheme| !scheme.eq_ignore_ascii_case("data:"))
}

fn is_in(json: &str, rules: &Rules) -> Result<bool, String> {
    let found = Cell::new(false);
    let mut reader = serde_json::Deserializer::from_str(json);
    let walk = Walk { rules, found: &found, parent: "", key: "" };
    walk.deserialize(&mut reader).map_err(|e| format!("the request cannot be read: {e}"))?;
    Ok(found.get())
}

/// One value on the way through.
#[derive(Clone, Copy)]
struct Walk<'r> {
    rules: &'r Rules,
    found: &'r Cell<bool>,
    /// Key of the object that holds the value, through lists.
    parent: &'r str,
    /// Key of the value, through lists.
    key: &'r str,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if (self.rules.is_reference)(self.parent, self.key, text) {
            self.found.set(true);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
            if self.rules.opaque.contains(&&*key) {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Walk { rules: self.rules, found: self.found, parent: self.key, key: &key })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        fields: &["input"],
        opaque: &["args"],
        is_reference: |parent, key, text| (parent, key, text) == ("a", "b", "c"),
    };

    fn check(json: &str, expected: bool) {
        assert_eq!(is_in(json, &RULES), Ok(expected), "{json}");
    }

    #[test]
    fn a_reference_is_found_at_any_depth_and_not_in_the_agents_own_data() {
        check(r#"[1, null, true, 1.5, -1, {"x": [{"a": [{"b": "c"}]}]}]"#, true);
        check(r#"{"a": {"b": "d"}, "b": "c"}"#, false);
        check(r#"{"args": {"a": {"b": "c"}}}"#, false);
    }

    #[test]
    fn what_no_reader_would_follow_is_an_error() {
        is_in(&"[".repeat(1000), &RULES).unwrap_err();
    }

    #[test]
    fn data_urls_carry_what_they_name() {
        assert!(!is_remote("data:image/png;base64,AA==") && !is_remote("DATA:,x"));
        assert!(is_remote("https://example.com") && is_remote("file-1") && is_remote(""));
    }
}
