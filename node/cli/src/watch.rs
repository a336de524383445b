//! `portcullis watch`: prints events as they happen.

use std::io;

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Page, View},
};
use portcullis_admin_api::v1::notice::{NoticeView, WhatView};

/// Watch what happens: records, answers, scores, failures
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Watch what happens at the node as it happens: records published, received and declined, peers' \
answers, new scores, failed deliveries. End it with Ctrl-C. With `--json` each is a line of JSON.",
    after_long_help = "\
Examples:
  portcullis watch
  portcullis watch --json --count 10"
)]
pub(super) struct Watch {
    /// End after so many
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

impl Watch {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        block_on(async {
            let mut notices = client.watch().await?;
            let mut left = self.count;
            while left != Some(0) {
                let Some(notice) = notices.next().await? else {
                    return Err(CliError::failed("the node has stopped"));
                };
                session.output.show_line(&notice)?;
                left = left.map(|left| left.saturating_sub(1));
            }
            Ok(())
        })
    }
}

impl View for NoticeView {
    const SCHEMA: &'static str = "portcullis/notice/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.line(format!("{}  {}", self.at, told(&self.what)))
    }
}

fn told(what: &WhatView) -> String {
    match what {
        WhatView::Published { record, kind } => format!("published  {record:.12}  {kind}"),
        WhatView::Received {
            record,
            kind,
            origin,
            peer,
        } => {
            format!("received   {record:.12}  {kind} of {origin} from {peer}")
        }
        WhatView::Declined {
            record,
            peer,
            answer,
            reason,
        } => format!(
            "declined   {record:.12}  from {peer}: {answer}{}",
            by_rule(reason.as_deref())
        ),
        WhatView::Answered {
            record,
            peer,
            answer,
            reason,
        } => format!(
            "answered   {record:.12}  {peer}: {answer}{}",
            by_rule(reason.as_deref())
        ),
        WhatView::DeliveryFailed { peer, why } => format!("failed     {peer}: {why}"),
        WhatView::Scored { reference, points } => format!("scored     {reference}: {points:.0}"),
        WhatView::Alarm { alarm } => format!("alarm      {alarm}"),
        WhatView::Missed { notices } => {
            format!("missed     {notices} notices; this reader is slow")
        }
    }
}

fn by_rule(reason: Option<&str>) -> String {
    reason.map_or_else(String::new, |rule| format!(" ({rule})"))
}
