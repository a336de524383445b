//! Recommendations: a control, derived from a probability and from the requests of originators.
//!
//! The software recommends and a person decides. The control follows from the probability alone. A
//! request of an originator never changes it: the control that the request leads to stands beside
//! it. Requests are put before the person from the kinds of authorities that policy names; those of
//! others are named and go no further. If originators ask for different actions, the more discreet
//! one is put first; all of them are named, so that all can be told.

use portcullis_protocol::{
    digest::Digest,
    identifiers::AuthorityId,
    marking::{RequestedAction, more_discreet},
    record::RecordId,
};

use crate::{consignment::Consignment, evidence::SelectorEvidence};

/// A control, from none to the most thorough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Control {
    /// No control.
    None,
    /// A control of the papers; nobody notices it.
    Document,
    /// A scan.
    Scan,
    /// A search by hand.
    Physical,
}

impl Control {
    /// All controls, from none to the most thorough.
    pub const ALL: [Self; 4] = [Self::None, Self::Document, Self::Scan, Self::Physical];

    /// Returns the control with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|control| control.name() == name)
    }

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Document => "document",
            Self::Scan => "scan",
            Self::Physical => "physical",
        }
    }
}

impl std::fmt::Display for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The least probabilities of a finding at which each control is recommended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    document: f64,
    scan: f64,
    physical: f64,
}

/// Error for three numbers that are not thresholds.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "`{document}`, `{scan}`, `{physical}` are no thresholds; give probabilities from 0 to 1 that do not fall"
)]
pub struct ThresholdsError {
    document: f64,
    scan: f64,
    physical: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            document: 0.3,
            scan: 0.6,
            physical: 0.85,
        }
    }
}

impl Thresholds {
    /// Makes the thresholds of a document control, a scan and a physical control.
    ///
    /// # Errors
    ///
    /// [`ThresholdsError`] if they are no probabilities or a later one is lower.
    pub fn new(document: f64, scan: f64, physical: f64) -> Result<Self, ThresholdsError> {
        let rising = [0.0, document, scan, physical, 1.0].is_sorted();
        rising
            .then_some(Self {
                document,
                scan,
                physical,
            })
            .ok_or(ThresholdsError {
                document,
                scan,
                physical,
            })
    }

    /// Returns the smallest distance in log-odds between two controls; infinite if at most one is
    /// ever recommended. Who takes no more from a score moves its control by one step at most. Of equal
    /// thresholds only the stricter control is ever recommended: they are one step.
    pub(crate) fn least_step(&self) -> f64 {
        let logits = [self.document, self.scan, self.physical].map(|p| (p / (1.0 - p)).ln());
        let steps = logits.windows(2).filter_map(|pair| match pair {
            [low, high] if high > low => Some(high - low),
            _ => None,
        });
        steps.fold(f64::INFINITY, f64::min)
    }

    fn control(&self, probability: f64) -> Control {
        let steps = [
            (self.physical, Control::Physical),
            (self.scan, Control::Scan),
            (self.document, Control::Document),
        ];
        let reached = steps
            .into_iter()
            .find(|(threshold, _)| probability >= *threshold);
        reached.map_or(Control::None, |(_, control)| control)
    }
}

/// A share of the consignments that is drawn for control whatever their scores. It keeps the
/// lessons of controls unbiased and hides the indicators behind other controls.
#[derive(Clone, PartialEq)]
pub struct Sampling {
    share: f64,
    seed: [u8; 32],
    control: Control,
}

/// Error for a number that is no share.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("`{0}` is no share of the consignments; give a number from 0 to 1")]
pub struct ShareError(f64);

impl Sampling {
    /// Makes a sampling that draws `share` of the consignments for `control`. The seed is secret:
    /// anyone who knows it can tell which consignments are drawn.
    ///
    /// # Errors
    ///
    /// [`ShareError`] if the share is not from 0 to 1.
    pub fn new(share: f64, seed: [u8; 32], control: Control) -> Result<Self, ShareError> {
        let fits = (0.0..=1.0).contains(&share);
        fits.then_some(Self {
            share,
            seed,
            control,
        })
        .ok_or(ShareError(share))
    }

