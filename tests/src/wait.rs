//! Waiting for a condition instead of sleeping for a time.

use std::{fmt::Debug, thread, time::Duration};

use anyhow::{Result, bail};

use crate::{clock::Stamp, interrupt, machine::slowness};

/// Between two looks: short against what is awaited, long against what a look costs.
const POLL: Duration = Duration::from_millis(5);
/// For looks that start programs; longer on an emulated machine.
const CALM_POLL: Duration = Duration::from_millis(50);

/// Looks until `look` gives a value, and hands that out.
///
/// `Ok(None)` means not yet. An error of `look` means not yet, too: the thing may still be coming up. The last one
/// goes into the error when `timeout` is over, behind `what`, which says what was awaited ("a holder").
pub fn until<T>(what: &str, timeout: Duration, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    poll(what, timeout, POLL, interrupt::check, look)
}

/// As [`until`], looking less often: for a look that takes the machine's time from what it looks at.
pub fn until_calmly<T>(what: &str, timeout: Duration, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    poll(what, timeout, CALM_POLL * slowness(), interrupt::check, look)
}

/// As [`until`], for what has to be done after an interrupt as well: cleaning up.
pub fn until_even_if_interrupted<T>(
    what: &str,
    timeout: Duration,
    look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    poll(what, timeout, POLL, || Ok(()), look)
}

/// Looks until `look` gives `wanted`; the error shows the last value that it gave instead.
pub fn until_equal<T: PartialEq + Debug>(
    what: &str,
    timeout: Duration,
    wanted: &T,
    mut look: impl FnMut() -> Result<T>,
) -> Result<()> {
    until(what, timeout, || {
        let value = look()?;
        if value == *wanted {
            return Ok(Some(()));
        }
        bail!("{value:?} instead of {wanted:?}")
    })
}

fn poll<T>(
    what: &str,
    timeout: Duration,
    period: Duration,
    may_go_on: impl Fn() -> Result<()>,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Stamp::now() + timeout;
    loop {
        may_go_on()?;
        let seen = match look() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => "not yet".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if Stamp::now() >= end {
            bail!("waited {timeout:?} in vain for {what}; last seen: {seen}");
        }
        thread::sleep(period);
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_wait_in_vain_says_for_what_and_what_it_saw_last() {
        let error = until("the moon", Duration::ZERO, || Err::<Option<()>, _>(anyhow!("only clouds")));
        let text = error.unwrap_err().to_string();
        assert!(text.contains("the moon") && text.contains("only clouds"), "{text}");

        let error = until_equal("the count", Duration::ZERO, &3, || Ok(2)).unwrap_err().to_string();
        assert!(error.contains("2 instead of 3"), "{error}");
    }

    #[test]
    fn an_error_on_the_way_is_not_the_end() {
        let mut looks = 0;
        let value = until("the third look", Duration::from_secs(10), || {
            looks += 1;
            if looks < 3 { Err(anyhow!("too early")) } else { Ok(Some(looks)) }
        });
        assert_eq!(value.unwrap(), 3);
    }
}
