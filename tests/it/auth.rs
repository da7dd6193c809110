//! Who may call: everybody on loopback while there are no keys, and only keys once there are.

use plinth::HostConfig;
use plinth_tests::{Package, TestHost, host::merged};
use serde_json::json;

/// SHA-256 of `token-of-the-tests`.
const DIGEST: &str = "7b1b98835d2b9475bb5c2f28a0a212b839d44a6fcb28ecfcb46d9c63ab76d6f2";
const TOKEN: &str = "token-of-the-tests";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_keys_only_a_key_opens() {
    let host = TestHost::with(&format!("[[api.keys]]\nid = 'ops'\nsha256 = '{DIGEST}'\nroles = ['operator']")).await;
    for path in ["/v1/plugins", "/metrics", "/x/misbehave/echo", "/openapi.json", "/nowhere"] {
        let answer = host.get(path).await;
        answer.assert_problem(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        host.with_token("another token").get(path).await.assert_problem(401, "unauthenticated");
    }
    host.install(&Package::fixture("healthy")).await.assert_problem(401, "unauthenticated");
    for path in ["/healthz", "/startupz", "/readyz"] {
        assert_eq!(host.get(path).await.status, 200, "{path} is for orchestrators without keys");
    }
    let ops = host.with_token(TOKEN);
    ops.installed(&Package::fixture("misbehave")).await;
    // The key's name goes with what it causes, and a plugin cannot change that.
    let written = ops.act("misbehave", "forged-actor", b"").await;
    assert_eq!(ops.get(&format!("/v1/audit/{}", written.text())).await.ok()["actor"], "key:ops");
    let entry = json!({"action": "test.made", "subject": {"kind": "a", "id": "b"}});
    let id = ops.post("/v1/audit", &entry).await.ok()["id"].as_str().unwrap().to_owned();
    assert_eq!(ops.get(&format!("/v1/audit/{id}")).await.ok()["actor"], "key:ops");
    host.stop().await;
}

#[test]
fn an_address_of_the_network_needs_keys() {
    let folder = tempfile::tempdir().unwrap();
    for (listen, open) in [("0.0.0.0:0", false), ("192.0.2.1:7300", false), ("[::]:0", false), ("127.0.0.1:0", true), ("[::1]:0", true)] {
        let config = HostConfig::parse(&merged(folder.path(), &format!("[api]\nlisten = '{listen}'"))).unwrap();
        assert_eq!(config.check().is_ok(), open, "{listen}");
    }
}
