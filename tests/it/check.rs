//! `plinth plugin check`: what it says is kept word for word in `check/*.txt`, because people act on it.
//!
//! `PLINTH_BLESS=1` writes the files anew, for whoever has changed a text and reads the difference.

use plinth_tests::{Package, binary, root};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

/// A plugin in two files, as its author has it.
struct Files {
    folder: TempDir,
    component: PathBuf,
    manifest: PathBuf,
}

impl Files {
    fn of(component: &[u8], manifest: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (wasm, toml) = (folder.path().join("plugin.wasm"), folder.path().join("plugin.toml"));
        std::fs::write(&wasm, component).unwrap();
        std::fs::write(&toml, manifest).unwrap();
        Self { folder, component: wasm, manifest: toml }
    }

    fn checked(&self, more: &[&str]) -> Output {
        Command::new(binary()).args(["plugin", "check"]).arg(&self.component).arg(&self.manifest).args(more).output().unwrap()
    }
}

/// An interface with functions, as a component imports it.
fn import(name: &str, functions: &[&str]) -> String {
    let exports: String = functions.iter().map(|function| format!("(export {function})")).collect();
    format!("(import \"{name}\" (instance {exports}))")
}

const TYPES: &str = r#"
  (import "plinth:hooks/hook-types@1.0.0" (instance $types
    (type $record (record (field "code" string) (field "message" string)))
    (export "failure" (type (eq $record)))))
  (alias export $types "failure" (type $failure))"#;
/// A health check that is always well, under a version.
fn health(version: &str) -> String {
    format!(
        r#"
  (core module $m
    (memory (export "memory") 1)
    (func (export "check") (result i32) (i32.const 16)))
  (core instance $i (instantiate $m))
  (func $check (result (result (error $failure)))
    (canon lift (core func $i "check") (memory (core memory $i "memory"))))
  (instance $health (export "check" (func $check)))
  (export "plinth:hooks/health@{version}" (instance $health))"#
    )
}

fn component(imports: &[String]) -> Vec<u8> {
    wat::parse_str(format!("(component {} {TYPES} {})", imports.concat(), health("1.0.0"))).unwrap()
}

fn manifest(rest: &str) -> String {
    format!("name = \"checked\"\nversion = \"1.0.0\"\n{rest}")
}

const NOW: &str = "\"now-ms\" (func (result u64))";

/// Name of the file, component, manifest.
fn cases() -> Vec<(&'static str, Vec<u8>, String)> {
    let importing = |name: &str, functions: &[&str]| component(&[import(name, functions)]);
    let plain = || component(&[]);
    vec![
        ("unknown-capability", importing("acme:foo/bar@1.0.0", &["\"f\" (func)"]), manifest("")),
        ("no-such-major", importing("plinth:cache/buckets@2.0.0", &["\"f\" (func)"]), manifest("[grants.cache.c]")),
        ("unknown-draft", importing("wasi:config/store@0.2.0-draft9", &["\"f\" (func)"]), manifest("")),
        ("unknown-draft-of-many", importing("wasi:keyvalue/store@0.2.0-draft9", &["\"f\" (func)"]), manifest("[grants.cache.c]")),
        ("keyvalue-not-granted", importing("wasi:keyvalue/batch@0.2.0-draft2", &[]), manifest("")),
        ("another-messaging", importing("wasmcloud:messaging/consumer@0.3.0", &["\"f\" (func)"]), manifest("")),
        ("without-a-version", importing("plinth:log/log", &["\"f\" (func)"]), manifest("[grants.log]\nenabled = true")),
        ("newer-function", importing("plinth:context/clock@1.9.0", &[NOW, "\"now-ns\" (func (result u64))"]), manifest("")),
        ("newer-interface", importing("plinth:context/calendar@1.2.0", &["\"today\" (func (result string))"]), manifest("")),
        ("newer-and-usable", importing("plinth:context/clock@1.9.0", &[NOW]), manifest("")),
        ("no-such-function", importing("plinth:context/clock@1.0.0", &["\"yesterday\" (func)"]), manifest("")),
        ("not-granted", importing("plinth:metrics/instruments@1.0.0", &[]), manifest("")),
        ("older-wasi", importing("wasi:clocks/wall-clock@0.3.0", &["\"now\" (func)"]), manifest("")),
        ("a-function-by-itself", component(&["(import \"f\" (func))".to_owned()]), manifest("")),
        (
            "types-differ",
            component(&[
                import("plinth:context/clock@1.0.0", &["\"now-ms\" (func (result string))"]),
                import("plinth:context/random@1.0.0", &["\"unit\" (func (result f32))"]),
                import("plinth:context/invocation@1.0.0", &["\"remaining-ms\" (func (result u32))"]),
            ]),
            manifest(""),
        ),
        ("no-hook", b"\0asm\x0d\0\x01\0".to_vec(), manifest("")),
        ("newer-hook", wat::parse_str(format!("(component {TYPES} {})", health("2.0.0"))).unwrap(), manifest("")),
        (
            "bound-and-not-exported",
            plain(),
            manifest("[hooks.event-listener]\ntopics = [\"a.*\"]\n[[hooks.scheduled-job]]\nname = \"j\"\ncron = \"0 * * * *\""),
        ),
        (
            "granted-and-not-used",
            plain(),
            manifest("[grants.cache.c]\n[grants.audit]\nwrite = [\"a.*\"]\nread = true\n[grants.log]\nenabled = true"),
        ),
        ("no-toml", plain(), "name = \"checked\"\nversion = 1.0.0\n".to_owned()),
        ("unknown-setting", plain(), manifest("descripton = \"x\"\n")),
        ("limits", plain(), manifest("[limits]\ncpu-ms = 0\nhandles = 1000000\n")),
        (
            "manifest",
            plain(),
            manifest(
                "[grants.queue.q]\n[[metrics]]\nname = \"bad name\"\nkind = \"counter\"\nhelp = \"\"\n[[hooks.scheduled-job]]\nname = \"j\"\ncron = \"daily\"\n",
            ),
        ),
        (
            "configuration",
            plain(),
            manifest(
                "[config]\nlimit = -1\nother = 2\n[config-schema]\ntype = \"object\"\nadditionalProperties = false\n\
                 [config-schema.properties.limit]\ntype = \"integer\"\nminimum = 0\n",
            ),
        ),
        ("configuration-without-schema", plain(), manifest("[config]\nlimit = 1\n")),
        ("a-core-module", wat::parse_str("(module)").unwrap(), manifest("")),
        ("no-webassembly", b"#!/bin/sh\n".to_vec(), manifest("")),
        ("cut-short", plain().split_last().unwrap().1.to_vec(), manifest("")),
        (
            "everything-at-once",
            component(&[
                import("acme:foo/bar@1.0.0", &["\"f\" (func)"]),
                import("plinth:metrics/instruments@1.0.0", &[]),
                import("plinth:context/clock@1.0.0", &["\"now-ms\" (func (result string))"]),
            ]),
            manifest(
                "[config]\nlimit = -1\n[config-schema.properties.limit]\nminimum = 0\n[limits]\ncpu-ms = 0\n\
                 [hooks.task-handler]\nqueues = [\"q\"]\n[grants.cache.c]\n",
            ),
        ),
        ("a-broken-manifest-hides-nothing", importing("acme:foo/bar@1.0.0", &["\"f\" (func)"]), "name = \"checked\"\n".to_owned()),
    ]
}

