//! `portcullis indicator publish`, `alert raise`, `advisory publish`: one record from flags.

use std::{
    io,
    time::{Duration, Instant},
};

use portcullis_protocol::{body::SelectorKind, record::Kind};

use serde::Serialize;

use super::{
    Session,
    bar::Bar,
    drafting::DraftArgs,
    error::CliError,
    live::block_on,
    output::{Page, View},
    signing::{ActRequest, SigningArgs, have_done},
};
use portcullis_admin_api::{
    act::{Action, MOST_DRAFTS},
    client::{Client, encoded},
    v1::{
        act::{DraftsView, PublishedView, RepeatedView},
        draft::DraftView,
        preview::{MemberPreview, PreviewView},
        record::{DisclosureView, RecordView},
    },
};

/// Number of drafts of which a node is asked at once, so that the question stays below what it reads.
const MOST_ASKED_AT_ONCE: usize = 512;

/// Interval at which answers that are waited for are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// State of a record that was released to a peer which has not answered.
const INTENDED: &str = "intended";

/// Publish an indicator: something to look out for
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Publish an indicator: something to look out for.

The record is sealed with the node's key, kept, and offered to every member that policy allows, \
in the form that policy allows: a receiver may get the container without the source. See what \
would happen with `portcullis policy preview` and the same flags. The page says who gets it; `--wait` waits \
until they have answered, and ends with 1 if one has not.",
    after_long_help = "\
Example:
  portcullis indicator publish --container CSQU3054383 --from 2021-03-01 --until 2021-03-31 \\
      --threat narcotics --evaluation B2 --tlp TLP:AMBER --purpose customs-control \\
      --source 'a port worker' --key anna.key"
)]
pub(super) struct Indicator {
    #[command(flatten)]
    draft: DraftArgs,
    #[command(flatten)]
    sending: SendingArgs,
    #[command(flatten)]
    signing: SigningArgs,
}

/// Raise an alert: something to act on now
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Raise an alert: something to act on now.

An alert is sealed alone and travels before everything else. Receivers match it against their \
consignments at once.",
    after_long_help = "\
Example:
  portcullis alert raise --container CSQU3054383 --from 2021-03-01 --until 2021-03-08 \\
      --threat narcotics --evaluation A1 --requested-action discreet --key anna.key"
)]
pub(super) struct Alert {
    #[command(flatten)]
    draft: DraftArgs,
    #[command(flatten)]
    sending: SendingArgs,
    #[command(flatten)]
    signing: SigningArgs,
}

/// Publish an advisory: a vulnerability or a good practice
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Example:
  portcullis advisory publish --threat pin-code-fraud --tlp TLP:GREEN \\
      --title 'Release codes seen for sale' --text @advisory.txt --key anna.key")]
pub(super) struct Advisory {
    #[command(flatten)]
    draft: DraftArgs,
    #[command(flatten)]
    sending: SendingArgs,
    #[command(flatten)]
    signing: SigningArgs,
}

impl Indicator {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let draft = self.draft.draft(Kind::Indicator)?;
        let order = Order {
            action: Action::Publish,
            sending: self.sending,
        };
        publish_one(session, &self.signing, order, draft)
    }
}

impl Alert {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let draft = self.draft.draft(Kind::Alert)?;
        let order = Order {
            action: Action::Alert,
            sending: self.sending,
        };
        publish_one(session, &self.signing, order, draft)
    }
}

impl Advisory {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let draft = self.draft.draft(Kind::Advisory)?;
        let order = Order {
            action: Action::Advisory,
            sending: self.sending,
        };
        publish_one(session, &self.signing, order, draft)
    }
}

/// Whether to publish, and what to wait for.
#[derive(Debug, Clone, Copy, clap::Args)]
struct SendingArgs {
    /// Publish it even if a record of yours says the same already
    #[arg(long)]
    again: bool,
    /// Wait until every member that gets it has answered, at most so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "30", value_parser = clap::value_parser!(u16).range(1..=3600))]
    wait: Option<u16>,
}

/// Order to publish.
#[derive(Debug, Clone, Copy)]
struct Order {
    /// Action that the person signs.
    action: Action,
    sending: SendingArgs,
}

