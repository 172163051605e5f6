//! How many input tokens a request can take. In: what it carries, and what calls of this run really took. Out: an upper
//! bound, before anybody has counted.
//!
//! A token of text is at least a byte long, so the ratio of tokens to bytes starts at one half, follows what large
//! bodies took, and never goes above one. What an API adds to a body (instructions for tools, results of tools that it
//! runs itself) shows in small ones; it is learned apart, as a number of tokens, or one short question would make every
//! long one look as dense as itself.

use std::sync::atomic::{AtomicU64, Ordering};

use super::input::Media;
use crate::core::Usage;

/// Parts of a token in which the ratio is counted.
const PARTS: u64 = 1_000_000;
/// Tokens a byte at first, in parts: half a token.
const FIRST_RATIO: u64 = PARTS / 2;
/// The least body that says something about the ratio, bytes: in smaller ones it drowns in what the API adds.
const TELLING_BYTES: u64 = 16 << 10;
/// Most that is learned of what an API adds, tokens.
const MAX_EXTRA: u64 = 32_000;

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// Bytes that can be read as text: all of the body but its media.
    text_bytes: u64,
    /// Bound of what its media take, tokens.
    media_tokens: u64,
}

impl Load {
    /// A body of so many bytes, its media among them.
    pub(super) const fn new(body_bytes: u64, media: Media) -> Self {
        Self { text_bytes: body_bytes.saturating_sub(media.bytes), media_tokens: media.tokens }
    }
}

/// What was learned so far; it only grows.
pub(super) struct Bound {
    /// Tokens for a byte of text, in parts.
    ratio: AtomicU64,
    /// Tokens that an API adds to a request.
    extra: AtomicU64,
}

impl Default for Bound {
    fn default() -> Self {
        Self { ratio: AtomicU64::new(FIRST_RATIO), extra: AtomicU64::new(0) }
    }
}

impl Bound {
    /// Upper bound of the input tokens of a request.
    pub(super) fn of(&self, load: Load) -> u64 {
        self.carried(load).saturating_add(self.extra.load(Ordering::Relaxed))
    }

    /// Remembers what a call took. Estimates teach nothing.
    pub(super) fn learn(&self, load: Load, usage: &Usage) {
        if usage.estimated_tokens > 0 {
            return;
        }
        if load.media_tokens == 0 && load.text_bytes >= TELLING_BYTES {
            let parts = u128::from(usage.input_tokens) * u128::from(PARTS);
            let ratio = u64::try_from(parts.div_ceil(u128::from(load.text_bytes))).unwrap_or(PARTS);
            self.ratio.fetch_max(ratio.min(PARTS), Ordering::Relaxed);
        }
        let extra = usage.input_tokens.saturating_sub(self.carried(load));
        self.extra.fetch_max(extra.min(MAX_EXTRA), Ordering::Relaxed);
    }

    fn carried(&self, load: Load) -> u64 {
        let parts = u128::from(load.text_bytes) * u128::from(self.ratio.load(Ordering::Relaxed));
        u64::try_from(parts.div_ceil(u128::from(PARTS))).unwrap_or(u64::MAX).saturating_add(load.media_tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: u64) -> Load {
        Load::new(bytes, Media::default())
    }

    fn took(input_tokens: u64) -> Usage {
        Usage { input_tokens, ..Usage::default() }
    }

    /// The bound of so much text after one call.
    #[track_caller]
    fn check(learned: Load, input_tokens: u64, bytes: u64, expected: u64) {
        let bound = Bound::default();
        bound.learn(learned, &took(input_tokens));
        assert_eq!(bound.of(text(bytes)), expected, "{learned:?} {input_tokens}");
    }

    #[test]
    fn half_a_token_for_each_byte_at_first() {
        assert_eq!(Bound::default().of(text(2001)), 1001);
    }

    #[test]
    fn a_large_body_teaches_the_ratio_which_never_goes_above_one() {
        check(text(20_000), 15_000, 100_000, 75_000);
        check(text(20_000), 4000, 100_000, 50_000);
        check(text(20_000), 22_000, 100_000, 102_000);
        check(text(20_000), u64::MAX, 100_000, 132_000);
    }

    #[test]
    fn a_small_body_teaches_what_is_added_and_not_the_ratio() {
        check(text(1600), 20_000, 260_000, 130_000 + 19_200);
        check(text(1600), 900, 260_000, 130_000 + 100);
        check(text(1600), u64::MAX, 260_000, 130_000 + MAX_EXTRA);
    }

    #[test]
    fn media_count_as_their_bound_and_teach_no_ratio() {
        let with_image = Load::new(420_000, Media { bytes: 400_000, tokens: 16_000 });
        assert_eq!(Bound::default().of(with_image), 10_000 + 16_000);
        check(with_image, 27_000, 260_000, 130_000 + 1000);
    }

    #[test]
    fn estimates_teach_nothing() {
        let bound = Bound::default();
        bound.learn(text(20_000), &Usage { estimated_tokens: 1, ..took(20_000) });
        assert_eq!(bound.of(text(20_000)), 10_000);
    }

    #[test]
    fn what_a_call_took_is_within_the_bound_of_the_next_one_like_it() {
        for (bytes, input_tokens) in [(80, 1000), (16_384, 16_384), (50_000, 60_000), (1_000_000, 300_000)] {
            let bound = Bound::default();
            bound.learn(text(bytes), &took(input_tokens));
            assert!(bound.of(text(bytes)) >= input_tokens, "{bytes} {input_tokens}");
        }
    }
}
