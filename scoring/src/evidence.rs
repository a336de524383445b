//! What indicators and outcomes on a consignment's identifiers are worth.
//!
//! The likelihood ratio of an indicator is 1 + (largest ratio of its kind − 1) · reliability of
//! its origin · credibility of its evaluation · what age has left of it. An outcome that found
//! nothing is worth less than 1: the miss rate of a control, as far as it is to be believed.
//!
//! Ten copies of one rumour are one rumour: within a root the strongest counts. Roots add up
//! only where they are independent: authority and group differ, neither speaker is a hub, and
//! both know their information themselves (information code 1 or 2). What one group says is
//! capped. Refused: evidence outside its time window or past its deletion date; it is set aside
//! with the reason.

use std::collections::BTreeMap;

use portcullis_protocol::{
    body::{Finding, Selector, SelectorKind},
    evaluation::{Evaluation, InformationCode, SourceCode},
    identifiers::AuthorityId,
    marking::Marking,
    record::{RecordId, RootTag},
    time::Timestamp,
};

use crate::{
    consignment::Consignment,
    decay::{DAY_MS, Decay},
    reliability::Reliabilities,
};

/// What a record says about one identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectorEvidence {
    /// The record.
    pub record: RecordId,
    /// The tag that its copies share.
    pub root: RootTag,
    /// Who published it.
    pub origin: Origin,
    /// The identifier, with its time window.
    pub selector: Selector,
    /// How source and information were evaluated.
    pub evaluation: Evaluation,
    /// The record's marking in the form that is held.
    pub marking: Marking,
    /// When it was sealed.
    pub seen_at: Timestamp,
    /// What a control found; `None` for an indicator or an alert.
    pub outcome: Option<Finding>,
}

/// Who published a record, as the register knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The authority.
    pub authority: AuthorityId,
    /// Its group, for instance its parent ministry.
    pub group: String,
    /// Whether it speaks for itself.
    pub role: OriginRole,
}

/// Whether a publisher speaks for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OriginRole {
    /// An authority that speaks for itself.
    Member,
    /// A hub, which speaks of what others told it.
    Hub,
}

/// How the identifiers of one kind are weighed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KindWeight {
    /// The likelihood ratio of a fresh indicator that is certainly true; at least 1.
    pub largest_ratio: f64,
    /// How it fades.
    pub decay: Decay,
}

/// How evidence is weighed. The defaults are expert choices, not measurements.
#[derive(Debug, Clone, PartialEq)]
pub struct EvidenceOptions {
    /// Kinds that are weighed otherwise than by [`KindWeight::of`].
    pub kinds: BTreeMap<SelectorKind, KindWeight>,
    /// How often a control misses what is there.
    pub miss_rate: f64,
    /// The most that one group can move the log-odds.
    pub group_cap: f64,
}

impl Default for EvidenceOptions {
    fn default() -> Self {
        Self {
            kinds: BTreeMap::new(),
            miss_rate: 0.3,
            group_cap: 50.0_f64.ln(),
        }
    }
}

impl KindWeight {
    /// The default weight of a kind: narrow identifiers weigh more and fade sooner if they are
    /// used again.
    #[must_use]
    pub fn of(kind: SelectorKind) -> Self {
        let (largest_ratio, half_life_days) = match kind {
            SelectorKind::Container => (40.0, 14.0),
            SelectorKind::Plate => (20.0, 14.0),
            SelectorKind::BillOfLading | SelectorKind::Seal => (60.0, 30.0),
            SelectorKind::Imo | SelectorKind::Mmsi => (4.0, 60.0),
            SelectorKind::Eori | SelectorKind::Trader => (10.0, 180.0),
            SelectorKind::UnLocode | SelectorKind::HsCode => (1.5, 90.0),
        };
        let half_life_ms = half_life_days * DAY_MS;
        Self {
            largest_ratio,
            decay: Decay::HalfLife { half_life_ms },
        }
    }
}

