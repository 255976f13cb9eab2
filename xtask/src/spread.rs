//! Repeated measurements in five numbers.

use serde::Serialize;

/// Median, quartiles, least and largest of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    /// A quarter of the values is below it, and a quarter above `upper`.
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// All zero without values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let quantile = |quarters| quantile(&values, quarters);
        let [min, lower, median, upper, max] = [0, 1, 2, 3, 4].map(quantile);
        Self { median, lower, upper, min, max }
    }
}

/// The value so many quarters of the way from the first to the last; between two, in proportion.
fn quantile(sorted: &[f64], quarters: usize) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let (index, rest) = (last * quarters / 4, last * quarters % 4);
    let next = sorted[last.min(index + 1)];
    sorted[index] + (next - sorted[index]) * rest as f64 / 4.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_there() {
        assert_eq!(Spread::of([3.0, 1.0, 8.0]).median, 3.0);
        assert_eq!(Spread::of([4.0, 1.0]).median, 2.5);
        assert_eq!(Spread::of([7.0]).median, 7.0);
        assert_eq!(Spread::of([]).median, 0.0);
    }

    #[test]
    fn quartiles_cut_off_a_quarter_at_each_end() {
        let spread = Spread::of([5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!(spread, Spread { median: 3.0, lower: 2.0, upper: 4.0, min: 1.0, max: 5.0 });
        assert_eq!(Spread::of([1.0, 2.0]).lower, 1.25);
    }
}