/// Publishes one draft, unless a record of this authority says the same already.
fn publish_one(
    session: &Session,
    signing: &SigningArgs,
    order: Order,
    draft: DraftView,
) -> Result<(), CliError> {
    let drafts = vec![draft];
    let known = if order.sending.again {
        Ok(Vec::new())
    } else {
        repeated(session, &drafts)
    };
    let known = match known {
        Ok(known) => known,
        // An alert waits for no answer to what is a courtesy.
        Err(error) if order.action == Action::Alert => {
            let note = format!("whether this was said before is not known: {error}");
            session.output.note(&note);
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    if let [Some(id)] = &known[..] {
        let told = CliError::invalid(format!("record {id:.12} of yours says the same already"));
        return Err(told.remedy("publish it once more with `--again`, if that is meant"));
    }
    let [draft] = &drafts[..] else {
        return publish(session, signing, order.action, drafts);
    };
    let members = who_gets(session, draft);
    if let Some(note) = edition_note(&drafts) {
        session.output.note(&note);
    }
    let (client, key) = (session.client()?, signing.open()?);
    let act = ActRequest::of(order.action, &DraftsView { drafts })?;
    let published: PublishedView = block_on(have_done(&client, &key, act))?;
    let mut view = PublishedOneView {
        records: published.records,
        members,
        answers: Vec::new(),
    };
    if let (Some(seconds), [record]) = (order.sending.wait, &view.records[..]) {
        let limit = Duration::from_secs(seconds.into());
        let bar = Bar::new(session);
        view.answers = block_on(answers(&client, record, (limit, bar)))?;
    }
    session.output.show(&view)?;
    match view.unanswered().as_slice() {
        [] => Ok(()),
        silent => Err(CliError::failed(format!(
            "published, and not answered yet by {}",
            silent.join(", ")
        ))
        .remedy("the node goes on sending it; `portcullis show` tells the answers, `portcullis peer list` who is reached")),
    }
}

/// Asks the node who would get a draft. Nothing if it cannot be asked: the record is published all the same.
fn who_gets(session: &Session, draft: &DraftView) -> Vec<MemberPreview> {
    let asked = session.client().and_then(|client| {
        block_on(async { Ok(client.post::<_, PreviewView>("/v1/preview", draft).await?) })
    });
    match asked {
        Ok(preview) => preview.members,
        Err(error) => {
            session
                .output
                .note(&format!("who would get it was not asked: {error}"));
            Vec::new()
        }
    }
}

/// Waits until every peer to which a record was released has answered, or the time is over. A peer that is
/// told of later is waited for as well.
async fn answers(
    client: &Client,
    record: &str,
    (limit, mut bar): (Duration, Bar),
) -> Result<Vec<AnswerView>, CliError> {
    let began = Instant::now();
    let path = format!("/v1/records/{}", encoded(record));
    // Decisions about all peers are made within a moment of each other.
    let mut last = 0;
    loop {
        tokio::time::sleep(LOOK).await;
        let view: RecordView = client.get(&path).await?;
        let all = view.disclosures.len();
        let answered = view.disclosures.iter().filter(|one| one.state != INTENDED);
        let answered = answered.count();
        bar.at("answers", answered as u64, all as u64);
        let is_whole = answered == all && all > 0 && all == last;
        if is_whole || began.elapsed() >= limit {
            bar.end();
            return Ok(view.disclosures.into_iter().map(AnswerView::from).collect());
        }
        last = all;
    }
}

/// Asks the node for each draft which record of this authority it would repeat.
///
/// # Errors
///
/// [`CliError`] if the node does not answer.
pub(super) fn repeated(
    session: &Session,
    drafts: &[DraftView],
) -> Result<Vec<Option<String>>, CliError> {
    let client = session.client()?;
    let mut records = Vec::with_capacity(drafts.len());
    let mut not_looked_up = 0;
    for drafts in drafts.chunks(MOST_ASKED_AT_ONCE) {
        let drafts = DraftsView {
            drafts: drafts.to_vec(),
        };
        let asked: RepeatedView =
            block_on(async { Ok(client.post("/v1/repeated", &drafts).await?) })?;
        records.extend(asked.records);
        not_looked_up += asked.not_looked_up;
    }
    if not_looked_up > 0 {
        session.output.note(&format!(
            "of {not_looked_up} the node did not find out in time whether they were said before; see `portcullis list`"
        ));
    }
    Ok(records)
}

/// Signs drafts and has them published: all of them or none, if they are at most [`MOST_DRAFTS`].
/// More are published by several acts, one after the other.
///
/// # Errors
///
/// [`CliError`] if the key does not open, or the node does not answer or refuses. It says how many
/// were published before.
pub(super) fn publish(
    session: &Session,
    signing: &SigningArgs,
    action: Action,
    drafts: Vec<DraftView>,
) -> Result<(), CliError> {
    if let Some(note) = edition_note(&drafts) {
        session.output.note(&note);
    }
    let (client, key) = (session.client()?, signing.open()?);
    let all = drafts.len();
    let mut records = Vec::with_capacity(all);
    let mut drafts = drafts.into_iter();
    loop {
        let drafts: Vec<DraftView> = drafts.by_ref().take(MOST_DRAFTS).collect();
        if drafts.is_empty() {
            break;
        }
        if all > MOST_DRAFTS {
            let so_far = records.len();
            session
                .output
                .note(&format!("{so_far} of {all} records published"));
        }
        let act = ActRequest::of(action, &DraftsView { drafts })?;
        let published = block_on(have_done::<PublishedView>(&client, &key, act));
        records.extend(
            published
                .map_err(|error| after(records.len(), error))?
                .records,
        );
    }
    session.output.show(&PublishedView { records })
}

/// Tells which goods a code with an edition meets, if a draft names such a code.
pub(super) fn edition_note(drafts: &[DraftView]) -> Option<String> {
    let subjects = drafts.iter().filter_map(|draft| draft.subject.as_ref());
    let mut selectors = subjects.flat_map(|subject| &subject.selectors);
    let dated =
        selectors.find(|one| one.kind == SelectorKind::HsCode.name() && one.value.contains('@'))?;
    let (code, edition) = dated.value.split_once('@')?;
    Some(format!(
        "`{}` meets goods whose code names the edition {edition}, and of those without one only goods of the \
         years in which it is in force; write `{code}` to meet goods of every edition",
        dated.value
    ))
}

/// Tells of the records that earlier acts published.
fn after(published: usize, error: CliError) -> CliError {
    if published == 0 {
        return error;
    }
    let mut causes = vec![error.message];
    causes.extend(error.causes);
    CliError {
        message: format!(
            "the first {published} records were published and stay so; once this is mended, run the \
             same again: what was published is passed over"
        ),
        causes,
        ..error
    }
}

/// A record that was published, who gets it, and who answered.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct PublishedOneView {
    /// The record's id, alone in its list.
    records: Vec<String>,
    /// Members and the policies' decisions on them; absent if they could not be asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    members: Vec<MemberPreview>,
    /// Answers so far; absent if nobody waited for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    answers: Vec<AnswerView>,
}

/// Answer of a peer to a record.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct AnswerView {
    /// The peer.
    peer: String,
    /// Its answer; absent if it gave none yet.
    answer: Option<String>,
    /// The reason it gave.
    reason: Option<String>,
}