/// Why a record about an identifier of the consignment moves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SetAside {
    /// The consignment's day lies outside the selector's time window.
    OutsideWindow,
    /// Its deletion date has passed.
    Expired,
    /// It may rest on the same knowledge as this record, which counts.
    NotIndependent(RecordId),
}

impl std::fmt::Display for SetAside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OutsideWindow => f.write_str("outside its time window"),
            Self::Expired => f.write_str("past its deletion date"),
            Self::NotIndependent(record) => write!(f, "not independent of {record}"),
        }
    }
}

/// One root that moves the log-odds.
#[derive(Debug)]
pub(crate) struct Root<'e> {
    /// The copy that is worth most.
    pub(crate) strongest: &'e SelectorEvidence,
    /// All copies, the strongest among them.
    pub(crate) copies: Vec<&'e SelectorEvidence>,
    pub(crate) log_odds: f64,
}

/// The evidence on one consignment, sorted out.
#[derive(Debug)]
pub(crate) struct Weighed<'e> {
    /// What moves the log-odds.
    pub(crate) counted: Vec<Root<'e>>,
    /// What is about the consignment now, whether it moves anything or not.
    pub(crate) current: Vec<&'e SelectorEvidence>,
    /// What moves nothing, and why.
    pub(crate) set_aside: Vec<(RecordId, SetAside)>,
}

/// Weighs records at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scales<'o> {
    pub(crate) options: &'o EvidenceOptions,
    pub(crate) reliabilities: &'o Reliabilities,
    pub(crate) now: Timestamp,
}

impl Scales<'_> {
    /// Sorts out what `evidence` says of `consignment`. What is about others is passed over.
    pub(crate) fn weigh<'e>(
        &self,
        consignment: &Consignment,
        evidence: &'e [SelectorEvidence],
    ) -> Weighed<'e> {
        let mut set_aside = Vec::new();
        let mut current = Vec::new();
        for item in evidence.iter().filter(|item| item.is_about(consignment)) {
            match item.obstacle(consignment, self.now) {
                Some(why) => set_aside.push((item.record, why)),
                None => current.push(item),
            }
        }
        let (speaks_for, speaks_against): (Vec<_>, Vec<_>) = current
            .iter()
            .partition(|item| item.outcome != Some(Finding::NotFound));
        let mut counted = Vec::new();
        for side in [speaks_for, speaks_against] {
            let mut roots = self.roots(side);
            let dependent = split_off_dependent(&mut roots);
            set_aside.extend(dependent);
            counted.extend(roots);
        }
        Weighed {
            counted,
            current,
            set_aside,
        }
    }

    /// One entry for each root, the strongest first.
    fn roots<'e>(&self, items: Vec<&'e SelectorEvidence>) -> Vec<Root<'e>> {
        let mut by_root: BTreeMap<RootTag, Vec<&SelectorEvidence>> = BTreeMap::new();
        for item in items {
            by_root.entry(item.root).or_default().push(item);
        }
        let mut roots: Vec<Root<'e>> = by_root
            .into_values()
            .filter_map(|copies| self.root(copies))
            .collect();
        roots.sort_by(|left, right| {
            right
                .log_odds
                .abs()
                .total_cmp(&left.log_odds.abs())
                .then(left.strongest.record.cmp(&right.strongest.record))
        });
        roots
    }

    fn root<'e>(&self, copies: Vec<&'e SelectorEvidence>) -> Option<Root<'e>> {
        let weight = |item: &SelectorEvidence| self.log_odds(item);
        let strongest = copies
            .iter()
            .copied()
            .max_by(|left, right| weight(left).abs().total_cmp(&weight(right).abs()))?;
        let cap = self.options.group_cap;
        let log_odds = weight(strongest).clamp(-cap, cap);
        Some(Root {
            strongest,
            copies,
            log_odds,
        })
    }

    /// The logarithm of the likelihood ratio of one record.
    fn log_odds(&self, item: &SelectorEvidence) -> f64 {
        let kind = item.selector.kind();
        let weight = self
            .options
            .kinds
            .get(&kind)
            .copied()
            .unwrap_or_else(|| KindWeight::of(kind));
        let strength = self.reliabilities.of(&item.origin.authority).mean()
            * credibility(&item.evaluation)
            * weight.decay.left(self.now.millis_since(item.seen_at));
        let ratio = match item.outcome {
            None | Some(Finding::Found) => 1.0 + (weight.largest_ratio - 1.0) * strength,
            Some(Finding::NotFound) => 1.0 - (1.0 - self.options.miss_rate) * strength,
        };
        ratio.ln()
    }
}

