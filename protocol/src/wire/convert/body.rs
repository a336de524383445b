//! Conversion of sections and their bodies.

use bytes::Bytes;

use super::{ascending, same_values};
use crate::{
    body::{
        self, Assessment, Attachment, BodyError, Cell, Cells, Finding, MAX_SELECTORS, Person,
        Selector, SelectorKind, Subject, Window, line, text,
    },
    digest::Digest,
    marking::DataSubject,
    record::Section,
    time::Timestamp,
    wire,
};

same_values!(Finding, Unspecified: Found = Found, NotFound = NotFound);
same_values!(SelectorKind, Unspecified: Container = Container, Imo = Imo, Mmsi = Mmsi,
    BillOfLading = BillOfLading, Seal = Seal, Eori = Eori, Plate = Plate, UnLocode = UnLocode,
    HsCode = HsCode, Trader = Trader, Ilu = Ilu);

impl From<&Section> for wire::Section {
    fn from(section: &Section) -> Self {
        Self {
            index: u32::from(section.index),
            salt: Bytes::copy_from_slice(&section.salt),
            body: section.body.clone(),
        }
    }
}

impl From<&Selector> for wire::Selector {
    fn from(selector: &Selector) -> Self {
        Self {
            kind: wire::SelectorKind::from(selector.kind()).into(),
            value: selector.value().to_owned(),
            valid_from_ms: Timestamp::to_wire(selector.window().map(|window| window.from)),
            valid_until_ms: Timestamp::to_wire(selector.window().map(|window| window.until)),
            unchecked: selector.is_unchecked(),
        }
    }
}

impl TryFrom<wire::Selector> for Selector {
    type Error = BodyError;

    fn try_from(wire: wire::Selector) -> Result<Self, Self::Error> {
        let wire::Selector {
            kind,
            value,
            valid_from_ms,
            valid_until_ms,
            unchecked,
        } = wire;
        let kind = SelectorKind::from_wire(kind).ok_or(BodyError::Value("selector kind"))?;
        let ends = (
            Timestamp::from_wire(valid_from_ms),
            Timestamp::from_wire(valid_until_ms),
        );
        let on_calendar = |time: Timestamp| Timestamp::on_calendar(time.as_millis()).is_some();
        let window = match ends {
            (Some(from), Some(until)) if on_calendar(from) && on_calendar(until) => {
                Some(Window { from, until })
            }
            (Some(_), Some(_)) => return Err(BodyError::Value("selector window")),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(BodyError::Value("selector window")),
        };
        let selector = Self::as_signed(kind, &value, window, unchecked)?;
        // A peer must send the canonical text: two spellings would be two selectors.
        if selector.value() == value && selector.is_unchecked() == unchecked {
            Ok(selector)
        } else {
            Err(BodyError::Value("selector value"))
        }
    }
}

impl From<&Subject> for wire::Subject {
    fn from(subject: &Subject) -> Self {
        Self {
            selectors: subject.selectors.iter().map(Into::into).collect(),
            title: subject.title.clone(),
            generated: subject.generated,
        }
    }
}

impl TryFrom<wire::Subject> for Subject {
    type Error = BodyError;

    fn try_from(wire: wire::Subject) -> Result<Self, Self::Error> {
        let wire::Subject {
            selectors,
            title,
            generated,
        } = wire;
        if selectors.is_empty() {
            return Err(BodyError::NoSelector);
        }
        if selectors.len() > MAX_SELECTORS {
            return Err(BodyError::TooLong("selectors"));
        }
        Ok(Self {
            selectors: selectors
                .into_iter()
                .map(Selector::try_from)
                .collect::<Result<_, _>>()?,
            title: line("title", title)?,
            generated,
        })
    }
}

impl From<&Assessment> for wire::Assessment {
    fn from(assessment: &Assessment) -> Self {
        Self {
            threat: assessment.threat.clone(),
            finding: assessment
                .finding
                .map_or(0, |finding| wire::Finding::from(finding).into()),
            text: assessment.text.clone(),
        }
    }
}

impl TryFrom<wire::Assessment> for Assessment {
    type Error = BodyError;

    fn try_from(wire: wire::Assessment) -> Result<Self, Self::Error> {
        let wire::Assessment {
            threat,
            finding,
            text: free,
        } = wire;
        let finding = match finding {
            0 => None,
            number => Some(Finding::from_wire(number).ok_or(BodyError::Value("finding"))?),
        };
        Ok(Self {
            threat: line("threat", threat)?,
            finding,
            text: text("text", free)?,
        })
    }
}

impl From<&Person> for wire::Person {
    fn from(person: &Person) -> Self {
        Self {
            name: person.name.clone(),
            role: person.role.clone(),
            category: wire::DataSubjectCategory::from(person.category).into(),
        }
    }
}

impl TryFrom<wire::Person> for Person {
    type Error = BodyError;

    fn try_from(wire: wire::Person) -> Result<Self, Self::Error> {
        let wire::Person {
            name,
            role,
            category,
        } = wire;
        Ok(Self {
            name: line("name", name)?,
            role: line("role", role)?,
            category: DataSubject::from_wire(category).ok_or(BodyError::Value("category"))?,
        })
    }
}

impl From<&Attachment> for wire::Attachment {
    fn from(attachment: &Attachment) -> Self {
        Self {
            name: attachment.name.clone(),
            media_type: attachment.media_type.clone(),
            content: attachment.content.clone(),
        }
    }
}

impl TryFrom<wire::Attachment> for Attachment {
    type Error = BodyError;

    fn try_from(wire: wire::Attachment) -> Result<Self, Self::Error> {
        let wire::Attachment {
            name,
            media_type,
            content,
        } = wire;
        Ok(Self {
            name: line("name", name)?,
            media_type: line("media_type", media_type)?,
            content,
        })
    }
}

impl From<&Cells> for wire::Cells {
    fn from(cells: &Cells) -> Self {
        Self {
            schema: Bytes::copy_from_slice(cells.schema.as_bytes()),
            period: cells.period.clone(),
            contributors: cells.contributors.iter().map(ToString::to_string).collect(),
            part: cells.part,
            parts: cells.parts,
            cells: cells
                .cells
                .iter()
                .map(|cell| wire::Cell {
                    key: cell.key.clone(),
                    controls: cell.controls,
                    findings: cell.findings,
                })
                .collect(),
        }
    }
}

impl TryFrom<wire::Cells> for Cells {
    type Error = BodyError;

    fn try_from(wire: wire::Cells) -> Result<Self, Self::Error> {
        let wire::Cells {
            schema,
            period,
            contributors,
            part,
            parts,
            cells,
        } = wire;
        body::Cells {
            schema: Digest::from_slice(&schema).ok_or(BodyError::Value("schema"))?,
            period,
            contributors: ascending("contributors", contributors, |name| name.parse().ok())
                .map_err(|_| BodyError::Value("contributors"))?,
            part,
            parts,
            cells: cells.into_iter().map(Cell::from).collect(),
        }
        .checked()
    }
}

impl From<wire::Cell> for Cell {
    fn from(wire: wire::Cell) -> Self {
        let wire::Cell {
            key,
            controls,
            findings,
        } = wire;
        Self {
            key,
            controls,
            findings,
        }
    }
}
