//! `plinth queue`: how full queues are, and what becomes of their dead letters, on a running host.

use super::{
    Complaint, Done, Remote, block_on,
    client::{DeadLetter, Depth, Purged, Queue, QueueList, Replayed},
};
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::Table;
use plinth_capability::now_ms;
use serde::Deserialize;
use serde_json::{Value, json};

/// Dead letters the host gives at a time.
const PAGE: usize = 1_000;

#[derive(Subcommand)]
pub(super) enum QueueCommand {
    /// Every queue and how full it is.
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// How full one queue is.
    Depth {
        queue: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Its dead letters and why they died, oldest first.
    Dead {
        queue: String,
        /// Show at most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Only those that died of this.
        #[arg(long)]
        reason: Option<Reason>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Put dead letters back into their queue, as if new.
    Replay {
        queue: String,
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        remote: Remote,
    },
    /// Forget dead letters for good.
    Purge {
        queue: String,
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        remote: Remote,
    },
}

/// Which dead letters: all, by id, or those that meet every condition given.
#[derive(Args)]
#[group(required = true, multiple = true)]
pub(super) struct Chosen {
    /// Every one.
    #[arg(long, conflicts_with_all = ["ids", "reason", "destination", "died_after", "died_before"])]
    all: bool,
    /// The one with this message id; may be given again.
    #[arg(long = "id", value_name = "ID", conflicts_with_all = ["reason", "destination", "died_after", "died_before"])]
    ids: Vec<String>,
    /// Those that died of this.
    #[arg(long)]
    reason: Option<Reason>,
    /// Those published to this topic or queue.
    #[arg(long)]
    destination: Option<String>,
    /// Those that died at this time or later: milliseconds since 1970, or so long ago: 90s, 30m, 2h, 7d.
    #[arg(long, value_name = "TIME", value_parser = time)]
    died_after: Option<u64>,
    /// Those that died before this time, given in the same way.
    #[arg(long, value_name = "TIME", value_parser = time)]
    died_before: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Reason {
    /// Its plugin said that trying again cannot help.
    Rejected,
    /// It was tried as often as its queue allows.
    AttemptsExhausted,
    /// Its time was up before it was delivered.
    Expired,
}

impl QueueCommand {
    pub(super) fn run(self) -> Done {
        match self {
            Self::List { remote } => {
                let list = block_on(async { Ok(remote.client()?.queues().await?) })?;
                remote.print(list, |list: QueueList| depths(&list.queues))
            }
            Self::Depth { queue, remote } => {
                let shown = block_on(async { Ok(remote.client()?.queue(&queue).await?) })?;
                remote.print(shown, |queue: Queue| depths(&[queue]))
            }
            Self::Dead { queue, limit, reason, remote } => {
                let letters = block_on(dead(&remote, &queue, limit, reason))?;
                remote.print(letters, |letters: Letters| table(&letters))
            }
            Self::Replay { queue, chosen, remote } => {
                let done = block_on(async { Ok(remote.client()?.replay(&queue, &chosen.selection()).await?) })?;
                remote.print(done, |done: Replayed| format!("{} put back into {queue}", letters(done.replayed)))
            }
            Self::Purge { queue, chosen, remote } => {
                let done = block_on(async { Ok(remote.client()?.purge(&queue, &chosen.selection()).await?) })?;
                remote.print(done, |done: Purged| format!("{} of {queue} forgotten", letters(done.purged)))
            }
        }
    }
}

impl Reason {
    fn code(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::AttemptsExhausted => "attempts-exhausted",
            Self::Expired => "expired",
        }
    }
}

impl Chosen {
    /// As the API takes it; the host says no to what these options let through.
    fn selection(&self) -> Value {
        let Self { all, ids, reason, destination, died_after, died_before } = self;
        if *all {
            return json!({ "all": true });
        }
        if !ids.is_empty() {
            return json!({ "ids": ids });
        }
        let reason = reason.map(Reason::code);
        json!({ "matching": { "reason": reason, "destination": destination, "died_after_ms": died_after, "died_before_ms": died_before } })
    }
}

/// Milliseconds since 1970, or how long ago with its unit.
fn time(text: &str) -> Result<u64, String> {
    let units = [("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let ago = units.iter().find_map(|(unit, ms)| Some((text.strip_suffix(*unit)?, *ms)));
    let number =
        |text: &str| text.parse::<u64>().map_err(|_| "give milliseconds since 1970, or so long ago as 90s, 30m, 2h or 7d".to_owned());
    match ago {
        Some((count, ms)) => Ok(now_ms().saturating_sub(number(count)?.saturating_mul(ms))),
        None => number(text),
    }
}

#[derive(Deserialize)]
struct Letters {
    dead_letters: Vec<DeadLetter>,
    /// There may be more than are shown.
    more: bool,
}

/// Page by page until there are enough; the host does not choose by reason.
async fn dead(remote: &Remote, queue: &str, limit: usize, reason: Option<Reason>) -> Result<Value, Complaint> {
    let client = remote.client()?;
    let reason = reason.map(Reason::code);
    let asked_for = |letter: &Value| reason.is_none() || letter.get("reason").and_then(Value::as_str) == reason;
    let (mut found, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let most = if reason.is_some() { PAGE } else { PAGE.min(limit.saturating_sub(found.len())).max(1) };
        let page = client.dead_letters(queue, cursor.as_deref(), most).await?;
        found.extend(page.dead_letters.into_iter().filter(asked_for));
        cursor = page.next;
        if found.len() >= limit || cursor.is_none() {
            break;
        }
    }
    let more = cursor.is_some() || found.len() > limit;
    found.truncate(limit);
    Ok(json!({ "dead_letters": found, "more": more }))
}

fn depths(queues: &[Queue]) -> String {
    let mut table = Table::new();
    table.set_header(["queue", "ready", "delayed", "in flight", "dead"]);
    for Queue { queue, depth } in queues {
        let Depth { ready, delayed, in_flight, dead } = depth;
        table.add_row([queue.clone(), ready.to_string(), delayed.to_string(), in_flight.to_string(), dead.to_string()]);
    }
    table.to_string()
}

fn table(letters: &Letters) -> String {
    let mut table = Table::new();
    table.set_header(["message id", "destination", "attempts", "reason", "last error", "died at (ms)"]);
    for letter in &letters.dead_letters {
        let DeadLetter { message_id, destination, attempts, reason, last_error, died_at_ms } = letter.clone();
        table.add_row([message_id, destination, attempts.to_string(), reason, last_error, died_at_ms.to_string()]);
    }
    if letters.more { format!("{table}\nmore: a higher --limit") } else { table.to_string() }
}

fn letters(count: u64) -> String {
    format!("{count} dead letter{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    #[test]
    fn a_time_is_a_moment_or_so_long_ago() {
        assert_eq!(time("0"), Ok(0));
        assert_eq!(time("1700000000000"), Ok(1_700_000_000_000));
        for (text, ms) in [("90s", 90_000), ("30m", 1_800_000), ("2h", 7_200_000), ("7d", 604_800_000)] {
            let before = now_ms();
            let at = time(text).unwrap();
            assert!((before - ms..=now_ms() - ms).contains(&at), "{text}: {at}");
        }
        assert_eq!(time("99999999999999d"), Ok(0), "before 1970 is 1970");
        for bad in ["", "d", "-1", "1w", "1.5h", "yesterday"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_selection_is_explicit_and_of_one_kind() {
        for (arguments, taken) in [
            ("", false),
            ("--all", true),
            ("--id a", true),
            ("--id a --id b", true),
            ("--reason expired", true),
            ("--reason rejected --destination a.b --died-after 2h --died-before 1h", true),
            ("--all --id a", false),
            ("--all --died-before 1h", false),
            ("--id a --reason expired", false),
            ("--reason tired", false),
        ] {
            for command in ["replay", "purge"] {
                let line = ["plinth", "queue", command, "jobs"].into_iter().chain(arguments.split_whitespace());
                assert_eq!(Cli::try_parse_from(line).is_ok(), taken, "{command} {arguments}");
            }
        }
    }
}
