//! Percentiles and medians of what was measured.

/// The smallest value that at least `percent` of all values do not exceed; 0 of nothing.
pub(crate) fn percentile(values: &mut [u64], percent: f64) -> u64 {
    values.sort_unstable();
    let rank = (values.len() as f64 * percent / 100.0).ceil() as usize;
    values.get(rank.clamp(1, values.len().max(1)) - 1).copied().unwrap_or(0)
}

/// The middle, or the mean of the two middle ones; not a number of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.get(middle.wrapping_sub(1))) {
        (Some(high), Some(low)) if sorted.len().is_multiple_of(2) => (low + high) / 2.0,
        (Some(only), _) => *only,
        (None, _) => f64::NAN,
    }
}

/// The median of what each round says by itself: what slows a machine down for
/// a while slows both sides of a round.
pub(crate) fn median_ratio(over: &[f64], under: &[f64]) -> f64 {
    let ratios: Vec<f64> = over.iter().zip(under).map(|(a, b)| a / b).collect();
    median(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let check = |values: &[u64], percent, expected| assert_eq!(percentile(&mut values.to_vec(), percent), expected);
        let hundred: Vec<u64> = (1..=100).rev().collect();
        check(&hundred, 50.0, 50);
        check(&hundred, 99.0, 99);
        check(&hundred, 100.0, 100);
        check(&hundred, 0.0, 1);
        check(&[7], 99.0, 7);
        check(&[1, 9], 50.0, 1);
        check(&[1, 9], 50.1, 9);
        check(&[], 50.0, 0);
    }

    #[test]
    fn the_median_of_even_and_odd() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_slow_round_is_slow_on_both_sides() {
        assert_eq!(median_ratio(&[90.0, 9.0, 45.0], &[100.0, 10.0, 50.0]), 0.9);
    }
}
