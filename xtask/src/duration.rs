//! Durations: on the command line, in the form of the configuration, and as figures.

use std::time::Duration;

/// Reads a whole number and its unit, as in "10ms".
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| format!("{text:?} does not begin with a whole number"))?;
    match &text[digits.len()..] {
        "us" => Ok(Duration::from_micros(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        unit => Err(format!("{unit:?} is not one of the units us, ms, s")),
    }
}

/// For figures.
pub(crate) fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_its_unit() {
        assert_eq!(parse("10ms"), Ok(Duration::from_millis(10)));
        assert_eq!(parse("500us"), Ok(Duration::from_micros(500)));
        for wrong in ["10", "ms", "1.5ms", "-1ms", "10 ms", "10min"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
