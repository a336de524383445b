//! Drafts, which are records before they are sealed, as JSON, version 1: input of `publish` and
//! `preview`.

use portcullis_protocol::{
    body::{Assessment, Body, Person, Selector, SelectorKind, Subject, Window},
    record::{Kind, SectionTag},
    seal::Draft,
};
use serde::{Deserialize, Serialize};

use super::{
    Malformed,
    marking::{EvaluationView, MarkingView, WindowView},
};

/// A draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DraftView {
    /// `indicator`, `alert`, `advisory` or `outcome`.
    pub kind: String,
    /// True if it belongs to an exercise.
    pub exercise: bool,
    /// The ports it concerns, as UN/LOCODE; empty: all.
    pub audience: Vec<String>,
    /// Marking of the record.
    pub marking: MarkingView,
    /// Evaluation of source and content.
    pub evaluation: EvaluationView,
    /// The records it was made from.
    pub derived_from: Vec<String>,
    /// The record it replaces.
    pub supersedes: Option<String>,
    /// Subject of the record.
    pub subject: Option<SubjectView>,
    /// The threat and its assessment.
    pub assessment: AssessmentView,
    /// Narrative, as free text.
    pub narrative: Option<String>,
    /// Source of the information.
    pub source: Option<String>,
    /// Persons concerned; empty: no such section.
    pub persons: Vec<PersonView>,
    /// True if absent sections `source` and `persons` get a decoy, which is a digest of nothing.
    pub decoys: bool,
}

/// Subject of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectView {
    /// Title, one line for people to read.
    pub title: String,
    /// The identifiers to look out for.
    pub selectors: Vec<SelectorView>,
    /// True if a rule of the demo made the identifiers.
    pub generated: bool,
}

/// An identifier to look out for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectorView {
    /// Its kind.
    pub kind: String,
    /// Text of the identifier.
    pub value: String,
    /// Time window in which it counts.
    pub window: Option<WindowView>,
    /// True if a wrong check digit is accepted (in a draft) or was accepted (in a record).
    pub unchecked: bool,
}

/// The threat and its assessment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssessmentView {
    /// The threat.
    pub threat: String,
    /// Finding of the control; for outcomes only.
    pub finding: Option<String>,
    /// Free text.
    pub text: String,
}

/// A person concerned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonView {
    /// The name.
    pub name: String,
    /// Part of the person in the matter.
    pub role: String,
    /// Category of data subject.
    pub category: String,
}

impl TryFrom<DraftView> for Draft {
    type Error = Malformed;

    fn try_from(view: DraftView) -> Result<Self, Malformed> {
        let DraftView {
            kind,
            exercise,
            audience,
            marking,
            evaluation,
            derived_from,
            supersedes,
            subject,
            assessment,
            narrative,
            source,
            persons,
            decoys,
        } = view;
        let mut bodies = Vec::new();
        if let Some(subject) = subject {
            bodies.push(Body::Subject(subject.try_into()?));
        }
        bodies.push(Body::Assessment(assessment.try_into()?));
        bodies.extend(narrative.map(Body::Narrative));
        bodies.extend(source.map(Body::Source));
        if !persons.is_empty() {
            let persons = persons.into_iter().map(Person::try_from);
            bodies.push(Body::Persons(persons.collect::<Result<_, _>>()?));
        }
        let kind: Kind = Malformed::reading("kind", &kind)?;
        let mut draft = Self::new(kind, marking.try_into()?, evaluation.try_into()?, bodies);
        draft.exercise = exercise;
        draft.audience = audience
            .iter()
            .map(|place| Malformed::reading("audience", place))
            .collect::<Result<_, _>>()?;
        draft.derived_from = derived_from
            .iter()
            .map(|id| Malformed::reading("derived_from", id))
            .collect::<Result<_, _>>()?;
        draft.supersedes = Malformed::reading_any("supersedes", supersedes)?;
        if decoys {
            draft.decoys = absent(&draft, [SectionTag::Source, SectionTag::Persons]);
        }
        Ok(draft)
    }
}

/// Returns those of `tags` for which the draft has no section.
fn absent<const N: usize>(
    draft: &Draft,
    tags: [SectionTag; N],
) -> std::collections::BTreeSet<SectionTag> {
    tags.into_iter()
        .filter(|tag| {
            !draft
                .sections
                .iter()
                .any(|section| section.body.tag() == *tag)
        })
        .collect()
}

impl TryFrom<SubjectView> for Subject {
    type Error = Malformed;

    fn try_from(view: SubjectView) -> Result<Self, Malformed> {
        let SubjectView {
            title,
            selectors,
            generated,
        } = view;
        Ok(Self {
            selectors: selectors
                .into_iter()
                .map(Selector::try_from)
                .collect::<Result<_, _>>()?,
            title,
            generated,
        })
    }
}

