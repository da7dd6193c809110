//! C: bindings from the WIT, then a C compiler that knows WASI: zig, the WASI SDK, or clang with wasi-libc.

use super::{
    contract::Contract,
    encode,
    error::BuildError,
    project::Project,
    tools::{Tools, Wanted},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use wit_bindgen_core::Files;

/// Whatever the world is called, the generated files are `plugin.h`, `plugin.c`.
const NAME: &str = "plugin";
/// Compilers set up for the old name of the target only; the libraries behind it are the same.
const TARGET: &str = "wasm32-wasi";
const TOOL: &str = "ziglang==0.17.1";
const ON_DEBIAN: &str = "apt-get install clang lld wasi-libc libclang-rt-dev-wasm32";
/// Debian's wasi-libc.
const SYSROOT: &str = "/usr/include/wasm32-wasi";
/// A call of a plugin is shallow, and every instance has its stack.
const STACK: u32 = 65_536;

enum Compiler {
    Zig { program: PathBuf },
    Clang { program: PathBuf, linker: Option<PathBuf> },
}

pub(super) fn make(project: &Project, tools: &Tools, release: bool) -> Result<Vec<u8>, BuildError> {
    let mut wanted = Wanted::default();
    let ways =
        [tools.pip(TOOL), "export WASI_SDK_PATH=…    # https://github.com/WebAssembly/wasi-sdk/releases".to_owned(), ON_DEBIAN.to_owned()];
    let found = wanted.need(Compiler::find(tools), "a C compiler for WebAssembly", &ways.each_ref().map(String::as_str));
    let Some(compiler) = found else { return Err(wanted.missing(project)) };
    let mut contract = Contract::of(project)?;
    let bindings = project.build_dir().join("bindings");
    generate(&mut contract, &bindings)?;
    let mut sources = Vec::new();
    find_sources(&project.dir.join("src"), &mut sources)?;
    let module = project.build_dir().join("core.wasm");
    let mut command = compiler.command(tools, release);
    command.args(["-std=c17", "-Wall", "-Wextra", "-Isrc"]).arg("-I").arg(&bindings).arg("-o").arg(&module).args(sources);
    command.arg(bindings.join("plugin.c")).arg(bindings.join("plugin_component_type.o"));
    tools.run(&mut command)?;
    encode::component(&module)
}

impl Compiler {
    fn find(tools: &Tools) -> Option<Self> {
        // The name that pip gives it.
        if let Some(program) = tools.find("python-zig").or_else(|| tools.find("zig")) {
            return Some(Self::Zig { program });
        }
        if let Some(program) = tools.wasi_sdk.as_ref().map(|sdk| sdk.join("bin/clang")).filter(|clang| clang.is_file()) {
            return Some(Self::Clang { program, linker: None });
        }
        let linker = tools.find_newest("wasm-ld")?;
        let program = tools.find_newest("clang").filter(|_| Path::new(SYSROOT).is_dir())?;
        Some(Self::Clang { program, linker: Some(linker) })
    }

    fn command(&self, tools: &Tools, release: bool) -> Command {
        let mut command;
        match self {
            Self::Zig { program } => {
                command = tools.command(program);
                command.args(["cc", "-target", TARGET]).arg(format!("-Wl,--stack,{STACK}"));
            }
            Self::Clang { program, linker } => {
                command = tools.command(program);
                command.arg(format!("--target={TARGET}")).arg("-Wno-deprecated").arg(format!("-Wl,-z,stack-size={STACK}"));
                if let Some(linker) = linker {
                    command.arg(format!("-fuse-ld={}", linker.display()));
                }
            }
        }
        command.arg("-mexec-model=reactor");
        // Names stay in a quick one, for traps.
        command.args(if release { ["-Os", "-Wl,--strip-debug"] } else { ["-O1", "-Wl,--strip-debug"] });
        command
    }
}

fn generate(contract: &mut Contract, into: &Path) -> Result<(), BuildError> {
    if into.exists() {
        fs::remove_dir_all(into).map_err(BuildError::write)?;
    }
    let mut files = Files::default();
    let options = wit_bindgen_c::Opts { rename_world: Some(NAME.to_owned()), ..Default::default() };
    options.build().generate(&mut contract.resolve, contract.world, &mut files).map_err(|e| BuildError::Wit(format!("{e:#}")))?;
    for (path, bytes) in files.iter() {
        plinth_guest_build::write_if_changed(&into.join(path), bytes).map_err(BuildError::write)?;
    }
    Ok(())
}

/// Every .c file, in an order that is the same everywhere.
fn find_sources(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), BuildError> {
    let mut paths = Vec::new();
    for entry in folder.read_dir().map_err(BuildError::read(folder))? {
        paths.push(entry.map_err(BuildError::read(folder))?.path());
    }
    paths.sort();
    for path in paths {
        if path.is_dir() {
            find_sources(&path, found)?;
        } else if path.extension().is_some_and(|ending| ending == "c") {
            found.push(path);
        }
    }
    Ok(())
}
