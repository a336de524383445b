//! The canonical encoding of a question: all that Cedar will see, and the key of the memo.
//!
//! A question is encoded first, and the Cedar request is then made from the *encoding* alone
//! ([`Question::decode`]). Nothing can therefore reach Cedar that is not in the key. Every text and
//! list is preceded by its length, so that different questions have different encodings. The key
//! holds no record ids, times or free text, so that similar records share one decision.

use portcullis_protocol::{
    evaluation::{InformationCode, SourceCode},
    identifiers::{AuthorityId, UnLocode},
    marking::{DataSubject, Marking, Pap, Purpose, RequestedAction, Tlp},
    record::{Kind, SectionEntry, SectionTag},
    register::{AuthorityKind, LegalRegime},
};

use crate::encoding::put_texts;
use crate::{
    facts::{Action, Facts},
    holding::RecordRequest,
    member::Member,
};

/// Marks a role whose member is written out at this place.
const WRITTEN_OUT: u8 = 0xff;
/// Marks an absent value.
const ABSENT: u8 = 0xff;

/// A key under construction; the part that all sections of a record share stands first.
pub(crate) struct KeyBuilder {
    bytes: Vec<u8>,
    shared: usize,
}

impl KeyBuilder {
    pub(crate) fn new(request: &RecordRequest<'_>) -> Self {
        let mut bytes = Vec::with_capacity(768);
        put_shared(&mut bytes, request);
        let shared = bytes.len();
        Self { bytes, shared }
    }

    /// Returns the whole key for one section.
    pub(crate) fn section(&mut self, marking: &Marking, entry: &SectionEntry) -> &[u8] {
        self.bytes.truncate(self.shared);
        put_section(&mut self.bytes, entry);
        put_marking(&mut self.bytes, marking);
        &self.bytes
    }
}

fn put_shared(key: &mut Vec<u8>, request: &RecordRequest<'_>) {
    let RecordRequest {
        action,
        record: _,
        header,
        form: _,
        principal,
        here,
        origin,
        via,
        facts,
    } = request;
    key.push(*action as u8);
    put_facts(key, *facts);
    put_roles(key, [principal, here, origin, via]);
    key.push(header.kind as u8);
    key.push(u8::from(header.exercise));
    key.push(header.evaluation.source as u8);
    key.push(header.evaluation.information as u8);
    put_texts(key, header.audience.iter().map(UnLocode::as_str));
}

/// Writes the members of four roles. A member in two roles is written out once, and then given as
/// the number of its first role.
fn put_roles(key: &mut Vec<u8>, roles: [&Member; 4]) {
    for (place, member) in (0u8..).zip(roles) {
        let before = (0..place).zip(roles);
        match before
            .into_iter()
            .find(|(_, other)| other.id() == member.id())
        {
            Some((first, _)) => key.push(first),
            None => {
                key.push(WRITTEN_OUT);
                key.extend_from_slice(member.encoded());
            }
        }
    }
}

fn put_facts(key: &mut Vec<u8>, facts: Facts) {
    let Facts {
        expired,
        review_due,
        grant_active,
        approved,
    } = facts;
    put_flags(key, &[expired, review_due, grant_active, approved]);
}

fn put_section(key: &mut Vec<u8>, entry: &SectionEntry) {
    let SectionEntry {
        index: _,
        tag,
        digest: _,
        // Contained in the section's marking already.
        stricter: _,
        least_count,
    } = entry;
    key.push(*tag as u8);
    key.push(u8::from(least_count.is_some()));
    key.extend(least_count.unwrap_or(0).to_be_bytes());
}

fn put_marking(key: &mut Vec<u8>, marking: &Marking) {
    let Marking {
        tlp,
        pap,
        handling,
        purposes,
        release_to,
        relay,
        originator_control,
        requested_action,
        // Represented by `review_due` and `expired`.
        review_at: _,
        delete_at: _,
        data_subject,
    } = marking;
    key.push(*tlp as u8);
    key.push(*pap as u8);
    put_flags(
        key,
        &[
            handling.h0,
            handling.h1,
            handling.h2,
            handling.h3.is_some(),
            *relay,
            *originator_control,
            release_to.is_some(),
        ],
    );
    key.push(
        purposes
            .iter()
            .fold(0, |bits, purpose| bits | (1 << (*purpose as u8))),
    );
    key.push(requested_action.map_or(ABSENT, |action| action as u8));
    key.push(data_subject.map_or(ABSENT, |subject| subject as u8));
    put_texts(key, release_to.iter().flatten().map(AuthorityId::as_str));
}

/// Writes at most eight flags, the first in the lowest bit.
fn put_flags(key: &mut Vec<u8>, flags: &[bool]) {
    let bits = flags
        .iter()
        .rev()
        .fold(0u8, |bits, flag| (bits << 1) | u8::from(*flag));
    key.push(bits);
}

/// A question in the form that Cedar gets, read from a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Question<'k> {
    pub(crate) action: Action,
    pub(crate) facts: Facts,
    pub(crate) principal: MemberFacts<'k>,
    pub(crate) here: MemberFacts<'k>,
    pub(crate) origin: MemberFacts<'k>,
    pub(crate) via: MemberFacts<'k>,
    pub(crate) kind: Kind,
    pub(crate) exercise: bool,
    pub(crate) source: SourceCode,
    pub(crate) information: InformationCode,
    pub(crate) audience: Vec<&'k str>,
    pub(crate) tag: SectionTag,
    pub(crate) least_count: Option<u32>,
    pub(crate) marking: MarkingFacts<'k>,
}

