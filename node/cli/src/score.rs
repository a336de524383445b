//! `portcullis score`: shows the score of a consignment and its contributions.

use std::io;

use clap::{builder::NonEmptyStringValueParser, value_parser};
use portcullis_protocol::time::Timestamp;

use super::{
    Session, consignment_desk,
    error::CliError,
    live::block_on,
    output::{Column, Page, Table, View, thousands},
};
use portcullis_admin_api::{
    client::encoded,
    v1::{
        consignment::ConsignmentFilterView,
        score::{AskView, ContributionView, ExplanationView, RankingView},
    },
};

/// Score a consignment with its contributions, or list the highest
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Score one of the authority's consignments and show what the score is made of: each contribution \
adds to the log-odds, and names the records it stands on. Without a reference the highest scores \
are listed: of those that arrive, or with `--closed` of those whose outcome is known, with their last \
score. The software recommends; a person decides. Scoring is logged.",
    after_long_help = "\
Examples:
  portcullis score 56839011
  portcullis score --top 20 --since 2026-11-30
  portcullis score --closed"
)]
pub(super) struct Score {
    /// The consignment's reference
    #[arg(value_name = "REFERENCE", conflicts_with = "top", value_parser = NonEmptyStringValueParser::new())]
    reference: Option<String>,
    /// List so many of the highest, at most 100,000
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u32).range(1..=100_000))]
    top: u32,
    /// List only consignments of this day or later
    #[arg(long, value_name = "DAY", conflicts_with = "reference")]
    since: Option<Timestamp>,
    /// List those whose outcome is known: closed by a person, or imported as history
    #[arg(long, conflicts_with = "reference")]
    closed: bool,
}

impl Score {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        match self.reference {
            Some(reference) => {
                let path = format!("/v1/scores/of/{}", encoded(&reference));
                let score: ExplanationView = block_on(async { Ok(client.get(&path).await?) })?;
                session.output.show(&score)
            }
            None => {
                let stage = if self.closed { "closed" } else { "arriving" };
                let filter = ConsignmentFilterView {
                    stage: stage.to_owned(),
                    since: self.since.map(|since| since.to_string()),
                    before: None,
                    about: None,
                    taken_as: None,
                    limit: self.top,
                };
                let ranking: RankingView =
                    block_on(async { Ok(client.post("/v1/scores/top", &filter).await?) })?;
                session.output.show(&ranking)
            }
        }
    }
}

impl View for RankingView {
    const SCHEMA: &'static str = "portcullis/ranking/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        if self.items.is_empty() {
            return page.line(
                "no such consignment is scored; arriving ones are, soon after `consignment import`",
            );
        }
        let mut table = Table::new(&[
            Column::Text("REFERENCE"),
            Column::Number("POINTS"),
            Column::Text("CONTROL"),
            Column::Number("RECORDS"),
            Column::Text("MAINLY BECAUSE"),
        ])
        .yielding(&["RECORDS"])
        .wrapping(&["CONTROL", "MAINLY BECAUSE"]);
        for row in &self.items {
            table.row([
                row.reference.clone(),
                format!("{:.0}", row.points),
                control(&row.control, row.as_requested.as_deref()),
                row.records.to_string(),
                row.because.clone(),
            ]);
        }
        page.table(&table)?;
        let listed = self.items.len() as u64;
        if listed < self.total {
            let (listed, total) = (thousands(listed), thousands(self.total));
            page.line(format!("{listed} of {total}; `--top N` lists more"))?;
        }
        Ok(())
    }
}

impl View for ExplanationView {
    const SCHEMA: &'static str = "portcullis/score/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!("{}: {:.0} of 100", self.reference, self.points))?;
        page.pairs(&overview(self))?;
        page.heading("Contributions")?;
        page.table(&contributions(&self.contributions, self.log_odds))?;
        if !self.set_aside.is_empty() {
            page.heading("Set aside")?;
            for aside in &self.set_aside {
                page.line(format!("  {:.12}  {}", aside.record, aside.why))?;
            }
        }
        Ok(())
    }
}

