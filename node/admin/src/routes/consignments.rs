//! The authority's own consignments: the list, one whole, the ranking, and the act that closes one.

use axum::{
    Json,
    extract::{ConnectInfo, Path, State},
};
use portcullis_admin_api::v1::{
    Malformed,
    consignment::{
        CloseView, ClosedView, ConsignmentFilterView, ConsignmentView, ConsignmentsView,
        ImportProgressView, LEAST_AGE_DAYS, MOST_LISTED, PruneView, latest_prune,
    },
};
use portcullis_desk::{
    closing::{Close, KnownResult},
    encoding::ControlResult,
    importing::ImportProgress,
};
use portcullis_kernel::Kernel;
use portcullis_protocol::{body::SelectorKind, time::Timestamp};
use portcullis_store::{Act, ConsignmentStage, ConsignmentsOf};

use super::{consultation, json, outcome::in_job};
use crate::{
    problem::{Problem, ProblemKind},
    request::{Admin, Caller, JsonBody},
    sought::sought,
};

/// Length of a day in a time, in characters.
const DAY: usize = 10;

/// Largest length of a note, in bytes.
const LONGEST_NOTE: usize = 256;

pub(crate) async fn list(
    State(admin): State<Admin>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    JsonBody(filter): JsonBody<ConsignmentFilterView>,
) -> Result<Json<ConsignmentsView>, Problem> {
    let (of, about, limit) = chosen(filter)?;
    let named = about.as_deref().and_then(<[_]>::first);
    let named = named.map_or_else(String::new, |(_, value)| format!(" about {value}"));
    let view = admin.desk.list(of, about, limit).await?;
    let concerns = format!("{} consignments{named}", view.items.len());
    consultation::log(&admin, caller, "consignments", concerns).await?;
    Ok(Json(view))
}

pub(crate) async fn importing(State(admin): State<Admin>) -> Json<ImportProgressView> {
    let ImportProgress { checked, written } = admin.desk.importing();
    Json(ImportProgressView {
        version: 1,
        checked,
        written,
    })
}

pub(crate) async fn show(
    State(admin): State<Admin>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(reference): Path<String>,
) -> Result<Json<ConsignmentView>, Problem> {
    let view = admin.desk.consignment(&reference).await?;
    let concerns = format!("consignment {}", view.line.reference);
    consultation::log(&admin, caller, "consignments", concerns).await?;
    Ok(Json(view))
}

/// Choice of consignments, with the identifiers that they have and their greatest number.
type Chosen = (ConsignmentsOf, Option<Vec<(SelectorKind, String)>>, u32);

/// Reads a choice of consignments.
pub(super) fn chosen(view: ConsignmentFilterView) -> Result<Chosen, Problem> {
    let ConsignmentFilterView {
        stage,
        since,
        before,
        about,
        taken_as,
        limit,
    } = view;
    let invalid = |message: String| Problem::new(ProblemKind::Invalid, message);
    let stage = staged(&stage)?;
    if !(1..=MOST_LISTED).contains(&limit) {
        let message = format!("`{limit}` consignments are not listed");
        return Err(invalid(message).remedy(format!("ask for 1 to {MOST_LISTED}")));
    }
    let whole = ConsignmentsOf::stage(ConsignmentStage::Arriving);
    let since: Option<Timestamp> = Malformed::reading_any("since", since)?;
    let before: Option<Timestamp> = Malformed::reading_any("before", before)?;
    let of = ConsignmentsOf {
        stage,
        since: since.unwrap_or(whole.since),
        before: before.unwrap_or(whole.before),
    };
    if of.since >= of.before {
        let message = "the time ends before it begins".to_owned();
        return Err(invalid(message).remedy("exchange `since` and `until`"));
    }
    let taken_as = Malformed::reading_any("as", taken_as)?;
    let about = about.map(|text| sought(&text, taken_as)).transpose()?;
    Ok((of, about, limit))
}

/// Reads the stage of consignments; `None` for all.
fn staged(stage: &str) -> Result<Option<ConsignmentStage>, Problem> {
    match stage {
        "arriving" => Ok(Some(ConsignmentStage::Arriving)),
        "closed" => Ok(Some(ConsignmentStage::History)),
        "all" => Ok(None),
        other => {
            let message = format!("`{other}` is no stage; `arriving`, `closed` and `all` are");
            Err(Problem::new(ProblemKind::Invalid, message))
        }
    }
}

/// Act that closes a consignment.
#[derive(Debug)]
pub(super) struct CloseAct(Close);

impl CloseAct {
    /// Reads the body of a signed act.
    pub(super) fn read(body: &[u8]) -> Result<Self, Problem> {
        let CloseView {
            reference,
            result,
            note,
            correct,
        } = json(body)?;
        let invalid = |message: String| Problem::new(ProblemKind::Invalid, message);
        let Some(result) = ControlResult::named(&result) else {
            let names = ControlResult::ALL.map(|one| format!("`{}`", one.name()));
            let message = format!("`{result}` is no result of a control");
            return Err(invalid(message).remedy(format!("write one of {}", names.join(", "))));
        };
        if note.len() > LONGEST_NOTE || note.chars().any(char::is_control) {
            let message = "the note is not one short line".to_owned();
            return Err(invalid(message).remedy(format!(
                "write at most {LONGEST_NOTE} bytes without line breaks"
            )));
        }
        let known = if correct {
            KnownResult::IsCorrected
        } else {
            KnownResult::Stays
        };
        Ok(Self(Close {
            reference,
            result,
            note,
            known,
        }))
    }

