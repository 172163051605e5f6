//! Numbers as people write them into the configuration, checked while they are read, so that the error carries
//! the value, its place and what is accepted. Each public function here is a `deserialize_with`.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error, Unexpected, Visitor};

use super::units;

/// A scalar, before anybody has said what it should be.
pub(super) enum Raw {
    Null,
    Flag(bool),
    Whole(u64),
    Negative(i64),
    Real(f64),
    Text(String),
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Flag(value) => write!(f, "{value}"),
            Self::Whole(value) => write!(f, "{value}"),
            Self::Negative(value) => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
        }
    }
}

struct RawVisitor {
    accepts: &'static str,
}

impl Visitor<'_> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.accepts)
    }

    fn visit_unit<E: Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Flag(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Whole(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Raw, E> {
        Ok(u64::try_from(value).map_or(Raw::Negative(value), Raw::Whole))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Real(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }
}

/// Reads a scalar; `accepts` is what an error says is accepted.
pub(super) fn raw<'de, D: Deserializer<'de>>(from: D, accepts: &'static str) -> Result<Raw, D::Error> {
    from.deserialize_any(RawVisitor { accepts })
}

/// The error for a scalar that is not accepted.
pub(super) fn refused<E: Error>(value: &Raw, accepts: &str, hint: Option<String>) -> E {
    let accepts = hint.map_or_else(|| accepts.to_owned(), |hint| format!("{accepts}; did you mean {hint}?"));
    E::invalid_value(Unexpected::Other(&format!("`{value}`")), &accepts.as_str())
}

/// What a whole number has to be.
pub(super) struct Rule {
    accepts: &'static str,
    min: u64,
    max: u64,
    /// Reads the text that a person may have written instead, for the suggestion.
    reads: fn(&str) -> Option<u64>,
}

const SECONDS: Rule = Rule {
    accepts: "a whole number of seconds, at least 1",
    min: 1,
    max: u64::MAX,
    reads: |text| units::duration_secs(text).ok(),
};
const INTERVAL: Rule = Rule { accepts: "a whole number of seconds, or 0 for never", min: 0, ..SECONDS };
const COUNT: Rule =
    Rule { accepts: "a whole number, at least 1", min: 1, max: u64::MAX, reads: |text| units::count(text).ok() };
const SMALL: Rule = Rule { accepts: "a whole number from 1 to 4294967295", max: u32::MAX as u64, ..COUNT };
const RETRIES: Rule = Rule { accepts: "a whole number from 0 to 4294967295", min: 0, ..SMALL };
const BYTES: Rule = Rule {
    accepts: "a whole number of bytes, at least 1",
    min: 1,
    max: u64::MAX,
    reads: |text| units::bytes(text).ok(),
};

/// Above this a floating point number no longer names one whole number.
const EXACT: f64 = 9_007_199_254_740_992.0;

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and in range")]
fn whole<E: Error>(value: &Raw, rule: &Rule) -> Result<u64, E> {
    let number = match value {
        Raw::Whole(number) => Some(*number),
        Raw::Real(real) if real.fract() == 0.0 && (0.0..=EXACT).contains(real) => Some(*real as u64),
        _ => None,
    };
    number.filter(|n| (rule.min..=rule.max).contains(n)).ok_or_else(|| {
        let hint = if let Raw::Text(text) = value { (rule.reads)(text).map(|n| n.to_string()) } else { None };
        refused(value, rule.accepts, hint)
    })
}

fn required<'de, D: Deserializer<'de>>(from: D, rule: &Rule) -> Result<u64, D::Error> {
    whole(&raw(from, rule.accepts)?, rule)
}

fn optional<'de, D: Deserializer<'de>>(from: D, rule: &Rule) -> Result<Option<u64>, D::Error> {
    match raw(from, rule.accepts)? {
        Raw::Null => Ok(None),
        value => whole(&value, rule).map(Some),
    }
}

/// A number of at least 1 that fits 32 bits, from a scalar that was read already.
pub(super) fn small_from<E: Error>(value: &Raw) -> Result<u32, E> {
    whole(value, &SMALL).map(narrow)
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Seconds, at least 1.
pub(super) fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    required(from, &SECONDS)
}

/// Seconds, 0 for never.
pub(super) fn interval<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    required(from, &INTERVAL)
}

/// A count of at least 1.
pub(super) fn small<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    required(from, &SMALL).map(narrow)
}

