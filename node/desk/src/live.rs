//! The live part of the desk: an arriving record is matched with the stored consignments at once.
//!
//! ```text
//! notice of an indicator, alert, outcome ─▶ its selectors ─▶ consignments with them ─▶ scores
//! a profile, an import, missed notices    ─▶ after a pause: a new model, then a sweep over all
//! an hour, or the end of a record         ─▶ the same
//! ```
//!
//! One task owns the writing of scores, so that an older score never replaces a newer one. A sweep
//! goes in slices; between two slices, newly arrived records are handled. News that comes without
//! end neither postpones a sweep for ever nor ends the one under way. A failure is logged and
//! the sweep is tried again. No score is lost, because a score is derived from stored data.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use portcullis_protocol::{
    record::{Kind, RecordId},
    time::Timestamp,
};
use tokio::{
    sync::{
        broadcast::{
            Receiver,
            error::{RecvError, TryRecvError},
        },
        watch,
    },
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Desk, DeskError, DeskState,
    alarm::{self, Fall},
    holdings::Holdings,
    model::Model,
    scoring::Scored,
};
use portcullis_kernel::{Notice, alarms::Alarm};
use portcullis_store::{
    ConsignmentPlace, ConsignmentRow, ConsignmentStage, ScoreRow, Write, writer::Priority,
};

/// Pause before a new model is built, because profiles and imports come in groups.
const PAUSE: Duration = Duration::from_millis(250);

/// Longest time from news to a new model, however much more news comes.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Longest time between two models: evidence decays as time passes.
const REFRESH: Duration = Duration::from_secs(3600);

/// Delay before a failed sweep is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Number of consignments scored in one slice of a sweep, which takes about 10 ms.
const SLICE: usize = 64;

/// Largest number of notices handled together.
const TOGETHER: usize = 256;

/// Work that a group of notices asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct News {
    /// Records that name identifiers.
    records: Vec<RecordId>,
    /// True if a model must be built anew.
    model: bool,
}

/// State of a sweep over all arrivals.
enum Sweep {
    Resting,
    Loading(JoinHandle<Result<Loaded, DeskError>>),
    Running(Loaded),
}

/// Moment at which a new model is due.
#[derive(Debug, Default, PartialEq, Eq)]
struct Due {
    /// Moment of the first news since a model was taken up.
    first: Option<Instant>,
    at: Option<Instant>,
}

impl Due {
    /// Takes note of news: the model waits for a pause, and not for ever.
    fn changed(&mut self, now: Instant) {
        let first = *self.first.get_or_insert(now);
        self.at = Some((now + PAUSE).min(first + LONGEST_PAUSE));
    }

    /// Has a model that failed tried again.
    fn failed(&mut self, now: Instant) {
        *self = Self {
            first: None,
            at: Some(now + RETRY),
        };
    }
}

/// A model, and the consignments still to be scored with it.
struct Loaded {
    model: Arc<Model>,
    /// Consignments of the page that was read last.
    waiting: VecDeque<ConsignmentRow>,
    /// Place of the next page.
    next: Option<ConsignmentPlace>,
    /// Recommended controls that fell so far.
    falls: Vec<Fall>,
}

/// Next step that a sweep is ready for.
enum Ready {
    Load,
    Loaded(Result<Loaded, DeskError>),
    Slice,
}

/// A new score, compared with the one before.
struct Fresh {
    row: ScoreRow,
    /// True if its points differ.
    differs: bool,
    fall: Option<Fall>,
    alarms: Vec<Alarm>,
}

impl Fresh {
    fn of(scored: Scored, before: Option<&ScoreRow>) -> Self {
        Self {
            differs: before.is_none_or(|before| before.points != scored.row.points),
            fall: before.and_then(|before| scored.fall(before)),
            row: scored.row,
            alarms: scored.alarms,
        }
    }
}