fn snapshot(name: &str) -> PathBuf {
    root().join("tests/it/check").join(name).with_extension("txt")
}

fn said(output: &Output) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("exit code {}\n{}\n", output.status.code().unwrap(), text.trim_end())
}

#[test]
#[expect(clippy::disallowed_methods, reason = "there is no command line to say it on")]
fn every_text_is_as_it_was_written_down() {
    let bless = std::env::var_os("PLINTH_BLESS").is_some();
    let mut wrong = Vec::new();
    for (name, component, manifest) in cases() {
        let now = said(&Files::of(&component, &manifest).checked(&[]));
        if bless {
            std::fs::write(snapshot(name), &now).unwrap();
        }
        let then = std::fs::read_to_string(snapshot(name)).unwrap_or_default();
        if now != then {
            wrong.push(format!("{name}:\n{now}\nand not:\n{then}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_text_is_kept_that_nothing_says() {
    let kept = root().join("tests/it/check").read_dir().unwrap().map(|file| file.unwrap().path());
    let mut kept: Vec<PathBuf> = kept.collect();
    let mut wanted: Vec<PathBuf> = cases().iter().map(|(name, ..)| snapshot(name)).collect();
    kept.sort();
    wanted.sort();
    assert_eq!(kept, wanted);
}

#[test]
fn problems_are_typed_for_programs() {
    let (_, component, manifest) = cases().into_iter().find(|(name, ..)| *name == "everything-at-once").unwrap();
    let files = Files::of(&component, &manifest);
    let output = files.checked(&["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let places: Vec<&str> = told["problems"].as_array().unwrap().iter().map(|problem| problem["place"].as_str().unwrap()).collect();
    assert_eq!(places, ["manifest", "configuration", "component", "component", "component", "component"], "{told:#}");
    assert_eq!(told["ok"], false);
    let config = files.folder.path().join("config.json");
    std::fs::write(&config, r#"{"limit": 1}"#).unwrap();
    let told: Value = serde_json::from_slice(&files.checked(&["--json", "--config", config.to_str().unwrap()]).stdout).unwrap();
    assert!(told["problems"].as_array().unwrap().iter().all(|problem| problem["place"] != "configuration"), "{told:#}");
}

#[test]
fn a_folder_is_checked_once_it_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let check = |folder: &Path| Command::new(binary()).args(["plugin", "check"]).arg(folder).output().unwrap();
    let good = Package::plugin("hello");
    std::fs::write(folder.path().join("plugin.toml"), &good.manifest).unwrap();
    std::fs::write(folder.path().join("Cargo.toml"), "").unwrap();
    let unbuilt = check(folder.path());
    assert!(unbuilt.status.code() == Some(2) && said(&unbuilt).contains("hello.wasm"), "{}", said(&unbuilt));
    std::fs::create_dir(folder.path().join("build")).unwrap();
    std::fs::write(folder.path().join("build/hello.wasm"), &good.component).unwrap();
    let checked = check(folder.path());
    assert!(checked.status.code() == Some(0) && said(&checked).contains("good"), "{}", said(&checked));
    std::fs::write(folder.path().join("plugin.toml"), format!("{}\nunknown = 1", good.manifest)).unwrap();
    let broken = check(folder.path());
    assert!(broken.status.code() == Some(1) && said(&broken).contains("unknown"), "{}", said(&broken));
}
