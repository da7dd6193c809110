//! `plinth audit trust`: the keys of a host's log, as a policy for verifiers.

use crate::cli::{
    Complaint, Done, Remote, block_on,
    client::{AuditTree, AuditTrees},
};
use clap::Args;

#[derive(Args)]
pub(in crate::cli) struct Trust {
    /// Which tree of the log; the newest, if none is given. Each has a policy of its own.
    #[arg(long)]
    epoch: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

impl Trust {
    pub(super) fn run(self) -> Done {
        let answer = block_on(async { Ok(self.remote.client()?.audit_trees().await?) })?;
        let trees: AuditTrees =
            serde_json::from_value(answer.clone()).map_err(|e| Complaint::failed(format!("the host's answer has another shape: {e}")))?;
        let wanted = |tree: &&AuditTree| self.epoch.is_none_or(|epoch| tree.epoch == epoch);
        let tree = trees.trees.iter().rev().find(wanted).ok_or_else(|| Complaint::failed("the log has no tree of this epoch"))?;
        self.remote.print(answer, |trees: AuditTrees| policy(tree, &trees))
    }
}

/// A C2SP tlog-policy that trusts this tree alone. The trees of a log share one key under
/// different names, which no policy may list twice.
fn policy(tree: &AuditTree, all: &AuditTrees) -> String {
    let mut text =
        String::from("# Add `witness` lines and a quorum to trust more than the host. The trees of the audit log, oldest first:\n");
    for AuditTree { epoch, origin, first_sequence, signed_size, sealed_size, .. } in &all.trees {
        let end = sealed_size.map_or_else(String::new, |size| format!(", ended with {size}"));
        text.push_str(&format!("# epoch {epoch}: {origin}, from sequence {first_sequence}, {signed_size} records signed{end}\n"));
    }
    text.push_str(&format!("log {}\nquorum none", tree.verifier_key));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use plinth_audit::{
        note::{KeyName, SignatureType, Signer, SignerKey},
        policy::Policy,
    };

    #[test]
    fn what_is_printed_is_a_policy() {
        let tree = |epoch: u64| {
            let origin = format!("example.com/log/{epoch}");
            let key = SignerKey::from_seed(KeyName::new(&origin).unwrap(), SignatureType::Ed25519, [7; 32]).unwrap();
            let verifier_key = key.key().to_string();
            AuditTree { epoch, origin, verifier_key, first_sequence: 9 * epoch, signed_size: 7, sealed_size: (epoch == 0).then_some(9) }
        };
        let all = AuditTrees { trees: vec![tree(0), tree(1)] };
        for chosen in &all.trees {
            let text = policy(chosen, &all);
            assert!(text.contains("7 records signed, ended with 9") && text.contains("from sequence 9, 7"), "{text}");
            let policy = Policy::parse(format!("{text}\n").as_bytes()).unwrap();
            assert_eq!(policy.logs().iter().map(|log| log.key.to_string()).collect::<Vec<_>>(), std::slice::from_ref(&chosen.verifier_key));
        }
    }
}