impl Desk {
    /// Keeps the scores of arriving consignments up to date until `shutdown`.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut notices = self.kernel.record_notices();
        let mut deciders = self.kernel.deciders();
        let mut state = self.state.subscribe();
        let mut seen = 0;
        let (mut sweep, mut due) = (Sweep::Resting, Due::default());
        let mut refresh = Instant::now() + REFRESH;
        loop {
            // None of these goes first: a flood of notices must not keep the sweep from its slices.
            tokio::select! {
                () = shutdown.cancelled() => return,
                notice = notices.recv() => match News::gather(notice, &mut notices) {
                    Some(news) => self.heed(news).await,
                    None => return,
                },
                Ok(()) = deciders.changed() => self.changed(),
                Ok(()) = changed_since(&mut state, &mut seen) => due.changed(Instant::now()),
                () = tokio::time::sleep_until(refresh) => {
                    refresh = Instant::now() + REFRESH;
                    self.changed();
                }
                ready = sweep.ready(due.at) => {
                    match &ready {
                        Ready::Load => due = Due::default(),
                        Ready::Loaded(Ok(loaded)) => refresh = self.refresh(&loaded.model),
                        Ready::Loaded(Err(_)) | Ready::Slice => {}
                    }
                    sweep = self.step(sweep, ready).await.unwrap_or_else(|error| {
                        tracing::error!(%error, "arriving consignments were not scored; this is tried again");
                        due.failed(Instant::now());
                        Sweep::Resting
                    });
                }
            }
        }
    }

    /// Returns the moment at which the scores by this model are out of date, whatever comes.
    fn refresh(&self, model: &Model) -> Instant {
        Instant::now() + until_refresh(model.next_end, self.kernel.now())
    }

    /// Scores the consignments that the records name, at once. A change of the model is left to the
    /// sweep.
    async fn heed(self: &Arc<Self>, news: News) {
        let News { records, model } = news;
        if model {
            self.changed();
        }
        if records.is_empty() {
            return;
        }
        if let Err(error) = self.rematch(records).await {
            tracing::error!(%error, "consignments were not matched anew; all are scored again");
            self.changed();
        }
    }

    async fn rematch(self: &Arc<Self>, records: Vec<RecordId>) -> Result<(), DeskError> {
        let (scores, common) = self.apart(move |desk| desk.matched(&records)).await?;
        if common {
            self.changed();
        }
        let falls = self.keep(Priority::Urgent, scores).await?;
        let revision = self.state().revision;
        self.kernel.raise(alarm::of_falls(&falls, revision)).await;
        Ok(())
    }

    /// Returns the new scores of the consignments that these records name. The flag is true if a
    /// record names an identifier of a kind that the index leaves out.
    fn matched(&self, records: &[RecordId]) -> Result<(Vec<Fresh>, bool), DeskError> {
        let store = self.kernel.store();
        let holdings = Holdings::of(&self.kernel);
        let mut found: BTreeMap<String, ConsignmentRow> = BTreeMap::new();
        let mut common = false;
        // Most records concern no consignment, and these are not opened.
        for id in &store.touching(records)? {
            let Some(held) = holdings.record(id)? else {
                continue;
            };
            for item in holdings.said_by(&held)? {
                let kind = item.selector.kind();
                common |= !kind.is_high_entropy();
                if kind.is_high_entropy() {
                    let rows = store.consignments_with(kind, item.selector.value())?;
                    found.extend(rows.into_iter().map(|row| (row.reference.clone(), row)));
                }
            }
        }
        if found.is_empty() {
            return Ok((Vec::new(), common));
        }
        let model = self.model_at_hand()?;
        let scores = found
            .values()
            .filter_map(|row| {
                let scored = self.score_row(&model, &holdings, row).transpose()?;
                Some(scored.and_then(|scored| {
                    let before = store.score(&scored.row.reference)?;
                    // Told even if its points are those before: a record named the consignment.
                    let fresh = Fresh::of(scored, before.as_ref());
                    Ok(Fresh {
                        differs: true,
                        ..fresh
                    })
                }))
            })
            .collect::<Result<_, DeskError>>()?;
        Ok((scores, common))
    }

    /// Stores scores, sends a notice for each that differs, and raises their alarms. Returns the
    /// recommended controls that fell.
    async fn keep(&self, priority: Priority, scores: Vec<Fresh>) -> Result<Vec<Fall>, DeskError> {
        if scores.is_empty() {
            return Ok(Vec::new());
        }
        let told: Vec<Notice> = scores
            .iter()
            .filter(|fresh| fresh.differs)
            .map(|fresh| Notice::Scored {
                reference: fresh.row.reference.clone(),
                points: fresh.row.points,
                at: fresh.row.at,
            })
            .collect();
        let mut rows = Vec::with_capacity(scores.len());
        let mut falls = Vec::new();
        let mut alarms = BTreeSet::new();
        for fresh in scores {
            rows.push(fresh.row);
            falls.extend(fresh.fall);
            alarms.extend(fresh.alarms);
        }
        self.kernel
            .commit(priority, vec![Write::Scores(rows)])
            .await?;
        for notice in told {
            self.kernel.tell(notice);
        }
        self.kernel.raise(alarms).await;
        Ok(falls)
    }

    async fn step(self: &Arc<Self>, sweep: Sweep, ready: Ready) -> Result<Sweep, DeskError> {
        match (ready, sweep) {
            (Ready::Load, _) => {
                let desk = Arc::clone(self);
                let loading = portcullis_store::apart::spawn(move || desk.load());
                Ok(Sweep::Loading(loading))
            }
            (Ready::Loaded(loaded), _) => loaded.map(Sweep::Running),
            (Ready::Slice, Sweep::Running(loaded)) => self.slice(loaded).await,
            (Ready::Slice, other) => Ok(other),
        }
    }

    fn load(&self) -> Result<Loaded, DeskError> {
        let model = self.model(self.state().revision)?;
        let mut misfits = Vec::new();
        for stage in [ConsignmentStage::Arriving, ConsignmentStage::History] {
            self.kernel.store().each_consignment(stage, &mut |row| {
                if model.setup.read(&row).is_err() {
                    misfits.push(row.reference);
                }
            })?;
        }
        self.kernel.set_aside().misfits(misfits);
        Ok(Loaded {
            model,
            waiting: VecDeque::new(),
            next: Some(ConsignmentPlace::default()),
            falls: Vec::new(),
        })
    }

    /// Scores the next slice. If no consignment is left, every arrival is scored by the model's
    /// revision.
    async fn slice(self: &Arc<Self>, mut loaded: Loaded) -> Result<Sweep, DeskError> {
        while let Some(place) = loaded.next
            && loaded.waiting.is_empty()
        {
            let arriving = ConsignmentStage::Arriving;
            let page = self
                .apart(move |desk| Ok(desk.kernel.store().consignment_page(arriving, place)?))
                .await?;
            loaded.waiting.extend(page.rows);
            loaded.next = page.next;
        }
        let few = loaded.waiting.len().min(SLICE);
        let rows: Vec<ConsignmentRow> = loaded.waiting.drain(..few).collect();
        if rows.is_empty() {
            let scored = loaded.model.revision;
            self.kernel
                .raise(alarm::of_profiles(&loaded.model.implausible))
                .await;
            self.kernel
                .raise(alarm::of_falls(&loaded.falls, scored))
                .await;
            self.state.send_modify(|state| state.scored = scored);
            return Ok(Sweep::Resting);
        }
        let model = Arc::clone(&loaded.model);
        let scores = self
            .apart(move |desk| {
                let holdings = Holdings::of(&desk.kernel);
                rows.iter()
                    .filter_map(|row| {
                        let scored = desk.score_row(&model, &holdings, row).transpose()?;
                        Some(scored.and_then(|scored| {
                            let before = desk.kernel.store().score(&scored.row.reference)?;
                            Ok(Fresh::of(scored, before.as_ref()))
                        }))
                    })
                    .collect::<Result<_, DeskError>>()
            })
            .await?;
        let falls = self.keep(Priority::Bulk, scores).await?;
        loaded.falls.extend(falls);
        Ok(Sweep::Running(loaded))
    }
}