impl From<&Subject> for SubjectView {
    fn from(subject: &Subject) -> Self {
        Self {
            title: subject.title.clone(),
            selectors: subject.selectors.iter().map(SelectorView::from).collect(),
            generated: subject.generated,
        }
    }
}

impl TryFrom<SelectorView> for Selector {
    type Error = Malformed;

    fn try_from(view: SelectorView) -> Result<Self, Malformed> {
        let SelectorView {
            kind,
            value,
            window,
            unchecked,
        } = view;
        let kind: SelectorKind = Malformed::reading("kind of selector", &kind)?;
        let window = window
            .map(|window| window.ends())
            .transpose()?
            .map(|(from, until)| Window { from, until });
        let read = if unchecked {
            Self::accept_unchecked(kind, &value, window)
        } else {
            Self::new(kind, &value, window)
        };
        read.map_err(|error| Malformed::new("selectors", &error))
    }
}

impl From<&Selector> for SelectorView {
    fn from(selector: &Selector) -> Self {
        Self {
            kind: selector.kind().to_string(),
            value: selector.value().to_owned(),
            window: selector.window().map(|window| WindowView {
                from: window.from.to_string(),
                until: window.until.to_string(),
            }),
            unchecked: selector.is_unchecked(),
        }
    }
}

impl TryFrom<AssessmentView> for Assessment {
    type Error = Malformed;

    fn try_from(view: AssessmentView) -> Result<Self, Malformed> {
        let AssessmentView {
            threat,
            finding,
            text,
        } = view;
        Ok(Self {
            threat,
            finding: Malformed::reading_any("finding", finding)?,
            text,
        })
    }
}

impl From<&Assessment> for AssessmentView {
    fn from(assessment: &Assessment) -> Self {
        Self {
            threat: assessment.threat.clone(),
            finding: assessment.finding.map(|finding| finding.to_string()),
            text: assessment.text.clone(),
        }
    }
}

impl TryFrom<PersonView> for Person {
    type Error = Malformed;

    fn try_from(view: PersonView) -> Result<Self, Malformed> {
        let PersonView {
            name,
            role,
            category,
        } = view;
        Ok(Self {
            name,
            role,
            category: Malformed::reading("category", &category)?,
        })
    }
}

impl From<&Person> for PersonView {
    fn from(person: &Person) -> Self {
        Self {
            name: person.name.clone(),
            role: person.role.clone(),
            category: person.category.to_string(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use portcullis_protocol::marking::{Marking, Purpose, Tlp};

    use super::*;

    pub(crate) fn indicator() -> DraftView {
        DraftView {
            kind: "indicator".to_owned(),
            exercise: false,
            audience: vec!["NLRTM".to_owned()],
            marking: MarkingView::from(&Marking::new(Tlp::Amber, [Purpose::CustomsControl])),
            evaluation: EvaluationView {
                code: "B2".to_owned(),
                admiralty: None,
            },
            derived_from: Vec::new(),
            supersedes: None,
            subject: Some(SubjectView {
                title: "box".to_owned(),
                selectors: vec![SelectorView {
                    kind: "imo".to_owned(),
                    value: "9074729".to_owned(),
                    window: None,
                    unchecked: false,
                }],
                generated: false,
            }),
            assessment: AssessmentView {
                threat: "narcotics".to_owned(),
                finding: None,
                text: String::new(),
            },
            narrative: None,
            source: Some("an informant".to_owned()),
            persons: Vec::new(),
            decoys: true,
        }
    }

    #[test]
    fn a_draft_has_a_section_for_each_thing_it_says() {
        let draft = Draft::try_from(indicator()).unwrap();
        let tags: Vec<_> = draft.sections.iter().map(|one| one.body.tag()).collect();
        assert_eq!(
            tags,
            [
                SectionTag::Subject,
                SectionTag::Assessment,
                SectionTag::Source
            ]
        );
        assert_eq!(draft.decoys, [SectionTag::Persons].into());
    }

    #[test]
    fn what_does_not_parse_is_named_by_its_field() {
        let mut wrong = indicator();
        wrong.audience = vec!["nowhere at all".to_owned()];
        assert_eq!(Draft::try_from(wrong).unwrap_err().field, "audience");
        let mut wrong = indicator();
        if let Some(subject) = &mut wrong.subject {
            subject.selectors[0].value = "9074728".to_owned();
        }
        assert_eq!(Draft::try_from(wrong).unwrap_err().field, "selectors");
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let mut json = serde_json::to_value(indicator()).unwrap();
        json["tpl"] = "TLP:RED".into();
        assert!(serde_json::from_value::<DraftView>(json).is_err());
    }
}
