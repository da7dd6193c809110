//! The world in TypeScript's words, as componentize-qjs hands it over: whole numbers of any width are numbers.

use super::contract::Contract;
use std::fmt::Write;
use wit_parser::{
    Docs, Function, FunctionKind, Handle, Interface, InterfaceId, Resolve, Type, TypeDef, TypeDefKind, TypeId, TypeOwner, Variant,
    WorldItem,
};

const HEAD: &str = "// Generated from the WIT by `plinth plugin build`. DO NOT EDIT.\n";
/// A function of such a name is exported under it, but cannot be declared so.
const RESERVED: [&str; 9] = ["class", "default", "delete", "enum", "export", "function", "import", "new", "return"];

/// One module for each interface that the world imports or exports.
pub(super) fn declarations(contract: &Contract) -> String {
    let Some(world) = contract.resolve.worlds.get(contract.world) else { return HEAD.to_owned() };
    let mut text = HEAD.to_owned();
    let mut done: Vec<InterfaceId> = Vec::new();
    for item in world.imports.values().chain(world.exports.values()) {
        let WorldItem::Interface { id, .. } = item else { continue };
        if let (false, Some(interface), Some(name)) = (done.contains(id), contract.resolve.interfaces.get(*id), contract.resolve.id_of(*id))
        {
            done.push(*id);
            let module = Module { resolve: &contract.resolve, id: *id };
            let _ = writeln!(text, "\ndeclare module {name:?} {{\n{}}}", module.items(interface));
        }
    }
    text
}

struct Module<'a> {
    resolve: &'a Resolve,
    id: InterfaceId,
}

impl Module<'_> {
    fn items(&self, interface: &Interface) -> String {
        let types = interface.types.iter().filter_map(|(name, id)| Some(self.named(name, *id, self.resolve.types.get(*id)?, interface)));
        let free = interface.functions.values().filter(|function| function.kind.resource().is_none());
        types.chain(free.map(|function| self.free(function))).collect()
    }

    /// A type that has a name.
    fn named(&self, name: &str, id: TypeId, def: &TypeDef, interface: &Interface) -> String {
        let (docs, name) = (docs(&def.docs, 2), pascal(name));
        match &def.kind {
            TypeDefKind::Record(record) => {
                let fields: String = record.fields.iter().map(|field| self.field(&field.name, &field.ty, &field.docs)).collect();
                format!("{docs}  export interface {name} {{\n{fields}  }}\n")
            }
            TypeDefKind::Flags(flags) => {
                let fields: String = flags.flags.iter().map(|flag| format!("    {}?: boolean;\n", camel(&flag.name))).collect();
                format!("{docs}  export interface {name} {{\n{fields}  }}\n")
            }
            TypeDefKind::Resource => {
                let own = interface.functions.values().filter(|function| function.kind.resource() == Some(id));
                let methods: String = own.map(|function| self.method(function)).collect();
                format!("{docs}  export class {name} {{\n{methods}  }}\n")
            }
            kind => format!("{docs}  export type {name} = {};\n", self.kind(kind)),
        }
    }

    fn field(&self, name: &str, ty: &Type, about: &Docs) -> String {
        let optional = matches!(self.plain(ty), Some(TypeDefKind::Option(_)));
        format!("{}    {}{}: {};\n", docs(about, 4), camel(name), if optional { "?" } else { "" }, self.ty(ty))
    }

    fn free(&self, function: &Function) -> String {
        let (docs, name) = (docs(&function.docs, 2), camel(&function.name));
        let signature = self.signature(function, 0);
        match RESERVED.contains(&name.as_str()) {
            true => format!("{docs}  function _{name}{signature};\n  export {{ _{name} as {name} }};\n"),
            false => format!("{docs}  export function {name}{signature};\n"),
        }
    }

    fn method(&self, function: &Function) -> String {
        let docs = docs(&function.docs, 4);
        let name = camel(function.item_name());
        match function.kind {
            FunctionKind::Constructor(_) => {
                let parameters = self.parameters(function, 0);
                format!("{docs}    constructor({parameters});\n")
            }
            FunctionKind::Static(_) => format!("{docs}    static {name}{};\n", self.signature(function, 0)),
            // The first parameter is the object itself.
            _ => format!("{docs}    {name}{};\n", self.signature(function, 1)),
        }
    }

    fn signature(&self, function: &Function, skipped: usize) -> String {
        let result = match function.result.as_ref().map(|ty| (self.plain(ty), ty)) {
            None => "void".to_owned(),
            // An error is thrown.
            Some((Some(TypeDefKind::Result(result)), _)) => result.ok.as_ref().map_or("void".to_owned(), |ok| self.ty(ok)),
            Some((_, ty)) => self.ty(ty),
        };
        format!("({}): {result}", self.parameters(function, skipped))
    }

    fn parameters(&self, function: &Function, skipped: usize) -> String {
        let parameters = function.params.iter().skip(skipped).map(|param| format!("{}: {}", safe(&camel(&param.name)), self.ty(&param.ty)));
        parameters.collect::<Vec<_>>().join(", ")
    }

    /// What a type without a name is, and nothing of one that has one.
    fn plain(&self, ty: &Type) -> Option<&TypeDefKind> {
        let Type::Id(id) = ty else { return None };
        self.resolve.types.get(*id).filter(|def| def.name.is_none()).map(|def| &def.kind)
    }

    fn ty(&self, ty: &Type) -> String {
        match ty {
            Type::Bool => "boolean".to_owned(),
            Type::Char | Type::String => "string".to_owned(),
            Type::Id(id) => self.of_id(*id),
            Type::ErrorContext => "unknown".to_owned(),
            _ => "number".to_owned(),
        }
    }

    fn of_id(&self, id: TypeId) -> String {
        let Some(def) = self.resolve.types.get(id) else { return "unknown".to_owned() };
        match (&def.name, def.owner) {
            (Some(name), TypeOwner::Interface(owner)) if owner != self.id => {
                let module = self.resolve.id_of(owner).unwrap_or_default();
                format!("import({module:?}).{}", pascal(name))
            }
            (Some(name), _) => pascal(name),
            (None, _) => self.kind(&def.kind),
        }
    }

    fn kind(&self, kind: &TypeDefKind) -> String {
        match kind {
            TypeDefKind::Type(ty) => self.ty(ty),
            TypeDefKind::Handle(Handle::Own(resource) | Handle::Borrow(resource)) => self.of_id(*resource),
            TypeDefKind::Option(ty) => format!("{} | null | undefined", self.ty(ty)),
            TypeDefKind::List(Type::U8) => "Uint8Array".to_owned(),
            TypeDefKind::List(ty) | TypeDefKind::FixedLengthList(ty, _) => format!("Array<{}>", self.ty(ty)),
            TypeDefKind::Map(key, value) => format!("Array<[{}, {}]>", self.ty(key), self.ty(value)),
            TypeDefKind::Tuple(tuple) => format!("[{}]", tuple.types.iter().map(|ty| self.ty(ty)).collect::<Vec<_>>().join(", ")),
            TypeDefKind::Enum(cases) => cases.cases.iter().map(|case| format!("{:?}", case.name)).collect::<Vec<_>>().join(" | "),
            TypeDefKind::Variant(variant) => self.variant(variant),
            TypeDefKind::Result(result) => {
                let case = |tag: &str, ty: &Option<Type>| tagged(tag, ty.as_ref().map(|ty| self.ty(ty)));
                format!("{} | {}", case("ok", &result.ok), case("err", &result.err))
            }
            _ => "unknown".to_owned(),
        }
    }

    fn variant(&self, variant: &Variant) -> String {
        let cases = variant.cases.iter().map(|case| tagged(&case.name, case.ty.as_ref().map(|ty| self.ty(ty))));
        cases.collect::<Vec<_>>().join(" | ")
    }
}

