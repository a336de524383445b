//! Errors of the admin API, and the HTTP status of each; statuses are set here and nowhere else.
//!
//! 422 the input is wrong · 403 not allowed · 404 not known here · 413 too large · 500 the node
//! failed.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::people::ChangeError;
use portcullis_admin_api::{
    act::ActError,
    names::UnknownName,
    persons::PersonError,
    v1::{Malformed, ProblemView},
};
use portcullis_desk::{DeskError, import::ImportError};
use portcullis_kernel::PublishError;
use portcullis_store::StoreError;

/// Reason why the node does not do what it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    kind: ProblemKind,
    view: ProblemView,
}

/// Kind of a problem, which determines the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// The input is wrong, and the caller has to correct it.
    Invalid,
    /// Signature, role or policy does not allow it.
    Denied,
    /// The object asked for is not known here.
    Unknown,
    /// The input is too large.
    TooLarge,
    /// The node failed.
    Failed,
}

impl ProblemKind {
    const fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Problem {
    /// Returns a problem of this kind.
    pub fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            view: ProblemView {
                message: message.into(),
                rule: None,
                r#do: None,
                causes: Vec::new(),
            },
        }
    }

    /// Returns the kind of the problem in a word, without content, for the log.
    #[must_use]
    pub const fn in_a_word(&self) -> &'static str {
        match self.kind {
            ProblemKind::Invalid => "invalid input",
            ProblemKind::Denied => "denied",
            ProblemKind::Unknown => "not known here",
            ProblemKind::TooLarge => "too large",
            ProblemKind::Failed => "the node failed",
        }
    }

    /// Adds what the caller can do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.view.r#do = Some(remedy.into());
        self
    }

    /// Adds the reasons one by one.
    #[must_use]
    fn causes(mut self, causes: Vec<String>) -> Self {
        self.view.causes = causes;
        self
    }

    /// Adds the id of the rule or policy that refused.
    #[must_use]
    pub fn rule(mut self, rule: impl Into<String>) -> Self {
        self.view.rule = Some(rule.into());
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if self.kind == ProblemKind::Failed {
            tracing::error!(message = self.view.message, "an admin request failed");
        }
        (self.kind.status(), Json(self.view)).into_response()
    }
}

impl From<Malformed> for Problem {
    fn from(error: Malformed) -> Self {
        Self::new(ProblemKind::Invalid, error.to_string())
    }
}

impl From<UnknownName> for Problem {
    fn from(error: UnknownName) -> Self {
        Self::new(ProblemKind::Invalid, error.to_string()).remedy(error.remedy())
    }
}

impl From<ActError> for Problem {
    fn from(error: ActError) -> Self {
        let message = error.to_string();
        match error {
            ActError::Unreadable => Self::new(ProblemKind::Invalid, message),
            ActError::Nobody(_) => Self::new(ProblemKind::Denied, message)
                .remedy("use an enrolled person's key; `portcullis person list` shows them"),
            ActError::Signature(_)
            | ActError::OtherNode { .. }
            | ActError::OtherBody
            | ActError::Stale(_)
            | ActError::Role { .. } => Self::new(ProblemKind::Denied, message),
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        let message = error.to_string();
        match error {
            ChangeError::Store(error) => error.into(),
            ChangeError::Person(
                PersonError::Nobody
                | PersonError::OtherFirst(_)
                | PersonError::SignerGone
                | PersonError::OwnProposal(_)
                | PersonError::OthersProposal(_)
                | PersonError::Oneself
                | PersonError::ProposerGone(_)
                | PersonError::Dependent { .. },
            ) => Self::new(ProblemKind::Denied, message),
            ChangeError::Person(PersonError::Unknown(_)) => {
                Self::new(ProblemKind::Unknown, message)
            }
            ChangeError::Person(
                PersonError::Unreadable(_)
                | PersonError::Id(_)
                | PersonError::Name
                | PersonError::Role(_)
                | PersonError::Key(_)
                | PersonError::Taken(_)
                | PersonError::KeyTaken(_)
                | PersonError::Ended { .. }
                | PersonError::LastAdministrator(_)
                | PersonError::LastSecond(_)
                | PersonError::NoProposal
                | PersonError::NeedsNoSecond
                | PersonError::ClockApart
                | PersonError::Ahead(_)
                | PersonError::NotRecovered(_)
                | PersonError::RecoveryWaits { .. }
                | PersonError::Crowded,
            ) => Self::new(ProblemKind::Invalid, message),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        if matches!(error, StoreError::Replayed) {
            return Self::new(ProblemKind::Denied, message);
        }
        if matches!(
            error,
            StoreError::Enrolled(_)
                | StoreError::NotOwed
                | StoreError::NotThere
                | StoreError::Crowded(_)
        ) {
            return Self::new(ProblemKind::Invalid, message);
        }
        Self::new(ProblemKind::Failed, message).remedy("look at the node's log and disk")
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Seal(error) => Self::new(ProblemKind::Invalid, error.to_string()),
            PublishError::Refused(refusal) => {
                Self::new(ProblemKind::Failed, refusal.to_string()).rule(refusal.rule.id())
            }
            PublishError::Store(error) => error.into(),
            PublishError::ClockStep(_) => Self::new(ProblemKind::Failed, error.to_string())
                .remedy("look at the clock, then confirm it with `portcullis clock confirm`"),
            PublishError::CutShort => Self::new(ProblemKind::Failed, error.to_string()),
        }
    }
}

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Self {
        let message = error.to_string();
        match error {
            DeskError::Import(ImportError::Rows(rows)) => {
                Self::new(ProblemKind::Invalid, rows.summary())
                    .causes(rows.told())
                    .remedy("correct the file and import it again, or take the other lines with `--skip-invalid REJECTED.csv`")
            }
            DeskError::Import(_) | DeskError::NoHistory | DeskError::Body(_) => {
                Self::new(ProblemKind::Invalid, message)
            }
            DeskError::IsClosed { .. } => Self::new(ProblemKind::Invalid, message)
                .remedy("`--correct` replaces its result; the log of acts keeps both"),
            DeskError::NeedsResult(_) => Self::new(ProblemKind::Invalid, message)
                .remedy("make the field of the finding `optional` in `schema.toml`"),
            DeskError::NoResults(_) => Self::new(ProblemKind::Invalid, message)
                .remedy("leave `--history` out if they arrive, or bring the column with the results"),
            DeskError::UnknownConsignment(_) => Self::new(ProblemKind::Unknown, message)
                .remedy("`portcullis consignment list --all` lists them"),
            DeskError::Store(error) => error.into(),
            DeskError::Publish(error) => error.into(),
            DeskError::Encoding(_) | DeskError::Calibration(_) | DeskError::CutShort => {
                Self::new(ProblemKind::Failed, message)
            }
        }
    }
}
