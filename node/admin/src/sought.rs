//! Records that are searched for: a filter, read once, and the question whether a record fits it.
//!
//! A search tells nothing that policy keeps closed: what a section says lets a record fit only if the
//! section may be shown.

use portcullis_admin_api::v1::{Malformed, record::FilterView};
use portcullis_protocol::{
    body::{Body, Selector, SelectorKind, Subject, Window, canonical},
    identifiers::{AuthorityId, CheckDigit, Identified, IdentifierKind, identify},
    marking::{Purpose, Tlp},
    record::{Form, Header, Kind, SectionTag},
    time::Timestamp,
    verify::OpenSection,
};
use portcullis_store::{Came, ExcerptsOf};

use crate::problem::{Problem, ProblemKind};

/// Shortest text that is searched for, in characters. A shorter one is in nearly every record.
const SHORTEST_TEXT: usize = 3;

/// Search for records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Search {
    kind: Option<Kind>,
    origin: Option<AuthorityId>,
    /// Identifiers that the records are about. One text can be an identifier of several kinds.
    about: Option<Vec<(SelectorKind, String)>>,
    came: Came,
    threat: Option<String>,
    tlp: Option<Tlp>,
    /// Text to find, in small letters.
    text: Option<String>,
    purpose: Option<Purpose>,
    limit: usize,
}

impl TryFrom<FilterView> for Search {
    type Error = Problem;

    fn try_from(view: FilterView) -> Result<Self, Problem> {
        let FilterView {
            kind,
            origin,
            about,
            taken_as,
            since,
            before,
            threat,
            tlp,
            text,
            purpose,
            limit,
        } = view;
        if limit == 0 {
            return Err(invalid(
                "a list of no records tells nothing",
                "ask for 1 or more",
            ));
        }
        let text = text.map(|text| text.trim().to_lowercase());
        let (since, before) = (
            Malformed::reading_any("since", since)?,
            Malformed::reading_any("before", before)?,
        );
        let purpose = Malformed::reading_any("purpose", purpose)?;
        if let Some(text) = &text {
            check_text(text, since, purpose)?;
        }
        let came = Came {
            since: since.unwrap_or(Came::EVER.since),
            before: before.unwrap_or(Came::EVER.before),
        };
        if came.since >= came.before {
            let message = "the time ends before it begins";
            return Err(invalid(message, "exchange `since` and `until`"));
        }
        let taken_as = Malformed::reading_any("as", taken_as)?;
        Ok(Self {
            kind: Malformed::reading_any("kind", kind)?,
            origin: Malformed::reading_any("origin", origin)?,
            about: about.map(|text| sought(&text, taken_as)).transpose()?,
            came,
            threat,
            tlp: Malformed::reading_any("tlp", tlp)?,
            text,
            purpose,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        })
    }
}

/// Refuses a search for a text that nobody could account for.
fn check_text(
    text: &str,
    since: Option<Timestamp>,
    purpose: Option<Purpose>,
) -> Result<(), Problem> {
    if text.chars().count() < SHORTEST_TEXT {
        let message = format!("`{text}` is too short to search for");
        return Err(invalid(&message, "write 3 characters or more"));
    }
    if since.is_none() {
        let message = "a search for a text opens every record, and no time is named";
        return Err(invalid(
            message,
            "say since when, for instance `--since 2026-11-01`",
        ));
    }
    if purpose.is_none() {
        let message = "a search for a text opens every record, and no purpose is named";
        let purposes: Vec<&str> = Purpose::ALL.iter().map(|one| one.name()).collect();
        let remedy = format!("say what for: `--purpose {}`", purposes.join("`, `"));
        return Err(invalid(message, &remedy));
    }
    Ok(())
}