impl SelectorEvidence {
    fn is_about(&self, consignment: &Consignment) -> bool {
        consignment
            .identifiers()
            .iter()
            .any(|identifier| identifier.is_named_by(&self.selector))
    }

    fn obstacle(&self, consignment: &Consignment, now: Timestamp) -> Option<SetAside> {
        if self.marking.delete_at.is_some_and(|end| end <= now) {
            return Some(SetAside::Expired);
        }
        let outside = self.selector.window().is_some_and(|window| {
            consignment.day_ends() < window.from || window.until < consignment.day_begins()
        });
        outside.then_some(SetAside::OutsideWindow)
    }
}

/// How far what is said can be believed, between 0 and 1: the source's code times the
/// information's. After the weights that MISP gives the Admiralty scale (A 100, B 75, D 25 for
/// what is mostly unreliable, F 50 for what cannot be judged; 1 100, 2 75, 3 50, 4 25).
#[must_use]
pub fn credibility(evaluation: &Evaluation) -> f64 {
    let source = match evaluation.source {
        SourceCode::A => 1.0,
        SourceCode::B => 0.75,
        SourceCode::C => 0.25,
        SourceCode::X => 0.5,
    };
    let information = match evaluation.information {
        InformationCode::One => 1.0,
        InformationCode::Two => 0.75,
        InformationCode::Three => 0.5,
        InformationCode::Four => 0.25,
    };
    source * information
}

/// Whether the source knows it itself.
const fn is_known(evaluation: &Evaluation) -> bool {
    match evaluation.information {
        InformationCode::One | InformationCode::Two => true,
        InformationCode::Three | InformationCode::Four => false,
    }
}

impl Root<'_> {
    /// Whether its strongest copy is told by one who knows it and speaks for itself.
    fn is_first_hand(&self) -> bool {
        self.strongest.origin.role == OriginRole::Member && is_known(&self.strongest.evaluation)
    }

    fn shares_a_speaker_with(&self, other: &Self) -> bool {
        let pairs = self
            .copies
            .iter()
            .flat_map(|left| other.copies.iter().map(move |right| (left, right)));
        pairs.into_iter().any(|(left, right)| {
            left.origin.authority == right.origin.authority
                || left.origin.group == right.origin.group
        })
    }
}

/// Leaves in `roots`, sorted by strength, those that may be added up, and names the others.
///
/// Either all roots that are independent of one another, or the strongest alone, if that is worth
/// more than they are together.
fn split_off_dependent(roots: &mut Vec<Root<'_>>) -> Vec<(RecordId, SetAside)> {
    let mut independent: Vec<usize> = Vec::new();
    for (at, root) in roots.iter().enumerate() {
        let apart = |other: &usize| {
            roots
                .get(*other)
                .is_some_and(|other| !other.shares_a_speaker_with(root))
        };
        if root.is_first_hand() && independent.iter().all(apart) {
            independent.push(at);
        }
    }
    let worth = |at: &usize| roots.get(*at).map_or(0.0, |root| root.log_odds.abs());
    if independent.iter().map(worth).sum::<f64>() < worth(&0) {
        independent = vec![0];
    }
    let Some(first) = independent.first().and_then(|at| roots.get(*at)) else {
        return Vec::new();
    };
    let because = SetAside::NotIndependent(first.strongest.record);
    let mut dependent = Vec::new();
    let mut at = 0;
    roots.retain(|root| {
        let keep = independent.contains(&at);
        at += 1;
        if !keep {
            dependent.extend(root.copies.iter().map(|copy| (copy.record, because)));
        }
        keep
    });
    dependent
}
