//! What a host answers, as far as the command line reads it.

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Change {
    pub plugin: String,
    pub version: String,
    pub digest: String,
    pub generation: u64,
    pub replaced: Option<String>,
    pub notices: Vec<String>,
    pub elapsed_us: u64,
    pub compile_cached: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Removed {
    pub plugin: String,
    pub generation: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct SlotList {
    pub plugins: Vec<Slot>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Slot {
    pub plugin: String,
    pub description: String,
    pub state: String,
    pub reason: Option<String>,
    pub generation: u64,
    pub version: String,
    pub hooks: Vec<String>,
    pub versions: Vec<Version>,
    pub imports: Vec<String>,
    /// Shown as they are.
    pub limits: Value,
    pub grants: Value,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Version {
    pub version: String,
    pub digest: String,
    pub live_calls: u64,
    pub active: bool,
    pub quarantined: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct AuditPage {
    pub records: Vec<AuditRecord>,
    pub next: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct AuditRecord {
    pub sequence: u64,
    pub recorded_at_ms: u64,
    pub actor: String,
    pub action: String,
    pub subject: Subject,
    pub outcome: Outcome,
    pub summary: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct AuditTrees {
    pub trees: Vec<AuditTree>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct AuditTree {
    pub epoch: u64,
    pub origin: String,
    pub verifier_key: String,
    pub first_sequence: u64,
    pub signed_size: u64,
    pub sealed_size: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Subject {
    pub kind: String,
    pub id: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Outcome {
    /// `success`, `denied` or `failed`.
    pub result: String,
    pub reason: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Invocations {
    pub(super) invocations: Vec<Invocation>,
    pub(super) passed_over: u64,
}

#[derive(Deserialize)]
pub(super) struct Invocation {
    pub(super) id: String,
    pub(super) plugin: String,
    pub(super) version: String,
    pub(super) digest: String,
    pub(super) generation: u64,
    pub(super) hook: String,
    pub(super) attempt: u32,
    pub(super) took_us: u64,
    pub(super) cpu_us: u64,
    pub(super) memory_bytes: u64,
    pub(super) outcome: String,
    pub(super) message: String,
}

#[derive(Deserialize)]
pub(super) struct InvocationDetail {
    #[serde(flatten)]
    pub(super) invocation: Invocation,
    pub(super) stack: Vec<StackFrame>,
    pub(super) log: Vec<String>,
    pub(super) stderr: Option<String>,
    pub(super) calls: Vec<CapabilityCall>,
    pub(super) calls_made: u64,
}

#[derive(Deserialize)]
pub(super) struct StackFrame {
    pub(super) function: String,
    pub(super) offset: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct CapabilityCall {
    pub(super) operation: String,
    pub(super) answer: String,
}

#[derive(Deserialize)]
pub(super) struct Fleet {
    pub(super) shared: bool,
    pub(super) hosts: Vec<FleetHost>,
}

#[derive(Deserialize)]
pub(super) struct FleetHost {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) this: bool,
    pub(super) live: bool,
    pub(super) ready: bool,
    pub(super) generation: u64,
    pub(super) note: Option<String>,
    pub(super) age_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct QueueList {
    pub queues: Vec<Queue>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Queue {
    pub queue: String,
    pub depth: Depth,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Depth {
    pub ready: u64,
    pub delayed: u64,
    pub in_flight: u64,
    pub dead: u64,
}

/// The letters as they came, for programs.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct LetterPage {
    pub dead_letters: Vec<Value>,
    pub next: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct DeadLetter {
    pub message_id: String,
    pub destination: String,
    pub attempts: u32,
    pub reason: String,
    pub last_error: String,
    pub died_at_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Replayed {
    pub replayed: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Purged {
    pub purged: u64,
}
