//! Log output of the process: to standard error, as text or JSON lines, by a thread that alone waits for its reader.

use crate::config::LogConfig;
use plinth_capability::metrics::{Family, MetricKind, Metrics};
use std::{io::IsTerminal, time::Duration};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// Lines that wait for a slow reader; those after them are lost and counted.
const LINES_WAITING_MAX: usize = 16_384;
const LOOK_EVERY: Duration = Duration::from_secs(5);

static LOST: Family = Family {
    name: "plinth_log_lines_lost_total",
    help: "Log lines of the host that were not written, because its standard error was read too slowly.",
    kind: MetricKind::Counter,
    labels: &[],
    buckets: &[],
};

/// Dropping it writes what still waits, for at most a second.
pub(crate) struct Log {
    _writer: WorkerGuard,
    lost: ErrorCounter,
}

/// Only the first call in a process has an effect; tests start many hosts.
///
/// A line costs the thread that logs a copy into a queue, never a wait: threads
/// that answer requests log too, and a pipe that nobody empties, or a disk that
/// is busy, would hold up every request on them.
pub(crate) fn init(config: &LogConfig) -> Result<Log, String> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|e| format!("log.filter `{}`: {e}", config.filter))?;
    let (writer, guard) = to(std::io::stderr());
    let log = Log { _writer: guard, lost: writer.error_counter() };
    let registry = tracing_subscriber::registry().with(filter);
    let done = if config.json {
        registry.with(fmt::layer().json().with_writer(writer)).try_init()
    } else {
        registry.with(fmt::layer().with_writer(writer).with_ansi(std::io::stderr().is_terminal())).try_init()
    };
    if done.is_err() {
        tracing::debug!("the log was set up before");
    }
    Ok(log)
}

fn to(out: impl std::io::Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().buffered_lines_limit(LINES_WAITING_MAX).lossy(true).thread_name("plinth-log").finish(out)
}

impl Log {
    /// Counts what is lost, and says so once it can be heard again. Never ends.
    pub(crate) async fn watch(&self, metrics: &dyn Metrics) {
        let (counter, mut told) = (metrics.instrument(&LOST, &[]), 0);
        let mut due = tokio::time::interval(LOOK_EVERY);
        loop {
            due.tick().await;
            let lost = self.lost.dropped_lines();
            if lost > told {
                counter.add((lost - told) as f64);
                tracing::warn!(lines = lost - told, "log lines were lost: standard error is read more slowly than they come");
                told = lost;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write, sync::mpsc};

    /// Writes nothing until it is told to, and then tells what it wrote.
    struct Stuck {
        go: mpsc::Receiver<()>,
        wrote: mpsc::Sender<usize>,
    }

    impl Write for Stuck {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            let _ = self.go.recv();
            let _ = self.wrote.send(line.len());
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_logs_does_not_wait_for_who_reads() {
        let ((go, held), (wrote, written)) = (mpsc::channel(), mpsc::channel());
        let (mut writer, guard) = to(Stuck { go: held, wrote });
        let lines = LINES_WAITING_MAX + 1_000;
        // Would never end if one of them were waited for.
        for _ in 0..lines {
            assert_eq!(writer.write(b"line\n").unwrap(), 5);
        }
        let lost = writer.error_counter().dropped_lines();
        // One may be in the writer's hands beside those that wait.
        assert!((999..=1_000).contains(&lost), "{lost}");
        drop(go);
        drop(writer);
        drop(guard);
        assert_eq!(written.iter().count() + lost, lines, "what was not lost was written");
    }
}
