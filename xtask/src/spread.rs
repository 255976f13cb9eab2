//! Repeated measurements in three numbers: the median, and what lies at the ends or half-way to them.

use serde::Serialize;

/// Median, least and largest of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// All zero without values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let [min, _, median, _, max] = quarters(values);
        Self { median, min, max }
    }
}

/// Median and quartiles of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quartiles {
    pub(crate) lower: f64,
    pub(crate) median: f64,
    pub(crate) upper: f64,
}

impl Quartiles {
    /// All zero without values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let [_, lower, median, upper, _] = quarters(values);
        Self { lower, median, upper }
    }
}

/// What lies at the ends of the ordered values, and at each quarter between; on the line between two values, where it is none
/// of them.
fn quarters(values: impl IntoIterator<Item = f64>) -> [f64; 5] {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    let last = values.len().saturating_sub(1);
    std::array::from_fn(|quarter| {
        let (index, quarters_beyond) = (quarter * last / 4, quarter * last % 4);
        let beyond = quarters_beyond as f64 / 4.0;
        at(index) * (1.0 - beyond) + at((index + 1).min(last)) * beyond
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_there() {
        assert_eq!(Spread::of([3.0, 1.0, 8.0]), Spread { median: 3.0, min: 1.0, max: 8.0 });
        assert_eq!(Spread::of([4.0, 1.0]).median, 2.5);
        assert_eq!(Spread::of([7.0]).median, 7.0);
        assert_eq!(Spread::of([]).median, 0.0);
    }

    /// Expected: as R has it by default (its type 7).
    #[test]
    fn quartiles_are_half_way_to_the_ends() {
        assert_eq!(
            Quartiles::of([5.0, 1.0, 3.0, 2.0, 4.0]),
            Quartiles { lower: 2.0, median: 3.0, upper: 4.0 }
        );
        assert_eq!(Quartiles::of([1.0, 2.0]), Quartiles { lower: 1.25, median: 1.5, upper: 1.75 });
        assert_eq!(Quartiles::of([7.0]), Quartiles { lower: 7.0, median: 7.0, upper: 7.0 });
    }
}
