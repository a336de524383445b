//! Records: the list, and one record with everything known about it.

use crate::{
    problem::{Problem, ProblemKind},
    request::{Admin, Caller, JsonBody},
    views,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use axum::{
    Json,
    extract::{ConnectInfo, Path, State},
};
use portcullis_protocol::{
    body::{SelectorKind, canonical},
    record::{Header, RecordId, SectionTag},
    verify::{Excerpt, KeyStanding, SealingKeys as _},
};

use super::{
    apart,
    consultation::{self, Consulted},
};
use portcullis_admin_api::v1::{
    ListView, Malformed,
    record::{ChainView, FilterView, HeaderView, RecordLine, RecordView, sections},
};
use portcullis_kernel::{Kernel, decide::Decider};
use portcullis_store::{ExcerptsOf, HeldExcerpt, HeldRecord, RecordFilter, StoreError};

/// Largest number of ids shown for an ambiguous prefix.
const AMBIGUOUS_SHOWN: u32 = 6;

/// Smallest length of a prefix, in characters: a shorter one says nothing.
const SHORTEST_PREFIX: usize = 4;

/// Search for records.
struct Search {
    filter: RecordFilter,
    /// Identifiers that the records are about. One text can be an identifier of several kinds.
    about: Option<Vec<(SelectorKind, String)>>,
}

impl TryFrom<FilterView> for Search {
    type Error = Malformed;

    fn try_from(view: FilterView) -> Result<Self, Malformed> {
        let FilterView {
            kind,
            origin,
            about,
            limit,
        } = view;
        Ok(Self {
            filter: RecordFilter {
                kind: Malformed::reading_any("kind", kind)?,
                origin: Malformed::reading_any("origin", origin)?,
                limit: Some(limit),
            },
            about: about.as_deref().map(identifiers).transpose()?,
        })
    }
}

/// Returns every identifier that the text can be, of the kinds by which records are found.
fn identifiers(text: &str) -> Result<Vec<(SelectorKind, String)>, Malformed> {
    let kinds = SelectorKind::ALL.iter().copied();
    let found: Vec<_> = kinds
        .filter(|kind| kind.is_high_entropy())
        .filter_map(|kind| Some((kind, canonical(kind, text).ok()?)))
        .collect();
    if found.is_empty() {
        let what =
            format!("`{text}` is no identifier that records are found by; try `portcullis check`");
        return Err(Malformed::new("about", &what));
    }
    Ok(found)
}

impl Search {
    /// Returns the selections to go through, each with the newest record first.
    fn selections(&self) -> Vec<ExcerptsOf<'_>> {
        match (&self.about, self.filter.kind) {
            (Some(about), _) => {
                let about = about.iter();
                about
                    .map(|(kind, value)| ExcerptsOf::Selector(*kind, value))
                    .collect()
            }
            (None, Some(kind)) => vec![ExcerptsOf::Kind(kind)],
            (None, None) => vec![ExcerptsOf::Any],
        }
    }

    /// Returns true if the header of a record lets it be among those searched for.
    fn names(&self, header: &Header) -> bool {
        let RecordFilter {
            kind,
            origin,
            limit: _,
        } = &self.filter;
        kind.is_none_or(|kind| kind == header.kind)
            && origin
                .as_ref()
                .is_none_or(|origin| *origin == header.origin)
    }

    /// Returns true if a record is among those searched for. A search for an identifier finds a
    /// record only if its subject may be shown; otherwise it would tell what policy keeps closed.
    fn fits(&self, consulted: &Consulted) -> bool {
        self.names(consulted.record.header())
            && (self.about.is_none() || consulted.shows(SectionTag::Subject))
    }

    fn limit(&self) -> usize {
        let limit = self.filter.limit.unwrap_or(u32::MAX);
        usize::try_from(limit).unwrap_or(usize::MAX)
    }
}

pub(crate) async fn list(
    State(admin): State<Admin>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    JsonBody(filter): JsonBody<FilterView>,
) -> Result<Json<ListView<RecordLine>>, Problem> {
    let search = Search::try_from(filter)?;
    let kernel = admin.kernel.clone();
    let items = apart(move || lines(&kernel, &search)).await?;
    let concerns = format!("{} records", items.len());
    consultation::log(&admin, caller, "list", concerns).await?;
    Ok(Json(ListView { items }))
}

/// Returns the lines of the records found. A record that does not verify, or may not be consulted,
/// is left out, and the log says so. Records are opened one at a time, whatever files they bring.
fn lines(kernel: &Kernel, search: &Search) -> Result<Vec<RecordLine>, Problem> {
    let mut found = BTreeMap::new();
    for of in search.selections() {
        let mut listed = 0;
        let mut from = None;
        loop {
            let page = kernel.store().excerpts(of, &[SectionTag::Subject], from)?;
            for excerpt in &page.excerpts {
                if listed >= search.limit() {
                    break;
                }
                if let Some(line) = line(kernel, search, excerpt)? {
                    listed += 1;
                    let place = (Reverse(excerpt.received_at), found.len());
                    found.insert(place, (excerpt.opened.id(), line));
                }
            }
            from = page.next;
            if from.is_none() || listed >= search.limit() {
                break;
            }
        }
    }
    let mut met = BTreeSet::new();
    let lines = found.into_values().filter(|(id, _)| met.insert(*id));
    Ok(lines.map(|(_, line)| line).take(search.limit()).collect())
}

