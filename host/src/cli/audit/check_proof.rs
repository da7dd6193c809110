//! `plinth audit check-proof`: one proof against one record, offline.

use super::verify::{policy, read, usage};
use crate::cli::{Complaint, Done, Exit};
use clap::Args;
use plinth_audit::{
    json_proof::JsonProof,
    tlog_proof::{TlogProof, TlogProofError},
};
use std::path::PathBuf;

#[derive(Args)]
pub(in crate::cli) struct CheckProof {
    /// A C2SP `.tlog-proof`, or an inclusion or consistency proof in JSON.
    file: PathBuf,
    /// Of a `.tlog-proof`: the record's bytes as the log has them.
    #[arg(long)]
    record: Option<PathBuf>,
    /// Of a `.tlog-proof`: whom to trust, as `plinth audit trust` prints it.
    #[arg(long)]
    trust: Option<PathBuf>,
}

impl CheckProof {
    pub(super) fn run(self) -> Done {
        let bytes = read(&self.file)?;
        if bytes.first() == Some(&b'{') { json(&bytes) } else { self.tlog(&bytes) }
    }

    #[expect(clippy::print_stdout, reason = "a command line speaks to its user")]
    fn tlog(&self, bytes: &[u8]) -> Done {
        let (Some(record), Some(trust)) = (&self.record, &self.trust) else {
            return Err(usage("a .tlog-proof is checked for a record (--record) against a policy (--trust)"));
        };
        let (record, policy) = (read(record)?, policy(trust)?);
        let proof = TlogProof::parse(bytes).map_err(|e| usage(format!("{}: {e}", self.file.display())))?;
        let found = proof.verify(&record, &policy).map_err(|error| {
            let unsigned = matches!(&error, TlogProofError::Policy(found) if found.invalid.is_empty() && !found.logs.is_empty());
            Complaint { exit: if unsigned { Exit::Incomplete } else { Exit::Tampered }, text: why(&error) }
        })?;
        println!("holds: record {} of {}, {} records signed", proof.index, found.checkpoint.origin(), found.checkpoint.size());
        Ok(())
    }
}

fn why(error: &TlogProofError) -> String {
    match error {
        TlogProofError::Policy(found) if !found.missing.is_empty() => format!("{error}: missing {}", found.missing.join("; ")),
        TlogProofError::Inclusion(cause) => format!("{error}: {cause}"),
        _ => error.to_string(),
    }
}

#[expect(clippy::print_stdout, reason = "a command line speaks to its user")]
fn json(bytes: &[u8]) -> Done {
    let proof = JsonProof::parse(bytes).map_err(|e| usage(e.to_string()))?;
    proof.verify().map_err(|e| Complaint { exit: Exit::Tampered, text: format!("the proof does not hold: {e}") })?;
    println!("holds");
    Ok(())
}
