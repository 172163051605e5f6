//! Where each key of a YAML text stands: from a key to its place and from a place to its key. The typed parser
//! knows places and no keys, the checks know keys and no places; this joins them. It judges nothing.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{NonFiniteFloatPolicy, Options, Spanned};

use super::dotted::{join, within};

/// Limits that no honest configuration reaches; anchors and aliases are the usual way to make a small file huge.
pub(super) fn options(floats: NonFiniteFloatPolicy) -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 200_000,
            max_nodes: 100_000,
            max_depth: 32,
            max_anchors: 64,
            max_aliases: 64,
            max_merge_keys: 64,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 10_000,
            max_replay_stack_depth: 8,
            max_alias_expansions_per_anchor: 64,
        },
        strict_booleans: true,
        with_snippet: false,
        non_finite_float_policy: floats,
    }
}

struct Key {
    path: String,
    line: u64,
    column: u64,
}

/// The keys of one text, in their order.
pub(super) struct Keys(Vec<Key>);

impl Keys {
    /// Reads the keys; of a broken text, those before the break.
    pub(super) fn of(text: &str) -> Self {
        let mut found = Vec::new();
        let walk = Walk { path: String::new(), found: &mut found };
        let options = options(NonFiniteFloatPolicy::AsString);
        let _ = serde_saphyr::with_deserializer_from_str_with_options(text, options, |de| walk.deserialize(de));
        Self(found)
    }

    /// The keys that have no other key below them.
    pub(super) fn leaves(&self) -> impl Iterator<Item = &str> {
        // What stands below a key follows it at once.
        let next = self.0.iter().skip(1).map(Some).chain(std::iter::once(None));
        let pairs = self.0.iter().zip(next);
        let leaves = pairs.filter(|(key, next)| next.is_none_or(|next| !within(&next.path, &key.path)));
        leaves.map(|(key, _)| key.path.as_str())
    }

    /// The key that the place (line and column from 1) belongs to: the last one that starts at or before it.
    pub(super) fn at(&self, line: u64, column: u64) -> Option<&str> {
        let before = self.0.iter().filter(|key| (key.line, key.column) <= (line, column));
        before.max_by_key(|key| (key.line, key.column)).map(|key| key.path.as_str())
    }

    /// Line and column of the key, or of the closest one above it that is there.
    pub(super) fn place(&self, wanted: &str) -> Option<(u64, u64)> {
        let above = self.0.iter().filter(|key| within(wanted, &key.path));
        above.max_by_key(|key| key.path.len()).map(|key| (key.line, key.column))
    }
}

struct Walk<'a> {
    path: String,
    found: &'a mut Vec<Key>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { path, found } = self;
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let path = join(&path, &key.value);
            found.push(Key { path: path.clone(), line: key.defined.line(), column: key.defined.column() });
            map.next_value_seed(Walk { path, found: &mut *found })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { path, found } = self;
        while list.next_element_seed(Walk { path: path.clone(), found: &mut *found })?.is_some() {}
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
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

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a: 1\nb:\n  c: [1e400, {d: x}]\n  e: {f: null}\n";

    fn check(key: &str, place: (u64, u64)) {
        let keys = Keys::of(TEXT);
        assert_eq!(keys.place(key), Some(place), "{key}");
        assert_eq!(keys.at(place.0, place.1 + 1), Some(key));
    }

    #[test]
    fn every_key_is_found_by_its_place_and_the_other_way_round() {
        check("a", (1, 1));
        check("b", (2, 1));
        check("b.c", (3, 3));
        check("b.c.d", (3, 15));
        check("b.e.f", (4, 7));
    }

    #[test]
    fn a_missing_key_is_looked_for_above_and_a_broken_text_gives_what_it_has() {
        assert_eq!(Keys::of(TEXT).place("b.e.x.y"), Some((4, 3)));
        assert_eq!(Keys::of("a: 1\nb: [").at(1, 4), Some("a"));
        assert_eq!(Keys::of("").place("a"), None);
        assert_eq!(Keys::of(TEXT).leaves().collect::<Vec<_>>(), ["a", "b.c.d", "b.e.f"]);
    }
}
