//! Plugins and fixtures as they are on disk, and small changes of them.

use crate::root;
use serde_json::Value;
use std::path::Path;
use toml::Table;

/// What an operator hands in.
#[derive(Debug, Clone)]
pub struct Package {
    pub component: Vec<u8>,
    pub manifest: String,
    pub config: Option<Value>,
    pub approve: bool,
}

impl Package {
    /// One of `target/plugins`.
    pub fn plugin(name: &str) -> Self {
        Self::read(&root().join("target/plugins"), name)
    }

    /// One of `target/fixtures`.
    pub fn fixture(name: &str) -> Self {
        Self::read(&root().join("target/fixtures"), name)
    }

    /// The order desk of `examples/LANGUAGE`, built by its own script.
    pub fn example(language: &str) -> Self {
        let folder = root().join("examples").join(language);
        let read =
            |path: &Path| std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}; `cargo xtask languages` builds it", path.display()));
        let component = read(&folder.join(format!("build/order-desk-{language}.wasm")));
        let manifest = String::from_utf8(read(&folder.join("plugin.toml"))).expect("a manifest is text");
        Self { component, manifest, config: None, approve: true }
    }

    fn read(folder: &Path, name: &str) -> Self {
        let file = |extension: &str| {
            let path = folder.join(name).with_extension(extension);
            std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; `cargo xtask plugins` builds it", path.display()))
        };
        let manifest = String::from_utf8(file("toml")).expect("a manifest is text");
        Self { component: file("wasm"), manifest, config: None, approve: true }
    }

    /// From a component's text, with the smallest manifest.
    pub fn of(name: &str, component: Vec<u8>) -> Self {
        Self { component, manifest: format!("name = {name:?}\nversion = \"1.0.0\"\n"), config: None, approve: true }
    }

    pub fn name(&self) -> String {
        let name = self.table().remove("name").expect("a manifest has a name");
        name.as_str().expect("a name is text").to_owned()
    }

    /// The same plugin under another name, with topics, queues and points of its own.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        let old = self.name();
        Self { manifest: self.manifest.replace(&old, name), ..self }
    }

    #[must_use]
    pub fn versioned(self, version: &str) -> Self {
        self.edit(|manifest| drop(manifest.insert("version".to_owned(), version.into())))
    }

    #[must_use]
    pub fn unapproved(self) -> Self {
        Self { approve: false, ..self }
    }

    /// Sets `key` in the table at `path`, which is made if it is not there.
    #[must_use]
    pub fn with(self, path: &str, key: &str, value: impl Into<toml::Value>) -> Self {
        self.edit(|manifest| {
            let mut table = manifest;
            for step in path.split('.') {
                let below = table.entry(step).or_insert_with(|| Table::new().into());
                table = below.as_table_mut().expect("a path through tables");
            }
            table.insert(key.to_owned(), value.into());
        })
    }

    #[must_use]
    pub fn edit(self, change: impl FnOnce(&mut Table)) -> Self {
        let mut table = self.table();
        change(&mut table);
        Self { manifest: toml::to_string(&table).expect("a table is TOML"), ..self }
    }

    fn table(&self) -> Table {
        self.manifest.parse().expect("the manifest is TOML")
    }

    /// Other bytes that do the same: a custom section at the end.
    #[must_use]
    pub fn marked(mut self, mark: &str) -> Self {
        let name = b"mark";
        let size = u8::try_from(1 + name.len() + mark.len()).expect("a mark is short");
        assert!(size < 128, "one byte of LEB128 holds the size");
        self.component.extend([0, size, 4]);
        self.component.extend(name);
        self.component.extend(mark.as_bytes());
        self
    }
}

/// Names of all components below `target/fixtures`.
pub fn fixtures() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("target/fixtures")).expect("fixtures are built");
    let paths = entries.map(|entry| entry.expect("a folder can be read").path());
    let stem = |path: std::path::PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    paths.filter(|path| path.extension().is_some_and(|e| e == "wasm")).filter_map(stem).collect()
}
