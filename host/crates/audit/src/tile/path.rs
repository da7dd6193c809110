//! The names of tiles and entry bundles.

use super::{LEVEL_MAX, TILE_WIDTH, TileError};
use crate::text;
use std::fmt;

/// Indexes are below this: with 256 hashes each, all fit 64 bits.
const INDEX_END: u64 = 1 << 56;

/// The name of a tile. It is written as its path: `tile/<level>/<index>[.p/<width>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    level: u8,
    index: u64,
    width: u16,
}

/// What a tile log serves beside its checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// `tile/<level>/<index>[.p/<width>]`: hashes.
    Tile(TileId),
    /// `tile/entries/<index>[.p/<width>]`: the records below the level-0 tile of this index and width.
    Entries {
        /// Counted in bundles of 256 entries; below 2^56.
        index: u64,
        /// 1 to 256.
        width: u16,
    },
}

impl TileId {
    /// A tile: level 0 to 63, index below 2^56, width 1 to 256.
    ///
    /// # Errors
    /// [`TileError::Range`].
    pub fn new(level: u8, index: u64, width: u16) -> Result<Self, TileError> {
        let fits = level <= LEVEL_MAX && index < INDEX_END && (1..=TILE_WIDTH).contains(&width);
        if fits { Ok(Self { level, index, width }) } else { Err(TileError::Range) }
    }

    /// 0 for hashes of leaves; each level above, hashes of full tiles of the one below.
    #[must_use]
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// Counted from the left, within the level.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Hashes in the tile.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Whether there are 256.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The full tile that this one becomes when the tree grows.
    #[must_use]
    pub const fn full(self) -> Self {
        Self { width: TILE_WIDTH, ..self }
    }

    /// The path below the log's prefix.
    #[must_use]
    pub fn path(&self) -> String {
        self.to_string()
    }

    /// Reads a path; limits as for [`Resource::parse`].
    ///
    /// # Errors
    /// [`TileError::Path`], also for the path of an entry bundle.
    pub fn parse(path: &str) -> Result<Self, TileError> {
        match Resource::parse(path)? {
            Resource::Tile(id) => Ok(id),
            Resource::Entries { .. } => Err(TileError::Path),
        }
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        write_index(f, self.index, self.width)
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tile(id) => id.fmt(f),
            Self::Entries { index, width } => {
                f.write_str("tile/entries/")?;
                write_index(f, *index, *width)
            }
        }
    }
}

impl Resource {
    /// Reads a path below the log's prefix (no leading slash). Only the one spelling
    /// that tlog-tiles gives each resource is accepted, so no path is longer than 47 bytes.
    ///
    /// # Errors
    /// [`TileError::Path`].
    pub fn parse(path: &str) -> Result<Self, TileError> {
        Self::read(path).ok_or(TileError::Path)
    }

    fn read(path: &str) -> Option<Self> {
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let (index, width) = read_index(rest)?;
        if kind == "entries" {
            return Some(Self::Entries { index, width });
        }
        let level = u8::try_from(text::decimal(kind)?).ok()?;
        TileId::new(level, index, width).ok().map(Self::Tile)
    }
}

fn write_index(f: &mut fmt::Formatter<'_>, index: u64, width: u16) -> fmt::Result {
    let mut groups = vec![index % 1_000];
    let mut rest = index / 1_000;
    while rest > 0 {
        groups.push(rest % 1_000);
        rest /= 1_000;
    }
    for (left, group) in groups.iter().enumerate().rev() {
        if left > 0 {
            write!(f, "x{group:03}/")?;
        } else {
            write!(f, "{group:03}")?;
        }
    }
    if width == TILE_WIDTH { Ok(()) } else { write!(f, ".p/{width}") }
}

fn read_index(text: &str) -> Option<(u64, u16)> {
    let (index, width) = match text.split_once(".p/") {
        Some((index, width)) => {
            let width = u16::try_from(text::decimal(width)?).ok()?;
            (index, Some(width).filter(|width| (1..TILE_WIDTH).contains(width))?)
        }
        None => (text, TILE_WIDTH),
    };
    let (high, last) = index.rsplit_once('/').map_or((None, index), |(high, last)| (Some(high), last));
    let mut number = 0_u64;
    if let Some(high) = high {
        for (place, element) in high.split('/').enumerate() {
            let value = group(element.strip_prefix('x')?)?;
            // A leading group of zeroes would be a second spelling.
            if place == 0 && value == 0 {
                return None;
            }
            number = number.checked_mul(1_000)?.checked_add(value)?;
        }
    }
    number = number.checked_mul(1_000)?.checked_add(group(last)?)?;
    (number < INDEX_END).then_some((number, width))
}

/// Three digits.
fn group(text: &str) -> Option<u64> {
    let fits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_spelt_as_the_specification_spells_them() {
        let cases = [
            ("tile/0/000", 0, 0, 256),
            ("tile/0/005.p/1", 0, 5, 1),
            ("tile/1/x001/x234/067", 1, 1_234_067, 256),
            ("tile/63/x001/000.p/255", 63, 1_000, 255),
        ];
        for (path, level, index, width) in cases {
            let id = TileId::new(level, index, width).unwrap();
            assert_eq!(id.path(), path);
            assert_eq!(TileId::parse(path), Ok(id));
        }
        assert_eq!(Resource::parse("tile/entries/x001/234.p/7"), Ok(Resource::Entries { index: 1_234, width: 7 }));
    }

    #[test]
    fn there_is_no_second_spelling() {
        let bad = [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/0/00",
            "tile/0/0000",
            "tile/0/x000/001",
            "tile/0/001/002",
            "tile/0/x001",
            "tile/0/x001/x002",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000.p",
            "tile/0/000/",
            "/tile/0/000",
            "tile/0/+01",
            "tile/Entries/000",
            "tile/entries/x1/000",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
            "tile/0/000.p/1.p/1",
            "tile/0/ 00",
            "tile/0/x072/x057/x594/x037/x927/936",
        ];
        for path in bad {
            assert_eq!(Resource::parse(path), Err(TileError::Path), "{path:?}");
        }
        assert_eq!(TileId::new(0, 0, 0), Err(TileError::Range));
        assert_eq!(TileId::new(64, 0, 1), Err(TileError::Range));
    }

    proptest! {
        #[test]
        fn a_path_reads_back(level in 0_u8..=63, index in 0..INDEX_END, width in 1_u16..=256) {
            let tile = Resource::Tile(TileId::new(level, index, width).unwrap());
            prop_assert_eq!(Resource::parse(&tile.to_string()), Ok(tile));
            prop_assert!(tile.to_string().len() <= 47);
            let entries = Resource::Entries { index, width };
            prop_assert_eq!(Resource::parse(&entries.to_string()), Ok(entries));
            prop_assert!(entries.to_string().len() <= 47);
        }

        #[test]
        fn what_is_read_is_written_so(path in "tile/(entries|[0-9]{1,2})/(x[0-9]{3}/){0,3}[0-9]{3}(\\.p/[0-9]{1,3})?") {
            if let Ok(resource) = Resource::parse(&path) {
                prop_assert_eq!(resource.to_string(), path);
            }
        }
    }
}
