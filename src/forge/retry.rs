//! Whether to try again, and when: a value. In: what failed, how often, and how much time is left. Out: a wait, or the
//! end. The caller sleeps. What the forge says about its limits is honoured, and never longer than there is time.

use std::time::Duration;

/// A forge that limits us and names no moment wants at least this long (GitHub's documentation of secondary limits).
const UNNAMED_LIMIT: Duration = Duration::from_mins(1);
/// The first wait after an accident; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Tries at most.
pub(super) const MAX_TRIES: u32 = 6;
/// What a forge says where a 403 is about speed and not about rights.
const SPEED: [&str; 3] = ["rate limit", "abuse detection", "too many requests"];

/// Why a request brought no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The forge said no.
    Status {
        /// HTTP status.
        code: u16,
        /// Its words.
        message: String,
        /// How long it wants us to wait, where it says so.
        wait: Option<Duration>,
        /// True where the no is about how much we asked for, not about what.
        limited: bool,
    },
    /// Nothing of the request has left.
    Unsent(String),
    /// The request has left, and what came of it is not known.
    Lost(String),
    /// It sends us to somebody else.
    Elsewhere(String),
}

/// What the headers of a refusal say about waiting; each as it stands there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits<'a> {
    /// `retry-after`, seconds.
    pub retry_after: Option<&'a str>,
    /// `x-ratelimit-remaining`.
    pub remaining: Option<&'a str>,
    /// `x-ratelimit-reset`, seconds of the Unix epoch.
    pub reset: Option<&'a str>,
}

impl Failure {
    /// A refusal, with what its headers say. `now` is in seconds of the Unix epoch.
    pub(super) fn status(code: u16, message: String, limits: Limits<'_>, now: i64) -> Self {
        let seconds = |text: Option<&str>| text.and_then(|t| t.trim().parse::<u64>().ok()).map(Duration::from_secs);
        let used_up = limits.remaining.is_some_and(|left| left.trim() == "0");
        let reset = limits.reset.filter(|_| used_up || code == 429).and_then(|t| t.trim().parse::<i64>().ok());
        let reset = reset.map(|at| Duration::from_secs(u64::try_from(at.saturating_sub(now)).unwrap_or(0)));
        let retry_after = seconds(limits.retry_after);
        let words = message.to_lowercase();
        let is_about_speed = used_up || retry_after.is_some() || SPEED.iter().any(|s| words.contains(s));
        let limited = code == 429 || (code == 403 && is_about_speed);
        Self::Status { code, message, wait: retry_after.or(reset), limited }
    }

    /// True where the forge may have done what it was asked to.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            Self::Status { code, .. } => *code >= 500 || *code == 408,
            Self::Unsent(_) | Self::Elsewhere(_) => false,
        }
    }

    /// The status, where there is one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            _ => None,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status { code, message, .. } if message.is_empty() => write!(f, "status {code}"),
            Self::Status { code, message, .. } => write!(f, "status {code}: {message}"),
            Self::Unsent(why) | Self::Lost(why) | Self::Elsewhere(why) => f.write_str(why),
        }
    }
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Next {
    /// Try again after this long.
    Wait(Duration),
    /// Trying again changes nothing, or there is no time for it.
    GiveUp,
}

