//! Rules for the contract: it parses, the host's world resolves, and no two interfaces share a name.

use super::Problem;
use std::{collections::BTreeMap, path::Path};
use wit_parser::Resolve;

/// Written here once more, because a world that vanishes must be noticed.
const HOST_WORLD: &str = "every-hook";

pub(super) fn check(folder: &Path) -> Vec<Problem> {
    let mut resolve = Resolve::default();
    match resolve.push_dir(folder) {
        Ok(_) => rules(&resolve),
        Err(error) => vec![Problem::new("wit", 0, format!("does not parse: {error:#}"))],
    }
}

fn rules(resolve: &Resolve) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !resolve.worlds.iter().any(|(_, world)| world.name == HOST_WORLD) {
        problems.push(Problem::new("wit", 0, format!("has no world `{HOST_WORLD}`")));
    }
    let mut owners: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (_, interface) in resolve.interfaces.iter() {
        let package = interface.package.and_then(|id| resolve.packages.get(id)).map(|package| package.name.to_string());
        if let (Some(name), Some(package)) = (&interface.name, package) {
            owners.entry(name).or_default().push(package);
        }
    }
    // Guest languages name a module after the interface alone.
    for (name, packages) in owners.into_iter().filter(|(_, packages)| packages.len() > 1) {
        problems.push(Problem::new("wit", 0, format!("interface `{name}` is in {}: bindings would clash", packages.join(" and "))));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell;

    fn check_text(text: &str) -> Vec<String> {
        let mut resolve = Resolve::default();
        resolve.push_source("test.wit", text).unwrap();
        rules(&resolve).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_contract_keeps_the_rules() {
        assert_eq!(check(&shell::root().join("wit")), []);
    }

    #[test]
    fn the_host_world_is_missed() {
        assert_eq!(check_text("package a:b;\nworld other {}\n"), ["wit: has no world `every-hook`"]);
    }

    #[test]
    fn names_clash() {
        let text =
            "package a:a;\ninterface store {}\nworld every-hook { import a:b/store; import store; }\npackage a:b { interface store {} }\n";
        assert!(check_text(text).concat().contains("interface `store` is in"), "{:?}", check_text(text));
    }

    #[test]
    fn what_does_not_parse_is_a_problem() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.wit"), "package a:b;\nworld {").unwrap();
        assert!(check(folder.path()).iter().any(|problem| problem.text.starts_with("does not parse")));
    }
}
