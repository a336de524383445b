//! The Merkle trees of the protocol: batches of records, items of a frame, answers of a receipt.
//!
//! A tree has a power of two of leaves, so that a path's length tells only the size that the signed
//! statement names anyway. Leaves and inner nodes are hashed under different labels, so that
//! neither can stand for the other.

use crate::digest::Digest;

/// The most leaves a tree has.
pub const MAX_LEAVES: usize = 1024;

/// A tree over digests, kept whole so that it can give paths.
pub struct Tree {
    /// Level 0 holds the leaves, the last level the root alone.
    levels: Vec<Vec<Digest>>,
}

/// Error for a number of digests that makes no tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tree has a power of two of leaves, at most 1024; this one has {0}")]
pub struct TreeSizeError(pub usize);

impl Tree {
    /// Builds the tree over `leaves`.
    ///
    /// # Errors
    ///
    /// [`TreeSizeError`] unless their number is a power of two up to [`MAX_LEAVES`].
    pub fn new(leaves: Vec<Digest>) -> Result<Self, TreeSizeError> {
        let size = leaves.len();
        if !size.is_power_of_two() || size > MAX_LEAVES {
            return Err(TreeSizeError(size));
        }
        let mut levels = vec![leaves];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let above = level
                .chunks_exact(2)
                .filter_map(|pair| match pair {
                    [left, right] => Some(parent(left, right)),
                    _ => None,
                })
                .collect();
            levels.push(above);
        }
        Ok(Self { levels })
    }

    /// Builds the tree over `leaves`, filled up to a power of two with a digest that no leaf has.
    ///
    /// # Errors
    ///
    /// [`TreeSizeError`] if there are none or more than [`MAX_LEAVES`].
    pub fn padded(mut leaves: Vec<Digest>) -> Result<Self, TreeSizeError> {
        if leaves.is_empty() || leaves.len() > MAX_LEAVES {
            return Err(TreeSizeError(leaves.len()));
        }
        let filler = Digest::labelled("portcullis tree filler v1", &[]);
        leaves.resize(leaves.len().next_power_of_two(), filler);
        Self::new(leaves)
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.levels
            .last()
            .and_then(|level| level.first())
            .copied()
            .unwrap_or_else(|| Digest::from_bytes([0; 32]))
    }

    /// The number of leaves.
    #[must_use]
    pub fn size(&self) -> usize {
        self.levels.first().map_or(0, Vec::len)
    }

    /// Returns the siblings on the path from leaf `position` up to below the root; empty beyond the
    /// last leaf.
    #[must_use]
    pub fn path(&self, position: usize) -> Vec<Digest> {
        if position >= self.size() {
            return Vec::new();
        }
        let below_root = self.levels.len().saturating_sub(1);
        self.levels
            .iter()
            .take(below_root)
            .enumerate()
            .filter_map(|(height, level)| level.get((position >> height) ^ 1).copied())
            .collect()
    }
}

fn parent(left: &Digest, right: &Digest) -> Digest {
    Digest::labelled(
        "portcullis batch node v1",
        &[left.as_bytes(), right.as_bytes()],
    )
}

/// Computes the root from `leaf` at `position` and its siblings. The caller has checked that the
/// path has as many siblings as the tree has levels, and that `position` lies within it.
#[must_use]
pub fn root_from_path(leaf: Digest, position: usize, path: &[Digest]) -> Digest {
    path.iter()
        .enumerate()
        .fold(leaf, |node, (level, sibling)| {
            step(node, *sibling, position, level)
        })
}

/// Computes the node above `node`, which is the node of this level on the path from leaf
/// `position`.
fn step(node: Digest, sibling: Digest, position: usize, level: usize) -> Digest {
    if (position >> level) & 1 == 0 {
        parent(&node, &sibling)
    } else {
        parent(&sibling, &node)
    }
}

/// The nodes of one tree that are known to lead to its root, learned from the paths of its leaves.
///
/// A path that leads to the root proves every node on it and beside it. Thus the leaves of a whole
/// batch, checked one after the other, cost one hash each instead of one for each level.
#[derive(Debug, Clone)]
pub struct KnownNodes {
    root: Digest,
    height: usize,
    /// The root at 1, the two nodes below it at 2 and 3, and so on; allocated when the first path
    /// is learned.
    nodes: Vec<Option<Digest>>,
}

impl KnownNodes {
    /// Starts with the root only, of a tree with `size` leaves, a power of two.
    #[must_use]
    pub const fn new(root: Digest, size: usize) -> Self {
        Self {
            root,
            height: size.trailing_zeros() as usize,
            nodes: Vec::new(),
        }
    }

