//! The units people write after a flag: `45m`, `2M`, `10usd`, `4GiB`. Text comes in; seconds, counts, dollars
//! and bytes go out. Exact where that is possible: no amount is rounded on its way to a whole number.

use super::error::ConfigError;
use super::suggest::did_you_mean;

const DURATIONS: &[(&str, u64)] = &[("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
const COUNTS: &[(&str, u64)] = &[("", 1), ("k", 1_000), ("K", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)];
const BYTES: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Seconds from `45m`, `90s`, `1h30m` or `3600`; at least 1.
///
/// # Errors
/// Anything else, with an example and, for a near miss, what was meant.
pub fn duration_secs(text: &str) -> Result<u64, ConfigError> {
    read(text, "a duration such as `45m`, `1h30m` or `3600` (seconds)", parse_duration, tidy_duration)
}

/// A count from `2M`, `500k`, `1_000` or `500`; at least 1.
///
/// # Errors
/// Anything else, with an example and, for a near miss, what was meant.
pub fn count(text: &str) -> Result<u64, ConfigError> {
    read(text, "a count such as `2M`, `500k` or `1000`", |text| parse_unit(text, COUNTS), tidy_count)
}

/// Bytes from `4GiB`, `512MB` or `1024`; at least 1.
///
/// # Errors
/// Anything else, with an example and, for a near miss, what was meant.
pub fn bytes(text: &str) -> Result<u64, ConfigError> {
    read(text, "a size such as `4GiB`, `512MB` or `1024` (bytes)", |text| parse_unit(text, BYTES), tidy_bytes)
}

/// US dollars from `10usd`, `$10`, `10` or `0.5`; more than 0.
///
/// # Errors
/// Anything else, with an example and, for a near miss, what was meant.
pub fn usd(text: &str) -> Result<f64, ConfigError> {
    read(text, "an amount of US dollars such as `10usd`, `$2.50` or `0.5`", parse_usd, tidy_usd)
}

/// Reads; where that fails and a tidier spelling of the same can be read, suggests that.
fn read<T>(
    text: &str,
    expected: &str,
    parse: fn(&str) -> Option<T>,
    tidy: fn(&str) -> String,
) -> Result<T, ConfigError> {
    let text = text.trim();
    parse(text).ok_or_else(|| {
        let tidied = tidy(text);
        let hint = parse(&tidied).map(|_| did_you_mean(tidied));
        ConfigError::new(format!("`{text}` is not accepted; expected {expected}"), hint)
    })
}

/// `12_000.5` as its digits and how many of them are decimals.
fn number(text: &str) -> Option<(u128, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let clean = |part: &str| part.replace('_', "");
    let (whole, fraction) = (clean(whole), clean(fraction));
    let digits = format!("{whole}{fraction}");
    let sound = !whole.is_empty() && !fraction.is_empty() && digits.len() <= 24;
    if !sound || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((digits.parse().ok()?, u32::try_from(fraction.len()).ok()?))
}

/// The number times `factor`, if that is a whole number that fits.
fn scaled(text: &str, factor: u64) -> Option<u64> {
    let (digits, decimals) = number(text)?;
    let product = digits.checked_mul(u128::from(factor))?;
    let divisor = 10_u128.checked_pow(decimals)?;
    if product % divisor == 0 { u64::try_from(product / divisor).ok() } else { None }
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '_' || c == '.')).unwrap_or(text.len());
    text.split_at(end)
}

fn factor(unit: &str, units: &[(&str, u64)]) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

fn parse_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (amount, unit) = split_unit(text);
    scaled(amount, factor(unit, units)?).filter(|value| *value > 0)
}

fn parse_duration(text: &str) -> Option<u64> {
    let (mut rest, mut total, mut last) = (text, 0_u64, u64::MAX);
    if let Some(seconds) = scaled(text, 1) {
        (rest, total) = ("", seconds);
    }
    while !rest.is_empty() {
        let (amount, tail) = split_unit(rest);
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let seconds = factor(unit, DURATIONS).filter(|seconds| *seconds < last)?;
        total = total.checked_add(scaled(amount, seconds)?)?;
        (rest, last) = (next, seconds);
    }
    (total > 0).then_some(total)
}

fn parse_usd(text: &str) -> Option<f64> {
    let bare = text.strip_prefix('$').or_else(|| text.strip_suffix("usd")).or_else(|| text.strip_suffix("USD"));
    let amount = bare.unwrap_or(text).trim();
    number(amount)?;
    amount.replace('_', "").parse().ok().filter(|value: &f64| value.is_finite() && *value > 0.0)
}

