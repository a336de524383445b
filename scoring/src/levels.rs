//! Index of counts: one node for each value at each level.
//!
//! A node's counts are the sums of the cells below it, over the sources that count. They are kept
//! for each source apart as well, so that the counts without some of the members can be had. Values
//! are interned, so that finding a consignment's nodes costs two table look-ups for each level and
//! copies nothing.

use std::collections::{BTreeSet, HashMap};

use portcullis_protocol::identifiers::AuthorityId;

use crate::{
    consignment::Consignment,
    pool::{Choice, Pool, Source},
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
    /// Counts of each node over the sources that count.
    counts: Vec<Counts>,
    /// Everything that may count, in the order of preference.
    sources: Vec<Source>,
    /// The sources that count.
    choice: Choice,
    /// Counts of each source at each node; sorted, each pair of node and source once.
    said: Vec<(Node, SourceIndex, Counts)>,
    /// Position in `said` at which each node begins.
    begins: Vec<usize>,
}

impl Levels {
    /// Sums up the counts of `pool`, at every level of `schema`.
    #[must_use]
    pub fn of(schema: &Schema, pool: &Pool) -> Self {
        let (sources, cells): (Vec<Source>, Vec<_>) = pool.sources().into_iter().unzip();
        let mut index = Self {
            key: schema.key().to_vec(),
            levels: schema.levels().to_vec(),
            tokens: HashMap::new(),
            children: HashMap::new(),
            counts: Vec::new(),
            choice: Choice::of(&sources, &BTreeSet::new()),
            sources,
            said: Vec::new(),
            begins: Vec::new(),
        };
        let mut nodes = 1;
        for (source, cells) in cells.into_iter().enumerate() {
            for (key, counts) in cells {
                index.count(key, counts, source, &mut nodes);
            }
        }
        index.sum_up(nodes);
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

    /// Returns everything that may count, in the order of preference. A source that another one
    /// displaces counts only where that one is left out.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Returns the other authorities that signed counts, in order.
    pub(crate) fn signers(&self) -> BTreeSet<&AuthorityId> {
        let of_others = self
            .sources
            .iter()
            .filter(|source| !source.records.is_empty());
        of_others.map(|source| &source.signer).collect()
    }

    /// Returns the sources that count if `left_out` had never sent anything.
    pub(crate) fn choice_without(&self, left_out: &BTreeSet<AuthorityId>) -> Choice {
        Choice::of(&self.sources, left_out)
    }

    /// Returns the counts on the path of `consignment`: the total, then one entry for each level,
    /// down to the most specific at which any control was counted.
    #[must_use]
    pub fn counts_of(&self, consignment: &Consignment) -> Vec<Counts> {
        let nodes = self.path(consignment);
        nodes.into_iter().map(|node| self.counts_at(node)).collect()
    }

    /// Returns the counts of every node over the sources of `choice`, in the order of the nodes.
    pub(crate) fn all_chosen(&self, choice: &Choice) -> Vec<Counts> {
        let mut all = vec![Counts::none(); self.counts.len()];
        for (node, source, counts) in &self.said {
            if choice.counts(*source)
                && let Some(sum) = all.get_mut(node.index())
            {
                *sum = sum.plus(*counts);
            }
        }
        all
    }

    pub(crate) fn counts_at(&self, node: Node) -> Counts {
        self.counts.get(node.index()).copied().unwrap_or_default()
    }

    /// Returns the counts at `node` over the sources of `choice`.
    pub(crate) fn chosen_at(&self, node: Node, choice: &Choice) -> Counts {
        let said = self.said_at(node).iter();
        said.filter(|(_, source, _)| choice.counts(*source))
            .fold(Counts::none(), |sum, (_, _, counts)| sum.plus(*counts))
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
        let said = self.said_at(node).iter();
        said.filter(|(_, source, _)| self.choice.counts(*source))
            .filter_map(|(_, source, _)| self.sources.get(*source))
    }

    /// Writes all sources and what they say at each node.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        for source in &self.sources {
            bytes.extend_from_slice(
                format!(
                    "{}|{}|{:?}\n",
                    source.signer, source.period, source.contributors
                )
                .as_bytes(),
            );
        }
        for (node, source, counts) in &self.said {
            let numbers = [node.index(), *source].map(|at| at as u64);
            for number in numbers
                .into_iter()
                .chain([counts.controls(), counts.findings()])
            {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
        }
    }

    fn said_at(&self, node: Node) -> &[(Node, SourceIndex, Counts)] {
        let begin = self.begins.get(node.index());
        let end = self.begins.get(node.index() + 1);
        match (begin, end) {
            (Some(begin), Some(end)) => self.said.get(*begin..*end).unwrap_or_default(),
            (_, None) | (None, _) => &[],
        }
    }

    fn count(&mut self, key: &CellKey, counts: Counts, source: SourceIndex, nodes: &mut u32) {
        let values: Vec<&str> = key.values().collect();
        let mut node = Node::ROOT;
        self.said.push((node, source, counts));
        for level in &self.levels {
            let portion = level.portion(values.get(level.part).copied().unwrap_or_default());
            let token = intern(&mut self.tokens, portion);
            node = *self.children.entry((node, token)).or_insert_with(|| {
                let next = Node(*nodes);
                *nodes = nodes.saturating_add(1);
                next
            });
            self.said.push((node, source, counts));
        }
    }

    /// Sums what each source said at each node, and what counts there.
    fn sum_up(&mut self, nodes: u32) {
        self.said.sort_by_key(|(node, source, _)| (*node, *source));
        self.said
            .dedup_by(|(node, source, counts), (kept_node, kept_source, sum)| {
                let same = (*node, *source) == (*kept_node, *kept_source);
                if same {
                    *sum = sum.plus(*counts);
                }
                same
            });
        self.begins = (0..=nodes)
            .map(|node| {
                self.said
                    .partition_point(|(other, _, _)| *other < Node(node))
            })
            .collect();
        self.counts = vec![Counts::none(); self.begins.len().saturating_sub(1)];
        self.counts = self.all_chosen(&self.choice);
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
