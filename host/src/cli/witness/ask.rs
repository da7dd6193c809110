//! `plinth witness ask`: brings a log's newest checkpoint to witnesses and collects their lines.

use crate::cli::{Complaint, Done, block_on};
use clap::Args;
use plinth_audit::{
    checkpoint::Checkpoint,
    hash::Hash,
    note::{Note, NoteSignature},
    witness::request_body,
};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);
/// Of an answer; cosignatures of a few keys are a few kilobytes.
const ANSWER_MAX: usize = 64 << 10;
/// How often a witness may say that it knows another size than the last time.
const ATTEMPTS: usize = 3;

#[derive(Args)]
pub(in crate::cli) struct Ask {
    /// Where the log's tree is served, such as http://127.0.0.1:7300/v1/audit/log/0.
    #[arg(long)]
    url: String,
    /// The token of an API key, where the host has any.
    #[arg(long, env = "PLINTH_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Address of a witness; /add-checkpoint is put behind it.
    #[arg(long = "witness", required = true)]
    witnesses: Vec<String>,
}

#[derive(Deserialize)]
struct Proof {
    proof: Vec<String>,
}

impl Ask {
    /// Prints the checkpoint with the lines of the witnesses that cosigned; fails if one of them did not.
    pub(super) fn run(self) -> Done {
        let (note, refusals) = block_on(self.cosigned())?;
        print!("{note}");
        match refusals.is_empty() {
            true => Ok(()),
            false => Err(Complaint::failed(refusals.join("\n"))),
        }
    }

    async fn cosigned(&self) -> Result<(Note, Vec<String>), Complaint> {
        let http = Client::builder().timeout(TIMEOUT).no_proxy().build().map_err(|e| Complaint::failed(e.to_string()))?;
        let text = self.fetch(&http, "checkpoint").await?;
        let strange = |why: String| Complaint::failed(format!("{}/checkpoint is no checkpoint: {why}", self.base()));
        let mut note = Note::parse(&text).map_err(|e| strange(e.to_string()))?;
        let checkpoint: Checkpoint = note.text().parse().map_err(|e| strange(format!("{e}")))?;
        let signed = note.clone();
        let mut refusals = Vec::new();
        for witness in &self.witnesses {
            match self.ask(&http, witness, &signed, checkpoint.size()).await {
                Ok(lines) => refusals.extend(lines.into_iter().filter_map(|line| Some(format!("{witness}: {}", note.add(line).err()?)))),
                Err(complaint) => refusals.push(format!("{witness}: {}", complaint.text)),
            }
        }
        Ok((note, refusals))
    }

    /// A witness that knows nothing begins at 0; any other says where it stands.
    async fn ask(&self, http: &Client, witness: &str, signed: &Note, size: u64) -> Result<Vec<NoteSignature>, Complaint> {
        let url = format!("{}/add-checkpoint", witness.trim_end_matches('/'));
        let mut old = 0;
        for _ in 0..ATTEMPTS {
            let proof = self.proof(http, old, size).await?;
            let (status, answer) = answered(http.post(&url).body(request_body(old, &proof, signed)), witness).await?;
            let answer = String::from_utf8_lossy(&answer).trim_end().to_owned();
            match status {
                StatusCode::OK => {
                    let lines: Option<Vec<_>> = answer.lines().map(NoteSignature::parse).collect();
                    let lines = lines.filter(|lines| !lines.is_empty());
                    return lines.ok_or_else(|| Complaint::failed("the answer is no list of cosignatures"));
                }
                StatusCode::CONFLICT => {
                    let stands = answer.parse().map_err(|_| Complaint::failed("the answer to another size is no size"))?;
                    if stands == size && old == size {
                        let why = format!("cosigned another checkpoint of size {size} before: the log has shown two");
                        return Err(Complaint::failed(why));
                    }
                    old = stands;
                    if old > size {
                        let why =
                            format!("cosigned {old} records before, and the newest checkpoint has only {size}: the log was taken back");
                        return Err(Complaint::failed(why));
                    }
                }
                _ => return Err(Complaint::failed(format!("refused ({status}): {answer}"))),
            }
        }
        Err(Complaint::failed("its size changed again and again; somebody else asks it too"))
    }

    async fn proof(&self, http: &Client, old: u64, size: u64) -> Result<Vec<Hash>, Complaint> {
        if old == 0 || old == size {
            return Ok(Vec::new());
        }
        let text = self.fetch(http, &format!("consistency?from={old}&to={size}")).await?;
        let proof: Proof = serde_json::from_slice(&text).map_err(|e| Complaint::failed(format!("the log's proof: {e}")))?;
        let hashes: Option<Vec<_>> = proof.proof.iter().map(|hash| Hash::from_base64(hash)).collect();
        hashes.ok_or_else(|| Complaint::failed("the log's proof holds something that is no hash"))
    }

    async fn fetch(&self, http: &Client, path: &str) -> Result<Vec<u8>, Complaint> {
        let url = format!("{}/{path}", self.base());
        let request = http.get(&url);
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        match answered(request, &url).await? {
            (StatusCode::OK, body) => Ok(body),
            (status, _) => Err(Complaint::failed(format!("{url} answered {status}"))),
        }
    }

    fn base(&self) -> &str {
        self.url.trim_end_matches('/')
    }
}

async fn answered(request: RequestBuilder, who: &str) -> Result<(StatusCode, Vec<u8>), Complaint> {
    let unreachable = |e: reqwest::Error| {
        let exit = if e.is_builder() { crate::cli::Exit::Usage } else { crate::cli::Exit::Unreachable };
        Complaint { exit, text: format!("{who}: {}", crate::cli::chain(&e.without_url())) }
    };
    let mut answer = request.send().await.map_err(unreachable)?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > ANSWER_MAX {
            return Err(Complaint::failed(format!("{who} answered with more than any witness or log says")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((answer.status(), body))
}