    /// Returns whether the consignment with this id is drawn; the result is the same in every run.
    fn draws(&self, id: &str) -> bool {
        let digest = Digest::labelled(DRAW_LABEL, &[&self.seed, id.as_bytes()]);
        let [a, b, c, d, ..] = *digest.as_bytes();
        f64::from(u32::from_be_bytes([a, b, c, d])) < self.share * 2.0_f64.powi(32)
    }
}

impl std::fmt::Debug for Sampling {
    /// Leaves the seed out, because it is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sampling({} for {})", self.share, self.control)
    }
}

const DRAW_LABEL: &str = "portcullis random control v1";

/// An originator's request to the finder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// The authority that asks; its contact point is to be told.
    pub authority: AuthorityId,
    /// The action asked for.
    pub action: RequestedAction,
    /// The record that holds the request.
    pub record: RecordId,
    /// True if the authority is of a kind whose requests are put before a person.
    pub is_heard: bool,
    /// True if it is heard by the authority's own policies alone.
    pub is_by_own_policy: bool,
}

/// Recommended handling of a consignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recommendation {
    /// The control that follows from the probability.
    pub control: Control,
    /// The control that the requested action leads to; `None` if no request is heard.
    pub as_requested: Option<Control>,
    /// True if it was drawn at random. Such controls are marked; their outcomes are more
    /// informative.
    pub drawn: bool,
    /// The manner of the control: the most discreet action among the requests that are heard.
    pub action: Option<RequestedAction>,
    /// All requests.
    pub asks: Vec<Ask>,
}

impl Recommendation {
    pub(crate) fn of(
        consignment: &Consignment,
        probability: f64,
        thresholds: &Thresholds,
        sampling: Option<&Sampling>,
        current: &[&SelectorEvidence],
    ) -> Self {
        let mut asks: Vec<Ask> = current.iter().filter_map(|item| Ask::of(item)).collect();
        asks.sort();
        asks.dedup();
        let heard = asks.iter().filter(|ask| ask.is_heard);
        let action = heard.fold(None, |so_far, ask| more_discreet(so_far, Some(ask.action)));
        let drawn = sampling.filter(|sampling| sampling.draws(consignment.id()));
        let least = drawn.map_or(Control::None, |sampling| sampling.control);
        let control = thresholds.control(probability).max(least);
        Self {
            control,
            as_requested: action.map(|action| heeding(control, action)),
            drawn: drawn.is_some(),
            action,
            asks,
        }
    }

    /// Returns whether originators who are heard ask for different actions, so that a person must
    /// weigh them.
    #[must_use]
    pub fn is_contested(&self) -> bool {
        let mut heard = self.asks.iter().filter(|ask| ask.is_heard);
        heard.any(|ask| Some(ask.action) != self.action)
    }
}

impl Ask {
    fn of(item: &SelectorEvidence) -> Option<Self> {
        let is_heard = item.origin.voice.requests;
        Some(Self {
            authority: item.origin.authority.clone(),
            action: item.marking.requested_action?,
            record: item.record,
            is_heard,
            is_by_own_policy: is_heard && !item.origin.baseline.requests,
        })
    }
}

