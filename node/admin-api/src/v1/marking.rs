//! Markings and evaluations as JSON, version 1.

use std::collections::BTreeSet;

use portcullis_protocol::{
    evaluation::{Admiralty, Evaluation},
    marking::{HandlingCodes, Marking},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::Malformed;

/// Marking: the conditions under which a record may be used and shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkingView {
    /// TLP 2.0 label.
    pub tlp: String,
    /// PAP label.
    pub pap: String,
    /// Europol handling codes, `H0` to `H3`.
    pub handling: Vec<String>,
    /// The text of H3.
    pub handling_text: Option<String>,
    /// Purposes for which it may be used.
    pub purposes: Vec<String>,
    /// Authorities that alone may have it; absent: no list.
    pub release_to: Option<Vec<String>>,
    /// True if a hub may pass it on.
    pub relay: bool,
    /// True if wider sharing needs the originator's permission.
    pub originator_control: bool,
    /// Action asked of the finder.
    pub requested_action: Option<String>,
    /// Time at which a person reviews it.
    pub review_at: Option<String>,
    /// Time at which it is to be erased.
    pub delete_at: Option<String>,
    /// Category of data subject.
    pub data_subject: Option<String>,
}

impl From<&Marking> for MarkingView {
    fn from(marking: &Marking) -> Self {
        let Marking {
            tlp,
            pap,
            handling,
            purposes,
            release_to,
            relay,
            originator_control,
            requested_action,
            review_at,
            delete_at,
            data_subject,
        } = marking;
        Self {
            tlp: tlp.to_string(),
            pap: pap.to_string(),
            handling: codes(handling),
            handling_text: handling.h3.clone(),
            purposes: purposes.iter().map(ToString::to_string).collect(),
            release_to: release_to
                .as_ref()
                .map(|list| list.iter().map(ToString::to_string).collect()),
            relay: *relay,
            originator_control: *originator_control,
            requested_action: requested_action.map(|action| action.to_string()),
            review_at: review_at.map(|time| time.to_string()),
            delete_at: delete_at.map(|time| time.to_string()),
            data_subject: data_subject.map(|category| category.to_string()),
        }
    }
}

fn codes(handling: &HandlingCodes) -> Vec<String> {
    [
        (handling.h0, "H0"),
        (handling.h1, "H1"),
        (handling.h2, "H2"),
        (handling.h3.is_some(), "H3"),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .map(|(_, name)| name.to_owned())
    .collect()
}

impl TryFrom<MarkingView> for Marking {
    type Error = Malformed;

    fn try_from(view: MarkingView) -> Result<Self, Malformed> {
        let MarkingView {
            tlp,
            pap,
            handling,
            handling_text,
            purposes,
            release_to,
            relay,
            originator_control,
            requested_action,
            review_at,
            delete_at,
            data_subject,
        } = view;
        let marking = Self {
            tlp: Malformed::reading("tlp", &tlp)?,
            pap: Malformed::reading("pap", &pap)?,
            handling: handling_codes(&handling, handling_text)?,
            purposes: purposes
                .iter()
                .map(|purpose| Malformed::reading("purposes", purpose))
                .collect::<Result<_, _>>()?,
            release_to: release_to
                .map(|list| {
                    list.iter()
                        .map(|id| Malformed::reading("release_to", id))
                        .collect::<Result<BTreeSet<_>, _>>()
                })
                .transpose()?,
            relay,
            originator_control,
            requested_action: Malformed::reading_any("requested_action", requested_action)?,
            review_at: Malformed::reading_any("review_at", review_at)?,
            delete_at: Malformed::reading_any("delete_at", delete_at)?,
            data_subject: Malformed::reading_any("data_subject", data_subject)?,
        };
        marking
            .check()
            .map_err(|error| Malformed::new("marking", &error))?;
        Ok(marking)
    }
}

/// Reads handling codes. H3 and its text must come together.
fn handling_codes(names: &[String], text: Option<String>) -> Result<HandlingCodes, Malformed> {
    let mut codes = HandlingCodes {
        h3: text.filter(|text| !text.trim().is_empty()),
        ..HandlingCodes::NONE
    };
    let mut names_h3 = false;
    for name in names {
        match name.to_ascii_uppercase().as_str() {
            "H0" => codes.h0 = true,
            "H1" => codes.h1 = true,
            "H2" => codes.h2 = true,
            "H3" => names_h3 = true,
            _ => {
                let what = format!("`{name}` is no handling code; write H0, H1, H2 or H3");
                return Err(Malformed::new("handling", &what));
            }
        }
    }
    if names_h3 == codes.h3.is_some() {
        Ok(codes)
    } else {
        let what = "H3 and the text of its restriction go together; give both or neither";
        Err(Malformed::new("handling", &what))
    }
}

/// A 4x4 evaluation, with the Admiralty code that it was mapped from, if any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationView {
    /// The 4x4 code, for instance `B2`.
    pub code: String,
    /// The original Admiralty code.
    pub admiralty: Option<String>,
}

