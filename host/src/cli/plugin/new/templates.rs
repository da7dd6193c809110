//! What a new plugin is made of: the files under `host/templates`, the SDK's sources and the WIT, all in the binary.

use super::super::contract_files::{PACKAGES, PLATFORM};
use plinth_runtime::build_plan::Language;

type Files = &'static [(&'static str, &'static str)];

/// Files of `host/templates` by their path in the new folder; `gitignore` gains its dot there.
macro_rules! templates {
    ($folder:literal: $($file:literal),+ $(,)?) => {
        &[$(($file, include_str!(concat!("../../../../templates/", $folder, "/", $file)))),+]
    };
}

/// The SDK's sources by their path below its `src`.
macro_rules! sdk {
    ($($file:literal),+ $(,)?) => {
        &[$((concat!("vendor/plinth-sdk/src/", $file), include_str!(concat!("../../../../../plugins/sdk/src/", $file)))),+]
    };
}

const MANIFEST: &str = include_str!("../../../../templates/common/plugin.toml");
/// Language has no part in what a plugin does.
const CASES: (&str, &str) = ("cases/orders.toml", include_str!("../../../../templates/common/cases/orders.toml"));
const WORLD: &str = include_str!("../../../../templates/common/plugin.wit");

const RUST: Files = templates!("rust":
    "Cargo.lock", "Cargo.toml", "README.md", "gitignore", "src/lib.rs", "src/rules.rs", "vendor/plinth-sdk/Cargo.toml");
/// Source, because it is in no registry: and a stranger's first plugin reads like every Rust plugin that the documentation shows.
const SDK: Files = sdk!(
    "allocator.rs",
    "audit.rs",
    "bindings.rs",
    "cache.rs",
    "clock.rs",
    "config.rs",
    "context.rs",
    "database.rs",
    "errors.rs",
    "hooks.rs",
    "http.rs",
    "http/wire.rs",
    "lib.rs",
    "log.rs",
    "macros.rs",
    "metrics.rs",
    "outbox.rs",
    "payload.rs",
    "queue.rs",
    "random.rs",
    "secrets.rs"
);
const JAVASCRIPT: Files = templates!("javascript":
    "README.md", "gitignore", "package.json", "src/plinth.js", "src/plugin.js", "src/rules.js", "test/rules.test.js");
const TYPESCRIPT: Files = templates!("typescript":
    "README.md", "gitignore", "package.json", "src/plinth.ts", "src/plugin.ts", "src/rules.ts", "test/rules.test.ts", "test/tsconfig.json",
    "tsconfig.json");
const UTF8: (&str, &str) = ("src/utf8.js", include_str!("../../../../../examples/javascript/src/utf8.js"));
const PYTHON: Files = templates!("python":
    "README.md", "gitignore", "requirements.txt", "src/plinth.py", "src/plugin.py", "src/rules.py", "tests/__init__.py",
    "tests/test_rules.py");
const GO: Files = templates!("go":
    "README.md", "export_plinth_hooks_decision/hook.go", "export_plinth_hooks_event_listener/hook.go", "gitignore", "go.mod",
    "orders/orders.go", "plinth/plinth.go", "requirements.txt", "rules/rules.go", "rules/rules_test.go", "third_party/pkg/LICENSE",
    "third_party/pkg/go.mod", "third_party/pkg/wit/async/async.go", "third_party/pkg/wit/async/empty.s",
    "third_party/pkg/wit/runtime/empty.s", "third_party/pkg/wit/runtime/runtime.go", "third_party/pkg/wit/types/future.go",
    "third_party/pkg/wit/types/option.go", "third_party/pkg/wit/types/result.go", "third_party/pkg/wit/types/stream.go",
    "third_party/pkg/wit/types/tuple.go", "third_party/pkg/wit/types/unit.go");
const C: Files = templates!("c":
    "Makefile", "README.md", "gitignore", "requirements.txt", "src/plinth.c", "src/plinth.h", "src/plugin.c", "src/rules.c", "src/rules.h",
    "tests/rules_test.c");
const JSON: Files = &[
    ("src/json.c", include_str!("../../../../../examples/c/src/json.c")),
    ("src/json.h", include_str!("../../../../../examples/c/src/json.h")),
];

