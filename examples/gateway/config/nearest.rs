//! The known name nearest to one that is not known.

/// The candidate with the fewest edits from `wanted`; of equals, the first.
pub(super) fn nearest<'k>(wanted: &str, candidates: impl IntoIterator<Item = &'k str>) -> Option<Nearest<'k>> {
    candidates.into_iter().map(|name| Nearest { name, edits: edits(wanted, name) }).min_by_key(|nearest| nearest.edits)
}

pub(super) struct Nearest<'k> {
    pub(super) name: &'k str,
    edits: usize,
}

impl Nearest<'_> {
    /// Whether it is likely what was meant: a third of a name's characters may differ, and one always may, but not all.
    pub(super) fn is_close(&self) -> bool {
        let length = self.name.chars().count();
        self.edits <= (length / 3).max(1) && self.edits < length
    }
}

/// Insertions, deletions, substitutions and swaps of neighbours that lead from one word to the other: the optimal
/// string alignment distance.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut previous = None;
    for (row, a) in from.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, b) in to.iter().copied().enumerate() {
            let mut least = (last[column] + usize::from(a != b)).min(last[column + 1] + 1).min(current[column] + 1);
            if column > 0 && previous == Some(b) && to[column - 1] == a {
                least = least.min(before_last[column - 1] + 1);
            }
            current.push(least);
        }
        before_last = std::mem::replace(&mut last, current);
        previous = Some(a);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_count_insertions_deletions_substitutions_and_swaps() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("listen", "listen", 0),
            ("lisen", "listen", 1),
            ("listten", "listen", 1),
            ("lixten", "listen", 1),
            ("lsiten", "listen", 1),
            ("worker", "workers", 1),
            ("über", "uber", 1),
        ] {
            assert_eq!(edits(from, to), expected, "{from:?} to {to:?}");
        }
    }

    #[test]
    fn the_nearest_of_several_is_chosen_and_another_word_is_not_close() {
        let known = ["header_read_timeout", "body_read_timeout", "write_timeout"];
        let found = nearest("body_raed_timeout", known).expect("there are candidates");
        assert_eq!(found.name, "body_read_timeout");
        assert!(found.is_close());
        assert!(!nearest("colour", known).expect("there are candidates").is_close());
        assert!(nearest("colour", []).is_none());
    }
}
