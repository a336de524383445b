//! `portcullis show`: one record with everything known about it.

use std::io;

use super::{
    Session,
    error::CliError,
    live::block_on,
    names::id_prefix,
    output::{Column, Page, Table, View, seconds},
};
use portcullis_admin_api::v1::{
    draft::SelectorView,
    record::{
        ArrivalView, ChainView, ContentView, DisclosureView, HeaderView, RecordView, SectionView,
    },
};

/// Show a record: what it says, what was withheld, who vouches for it, who has it
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Show a record: its header and markings, its sections open and withheld, the chain of signatures \
that vouches for it (verified again now), to whom it was disclosed and under which policies, and \
how it arrived. Showing is logged as a consultation.",
    after_long_help = "\
Example:
  portcullis show 3f2a91c0"
)]
pub(super) struct Show {
    /// The record's id, or its beginning (4 characters or more)
    #[arg(value_name = "ID")]
    id: String,
}

impl Show {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let id = id_prefix(&self.id)?;
        let client = session.client()?;
        let path = format!("/v1/records/{id}");
        let record: RecordView = block_on(async { Ok(client.get(&path).await?) })?;
        session.output.show(&record)
    }
}

impl View for RecordView {
    const SCHEMA: &'static str = "portcullis/record/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!(
            "{} {:.12} of {}",
            self.header.kind, self.id, self.header.origin
        ))?;
        page.pairs(&about(self))?;
        page.heading("Marking and evaluation")?;
        page.pairs(&marking(&self.header))?;
        page.heading("Sections")?;
        for section in &self.sections {
            page.pairs(&[(label(section), said(self, section))])?;
        }
        page.heading("Signature chain, verified now")?;
        page.pairs(&chain(&self.chain))?;
        if !self.disclosures.is_empty() {
            page.heading("Disclosures")?;
            page.table(&disclosures(&self.disclosures))?;
        }
        if !self.arrivals.is_empty() {
            page.heading("Arrivals")?;
            page.table(&arrivals(&self.arrivals))?;
        }
        Ok(())
    }
}

fn about(record: &RecordView) -> Vec<(&'static str, String)> {
    let header = &record.header;
    let mut pairs = vec![
        ("id", record.id.clone()),
        ("sealed", header.sealed_at.clone()),
        (
            "held",
            match &record.from {
                Some(peer) => format!("since {}, from {peer}", record.received_at),
                None => format!("since {}, made here", record.received_at),
            },
        ),
        (
            "ports",
            if header.audience.is_empty() {
                "all".to_owned()
            } else {
                header.audience.join(", ")
            },
        ),
    ];
    if header.exercise {
        pairs.push(("exercise", "yes: nothing of this is real".to_owned()));
    }
    if !header.derived_from.is_empty() {
        pairs.push(("made from", header.derived_from.join("\n")));
    }
    pairs.extend(header.supersedes.clone().map(|id| ("replaces", id)));
    pairs
}

pub(super) fn marking(header: &HeaderView) -> Vec<(&'static str, String)> {
    let marking = &header.marking;
    let handling = match (&marking.handling_text, marking.handling.is_empty()) {
        (_, true) => "none".to_owned(),
        (None, false) => marking.handling.join("+"),
        (Some(text), false) => format!("{}: {text}", marking.handling.join("+")),
    };
    let evaluation = match &header.evaluation.admiralty {
        Some(original) => format!("{} (Admiralty {original})", header.evaluation.code),
        None => header.evaluation.code.clone(),
    };
    let mut pairs = vec![
        ("marking", format!("{}, {}", marking.tlp, marking.pap)),
        ("handling", handling),
        ("purposes", marking.purposes.join(", ")),
        (
            "released to",
            marking
                .release_to
                .as_ref()
                .map_or_else(|| "no list".to_owned(), |list| list.join(", ")),
        ),
        ("relay", if marking.relay { "yes" } else { "no" }.to_owned()),
        ("evaluation", evaluation),
    ];
    if marking.originator_control {
        pairs.push((
            "originator",
            "wider sharing needs its permission".to_owned(),
        ));
    }
    let optional = [
        ("asks for", &marking.requested_action),
        ("review", &marking.review_at),
        ("delete", &marking.delete_at),
        ("data subject", &marking.data_subject),
    ];
    pairs.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?))),
    );
    pairs
}

pub(super) fn label(section: &SectionView) -> String {
    let tlp = section
        .tlp
        .as_ref()
        .map(|tlp| format!(" {tlp}"))
        .unwrap_or_default();
    format!("{:>2} {:<11}{tlp}", section.index, section.holds)
}

/// Returns the content of a section as text. Nothing is withheld from a record made here; a closed
/// section of such a record is empty.
fn said(record: &RecordView, section: &SectionView) -> String {
    match (&section.content, record.from.is_none()) {
        (Some(content), _) => content_text(content),
        (None, true) => "none; others see a digest, so that its absence does not show".to_owned(),
        (None, false) => format!("withheld (digest {:.12})", section.digest),
    }
}