impl From<DisclosureView> for AnswerView {
    fn from(disclosure: DisclosureView) -> Self {
        let DisclosureView {
            peer,
            state,
            reason,
            ..
        } = disclosure;
        Self {
            peer,
            answer: (state != INTENDED).then_some(state),
            reason,
        }
    }
}

impl PublishedOneView {
    /// Returns the peers that were waited for and did not answer.
    fn unanswered(&self) -> Vec<String> {
        let silent = self.answers.iter().filter(|one| one.answer.is_none());
        silent.map(|one| one.peer.clone()).collect()
    }

    /// Names the members with this outcome, each with the sections that are kept from it.
    fn with_outcome(&self, outcome: &str) -> Option<String> {
        let members = self.members.iter().filter(|one| one.outcome == outcome);
        let named = members.map(|one| match one.withheld.as_slice() {
            withheld if outcome == "allow" && !withheld.is_empty() => {
                format!("{} (without {})", one.authority, withheld.join(", "))
            }
            _ => one.authority.clone(),
        });
        let named: Vec<String> = named.collect();
        (!named.is_empty()).then(|| named.join(", "))
    }
}

impl View for PublishedOneView {
    const SCHEMA: &'static str = "portcullis/published/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        for record in &self.records {
            page.line(format!("published {record}"))?;
        }
        for (what, outcome) in [
            ("  goes to ", "allow"),
            ("  held back for ", "hold"),
            ("  not to ", "deny"),
        ] {
            if let Some(members) = self.with_outcome(outcome) {
                page.line(format!("{what}{members}"))?;
            }
        }
        for one in &self.answers {
            let (peer, reason) = (&one.peer, one.reason.as_deref().unwrap_or_default());
            page.line(match &one.answer {
                Some(answer) if reason.is_empty() => format!("  {peer}: {answer}"),
                Some(answer) => format!("  {peer}: {answer} ({reason})"),
                None => format!("  {peer}: no answer yet"),
            })?;
        }
        Ok(())
    }
}

impl View for PublishedView {
    const SCHEMA: &'static str = "portcullis/published/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        match self.records.as_slice() {
            [one] => page.line(format!("published {one:.12}")),
            several => {
                page.line(format!("published {} records", several.len()))?;
                several
                    .iter()
                    .try_for_each(|id| page.line(format!("  {id:.12}")))
            }
        }
    }
}
