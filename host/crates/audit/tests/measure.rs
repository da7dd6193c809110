//! How fast it is: `cargo test --release -p plinth-audit --features measure --test measure -- --nocapture`.

#![cfg(test)]

mod alone {
    use plinth_audit::{
        canonical,
        checkpoint::Checkpoint,
        hash::leaf_hash,
        note::{KeyName, SignatureType, Signer as _, SignerKey},
        policy::Policy,
        proof::{Plan, verify_inclusion},
        segment::{Before, SEGMENT_RECORDS, write},
        tile::{TileEdge, TileId, TileReader, encode_bundle, new_bundles},
        tree::Frontier,
        verify::{CanonicalEntries, FetchError, NoCheck, Request, Source, verify},
    };
    use std::{collections::HashMap, num::NonZeroUsize, time::Instant};

    const RECORDS: u64 = 1_000_000;

    struct Files(HashMap<String, Vec<u8>>);

    impl Source for Files {
        fn fetch(&self, path: &str) -> Result<Option<Vec<u8>>, FetchError> {
            Ok(self.0.get(path).cloned())
        }
    }

    /// About 500 bytes, as records of the audit log are.
    fn record(n: u64) -> Vec<u8> {
        let value = serde_json::json!({
            "v": 1, "id": format!("01890a5d-ac96-774b-bcce-{n:012x}"), "ts": "2026-11-22T10:19:38.123456Z", "node": "n1", "origin": "api",
            "actor": {"type": "user", "id": "9f86d081884c7d659a2feaa0c55ad015", "auth": "oidc"}, "tenant": "t1", "action": "order.refund",
            "resource": {"type": "order", "id": n.to_string()}, "outcome": "ok", "req": "4bf92f3577b34da6a3ce929d0e0e4736",
            "plugin": {"id": "orders", "ver": "1.4.2", "digest": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
            "gen": {"config": 17, "policy": 9}, "data": {"amount": n, "currency": "EUR", "reason": "goods returned by the customer"},
        });
        canonical::encode(&value).unwrap()
    }

    fn timed<T>(what: &str, count: u64, run: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = run();
        let seconds = start.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = count as f64 / seconds;
        println!("{what}: {seconds:.2} s, {rate:.0} a second");
        result
    }

    #[test]
    fn a_million_records() {
        let records = timed("encode", RECORDS, || (0..RECORDS).map(record).collect::<Vec<_>>());
        println!("{} bytes a record", records[999_999].len());
        timed("check canonical form", RECORDS, || records.iter().for_each(|record| canonical::check(record).unwrap()));
        let leaves = timed("hash leaves", RECORDS, || records.iter().map(|record| leaf_hash(record)).collect::<Vec<_>>());
        let mut frontier = Frontier::new();
        timed("push leaves on the frontier", RECORDS, || leaves.iter().for_each(|leaf| frontier.push(*leaf)));
        let mut edge = TileEdge::new();
        let tiles = timed("make tiles", RECORDS, || edge.grow(&leaves));
        assert_eq!(edge.root(), frontier.root());

        let key = SignerKey::from_seed(KeyName::new("example.com/log").unwrap(), SignatureType::Ed25519, [7; 32]).unwrap();
        let mut files: HashMap<_, _> = tiles.into_iter().map(|tile| (tile.id.path(), tile.bytes)).collect();
        for (bundle, records) in new_bundles(0, RECORDS).zip(records.chunks(256)) {
            files.insert(bundle.to_string(), encode_bundle(records).unwrap());
        }
        let mut note = Checkpoint::new("example.com/log", RECORDS, edge.root()).unwrap().to_note().unwrap();
        note.sign(&key, 0).unwrap();
        files.insert("checkpoint".into(), note.to_bytes());
        let files = Files(files);
        let policy = Policy::log_only(key.key().clone());
        for threads in [1, 2] {
            let request = Request { policy: &policy, since: &[], threads: NonZeroUsize::new(threads).unwrap() };
            assert!(timed(&format!("verify, {threads} threads"), RECORDS, || verify(&files, &NoCheck, &request)).is_sound());
            assert!(
                timed(&format!("verify with canonical form, {threads} threads"), RECORDS, || verify(&files, &CanonicalEntries, &request))
                    .is_sound()
            );
        }

        let reader = TileReader::new(RECORDS, &edge.root(), |id: &TileId| files.fetch(&id.path())).unwrap();
        let proofs = 100_000_u64;
        timed("inclusion proofs from tiles, verified", proofs, || {
            for (index, leaf) in (0_u64..).zip(&leaves).take(usize::try_from(proofs).unwrap()) {
                let proof = Plan::inclusion(index, RECORDS).unwrap().assemble(&reader).unwrap();
                verify_inclusion(leaf, index, RECORDS, &proof, &edge.root()).unwrap();
            }
        });
        let proof = Plan::consistency(SEGMENT_RECORDS, RECORDS).unwrap().assemble(&reader).unwrap();
        let first = &records[..usize::try_from(SEGMENT_RECORDS).unwrap()];
        let segment = timed("archive a segment", SEGMENT_RECORDS, || write(&Before::default(), first, &note, &proof)).unwrap();
        let raw: usize = first.iter().map(|record| record.len() + 1).sum();
        println!("{raw} bytes of records are {} bytes in the segment", segment.blobs[0].bytes.len());
    }
}