fn tagged(tag: &str, value: Option<String>) -> String {
    match value {
        Some(value) => format!("{{ tag: {tag:?}; val: {value} }}"),
        None => format!("{{ tag: {tag:?} }}"),
    }
}

/// `call-once` is `callOnce`.
fn camel(name: &str) -> String {
    let pascal = pascal(name);
    let mut letters = pascal.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// `hook-error` is `HookError`.
fn pascal(name: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters.map(|letter| letter.to_ascii_lowercase())).collect::<String>()
    };
    name.split('-').map(word).collect()
}

fn safe(name: &str) -> String {
    if RESERVED.contains(&name) { format!("{name}_") } else { name.to_owned() }
}

fn docs(docs: &Docs, indent: usize) -> String {
    let Some(text) = docs.contents.as_deref().map(str::trim).filter(|text| !text.is_empty()) else { return String::new() };
    let space = " ".repeat(indent);
    let lines: String = text.replace("*/", "* /").lines().map(|line| format!("{space} * {}\n", line.trim_end())).collect();
    format!("{space}/**\n{lines}{space} */\n")
}

#[cfg(test)]
mod tests {
    use super::super::project::Project;
    use super::*;

    const WIT: &str = "package a:b@1.0.0;
        interface kinds {
            /// A bowl.
            resource bowl { constructor(size: u64); open: static func(name: string) -> result<bowl, error>; put-in: func(what: list<u8>); }
            variant error { no-bowl, other(reason) }
            record reason { code: string, after-ms: option<u32> }
            enum level { low, very-high }
            flags rights { may-read }
            delete: func(bowl: borrow<bowl>, new: level) -> tuple<string, option<f64>>;
        }
        interface user { use kinds.{reason}; tell: func(reasons: list<reason>) -> result<_, reason>; keep: func() -> result<list<result<u8, string>>>; }
        world w { export user; }";

    #[test]
    fn every_kind_of_type_has_its_words() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("wit")).unwrap();
        std::fs::write(folder.path().join("plugin.toml"), "name = 'p'\nversion = '1.0.0'\n[build]\nlanguage = 'javascript'").unwrap();
        std::fs::write(folder.path().join("wit/w.wit"), WIT).unwrap();
        let text = declarations(&Contract::of(&Project::open(folder.path()).unwrap()).unwrap());
        for line in [
            "declare module \"a:b/kinds@1.0.0\" {",
            "  /**\n   * A bowl.\n   */\n  export class Bowl {",
            "    constructor(size: number);",
            "    static open(name: string): Bowl;",
            "    putIn(what: Uint8Array): void;",
            "  export type Error = { tag: \"no-bowl\" } | { tag: \"other\"; val: Reason };",
            "    afterMs?: number | null | undefined;",
            "  export type Level = \"low\" | \"very-high\";",
            "    mayRead?: boolean;",
            "  function _delete(bowl: Bowl, new_: Level): [string, number | null | undefined];\n  export { _delete as delete };",
            "declare module \"a:b/user@1.0.0\" {",
            "  export type Reason = import(\"a:b/kinds@1.0.0\").Reason;",
            "  export function tell(reasons: Array<Reason>): void;",
            "  export function keep(): Array<{ tag: \"ok\"; val: number } | { tag: \"err\"; val: string }>;",
        ] {
            assert!(text.contains(line), "`{line}` is not in:\n{text}");
        }
    }

    #[test]
    fn names_change_their_case() {
        assert_eq!(
            (camel("after-ms").as_str(), pascal("hook-error").as_str(), camel("HTTP-get").as_str()),
            ("afterMs", "HookError", "httpGet")
        );
    }
}
