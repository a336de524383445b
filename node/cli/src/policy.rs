//! `portcullis policy check`, `preview`, `explain`: the rules that decide.

use std::{collections::BTreeMap, io, num::NonZeroUsize, path::PathBuf};

use portcullis_policy::{Bundle, Engine, HeardRow};
use portcullis_protocol::record::Kind;
use serde::Serialize;

use super::{
    Session,
    drafting::DraftArgs,
    error::CliError,
    exit::Exit,
    live::block_on,
    output::{Column, Page, Table, View},
};
use portcullis_admin_api::v1::{
    preview::{MemberPreview, PreviewView},
    status::PolicyView,
};
use portcullis_home::{Home, files};

/// Size of the memo of an engine that answers no requests.
const NO_MEMO: NonZeroUsize = NonZeroUsize::MIN;

/// Check the policies of a folder
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Check the policies of a folder: every `*.cedar` file is parsed, validated against the schema, and \
must only tighten the baseline, but for policies of hearing. Shows who would be heard, and what of \
that differs from the baseline, and names what in the folder is not read. Nothing is put in force; needs no running node.

Exit code 3 if a policy is wrong, or if a file looks like a policy and is not read (`own.ceder`); every \
finding names file and line.",
    after_long_help = "\
Examples:
  portcullis policy check
  portcullis policy check ./policies-to-be"
)]
pub(super) struct PolicyCheck {
    /// The folder [default: `policy` in the node's home]
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// Show who would get a record, in which form, and which policy decides
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Show who would get a record, in which form, and which policy decides. Takes the flags of \
`indicator publish`; nothing is published, stored or sent. The node asks the same engine that \
decides when records are sent.",
    after_long_help = "\
Example:
  portcullis policy preview --container CSQU3054383 --from 2021-03-01 --until 2021-03-31 \\
      --tlp TLP:AMBER --handling H2 --source 'a port worker'"
)]
pub(super) struct PolicyPreview {
    /// The kind of record: indicator, alert or advisory
    #[arg(long, value_name = "KIND", default_value = "indicator")]
    kind: Kind,
    #[command(flatten)]
    draft: DraftArgs,
}

/// Explain a policy: what it is for, and its text
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Explain a policy: what it is for, where it stands, and its text. Knows the shipped baseline and the \
policies in the node's home; needs no running node. Without an id all policies are listed, and who \
is heard by them.",
    after_long_help = "\
Example:
  portcullis policy explain base-red-named-only"
)]
pub(super) struct PolicyExplain {
    /// The policy's id; without it all are listed
    #[arg(value_name = "POLICY-ID")]
    id: Option<String>,
}

impl PolicyCheck {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let folder = match self.folder {
            Some(folder) if !folder.is_dir() => {
                return Err(
                    CliError::invalid(format!("`{}` is no folder", folder.display()))
                        .remedy("name a folder of `*.cedar` files"),
                );
            }
            Some(folder) => folder,
            None => there(Home::new(session.home()?).policy())?,
        };
        let unread = unread(&folder)?;
        let bundle = bundle(&folder)?;
        let digest = bundle.digest().to_string();
        let ids = bundle
            .policies()
            .map(|policy| policy.id.to_string())
            .collect();
        let engine = engine(bundle)?;
        session.output.show(&PolicyCheckView {
            folder: folder.display().to_string(),
            policies: ids,
            bundle: digest,
            rules: engine.rules().to_string(),
            heard: heard(&engine),
            errors: engine.voices().errors().to_vec(),
            unread: unread.clone(),
        })?;
        match unread.iter().find(|name| is_meant(name)) {
            None => Ok(()),
            Some(name) => Err(CliError::invalid(format!(
                "`{name}` is not read, and does not hold"
            ))
            .remedy("give it a name that ends in `.cedar`, or take it out of the folder")),
        }
    }
}

/// Returns the folder of a node's policies, if it is there.
fn there(folder: PathBuf) -> Result<PathBuf, CliError> {
    if folder.is_dir() {
        return Ok(folder);
    }
    let message = format!("`{}` is no folder: nothing was checked", folder.display());
    Err(CliError::invalid(message)
        .remedy("name a folder of `*.cedar` files, or a node with `-n` or `--home`"))
}

/// Returns the names in a folder of policies that are not read.
fn unread(folder: &std::path::Path) -> Result<Vec<String>, CliError> {
    Ok(files::unread(folder, "cedar")?)
}