fn line(
    kernel: &Kernel,
    search: &Search,
    excerpt: &HeldExcerpt,
) -> Result<Option<RecordLine>, Problem> {
    let (decider, now) = (kernel.decider(), kernel.now());
    let is_other = |seen: &Excerpt| !search.names(seen.header());
    if decider
        .verify_excerpt(excerpt, now)
        .is_ok_and(|seen| is_other(&seen))
    {
        return Ok(None);
    }
    let id = excerpt.opened.id();
    let held = match kernel.store().record(&id) {
        Err(StoreError::Damaged(_)) => None,
        other => other?,
    };
    let Some(held) = held else {
        return Ok(None);
    };
    match Consulted::of(kernel, &decider, &held, now) {
        Ok(consulted) if !search.fits(&consulted) => Ok(None),
        Ok(consulted) => Ok(Some(views::record_line(
            &held,
            &consulted.record,
            consulted.shown,
        ))),
        Err(problem) => {
            tracing::warn!(record = %id, ?problem, "a record is not listed");
            Ok(None)
        }
    }
}

pub(crate) async fn show(
    State(admin): State<Admin>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(prefix): Path<String>,
) -> Result<Json<RecordView>, Problem> {
    let kernel = admin.kernel.clone();
    let view = apart(move || {
        let id = resolve(&kernel, &prefix)?;
        let held = kernel
            .store()
            .record(&id)?
            .ok_or_else(|| unknown(&prefix))?;
        view(&kernel, &held)
    })
    .await?;
    consultation::log(&admin, caller, "show", format!("record {}", view.id)).await?;
    Ok(Json(view))
}

/// Returns the only id that begins with `prefix`.
pub(super) fn resolve(kernel: &Kernel, prefix: &str) -> Result<RecordId, Problem> {
    let prefix = prefix.to_ascii_lowercase();
    let fits = prefix.len() >= SHORTEST_PREFIX
        && prefix.len() <= 64
        && prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !fits {
        let message = format!("`{prefix}` is no id of a record, nor the beginning of one");
        return Err(Problem::new(ProblemKind::Invalid, message)
            .remedy("write at least 4 of its 64 hexadecimal characters"));
    }
    let found = kernel.store().ids_with_prefix(&prefix, AMBIGUOUS_SHOWN)?;
    match found.as_slice() {
        [] => Err(unknown(&prefix)),
        [id] => Ok(*id),
        [_, _, ..] => Err(ambiguous(&prefix, &found)),
    }
}

fn unknown(prefix: &str) -> Problem {
    let message = format!("no record here has an id that begins with `{prefix}`");
    Problem::new(ProblemKind::Unknown, message).remedy("`portcullis list` shows what is held")
}

fn ambiguous(prefix: &str, found: &[RecordId]) -> Problem {
    let ids: Vec<String> = found.iter().map(|id| format!("`{id:.16}`")).collect();
    let message = format!("several records have an id that begins with `{prefix}`");
    Problem::new(ProblemKind::Invalid, message)
        .remedy(format!("write more of it; there are {}", ids.join(", ")))
}

fn view(kernel: &Kernel, held: &HeldRecord) -> Result<RecordView, Problem> {
    let (decider, now) = (kernel.decider(), kernel.now());
    let consulted = Consulted::of(kernel, &decider, held, now)?;
    if consulted.shown.is_empty() {
        return Err(closed(&consulted));
    }
    let record = &consulted.record;
    let id = record.id();
    let disclosures = kernel.store().disclosures(Some(&id))?;
    let arrivals = kernel.store().arrivals(Some(&id))?;
    Ok(RecordView {
        id: id.to_string(),
        header: HeaderView::from(record.header()),
        sections: sections(record, consulted.shown),
        from: held.source.as_ref().map(ToString::to_string),
        received_at: held.received_at.to_string(),
        chain: chain(&decider, &consulted),
        disclosures: disclosures.iter().map(views::disclosure).collect(),
        arrivals: arrivals.iter().map(views::arrival).collect(),
    })
}

fn closed(consulted: &Consulted) -> Problem {
    let policies: Vec<&str> = consulted.policies.iter().map(|id| id.as_str()).collect();
    let message = format!(
        "policy keeps record `{}` closed here",
        consulted.record.id()
    );
    let problem = Problem::new(ProblemKind::Denied, message);
    match policies.first() {
        Some(first) => problem
            .rule(*first)
            .remedy(format!("see `portcullis policy explain {first}`")),
        None => problem,
    }
}

/// Returns the chain of a record that was verified; each number in it was checked then.
fn chain(decider: &Decider, consulted: &Consulted) -> ChainView {
    let record = &consulted.record;
    let header = record.header();
    let register = decider.register();
    let standing = match register.sealing_key(&header.origin, &header.key_id) {
        Some((_, KeyStanding::InForce)) => "in force".to_owned(),
        Some((_, KeyStanding::RetiredSince(time))) => format!("retired since {time}"),
        Some((_, KeyStanding::CompromisedSince(time))) => format!("compromised since {time}"),
        None => "not listed any more".to_owned(),
    };
    let wire = record.sealed().wire();
    let verified = decider.verified_register();
    ChainView {
        leaf: u64::from(wire.leaf),
        path_length: wire.path.len() / 32,
        sealing_key: header.key_id.to_string(),
        origin: header.origin.to_string(),
        standing,
        register_epoch: register.epoch,
        register_digest: verified.digest().to_string(),
        governance_signatures: verified.signed().signers().count(),
        governance_threshold: register.threshold,
    }
}
