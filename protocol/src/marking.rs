//! Markings: the originator's limits on the use of a record, bound by its signature.
//!
//! Markings only ever tighten: [`Marking::strictest`] joins two of them, a section's
//! [`SectionMarking`] adds to its record's. Sources: TLP 2.0 (FIRST), Europol handling codes,
//! Directive (EU) 2016/680 Art. 6 for categories of data subjects.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::{
    identifiers::AuthorityId,
    named::{UnknownName, named},
    time::Timestamp,
};

/// The Traffic Light Protocol 2.0, from widest to narrowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tlp {
    /// No limit on disclosure.
    Clear,
    /// The community.
    Green,
    /// The recipient's organisation and its clients.
    Amber,
    /// The recipient's organisation only.
    AmberStrict,
    /// The named recipients only.
    Red,
}

impl Tlp {
    /// Every label, from widest to narrowest.
    pub const ALL: &'static [Self] = &[
        Self::Clear,
        Self::Green,
        Self::Amber,
        Self::AmberStrict,
        Self::Red,
    ];

    /// The label as TLP 2.0 writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clear => "TLP:CLEAR",
            Self::Green => "TLP:GREEN",
            Self::Amber => "TLP:AMBER",
            Self::AmberStrict => "TLP:AMBER+STRICT",
            Self::Red => "TLP:RED",
        }
    }
}

impl fmt::Display for Tlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Tlp {
    type Err = UnknownName;

    /// Reads `TLP:AMBER+STRICT` or `amber+strict`. TLP 1.0's `WHITE` is refused here: a reader of
    /// other systems' files maps it to [`Tlp::Clear`] with a warning.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("TLP:").unwrap_or(&upper);
        Self::ALL
            .iter()
            .copied()
            .find(|tlp| tlp.name().strip_prefix("TLP:") == Some(bare))
            .ok_or_else(|| {
                let choices =
                    "`TLP:CLEAR`, `TLP:GREEN`, `TLP:AMBER`, `TLP:AMBER+STRICT`, `TLP:RED`";
                UnknownName::new(text, "TLP 2.0 label", choices)
            })
    }
}

named! {
    /// The Permissible Actions Protocol, from most to least permitted.
    Pap, "PAP label", "`PAP:CLEAR`, `PAP:GREEN`, `PAP:AMBER`, `PAP:RED`" {
        /// No limit on actions.
        Clear = "PAP:CLEAR",
        /// Active but ordinary measures.
        Green = "PAP:GREEN",
        /// Nothing that touches the target directly.
        Amber = "PAP:AMBER",
        /// Nothing that the target could see.
        Red = "PAP:RED",
    }
}

named! {
    /// Purpose that a record may be used for.
    Purpose, "purpose",
    "`law-enforcement`, `customs-control`, `port-security`, `statistics`" {
        /// Prevention, detection and investigation of criminal offences.
        LawEnforcement = "law-enforcement",
        /// Risk analysis and control of goods.
        CustomsControl = "customs-control",
        /// Security of the port and the terminal.
        PortSecurity = "port-security",
        /// Aggregates only.
        Statistics = "statistics",
    }
}

named! {
    /// Category of the person that a record concerns (Directive (EU) 2016/680 Art. 6).
    DataSubject, "category of data subject", "`suspect`, `convicted`, `victim`, `other`" {
        /// Someone with serious grounds against them.
        Suspect = "suspect",
        /// Someone convicted of an offence.
        Convicted = "convicted",
        /// A victim, or someone who may be one.
        Victim = "victim",
        /// Witnesses, contacts, associates.
        Other = "other",
    }
}

named! {
    /// Action that the originator asks of the finder, the most discreet first.
    RequestedAction, "requested action",
    "`discreet`, `inquiry`, `specific-check`, `do-not-approach`" {
        /// Look and report; nobody may notice it.
        Discreet = "discreet",
        /// Ask, within an ordinary check.
        Inquiry = "inquiry",
        /// Search.
        SpecificCheck = "specific-check",
        /// Keep away; call the contact point.
        DoNotApproach = "do-not-approach",
    }
}

/// Europol handling codes; they combine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HandlingCodes {
    /// H0: only for preventing and combating crime under the Europol Regulation.
    pub h0: bool,
    /// H1: not to be disclosed in judicial proceedings without the provider's permission.
    pub h1: bool,
    /// H2: not to be disseminated without the provider's permission.
    pub h2: bool,
    /// H3: other restrictions, in free text; a person decides.
    pub h3: Option<String>,
}

impl HandlingCodes {
    /// No code at all.
    pub const NONE: Self = Self {
        h0: false,
        h1: false,
        h2: false,
        h3: None,
    };

    fn joined(&self, other: &Self) -> Self {
        let texts: BTreeSet<&str> = [&self.h3, &other.h3]
            .into_iter()
            .filter_map(Option::as_deref)
            .collect();
        let joined = texts.into_iter().collect::<Vec<_>>().join("; ");
        Self {
            h0: self.h0 || other.h0,
            h1: self.h1 || other.h1,
            h2: self.h2 || other.h2,
            h3: (!joined.is_empty()).then_some(joined),
        }
    }
}