/// Returns the time until a model is out of date: when the next of its records is to be deleted, and
/// within the hour.
fn until_refresh(next_end: Option<Timestamp>, now: Timestamp) -> Duration {
    let until = |end: Timestamp| u64::try_from(end.millis_since(now).max(0)).unwrap_or(0);
    let until = next_end.map_or(REFRESH, |end| Duration::from_millis(until(end)));
    until.clamp(LONGEST_PAUSE, REFRESH)
}

impl Sweep {
    /// Waits for the next step. Changes nothing, so that the future can be dropped at any time.
    async fn ready(&mut self, due: Option<Instant>) -> Ready {
        match self {
            Self::Resting => match due {
                Some(due) => {
                    tokio::time::sleep_until(due).await;
                    Ready::Load
                }
                None => std::future::pending().await,
            },
            Self::Loading(loading) => match loading.await {
                Ok(loaded) => Ready::Loaded(loaded),
                Err(_) => Ready::Loaded(Err(DeskError::CutShort)),
            },
            Self::Running(_) => Ready::Slice,
        }
    }
}

/// Waits until the revision differs from `seen`, and remembers it.
async fn changed_since(
    state: &mut watch::Receiver<DeskState>,
    seen: &mut u64,
) -> Result<(), watch::error::RecvError> {
    let state = state.wait_for(|state| state.revision != *seen).await?;
    *seen = state.revision;
    Ok(())
}