/// Returns true if somebody may have meant a file of this name for a policy.
fn is_meant(name: &str) -> bool {
    let name = name.to_lowercase();
    !name.starts_with('.') && !name.ends_with('~') && name.contains(".ced")
}

impl PolicyPreview {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let draft = self.draft.draft(self.kind)?;
        let client = session.client()?;
        let preview: PreviewView =
            block_on(async { Ok(client.post("/v1/preview", &draft).await?) })?;
        session.output.show(&preview)
    }
}

impl PolicyExplain {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let engine = engine_of(session)?;
        match self.id {
            None => session.output.show(&PoliciesView {
                policies: engine.policies().map(PolicyView::from).collect(),
                heard: heard(&engine),
            }),
            Some(id) => match engine.explain(&id) {
                Some(policy) => session.output.show(&PolicyView::from(policy)),
                None => Err(unknown(&id)),
            },
        }
    }
}

fn unknown(id: &str) -> CliError {
    CliError::invalid(format!("no policy has the id `{id}`"))
        .remedy("list all policies with `portcullis policy explain`")
}

/// Returns the policy with this id, from the baseline or from the node's home.
pub(super) fn find(session: &Session, id: &str) -> Result<Option<PolicyView>, CliError> {
    Ok(engine_of(session)?.explain(id).map(PolicyView::from))
}

/// Returns an engine with the baseline and the policies in the node's home, if there are any.
fn engine_of(session: &Session) -> Result<Engine, CliError> {
    engine(bundle(&Home::new(session.home()?).policy())?)
}

fn engine(bundle: Bundle) -> Result<Engine, CliError> {
    Engine::new(bundle, NO_MEMO).map_err(|error| wrong(&error))
}

/// Returns the policies of a folder. A folder that does not exist holds no policy.
fn bundle(folder: &std::path::Path) -> Result<Bundle, CliError> {
    if !folder.exists() {
        return Ok(Bundle::empty());
    }
    let mut texts = BTreeMap::new();
    for path in files::list(folder, "cedar")? {
        let text = files::read_text(&path)?;
        let name = path.file_name().unwrap_or_default();
        texts.insert(name.to_string_lossy().into_owned(), text);
    }
    Bundle::from_files(&texts).map_err(|error| wrong(&error))
}

/// Turns a policy error into one of the command. Each finding becomes a cause.
fn wrong(error: &portcullis_policy::PolicyError) -> CliError {
    let findings: Vec<String> = error.findings().iter().map(ToString::to_string).collect();
    match findings.len() {
        0 => CliError::from_error(Exit::Invalid, error),
        count => CliError {
            causes: findings,
            ..CliError::invalid(format!(
                "{count} {} wrong; nothing of the folder can be put in force",
                if count == 1 {
                    "policy is"
                } else {
                    "policies are"
                }
            ))
        }
        .remedy("correct them and check again"),
    }
}

/// Policies that are in order, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct PolicyCheckView {
    folder: String,
    policies: Vec<String>,
    bundle: String,
    rules: String,
    heard: Vec<HeardView>,
    /// Questions of hearing that fail to evaluate; each is answered with no.
    errors: Vec<String>,
    /// Names in the folder that are not read.
    unread: Vec<String>,
}

/// The voice of one kind of authority, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct HeardView {
    who: String,
    outcomes: bool,
    counts: bool,
    requests: bool,
    believed: String,
    /// Differences from the baseline.
    by_own_policy: Vec<String>,
}

fn heard(engine: &Engine) -> Vec<HeardView> {
    let view = |HeardRow { who, heard }: HeardRow| HeardView {
        who,
        outcomes: heard.in_force.outcomes,
        counts: heard.in_force.counts,
        requests: heard.in_force.requests,
        believed: heard.in_force.believed_as(),
        by_own_policy: heard.by_own_policy(),
    };
    engine.voices().rows().into_iter().map(view).collect()
}

fn show_heard(page: &mut Page, rows: &[HeardView]) -> io::Result<()> {
    page.heading("Who is heard")?;
    let mut table = Table::new(&[
        Column::Text("WHO"),
        Column::Text("HEARD ON"),
        Column::Text("BELIEVED AS"),
        Column::Text("BY YOUR OWN POLICY"),
    ]);
    for row in rows {
        let matters = [
            ("outcomes", row.outcomes),
            ("counts", row.counts),
            ("requests", row.requests),
        ];
        let matters = matters.iter().filter(|(_, heard)| *heard);
        let matters: Vec<String> = matters.map(|(matter, _)| (*matter).to_owned()).collect();
        let changes = match row.by_own_policy.as_slice() {
            [] => "-".to_owned(),
            changes => changes.join(", "),
        };
        table.row([&row.who, &listed(&matters), &row.believed, &changes]);
    }
    page.table(&table)
}

