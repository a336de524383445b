//! Voices: what may be heard from each kind of authority, as a table.
//!
//! Scoring looks up here what counts, and no record waits for Cedar. A speaker that is in no table is
//! not heard.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_protocol::{
    evaluation::{Evaluation, InformationCode, SourceCode},
    record::Kind,
    register::{AuthorityKind, LegalRegime},
};

use crate::facts::Action;

const SOURCES: [SourceCode; 4] = [SourceCode::A, SourceCode::B, SourceCode::C, SourceCode::X];

const CODES: [InformationCode; 4] = [
    InformationCode::One,
    InformationCode::Two,
    InformationCode::Three,
    InformationCode::Four,
];

/// A speaker: this authority itself, or another member of this kind under this regime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Speaker {
    /// True for this authority itself.
    pub is_own: bool,
    /// Its kind.
    pub kind: AuthorityKind,
    /// Its legal regime.
    pub regime: LegalRegime,
}

/// The part of a speaker's word that counts. The default is nothing: nobody hears it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Voice {
    /// True if it is heard on outcomes of controls.
    pub outcomes: bool,
    /// True if it is heard on counts of controls.
    pub counts: bool,
    /// True if its requests to the finder are put before a person.
    pub requests: bool,
    /// The evaluations that it may be believed. A record counts as the most credible of them, or as
    /// its own if that is less credible.
    pub believed: BTreeSet<Evaluation>,
}

/// The voices of every kind of authority.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Voices {
    of: BTreeMap<Speaker, Heard>,
    errors: Vec<String>,
}

/// The voice of one kind of authority, beside that which the baseline alone gives it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// The voice in force.
    pub in_force: Voice,
    /// The voice under the baseline alone.
    pub baseline: Voice,
}

/// The voice of whoever is in no table.
static NOBODY: Heard = Heard {
    in_force: Voice::NONE,
    baseline: Voice::NONE,
};

/// Speakers with equal voices, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeardRow {
    /// The speakers: `this authority`, `police under led, both`.
    pub who: String,
    /// Their voice.
    pub heard: Heard,
}

impl Speaker {
    /// Every speaker: this authority first, then by kind and regime.
    pub fn all() -> impl Iterator<Item = Self> {
        [true, false].into_iter().flat_map(|is_own| {
            AuthorityKind::ALL.iter().flat_map(move |kind| {
                LegalRegime::ALL.iter().map(move |regime| Self {
                    is_own,
                    kind: *kind,
                    regime: *regime,
                })
            })
        })
    }
}

impl Voice {
    const NONE: Self = Self {
        outcomes: false,
        counts: false,
        requests: false,
        believed: BTreeSet::new(),
    };

    /// Returns whether it is heard on what a record of this kind reports. Records that report no
    /// controls are heard from everybody.
    const fn reports(&self, kind: Kind) -> bool {
        match kind {
            Kind::Outcome => self.outcomes,
            Kind::RiskProfile => self.counts,
            Kind::Indicator | Kind::Alert | Kind::Advisory => true,
        }
    }

    /// Describes the evaluations: `any`, `any but A1`, `X3 X4` or `none`.
    #[must_use]
    pub fn believed_as(&self) -> String {
        let (believed, others): (Vec<_>, Vec<_>) =
            evaluations().partition(|code| self.believed.contains(code));
        match (believed.is_empty(), others.is_empty()) {
            (true, _) => "none".to_owned(),
            (false, true) => "any".to_owned(),
            (false, false) if others.len() < believed.len() => {
                format!("any but {}", codes(&others))
            }
            (false, false) => codes(&believed),
        }
    }
}

impl Heard {
    /// Returns whether the authority's own policies hear it on a matter and the baseline alone does
    /// not.
    #[must_use]
    pub fn is_only_by_own_policy(&self, matter: impl Fn(&Voice) -> bool) -> bool {
        matter(&self.in_force) && !matter(&self.baseline)
    }

