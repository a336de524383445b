//! Records: the list, and one record with everything known about it.

use crate::{
    problem::{Problem, ProblemKind},
    request::{Admin, Caller, JsonBody},
    sought::Search,
    views,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    Json,
    extract::{ConnectInfo, Path, State},
};
use portcullis_protocol::{
    record::RecordId,
    time::Timestamp,
    verify::{Excerpt, KeyStanding, SealingKeys as _},
};

use super::{
    apart,
    consultation::{self, Consulted},
    names,
};
use portcullis_admin_api::v1::record::{
    ChainView, FilterView, HeaderView, RecordLine, RecordView, RecordsView, sections,
};
use portcullis_kernel::{Kernel, decide::Decider};
use portcullis_store::{ExcerptsOf, HeldExcerpt, HeldRecord, StoreError};

/// Most records that are looked through to count those that fit, after the list is full.
const MOST_COUNTED: usize = 100_000;

pub(crate) async fn list(
    State(admin): State<Admin>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    JsonBody(filter): JsonBody<FilterView>,
) -> Result<Json<RecordsView>, Problem> {
    let search = Search::try_from(filter)?;
    let kernel = admin.kernel.clone();
    let (view, sought) = apart(move || {
        let view = found(&kernel, &search)?;
        Ok((view, search.concerns()))
    })
    .await?;
    let concerns = match sought.as_str() {
        "" => format!("{} records", view.items.len()),
        sought => format!("{} records: {sought}", view.items.len()),
    };
    consultation::log(&admin, caller, "list", concerns).await?;
    Ok(Json(view))
}

/// Returns the records found. A record that does not verify, or may not be consulted, is left out, and the
/// log says so. Records are opened one at a time, whatever files they bring.
fn found(kernel: &Kernel, search: &Search) -> Result<RecordsView, Problem> {
    let mut walk = Walk::of(kernel, search);
    for of in search.selections() {
        walk.over(of)?;
    }
    let view = walk.view()?;
    if let Some(origin) = search.origin().filter(|_| view.total == 0) {
        // A member that left may have left records behind.
        names::known(kernel).authority(origin)?;
    }
    Ok(view)
}

/// Walk over the records that may be searched for, the newest first.
struct Walk<'a> {
    kernel: &'a Kernel,
    decider: Arc<Decider>,
    search: &'a Search,
    now: Timestamp,
    /// Lines by the time at which their records came, the newest first.
    lines: BTreeMap<(Reverse<Timestamp>, usize), (RecordId, RecordLine)>,
    /// Every record that fits.
    fitting: BTreeSet<RecordId>,
    /// Records that were looked through only to count.
    counted: usize,
    /// True if there may be more than were counted.
    is_cut: bool,
}

impl<'a> Walk<'a> {
    fn of(kernel: &'a Kernel, search: &'a Search) -> Self {
        Self {
            kernel,
            decider: kernel.decider(),
            search,
            now: kernel.now(),
            lines: BTreeMap::new(),
            fitting: BTreeSet::new(),
            counted: 0,
            is_cut: false,
        }
    }

    /// Goes over a selection: the first records that fit are listed, the others counted.
    fn over(&mut self, of: ExcerptsOf<'_>) -> Result<(), Problem> {
        let mut listed = 0;
        let mut from = None;
        loop {
            let page = self.kernel.store().excerpts(of, self.search.tags(), from)?;
            for excerpt in &page.excerpts {
                if listed < self.search.limit() {
                    listed += usize::from(self.list(excerpt)?);
                } else if self.search.countable().is_some() || self.counted >= MOST_COUNTED {
                    self.is_cut = true;
                    return Ok(());
                } else {
                    self.count(excerpt);
                }
            }
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    /// Lists a record if it fits.
    fn list(&mut self, excerpt: &HeldExcerpt) -> Result<bool, Problem> {
        let came = excerpt.received_at;
        let seen = self.decider.verify_excerpt(excerpt, self.now);
        // What does not verify is told of when it is opened whole.
        if seen.is_ok_and(|seen| !self.fits(&seen, excerpt)) {
            return Ok(false);
        }
        let line = line(self.kernel, self.search, excerpt)?;
        let Some(line) = line else {
            return Ok(false);
        };
        let id = excerpt.opened.id();
        let place = (Reverse(came), self.lines.len());
        self.lines.insert(place, (id, line));
        self.fitting.insert(id);
        Ok(true)
    }

    /// Counts a record if it fits.
    fn count(&mut self, excerpt: &HeldExcerpt) {
        self.counted = self.counted.saturating_add(1);
        let seen = self.decider.verify_excerpt(excerpt, self.now);
        if seen.is_ok_and(|seen| self.fits(&seen, excerpt)) {
            self.fitting.insert(excerpt.opened.id());
        }
    }

    /// Returns true if a verified excerpt fits. Policy is asked last, and only where sections decide.
    fn fits(&self, seen: &Excerpt, excerpt: &HeldExcerpt) -> bool {
        if !self.search.names(seen.header(), excerpt.received_at) {
            return false;
        }
        if !self.search.looks_inside() {
            return true;
        }
        if !self.search.fits(seen.sections(), seen.form()) {
            return false;
        }
        let source = excerpt.source.as_ref();
        let holding = self.decider.holding_of(seen, source, self.now);
        let Ok(request) = holding.consultation() else {
            return false;
        };
        let shown = self.decider.engine().decide(&request).opened();
        self.search.fits(seen.sections(), shown)
    }

    /// Returns the list with the number of all that fit.
    fn view(self) -> Result<RecordsView, Problem> {
        let mut met = BTreeSet::new();
        let lines = self.lines.into_values().filter(|(id, _)| met.insert(*id));
        let lines = lines.map(|(_, line)| line).take(self.search.limit());
        let items: Vec<RecordLine> = lines.collect();
        let listed = u64::try_from(items.len()).unwrap_or(u64::MAX);
        let fitting = u64::try_from(self.fitting.len()).unwrap_or(u64::MAX);
        let (total, at_least) = match self.search.countable().filter(|_| self.is_cut) {
            Some((kind, came)) => (self.kernel.store().count(kind, came)?.max(listed), false),
            None => (fitting, self.is_cut),
        };
        Ok(RecordsView {
            more: at_least || total > listed,
            items,
            total,
            at_least,
            read_as: self.search.read_as(),
        })
    }
}

/// Returns the line of a record, opened whole; `None` if it does not fit or may not be listed.
fn line(
    kernel: &Kernel,
    search: &Search,
    excerpt: &HeldExcerpt,
) -> Result<Option<RecordLine>, Problem> {
    let (decider, now) = (kernel.decider(), kernel.now());
    let id = excerpt.opened.id();
    let held = match kernel.store().record(&id) {
        Err(StoreError::Damaged(_)) => None,
        other => other?,
    };
    let Some(held) = held else {
        return Ok(None);
    };
    match Consulted::of(kernel, &decider, &held, now) {
        Ok(Consulted { record, shown, .. }) => {
            let fits = search.names(record.header(), held.received_at)
                && search.fits(record.sections(), shown);
            Ok(fits.then(|| views::record_line(&held, &record, shown)))
        }
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
        let id = names::record(&kernel, &prefix)?;
        let held = kernel
            .store()
            .record(&id)?
            .ok_or_else(|| names::unknown(&prefix))?;
        view(&kernel, &held)
    })
    .await?;
    consultation::log(&admin, caller, "show", format!("record {}", view.id)).await?;
    Ok(Json(view))
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