impl View for PolicyCheckView {
    const SCHEMA: &'static str = "portcullis/policy-check/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        let verdict = if self.unread.is_empty() {
            "in order"
        } else {
            "what is read is in order"
        };
        page.heading(&format!("{}: {verdict}", self.folder))?;
        if !self.unread.is_empty() {
            page.pairs(&[("not read", self.unread.join(", "))])?;
        }
        page.pairs(&[
            (
                "policies",
                match self.policies.len() {
                    0 => "none of its own: the baseline alone".to_owned(),
                    _ => self.policies.join(", "),
                },
            ),
            ("bundle", self.bundle.clone()),
            ("with baseline", self.rules.clone()),
        ])?;
        show_heard(page, &self.heard)?;
        let failed = self.errors.iter();
        failed
            .map(|error| {
                format!("a question of hearing fails to evaluate, and is answered with no: {error}")
            })
            .try_for_each(|line| page.line(line))
    }
}

/// All policies, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct PoliciesView {
    policies: Vec<PolicyView>,
    heard: Vec<HeardView>,
}

impl View for PoliciesView {
    const SCHEMA: &'static str = "portcullis/policies/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        let mut table = Table::new(&[
            Column::Text("ID"),
            Column::Text("FILE"),
            Column::Text("FOR"),
        ]);
        for policy in &self.policies {
            let comment = policy.comment.replace('\n', " ");
            let sentence = comment.split(". ").next().unwrap_or_default();
            table.row([
                policy.id.as_str(),
                &policy.file,
                sentence.trim_end_matches('.'),
            ]);
        }
        page.table(&table)?;
        show_heard(page, &self.heard)
    }
}

impl View for PolicyView {
    const SCHEMA: &'static str = "portcullis/policy/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!("{} ({} line {})", self.id, self.file, self.line))?;
        for line in self.comment.lines() {
            page.line(format!("  {line}"))?;
        }
        if let Some(held) = &self.held {
            page.line(format!("  held for a person: {held}"))?;
        }
        page.line("")?;
        self.text
            .lines()
            .try_for_each(|line| page.line(format!("  {line}")))
    }
}

impl View for PreviewView {
    const SCHEMA: &'static str = "portcullis/preview/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        let mut table = Table::new(&[
            Column::Text("AUTHORITY"),
            Column::Text("WOULD"),
            Column::Text("GETS"),
            Column::Text("WITHHELD"),
            Column::Text("POLICIES"),
        ])
        .yielding(&["WITHHELD"])
        .wrapping(&["GETS", "WITHHELD", "POLICIES"]);
        for member in &self.members {
            table.row([
                member.authority.clone(),
                would(member).to_owned(),
                listed(&member.gets),
                listed(&member.withheld),
                listed(&member.policies),
            ]);
        }
        page.table(&table)?;
        let failed = self.members.iter().flat_map(|member| &member.errors);
        failed
            .map(|error| format!("a policy failed to evaluate, which denies: {error}"))
            .try_for_each(|line| page.line(line))
    }
}

fn would(member: &MemberPreview) -> &str {
    match (member.outcome.as_str(), member.withheld.is_empty()) {
        ("allow", true) => "get all",
        ("allow", false) => "get part",
        ("deny", _) => "get nothing",
        ("hold", _) => "wait for a person",
        (other, _) => other,
    }
}

fn listed(items: &[String]) -> String {
    if items.is_empty() {
        "-".to_owned()
    } else {
        items.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newcomer A14: `own.ceder`, and a folder that was not there, were called in order.
    #[test]
    fn what_may_be_meant_for_a_policy_and_a_folder_that_is_not_there_are_refused() {
        for (name, meant) in [
            ("own.ceder", true),
            ("own.cedar.txt", true),
            ("OWN.CEDAR", true),
            ("README.md", false),
            (".own.cedar.swp", false),
            ("own.cedar~", false),
        ] {
            assert_eq!(is_meant(name), meant, "{name}");
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(there(folder.path().to_owned()).is_ok());
        assert!(there(folder.path().join("nowhere")).is_err());
    }
}
