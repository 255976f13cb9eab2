//! Durations as they are written in the configuration: a whole number and a unit.

use std::time::Duration;

/// Reads "500us", "10ms", "5s", "1m" or "24h".
///
/// # Errors
/// Says what is wrong with `text`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let duration = number.parse::<u64>().ok().and_then(|number| match unit {
        "us" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    });
    duration.ok_or_else(|| {
        format!("{text:?} is not a duration; write a whole number and us, ms, s, m or h, as in \"10ms\"")
    })
}

/// Writes a duration as the configuration does, in the largest unit that keeps it a whole number.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0 => "0s".to_owned(),
        _ if micros.is_multiple_of(3_600_000_000) => format!("{}h", micros / 3_600_000_000),
        _ if micros.is_multiple_of(60_000_000) => format!("{}m", micros / 60_000_000),
        _ if micros.is_multiple_of(1_000_000) => format!("{}s", micros / 1_000_000),
        _ if micros.is_multiple_of(1_000) => format!("{}ms", micros / 1_000),
        _ => format!("{micros}us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_written_back_alike() {
        let cases = [
            ("500us", Duration::from_micros(500)),
            ("10ms", Duration::from_millis(10)),
            ("5s", Duration::from_secs(5)),
            ("1m", Duration::from_secs(60)),
            ("24h", Duration::from_secs(86_400)),
            ("90m", Duration::from_secs(5_400)),
            ("0s", Duration::ZERO),
        ];
        for (text, duration) in cases {
            assert_eq!(parse_duration(text).unwrap(), duration);
            assert_eq!(format_duration(duration), text);
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in ["", "10", "ms", "1.5s", "-1s", "+1s", "10 ms", "10d", "99999999999999999999s", "10ms "] {
            let why = parse_duration(text).unwrap_err();
            assert!(why.contains(&format!("{text:?}")) && why.contains("\"10ms\""), "{why}");
        }
        assert!(parse_duration(&format!("{}m", u64::MAX)).is_err(), "an overflow is refused");
    }
}
