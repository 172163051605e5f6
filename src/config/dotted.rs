//! Dotted keys: a tree of values as `resource_limits.max_tokens → 1000000`, and a value set at such a key.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Every leaf of the tree by its dotted key. Lists and empty maps are leaves.
pub(super) fn leaves(tree: &Value) -> BTreeMap<String, &Value> {
    let mut found = BTreeMap::new();
    collect(tree, String::new(), &mut found);
    found
}

fn collect<'a>(tree: &'a Value, path: String, found: &mut BTreeMap<String, &'a Value>) {
    match tree {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                collect(value, join(&path, key), found);
            }
        }
        leaf => {
            found.insert(path, leaf);
        }
    }
}

/// `parent.key`, or `key` at the top.
pub(super) fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

/// True where `key` is `prefix` or stands below it.
pub(super) fn within(key: &str, prefix: &str) -> bool {
    key.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Sets a value. What stands in the way and is no map gives way: whether the result makes sense is for the
/// schema to say.
pub(super) fn put(tree: &mut Value, path: &[&str], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        *tree = value;
        return;
    };
    if !tree.is_object() {
        *tree = Value::Object(Map::new());
    }
    if let Value::Object(map) = tree {
        put(map.entry(*first).or_insert(Value::Null), rest, value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(mut tree: Value, path: &[&str], expected: &Value) {
        put(&mut tree, path, json!(1));
        assert_eq!(&tree, expected);
    }

    #[test]
    fn a_value_is_set_where_nothing_or_something_else_was() {
        check(json!({}), &["a", "b"], &json!({"a": {"b": 1}}));
        check(json!({"a": {"c": 2}}), &["a", "b"], &json!({"a": {"b": 1, "c": 2}}));
        check(json!({"a": "inherit"}), &["a", "b"], &json!({"a": {"b": 1}}));
    }

    #[test]
    fn leaves_are_named_by_their_whole_path() {
        let tree = json!({"a": {"b": 1, "c": {}}, "d": [1]});
        let keys: Vec<String> = leaves(&tree).into_keys().collect();
        assert_eq!(keys, ["a.b", "a.c", "d"]);
        assert!(within("a.b", "a") && within("a", "a") && !within("ab", "a"));
    }
}