impl fmt::Display for HandlingCodes {
    /// `H1+H2`, or `-` for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes: Vec<&str> = [
            (self.h0, "H0"),
            (self.h1, "H1"),
            (self.h2, "H2"),
            (self.h3.is_some(), "H3"),
        ]
        .into_iter()
        .filter_map(|(set, name)| set.then_some(name))
        .collect();
        f.write_str(if codes.is_empty() { "-" } else { "" })?;
        f.write_str(&codes.join("+"))
    }
}

/// The whole marking of a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Marking {
    /// Limit on its disclosure.
    pub tlp: Tlp,
    /// Limit on the actions taken with it.
    pub pap: Pap,
    /// Europol handling codes.
    pub handling: HandlingCodes,
    /// Purposes that it may be used for; never empty.
    pub purposes: BTreeSet<Purpose>,
    /// The only authorities that may have it; `None` if there is no such list.
    pub release_to: Option<BTreeSet<AuthorityId>>,
    /// True if a hub may pass it on.
    pub relay: bool,
    /// True if wider sharing needs the originator's permission.
    pub originator_control: bool,
    /// Action asked of the finder.
    pub requested_action: Option<RequestedAction>,
    /// Time at which a person reviews it.
    pub review_at: Option<Timestamp>,
    /// Time at which it is erased.
    pub delete_at: Option<Timestamp>,
    /// Category of the person it concerns.
    pub data_subject: Option<DataSubject>,
}

/// Contradiction within a marking.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarkingError {
    /// No purpose is given.
    #[error("a marking needs at least one purpose, for instance `customs-control`")]
    NoPurpose,
    /// TLP:RED without a list of recipients.
    #[error("`TLP:RED` is for named recipients; name them in the release list")]
    RedWithoutRecipients,
    /// A release list that names nobody.
    #[error("the release list names nobody; leave it out or name an authority")]
    EmptyReleaseList,
    /// The review date lies after the erasure date.
    #[error("the review date lies after the deletion date")]
    ReviewAfterDeletion,
}

impl Marking {
    /// Makes a marking with this label and these purposes. Relaying is allowed and `PAP:GREEN` set;
    /// all else is empty.
    #[must_use]
    pub fn new(tlp: Tlp, purposes: impl IntoIterator<Item = Purpose>) -> Self {
        Self {
            tlp,
            pap: Pap::Green,
            handling: HandlingCodes::NONE,
            purposes: purposes.into_iter().collect(),
            release_to: None,
            relay: true,
            originator_control: false,
            requested_action: None,
            review_at: None,
            delete_at: None,
            data_subject: None,
        }
    }

    /// Returns true if the record is to be erased by this time.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.delete_at.is_some_and(|end| end <= now)
    }

    /// Checks that the parts of the marking fit together.
    ///
    /// # Errors
    ///
    /// [`MarkingError`] names the contradiction.
    pub fn check(&self) -> Result<(), MarkingError> {
        if self.purposes.is_empty() {
            return Err(MarkingError::NoPurpose);
        }
        match &self.release_to {
            None if self.tlp == Tlp::Red => return Err(MarkingError::RedWithoutRecipients),
            Some(list) if list.is_empty() => return Err(MarkingError::EmptyReleaseList),
            None | Some(_) => {}
        }
        match (self.review_at, self.delete_at) {
            (Some(review), Some(delete)) if review > delete => {
                Err(MarkingError::ReviewAfterDeletion)
            }
            (None | Some(_), None | Some(_)) => Ok(()),
        }
    }

    /// Joins two markings into that of a thing to which both apply: the narrower of each part. Of
    /// two requested actions the more discreet wins, except that `do-not-approach` always does. The
    /// purposes are those that both allow. They may be empty: then nothing may be done with the two
    /// together.
    #[must_use]
    pub fn strictest(&self, other: &Self) -> Self {
        Self {
            tlp: self.tlp.max(other.tlp),
            pap: self.pap.max(other.pap),
            handling: self.handling.joined(&other.handling),
            purposes: self
                .purposes
                .intersection(&other.purposes)
                .copied()
                .collect(),
            release_to: narrower_list(&self.release_to, &other.release_to),
            relay: self.relay && other.relay,
            originator_control: self.originator_control || other.originator_control,
            requested_action: more_discreet(self.requested_action, other.requested_action),
            review_at: earlier(self.review_at, other.review_at),
            delete_at: earlier(self.delete_at, other.delete_at),
            data_subject: self.data_subject.or(other.data_subject),
        }
    }

    /// Returns the marking of a section of a record that has this marking.
    #[must_use]
    pub fn tightened(&self, section: &SectionMarking) -> Self {
        let mut marking = self.clone();
        marking.tlp = section.tlp.unwrap_or(self.tlp);
        marking.pap = section.pap.unwrap_or(self.pap);
        marking.handling.h1 |= section.h1;
        marking.handling.h2 |= section.h2;
        marking
    }
}

