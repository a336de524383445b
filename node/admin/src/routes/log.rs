//! Reading the log of events and acts: an act itself, of an auditor or an officer for data
//! protection, so that who read it is in the log too.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};

use super::apart;
use crate::{
    problem::{Problem, ProblemKind},
    request::Admin,
    views,
};
use portcullis_admin_api::v1::{
    ListView,
    log::{LogKind, LogPageView},
};

/// Most entries on one page.
const MOST: u32 = 1_000;

/// A page of the log that a person wants to read.
#[derive(Debug)]
pub(super) struct ReadLogAct(LogPageView);

impl ReadLogAct {
    /// Reads the body of a signed act.
    pub(super) fn read(body: &[u8]) -> Result<Self, Problem> {
        let invalid = |message: String| Problem::new(ProblemKind::Invalid, message);
        let page: LogPageView = serde_json::from_slice(body)
            .map_err(|error| invalid(format!("the request cannot be read: {error}")))?;
        if page.limit == 0 || page.limit > MOST {
            return Err(invalid(format!("a page has 1 to {MOST} entries")));
        }
        Ok(Self(page))
    }

    /// Describes the object of the act for the log.
    pub(super) fn concerns(&self) -> String {
        let what = match self.0.what {
            LogKind::Events => "events",
            LogKind::Acts => "acts",
        };
        match self.0.before {
            None => format!("the newest {what}"),
            Some(number) => format!("{what} before {number}"),
        }
    }

    /// Returns the page.
    pub(super) async fn page(self, admin: &Admin) -> Result<Response, Problem> {
        let LogPageView {
            what,
            before,
            limit,
        } = self.0;
        let kernel = admin.kernel.clone();
        match what {
            LogKind::Events => {
                let rows = apart(move || Ok(kernel.store().events_before(before, limit)?)).await?;
                let items = rows.iter().map(views::event).collect();
                Ok(Json(ListView { items }).into_response())
            }
            LogKind::Acts => {
                let rows = apart(move || Ok(kernel.store().acts(before, limit)?)).await?;
                let items = rows.into_iter().map(views::act_entry).collect();
                Ok(Json(ListView { items }).into_response())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_the_log_has_a_bound() {
        let read = |limit: u32| {
            let body = serde_json::json!({ "what": "acts", "before": 7, "limit": limit });
            ReadLogAct::read(body.to_string().as_bytes())
        };
        assert_eq!(read(MOST).unwrap().concerns(), "acts before 7");
        assert!(read(0).is_err() && read(MOST + 1).is_err());
        assert!(ReadLogAct::read(b"{\"what\":\"keys\",\"limit\":1}").is_err());
    }
}