impl Search {
    /// Returns the selections to go through, each with the newest record first.
    pub(crate) fn selections(&self) -> Vec<ExcerptsOf<'_>> {
        match &self.about {
            Some(about) => {
                let about = about.iter();
                about
                    .map(|(kind, value)| ExcerptsOf::Selector(*kind, value))
                    .collect()
            }
            None => vec![ExcerptsOf::Came(self.kind, self.came)],
        }
    }

    /// Returns the sections that are looked into.
    pub(crate) const fn tags(&self) -> &'static [SectionTag] {
        use SectionTag::{Assessment, Narrative, Persons, Source, Subject};
        match (&self.text, &self.threat, &self.about) {
            (Some(_), _, _) => &[Subject, Assessment, Narrative, Source, Persons],
            (None, Some(_), _) => &[Subject, Assessment],
            (None, None, Some(_)) => &[Subject],
            (None, None, None) => &[],
        }
    }

    /// Returns the kind and time by which the store can count what fits; `None` if more is asked.
    pub(crate) const fn countable(&self) -> Option<(Option<Kind>, Came)> {
        let is_plain = self.origin.is_none()
            && self.about.is_none()
            && self.threat.is_none()
            && self.tlp.is_none()
            && self.text.is_none()
            && self.purpose.is_none();
        if is_plain {
            Some((self.kind, self.came))
        } else {
            None
        }
    }

    /// Returns true if a record that came at this time may be among those searched for, by its header.
    pub(crate) fn names(&self, header: &Header, came: Timestamp) -> bool {
        self.came.contains(came)
            && self.kind.is_none_or(|kind| kind == header.kind)
            && self
                .origin
                .as_ref()
                .is_none_or(|origin| *origin == header.origin)
            && self.tlp.is_none_or(|tlp| tlp == header.marking.tlp)
            && self
                .purpose
                .is_none_or(|purpose| header.marking.purposes.contains(&purpose))
    }

    /// Returns true if what the sections in `shown` say lets a record be among those searched for.
    pub(crate) fn fits(&self, sections: &[OpenSection], shown: Form) -> bool {
        let any = |fits: &dyn Fn(&Body) -> bool| {
            let mut shown = sections
                .iter()
                .filter(|open| shown.contains(open.section.index));
            shown.any(|open| fits(&open.body))
        };
        self.about
            .as_ref()
            .is_none_or(|about| any(&|body| is_about(body, about)))
            && self
                .threat
                .as_ref()
                .is_none_or(|threat| any(&|body| threatens(body, threat)))
            && self
                .text
                .as_ref()
                .is_none_or(|text| any(&|body| says(body, text)))
    }

    /// Returns true if only what the sections say can tell if a record fits.
    pub(crate) const fn looks_inside(&self) -> bool {
        !self.tags().is_empty()
    }

    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) const fn origin(&self) -> Option<&AuthorityId> {
        self.origin.as_ref()
    }

    /// Returns the identifiers that the text of `about` can be.
    pub(crate) fn read_as(&self) -> Vec<String> {
        let about = self.about.iter().flatten();
        about
            .map(|(kind, value)| format!("{kind} {value}"))
            .collect()
    }

    /// Describes the search for the log, without the identifier or the text.
    pub(crate) fn concerns(&self) -> String {
        let parts = [
            self.kind.map(|kind| format!("kind {kind}")),
            self.origin.as_ref().map(|origin| format!("of {origin}")),
            self.tlp.map(|tlp| tlp.to_string()),
            self.about.as_ref().map(|_| "by identifier".to_owned()),
            self.threat.as_ref().map(|_| "by threat".to_owned()),
            self.text.as_ref().map(|_| "by text".to_owned()),
            (self.came.since != Came::EVER.since).then(|| format!("since {}", self.came.since)),
            (self.came.before != Came::EVER.before).then(|| format!("before {}", self.came.before)),
            self.purpose.map(|purpose| format!("for {purpose}")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        parts.join(", ")
    }
}

fn is_about(body: &Body, about: &[(SelectorKind, String)]) -> bool {
    subject(body).is_some_and(|subject| {
        subject.selectors.iter().any(|selector| {
            let mut about = about.iter();
            about.any(|(kind, value)| selector.kind() == *kind && selector.value() == value)
        })
    })
}

fn threatens(body: &Body, threat: &str) -> bool {
    match body {
        Body::Assessment(assessment) => {
            assessment.threat.to_lowercase() == threat.trim().to_lowercase()
        }
        Body::Subject(_)
        | Body::Narrative(_)
        | Body::Source(_)
        | Body::Persons(_)
        | Body::Attachments(_)
        | Body::Cells(_) => false,
    }
}

/// Returns true if a section has the text, which is in small letters. Counts and files have none.
fn says(body: &Body, text: &str) -> bool {
    let has = |said: &str| said.to_lowercase().contains(text);
    match body {
        Body::Subject(subject) => {
            has(&subject.title) || subject.selectors.iter().any(|one| has(one.value()))
        }
        Body::Assessment(assessment) => has(&assessment.threat) || has(&assessment.text),
        Body::Narrative(said) | Body::Source(said) => has(said),
        Body::Persons(persons) => persons.iter().any(|one| has(&one.name) || has(&one.role)),
        Body::Attachments(_) | Body::Cells(_) => false,
    }
}

const fn subject(body: &Body) -> Option<&Subject> {
    match body {
        Body::Subject(subject) => Some(subject),
        Body::Assessment(_)
        | Body::Narrative(_)
        | Body::Source(_)
        | Body::Persons(_)
        | Body::Attachments(_)
        | Body::Cells(_) => None,
    }
}

/// Returns every identifier that a text can be; of the kind alone, if one is named. A check digit that is
/// wrong contradicts the text, whatever else it might be: nothing would be found, and nobody would know
/// why.
///
/// # Errors
///
/// [`Problem`] if it is none, with what it may have been.
pub(crate) fn sought(
    text: &str,
    taken_as: Option<SelectorKind>,
) -> Result<Vec<(SelectorKind, String)>, Problem> {
    if let Some(kind) = taken_as {
        // Some kinds are nothing without a window, which no search compares.
        let ever = Window {
            from: Timestamp::from_millis(0),
            until: Timestamp::LAST,
        };
        let taken = Selector::accept_unchecked(kind, text.trim(), Some(ever))
            .map_err(|error| Malformed::new("about", &error))?;
        return Ok(vec![(kind, taken.value().to_owned())]);
    }
    let read = identify(text);
    if let Some(first) = read.first().filter(|first| is_contradicted(first)) {
        return Err(contradicted(text, first));
    }
    let kinds = SelectorKind::ALL.iter().copied();
    let found: Vec<_> = kinds
        .filter_map(|kind| Some((kind, canonical(kind, text.trim()).ok()?)))
        .collect();
    if found.is_empty() {
        let message = format!("`{text}` is no identifier that is known here");
        let remedy = "a container number is for instance CSQU3054383, an IMO number 9074729, a UN/LOCODE NLRTM; `--text` searches for words";
        return Err(invalid(&message, remedy));
    }
    Ok(found)
}

/// Returns true if the check digit contradicts the rest of an identifier, or only a near match is one.
const fn is_contradicted(identified: &Identified) -> bool {
    match identified.check_digit {
        CheckDigit::Wrong { .. } | CheckDigit::Unreadable => true,
        CheckDigit::Right | CheckDigit::RightButAmbiguous | CheckDigit::None => false,
    }
}

fn contradicted(text: &str, first: &Identified) -> Problem {
    let Identified {
        kind,
        check_digit,
        near_matches,
        canonical: _,
        parts: _,
    } = first;
    let message = match check_digit {
        CheckDigit::Wrong { expected } => {
            format!("`{text}` is no {kind}: its check digit is wrong, the rest gives `{expected}`")
        }
        CheckDigit::Right
        | CheckDigit::RightButAmbiguous
        | CheckDigit::None
        | CheckDigit::Unreadable => format!("`{text}` is no {kind}"),
    };
    let near = if near_matches.is_empty() {
        String::new()
    } else {
        format!("; near: `{}`", near_matches.join("`, `"))
    };
    let as_written = match kind {
        IdentifierKind::Container => "container",
        IdentifierKind::Imo => "imo",
        IdentifierKind::Ilu => "ilu",
        IdentifierKind::Mmsi
        | IdentifierKind::UnLocode
        | IdentifierKind::HsCode
        | IdentifierKind::Eori
        | IdentifierKind::Plate
        | IdentifierKind::Trader
        | IdentifierKind::Seal
        | IdentifierKind::BillOfLading => "seal",
    };
    let remedy = format!(
        "read it again{near}; if it is meant as it stands, say so with `--as {as_written}`, or as another kind, for instance `--as seal`"
    );
    invalid(&message, &remedy)
}

fn invalid(message: &str, remedy: &str) -> Problem {
    Problem::new(ProblemKind::Invalid, message).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    use axum::response::IntoResponse as _;
    use portcullis_protocol::{body::Assessment, record::Section};

    fn filter() -> FilterView {
        FilterView {
            limit: 10,
            ..FilterView::default()
        }
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[track_caller]
    fn refused(view: FilterView, told: &str) {
        let problem = Search::try_from(view).unwrap_err();
        let shown = format!("{problem:?}");
        assert!(shown.contains(told), "{shown}");
        assert_eq!(problem.into_response().status().as_u16(), 422);
    }

    /// Newcomer A7: a mistyped container read as one that nothing is known about.
    #[test]
    fn an_identifier_that_its_check_digit_contradicts_is_refused_with_what_is_near() {
        let problem = sought("CSQU3054384", None).unwrap_err();
        let shown = format!("{problem:?}");
        for told in [
            "no container number",
            "the rest gives `3`",
            "CSQU3054383",
            "--as container",
        ] {
            assert!(shown.contains(told), "{shown}");
        }
        for none in ["hello", "", "  ", "СSQU3054383", "9074720"] {
            assert!(sought(none, None).is_err(), "{none}");
        }
        let container = (SelectorKind::Container, "CSQU3054383".to_owned());
        for written in ["CSQU3054383", "csqu 305438 3", " CSQU 305438-3 "] {
            assert!(
                sought(written, None).unwrap().contains(&container),
                "{written}"
            );
        }
    }

    /// Records published with `--accept-unchecked` stay findable, and seals look like wrong IMO numbers.
    #[test]
    fn an_identifier_is_taken_as_written_if_its_kind_is_named() {
        let taken = |text, kind| sought(text, Some(kind)).unwrap();
        let unchecked = (SelectorKind::Container, "CSQU3054384".to_owned());
        assert_eq!(taken("csqu 305438 4", SelectorKind::Container), [unchecked]);
        let seal = (SelectorKind::Seal, "9074720".to_owned());
        assert_eq!(taken("9074720", SelectorKind::Seal), [seal]);
        assert!(sought("CSQU305438", Some(SelectorKind::Container)).is_err());
        assert!(sought("foo", Some(SelectorKind::Imo)).is_err());
    }

    /// Places and goods have too few values for an index, and were looked up as traders.
    #[test]
    fn a_text_is_looked_up_as_all_that_it_can_be() {
        let kinds = |text| -> Vec<SelectorKind> {
            let found = sought(text, None).unwrap();
            found.into_iter().map(|(kind, _)| kind).collect()
        };
        assert_eq!(kinds("NLRTM"), [SelectorKind::Eori, SelectorKind::UnLocode]);
        assert!(kinds("8471.30").contains(&SelectorKind::HsCode));
        assert!(kinds("9074729").contains(&SelectorKind::Imo));
    }

    /// Newcomer B4: `--limit 0` told that there are no records.
    #[test]
    fn a_search_that_can_only_mislead_is_refused() {
        refused(
            FilterView {
                limit: 0,
                ..filter()
            },
            "tells nothing",
        );
        let backwards = FilterView {
            since: some("2026-11-02T00:00:00Z"),
            before: some("2026-11-01T00:00:00Z"),
            ..filter()
        };
        refused(backwards, "ends before it begins");
        refused(
            FilterView {
                kind: some("rumour"),
                ..filter()
            },
            "rumour",
        );
        refused(
            FilterView {
                tlp: some("PINK"),
                ..filter()
            },
            "PINK",
        );
    }

    #[test]
    fn a_search_for_a_text_says_since_when_and_what_for() {
        let since = some("2026-11-01T00:00:00Z");
        let text = FilterView {
            text: some("Rip-off"),
            ..filter()
        };
        refused(text.clone(), "no time is named");
        let dated = FilterView { since, ..text };
        refused(dated.clone(), "no purpose is named");
        let whole = FilterView {
            purpose: some("customs-control"),
            ..dated
        };
        let short = FilterView {
            text: some(" ab "),
            ..whole.clone()
        };
        refused(short, "too short");
        let search = Search::try_from(whole).unwrap();
        assert_eq!(
            search.concerns(),
            "by text, since 2026-11-01T00:00:00.000Z, for customs-control",
            "the log does not hold the text"
        );
        assert_eq!(search.countable(), None);
    }

    #[test]
    fn what_may_not_be_shown_lets_no_record_fit() {
        let search = |view: FilterView| Search::try_from(view).unwrap();
        let body = Body::Assessment(Assessment {
            threat: "narcotics".to_owned(),
            finding: None,
            text: "the RIP-OFF method".to_owned(),
        });
        let sections = [OpenSection {
            section: Section {
                index: 1,
                salt: [0; 16],
                body: bytes::Bytes::new(),
            },
            body,
        }];
        let by_text = search(FilterView {
            text: some("rip-off"),
            since: some("2026-11-01"),
            purpose: some("statistics"),
            ..filter()
        });
        let by_threat = search(FilterView {
            threat: some("Narcotics"),
            ..filter()
        });
        let by_other = search(FilterView {
            threat: some("narc"),
            ..filter()
        });
        let (all, none) = ([1].into_iter().collect(), Form::EMPTY);
        assert!(by_text.fits(&sections, all) && by_threat.fits(&sections, all));
        assert!(!by_text.fits(&sections, none) && !by_threat.fits(&sections, none));
        assert!(!by_other.fits(&sections, all));
        assert!(search(filter()).fits(&sections, none));
    }
}
