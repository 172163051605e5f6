//! The values of the schema that are one of a few words, or a word or a number. Words only: what they do is
//! decided elsewhere.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::numbers::{Raw, raw, refused, small_from};
use super::suggest::closest;

/// How many attempts and gates run at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jobs {
    /// One for each processor.
    #[default]
    Auto,
    /// That many; at least 1.
    Count(u32),
}

impl Serialize for Jobs {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => to.serialize_str("auto"),
            Self::Count(count) => to.serialize_u32(*count),
        }
    }
}

impl<'de> Deserialize<'de> for Jobs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const ACCEPTS: &str = "`auto` or a whole number, at least 1";
        match raw(from, ACCEPTS)? {
            Raw::Text(word) if word == "auto" => Ok(Self::Auto),
            Raw::Text(word) => Err(refused(&Raw::Text(word.clone()), ACCEPTS, near(&word, &["auto"]))),
            value => small_from::<D::Error>(&value).map(Self::Count).map_err(|_| refused(&value, ACCEPTS, None)),
        }
    }
}

impl JsonSchema for Jobs {
    fn schema_name() -> Cow<'static, str> {
        "Jobs".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [{ "const": "auto" }, { "type": "integer", "minimum": 1, "maximum": u32::MAX }] })
    }
}

/// Where the comment of a run goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Comment {
    /// On the pull request the run belongs to, if there is one and a token to write with.
    #[default]
    Auto,
    /// Nowhere.
    Never,
    /// On this pull request.
    PullRequest(u32),
}

impl Serialize for Comment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => to.serialize_str("auto"),
            Self::Never => to.serialize_str("never"),
            Self::PullRequest(number) => to.serialize_u32(*number),
        }
    }
}

impl<'de> Deserialize<'de> for Comment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const ACCEPTS: &str = "`auto`, `never` or the number of a pull request";
        match raw(from, ACCEPTS)? {
            Raw::Text(word) if word == "auto" => Ok(Self::Auto),
            Raw::Text(word) if word == "never" => Ok(Self::Never),
            Raw::Text(word) => Err(refused(&Raw::Text(word.clone()), ACCEPTS, near(&word, &["auto", "never"]))),
            value => small_from::<D::Error>(&value).map(Self::PullRequest).map_err(|_| refused(&value, ACCEPTS, None)),
        }
    }
}

impl JsonSchema for Comment {
    fn schema_name() -> Cow<'static, str> {
        "Comment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "oneOf": [{ "enum": ["auto", "never"] }, { "type": "integer", "minimum": 1, "maximum": u32::MAX }]
        })
    }
}

fn near(word: &str, words: &[&'static str]) -> Option<String> {
    closest(word, words.iter().copied()).map(|word| format!("`{word}`"))
}

/// What a child may reach over the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// What the orchestrator reaches.
    #[default]
    Inherit,
    /// Nothing.
    None,
    /// These hosts.
    Allow(Vec<String>),
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NetworkVisitor)
    }
}

const NETWORK: &str = "`inherit`, `none` or `{allow: [hosts]}`";

struct NetworkVisitor;