    /// Returns whether `leaf` at `position` and its siblings lead to the root, as
    /// [`root_from_path`] computes it; no sibling goes unchecked. The caller has checked that the
    /// path has as many siblings as the tree has levels, and that `position` lies within it.
    pub fn leads(&mut self, leaf: Digest, position: usize, path: &[Digest]) -> bool {
        let mut node = leaf;
        let mut climbed = Vec::with_capacity(path.len());
        for (level, sibling) in path.iter().enumerate() {
            if let Some(known) = self.known(position, level) {
                return known == node && self.knows_beside(position, level, path) && {
                    self.learn(position, &climbed);
                    true
                };
            }
            climbed.push((node, *sibling));
            node = step(node, *sibling, position, level);
        }
        let leads = node == self.root;
        if leads {
            self.learn(position, &climbed);
        }
        leads
    }

    /// Returns the place in `nodes` of this level's node on the path from leaf `position`.
    const fn place(&self, position: usize, level: usize) -> usize {
        (1 << (self.height - level)) + (position >> level)
    }

    fn known(&self, position: usize, level: usize) -> Option<Digest> {
        let place = self.place(position, level);
        self.nodes.get(place).copied().flatten()
    }

    /// Returns whether the siblings from this level on are the known ones. If a node is known to
    /// lead to the root, all nodes on and beside its path are known.
    fn knows_beside(&self, position: usize, level: usize, path: &[Digest]) -> bool {
        let rest = path.iter().enumerate().skip(level);
        rest.into_iter().all(|(level, sibling)| {
            let place = self.place(position, level) ^ 1;
            self.nodes.get(place) == Some(&Some(*sibling))
        })
    }

    fn learn(&mut self, position: usize, climbed: &[(Digest, Digest)]) {
        if self.nodes.is_empty() {
            self.nodes.resize(2 << self.height, None);
        }
        for (level, (node, sibling)) in climbed.iter().enumerate() {
            let place = self.place(position, level);
            for (place, digest) in [(place, node), (place ^ 1, sibling)] {
                if let Some(known) = self.nodes.get_mut(place) {
                    *known = Some(*digest);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: usize) -> Vec<Digest> {
        (0..count)
            .map(|i| Digest::labelled("leaf", &[&i.to_be_bytes()]))
            .collect()
    }

    #[test]
    fn every_leaf_leads_to_the_root_from_its_place_only() {
        for size in [1, 2, 4, 16, 1024] {
            let leaves = leaves(size);
            let tree = Tree::new(leaves.clone()).unwrap();
            for (position, leaf) in leaves.iter().enumerate() {
                let path = tree.path(position);
                assert_eq!(path.len(), size.trailing_zeros() as usize);
                assert_eq!(root_from_path(*leaf, position, &path), tree.root());
                if size > 1 {
                    assert_ne!(root_from_path(*leaf, position ^ 1, &path), tree.root());
                }
            }
        }
    }

    #[test]
    fn what_is_known_says_of_every_path_what_hashing_says() {
        for size in [1, 2, 8, 64] {
            let leaves = leaves(size);
            let tree = Tree::new(leaves.clone()).unwrap();
            let mut known = KnownNodes::new(tree.root(), size);
            // Leaves are taken backwards and then forwards; each is tried with every sibling
            // changed once, and unchanged.
            for position in (0..size).rev().chain(0..size) {
                let path = tree.path(position);
                for level in 0..path.len() {
                    let mut changed = path.clone();
                    changed[level] = Digest::labelled("other", &[]);
                    assert!(!known.leads(leaves[position], position, &changed));
                }
                let other = Digest::labelled("no leaf", &[]);
                assert!(!known.leads(other, position, &path));
                if size > 1 {
                    assert!(!known.leads(leaves[position], position ^ 1, &path));
                }
                assert!(known.leads(leaves[position], position, &path));
            }
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_teaches_nothing() {
        let leaves = leaves(4);
        let tree = Tree::new(leaves.clone()).unwrap();
        let mut known = KnownNodes::new(tree.root(), 4);
        let forged = Digest::labelled("forged", &[]);
        assert!(!known.leads(forged, 0, &tree.path(0)));
        assert!(!known.leads(forged, 0, &tree.path(0)));
        let beside = [forged, tree.path(1)[1]];
        assert!(!known.leads(leaves[1], 1, &beside));
    }

    #[test]
    fn other_sizes_are_no_trees() {
        for size in [0, 3, 2048] {
            assert!(Tree::new(leaves(size)).is_err(), "{size}");
        }
        assert_eq!(Tree::padded(leaves(3)).unwrap().size(), 4);
        assert!(Tree::padded(leaves(1025)).is_err());
        assert!(Tree::padded(Vec::new()).is_err());
    }

    #[test]
    fn an_inner_node_is_no_leaf() {
        let tree = Tree::new(leaves(4)).unwrap();
        let inner = Tree::new(tree.levels[1].clone()).unwrap();
        // The collapsed tree has the same root but half the size, which the statement binds.
        assert_eq!(inner.root(), tree.root());
        assert_ne!(inner.size(), tree.size());
    }
}
