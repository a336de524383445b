//! Index of counts: one node for each value at each level.
//!
//! A node's counts are the sums of the cells below it. Values are interned, so that finding a
//! consignment's nodes costs two table look-ups for each level and copies nothing.

use std::collections::HashMap;

use crate::{
    consignment::Consignment,
    pool::{Pool, Source},
    profile::{CellKey, Counts},
    schema::{FieldIndex, Level, Schema},
};

/// Position of a node in its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Node(u32);

impl Node {
    /// The node over all counts.
    pub(crate) const ROOT: Self = Self(0);

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Position of a source in its index.
type SourceIndex = usize;

/// Summed counts at every level.
#[derive(Debug, Clone)]
pub struct Levels {
    key: Vec<FieldIndex>,
    levels: Vec<Level>,
    tokens: HashMap<Box<str>, u32>,
    children: HashMap<(Node, u32), Node>,
    counts: Vec<Counts>,
    sources: Vec<Source>,
    /// Pairs of a node and a source that counts there; sorted, each pair once.
    said: Vec<(Node, SourceIndex)>,
}

impl Levels {
    /// Sums up the counts of `pool`, at every level of `schema`.
    #[must_use]
    pub fn of(schema: &Schema, pool: &Pool) -> Self {
        let mut index = Self {
            key: schema.key().to_vec(),
            levels: schema.levels().to_vec(),
            tokens: HashMap::new(),
            children: HashMap::new(),
            counts: vec![Counts::none()],
            sources: Vec::new(),
            said: Vec::new(),
        };
        for (at, (source, cells)) in pool.counted().into_iter().enumerate() {
            index.sources.push(source);
            for (key, counts) in cells {
                index.count(key, counts, at);
            }
        }
        index.said.sort_unstable();
        index.said.dedup();
        index
    }

    /// Returns the sum of all counts.
    #[must_use]
    pub fn total(&self) -> Counts {
        self.counts.first().copied().unwrap_or_default()
    }

    /// Returns the levels, the coarsest first.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Returns the sources of the counts.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Returns the counts on the path of `consignment`: the total, then one entry for each level,
    /// down to the most specific at which any control was counted.
    #[must_use]
    pub fn counts_of(&self, consignment: &Consignment) -> Vec<Counts> {
        let nodes = self.path(consignment);
        nodes.into_iter().map(|node| self.counts_at(node)).collect()
    }

    pub(crate) fn node_count(&self) -> usize {
        self.counts.len()
    }

    pub(crate) fn counts_at(&self, node: Node) -> Counts {
        self.counts.get(node.index()).copied().unwrap_or_default()
    }

    /// Returns the nodes of `consignment` from the root down, as far as they exist.
    pub(crate) fn path(&self, consignment: &Consignment) -> Vec<Node> {
        let mut node = Node::ROOT;
        let mut path = Vec::with_capacity(self.levels.len() + 1);
        path.push(node);
        for level in &self.levels {
            let value = self
                .key
                .get(level.part)
                .map_or("", |field| consignment.value(*field));
            let token = self.tokens.get(level.portion(value));
            let Some(child) = token.and_then(|token| self.children.get(&(node, *token))) else {
                break;
            };
            node = *child;
            path.push(node);
        }
        path
    }

    /// Returns the name of each level with the consignment's value at that level.
    pub(crate) fn portions<'c>(
        &'c self,
        consignment: &'c Consignment,
    ) -> impl Iterator<Item = (&'c str, &'c str)> {
        self.levels.iter().map(|level| {
            let value = self
                .key
                .get(level.part)
                .map_or("", |field| consignment.value(*field));
            (level.name(), level.portion(value))
        })
    }

    /// Returns the sources that count at `node`.
    pub(crate) fn sources_at(&self, node: Node) -> impl Iterator<Item = &Source> {
        let from = self.said.partition_point(|(other, _)| *other < node);
        let said = self.said.get(from..).unwrap_or_default();
        said.iter()
            .take_while(move |(other, _)| *other == node)
            .filter_map(|(_, source)| self.sources.get(*source))
    }

    fn count(&mut self, key: &CellKey, counts: Counts, source: SourceIndex) {
        let values: Vec<&str> = key.values().collect();
        let mut node = Node::ROOT;
        self.add_at(node, counts, source);
        for at in 0..self.levels.len() {
            let Some(level) = self.levels.get(at) else {
                break;
            };
            let portion = level.portion(values.get(level.part).copied().unwrap_or_default());
            let token = intern(&mut self.tokens, portion);
            node = self.child(node, token);
            self.add_at(node, counts, source);
        }
    }

    fn add_at(&mut self, node: Node, counts: Counts, source: SourceIndex) {
        if let Some(sum) = self.counts.get_mut(node.index()) {
            *sum = sum.plus(counts);
        }
        self.said.push((node, source));
    }

    fn child(&mut self, parent: Node, token: u32) -> Node {
        let next = Node(u32::try_from(self.counts.len()).unwrap_or(u32::MAX));
        let child = *self.children.entry((parent, token)).or_insert(next);
        if child == next {
            self.counts.push(Counts::none());
        }
        child
    }
}

fn intern(tokens: &mut HashMap<Box<str>, u32>, text: &str) -> u32 {
    if let Some(token) = tokens.get(text) {
        return *token;
    }
    let token = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
    tokens.insert(text.into(), token);
    token
}