impl<'de> Visitor<'de> for NetworkVisitor {
    type Value = Network;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NETWORK)
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Network, E> {
        match word {
            "inherit" => Ok(Network::Inherit),
            "none" => Ok(Network::None),
            _ => Err(refused(&Raw::Text(word.to_owned()), NETWORK, near(word, &["inherit", "none"]))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Network, A::Error> {
        AllowList::deserialize(MapAccessDeserializer::new(map)).map(|list| Network::Allow(list.allow))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowList {
    allow: Vec<String>,
}

/// The providers whose APIs the gateway speaks.
pub const PROVIDERS: [&str; 3] = ["anthropic", "openai", "gemini"];

/// How an agent is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Claude Code.
    Claude,
    /// Codex CLI.
    Codex,
    /// Gemini CLI.
    Gemini,
    /// opencode.
    Opencode,
    /// Qwen Code.
    Qwen,
    /// The Agent Client Protocol.
    Acp,
    /// A shell command that reads its prompt and leaves its work in the tree.
    #[default]
    Command,
    /// A list of prepared steps, without any model.
    Steps,
}

impl Protocol {
    /// The provider whose API its agents call; none where they may call any, or none at all.
    pub fn provider(self) -> Option<&'static str> {
        match self {
            Self::Claude => Some("anthropic"),
            Self::Codex | Self::Qwen => Some("openai"),
            Self::Gemini => Some("gemini"),
            Self::Opencode | Self::Acp | Self::Command | Self::Steps => None,
        }
    }

    /// The protocol of the agent that needs no entry in the configuration: it is named like its protocol.
    pub fn built_in(name: &str) -> Option<Self> {
        let all = [Self::Claude, Self::Codex, Self::Gemini, Self::Opencode, Self::Qwen, Self::Steps];
        all.into_iter().find(|protocol| protocol.name() == name)
    }

    /// True where its agents load settings of the repository by themselves, and can be kept from it.
    pub fn has_repo_settings(self) -> bool {
        !matches!(self, Self::Command | Self::Steps)
    }

    /// As the configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
            Self::Opencode => "opencode",
            Self::Qwen => "qwen",
            Self::Acp => "acp",
            Self::Command => "command",
            Self::Steps => "steps",
        }
    }
}

/// How an attempt gets its files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// An overlay where the host allows it, else a copy.
    #[default]
    Auto,
    /// An overlay of the base tree.
    Overlay,
    /// A private copy of the base tree.
    Copy,
}

/// Whether a task may remove tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TestRemoval {
    /// Removing a test breaks policy.
    #[default]
    Deny,
    /// Removing a test is like any other change.
    Allow,
}

/// The least isolation a run accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum SandboxLevel {
    /// Landlock, a subreaper and a private copy.
    #[default]
    L1,
    /// Namespaces and an overlay.
    L2,
}

/// What the log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// Warnings too.
    Warn,
    /// What a person wants to follow.
    #[default]
    Info,
    /// What a developer wants to follow.
    Debug,
    /// Everything.
    Trace,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check<T>(value: &Value, expected: Result<T, &str>)
    where
        T: serde::de::DeserializeOwned + Serialize + PartialEq + fmt::Debug,
    {
        match (serde_json::from_value::<T>(value.clone()), expected) {
            (Ok(read), Ok(expected)) => {
                assert_eq!(read, expected);
                assert_eq!(&serde_json::to_value(read).unwrap(), value);
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (read, _) => panic!("{value} gave {read:?}"),
        }
    }

    #[test]
    fn jobs_are_auto_or_at_least_one() {
        check(&json!("auto"), Ok(Jobs::Auto));
        check(&json!(4), Ok(Jobs::Count(4)));
        check::<Jobs>(&json!(0), Err("`0`, expected `auto` or a whole number, at least 1"));
        check::<Jobs>(&json!("atuo"), Err("did you mean `auto`?"));
        check::<Jobs>(&json!(5_000_000_000_u64), Err("`auto` or a whole number"));
    }

    #[test]
    fn comments_are_auto_never_or_a_number() {
        check(&json!("never"), Ok(Comment::Never));
        check(&json!(12), Ok(Comment::PullRequest(12)));
        check::<Comment>(&json!(true), Err("`true`, expected `auto`, `never`"));
    }

    #[test]
    fn the_network_is_a_word_or_a_list_of_hosts() {
        check(&json!("none"), Ok(Network::None));
        check(&json!({"allow": ["a.example"]}), Ok(Network::Allow(vec!["a.example".to_owned()])));
        check::<Network>(&json!("inheritt"), Err("did you mean `inherit`?"));
        check::<Network>(&json!({"alow": []}), Err("unknown field `alow`"));
        check::<Network>(&json!(3), Err("expected `inherit`, `none` or `{allow: [hosts]}`"));
    }
}