/// Every file of a new plugin by its path.
pub(super) fn files(language: Language, name: &str) -> Vec<(String, String)> {
    let own: Vec<(&str, &str)> = match language {
        Language::Rust => [RUST, SDK].concat(),
        Language::Javascript => [JAVASCRIPT, &[UTF8]].concat(),
        Language::Typescript => [TYPESCRIPT, &[UTF8]].concat(),
        Language::Python => PYTHON.to_vec(),
        Language::Go => GO.to_vec(),
        Language::C => [C, JSON].concat(),
    };
    let world = match language {
        // The SDK is generated from all of it, and imports only what is called.
        Language::Rust => ("wit/platform.wit", PLATFORM),
        _ => ("wit/plugin.wit", WORLD),
    };
    let filled =
        own.into_iter().chain([("plugin.toml", MANIFEST), CASES]).map(|(path, text)| (path.to_owned(), fill(text, language, name)));
    let packages = PACKAGES.iter().map(|(file, text)| (format!("wit/deps/{file}"), (*text).to_owned()));
    let mut all: Vec<(String, String)> = filled.chain([(world.0.to_owned(), world.1.to_owned())]).chain(packages).collect();
    for (path, _) in &mut all {
        if path == "gitignore" {
            *path = ".gitignore".to_owned();
        }
    }
    all
}

fn fill(text: &str, language: Language, name: &str) -> String {
    text.replace("{{name}}", name)
        .replace("{{series}}", &name.replace('-', "_"))
        .replace("{{language}}", language.name())
        .replace("{{version}}", env!("CARGO_PKG_VERSION"))
}

/// What has to be run once, in the new folder.
pub(super) fn setup(language: Language) -> &'static [&'static str] {
    match language {
        Language::Rust => &[],
        Language::Javascript | Language::Typescript => &["npm install"],
        Language::Python | Language::C => &["python3 -m venv .venv && .venv/bin/pip install -r requirements.txt"],
        Language::Go => &[
            "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && export PATH=\"$PWD/.venv/bin:$PATH\"    # or any Go 1.27.1",
        ],
    }
}

/// The rule's own test, which needs no WebAssembly.
pub(super) fn test(language: Language) -> &'static str {
    match language {
        Language::Rust => "cargo test",
        Language::Javascript | Language::Typescript => "npm test",
        Language::Python => "python3 -m unittest",
        Language::Go => "go test ./rules",
        Language::C => "make test",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::BTreeSet,
        path::{Path, PathBuf},
    };

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    fn below(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                below(&path, &format!("{name}/"), found);
            } else {
                found.insert(name);
            }
        }
    }

    #[test]
    fn no_file_is_forgotten() {
        let templates = [("rust", RUST), ("javascript", JAVASCRIPT), ("typescript", TYPESCRIPT), ("python", PYTHON), ("go", GO), ("c", C)];
        let folders = templates.map(|(folder, files)| (root().join("host/templates").join(folder), "", files));
        for (folder, prefix, files) in folders.into_iter().chain([(root().join("plugins/sdk/src"), "vendor/plinth-sdk/src/", SDK)]) {
            let mut found = BTreeSet::new();
            below(&folder, prefix, &mut found);
            assert_eq!(found, files.iter().map(|(path, _)| (*path).to_owned()).collect(), "{}", folder.display());
        }
    }

    /// So that what was tested here is what a stranger compiles.
    #[test]
    fn the_lock_file_has_the_versions_of_ours() {
        let ours = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
        let theirs = RUST.iter().find(|(path, _)| *path == "Cargo.lock").unwrap().1;
        let packages = theirs.split("[[package]]").skip(1).map(|package| package.split("dependencies").next().unwrap().trim());
        let registry: Vec<&str> = packages.filter(|package| package.contains("checksum")).collect();
        assert!(registry.len() > 10 && registry.iter().any(|package| package.contains("\"wit-bindgen\"")));
        for package in registry {
            assert!(ours.contains(package), "{package}");
        }
    }

    #[test]
    fn the_sdk_depends_on_what_ours_depends_on() {
        let table = |path: &str| std::fs::read_to_string(root().join(path)).unwrap().parse::<toml::Table>().unwrap();
        let (ours, workspace) = (table("plugins/sdk/Cargo.toml"), table("Cargo.toml"));
        let theirs: toml::Table = RUST.iter().find(|(path, _)| *path == "vendor/plinth-sdk/Cargo.toml").unwrap().1.parse().unwrap();
        let names: Vec<&String> = ours["dependencies"].as_table().unwrap().keys().collect();
        assert_eq!(names, theirs["dependencies"].as_table().unwrap().keys().collect::<Vec<_>>());
        for name in names {
            assert_eq!(theirs["dependencies"][name], workspace["workspace"]["dependencies"][name], "{name}");
        }
    }

    #[test]
    fn the_runtime_of_go_is_of_the_generators_version() {
        let module = GO.iter().find(|(path, _)| *path == "go.mod").unwrap().1;
        assert!(module.contains(&wit_bindgen_go::remote_pkg_version()), "{module}");
    }
}
