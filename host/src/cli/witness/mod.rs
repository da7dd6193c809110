//! `plinth witness`: cosigns checkpoints of tile logs, for a team that does not run the hosts (C2SP tlog-witness).

mod ask;
mod key;
mod serve;
mod store;

use super::Done;
use clap::Subcommand;

#[derive(Subcommand)]
pub(super) enum WitnessCommand {
    /// Make a key, and print its public half as a line for trust policies.
    Key(key::Key),
    /// Cosign what extends the checkpoints of the logs given, and nothing else.
    Serve(serve::Serve),
    /// Have witnesses cosign the newest checkpoint of a host's log, and print it with their lines.
    Ask(ask::Ask),
}

impl WitnessCommand {
    pub(super) fn run(self) -> Done {
        match self {
            Self::Key(key) => key.run(),
            Self::Serve(serve) => serve.run(),
            Self::Ask(ask) => ask.run(),
        }
    }
}