/// Adapts the control to the requested action. A discreet control stays unnoticed, an inquiry needs
/// an ordinary check, a specific check is a search, and a subject who must not be approached is
/// left alone.
const fn heeding(control: Control, action: RequestedAction) -> Control {
    match (action, control) {
        (RequestedAction::DoNotApproach, _) | (RequestedAction::Discreet, Control::None) => {
            Control::None
        }
        (RequestedAction::SpecificCheck, _) => Control::Physical,
        (RequestedAction::Inquiry, Control::None) | (RequestedAction::Discreet, _) => {
            Control::Document
        }
        (RequestedAction::Inquiry, control) => control,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{evidence::Voice, fixtures::WHOLE};

    #[test]
    fn controls_begin_at_their_thresholds() {
        let thresholds = Thresholds::new(0.2, 0.5, 0.5).unwrap();
        let controls = [0.0, 0.2, 0.49, 0.5, 1.0].map(|p| thresholds.control(p));
        let expected = [
            Control::None,
            Control::Document,
            Control::Document,
            Control::Physical,
            Control::Physical,
        ];
        assert_eq!(controls, expected);
    }

    #[test]
    fn thresholds_that_fall_or_are_no_probabilities_are_refused() {
        for (document, scan, physical) in [
            (0.5, 0.4, 0.9),
            (0.1, 0.2, 1.1),
            (-0.1, 0.2, 0.3),
            (f64::NAN, 0.2, 0.3),
        ] {
            assert!(Thresholds::new(document, scan, physical).is_err());
        }
    }

    #[test]
    fn secrecy_lowers_a_control_and_a_request_to_search_raises_it() {
        use RequestedAction::{Discreet, DoNotApproach, Inquiry, SpecificCheck};
        for (control, action, expected) in [
            (Control::Physical, Discreet, Control::Document),
            (Control::None, Discreet, Control::None),
            (Control::Physical, DoNotApproach, Control::None),
            (Control::None, Inquiry, Control::Document),
            (Control::Scan, Inquiry, Control::Scan),
            (Control::None, SpecificCheck, Control::Physical),
        ] {
            assert_eq!(heeding(control, action), expected, "{action}");
        }
    }

    #[test]
    fn the_drawn_are_a_share_that_only_the_seed_tells() {
        let drawn = |seed| {
            let sampling = Sampling::new(0.05, [seed; 32], Control::Scan).unwrap();
            let ids = (0..10_000).map(|id: u32| id.to_string());
            ids.filter(|id| sampling.draws(id)).collect::<Vec<_>>()
        };
        let (first, second) = (drawn(1), drawn(2));
        // Expected: 500 of 10,000, with a standard deviation of 21.8.
        assert!((400..600).contains(&first.len()), "{}", first.len());
        let both = first.iter().filter(|id| second.contains(id)).count();
        assert!(both < 60, "{both}");
        assert_eq!(first, drawn(1));
    }

    fn recommended(sampling: Option<&Sampling>, current: &[&SelectorEvidence]) -> Recommendation {
        let consignment = crate::fixtures::consignment();
        Recommendation::of(&consignment, 0.7, &Thresholds::default(), sampling, current)
    }

    fn asking(is_heard: bool, action: RequestedAction) -> SelectorEvidence {
        let mut asking = crate::fixtures::indicator(1);
        asking.origin.voice.requests = is_heard;
        asking.marking.requested_action = Some(action);
        asking
    }

    #[test]
    fn drawing_raises_a_control() {
        let all = Sampling::new(1.0, [0; 32], Control::Physical).unwrap();
        let none = recommended(None, &[]);
        assert_eq!((none.control, none.drawn), (Control::Scan, false));
        let drawn = recommended(Some(&all), &[]);
        assert_eq!((drawn.control, drawn.drawn), (Control::Physical, true));
        let discreet = asking(true, RequestedAction::Discreet);
        let asked = recommended(Some(&all), &[&discreet]);
        assert_eq!(asked.as_requested, Some(Control::Document));
        assert!(Sampling::new(1.1, [0; 32], Control::Scan).is_err());
        assert!(Sampling::new(f64::NAN, [0; 32], Control::Scan).is_err());
    }

    /// Attack: `do-not-approach` of any member gave no control at all. Policy says whose requests are
    /// heard, and no request changes the control beside it.
    #[test]
    fn no_request_hides_the_control_and_only_those_whom_policy_hears_are_heard() {
        for is_heard in [true, false] {
            let asks = asking(is_heard, RequestedAction::DoNotApproach);
            let recommendation = recommended(None, &[&asks]);
            assert_eq!(recommendation.control, Control::Scan);
            let requested = is_heard.then_some(Control::None);
            assert_eq!(recommendation.as_requested, requested);
            assert_eq!(recommendation.asks.len(), 1);
            assert!(!recommendation.is_contested());
        }
    }

    #[test]
    fn who_is_heard_by_the_authoritys_own_policy_alone_is_marked() {
        for (heard, baseline, marked) in [
            (true, true, false),
            (true, false, true),
            (false, true, false),
            (false, false, false),
        ] {
            let mut asks = asking(heard, RequestedAction::Inquiry);
            asks.origin.baseline = Voice {
                requests: baseline,
                ..WHOLE
            };
            let recommendation = recommended(None, &[&asks]);
            assert_eq!(recommendation.asks[0].is_by_own_policy, marked);
        }
    }
}
