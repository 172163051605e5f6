//! Which limit of a tree is broken, and when the next one can be. Pure: it is told what was measured.

use std::time::Duration;

use super::spec::Limits;
use crate::core::Ended;

/// When what happened, since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    /// The latest output on either stream; the start where there was none.
    pub(super) last_output: Duration,
    /// The first line of JSON was passed up or, where none is wanted, standard output has had a first byte.
    pub(super) has_begun: bool,
    /// The result came in; none where it is not in yet.
    pub(super) result_in: Option<Duration>,
}

/// What the tree uses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Amounts {
    pub(super) memory_bytes: u64,
    pub(super) processes: u64,
    pub(super) output_bytes: u64,
    pub(super) disk_bytes: u64,
}

/// The moment of each time limit in force, since the start, with what it means to reach it.
fn moments(limits: &Limits, times: &Times) -> Vec<(Duration, Ended)> {
    let wall = Duration::from_millis(limits.wall_ms);
    if let Some(result_in) = times.result_in {
        // What has its result has nothing more to say, so silence is no fault, and at the wall it is late, not stuck.
        let linger = result_in.saturating_add(Duration::from_millis(limits.linger_ms));
        return vec![(linger.min(wall), Ended::Lingered)];
    }
    let mut moments = vec![(wall, Ended::Timeout { limit_ms: limits.wall_ms })];
    if let (Some(limit_ms), false) = (limits.startup_ms, times.has_begun) {
        moments.push((Duration::from_millis(limit_ms), Ended::NoOutput { limit_ms }));
    }
    if let Some(limit_ms) = limits.idle_ms {
        let idle = times.last_output.saturating_add(Duration::from_millis(limit_ms));
        moments.push((idle, Ended::Idle { limit_ms }));
    }
    moments
}

/// The time limit that was reached first.
pub(super) fn overdue(limits: &Limits, times: &Times, now: Duration) -> Option<Ended> {
    let reached = moments(limits, times).into_iter().filter(|(at, _)| *at <= now);
    reached.min_by_key(|(at, _)| *at).map(|(_, ended)| ended)
}

/// The next moment at which a time limit can be reached.
pub(super) fn next_moment(limits: &Limits, times: &Times) -> Duration {
    moments(limits, times).into_iter().map(|(at, _)| at).min().unwrap_or(Duration::MAX)
}

/// The limit that an amount is over. What can take the machine down comes first.
pub(super) fn exceeded(limits: &Limits, amounts: &Amounts) -> Option<Ended> {
    let over = |used: u64, limit: Option<u64>| limit.filter(|limit| used > *limit);
    let Amounts { processes, memory_bytes, output_bytes, disk_bytes } = *amounts;
    if let Some(limit) = over(processes, limits.max_processes) {
        return Some(Ended::Processes { used: processes, limit });
    }
    if let Some(limit) = over(memory_bytes, limits.max_memory_bytes) {
        return Some(Ended::Memory { used: memory_bytes, limit });
    }
    if let Some(limit) = over(output_bytes, limits.max_output_bytes) {
        return Some(Ended::Output { used: output_bytes, limit });
    }
    over(disk_bytes, limits.max_disk_bytes).map(|limit| Ended::Disk { used: disk_bytes, limit })
}

/// True where there is no time for a gentle end: the machine suffers meanwhile.
pub(super) fn is_hard(ended: &Ended) -> bool {
    matches!(ended, Ended::Memory { .. } | Ended::Processes { .. } | Ended::Disk { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> Limits {
        Limits {
            wall_ms: 100_000,
            idle_ms: Some(10_000),
            startup_ms: Some(5_000),
            linger_ms: 2_000,
            max_memory_bytes: Some(100),
            max_processes: Some(10),
            max_output_bytes: Some(1_000),
            max_disk_bytes: Some(5_000),
            ..Limits::default()
        }
    }

    fn check(times: Times, now_s: u32, expected: Option<Ended>) {
        assert_eq!(overdue(&limits(), &times, SECOND * now_s), expected, "{times:?} at {now_s} s");
        assert_eq!(next_moment(&limits(), &times) <= SECOND * now_s, expected.is_some(), "{times:?} at {now_s} s");
    }

    #[test]
    fn each_time_limit_has_its_name_and_the_first_one_wins() {
        let silent = Times::default();
        check(silent, 4, None);
        check(silent, 5, Some(Ended::NoOutput { limit_ms: 5_000 }));
        check(silent, 200, Some(Ended::NoOutput { limit_ms: 5_000 }));
        let spoke = Times { has_begun: true, last_output: SECOND * 3, ..silent };
        check(spoke, 12, None);
        check(spoke, 13, Some(Ended::Idle { limit_ms: 10_000 }));
        let busy = Times { last_output: SECOND * 99, ..spoke };
        check(busy, 99, None);
        check(busy, 100, Some(Ended::Timeout { limit_ms: 100_000 }));
    }

    #[test]
    fn errors_alone_are_no_first_output() {
        check(Times { last_output: SECOND * 4, ..Times::default() }, 5, Some(Ended::NoOutput { limit_ms: 5_000 }));
    }

    #[test]
    fn with_its_result_in_a_tree_only_lingers() {
        let done = Times { result_in: Some(SECOND * 30), ..Times::default() };
        check(done, 31, None);
        check(done, 32, Some(Ended::Lingered));
        check(Times { result_in: Some(SECOND * 99), ..done }, 100, Some(Ended::Lingered));
    }

    #[test]
    fn reaching_an_amount_is_allowed_and_going_over_it_is_not() {
        let at = Amounts { memory_bytes: 100, processes: 10, output_bytes: 1_000, disk_bytes: 5_000 };
        assert_eq!(exceeded(&limits(), &at), None);
        assert_eq!(exceeded(&Limits::default(), &Amounts { processes: u64::MAX, ..at }), None);
        let cases = [
            (Amounts { memory_bytes: 101, ..at }, Ended::Memory { used: 101, limit: 100 }, true),
            (Amounts { processes: 11, ..at }, Ended::Processes { used: 11, limit: 10 }, true),
            (Amounts { output_bytes: 1_001, ..at }, Ended::Output { used: 1_001, limit: 1_000 }, false),
            (Amounts { disk_bytes: 5_001, ..at }, Ended::Disk { used: 5_001, limit: 5_000 }, true),
        ];
        for (amounts, ended, hard) in cases {
            assert_eq!(exceeded(&limits(), &amounts), Some(ended.clone()));
            assert_eq!(is_hard(&ended), hard, "{ended:?}");
        }
    }
}
