//! Two limits of a bucket, entries and bytes, as the one weight that moka bounds.

use plinth_capability::cache::BucketLimits;

/// One less than the largest weight, which therefore never fits.
const MOST: u32 = u32::MAX - 1;

/// moka bounds the sum of one `u32` weight per entry. An entry weighs the larger
/// of the shares it takes of the two limits, so a sum within the capacity proves
/// that both limits hold: each sum of shares is at most the sum of the larger
/// ones. The price is that a bucket of large and small entries mixed may evict
/// when each limit is only half used; counting entries apart would need a second
/// eviction order beside moka's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// Of all entries together. A multiple of `per_entry`, so that exactly
    /// `max_entries` of the lightest entries fit.
    capacity: u32,
    /// What even an empty entry weighs.
    per_entry: u32,
    max_bytes: u64,
}

impl Scale {
    pub(super) fn new(limits: &BucketLimits) -> Self {
        let entries = u32::try_from(limits.max_entries).unwrap_or(u32::MAX).clamp(1, MOST);
        let per_entry = MOST / entries;
        Self { capacity: per_entry * entries, per_entry, max_bytes: limits.max_bytes.max(1) }
    }

    pub(super) fn capacity(self) -> u64 {
        u64::from(self.capacity)
    }

    /// Of an entry with so many bytes of key, value and tags.
    pub(super) fn of(self, bytes: usize) -> u32 {
        let share = (bytes as u128 * u128::from(self.capacity)).div_ceil(u128::from(self.max_bytes));
        u32::try_from(share).unwrap_or(u32::MAX).max(self.per_entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_fits_the_capacity_is_within_both_limits(
            max_entries in 1_u64..200, max_bytes in 1_u64..100_000, sizes in prop::collection::vec(0_usize..5_000, 0..300),
        ) {
            let scale = Scale::new(&BucketLimits { max_entries, max_bytes, ..BucketLimits::default() });
            let (mut weight, mut entries, mut bytes) = (0, 0, 0);
            for size in sizes {
                if weight + u64::from(scale.of(size)) <= scale.capacity() {
                    weight += u64::from(scale.of(size));
                    entries += 1;
                    bytes += size as u64;
                }
            }
            prop_assert!(entries <= max_entries && bytes <= max_bytes, "{} entries, {} bytes", entries, bytes);
        }

        #[test]
        fn each_limit_can_be_used_whole(max_entries in 1_u64..u64::from(u32::MAX)) {
            let scale = Scale::new(&BucketLimits { max_entries, max_bytes: u64::MAX, ..BucketLimits::default() });
            prop_assert_eq!(scale.capacity() / u64::from(scale.of(0)), max_entries);
            let scale = Scale::new(&BucketLimits { max_entries: u64::MAX, max_bytes: max_entries, ..BucketLimits::default() });
            let whole = usize::try_from(max_entries).expect("fits");
            prop_assert!(u64::from(scale.of(whole)) <= scale.capacity());
        }
    }
}
