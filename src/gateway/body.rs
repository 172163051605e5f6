//! A request's body as the fields of one JSON object. In: an agent's bytes. Out: single fields, and the same object
//! with some of them set: the order stays, and values that nobody sets stay as they were written, byte for byte.
//!
//! A key that stands in it twice is refused: two readers could take two values.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// Most fields of one object; the APIs know some dozens.
const MAX_FIELDS: usize = 256;

/// One JSON object.
#[derive(Debug)]
pub(super) struct Body<'a>(Vec<Field<'a>>);

/// A key and its value as JSON.
type Field<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A key, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
pub(super) struct Key<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl<'a> Body<'a> {
    /// Reads an object.
    ///
    /// # Errors
    /// It is none, or has a key twice.
    pub(super) fn parse(json: &'a [u8]) -> Result<Self, String> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let fields = reader.deserialize_map(Fields).and_then(|fields| reader.end().map(|()| fields));
        fields.map(Self).map_err(|e| format!("the request cannot be read: {e}"))
    }

    /// The value of a field as JSON; none where it is missing or null.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        (value != "null").then_some(&**value)
    }

    /// Sets a field to a value in JSON, where it stands or at the end.
    pub(super) fn set(&mut self, name: &'a str, value: String) {
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = Cow::Owned(value),
            None => self.0.push((Cow::Borrowed(name), Cow::Owned(value))),
        }
    }

    /// A field that is a whole number.
    ///
    /// # Errors
    /// It is something else, or less than 0.
    pub(super) fn whole(&self, name: &str) -> Result<Option<u64>, String> {
        self.typed(name, "a whole number")
    }

    /// A field that is a text.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, String> {
        self.typed(name, "a text")
    }

    /// A field that is true or false; false where it is missing.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn flag(&self, name: &str) -> Result<bool, String> {
        Ok(self.typed(name, "true or false")?.unwrap_or(false))
    }

    fn typed<T: DeserializeOwned>(&self, name: &str, what: &str) -> Result<Option<T>, String> {
        let value = self.get(name).map(serde_json::from_str).transpose();
        value.map_err(|_| format!("`{name}` is not {what}"))
    }

    /// The model that it names.
    ///
    /// # Errors
    /// It names none.
    pub(super) fn model(&self) -> Result<String, String> {
        self.text("model")?.ok_or_else(|| "the request names no model".to_owned())
    }

    /// Lowers the cap `name` to `max`, or adds it.
    ///
    /// # Errors
    /// The cap that stands there is no whole number.
    pub(super) fn lower(&mut self, name: &'a str, max: u64) -> Result<(), String> {
        if self.whole(name)?.is_none_or(|own| own > max) {
            self.set(name, max.to_string());
        }
        Ok(())
    }

    /// Refuses a field with a value that is not one of those that cost the listed price.
    ///
    /// # Errors
    /// It has another.
    pub(super) fn listed_price_only(&self, name: &str, listed: &[&str]) -> Result<(), String> {
        match self.text(name)? {
            Some(value) if !listed.contains(&value.as_str()) => {
                Err(format!("`{name}` is `{value}`, which does not cost the listed price; leave it out"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses fields that have input come from elsewhere.
    ///
    /// # Errors
    /// One of them is set.
    pub(super) fn without(&self, names: &[&str]) -> Result<(), String> {
        match names.iter().find(|name| self.get(name).is_some()) {
            Some(name) => Err(format!(
                "`{name}` has the API add input that cannot be counted before the call; send the whole input instead"
            )),
            None => Ok(()),
        }
    }

    /// The object as JSON.
    pub(super) fn to_json(&self) -> String {
        let length: usize = self.0.iter().map(|(key, value)| key.len() + value.len() + 4).sum();
        let mut out = String::with_capacity(length + 2);
        for (key, value) in &self.0 {
            out.push(if out.is_empty() { '{' } else { ',' });
            out.push_str(&Value::from(&**key).to_string());
            out.push(':');
            out.push_str(value);
        }
        out.push_str(if out.is_empty() { "{}" } else { "}" });
        out
    }
}

/// What each of `choices` answers may take of `max` tokens.
///
/// # Errors
/// Not even one token.
pub(super) fn share(max: u64, choices: u64) -> Result<u64, String> {
    match max / choices.max(1) {
        0 => Err(format!("{max} output tokens are not enough for {choices} answers")),
        each => Ok(each),
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<Field<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields: Self::Value = Vec::new();
        while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
            if fields.iter().any(|(known, _)| *known == key) {
                return Err(A::Error::custom(format_args!("`{key}` is in it twice")));
            }
            if fields.len() == MAX_FIELDS {
                return Err(A::Error::custom("it has too many fields"));
            }
            fields.push((key, Cow::Borrowed(value.get())));
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(json: &str, expected: &str) {
        let mut body = Body::parse(json.as_bytes()).unwrap();
        body.set("cap", "5".to_owned());
        assert_eq!(body.to_json(), expected);
    }

    #[test]
    fn what_nobody_sets_stays_as_it_was_written() {
        check("{}", r#"{"cap":5}"#);
        check(r#"{ "z": [1.10, 1e2],"cap":null, "a\"":{"b" : 1} }"#, r#"{"z":[1.10, 1e2],"cap":5,"a\"":{"b" : 1}}"#);
        check(r#"{"n":123456789012345678901234567890.10}"#, r#"{"n":123456789012345678901234567890.10,"cap":5}"#);
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused_however_it_is_written() {
        let twice = Body::parse(br#"{"max_tokens":1,"max\u005ftokens":9}"#).unwrap_err();
        assert!(twice.contains("`max_tokens` is in it twice"), "{twice}");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for json in ["", "[]", "{} x", "{\"a\":}", "\u{1}"] {
            Body::parse(json.as_bytes()).unwrap_err();
        }
        Body::parse(b"{\"a\":\"\xff\"}").unwrap_err();
        let many: Vec<String> = (0..300).map(|n| format!("\"{n}\":0")).collect();
        Body::parse(format!("{{{}}}", many.join(",")).as_bytes()).unwrap_err();
    }

    #[test]
    fn a_field_of_another_type_is_named() {
        let body = Body::parse(br#"{"n":-1,"s":1,"f":"yes","none":null}"#).unwrap();
        assert_eq!(body.whole("n").unwrap_err(), "`n` is not a whole number");
        assert_eq!(body.text("s").unwrap_err(), "`s` is not a text");
        assert_eq!(body.flag("f").unwrap_err(), "`f` is not true or false");
        assert_eq!((body.whole("none"), body.flag("missing")), (Ok(None), Ok(false)));
    }

    proptest! {
        #[test]
        fn any_object_means_the_same_afterwards(
            fields in proptest::collection::btree_map(".{0,8}", ".{0,8}", 0..8)
        ) {
            let json = serde_json::to_string(&fields).unwrap();
            let again = Body::parse(json.as_bytes()).unwrap().to_json();
            let (again, before): (Value, Value) =
                (serde_json::from_str(&again).unwrap(), serde_json::from_str(&json).unwrap());
            prop_assert_eq!(again, before);
        }
    }
}
