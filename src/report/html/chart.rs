//! What the drawings share: places on an axis and its ticks. Amounts flow in, whole units of a drawing flow out;
//! integers only, so that the same report gives the same bytes everywhere.

use super::super::format::duration;

/// Steps between ticks of time, milliseconds.
const TIME_STEPS: [u64; 24] = [
    1, 5, 10, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000,
    1_200_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000, 28_800_000, 86_400_000,
];

/// A line from 0 to `max`, drawn from `from` on `length` units long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) max: u64,
    pub(super) from: u32,
    pub(super) length: u32,
}

impl Axis {
    /// Where an amount lies; what lies beyond the end lies at the end.
    pub(super) fn at(&self, amount: u64) -> u32 {
        let share = u128::from(amount.min(self.max)) * u128::from(self.length) / u128::from(self.max.max(1));
        self.from + u32::try_from(share).unwrap_or(self.length)
    }

    /// The same for an axis that goes up: 0 is at its bottom.
    pub(super) fn up(&self, amount: u64) -> u32 {
        self.from + self.length - (self.at(amount) - self.from)
    }

    /// Moments to write at, each with its words: at most nine.
    pub(super) fn times(&self) -> Vec<(u32, String)> {
        let step = TIME_STEPS.into_iter().find(|step| self.max / step <= 8);
        let step = step.unwrap_or_else(|| (self.max / 8).max(1));
        (0..=self.max / step).map(|n| (self.at(n * step), time(n * step))).collect()
    }
}

/// A moment on an axis: `0`, `40 s`, `2 min`, `1 h 30 min`.
fn time(ms: u64) -> String {
    match ms {
        0 => "0".to_owned(),
        60_000.. if ms.is_multiple_of(60_000) => {
            let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
            match (hours, minutes) {
                (0, minutes) => format!("{minutes} min"),
                (hours, 0) => format!("{hours} h"),
                (hours, minutes) => format!("{hours} h {minutes} min"),
            }
        }
        1_000.. if ms.is_multiple_of(1_000) => format!("{} s", ms / 1_000),
        _ => duration(ms),
    }
}

/// Amounts to write at on an axis up to `max`, from 0: at most five, in steps of 1, 2 or 5 times a power of ten.
pub(super) fn amounts(max: u64) -> Vec<u64> {
    let mut step: u64 = 1;
    for factor in [2, 5, 10].into_iter().cycle() {
        if max / step <= 4 {
            break;
        }
        let power = if factor == 2 {
            step
        } else if factor == 5 {
            step / 2
        } else {
            step / 5
        };
        step = power.saturating_mul(factor);
    }
    (0..=max / step).map(|n| n * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_lies_where_its_share_of_the_axis_is() {
        let axis = Axis { max: 200, from: 10, length: 100 };
        assert_eq!([0, 50, 200, 999].map(|n| axis.at(n)), [10, 35, 110, 110]);
        assert_eq!([0, 50, 200].map(|n| axis.up(n)), [110, 85, 10]);
        assert_eq!(Axis { max: 0, from: 10, length: 100 }.at(5), 10);
        assert_eq!(Axis { max: u64::MAX, from: 0, length: 100 }.at(u64::MAX), 100);
    }

    #[test]
    fn ticks_of_time_are_few_and_round() {
        let words = |max| Axis { max, from: 0, length: 100 }.times().into_iter().map(|(_, w)| w).collect::<Vec<_>>();
        assert_eq!(words(40_000), ["0", "5 s", "10 s", "15 s", "20 s", "25 s", "30 s", "35 s", "40 s"]);
        assert_eq!(words(5_400_000), ["0", "20 min", "40 min", "1 h", "1 h 20 min"]);
        assert_eq!(words(0), ["0"]);
        assert!((0..64).all(|bits| words(1 << bits).len() <= 9));
    }

    #[test]
    fn ticks_of_amounts_are_few_and_round() {
        assert_eq!(amounts(100), [0, 50, 100]);
        assert_eq!(amounts(1_000_000), [0, 500_000, 1_000_000]);
        assert_eq!(amounts(37), [0, 10, 20, 30]);
        assert_eq!(amounts(0), [0]);
        assert!(amounts(u64::MAX).len() <= 5);
    }
}
