//! The guest's allocator: a call starts in static memory and asks for more only when that is used up.
//!
//! An instance serves one call. Growing its memory costs the host two system
//! calls, which is more than many a call does otherwise; and what a short call
//! gives back nobody needs again. So the first 64 KiB come from a static arena
//! whose end moves, and only the last piece is taken back; everything beyond is
//! the standard allocator's.

#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::{Cell, UnsafeCell},
};

/// One page of WebAssembly.
#[cfg(all(target_family = "wasm", not(target_feature = "atomics")))]
#[global_allocator]
static ALLOCATOR: Arena<{ 64 << 10 }> = Arena::new();

#[repr(C, align(16))]
struct Arena<const N: usize> {
    bytes: UnsafeCell<[u8; N]>,
    used: Cell<usize>,
}

// SAFETY: the static exists only where a guest has one thread.
#[cfg(all(target_family = "wasm", not(target_feature = "atomics")))]
unsafe impl<const N: usize> Sync for Arena<N> {}

impl<const N: usize> Arena<N> {
    const fn new() -> Self {
        Self { bytes: UnsafeCell::new([0; N]), used: Cell::new(0) }
    }

    fn base(&self) -> *mut u8 {
        self.bytes.get().cast()
    }

    /// Where `piece` begins within the arena, if it is one of its pieces.
    fn offset(&self, piece: *mut u8) -> Option<usize> {
        let offset = (piece as usize).wrapping_sub(self.base() as usize);
        (offset < N).then_some(offset)
    }

    /// A free piece, or nothing if the rest is too small.
    fn take(&self, layout: Layout) -> Option<*mut u8> {
        let (base, used) = (self.base() as usize, self.used.get());
        let start = (base + used).checked_next_multiple_of(layout.align())? - base;
        let end = start.checked_add(layout.size())?;
        if end > N {
            return None;
        }
        self.used.set(end);
        Some(self.base().wrapping_add(start))
    }

    fn is_last(&self, offset: usize, size: usize) -> bool {
        offset + size == self.used.get()
    }
}

// SAFETY: pieces of the arena do not overlap, because `used` only goes back
// over the last of them, and lie within it; all others are `System`'s.
unsafe impl<const N: usize> GlobalAlloc for Arena<N> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those `System` asks for.
        self.take(layout).unwrap_or_else(|| unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            Some(piece) => {
                // SAFETY: `take` answers a piece of this size.
                unsafe { piece.write_bytes(0, layout.size()) };
                piece
            }
            // SAFETY: the caller's promises are those `System` asks for.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        match self.offset(piece) {
            Some(offset) if self.is_last(offset, layout.size()) => self.used.set(offset),
            Some(_) => {}
            // SAFETY: not of the arena, so of `System`, with the same layout.
            None => unsafe { System.dealloc(piece, layout) },
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = self.offset(piece) else {
            // SAFETY: not of the arena, so of `System`, with the same layout.
            return unsafe { System.realloc(piece, layout, size) };
        };
        if self.is_last(offset, layout.size()) && offset.checked_add(size).is_some_and(|end| end <= N) {
            self.used.set(offset + size);
            return piece;
        }
        if size <= layout.size() {
            return piece;
        }
        // SAFETY: the caller promises a size that makes a layout; both pieces
        // hold the bytes that are copied, and a new piece is not the old one.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(piece, layout.size());
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    /// Random calls against a model: pieces keep their bytes, are aligned and
    /// come from the system once the arena is used up.
    #[test]
    fn pieces_keep_what_is_written_to_them() {
        let arena = Box::new(Arena::<4_096>::new());
        let mut seed = 0x9e37_79b9_u32;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % below
        };
        let mut held: Vec<(*mut u8, Layout, u8)> = Vec::new();
        let mut outside = 0;
        for round in 0..20_000_usize {
            let fill = (round % 251) as u8;
            // SAFETY: every piece is used within its layout and given back with it.
            unsafe {
                match random(4) {
                    0 | 1 if held.len() < 64 => {
                        let layout = layout(1 + random(200), 1 << random(5));
                        let piece = arena.alloc(layout);
                        assert_eq!(piece as usize % layout.align(), 0);
                        outside += usize::from(arena.offset(piece).is_none());
                        piece.write_bytes(fill, layout.size());
                        held.push((piece, layout, fill));
                    }
                    2 if !held.is_empty() => {
                        let (piece, old, fill) = held.swap_remove(random(held.len()));
                        let new = layout(1 + random(300), old.align());
                        let piece = arena.realloc(piece, old, new.size());
                        for at in 0..old.size().min(new.size()) {
                            assert_eq!(*piece.add(at), fill, "a byte was lost in growing");
                        }
                        piece.write_bytes(fill, new.size());
                        held.push((piece, new, fill));
                    }
                    _ if !held.is_empty() => {
                        let (piece, layout, fill) = held.swap_remove(random(held.len()));
                        for at in 0..layout.size() {
                            assert_eq!(*piece.add(at), fill, "another piece wrote here");
                        }
                        arena.dealloc(piece, layout);
                    }
                    _ => {}
                }
            }
        }
        assert!(outside > 0, "the arena was never used up");
    }

    #[test]
    fn the_last_piece_is_taken_back_and_grows_in_place() {
        let arena = Box::new(Arena::<256>::new());
        // SAFETY: as above.
        unsafe {
            let first = arena.alloc(layout(100, 1));
            assert_eq!(arena.realloc(first, layout(100, 1), 200), first);
            let second = arena.alloc_zeroed(layout(56, 1));
            arena.dealloc(second, layout(56, 1));
            second.write_bytes(7, 56);
            let again = arena.alloc_zeroed(layout(56, 1));
            assert_eq!(again, second, "its place is free again");
            assert_eq!(*again, 0, "memory used before is cleared when asked");
            assert!(arena.offset(arena.alloc(layout(1, 1))).is_none(), "256 bytes are 256 bytes");
        }
    }
}
