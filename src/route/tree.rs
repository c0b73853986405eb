//! A tree of segments: the parts of a path from the left, or the labels of a host from the right.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// A step down costs one look-up by hash, so a walk costs what its own segments cost, however many there are beside them.
#[derive(Clone, Debug)]
pub(super) struct Tree<T> {
    /// The root comes first.
    nodes: Vec<Node<T>>,
}

#[derive(Clone, Debug, Default)]
struct Node<T> {
    value: T,
    below: HashMap<Box<str>, usize, RandomState>,
}

impl<T: Default> Tree<T> {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::default()] }
    }

    /// The value at the end of `segments`, made now if there is none.
    pub(super) fn entry<'a>(&mut self, segments: impl Iterator<Item = &'a str>) -> &mut T {
        let mut at = 0;
        for segment in segments {
            at = match self.nodes[at].below.get(segment) {
                Some(node) => *node,
                None => {
                    let node = self.nodes.len();
                    self.nodes.push(Node::default());
                    self.nodes[at].below.insert(segment.into(), node);
                    node
                }
            };
        }
        &mut self.nodes[at].value
    }

    /// Walks down along `segments` as far as the tree goes with them, and shows each value on the way, the root's first, and
    /// whether the segments end there.
    pub(super) fn walk<'t, 'a>(
        &'t self,
        mut segments: impl Iterator<Item = &'a str>,
        mut see: impl FnMut(&'t T, bool),
    ) {
        let mut at = &self.nodes[0];
        loop {
            let next = segments.next();
            see(&at.value, next.is_none());
            match next.and_then(|segment| at.below.get(segment)) {
                Some(node) => at = &self.nodes[*node],
                None => return,
            }
        }
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.nodes.iter_mut().map(|node| &mut node.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(tree: &Tree<u32>, path: &str) -> Vec<(u32, bool)> {
        let mut seen = Vec::new();
        tree.walk(path.split('/'), |value, ends| seen.push((*value, ends)));
        seen
    }

    #[test]
    fn a_walk_ends_where_the_tree_or_the_segments_do() {
        let mut tree = Tree::new();
        *tree.entry("a/b".split('/')) = 2;
        *tree.entry("a".split('/')) = 1;
        assert_eq!(seen(&tree, "a/b/c"), [(0, false), (1, false), (2, false)]);
        assert_eq!(seen(&tree, "a/b"), [(0, false), (1, false), (2, true)]);
        assert_eq!(seen(&tree, "a/x/b"), [(0, false), (1, false)]);
        assert_eq!(seen(&tree, "ab"), [(0, false)]);
    }
}
