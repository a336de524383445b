//! Flags for markings and evaluations.

use portcullis_protocol::{
    evaluation::{Admiralty, Evaluation},
    identifiers::AuthorityId,
    marking::{DataSubject, Marking, Pap, Purpose, RequestedAction, Tlp},
    time::{End, Timestamp},
};

use crate::{error::CliError, exit::Exit, exit_codes};
use portcullis_admin_api::v1::marking::{EvaluationView, MarkingView};
use portcullis_home::clock::system_clock;

/// What may be done with the record, and how far it is trusted.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "What may be done with it")]
pub(crate) struct MarkingArgs {
    /// TLP 2.0: TLP:CLEAR, TLP:GREEN, TLP:AMBER, TLP:AMBER+STRICT or TLP:RED
    #[arg(long, value_name = "LABEL", default_value = "TLP:AMBER")]
    pub(crate) tlp: Tlp,
    /// What may be done with it: CLEAR, GREEN, AMBER or RED
    #[arg(long, value_name = "LABEL", default_value = "PAP:AMBER", value_parser = pap)]
    pap: Pap,
    /// Europol handling codes, for instance H1,H2
    #[arg(long, value_name = "CODES", value_delimiter = ',')]
    handling: Vec<String>,
    /// The restriction that H3 stands for
    #[arg(long, value_name = "TEXT")]
    handling_text: Option<String>,
    /// What it may be used for: law-enforcement, customs-control, port-security, statistics
    #[arg(
        long,
        value_name = "PURPOSES",
        value_delimiter = ',',
        default_value = "law-enforcement,customs-control"
    )]
    purpose: Vec<Purpose>,
    /// The only authorities that may have it; needed for TLP:RED
    #[arg(long, value_name = "AUTHORITIES", value_delimiter = ',')]
    release_to: Vec<AuthorityId>,
    /// No hub passes it on
    #[arg(long)]
    no_relay: bool,
    /// Wider sharing needs this authority's permission
    #[arg(long)]
    originator_control: bool,
    /// What the finder is asked to do: discreet, inquiry, specific-check or do-not-approach
    #[arg(long, value_name = "ACTION")]
    requested_action: Option<RequestedAction>,
    /// When a person looks at it again
    #[arg(long, value_name = "TIME")]
    review_at: Option<Timestamp>,
    /// When everyone erases it; a day is its end
    #[arg(long, value_name = "TIME")]
    delete_at: Option<End>,
    /// Whom it is about: suspect, convicted, victim or other
    #[arg(long, value_name = "CATEGORY")]
    data_subject: Option<DataSubject>,
    /// The 4x4 evaluation of source and information, for instance B2; X4: not evaluated
    #[arg(
        long,
        value_name = "CODE",
        default_value = "X4",
        conflicts_with = "admiralty"
    )]
    evaluation: Evaluation,
    /// The evaluation on the Admiralty scale, for instance C3; mapped to 4x4, and kept
    #[arg(long, value_name = "CODE")]
    admiralty: Option<Admiralty>,
}

/// Reads a PAP label with or without its prefix.
fn pap(text: &str) -> Result<Pap, String> {
    let upper = text.to_ascii_uppercase();
    let named = upper.strip_prefix("PAP:").unwrap_or(&upper);
    format!("PAP:{named}")
        .parse()
        .map_err(|_| format!("`{text}` is no PAP label; write CLEAR, GREEN, AMBER or RED"))
}

impl MarkingArgs {
    /// Returns the marking, checked.
    ///
    /// # Errors
    ///
    /// [`CliError`] with exit code 3 names the contradiction.
    pub(crate) fn view(&self) -> Result<MarkingView, CliError> {
        let now = system_clock()();
        for (flag, time) in [
            ("--delete-at", self.delete_at.map(End::excluded)),
            ("--review-at", self.review_at),
        ] {
            if time.is_some_and(|time| time <= now) {
                let told = CliError::invalid(format!("`{flag}` has gone by: nobody would get it"));
                return Err(told.remedy("name a time to come"));
            }
        }
        let mut marking = Marking::new(self.tlp, self.purpose.iter().copied());
        marking.pap = self.pap;
        marking.relay = !self.no_relay;
        marking.originator_control = self.originator_control;
        marking.requested_action = self.requested_action;
        marking.review_at = self.review_at;
        marking.delete_at = self.delete_at.map(End::excluded);
        marking.data_subject = self.data_subject;
        marking.release_to =
            (!self.release_to.is_empty()).then(|| self.release_to.iter().cloned().collect());
        let view = MarkingView {
            handling: self.handling.clone(),
            handling_text: self.handling_text.clone(),
            ..MarkingView::from(&marking)
        };
        let read =
            Marking::try_from(view).map_err(|error| exit_codes::told(Exit::Invalid, &error))?;
        Ok(MarkingView::from(&read))
    }

    /// Returns the evaluation.
    pub(crate) fn evaluation(&self) -> EvaluationView {
        let evaluation = self.admiralty.map_or(self.evaluation, Evaluation::from);
        EvaluationView::from(&evaluation)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        marking: MarkingArgs,
    }

    fn marking(arguments: &[&str]) -> MarkingArgs {
        let line = std::iter::once("test").chain(arguments.iter().copied());
        Line::try_parse_from(line).unwrap().marking
    }

    #[test]
    fn labels_are_read_with_and_without_prefix_and_written_canonically() {
        let view = marking(&["--tlp", "amber+strict", "--pap", "red"])
            .view()
            .unwrap();
        assert_eq!(
            (view.tlp.as_str(), view.pap.as_str()),
            ("TLP:AMBER+STRICT", "PAP:RED")
        );
    }

    #[test]
    fn red_needs_recipients() {
        let error = marking(&["--tlp", "red"]).view().unwrap_err();
        assert_eq!(error.exit, Exit::Invalid);
        let view = marking(&["--tlp", "red", "--release-to", "nl-police"]).view();
        assert_eq!(view.unwrap().release_to, Some(vec!["nl-police".to_owned()]));
    }

    #[test]
    fn handling_codes_combine() {
        let view = marking(&["--handling", "h1,H2"]).view().unwrap();
        assert_eq!(view.handling, ["H1", "H2"]);
        assert!(marking(&["--handling", "H9"]).view().is_err());
        assert!(marking(&["--handling", "H3"]).view().is_err());
    }

    #[test]
    fn an_admiralty_code_is_mapped_and_kept() {
        let view = marking(&["--admiralty", "C3"]).evaluation();
        assert_eq!(view.code, "C4");
        assert_eq!(view.admiralty.as_deref(), Some("C3"));
    }
}