pub(super) fn content_text(content: &ContentView) -> String {
    match content {
        ContentView::Subject(subject) => {
            let mut lines: Vec<String> = subject.selectors.iter().map(selector).collect();
            if !subject.title.is_empty() {
                lines.insert(0, subject.title.clone());
            }
            if subject.generated {
                lines.push("generated by a rule: no real input".to_owned());
            }
            lines.join("\n")
        }
        ContentView::Assessment(assessment) => {
            let parts = [
                Some(assessment.threat.clone()),
                assessment.finding.clone(),
                Some(assessment.text.clone()),
            ];
            let told: Vec<String> = parts
                .into_iter()
                .flatten()
                .filter(|part| !part.is_empty())
                .collect();
            told.join("\n")
        }
        ContentView::Narrative(text) | ContentView::Source(text) => text.clone(),
        ContentView::Persons(persons) => {
            let lines: Vec<String> = persons
                .iter()
                .map(|one| format!("{}, {} ({})", one.name, one.role, one.category))
                .collect();
            lines.join("\n")
        }
        ContentView::Attachments(files) => {
            let lines: Vec<String> = files
                .iter()
                .map(|file| format!("{} ({}, {} bytes)", file.name, file.media_type, file.bytes))
                .collect();
            lines.join("\n")
        }
        ContentView::Cells(cells) => format!(
            "{} cells of {} for {}: {} controls, {} findings (part {} of {})",
            cells.cells,
            cells.contributors.join(", "),
            cells.period,
            cells.controls,
            cells.findings,
            cells.part,
            cells.parts
        ),
    }
}

fn selector(selector: &SelectorView) -> String {
    let window = selector
        .window
        .as_ref()
        .map(|window| format!(", {} to {}", seconds(&window.from), seconds(&window.until)))
        .unwrap_or_default();
    let unchecked = if selector.unchecked {
        " (WRONG CHECK DIGIT, accepted unchecked)"
    } else {
        ""
    };
    format!("{} {}{unchecked}{window}", selector.kind, selector.value)
}

fn chain(chain: &ChainView) -> Vec<(&'static str, String)> {
    vec![
        (
            "record",
            "its id is the digest of its header; each open section matches its digest there"
                .to_owned(),
        ),
        (
            "batch",
            format!(
                "leaf {}, {} steps to the signed root",
                chain.leaf, chain.path_length
            ),
        ),
        (
            "sealing key",
            format!(
                "{:.12} of {}, {}",
                chain.sealing_key, chain.origin, chain.standing
            ),
        ),
        (
            "register",
            format!(
                "epoch {} {:.12}, {} governance signatures ({} needed)",
                chain.register_epoch,
                chain.register_digest,
                chain.governance_signatures,
                chain.governance_threshold
            ),
        ),
    ]
}

fn indexes(opened: &[u8]) -> String {
    if opened.is_empty() {
        return "-".to_owned();
    }
    let texts: Vec<String> = opened.iter().map(ToString::to_string).collect();
    texts.join(",")
}

fn disclosures(rows: &[DisclosureView]) -> Table {
    let mut table = Table::new(&[
        Column::Text("PEER"),
        Column::Text("STATE"),
        Column::Text("SECTIONS"),
        Column::Number("WITHHELD"),
        Column::Text("POLICIES"),
        Column::Text("DECIDED"),
        Column::Text("ANSWERED"),
    ])
    .yielding(&["WITHHELD", "ANSWERED", "SECTIONS"])
    .wrapping(&["STATE", "POLICIES"]);
    for row in rows {
        table.row([
            row.peer.clone(),
            with_reason(&row.state, row.reason.as_deref()),
            indexes(&row.opened),
            row.withheld.to_string(),
            row.policies.join(" "),
            seconds(&row.decided_at),
            row.answered_at
                .as_deref()
                .map_or_else(|| "-".to_owned(), seconds),
        ]);
    }
    table
}

fn arrivals(rows: &[ArrivalView]) -> Table {
    let mut table = Table::new(&[
        Column::Text("PEER"),
        Column::Text("ANSWER"),
        Column::Text("SECTIONS"),
        Column::Text("POLICIES"),
        Column::Text("AT"),
    ])
    .yielding(&["SECTIONS"])
    .wrapping(&["ANSWER", "POLICIES"]);
    for row in rows {
        table.row([
            row.peer.clone(),
            with_reason(&row.answer, row.reason.as_deref()),
            indexes(&row.opened),
            row.policies.join(" "),
            seconds(&row.at),
        ]);
    }
    table
}

fn with_reason(state: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| state.to_owned(), |rule| format!("{state} ({rule})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Both(Vec<DisclosureView>, Vec<ArrivalView>);

    impl serde::Serialize for Both {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_unit()
        }
    }

    impl View for Both {
        const SCHEMA: &'static str = "test/both/v1";

        fn page(&self, page: &mut Page) -> io::Result<()> {
            page.table(&disclosures(&self.0))?;
            page.table(&arrivals(&self.1))
        }
    }

    /// Newcomer C8: disclosures broke in the middle of policies and times.
    #[test]
    fn disclosures_and_arrivals_fit_the_terminal() {
        let policies = [
            "base-private-operator-sections",
            "base-purpose-port-security",
        ];
        let policies: Vec<String> = policies.map(str::to_owned).to_vec();
        let time = "2026-11-24T11:01:51.25Z".to_owned();
        let disclosure = DisclosureView {
            peer: "port-authority-32".to_owned(),
            state: "refused".to_owned(),
            reason: Some("EX-21".to_owned()),
            opened: vec![0, 1, 2, 3],
            withheld: 2,
            policies: policies.clone(),
            decided_at: time.clone(),
            answered_at: Some(time.clone()),
        };
        let arrival = ArrivalView {
            peer: "port-authority-32".to_owned(),
            answer: "refused".to_owned(),
            reason: Some("PO-03".to_owned()),
            opened: vec![0, 1, 2, 3],
            policies,
            at: time,
        };
        crate::output::check_fits(&Both(vec![disclosure], vec![arrival]));
    }
}
