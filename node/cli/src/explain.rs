//! `portcullis explain`: what a rule that refused means, and whose turn it is.

use std::io;

use portcullis_protocol::rules::Rule;
use serde::Serialize;

use super::{
    Session,
    error::CliError,
    output::{Column, Page, Table, View},
    policy,
};

/// Explain a rule that refused something
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Explain a rule that refused something: what it refuses and what to do about it.

Receipts, logs and errors name the rule, for instance `EX-07`, or the policy that decided. Without \
an id all rules are listed.",
    after_long_help = "\
Example:
  portcullis explain EX-07"
)]
pub(super) struct Explain {
    /// The id of a rule, for instance EX-07, or of a policy; without it all rules are listed
    #[arg(value_name = "RULE-ID")]
    id: Option<String>,
}

impl Explain {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        match self.id {
            None => session.output.show(&RulesView {
                rules: Rule::ALL.iter().copied().map(RuleView::from).collect(),
            }),
            Some(id) => match id.parse::<Rule>() {
                Ok(rule) => session.output.show(&RuleView::from(rule)),
                Err(_) => match policy::find(session, &id)? {
                    Some(policy) => session.output.show(&policy),
                    None => Err(unknown(&id)),
                },
            },
        }
    }
}

fn unknown(id: &str) -> CliError {
    CliError::invalid(format!("no rule and no policy has the id `{id}`")).remedy(
        "list all rules with `portcullis explain`, all policies with `portcullis policy explain`",
    )
}

/// A rule, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct RuleView {
    id: &'static str,
    refuses: &'static str,
    r#do: &'static str,
}

impl From<Rule> for RuleView {
    fn from(rule: Rule) -> Self {
        Self {
            id: rule.id(),
            refuses: rule.title(),
            r#do: rule.remedy(),
        }
    }
}

impl View for RuleView {
    const SCHEMA: &'static str = "portcullis/rule/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!("{}: {}", self.id, self.refuses))?;
        page.line(format!("  {}", self.r#do))
    }
}

/// All rules, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct RulesView {
    rules: Vec<RuleView>,
}

impl View for RulesView {
    const SCHEMA: &'static str = "portcullis/rules/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        let mut table = Table::new(&[Column::Text("ID"), Column::Text("REFUSES")]);
        for rule in &self.rules {
            table.row([rule.id, rule.refuses]);
        }
        page.table(&table)
    }
}
