//! How much may be logged from one place of the program: other machines, clients and handlers can cause many of its lines, and
//! must not fill a disk by that, or hide what matters.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::clock;
use crate::pace::Budget;

/// Lines that one place may write in a second in the long run, and at once: when a hundred nodes come, each is told of.
const PER_SECOND: u32 = 5;
const AT_ONCE: u32 = 200;

/// What was said by each place.
static SITES: LazyLock<Mutex<HashMap<Identifier, Site>>> = LazyLock::new(Mutex::default);

/// Lines that were kept back since the daemon started.
static ALL_SUPPRESSED: AtomicU64 = AtomicU64::new(0);

struct Site {
    budget: Budget,
    /// Where it is, as `vip_user::daemon:12`.
    place: String,
    /// Lines that were kept back and not yet told of.
    suppressed: u64,
}

impl Site {
    fn of(metadata: &Metadata<'_>) -> Self {
        let place = format!("{}:{}", metadata.target(), metadata.line().unwrap_or(0));
        Self { budget: Budget::per_second(PER_SECOND).with_at_once(AT_ONCE), place, suppressed: 0 }
    }

    fn allows(&mut self, now: u64) -> bool {
        let fits = self.budget.take(now);
        self.suppressed += u64::from(!fits);
        ALL_SUPPRESSED.fetch_add(u64::from(!fits), Ordering::Relaxed);
        fits
    }
}

/// Keeps back what is too much, of level `info` and above: whoever asks for `debug` wants all of it.
#[derive(Debug, Default)]
pub(super) struct Flood(());

impl<S: Subscriber> Layer<S> for Flood {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        *metadata.level() > Level::INFO
            || sites().entry(metadata.callsite()).or_insert_with(|| Site::of(metadata)).allows(clock::now())
    }
}

/// How many lines were kept back since the daemon started.
pub(super) fn all_suppressed() -> u64 {
    ALL_SUPPRESSED.load(Ordering::Relaxed)
}

/// How many lines each place was kept from writing since this was asked last, if any.
pub(super) fn suppressed() -> BTreeMap<String, u64> {
    let mut sites = sites();
    let kept_back = sites.values_mut().filter(|site| site.suppressed > 0);
    kept_back.map(|site| (site.place.clone(), mem::take(&mut site.suppressed))).collect()
}

fn sites() -> MutexGuard<'static, HashMap<Identifier, Site>> {
    SITES.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{Registry, registry::LookupSpan};

    use super::*;

    /// Counts what comes through.
    struct Count(&'static AtomicU64);

    impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_flood_from_one_place_is_cut_and_counted_and_leaves_others_alone() {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let passed = || COUNT.swap(0, Ordering::Relaxed);
        with_default(Registry::default().with(Count(&COUNT)).with(Flood::default()), || {
            for number in 0..1000 {
                tracing::info!("line {number}");
            }
            // However slow this machine is, it does not take as long as so many lines may.
            let flood = passed();
            assert!((200..600).contains(&flood), "{flood}");
            tracing::info!("another place");
            assert_eq!(passed(), 1);
            let suppressed: u64 = suppressed()
                .into_iter()
                .filter(|(place, _)| place.contains("flood"))
                .map(|(_, count)| count)
                .sum();
            assert_eq!(suppressed, 1000 - flood);
            for number in 0..1000 {
                tracing::debug!("line {number}");
            }
            assert_eq!(passed(), 1000);
        });
    }
}