/// Decides after the `tries`th try (from 1) with `left` until the deadline.
pub(super) fn next(failure: &Failure, tries: u32, left: Duration) -> Next {
    let doubled = |first: Duration| first.saturating_mul(1 << tries.saturating_sub(1).min(10));
    let wait = match failure {
        Failure::Status { limited: true, wait, .. } => wait.map_or(doubled(UNNAMED_LIMIT), |w| w.max(FIRST_WAIT)),
        Failure::Status { code, wait, .. } if *code >= 500 || *code == 408 => wait.unwrap_or(doubled(FIRST_WAIT)),
        Failure::Unsent(_) | Failure::Lost(_) => doubled(FIRST_WAIT),
        Failure::Status { .. } | Failure::Elsewhere(_) => return Next::GiveUp,
    };
    if tries >= MAX_TRIES || wait >= left { Next::GiveUp } else { Next::Wait(wait) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn refused(code: u16, message: &str, limits: Limits<'_>) -> Failure {
        Failure::status(code, message.to_owned(), limits, NOW)
    }

    /// With five minutes left.
    #[track_caller]
    fn check(failure: &Failure, tries: u32, expected: Option<u64>) {
        let expected = expected.map_or(Next::GiveUp, |s| Next::Wait(Duration::from_secs(s)));
        assert_eq!(next(failure, tries, Duration::from_mins(5)), expected, "{failure} after try {tries}");
    }

    #[test]
    fn a_no_about_rights_or_form_is_final() {
        for code in [400, 401, 403, 404, 405, 409, 410, 413, 422, 451] {
            check(&refused(code, "Resource not accessible by integration", Limits::default()), 1, None);
        }
        check(&Failure::Elsewhere("x".to_owned()), 1, None);
    }

    #[test]
    fn a_limit_is_waited_for_as_long_as_the_forge_says() {
        let after = |text| Limits { retry_after: Some(text), ..Limits::default() };
        check(&refused(429, "", after("7")), 1, Some(7));
        check(&refused(403, "", after("7")), 3, Some(7));
        check(&refused(429, "", after("0")), 1, Some(1));
        let reset = Limits { remaining: Some("0"), reset: Some("1000090"), ..Limits::default() };
        check(&refused(403, "API rate limit exceeded", reset), 1, Some(90));
        check(&refused(429, "", Limits { remaining: None, ..reset }), 1, Some(90));
        // A reset that is over.
        check(&refused(403, "", Limits { reset: Some("999000"), ..reset }), 1, Some(1));
    }

    #[test]
    fn a_limit_without_a_moment_is_a_minute_and_doubles() {
        let secondary = refused(403, "You have exceeded a secondary rate limit.", Limits::default());
        check(&secondary, 1, Some(60));
        check(&secondary, 2, Some(120));
        check(&secondary, 4, None);
        check(&refused(429, "", Limits { retry_after: Some("soon"), ..Limits::default() }), 1, Some(60));
    }

    #[test]
    fn remaining_requests_make_a_403_one_about_rights() {
        let limits = Limits { remaining: Some("4999"), reset: Some("1000090"), retry_after: None };
        check(&refused(403, "Resource not accessible by integration", limits), 1, None);
    }

    #[test]
    fn accidents_are_tried_again_with_growing_waits_and_not_for_ever() {
        let lost = Failure::Lost("reset".to_owned());
        for (tries, expected) in [(1, Some(1)), (2, Some(2)), (3, Some(4)), (5, Some(16)), (6, None)] {
            check(&lost, tries, expected);
            check(&refused(502, "", Limits::default()), tries, expected);
            check(&Failure::Unsent("refused".to_owned()), tries, expected);
        }
        check(&refused(503, "", Limits { retry_after: Some("30"), ..Limits::default() }), 1, Some(30));
    }

    #[test]
    fn nothing_waits_longer_than_there_is_time() {
        let limited = refused(429, "", Limits { retry_after: Some("20"), ..Limits::default() });
        assert_eq!(next(&limited, 1, Duration::from_secs(20)), Next::GiveUp);
        assert_eq!(next(&limited, 1, Duration::from_secs(21)), Next::Wait(Duration::from_secs(20)));
        assert_eq!(next(&Failure::Lost(String::new()), 1, Duration::ZERO), Next::GiveUp);
    }

    #[test]
    fn only_what_may_have_arrived_may_have_happened() {
        assert!(Failure::Lost(String::new()).may_have_happened());
        assert!(refused(502, "", Limits::default()).may_have_happened());
        assert!(!refused(422, "", Limits::default()).may_have_happened());
        assert!(!refused(429, "", Limits::default()).may_have_happened());
        assert!(!Failure::Unsent(String::new()).may_have_happened());
    }
}