impl News {
    /// Collects the notice that came and those that wait behind it; `None` if no notice can come
    /// any more.
    fn gather(first: Result<Notice, RecvError>, notices: &mut Receiver<Notice>) -> Option<Self> {
        let mut news = Self::default();
        match first {
            Ok(notice) => news.add(&notice),
            Err(RecvError::Lagged(_)) => news.model = true,
            Err(RecvError::Closed) => return None,
        }
        for _ in 1..TOGETHER {
            match notices.try_recv() {
                Ok(notice) => news.add(&notice),
                // The missed notices may have been of any kind, so everything is scored anew.
                Err(TryRecvError::Lagged(_)) => news.model = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        Some(news)
    }

    fn add(&mut self, notice: &Notice) {
        match notice {
            Notice::Published { record, kind, .. } | Notice::Received { record, kind, .. } => {
                self.add_record(*record, *kind);
            }
            Notice::Declined { .. }
            | Notice::Answered { .. }
            | Notice::DeliveryFailed { .. }
            | Notice::Scored { .. }
            | Notice::Alarm { .. } => {}
        }
    }

    fn add_record(&mut self, record: RecordId, kind: Kind) {
        match kind {
            Kind::Indicator | Kind::Alert => self.records.push(record),
            // An outcome tells about its consignment, and about the origin whose indicator it
            // confirms or not.
            Kind::Outcome => {
                self.records.push(record);
                self.model = true;
            }
            Kind::RiskProfile => self.model = true,
            Kind::Advisory => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::time::Timestamp;
    use tokio::sync::broadcast;

    use super::*;

    fn published(n: u8, kind: Kind) -> Notice {
        Notice::Published {
            record: RecordId::of_header(&[n]),
            kind,
            at: Timestamp::from_millis(0),
        }
    }

    fn gathered(notices: &[Notice], room: usize) -> Option<News> {
        let (sender, mut receiver) = broadcast::channel(room);
        for notice in notices {
            sender.send(notice.clone()).unwrap();
        }
        let first = match receiver.try_recv() {
            Ok(notice) => Ok(notice),
            Err(TryRecvError::Lagged(missed)) => Err(RecvError::Lagged(missed)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => Err(RecvError::Closed),
        };
        News::gather(first, &mut receiver)
    }

    #[test]
    fn an_alert_is_matched_and_a_profile_makes_a_new_model() {
        let alert = gathered(&[published(1, Kind::Alert)], 8).unwrap();
        let expected = News {
            records: vec![RecordId::of_header(&[1])],
            model: false,
        };
        assert_eq!(alert, expected);
        let profile = gathered(&[published(1, Kind::RiskProfile)], 8).unwrap();
        assert_eq!((profile.records.len(), profile.model), (0, true));
        let advisory = gathered(&[published(1, Kind::Advisory)], 8).unwrap();
        assert_eq!(advisory, News::default());
    }

    #[test]
    fn what_waits_is_heeded_together() {
        let many: Vec<Notice> = (0..20).map(|n| published(n, Kind::Indicator)).collect();
        assert_eq!(gathered(&many, 32).unwrap().records.len(), 20);
    }

    #[test]
    fn missed_notices_make_everything_score_anew() {
        let many: Vec<Notice> = (0..20).map(|n| published(n, Kind::Indicator)).collect();
        assert!(gathered(&many, 4).unwrap().model);
    }

    /// Attack M4: nine outcomes a second postponed every model for as long as they came.
    #[test]
    fn news_without_a_pause_does_not_postpone_a_model_beyond_the_longest_pause() {
        let (mut due, began) = (Due::default(), Instant::now());
        due.changed(began);
        assert_eq!(due.at, Some(began + PAUSE));
        for tenth in 1..100 {
            due.changed(began + Duration::from_millis(tenth * 100));
            assert!(due.at <= Some(began + LONGEST_PAUSE));
        }
        assert_eq!(due.at, Some(began + LONGEST_PAUSE));
        due.failed(began);
        assert_eq!(due.at, Some(began + RETRY));
    }

    /// Attack M4: news that comes while a sweep runs has to wait for its end, and does not begin it
    /// anew.
    #[tokio::test]
    async fn news_does_not_end_the_sweep_under_way() {
        let mut sweep = Sweep::Loading(tokio::spawn(async { Err(DeskError::CutShort) }));
        let past = Instant::now();
        assert!(matches!(sweep.ready(Some(past)).await, Ready::Loaded(_)));
        let mut resting = Sweep::Resting;
        assert!(matches!(resting.ready(Some(past)).await, Ready::Load));
    }

    /// Attack HM9: what must not count any more went on counting until some other news came.
    #[test]
    fn a_model_is_out_of_date_when_a_record_of_it_ends_and_within_the_hour() {
        let now = Timestamp::from_millis(1_000_000);
        let until = |end: i64| until_refresh(Some(now.plus_millis(end)), now);
        assert_eq!(until_refresh(None, now), REFRESH);
        assert_eq!(until(60_000), Duration::from_secs(60));
        assert_eq!(until(i64::from(u32::MAX)), REFRESH);
        // One that ended meanwhile does not make the desk build models without a pause.
        assert_eq!(until(-1), LONGEST_PAUSE);
    }

    #[test]
    fn the_end_of_notices_is_the_end() {
        assert_eq!(gathered(&[], 4), None);
    }
}