fn narrower_list(
    left: &Option<BTreeSet<AuthorityId>>,
    right: &Option<BTreeSet<AuthorityId>>,
) -> Option<BTreeSet<AuthorityId>> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.intersection(right).cloned().collect()),
        (Some(list), None) | (None, Some(list)) => Some(list.clone()),
        (None, None) => None,
    }
}

fn earlier(left: Option<Timestamp>, right: Option<Timestamp>) -> Option<Timestamp> {
    [left, right].into_iter().flatten().min()
}

/// Joins two requested actions: `do not approach` wins, then the more discreet (docs/design.md, Policy).
#[must_use]
pub fn more_discreet(
    left: Option<RequestedAction>,
    right: Option<RequestedAction>,
) -> Option<RequestedAction> {
    let actions = [left, right];
    if actions.contains(&Some(RequestedAction::DoNotApproach)) {
        return Some(RequestedAction::DoNotApproach);
    }
    actions.into_iter().flatten().min()
}

/// A stricter marking of one section; a part left out is the same as the record's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct SectionMarking {
    /// A narrower TLP label.
    pub tlp: Option<Tlp>,
    /// A narrower PAP label.
    pub pap: Option<Pap>,
    /// True if the section adds H1.
    pub h1: bool,
    /// True if the section adds H2.
    pub h2: bool,
}

impl SectionMarking {
    /// Returns whether any part is looser than the record's marking, which is never allowed.
    #[must_use]
    pub fn is_looser_than(&self, record: &Marking) -> bool {
        self.tlp.is_some_and(|tlp| tlp < record.tlp) || self.pap.is_some_and(|pap| pap < record.pap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_parse_with_and_without_their_prefix_and_print_canonically() {
        for (text, tlp) in [
            ("TLP:AMBER+STRICT", Tlp::AmberStrict),
            ("amber+strict", Tlp::AmberStrict),
            ("tlp:red", Tlp::Red),
        ] {
            assert_eq!(text.parse::<Tlp>(), Ok(tlp));
        }
        assert_eq!(Tlp::AmberStrict.to_string(), "TLP:AMBER+STRICT");
        assert!("TLP:WHITE".parse::<Tlp>().is_err());
        assert!("AMBER STRICT".parse::<Tlp>().is_err());
    }

    #[test]
    fn red_names_its_recipients() {
        let mut marking = Marking::new(Tlp::Red, [Purpose::LawEnforcement]);
        assert_eq!(marking.check(), Err(MarkingError::RedWithoutRecipients));
        marking.release_to = Some(BTreeSet::new());
        assert_eq!(marking.check(), Err(MarkingError::EmptyReleaseList));
        marking.release_to = Some(["kr-police".parse().unwrap()].into());
        assert_eq!(marking.check(), Ok(()));
    }

    #[test]
    fn joining_takes_the_narrower_of_each_part() {
        let mut left = Marking::new(
            Tlp::Amber,
            [Purpose::CustomsControl, Purpose::LawEnforcement],
        );
        left.handling.h1 = true;
        left.requested_action = Some(RequestedAction::SpecificCheck);
        left.release_to = Some(["a".parse().unwrap(), "b".parse().unwrap()].into());
        let mut right = Marking::new(Tlp::Green, [Purpose::LawEnforcement]);
        right.handling.h2 = true;
        right.requested_action = Some(RequestedAction::Discreet);
        right.release_to = Some(["b".parse().unwrap(), "c".parse().unwrap()].into());
        right.relay = false;
        let joined = left.strictest(&right);
        assert_eq!(joined.tlp, Tlp::Amber);
        assert_eq!(joined.handling.to_string(), "H1+H2");
        assert_eq!(joined.purposes, [Purpose::LawEnforcement].into());
        assert_eq!(joined.release_to, Some(["b".parse().unwrap()].into()));
        assert_eq!(joined.requested_action, Some(RequestedAction::Discreet));
        assert!(!joined.relay);
    }

    #[test]
    fn do_not_approach_outranks_every_other_action() {
        for action in RequestedAction::ALL {
            assert_eq!(
                more_discreet(Some(*action), Some(RequestedAction::DoNotApproach)),
                Some(RequestedAction::DoNotApproach)
            );
        }
    }

    #[test]
    fn a_looser_section_marking_is_seen() {
        let record = Marking::new(Tlp::Amber, [Purpose::LawEnforcement]);
        let looser = SectionMarking {
            tlp: Some(Tlp::Green),
            ..SectionMarking::default()
        };
        let stricter = SectionMarking {
            tlp: Some(Tlp::Red),
            ..SectionMarking::default()
        };
        assert!(looser.is_looser_than(&record));
        assert!(!stricter.is_looser_than(&record));
        assert_eq!(record.tightened(&stricter).tlp, Tlp::Red);
    }
}