/// A count that may be 0.
pub(super) fn retries<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    required(from, &RETRIES).map(narrow)
}

/// Seconds, at least 1, or null for no limit.
pub(super) fn limit_seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    optional(from, &SECONDS)
}

/// A count of at least 1, or null for no limit.
pub(super) fn limit_count<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    optional(from, &COUNT)
}

/// Bytes, at least 1, or null for no limit.
pub(super) fn limit_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    optional(from, &BYTES)
}

#[expect(clippy::cast_precision_loss, reason = "a limit in dollars or a share; the last digits do not matter")]
fn real<E: Error>(value: &Raw, accepts: &str, holds: fn(f64) -> bool) -> Result<f64, E> {
    let number = match value {
        Raw::Whole(number) => Some(*number as f64),
        Raw::Negative(number) => Some(*number as f64),
        Raw::Real(number) => Some(*number),
        _ => None,
    };
    number.filter(|n| n.is_finite() && holds(*n)).ok_or_else(|| {
        let hint = if let Raw::Text(text) = value { units::usd(text).ok().filter(|n| holds(*n)) } else { None };
        refused(value, accepts, hint.map(|n| n.to_string()))
    })
}

/// US dollars, more than 0, or null for no limit.
pub(super) fn limit_usd<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    const ACCEPTS: &str = "an amount of US dollars above 0, such as 2.5";
    match raw(from, ACCEPTS)? {
        Raw::Null => Ok(None),
        value => real(&value, ACCEPTS, |n| n > 0.0).map(Some),
    }
}

const PRICE: &str = "an amount of US dollars, 0 or more";

/// US dollars, 0 or more.
pub(super) fn price<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    real(&raw(from, PRICE)?, PRICE, |n| n >= 0.0)
}

/// US dollars, 0 or more, or null for what follows from another price.
pub(super) fn price_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    match raw(from, PRICE)? {
        Raw::Null => Ok(None),
        value => real(&value, PRICE, |n| n >= 0.0).map(Some),
    }
}

/// A share, 0 to 1.
pub(super) fn ratio<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    const ACCEPTS: &str = "a number from 0 to 1";
    real(&raw(from, ACCEPTS)?, ACCEPTS, |n| (0.0..=1.0).contains(&n))
}

/// A factor of at least 1.
pub(super) fn factor<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    const ACCEPTS: &str = "a number of at least 1";
    real(&raw(from, ACCEPTS)?, ACCEPTS, |n| n >= 1.0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(value: &Value, expected: Result<u64, &str>) {
        match (seconds(value.clone()), expected) {
            (Ok(read), Ok(expected)) => assert_eq!(read, expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (read, _) => panic!("{value} gave {read:?}"),
        }
    }

    #[test]
    fn whole_numbers_are_read_and_everything_else_is_named_with_what_is_accepted() {
        check(&json!(60), Ok(60));
        check(&json!(1e3), Ok(1000));
        check(&json!(0), Err("`0`, expected a whole number of seconds, at least 1"));
        check(&json!(-5), Err("`-5`, expected a whole number of seconds"));
        check(&json!(1.5), Err("`1.5`, expected"));
        check(&json!(1e300), Err("expected a whole number of seconds"));
        check(&json!("1h"), Err("`1h`, expected a whole number of seconds, at least 1; did you mean 3600?"));
        check(&json!(null), Err("`null`, expected"));
        check(&json!(true), Err("`true`, expected"));
        check(&json!([]), Err("expected a whole number of seconds"));
    }

    #[test]
    fn infinity_and_not_a_number_are_no_amounts() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0] {
            let read: Result<f64, serde_json::Error> = real(&Raw::Real(value), "an amount", |n| n > 0.0);
            assert!(read.is_err(), "{value}");
        }
    }
}
