//! What a count of rare events supports.

/// Of the bounds here.
pub(super) const CONFIDENCE: f64 = 0.95;

/// The largest mean of a Poisson distribution under which so few events, `count` or less, are still seen in one case of
/// twenty (Garwood 1936). For none it is 3.0: the rule of three.
pub(super) fn upper_bound(count: u64) -> f64 {
    // Larger than any bound of that count: the mean is exceeded by less than five deviations and some.
    let (mut low, mut high) = (0.0, count as f64 + 5.0 * (count as f64).sqrt() + 10.0);
    // Halved until both are the same number.
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if at_most(count, middle) > 1.0 - CONFIDENCE {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The probability of `count` events or less, where `mean` are expected. Term by term in logarithms, as the terms of a
/// large mean are too small for numbers.
fn at_most(count: u64, mean: f64) -> f64 {
    let mut logarithm = -mean;
    let mut sum = logarithm.exp();
    for events in 1..=count {
        logarithm += mean.ln() - (events as f64).ln();
        sum += logarithm.exp();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected: half of the 95 % quantile of the chi-squared distribution with 2 (count + 1) degrees of freedom, as
    /// tables have it.
    #[test]
    fn bounds_are_those_of_the_tables() {
        for (count, bound) in
            [(0, 2.9957), (1, 4.7439), (2, 6.2958), (5, 10.5130), (10, 16.9622), (100, 118.08)]
        {
            let found = upper_bound(count);
            assert!((found - bound).abs() < bound * 1e-4, "{count}: {found} and not {bound}");
        }
    }
}
