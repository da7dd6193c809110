//! tlog-witness: whether to cosign a checkpoint, what to remember, what to answer.
//!
//! A witness never sees records. It remembers one checkpoint for each log and cosigns
//! only what extends it. [`Witness::decide`] is a function of the request and of what is
//! remembered; whoever calls it persists the new checkpoint before the answer leaves,
//! and only if the remembered one is still the same ([`WitnessStore`]).

mod request;
mod response;

pub use request::{AddCheckpoint, REQUEST_MAX, RequestError};
pub use response::Response;

use crate::{
    checkpoint::Checkpoint,
    hash::{Hash, empty_root},
    note::{Note, SignError, Signer, VerifierKey, sign},
    proof::verify_consistency,
};
use std::sync::Arc;

/// How often [`Witness::add_checkpoint`] starts over when others are quicker.
const ATTEMPTS: usize = 4;

/// What is remembered of a log: the latest checkpoint that was cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    /// Leaves in the tree.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// The checkpoint as it was submitted, evidence of what the log once signed.
    pub note: String,
}

/// Where a witness remembers.
///
/// # Contract
/// - `latest` gives what the last successful `replace` stored, `None` before the first.
/// - `replace` stores only if what is stored is still `expected`, in one step, and has
///   made it durable before it answers `true`.
pub trait WitnessStore {
    /// Why the store does not answer.
    type Error;

    /// What is remembered of a log.
    ///
    /// # Errors
    /// The store's.
    fn latest(&self, origin: &str) -> Result<Option<Latest>, Self::Error>;

    /// Remembers `new` instead of `expected`; `false` when something else was there.
    ///
    /// # Errors
    /// The store's.
    fn replace(&self, origin: &str, expected: Option<&Latest>, new: &Latest) -> Result<bool, Self::Error>;
}

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Answer this; nothing changes.
    Refuse(Response),
    /// Store `latest` if what the decision was made from is still stored, then give the answer.
    Cosign {
        /// Which log.
        origin: String,
        /// What is to be remembered from now on.
        latest: Latest,
        /// The answer with the cosignatures.
        response: Response,
    },
}

/// A witness: the logs it knows, and its keys.
pub struct Witness {
    logs: Vec<VerifierKey>,
    signers: Vec<Arc<dyn Signer>>,
}

impl Witness {
    /// A witness for these logs: the name of each key is the log's origin, and a log may
    /// have several. Every signer, of a cosignature type, adds a line to the answer.
    #[must_use]
    pub fn new(logs: Vec<VerifierKey>, signers: Vec<Arc<dyn Signer>>) -> Self {
        Self { logs, signers }
    }

    /// The origin whose latest checkpoint a decision needs. A request that is refused
    /// without looking gives its answer instead.
    ///
    /// # Errors
    /// The answer: 400 for a malformed request, 404 for an unknown origin, 403 without
    /// a signature of the log.
    pub fn read(&self, body: &[u8]) -> Result<AddCheckpoint, Response> {
        let request = AddCheckpoint::parse(body).map_err(|error| Response::refusal(400, &error))?;
        let mut keys = self.logs.iter().filter(|key| key.name().as_str() == request.checkpoint.origin()).peekable();
        if keys.peek().is_none() {
            return Err(Response::refusal(404, &"this witness does not know the log"));
        }
        request.note.verify(keys).map_err(|error| Response::refusal(403, &error))?;
        Ok(request)
    }

    /// What to do, given what is remembered. `now`: POSIX seconds.
    ///
    /// # Errors
    /// [`SignError`] when a key of the witness cannot sign.
    pub fn decide(&self, request: &AddCheckpoint, latest: Option<&Latest>, now: u64) -> Result<Decision, SignError> {
        let checkpoint = &request.checkpoint;
        if request.old > checkpoint.size() {
            return Ok(Decision::Refuse(Response::refusal(400, &"the old size is above the checkpoint's")));
        }
        let (size, root) = latest.map_or_else(|| (0, empty_root()), |latest| (latest.size, latest.root));
        if request.old != size || (size == checkpoint.size() && root != *checkpoint.root()) {
            return Ok(Decision::Refuse(Response::conflict(size)));
        }
        if let Err(error) = verify_consistency(size, &root, checkpoint.size(), checkpoint.root(), &request.proof) {
            return Ok(Decision::Refuse(Response::refusal(422, &error)));
        }
        Ok(Decision::Cosign {
            origin: checkpoint.origin().to_owned(),
            latest: Latest { size: checkpoint.size(), root: *checkpoint.root(), note: request.note.to_string() },
            response: self.cosign(&request.note, now)?,
        })
    }

    /// Reads, decides and stores. `now`: POSIX seconds.
    ///
    /// # Errors
    /// The store's, or a key's; then nothing was cosigned.
    pub fn add_checkpoint<S: WitnessStore>(&self, store: &S, body: &[u8], now: u64) -> Result<Response, WitnessError<S::Error>> {
        let request = match self.read(body) {
            Ok(request) => request,
            Err(response) => return Ok(response),
        };
        let mut size = 0;
        for _ in 0..ATTEMPTS {
            let before = store.latest(request.checkpoint.origin()).map_err(WitnessError::Store)?;
            size = before.as_ref().map_or(0, |latest| latest.size);
            match self.decide(&request, before.as_ref(), now)? {
                Decision::Refuse(response) => return Ok(response),
                Decision::Cosign { origin, latest, response } => {
                    if store.replace(&origin, before.as_ref(), &latest).map_err(WitnessError::Store)? {
                        return Ok(response);
                    }
                }
            }
        }
        Ok(Response::conflict(size))
    }

    fn cosign(&self, note: &Note, now: u64) -> Result<Response, SignError> {
        let lines = self.signers.iter().map(|signer| sign(signer.as_ref(), note.text(), now)).collect::<Result<Vec<_>, _>>()?;
        Ok(Response::cosigned(&lines))
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError<E> {
    /// The store failed.
    #[error("the witness could not remember")]
    Store(E),
    /// A key failed.
    #[error("the witness could not sign")]
    Sign(#[from] SignError),
}

/// The body of a request to a witness: what it cosigned last, the proof from there, and the checkpoint.
#[must_use]
pub fn request_body(old: u64, proof: &[Hash], checkpoint: &Note) -> Vec<u8> {
    let proof: String = proof.iter().map(|hash| format!("{hash}\n")).collect();
    format!("old {old}\n{proof}\n{checkpoint}").into_bytes()
}

#[cfg(test)]
mod tests;