/// A member in the form that Cedar gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberFacts<'k> {
    pub(crate) id: &'k str,
    pub(crate) kind: AuthorityKind,
    pub(crate) country: &'k str,
    pub(crate) group: &'k str,
    pub(crate) regime: LegalRegime,
    pub(crate) communities: Vec<&'k str>,
    pub(crate) clients: Vec<&'k str>,
}

/// A marking in the form that Cedar gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MarkingFacts<'k> {
    pub(crate) tlp: Tlp,
    pub(crate) pap: Pap,
    pub(crate) h0: bool,
    pub(crate) h1: bool,
    pub(crate) h2: bool,
    pub(crate) h3: bool,
    pub(crate) relay: bool,
    pub(crate) originator_control: bool,
    pub(crate) purposes: Vec<Purpose>,
    pub(crate) requested_action: Option<RequestedAction>,
    pub(crate) data_subject: Option<DataSubject>,
    pub(crate) release_to: Option<Vec<&'k str>>,
}

impl<'k> Question<'k> {
    /// Reads a key; `None` if the bytes are not one.
    pub(crate) fn decode(key: &'k [u8]) -> Option<Self> {
        let mut reader = Reader(key);
        let question = reader.question()?;
        reader.0.is_empty().then_some(question)
    }
}

struct Reader<'k>(&'k [u8]);

impl<'k> Reader<'k> {
    fn question(&mut self) -> Option<Question<'k>> {
        let action = self.one_of(Action::ALL)?;
        let [expired, review_due, grant_active, approved, ..] = self.flags()?;
        let principal = self.role(&[])?;
        let here = self.role(&[&principal])?;
        let origin = self.role(&[&principal, &here])?;
        let via = self.role(&[&principal, &here, &origin])?;
        Some(Question {
            action,
            facts: Facts {
                expired,
                review_due,
                grant_active,
                approved,
            },
            principal,
            here,
            origin,
            via,
            kind: self.one_of(Kind::ALL)?,
            exercise: self.byte()? == 1,
            source: self.one_of(SOURCE_CODES)?,
            information: self.one_of(INFORMATION_CODES)?,
            audience: self.texts()?,
            tag: self.one_of(SectionTag::ALL)?,
            least_count: self.least_count()?,
            marking: self.marking()?,
        })
    }

    fn role(&mut self, before: &[&MemberFacts<'k>]) -> Option<MemberFacts<'k>> {
        match self.byte()? {
            WRITTEN_OUT => self.member(),
            place => before.get(usize::from(place)).map(|&member| member.clone()),
        }
    }

    fn member(&mut self) -> Option<MemberFacts<'k>> {
        Some(MemberFacts {
            id: self.text()?,
            kind: self.one_of(AuthorityKind::ALL)?,
            country: self.text()?,
            group: self.text()?,
            regime: self.one_of(LegalRegime::ALL)?,
            communities: self.texts()?,
            clients: self.texts()?,
        })
    }

    fn least_count(&mut self) -> Option<Option<u32>> {
        let present = self.byte()? == 1;
        let count = u32::from_be_bytes(*self.take(4)?.first_chunk()?);
        Some(present.then_some(count))
    }

    fn marking(&mut self) -> Option<MarkingFacts<'k>> {
        let tlp = self.one_of(Tlp::ALL)?;
        let pap = self.one_of(Pap::ALL)?;
        let [h0, h1, h2, h3, relay, originator_control, listed, _] = self.flags()?;
        let purposes = self.flags()?;
        let requested_action = self.maybe_one_of(RequestedAction::ALL)?;
        let data_subject = self.maybe_one_of(DataSubject::ALL)?;
        let list = self.texts()?;
        Some(MarkingFacts {
            tlp,
            pap,
            h0,
            h1,
            h2,
            h3,
            relay,
            originator_control,
            purposes: Purpose::ALL
                .iter()
                .zip(purposes)
                .filter_map(|(purpose, set)| set.then_some(*purpose))
                .collect(),
            requested_action,
            data_subject,
            release_to: listed.then_some(list),
        })
    }

    fn take(&mut self, length: usize) -> Option<&'k [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        all.get(usize::from(self.byte()?)).copied()
    }

    fn maybe_one_of<T: Copy>(&mut self, all: &[T]) -> Option<Option<T>> {
        match self.byte()? {
            ABSENT => Some(None),
            place => all.get(usize::from(place)).copied().map(Some),
        }
    }

    fn flags(&mut self) -> Option<[bool; 8]> {
        let bits = self.byte()?;
        Some([0, 1, 2, 3, 4, 5, 6, 7].map(|place| bits & (1 << place) != 0))
    }

    fn count(&mut self) -> Option<usize> {
        let count = u64::from_be_bytes(*self.take(8)?.first_chunk()?);
        usize::try_from(count).ok()
    }

    fn text(&mut self) -> Option<&'k str> {
        let length = self.count()?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    fn texts(&mut self) -> Option<Vec<&'k str>> {
        let count = self.count()?;
        // No capacity is reserved by the count, which is not checked: the key's length bounds the
        // entries.
        let mut texts = Vec::new();
        for _ in 0..count {
            texts.push(self.text()?);
        }
        Some(texts)
    }
}

const SOURCE_CODES: &[SourceCode] = &[SourceCode::A, SourceCode::B, SourceCode::C, SourceCode::X];

const INFORMATION_CODES: &[InformationCode] = &[
    InformationCode::One,
    InformationCode::Two,
    InformationCode::Three,
    InformationCode::Four,
];
