//! Something that cannot be broken off, as a look at a disk that does not answer: one at a time, whoever gives up waiting.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// At most one future at a time, which outlives those who wait for it.
pub(super) struct Errand<T>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T> Default for Errand<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Errand<T> {
    /// Begins and waits for it. If a former one is still under way, its end is waited for first, and what it gives is not
    /// wanted any more. May be cancelled: what was begun goes on when this is called the next time.
    pub(super) async fn run<F>(&mut self, begin: impl FnOnce() -> F) -> T
    where
        F: Future<Output = T> + Send + 'static,
    {
        if let Some(former) = &mut self.0 {
            former.await;
            self.0 = None;
        }
        let outcome = self.0.insert(Box::pin(begin())).await;
        self.0 = None;
        outcome
    }
}

impl<T> fmt::Debug for Errand<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Errand").field(&self.0.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn what_hangs_is_begun_once_and_its_late_outcome_is_not_taken_for_the_next_one() {
        let mut errand = Errand::default();
        let (late, hangs) = oneshot::channel();
        let moment = Duration::from_millis(1);
        assert!(timeout(moment, errand.run(|| async { hangs.await.unwrap() })).await.is_err());
        let never = || async { panic!("begun beside the one that hangs") };
        assert!(timeout(moment, errand.run(never)).await.is_err());
        late.send(1).unwrap();
        assert_eq!(errand.run(|| async { 2 }).await, 2);
    }
}
