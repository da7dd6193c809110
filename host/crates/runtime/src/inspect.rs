//! What a component says about itself, read without compiling or running it.

use crate::loader::digest_of;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use wasmparser::{Encoding, KnownCustom, Parser, Payload, ProducersSectionReader};

/// Read from its sections. What tools wrote into them is not proven by anything.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Inspected {
    /// `sha256:` and 64 hex digits.
    pub digest: String,
    pub sizes: Sizes,
    pub core_modules: u32,
    pub functions: u32,
    /// Interfaces with their versions, as in the component.
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// `language`, `sdk` and `processed-by`, with `name version` of each; a stripped component may name no language.
    pub made_with: BTreeMap<String, BTreeSet<String>>,
}

/// In bytes, over all modules; what is left of the whole are types, names of imports and the like.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sizes {
    pub whole: usize,
    pub code: usize,
    pub data: usize,
    /// Debug information, names, producers: nothing that runs.
    pub custom: usize,
}

impl Inspected {
    /// Bounded by the length of `bytes`. The error says what is wrong with them, and where.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        if !Parser::is_component(bytes) {
            let what = if Parser::is_core_wasm(bytes) { "a core module, not a component" } else { "not WebAssembly" };
            return Err(format!("this is {what}"));
        }
        let mut found = Self { digest: digest_of(bytes), sizes: Sizes { whole: bytes.len(), ..Sizes::default() }, ..Self::default() };
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(|e| unreadable(&e))?;
            match &payload {
                Payload::Version { encoding, .. } => {
                    depth += 1;
                    found.core_modules += u32::from(*encoding == Encoding::Module);
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ => found.section(&payload, depth == 1).map_err(|e| unreadable(&e))?,
            }
        }
        Ok(found)
    }

    fn section(&mut self, payload: &Payload<'_>, outermost: bool) -> wasmparser::Result<()> {
        match payload {
            Payload::ComponentImportSection(reader) if outermost => {
                for import in reader.clone() {
                    self.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(reader) if outermost => {
                for export in reader.clone() {
                    self.exports.push(export?.name.name.to_owned());
                }
            }
            Payload::CodeSectionStart { count, size, .. } => {
                self.functions = self.functions.saturating_add(*count);
                self.sizes.code += *size as usize;
            }
            Payload::DataSection(reader) => self.sizes.data += reader.range().len(),
            Payload::CustomSection(custom) => {
                self.sizes.custom += custom.range().len();
                if let KnownCustom::Producers(producers) = custom.as_known() {
                    self.producers(producers)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn producers(&mut self, producers: ProducersSectionReader<'_>) -> wasmparser::Result<()> {
        for field in producers {
            let field = field?;
            let known = self.made_with.entry(field.name.to_owned()).or_default();
            for value in field.values {
                let value = value?;
                known.insert(format!("{} {}", value.name, value.version).trim().to_owned());
            }
        }
        Ok(())
    }
}

fn unreadable(error: &wasmparser::BinaryReaderError) -> String {
    format!("not readable at byte {}: {}", error.offset(), error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_outermost_imports_and_exports_count_and_all_bytes_do() {
        let text = r#"(component
            (import "plinth:log/logger@1.0.0" (instance))
            (component (import "inner" (func)))
            (core module (func) (func) (memory 1) (data (i32.const 0) "twelve bytes")
              (@custom "note" "seven b"))
            (core module (func))
            (instance $nothing)
            (export "plinth:hooks/health@1.0.0" (instance $nothing)))"#;
        let bytes = wat::parse_str(text).unwrap();
        let found = Inspected::read(&bytes).unwrap();
        assert_eq!(found.imports, ["plinth:log/logger@1.0.0"]);
        assert_eq!(found.exports, ["plinth:hooks/health@1.0.0"]);
        assert_eq!((found.core_modules, found.functions), (2, 3));
        assert_eq!((found.sizes.whole, found.digest), (bytes.len(), digest_of(&bytes)));
        assert!(found.sizes.data > 12 && found.sizes.code > 3 && found.sizes.custom > 7, "{:?}", found.sizes);
        assert!(found.made_with.is_empty());
    }

    #[test]
    fn producers_of_every_module_are_told_once() {
        let section = b"\x01\x08language\x02\x04Rust\x042024\x03C11\x00";
        let note: String = section.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let module = format!("(core module (@custom \"producers\" \"{note}\"))");
        let bytes = wat::parse_str(format!("(component {module} {module})")).unwrap();
        let told = Inspected::read(&bytes).unwrap().made_with;
        let expected = BTreeMap::from([("language".to_owned(), BTreeSet::from(["C11".to_owned(), "Rust 2024".to_owned()]))]);
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_no_whole_component_is_refused() {
        let whole = wat::parse_str("(component (core module (func)))").unwrap();
        let check = |bytes: &[u8], expected: &str| {
            let why = Inspected::read(bytes).unwrap_err();
            assert!(why.contains(expected), "{why}");
        };
        check(&whole[..whole.len() - 1], "not readable at byte");
        check(&wat::parse_str("(module)").unwrap(), "core module");
        check(b"", "not WebAssembly");
    }
}
