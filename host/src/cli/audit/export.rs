//! `plinth audit export`: all records that match, as lines of JSON.

use super::query::Conditions;
use crate::cli::{Complaint, Done, Remote, block_on};
use clap::Args;
use std::io::{self, Write};

/// Records the host reads at a time.
const AT_A_TIME: &str = "1000";

#[derive(Args)]
pub(in crate::cli) struct Export {
    #[command(flatten)]
    conditions: Conditions,
    #[command(flatten)]
    remote: Remote,
}

impl Export {
    /// To standard output. What breaks off on the way ends in an error, so lines that came with 0 are whole.
    pub(super) fn run(self) -> Done {
        let mut conditions = self.conditions.given();
        conditions.push(("limit", AT_A_TIME.to_owned()));
        block_on(async {
            let mut out = io::BufWriter::new(io::stdout().lock());
            let client = self.remote.client()?;
            let mut lines = client.audit_export(&conditions).await?;
            while let Some(chunk) = client.chunk(&mut lines).await? {
                out.write_all(&chunk).map_err(unwritten)?;
            }
            out.flush().map_err(unwritten)
        })
    }
}

fn unwritten(error: io::Error) -> Complaint {
    Complaint::failed(format!("the records could not be written: {error}"))
}