    /// Describes what the authority's own policies change; empty if they change nothing.
    #[must_use]
    pub fn by_own_policy(&self) -> Vec<String> {
        let Self { in_force, baseline } = self;
        let matters = [
            ("outcomes", in_force.outcomes, baseline.outcomes),
            ("counts", in_force.counts, baseline.counts),
            ("requests", in_force.requests, baseline.requests),
        ];
        let matters = matters
            .into_iter()
            .filter_map(|(matter, now, before)| match (now, before) {
                (true, false) => Some(format!("hears {matter}")),
                (false, true) => Some(format!("does not hear {matter}")),
                (true, true) | (false, false) => None,
            });
        let more: Vec<Evaluation> = in_force
            .believed
            .difference(&baseline.believed)
            .copied()
            .collect();
        let less: Vec<Evaluation> = baseline
            .believed
            .difference(&in_force.believed)
            .copied()
            .collect();
        let believed = [("believes", more), ("does not believe", less)];
        let believed = believed
            .into_iter()
            .filter(|(_, which)| !which.is_empty())
            .map(|(verb, which)| format!("{verb} {}", codes(&which)));
        matters.chain(believed).collect()
    }
}

impl Voices {
    /// Makes the table of these voices. The `errors` are those of questions that failed to evaluate.
    pub(crate) fn new(of: impl IntoIterator<Item = (Speaker, Heard)>, errors: Vec<String>) -> Self {
        Self {
            of: of.into_iter().collect(),
            errors,
        }
    }

    /// Returns what may be heard from a speaker.
    #[must_use]
    pub fn of(&self, speaker: Speaker) -> &Heard {
        self.of.get(&speaker).unwrap_or(&NOBODY)
    }

    /// Returns the errors of questions that could not be evaluated; each was answered with no.
    #[must_use]
    pub fn errors(&self) -> &[String] {
        &self.errors
    }

    /// Returns whether a record of this kind and origin is heard for the purpose of an action. What
    /// is sent is heard as well if the baseline alone hears it: who listens to less at home does not
    /// keep its own reports from others by that.
    pub(crate) fn hears(&self, action: Action, kind: Kind, speaker: Speaker) -> bool {
        let Heard { in_force, baseline } = self.of(speaker);
        in_force.reports(kind) || (action.sends() && baseline.reports(kind))
    }

    /// Returns the voices for people: speakers with equal ones together.
    #[must_use]
    pub fn rows(&self) -> Vec<HeardRow> {
        let mut rows: Vec<(Speaker, Vec<LegalRegime>, Heard)> = Vec::new();
        for speaker in Speaker::all() {
            let heard = self.of(speaker);
            let like = rows.iter_mut().find(|(first, _, of)| {
                (first.is_own, first.kind) == (speaker.is_own, speaker.kind) && of == heard
            });
            match like {
                Some((_, regimes, _)) => regimes.push(speaker.regime),
                None => rows.push((speaker, vec![speaker.regime], heard.clone())),
            }
        }
        let own: Vec<&Heard> = rows
            .iter()
            .filter(|(speaker, ..)| speaker.is_own)
            .map(|(_, _, heard)| heard)
            .collect();
        let is_one = own.windows(2).all(|pair| pair.first() == pair.last());
        let mut described = Vec::new();
        for (speaker, regimes, heard) in rows {
            if speaker.is_own && is_one {
                if described.is_empty() {
                    let who = "this authority".to_owned();
                    described.push(HeardRow { who, heard });
                }
                continue;
            }
            let own = if speaker.is_own {
                "this authority as "
            } else {
                ""
            };
            let regimes: Vec<&str> = regimes.iter().map(|regime| regime.name()).collect();
            let under = if regimes.len() == LegalRegime::ALL.len() {
                String::new()
            } else {
                format!(" under {}", regimes.join(", "))
            };
            let who = format!("{own}{}{under}", speaker.kind);
            described.push(HeardRow { who, heard });
        }
        described
    }
}

/// Returns every evaluation, the most reliable source first.
pub(crate) fn evaluations() -> impl Iterator<Item = Evaluation> {
    SOURCES.into_iter().flat_map(|source| {
        CODES
            .into_iter()
            .map(move |information| Evaluation::new(source, information))
    })
}

fn codes(codes: &[Evaluation]) -> String {
    let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
    codes.join(" ")
}
