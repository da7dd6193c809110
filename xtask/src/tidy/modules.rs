//! Every Rust file is compiled: one that no module names would be tested by nobody, and nothing would say so.

use super::{Problem, tree::Tree};
use std::collections::BTreeSet;

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let manifests: Vec<(&str, &str)> =
        tree.with_ending("Cargo.toml").map(|file| (file.path.trim_end_matches("Cargo.toml"), file.text.as_str())).collect();
    let text = |path: &str| tree.file(path).map(|file| file.text.as_str());
    // Places that a `path` attribute gives, seen from the file that has it.
    let given: BTreeSet<String> = tree.with_ending(".rs").flat_map(|file| placed(&file.path, &file.text)).collect();
    let orphan = |path: &&str| !is_root(path, &manifests) && !is_named(path, text) && !given.contains(*path);
    let orphans: Vec<&str> = tree.with_ending(".rs").map(|file| file.path.as_str()).filter(orphan).collect();
    orphans.into_iter().map(|path| Problem::new(path, 0, "no module names this file, so it is never compiled")).collect()
}

/// What cargo compiles by itself, or because a manifest names it.
fn is_root(path: &str, manifests: &[(&str, &str)]) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let own = |crate_folder: &str| ["src", "src/bin", "tests", "examples", "benches"].map(|inner| format!("{crate_folder}{inner}"));
    manifests.iter().any(|(crate_folder, manifest)| {
        let inside = path.strip_prefix(crate_folder).is_some_and(|inside| manifest.contains(&format!("\"{inside}\"")));
        let of_crate = own(crate_folder);
        let found = match of_crate.iter().position(|own| own == folder) {
            Some(0) => matches!(name, "lib.rs" | "main.rs"),
            Some(_) => true,
            None => format!("{crate_folder}build.rs") == path,
        };
        // `tests/NAME/main.rs`
        let nested = name == "main.rs"
            && of_crate.iter().skip(1).any(|own| folder.strip_prefix(own).is_some_and(|rest| rest.matches('/').count() == 1));
        inside || found || nested
    })
}

fn placed<'a>(path: &'a str, text: &'a str) -> impl Iterator<Item = String> + 'a {
    let named = text.lines().filter_map(|line| line.trim().strip_prefix("#[path = \"")?.strip_suffix("\"]"));
    named.map(move |place| {
        let mut folders: Vec<&str> = path.split('/').collect();
        folders.pop();
        for part in place.split('/') {
            match part {
                ".." => _ = folders.pop(),
                name => folders.push(name),
            }
        }
        folders.join("/")
    })
}

/// Whether a file that may be its parent declares it.
fn is_named<'a>(path: &str, text: impl Fn(&str) -> Option<&'a str>) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let (above, module) = match name {
        "mod.rs" => folder.rsplit_once('/').unwrap_or(("", folder)),
        _ => (folder, name.trim_end_matches(".rs")),
    };
    let declared = format!("mod {module};");
    let parents = ["mod.rs", "lib.rs", "main.rs"].map(|parent| format!("{above}/{parent}")).into_iter().chain([format!("{above}.rs")]);
    parents.filter_map(|parent| text(&parent)).any(|text| text.contains(&declared))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_nobody_names_is_found() {
        let manifests = [("a/", "[[test]]\npath = \"odd/place.rs\""), ("", "")];
        for root in
            ["a/src/lib.rs", "a/src/main.rs", "a/build.rs", "a/tests/one.rs", "a/tests/two/main.rs", "a/odd/place.rs", "a/examples/x.rs"]
        {
            assert!(is_root(root, &manifests), "{root}");
        }
        for other in ["a/src/one.rs", "a/src/x/main.rs", "a/tests/two/other.rs", "a/odd/other.rs"] {
            assert!(!is_root(other, &manifests), "{other}");
        }
        let text = |path: &str| match path {
            "a/src/lib.rs" => Some("mod one;\npub mod two;"),
            "a/src/two/mod.rs" => Some("mod three;"),
            "a/src/one.rs" => Some("mod four;"),
            _ => None,
        };
        for named in ["a/src/one.rs", "a/src/two/mod.rs", "a/src/two/three.rs", "a/src/one/four.rs"] {
            assert!(is_named(named, text), "{named}");
        }
        let given: Vec<String> = placed("a/src/two/mod.rs", "    #[path = \"../odd/six.rs\"]\n    mod six;").collect();
        assert_eq!(given, ["a/src/odd/six.rs"]);
        for orphan in ["a/src/five.rs", "a/src/two/four.rs", "a/src/one/mod.rs/x.rs"] {
            assert!(!is_named(orphan, text), "{orphan}");
        }
    }
}
