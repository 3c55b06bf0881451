//! Median and quantiles.

use std::time::Duration;

/// The median, or NaN of no values.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

/// The quantile `share` (0 to 1) of the `sorted` times, in milliseconds.
pub(crate) fn quantile(sorted: &[Duration], share: f64) -> f64 {
    debug_assert!(sorted.is_sorted(), "quantiles need sorted times");
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}