fn overview(score: &ExplanationView) -> Vec<(&'static str, String)> {
    let recommendation = &score.recommendation;
    let mut pairs = Vec::new();
    if let Some(closing) = &score.closing {
        let told = consignment_desk::told(closing);
        pairs.push(("closed", format!("{told}; its own result is counted below")));
    }
    pairs.extend([
        ("probability", format!("{:.3}", score.probability)),
        (
            "own knowledge alone",
            format!(
                "{:.0} of 100, {:.3}",
                score.local.points, score.local.probability
            ),
        ),
        ("recommended", recommendation.control.clone()),
    ]);
    let asked = recommendation.as_requested.iter();
    pairs.extend(asked.map(|control| ("as requested", format!("{control}; a person decides"))));
    pairs.extend(recommendation.action.clone().map(|action| ("how", action)));
    if !recommendation.asks.is_empty() {
        let asks: Vec<String> = recommendation.asks.iter().map(ask).collect();
        let name = if recommendation.contested {
            "contested"
        } else {
            "asked by"
        };
        pairs.push((name, asks.join("\n")));
    }
    pairs.push((
        "marking",
        score.marking.as_ref().map_or_else(
            || "none: own knowledge only".to_owned(),
            |marking| {
                format!(
                    "{}, {}, handling {}",
                    marking.tlp, marking.pap, marking.handling
                )
            },
        ),
    ));
    pairs.push(("at", score.at.clone()));
    pairs.push(("model", score.model.clone()));
    pairs
}

/// Returns the recommended control, with the one that is asked for beside it.
fn control(control: &str, as_requested: Option<&str>) -> String {
    match as_requested {
        Some(asked) if asked != control => format!("{control} (asked: {asked})"),
        Some(_) | None => control.to_owned(),
    }
}

fn ask(ask: &AskView) -> String {
    let heard = match (ask.heard, ask.by_own_policy) {
        (true, false) => "",
        (true, true) => ", heard by your own policy",
        (false, _) => ", not heard: policy hears no requests of its kind",
    };
    format!(
        "{} asks for {} ({:.12}){heard}",
        ask.authority, ask.action, ask.record
    )
}

/// Names the records that count only because the authority's own policies hear more than the
/// baseline.
fn by_own_policy(row: &ContributionView) -> String {
    if row.by_own_policy.is_empty() {
        return String::new();
    }
    let records: Vec<String> = row
        .by_own_policy
        .iter()
        .map(|id| format!("{id:.12}"))
        .collect();
    format!(" (by your own policy: {})", records.join(" "))
}

fn contributions(rows: &[ContributionView], log_odds: f64) -> Table {
    let mut table = Table::new(&[
        Column::Number("LOG-ODDS"),
        Column::Text("WHAT"),
        Column::Text("EVAL"),
        Column::Text("RECORDS"),
    ])
    .yielding(&["EVAL"])
    .wrapping(&["WHAT", "RECORDS"]);
    for row in rows {
        let records: Vec<String> = row.records.iter().map(|id| format!("{id:.12}")).collect();
        let generated = if row.generated { " (generated)" } else { "" };
        table.row([
            format!("{:+.4}", row.log_odds),
            format!("{}{generated}{}", row.what, by_own_policy(row)),
            row.evaluations.join(" "),
            records.join(" "),
        ]);
    }
    table.row([
        format!("{log_odds:+.4}"),
        "sum".to_owned(),
        String::new(),
        String::new(),
    ]);
    table
}

#[cfg(test)]
mod tests {
    use portcullis_admin_api::v1::score::RankedView;

    use super::*;

    /// Newcomer C8: scores broke in the middle of words.
    #[test]
    fn scores_fit_the_terminal() {
        let ids: Vec<String> = (0..7)
            .map(|n| format!("{n}f07f443d0ad").repeat(5))
            .collect();
        let row = RankedView {
            reference: "28783990".to_owned(),
            points: 94.2,
            control: "physical".to_owned(),
            as_requested: Some("document".to_owned()),
            because:
                "country of departure JP and tariff line 870323: 6 findings in 6 controls of others"
                    .to_owned(),
            records: 5018,
        };
        crate::output::check_fits(&RankingView {
            items: vec![row],
            total: 5018,
        });
        let score = serde_json::json!({
            "version": 1, "reference": "28783990", "at": "2026-11-24T11:01:51.25Z", "points": 38.0,
            "probability": 0.377, "log_odds": -0.5, "local": {"points": 14.0, "probability": 0.14, "model": "m"},
            "recommendation": {"control": "none", "action": null, "contested": false, "asks": []},
            "contributions": [{
                "part": "selector", "what": "trader KR:K66ZHKH: indicated by customs-40 and by police in several records",
                "log_odds": 3.472, "generated": true, "records": ids, "evaluations": ["B2", "A1", "X4"],
                "by_own_policy": ids,
            }],
            "set_aside": [], "marking": null, "model": "m",
        });
        let score: ExplanationView = serde_json::from_value(score).unwrap();
        crate::output::check_fits(&score);
    }
}
