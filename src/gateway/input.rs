//! What a request's input is made of, besides text: does it point at input that is not in it, and how many images,
//! sounds and files does it carry? In: JSON of any size, walked once and kept nowhere. Out: an error or an amount, by
//! the rules of the dialect.

use std::cell::Cell;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::body::{Body, Key};

/// Most that an image takes, tokens, however many bytes it has: the APIs scale large ones down. Known exceptions are
/// small models with dear pictures (gpt-4o-mini: up to 48,169).
const IMAGE_TOKENS: u64 = 16_000;

/// Where a dialect has its input, and what stands in it.
pub(super) struct Rules {
    /// Fields of the request that carry input.
    pub fields: &'static [&'static str],
    /// Keys whose values are the agent's own data, where any key can mean anything.
    pub opaque: &'static [&'static str],
    /// Keys of objects that carry a file: its bytes as `data` next to its type.
    pub files: &'static [&'static str],
    /// What is this text? The key of the object it stands in, its own key, the text.
    pub sense: fn(&str, &str, &str) -> Sense,
}

/// What a text in the input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sense {
    /// Itself.
    Text,
    /// The name of something that the API has.
    Reference,
    /// An address: of something elsewhere, or a `data:` URL, which carries what it names.
    Url,
    /// The bytes of a file.
    File,
}

/// Images, sounds and files that a request carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Media {
    /// Bytes of the body that they take.
    pub bytes: u64,
    /// Bound of what they count as: half a token a byte, of an image 16,000 at most.
    pub tokens: u64,
}

impl Media {
    fn add(&mut self, bytes: u64, is_image: bool) {
        let most = if is_image { IMAGE_TOKENS } else { u64::MAX };
        self.bytes = self.bytes.saturating_add(bytes);
        self.tokens = self.tokens.saturating_add(bytes.div_ceil(2).min(most));
    }
}

/// The media of a request.
///
/// # Errors
/// It points at input elsewhere, or cannot be read.
pub(super) fn media(body: &Body, rules: &Rules) -> Result<Media, String> {
    let mut all = Media::default();
    for name in rules.fields {
        let Some(json) = body.get(name) else { continue };
        let Found { is_remote, media } = find(json, rules)?;
        if is_remote {
            return Err(format!(
                "`{name}` points at input elsewhere (a URL, a file or an earlier item), which cannot be counted before \
                 the call; send its content inline"
            ));
        }
        all.bytes = all.bytes.saturating_add(media.bytes);
        all.tokens = all.tokens.saturating_add(media.tokens);
    }
    Ok(all)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    is_remote: bool,
    media: Media,
}

fn find(json: &str, rules: &Rules) -> Result<Found, String> {
    let found = Cell::new(Found::default());
    let mut reader = serde_json::Deserializer::from_str(json);
    let walk = Walk { rules, found: &found, file: &Cell::default(), parent: "", key: "" };
    walk.deserialize(&mut reader).map_err(|e| format!("the request cannot be read: {e}"))?;
    Ok(found.get())
}

/// An object that may carry a file, as far as it was read.
#[derive(Clone, Copy, Default)]
struct File {
    bytes: u64,
    /// It says that it is an image, and nothing else.
    says_image: bool,
    says_other: bool,
    /// It says that it is text; whatever type it claims besides, it counts as that.
    is_text: bool,
}

/// One value on the way through.
#[derive(Clone, Copy)]
struct Walk<'r> {
    rules: &'r Rules,
    found: &'r Cell<Found>,
    /// The object that holds the value.
    file: &'r Cell<File>,
    /// Key of the object that holds the value, through lists.
    parent: &'r str,
    /// Key of the value, through lists.
    key: &'r str,
}

impl Walk<'_> {
    fn is_remote(&self) {
        self.found.set(Found { is_remote: true, ..self.found.get() });
    }

    fn carries(&self, bytes: u64, is_image: bool) {
        let mut found = self.found.get();
        found.media.add(bytes, is_image);
        self.found.set(found);
    }

    fn in_file(&self, text: &str) {
        let mut file = self.file.get();
        match self.key {
            "data" => file.bytes = file.bytes.saturating_add(length(text)),
            "media_type" | "mimeType" | "mime_type" if is_image(text) => file.says_image = true,
            "media_type" | "mimeType" | "mime_type" => file.says_other = true,
            "type" if text != "base64" => file.is_text = true,
            _ => {}
        }
        self.file.set(file);
    }
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
        match (self.rules.sense)(self.parent, self.key, text) {
            Sense::Text if self.rules.files.contains(&self.parent) => self.in_file(text),
            Sense::Text => {}
            Sense::Reference => self.is_remote(),
            Sense::Url => match after_scheme(text) {
                Some(content) => self.carries(length(text), is_image(content)),
                None => self.is_remote(),
            },
            Sense::File => self.carries(length(text), false),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let file = Cell::default();
        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
            if self.rules.opaque.contains(&&*key) {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Walk { file: &file, parent: self.key, key: &key, ..self })?;
            }
        }
        let File { bytes, says_image, says_other, is_text } = file.get();
        if bytes > 0 && !is_text {
            self.carries(bytes, says_image && !says_other);
        }
        Ok(())
    }
}

