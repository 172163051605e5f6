//! Numbers as people read them. Plain values flow in, short text flows out; integers only, so that the same value
//! reads the same everywhere.

use jiff::Timestamp;

use crate::core::budget::{Budget, Resource};

/// RFC 3339 in UTC of milliseconds since the Unix epoch; empty for a moment outside of the calendar.
pub(super) fn rfc3339(wall_ms: i64) -> String {
    Timestamp::from_millisecond(wall_ms).map(|t| t.to_string()).unwrap_or_default()
}

/// `850 ms`, `4.2 s`, `41 s`, `3 min 4 s`, `1 h 2 min`.
pub(super) fn duration(ms: u64) -> String {
    let secs = ms / 1000;
    match secs {
        0 => format!("{ms} ms"),
        1..10 => format!("{secs}.{} s", ms % 1000 / 100),
        10..60 => format!("{secs} s"),
        60..3600 => format!("{} min {} s", secs / 60, secs % 60),
        _ => format!("{} h {} min", secs / 3600, secs % 3600 / 60),
    }
}

/// `950`, `18.2k`, `1.2M`.
pub(super) fn amount(n: u64) -> String {
    match n {
        0..1000 => n.to_string(),
        1000..1_000_000 => format!("{}.{}k", n / 1000, n % 1000 / 100),
        _ => format!("{}.{}M", n / 1_000_000, n % 1_000_000 / 100_000),
    }
}

/// `$0.11`; what would round to nothing is `<$0.01`.
pub(super) fn usd(microusd: u64) -> String {
    let cents = microusd.saturating_add(5000) / 10_000;
    if cents == 0 && microusd > 0 { "<$0.01".to_owned() } else { format!("${}.{:02}", cents / 100, cents % 100) }
}

/// An amount of a resource, short.
pub(super) fn resource(resource: Resource, n: u64) -> String {
    match resource {
        Resource::Duration | Resource::Idle => duration(n),
        Resource::Tokens => format!("{} tokens", amount(n)),
        Resource::ApiCalls => format!("{n} API calls"),
        Resource::Cost => usd(n),
        other => other.show(n),
    }
}

/// The limits of a budget that hold: `30 min 0 s, 1.0M tokens, 4.0 GiB of memory`.
pub fn limits(budget: &Budget) -> String {
    let held = RESOURCES.iter().filter_map(|&of| Some((of, budget.limit(of)?)));
    let words = held.map(|(of, limit)| match of {
        Resource::Memory | Resource::Output | Resource::Disk => format!("{} of {of}", resource(of, limit)),
        _ => resource(of, limit),
    });
    let words: Vec<String> = words.collect();
    if words.is_empty() { "no limit".to_owned() } else { words.join(", ") }
}

/// In the order in which a budget is told.
const RESOURCES: [Resource; 10] = [
    Resource::Duration,
    Resource::Tokens,
    Resource::ApiCalls,
    Resource::Cost,
    Resource::Memory,
    Resource::Processes,
    Resource::Output,
    Resource::Disk,
    Resource::ChangedFiles,
    Resource::ChangedLines,
];

/// A length as a number that is counted with.
pub(super) fn len(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// The same for 32 bits.
pub(super) fn len32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// `part` of `whole`, 0 to 1; none where there is no whole.
#[expect(clippy::cast_precision_loss, reason = "a share, for people")]
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| rounded(part as f64 / whole as f64))
}

/// Four decimals: enough for a share, and few enough that every JSON reader gets the same number back.
pub(super) fn rounded(share: f64) -> f64 {
    (share * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        let durations = [850, 4_250, 41_999, 184_000, 3_720_000].map(duration);
        assert_eq!(durations, ["850 ms", "4.2 s", "41 s", "3 min 4 s", "1 h 2 min"]);
        assert_eq!([950, 18_234, 1_250_000].map(amount), ["950", "18.2k", "1.2M"]);
        assert_eq!([0, 4_000, 112_000, 12_345_678].map(usd), ["$0.00", "<$0.01", "$0.11", "$12.35"]);
        assert_eq!(rfc3339(1_700_000_000_000), "2023-11-14T22:13:20Z");
    }

    #[test]
    fn a_budget_is_told_in_words() {
        let budget = Budget {
            max_duration_ms: Some(3_600_000),
            max_tokens: Some(1_000_000),
            max_cost_microusd: Some(1_500_000),
            max_memory_bytes: Some(1 << 32),
            ..Budget::default()
        };
        assert_eq!(limits(&budget), "1 h 0 min, 1.0M tokens, $1.50, 4.0 GiB of memory");
        assert_eq!(limits(&Budget::default()), "no limit");
    }

    #[test]
    fn nothing_divided_by_nothing_is_nothing() {
        assert_eq!(share(0, 0), None);
        assert_eq!(share(1, 4), Some(0.25));
        assert_eq!(share(2, 3), Some(0.6667));
    }
}
