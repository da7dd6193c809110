//! `plinth plugin push` and `pull`: against a real registry, and in a folder without one.

use plinth_services::OciRegistry;
use plinth_tests::{binary, root};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn plugin(words: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(binary()).arg("plugin").args(words).env("HOME", home.path()).env_remove("DOCKER_CONFIG").output().unwrap()
}

#[track_caller]
fn done(words: &[&str]) -> Value {
    let output = plugin(words);
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{words:?}: {told}");
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

#[track_caller]
fn refused(words: &[&str], exit: i32, why: &str) {
    let output = plugin(words);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(exit), "{words:?}: {told}");
    assert!(told.contains(why), "{words:?} does not say `{why}`: {told}");
}

fn fixture(name: &str) -> (String, String) {
    let path = |ending: &str| root().join("target/fixtures").join(name).with_extension(ending).display().to_string();
    (path("wasm"), path("toml"))
}

fn same(folder: &Path, name: &str) {
    let (component, manifest) = fixture(name);
    assert_eq!(fs::read(folder.join(format!("{name}.wasm"))).unwrap(), fs::read(component).unwrap());
    assert_eq!(fs::read(folder.join("plugin.toml")).unwrap(), fs::read(manifest).unwrap());
}

/// The same story in every kind of place: `place` is where, without a tag.
fn kept(place: &str) -> String {
    let ((healthy, toml), (other, other_toml)) = (fixture("healthy"), fixture("sick"));
    let (tagged, none) = (format!("{place}:1.0.0"), format!("{place}:none"));
    let folder = tempfile::tempdir().unwrap();
    let to = |name: &str| folder.path().join(name).display().to_string();
    refused(&["pull", &tagged, "--to", &to("none")], 1, "nothing of that name");

    let digest = done(&["push", &tagged, &healthy, &toml, "--json"])["digest"].as_str().unwrap().to_owned();
    assert_eq!(done(&["push", &tagged, &healthy, &toml, "--json"])["digest"], digest.as_str(), "it is there, and that is no error");
    refused(&["push", &tagged, &other, &other_toml], 1, &format!("has something else under that name already, {digest}"));
    refused(&["pull", &none], 1, "nothing of that name");
    let exact = format!("{place}@{digest}");
    refused(&["push", &exact, &healthy, &toml], 2, "named by a tag");

    for (reference, name) in [(&tagged, "by-tag"), (&exact, "by-digest")] {
        let told = done(&["pull", reference, "--to", &to(name), "--json"]);
        assert_eq!(told["digest"], digest.as_str());
        same(&folder.path().join(name), "healthy");
    }
    // What is in the way stays, and nothing is half written.
    fs::write(folder.path().join("by-tag/plugin.toml"), "mine").unwrap();
    fs::remove_file(folder.path().join("by-tag/healthy.wasm")).unwrap();
    refused(&["pull", &tagged, "--to", &to("by-tag")], 2, "is there and differs");
    assert!(!folder.path().join("by-tag/healthy.wasm").exists());
    done(&["pull", &tagged, "--to", &to("by-tag"), "--overwrite"]);
    same(&folder.path().join("by-tag"), "healthy");

    // Another one in its place; the first is still there under its digest.
    let second = done(&["push", &tagged, &other, &other_toml, "--overwrite", "--json"])["digest"].as_str().unwrap().to_owned();
    assert_ne!(second, digest);
    assert_eq!(done(&["pull", &tagged, "--to", &to("second"), "--json"])["digest"], second.as_str());
    same(&folder.path().join("second"), "sick");
    done(&["pull", &exact, "--to", &to("first-again")]);
    same(&folder.path().join("first-again"), "healthy");
    digest
}