/// What follows `data:`; none for what is fetched and not carried along.
fn after_scheme(url: &str) -> Option<&str> {
    let (scheme, content) = url.split_at_checked(5)?;
    scheme.eq_ignore_ascii_case("data:").then_some(content)
}

fn is_image(media_type: &str) -> bool {
    media_type.get(..6).is_some_and(|kind| kind.eq_ignore_ascii_case("image/"))
}

fn length(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        fields: &["input"],
        opaque: &["args"],
        files: &["source"],
        sense: |parent, key, text| match (parent, key) {
            ("a", "b") if text == "c" => Sense::Reference,
            (_, "url") => Sense::Url,
            (_, "sound") => Sense::File,
            _ => Sense::Text,
        },
    };

    fn check(json: &str, is_remote: bool, bytes: u64, tokens: u64) {
        assert_eq!(find(json, &RULES), Ok(Found { is_remote, media: Media { bytes, tokens } }), "{json}");
    }

    #[test]
    fn a_reference_is_found_at_any_depth_and_not_in_the_agents_own_data() {
        check(r#"[1, null, true, 1.5, -1, {"x": [{"a": [{"b": "c"}]}]}]"#, true, 0, 0);
        check(r#"{"a": {"b": "d"}, "b": "c"}"#, false, 0, 0);
        check(r#"{"args": {"a": {"b": "c"}}}"#, false, 0, 0);
    }

    #[test]
    fn what_no_reader_would_follow_is_an_error() {
        find(&"[".repeat(1000), &RULES).unwrap_err();
    }

    #[test]
    fn data_urls_carry_what_they_name() {
        check(r#"{"url": "data:image/png;base64,AA=="}"#, false, 26, 13);
        check(r#"{"url": "DATA:,x"}"#, false, 7, 4);
        for url in ["https://example.com/data:image/png", "file-1", ""] {
            check(&format!(r#"{{"url": "{url}"}}"#), true, 0, 0);
        }
    }

    #[test]
    fn an_image_counts_as_half_its_bytes_and_never_as_more_than_an_image_can() {
        let large = "A".repeat(400_000);
        check(&format!(r#"[{{"url": "data:image/png;base64,{large}"}}]"#), false, 400_022, IMAGE_TOKENS);
        let two = format!(r#"{{"data": "{large}", "media_type": "image/png", "type": "base64"}}"#);
        check(&format!(r#"[{{"source": {two}}}, {{"source": {two}}}]"#), false, 800_000, 2 * IMAGE_TOKENS);
        check(r#"{"source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}"#, false, 4, 2);
    }

    #[test]
    fn what_is_no_image_counts_as_half_its_bytes() {
        let large = "A".repeat(400_000);
        check(&format!(r#"{{"url": "data:application/pdf;base64,{large}"}}"#), false, 400_028, 200_014);
        check(&format!(r#"{{"source": {{"mimeType": "audio/wav", "data": "{large}"}}}}"#), false, 400_000, 200_000);
        check(&format!(r#"{{"sound": "{large}"}}"#), false, 400_000, 200_000);
    }

    #[test]
    fn what_only_poses_as_an_image_is_none() {
        let large = "A".repeat(400_000);
        let types = r#""media_type": "image/png", "media_type": "application/pdf""#;
        check(&format!(r#"{{"source": {{{types}, "data": "{large}"}}}}"#), false, 400_000, 200_000);
        check(&format!(r#"{{"source": {{"data": "{large}", "mimeType": "image/png", "type": "text"}}}}"#), false, 0, 0);
        check(&format!(r#"{{"text": "data:image/png;base64,{large}"}}"#), false, 0, 0);
        check(&format!(r#"{{"other": {{"media_type": "image/png", "data": "{large}"}}}}"#), false, 0, 0);
    }
}
