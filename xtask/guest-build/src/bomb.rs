//! A valid component that costs a compiler far more than it weighs.

use anyhow::{Context, Result};
use std::fmt::Write;

/// Values alive at once in each function: register allocation is what hurts.
const LOCALS: u32 = 200;
const ROUNDS: u32 = 40;

/// A component with `functions` large functions that exports a healthy
/// `plinth:hooks/health`. Each costs tens of milliseconds to compile.
pub fn compile_bomb(functions: usize) -> Result<Vec<u8>> {
    let body = body();
    let mut text = String::from(HEAD);
    for index in 0..functions {
        // The index keeps the bodies apart, should a compiler merge equal ones.
        write!(text, "(func (param i64) (result i64) (local {}) (local.set 1 (i64.const {index})) {body})", "i64 ".repeat(LOCALS as usize))
            .context("could not write the text")?;
    }
    text.push_str(TAIL);
    wat::parse_str(&text).context("could not assemble the compile bomb")
}

/// Mixes every local with others, inside branches that depend on the values.
fn body() -> String {
    let mut text = String::new();
    for round in 0..ROUNDS {
        for local in 1..=LOCALS {
            let left = (local * 7 + round) % LOCALS + 1;
            let right = (local * 13 + round * 5) % LOCALS + 1;
            text.push_str(&format!("(local.set {local} (i64.add (i64.mul (local.get {left}) (local.get {right})) (local.get 0)))"));
        }
        let witness = round % LOCALS + 1;
        text.push_str(&format!("(if (i64.eqz (local.get {witness})) (then (return (local.get {witness}))))"));
    }
    text.push_str("(local.get 1)");
    text
}

const HEAD: &str = r#"(component
  (import "plinth:hooks/hook-types@1.0.0" (instance $types
    (type $record (record (field "code" string) (field "message" string)))
    (export "failure" (type (eq $record)))))
  (alias export $types "failure" (type $failure))
  (core module $m
    (memory (export "memory") 1)
    (func (export "check") (result i32) (i32.const 16))
"#;

const TAIL: &str = r#")
  (core instance $i (instantiate $m))
  (func $check (result (result (error $failure)))
    (canon lift (core func $i "check") (memory (core memory $i "memory"))))
  (instance $health (export "check" (func $check)))
  (export "plinth:hooks/health@1.0.0" (instance $health)))
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bomb_is_a_valid_component_with_a_hook() {
        let bytes = compile_bomb(3).unwrap();
        let surface = crate::surface(&bytes).unwrap();
        assert!(surface.exports.contains("plinth:hooks/health@1.0.0"), "{surface:?}");
        assert!(surface.imports.is_empty(), "{surface:?}");
        assert!(compile_bomb(6).unwrap().len() > bytes.len() * 3 / 2, "each function adds its weight");
    }
}