fn compact(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Longer words first, so that `minutes` does not become `minutes` with a tail.
const DURATION_WORDS: &[(&str, &str)] = &[
    ("minutes", "m"),
    ("minute", "m"),
    ("mins", "m"),
    ("min", "m"),
    ("hours", "h"),
    ("hour", "h"),
    ("hrs", "h"),
    ("hr", "h"),
    ("seconds", "s"),
    ("second", "s"),
    ("secs", "s"),
    ("sec", "s"),
    ("days", "d"),
    ("day", "d"),
];

fn tidy_duration(text: &str) -> String {
    let text = compact(text).to_ascii_lowercase();
    DURATION_WORDS.iter().fold(text, |text, (word, unit)| text.replace(word, unit))
}

fn tidy_count(text: &str) -> String {
    let text = compact(text).replace(',', "").to_ascii_lowercase();
    let text = text.replace("million", "m").replace("thousand", "k").replace("tokens", "");
    text.replace('m', "M").replace('g', "G")
}

fn tidy_bytes(text: &str) -> String {
    let text = compact(text);
    let (amount, unit) = split_unit(&text);
    let unit = match unit.to_ascii_lowercase().as_str() {
        "b" | "byte" | "bytes" => "",
        "k" | "ki" | "kib" => "KiB",
        "m" | "mi" | "mib" => "MiB",
        "g" | "gi" | "gib" => "GiB",
        "t" | "ti" | "tib" => "TiB",
        "kb" => "kB",
        "mb" => "MB",
        "gb" => "GB",
        "tb" => "TB",
        _ => return text,
    };
    format!("{amount}{unit}")
}

fn tidy_usd(text: &str) -> String {
    let text = compact(text).to_ascii_lowercase().replace("dollars", "usd").replace("dollar", "usd");
    let text = text.replace("us$", "$");
    text.strip_suffix('$').map_or_else(|| text.clone(), |amount| format!("${amount}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Err` holds a piece that the message must contain.
    fn check<T: PartialEq + std::fmt::Debug>(
        read: fn(&str) -> Result<T, ConfigError>,
        table: &[(&str, Result<T, &str>)],
    ) {
        for (text, expected) in table {
            match (read(text), expected) {
                (Ok(value), Ok(expected)) => assert_eq!(value, *expected, "{text}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
                (value, _) => panic!("{text} gave {value:?}"),
            }
        }
    }

    #[test]
    fn durations() {
        let table: &[(&str, Result<u64, &str>)] = &[
            ("45m", Ok(2_700)),
            ("90s", Ok(90)),
            ("1h30m", Ok(5_400)),
            ("1.5h", Ok(5_400)),
            ("2d", Ok(172_800)),
            ("3600", Ok(3_600)),
            (" 5m ", Ok(300)),
            ("0", Err("such as `45m`")),
            ("0s", Err("such as `45m`")),
            ("-5m", Err("such as `45m`")),
            ("", Err("such as `45m`")),
            ("h", Err("such as `45m`")),
            ("5m5m", Err("such as `45m`")),
            ("5m1h", Err("such as `45m`")),
            ("1.0001s", Err("such as `45m`")),
            ("nan", Err("such as `45m`")),
            ("1e400", Err("such as `45m`")),
            ("99999999999999999999d", Err("such as `45m`")),
            ("9999999999999999999999999999999", Err("such as `45m`")),
            ("45 min", Err("did you mean `45m`?")),
            ("2 hours", Err("did you mean `2h`?")),
            ("1H", Err("did you mean `1h`?")),
        ];
        check(duration_secs, table);
    }

    #[test]
    fn counts() {
        let table: &[(&str, Result<u64, &str>)] = &[
            ("2M", Ok(2_000_000)),
            ("1.5M", Ok(1_500_000)),
            ("500k", Ok(500_000)),
            ("1_000", Ok(1_000)),
            ("500", Ok(500)),
            ("18446744073709551615", Ok(u64::MAX)),
            ("18446744073709551616", Err("such as `2M`")),
            ("0", Err("such as `2M`")),
            ("-1", Err("such as `2M`")),
            ("1.5", Err("such as `2M`")),
            ("1e400", Err("such as `2M`")),
            ("2m", Err("did you mean `2M`?")),
            ("1,000", Err("did you mean `1000`?")),
            ("2 million", Err("did you mean `2M`?")),
        ];
        check(count, table);
    }

    #[test]
    fn dollars() {
        let table: &[(&str, Result<f64, &str>)] = &[
            ("10usd", Ok(10.0)),
            ("10 USD", Ok(10.0)),
            ("$10", Ok(10.0)),
            ("10", Ok(10.0)),
            ("0.5", Ok(0.5)),
            ("0", Err("such as `10usd`")),
            ("-1", Err("such as `10usd`")),
            ("nan", Err("such as `10usd`")),
            ("inf", Err("such as `10usd`")),
            ("1e400", Err("such as `10usd`")),
            ("10 eur", Err("such as `10usd`")),
            ("10$", Err("did you mean `$10`?")),
            ("10 dollars", Err("did you mean `10usd`?")),
        ];
        check(usd, table);
    }

    #[test]
    fn sizes() {
        let table: &[(&str, Result<u64, &str>)] = &[
            ("4GiB", Ok(4 << 30)),
            ("512MB", Ok(512_000_000)),
            ("1024", Ok(1024)),
            ("0", Err("such as `4GiB`")),
            ("-1", Err("such as `4GiB`")),
            ("99999999TiB", Err("such as `4GiB`")),
            ("4 parsecs", Err("such as `4GiB`")),
            ("4G", Err("did you mean `4GiB`?")),
            ("4gib", Err("did you mean `4GiB`?")),
            ("512 mb", Err("did you mean `512MB`?")),
        ];
        check(bytes, table);
    }
}
