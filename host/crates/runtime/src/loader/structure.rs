//! What a component is made of, counted before a compiler sees it.

use wasmparser::{Encoding, Parser, Payload};

/// Author-controlled shapes that cost compile time and memory out of proportion.
const MODULES_MAX: u32 = 64;
const NESTED_MAX: u32 = 200;
const DEPTH_MAX: usize = 16;
const FUNCTIONS_MAX: u32 = 200_000;
const FUNCTION_BYTES_MAX: usize = 4 << 20;
const TYPES_MAX: u32 = 100_000;

#[derive(Default)]
struct Counts {
    modules: u32,
    nested: u32,
    functions: u32,
    types: u32,
    largest_function: usize,
}

/// All problems at once. Validity itself is the compiler's to judge.
pub(super) fn check(bytes: &[u8]) -> Result<(), Vec<String>> {
    if !Parser::is_component(bytes) {
        let what = if Parser::is_core_wasm(bytes) { "a core module, not a component: encode it first" } else { "not WebAssembly" };
        return Err(vec![format!("this is {what}")]);
    }
    let counts = count(bytes).map_err(|why| vec![why])?;
    let mut problems = Vec::new();
    for (what, count, most) in [
        ("core modules", counts.modules, MODULES_MAX),
        ("nested components", counts.nested, NESTED_MAX),
        ("functions", counts.functions, FUNCTIONS_MAX),
        ("types", counts.types, TYPES_MAX),
    ] {
        if count > most {
            problems.push(format!("{count} {what}, at most {most} are taken"));
        }
    }
    if counts.largest_function > FUNCTION_BYTES_MAX {
        problems.push(format!("a function of {} bytes, at most {FUNCTION_BYTES_MAX} are taken", counts.largest_function));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn count(bytes: &[u8]) -> Result<Counts, String> {
    let mut counts = Counts::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|e| format!("not readable at byte {}: {}", e.offset(), e.message()))? {
            Payload::Version { encoding, .. } => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(format!("nested more than {DEPTH_MAX} deep"));
                }
                match encoding {
                    Encoding::Module => counts.modules += 1,
                    Encoding::Component => counts.nested += 1,
                }
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CodeSectionEntry(body) => {
                counts.functions = counts.functions.saturating_add(1);
                counts.largest_function = counts.largest_function.max(body.range().len());
            }
            Payload::TypeSection(reader) => counts.types = counts.types.saturating_add(reader.count()),
            Payload::ComponentTypeSection(reader) => counts.types = counts.types.saturating_add(reader.count()),
            _ => {}
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn only_whole_components_pass() {
        let component = wat::parse_str("(component (core module (func)))").unwrap();
        assert_eq!(check(&component), Ok(()));
        assert!(check(&wat::parse_str("(module)").unwrap()).unwrap_err()[0].contains("core module"));
        assert!(check(b"PK\x03\x04").unwrap_err()[0].contains("not WebAssembly"));
        assert!(check(&[]).is_err());
        for cut in 8..component.len() {
            let whole = check(&component[..cut]).is_ok();
            // A cut between sections reads as a shorter component; the compiler judges those.
            assert!(!whole || cut < component.len());
        }
        assert!(check(&component[..component.len() - 1]).is_err());
    }

    #[test]
    fn shapes_are_bounded() {
        let modules = format!("(component {})", "(core module)".repeat(65));
        assert!(check(&wat::parse_str(modules).unwrap()).unwrap_err()[0].contains("65 core modules"));
        let deep = format!("(component {} {})", "(component".repeat(20), ")".repeat(20));
        assert!(check(&wat::parse_str(deep).unwrap()).unwrap_err()[0].contains("deep"));
    }
}
