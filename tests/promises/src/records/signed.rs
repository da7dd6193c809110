//! How long it takes from an acknowledgement until a signed checkpoint has the record under it.

use super::seat::Acked;
use plinth_tests::Client;
use std::time::{Duration, Instant};
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

const LOOK: Duration = Duration::from_millis(50);
/// Around a fault nothing is measured: what was acknowledged just before it may be signed after it.
const BEFORE: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_secs(1);
const AIM: f64 = 2.0;

/// Looks at the newest checkpoint again and again.
pub(super) struct Watch {
    stop: CancellationToken,
    looking: JoinSet<Seen>,
}

/// When a checkpoint of which size was first seen; both rise.
#[derive(Default)]
pub(super) struct Seen(Vec<(Instant, u64)>);

pub(super) struct Lag {
    /// Seconds.
    pub(super) p99: f64,
    /// Records that took longer than is promised.
    pub(super) over: usize,
    pub(super) measured: usize,
}

impl Watch {
    pub(super) fn start(clients: Vec<watch::Receiver<Option<Client>>>) -> Self {
        let stop = CancellationToken::new();
        let mut looking = JoinSet::new();
        looking.spawn(look(clients, stop.clone()));
        Self { stop, looking }
    }

    pub(super) async fn stop(mut self) -> Seen {
        self.stop.cancel();
        let seen: Option<Result<Seen, JoinError>> = self.looking.join_next().await;
        seen.and_then(Result::ok).unwrap_or_default()
    }
}

/// The last look is after it was told to stop: by then all is signed.
async fn look(clients: Vec<watch::Receiver<Option<Client>>>, stop: CancellationToken) -> Seen {
    let mut seen = Seen::default();
    let mut looks = tokio::time::interval(LOOK);
    loop {
        let last = stop.run_until_cancelled(looks.tick()).await.is_none();
        let there = clients.iter().find_map(|client| client.borrow().clone());
        if let Some(client) = there
            && let Some(size) = size(&client).await
            && seen.0.last().is_none_or(|(_, known)| *known < size)
        {
            seen.0.push((Instant::now(), size));
        }
        if last {
            return seen;
        }
    }
}

/// The second line of the checkpoint.
async fn size(client: &Client) -> Option<u64> {
    let request = client.request(reqwest::Method::GET, "/v1/audit/log/0/checkpoint").timeout(Duration::from_secs(2));
    let answer = client.try_send(request).await.ok().filter(|answer| answer.status == 200)?;
    answer.text().lines().nth(1)?.parse().ok()
}

impl Seen {
    pub(super) fn lag(&self, acked: &[Acked], faults: &[(Instant, Instant)]) -> Lag {
        let quiet = |at: Instant| faults.iter().all(|(from, to)| at + BEFORE < *from || at > *to + AFTER);
        let lag = |one: &Acked| {
            let first = self.0.partition_point(|(_, size)| *size <= one.sequence);
            let signed = self.0.get(first).map(|(at, _)| at.saturating_duration_since(one.at));
            signed.map_or(f64::INFINITY, |lag| lag.as_secs_f64())
        };
        let mut lags: Vec<f64> = acked.iter().filter(|one| quiet(one.at)).map(lag).collect();
        lags.sort_unstable_by(f64::total_cmp);
        let p99 = lags.get((lags.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(f64::INFINITY);
        Lag { p99, over: lags.iter().filter(|lag| **lag > AIM).count(), measured: lags.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_to_the_first_checkpoint_that_has_the_record() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let seen = Seen(vec![(at(1_000), 10), (at(2_000), 20)]);
        let acked = |ms, sequence| Acked { subject: String::new(), sequence, at: at(ms) };
        let lag = seen.lag(&[acked(900, 9), acked(900, 10)], &[]);
        assert_eq!((lag.over, lag.measured), (0, 2));
        assert!((1.09..1.11).contains(&lag.p99), "{}", lag.p99);
        assert!(seen.lag(&[acked(900, 20)], &[]).p99.is_infinite(), "never signed is no lag of nothing");
        assert_eq!(seen.lag(&[acked(9_000, 10)], &[(at(5_000), at(8_500))]).measured, 0);
        assert!(seen.lag(&[], &[]).p99.is_infinite(), "nothing measured is not kept");
    }
}
