//! Sets of places in a log, as stretches from a first to a last seq.
//!
//! The invariant: stretches are in order, not empty, and neither overlap nor touch. It must not know what is stored at
//! the places.

/// A stretch of a log, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Range {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Range {
    pub(crate) fn contains(&self, seq: u64) -> bool {
        (self.first..=self.last).contains(&seq)
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// A set of places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<Range>);

impl Ranges {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range> + '_ {
        self.0.iter().copied()
    }

    /// Adds a stretch; what touches becomes one. A backward one adds nothing.
    pub(crate) fn add(&mut self, mut new: Range) {
        if new.first > new.last {
            return;
        }
        let start = self.0.partition_point(|range| range.last.saturating_add(1) < new.first);
        let end = self.0.partition_point(|range| range.first <= new.last.saturating_add(1));
        if let Some(touched) = self.0.get(start..end) {
            new.first = touched.first().map_or(new.first, |range| range.first.min(new.first));
            new.last = touched.last().map_or(new.last, |range| range.last.max(new.last));
        }
        self.0.splice(start..end.max(start), [new]);
    }

    /// Whether all places of a stretch are in the set.
    pub(crate) fn contains_all(&self, stretch: Range) -> bool {
        let at = self.0.partition_point(|range| range.last < stretch.first);
        self.0.get(at).is_some_and(|range| range.first <= stretch.first && stretch.last <= range.last)
    }

    /// What is in this set and not in the other.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        let mut others = other.0.iter().copied().peekable();
        for range in &self.0 {
            let mut first = range.first;
            while others.next_if(|other| other.last < range.first).is_some() {}
            let mut ended = false;
            while let Some(other) = others.peek().filter(|other| other.first <= range.last).copied() {
                if first < other.first {
                    left.push(Range { first, last: other.first - 1 });
                }
                if other.last >= range.last {
                    ended = true;
                    break;
                }
                first = other.last + 1;
                others.next();
            }
            if !ended && first <= range.last {
                left.push(Range { first, last: range.last });
            }
        }
        Self(left)
    }
}

impl FromIterator<Range> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range>>(all: I) -> Self {
        let mut ranges = Self::default();
        all.into_iter().for_each(|range| ranges.add(range));
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn stretches() -> impl Strategy<Value = Vec<Range>> {
        proptest::collection::vec(
            (1u64..40, 0u64..8).prop_map(|(first, more)| Range { first, last: first + more }),
            0..12,
        )
    }

    fn places(ranges: &[Range]) -> BTreeSet<u64> {
        ranges.iter().flat_map(|range| range.first..=range.last).collect()
    }

    proptest! {
        #[test]
        fn they_are_sets_of_places(a in stretches(), b in stretches(), probe in 1u64..45, length in 0u64..6) {
            let (all, others): (Ranges, Ranges) = (a.iter().copied().collect(), b.iter().copied().collect());
            let (set, other_set) = (places(&a), places(&b));
            prop_assert_eq!(places(&all.0), set.clone());
            prop_assert!(all.0.windows(2).all(|pair| pair[0].last + 1 < pair[1].first));
            let left: Vec<Range> = all.without(&others).iter().collect();
            prop_assert_eq!(places(&left), set.difference(&other_set).copied().collect::<BTreeSet<_>>());
            prop_assert!(left.windows(2).all(|pair| pair[0].last + 1 < pair[1].first));
            let stretch = Range { first: probe, last: probe + length };
            prop_assert_eq!(all.contains_all(stretch), (probe..=probe + length).all(|seq| set.contains(&seq)));
        }
    }
}
