//! Type `exec`: a program that says by its exit status whether all is well, as keepalived's `track_script`.

use std::time::Duration;

use tokio::sync::watch;

use crate::config::{Run, format_duration};
use crate::handlers::process::{self, End, Ended};
use crate::health::errand::Errand;

/// What the end of a program may take after its time is over.
pub(super) const SLACK: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(in crate::health) struct Exec {
    run: Run,
    errand: Errand<Ended>,
    /// Nothing is ever said by it: when the thread ends, what runs is killed as it is dropped.
    stopping: watch::Sender<bool>,
}

impl Exec {
    pub(super) fn new(run: Run) -> Self {
        Self { run, errand: Errand::default(), stopping: watch::Sender::new(false) }
    }

    /// Ends by itself when `limit` is over, unless the kernel does not let it.
    pub(super) async fn run(&mut self, limit: Duration) -> Result<(), String> {
        let (run, mut stopping) = (self.run.clone(), self.stopping.subscribe());
        let begin = || async move { process::run(&run, &[], &[], limit, &mut stopping).await };
        let Ended { how, output, errors } = self.errand.run(begin).await;
        match how {
            End::Exited(status) if status.success() => Ok(()),
            End::Exited(status) => {
                let said = [errors.first_lines(), output.first_lines()];
                let said = said.into_iter().find(|text| !text.is_empty());
                Err(said.map_or_else(|| status.to_string(), |text| format!("{status}: {text}")))
            }
            End::NotStarted(error) => Err(format!("cannot be run: {error}")),
            End::TimedOut => Err(format!("killed after {}, its timeout", format_duration(limit))),
            End::Stopped => Err("killed, as the daemon ends".to_owned()),
        }
    }
}
