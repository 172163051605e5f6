//! How the budget was used over time: the ledger, kept along the records and looked at four hundred times. Records flow
//! in, points flow out.

use super::model_measure::CurvePoint;
use crate::core::event::Record;
use crate::core::ledger::Ledger;
use crate::core::time::At;

/// Most points.
const MAX_POINTS: u64 = 400;

/// The points, the first at the start and the last at the end of the record. Between two points nothing changed, or it
/// changed too soon to be shown.
pub(super) fn curve(records: &[Record]) -> Vec<CurvePoint> {
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return Vec::new() };
    let step = last.at.elapsed_ms.saturating_sub(first.at.elapsed_ms) / (MAX_POINTS - 2) + 1;
    let bucket = |record: &Record| record.at.elapsed_ms.saturating_sub(first.at.elapsed_ms) / step;
    let mut ledger = Ledger::default();
    let mut points = vec![point(first.at, &ledger)];
    for (i, record) in records.iter().enumerate() {
        ledger.take(&record.event);
        let next = records.get(i + 1);
        if next.is_some_and(|next| bucket(next) == bucket(record)) {
            continue;
        }
        let now = point(record.at, &ledger);
        if next.is_none() || points.last().is_none_or(|was| bare(*was) != bare(now)) {
            points.push(now);
        }
    }
    points
}

fn bare(point: CurvePoint) -> CurvePoint {
    CurvePoint { elapsed_ms: 0, wall_ms: 0, ..point }
}

fn point(at: At, ledger: &Ledger) -> CurvePoint {
    let (used, committed) = (ledger.used(), ledger.committed());
    CurvePoint {
        elapsed_ms: at.elapsed_ms,
        wall_ms: at.wall_ms,
        tokens: used.tokens,
        api_calls: used.api_calls,
        cost_microusd: used.cost_microusd,
        reserved_tokens: committed.tokens.saturating_sub(used.tokens),
        reserved_api_calls: committed.api_calls.saturating_sub(used.api_calls),
        reserved_cost_microusd: committed.cost_microusd.saturating_sub(used.cost_microusd),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::core::{Event, replay};

    #[test]
    fn at_every_record_the_curve_ends_where_the_ledger_stands() {
        let records = testing::journal();
        for end in 1..=records.len() {
            let state = replay(&records[..end]).expect("legal");
            assert_eq!(curve(&records[..end]).last(), Some(&point(state.at, &state.ledger)), "{end} records");
        }
    }

    #[test]
    fn it_begins_at_the_start_never_falls_and_is_bounded() {
        let mut records = testing::journal();
        let (at, beat) = (records[40].at, records.len() as u64);
        let beats = (0..5_000).map(|i| {
            let at = At { elapsed_ms: at.elapsed_ms + i * 7, wall_ms: at.wall_ms };
            let usage = crate::core::Usage { input_tokens: i, ..crate::core::Usage::default() };
            Record { seq: beat + i, at, event: Event::UsageReported { task: "T-002".into(), attempt: 2, usage } }
        });
        records.extend(beats.collect::<Vec<_>>());
        records.sort_by_key(|r| r.at.elapsed_ms);
        let points = curve(&records);
        assert!(points.len() as u64 <= MAX_POINTS && points.len() > 10, "{}", points.len());
        assert_eq!((points[0].elapsed_ms, points[0].tokens), (0, 0));
        assert!(points.windows(2).all(|p| p[0].elapsed_ms <= p[1].elapsed_ms && p[0].tokens <= p[1].tokens));
    }
}
