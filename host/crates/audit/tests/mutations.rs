//! The fuzzers' properties on mutated seeds, on the stable compiler.

#![cfg(test)]

#[path = "../fuzz/properties.rs"]
mod properties;

use proptest::{prelude::*, sample::Index};
use std::{fs, path::Path};

/// How a seed is changed.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Remove(Index, Index),
    Repeat(Index, Index),
    Insert(Index, Vec<u8>),
    Swap(Index, Index),
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let token = prop_oneof![
        prop::sample::select(vec![
            "\n",
            "\n\n",
            "\u{2014} ",
            "\"",
            "\\u0000",
            "\\",
            "{",
            "[",
            ",",
            ".p/",
            "x000/",
            "0",
            "-0",
            "9007199254740992",
            "=",
            "+",
            "none",
            "\u{e000}",
            "\u{1f600}"
        ])
        .prop_map(|token| token.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 1..4),
    ];
    let place = any::<Index>;
    let mutation = prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        (place(), place()).prop_map(|(from, to)| Mutation::Remove(from, to)),
        (place(), place()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
        (place(), token).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (place(), place()).prop_map(|(a, b)| Mutation::Swap(a, b)),
    ];
    prop::collection::vec(mutation, 0..4)
}

fn mutate(mut bytes: Vec<u8>, mutations: Vec<Mutation>) -> Vec<u8> {
    for mutation in mutations {
        // One more than there are bytes, so that the end is a place too.
        let place = |index: Index, bytes: &[u8]| index.index(bytes.len() + 1);
        match mutation {
            Mutation::Flip(at, bits) => bytes.iter_mut().skip(at.index(1_000)).take(1).for_each(|byte| *byte ^= bits),
            Mutation::Remove(a, b) | Mutation::Repeat(a, b) => {
                let (a, b) = (place(a, &bytes), place(b, &bytes));
                let range = a.min(b)..a.max(b);
                let again = if matches!(mutation, Mutation::Repeat(..)) { bytes[range.clone()].repeat(2) } else { Vec::new() };
                bytes.splice(range, again);
            }
            Mutation::Insert(at, more) => {
                let at = place(at, &bytes);
                bytes.splice(at..at, more);
            }
            Mutation::Swap(a, b) if !bytes.is_empty() => {
                let length = bytes.len();
                bytes.swap(a.index(length), b.index(length));
            }
            Mutation::Swap(..) => {}
        }
    }
    bytes
}

fn check(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut seeds: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    let seeds: Vec<_> = seeds.into_iter().map(|path| fs::read(path).unwrap()).collect();
    seeds.iter().for_each(|seed| property(seed));
    proptest!(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() }, |(seed in any::<Index>(), changes in mutations())| {
        property(&mutate(seeds[seed.index(seeds.len())].clone(), changes));
    });
}

/// A test for each property, of the same name.
macro_rules! targets {
    ($($target:ident),*) => { $(
        #[test]
        fn $target() {
            check(stringify!($target), properties::$target);
        }
    )* };
}

targets!(canonical, note, checkpoint, tile_path, proof, policy, request, bundle);