/// The digest of the layer of a stored manifest, which is as component tools have it.
fn layer_of(manifest: &Value) -> String {
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    let [layer] = manifest["layers"].as_array().unwrap().as_slice() else { panic!("one layer: {manifest:#}") };
    assert_eq!(layer["mediaType"], "application/wasm");
    assert_eq!(manifest["annotations"]["org.opencontainers.image.title"], "healthy");
    layer["digest"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_keeps_plugins() {
    let registry = OciRegistry::start().await.unwrap();
    let place = format!("{}/desk/healthy", registry.address());
    let digest = kept(&place);
    // As anybody else reads it.
    let get = async |path: String| {
        let url = format!("http://{}/v2/desk/healthy/{path}", registry.address());
        let request = reqwest::Client::new().get(url).header("accept", "application/vnd.oci.image.manifest.v1+json");
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap()
    };
    let manifest = get(format!("manifests/{digest}")).await;
    let layer = layer_of(&manifest);
    let config = get(format!("blobs/{}", manifest["config"]["digest"].as_str().unwrap())).await;
    assert_eq!((&config["architecture"], &config["os"]), (&"wasm".into(), &"wasip2".into()));
    assert_eq!(config["layerDigests"], serde_json::json!([layer]));
    let exports = config["component"]["exports"].as_array().unwrap();
    assert!(exports.contains(&"plinth:hooks/health@1.0.0".into()), "{config:#}");
    // A registry that gives something else is found out.
    let path = registry.blob(&layer);
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    refused(&["pull", &format!("{place}@{digest}"), "--to", folder.path().to_str().unwrap()], 1, "changed on its way");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_folder_keeps_plugins() {
    let store = tempfile::tempdir().unwrap();
    let place = format!("oci:{}", store.path().join("store").display());
    let digest = kept(&place);
    let blob = |digest: &str| store.path().join("store/blobs").join(digest.replace(':', "/"));
    let layer = layer_of(&serde_json::from_slice(&fs::read(blob(&digest)).unwrap()).unwrap());
    let layout: Value = serde_json::from_slice(&fs::read(store.path().join("store/oci-layout")).unwrap()).unwrap();
    assert_eq!(layout["imageLayoutVersion"], "1.0.0");
    let exact = format!("{place}@{digest}");
    for (path, why) in [(blob(&layer), "was changed"), (blob(&digest), "was changed")] {
        let whole = fs::read(&path).unwrap();
        let mut spoilt = whole.clone();
        // Still JSON, where it was.
        let at = spoilt.iter().position(|byte| *byte == b'h').unwrap();
        spoilt[at] = b'H';
        fs::write(&path, &spoilt).unwrap();
        refused(&["pull", &exact, "--to", store.path().to_str().unwrap()], 1, why);
        fs::write(&path, whole).unwrap();
    }
    fs::remove_file(blob(&layer)).unwrap();
    refused(&["pull", &exact], 1, "nothing of that name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_wants_a_login_gets_one() {
    let registry = OciRegistry::with_login().await.unwrap();
    let place = format!("{}/desk/healthy:1", registry.address());
    let (component, manifest) = fixture("healthy");
    let (name, password) = registry.login();
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), format!("{password}\n")).unwrap();
    let file = secret.path().to_str().unwrap();
    refused(&["push", &place, &component, &manifest], 1, "wants a login");
    refused(&["push", &place, &component, &manifest, "--username", "nobody", "--password-file", file], 1, "wants a login");
    refused(&["push", &place, &component, &manifest, "--username", name], 2, "--password-file");
    done(&["push", &place, &component, &manifest, "--username", name, "--password-file", file]);
    let folder = tempfile::tempdir().unwrap();
    done(&["pull", &place, "--username", name, "--password-file", file, "--to", folder.path().to_str().unwrap()]);
    same(folder.path(), "healthy");
}

#[test]
fn what_is_no_plugin_is_not_pushed() {
    let (component, manifest) = fixture("healthy");
    let store = tempfile::tempdir().unwrap();
    let place = format!("oci:{}:1", store.path().display());
    refused(&["push", &place, &manifest, &manifest], 2, "the component:");
    refused(&["push", &place, &component, &component], 2, "plugin.toml: TOML parse error");
    refused(&["push", "greeter:1", &component, &manifest], 2, "it needs a registry");
    refused(&["push", "127.0.0.1:9/a:1", &component, &manifest], 1, "127.0.0.1:9/a:1");
    assert_eq!(store.path().read_dir().unwrap().count(), 0);
}