impl From<&Evaluation> for EvaluationView {
    fn from(evaluation: &Evaluation) -> Self {
        Self {
            code: evaluation.to_string(),
            admiralty: evaluation.admiralty.map(|code| code.to_string()),
        }
    }
}

impl TryFrom<EvaluationView> for Evaluation {
    type Error = Malformed;

    /// Reads an evaluation. An Admiralty code decides; the 4x4 code beside it must be the one that
    /// it maps to.
    fn try_from(view: EvaluationView) -> Result<Self, Malformed> {
        let EvaluationView { code, admiralty } = view;
        let evaluation: Self = Malformed::reading("evaluation", &code)?;
        let Some(admiralty) = admiralty else {
            return Ok(evaluation);
        };
        let mapped = Self::from(Malformed::reading::<Admiralty>("evaluation", &admiralty)?);
        if mapped.to_string() == code {
            Ok(mapped)
        } else {
            let what = format!("Admiralty `{admiralty}` maps to `{mapped}`, not to `{code}`");
            Err(Malformed::new("evaluation", &what))
        }
    }
}

/// A time window as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowView {
    /// Its beginning.
    pub from: String,
    /// Its end.
    pub until: String,
}

impl WindowView {
    /// Parses both ends.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if one of them is not a time.
    pub fn ends(&self) -> Result<(Timestamp, Timestamp), Malformed> {
        Ok((
            Malformed::reading("from", &self.from)?,
            Malformed::reading("until", &self.until)?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::marking::{Purpose, Tlp};

    use super::*;

    fn view() -> MarkingView {
        MarkingView::from(&Marking::new(Tlp::AmberStrict, [Purpose::LawEnforcement]))
    }

    #[test]
    fn a_marking_reads_as_it_was_written() {
        let mut marking = Marking::new(Tlp::Red, [Purpose::LawEnforcement]);
        marking.handling.h1 = true;
        marking.handling.h3 = Some("ask first".to_owned());
        marking.release_to = Some(["nl-police".parse().unwrap()].into());
        marking.delete_at = Some("2021-03-01".parse().unwrap());
        marking.relay = false;
        let view = MarkingView::from(&marking);
        assert_eq!(view.tlp, "TLP:RED");
        assert_eq!(view.handling, ["H1", "H3"]);
        assert_eq!(Marking::try_from(view), Ok(marking));
    }

    #[test]
    fn h3_and_its_text_go_together() {
        let with_code = MarkingView {
            handling: vec!["H3".to_owned()],
            ..view()
        };
        let with_text = MarkingView {
            handling_text: Some("ask first".to_owned()),
            ..view()
        };
        assert!(Marking::try_from(with_code).is_err());
        assert!(Marking::try_from(with_text).is_err());
    }

    #[test]
    fn red_without_recipients_is_malformed() {
        let red = MarkingView {
            tlp: "TLP:RED".to_owned(),
            ..view()
        };
        assert_eq!(Marking::try_from(red).unwrap_err().field, "marking");
    }

    #[test]
    fn an_admiralty_code_that_maps_otherwise_is_malformed() {
        let code = |code: &str| EvaluationView {
            code: code.to_owned(),
            admiralty: Some("B2".to_owned()),
        };
        assert!(Evaluation::try_from(code("B4")).is_ok());
        assert!(Evaluation::try_from(code("B2")).is_err());
    }
}