    /// Describes the object of the act for the log.
    pub(super) fn concerns(&self) -> String {
        let corrects = match self.0.known {
            KnownResult::IsCorrected => ", corrected",
            KnownResult::Stays => "",
        };
        let result = self.0.result.name();
        format!("consignment {}: {result}{corrects}", self.0.reference)
    }

    /// Closes the consignment in one commit with the log.
    pub(super) async fn carry_out(self, admin: &Admin, log: Act) -> Result<ClosedView, Problem> {
        let by = log.person.clone();
        let act = |view: &ClosedView| {
            let kept = view.clone();
            vec![in_job(log, move |_| kept.clone())]
        };
        Ok(admin.desk.close_with(self.0, &by, act).await?)
    }
}

/// Act that removes consignments of past days.
#[derive(Debug)]
pub(super) struct PruneAct(ConsignmentsOf);

impl PruneAct {
    /// Reads the body of a signed act.
    pub(super) fn read(kernel: &Kernel, body: &[u8]) -> Result<Self, Problem> {
        Self::of(json(body)?, kernel.now())
    }

    fn of(PruneView { stage, before }: PruneView, now: Timestamp) -> Result<Self, Problem> {
        let before = Malformed::reading("before", &before)?;
        let latest = latest_prune(now);
        if before > latest {
            let message = format!(
                "consignments of the last {LEAST_AGE_DAYS} days stay, and `{before}` is later"
            );
            let latest: String = latest.to_string().chars().take(DAY).collect();
            let remedy = format!("name {latest} or an earlier day");
            return Err(Problem::new(ProblemKind::Invalid, message).remedy(remedy));
        }
        Ok(Self(ConsignmentsOf {
            stage: staged(&stage)?,
            before,
            ..ConsignmentsOf::stage(ConsignmentStage::Arriving)
        }))
    }

    /// Describes the object of the act for the log.
    pub(super) fn concerns(&self) -> String {
        let Self(of) = self;
        let stage = match of.stage {
            Some(ConsignmentStage::Arriving) => "arriving consignments",
            Some(ConsignmentStage::History) => "closed consignments",
            None => "consignments",
        };
        format!("{stage} of before {}", of.before)
    }

    /// Returns the choice of what is removed.
    pub(super) const fn chosen(&self) -> ConsignmentsOf {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(stage: &str) -> ConsignmentFilterView {
        ConsignmentFilterView {
            stage: stage.to_owned(),
            since: None,
            before: None,
            about: None,
            taken_as: None,
            limit: 9,
        }
    }

    #[track_caller]
    fn refused(read: Result<impl std::fmt::Debug, Problem>, says: &str) {
        let problem = format!("{:?}", read.unwrap_err());
        assert!(problem.contains(says), "{problem}");
    }

    #[test]
    fn a_choice_that_can_only_mislead_is_refused() {
        let (of, about, limit) = chosen(filter("closed")).unwrap();
        assert_eq!(
            (of.stage, about, limit),
            (Some(ConsignmentStage::History), None, 9)
        );
        refused(chosen(filter("open")), "is no stage");
        refused(
            chosen(ConsignmentFilterView {
                limit: 0,
                ..filter("all")
            }),
            "1 to 100000",
        );
        let backwards = ConsignmentFilterView {
            since: Some("2026-11-02T00:00:00Z".to_owned()),
            before: Some("2026-11-01T00:00:00Z".to_owned()),
            ..filter("all")
        };
        refused(chosen(backwards), "ends before it begins");
        let misread = ConsignmentFilterView {
            about: Some("CSQU3054384".to_owned()),
            ..filter("all")
        };
        refused(chosen(misread), "no container number");
    }

    /// Newcomer A8: there was no way to say that a consignment was controlled.
    #[test]
    fn an_act_of_closing_names_one_result_and_one_line() {
        let body = |result: &str, note: &str| {
            let view = CloseView {
                reference: "56839011".to_owned(),
                result: result.to_owned(),
                note: note.to_owned(),
                correct: false,
            };
            serde_json::to_vec(&view).unwrap()
        };
        let read = CloseAct::read(&body("nothing", "seals intact")).unwrap();
        assert_eq!(read.concerns(), "consignment 56839011: nothing");
        refused(CloseAct::read(&body("maybe", "")), "`no-control`");
        refused(
            CloseAct::read(&body("found", "two\nlines")),
            "one short line",
        );
        refused(
            CloseAct::read(&body("found", &"x".repeat(257))),
            "at most 256",
        );
        refused(CloseAct::read(b"{\"reference\":\"1\"}"), "cannot be read");
    }

    /// A person who removes what is still to be controlled has it forgotten.
    #[test]
    fn what_may_still_be_controlled_is_not_removed() {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let act = |stage: &str, before: &str| {
            let view = PruneView {
                stage: stage.to_owned(),
                before: before.to_owned(),
            };
            PruneAct::of(view, now)
        };
        let closed = act("closed", "2026-11-23T00:00:00Z").unwrap();
        assert_eq!(
            closed.concerns(),
            "closed consignments of before 2026-11-23T00:00:00.000Z"
        );
        assert_eq!(act("all", "2025-01-01T00:00:00Z").unwrap().0.stage, None);
        refused(act("arriving", "2026-11-23T00:00:00.001Z"), "last 7 days");
        refused(act("some", "2025-01-01T00:00:00Z"), "is no stage");
        refused(act("all", "yesterday"), "before");
    }
}
