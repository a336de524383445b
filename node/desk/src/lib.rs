//! The scoring desk: scores the authority's own consignments by everything it has lawfully
//! received.
//!
//! ```text
//! file ─ import ─▶ store ─┐
//! own history ────────────┼─▶ model (own counts; own and others') ─┐
//! profiles held ──────────┘                                        ├─▶ score ─▶ store, notice
//! indicators, alerts, outcomes held ─ by selector ─────────────────┘
//! ```
//!
//! A consignment is never shared, and nothing is sent here: publishing a profile seals counts and
//! leaves sending to dispatch and policy. A record counts in a score only if policy lets it. All of
//! this work loads the processor and the disk, so it runs outside of the runtime's threads. The
//! live part ([`live`]) owns the writing of scores.

pub mod closing;
pub mod encoding;
pub mod evidence;
pub mod figures;
pub mod generated;
pub mod import;
pub mod importing;
pub mod live;
pub mod model;
pub mod profile;
mod pruning;
pub mod shipped;
pub mod view;

#[cfg(test)]
pub(crate) mod fixtures;

mod alarm;
mod holdings;
mod scoring;
mod shares;

use portcullis_home::{
    Home,
    clock::SystemEntropy,
    files::{self, FileError},
};
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    encoding::EncodingError,
    figures::{FiguresView, LEAST_COUNTS, LeastCountView},
    holdings::Holdings,
    import::{ImportError, Instructions},
    importing::ImportProgress,
    model::{Builder, Model},
    shipped::Shipped,
};
use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use portcullis_admin_api::v1::score::{ExplanationView, PublishedProfileView};
use portcullis_kernel::{Kernel, PublishError};
use portcullis_protocol::{
    body::BodyError,
    marking::{Marking, Purpose, Tlp},
    record::RecordId,
    seal::Draft,
};
use portcullis_scoring::{
    consignment::Consignment,
    schema::{Schema, SchemaError},
    score::Settings,
    scorecard::{Calibration, CalibrationError},
};
use portcullis_store::{ConsignmentRow, ConsignmentStage, StoreError, Write};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Schema of a node that has no file of its own.
pub const SHIPPED_SCHEMA: &str = Shipped::CustomsKr.text();

/// Error of the desk.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The file was not imported.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored consignment cannot be read.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// The scorecard cannot be calibrated.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// A profile cannot be sealed.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A profile was not published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// There is no controlled history to make a profile of.
    #[error(
        "no history is imported that was controlled; run `portcullis consignment import --history FILE` first"
    )]
    NoHistory,
    /// No consignment has this reference.
    #[error("no consignment has the reference `{0}`")]
    UnknownConsignment(String),
    /// The result of a consignment's control is known already.
    #[error("the consignment `{reference}` is {how}")]
    IsClosed {
        /// Its reference.
        reference: String,
        /// The way in which its result came.
        how: String,
    },
    /// A file of history has no result of a control.
    #[error("none of the {0} lines has the result of a control: nothing was imported")]
    NoResults(usize),
    /// The schema takes no consignment without the result of a control.
    #[error(
        "the schema takes no consignment without the result of a control, and `{0}` would have none"
    )]
    NeedsResult(String),
    /// The node is stopping.
    #[error("the work was cut short; try again")]
    CutShort,
}

/// Settings of a desk.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The schema of consignments and cells.
    pub schema: Schema,
    /// Settings for weighing evidence and recommending controls.
    pub settings: Settings,
    /// Settings for calibrating scorecards.
    pub calibration: Calibration,
    /// Marking of the profiles that it publishes.
    pub profile_marking: Marking,
}

/// Error of loading the schema of a desk. The operator has to correct it.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is no schema.
    #[error("`{path}`: {source}")]
    Schema {
        /// Path of the file.
        path: String,
        /// Cause.
        source: SchemaError,
    },
}

impl Setup {
    /// Reads a stored consignment.
    fn read(&self, row: &ConsignmentRow) -> Result<Consignment, DeskError> {
        Ok(encoding::decode(&self.schema, &row.body)?)
    }

    /// Loads the settings of the node with this home. The schema is its file `schema.toml`, or the
    /// shipped one if there is no such file.
    ///
    /// # Errors
    ///
    /// [`SetupError`].
    pub fn load(home: &Path) -> Result<Self, SetupError> {
        let path = home.join(Home::SCHEMA);
        let (text, path) = match files::read_text(&path) {
            Ok(text) => (text, path.display().to_string()),
            Err(FileError::Missing { .. }) => (SHIPPED_SCHEMA.to_owned(), Home::SCHEMA.to_owned()),
            Err(error) => return Err(error.into()),
        };
        Self::of_schema(&text, path)
    }

    /// Returns the settings with the shipped schema.
    ///
    /// # Errors
    ///
    /// [`SetupError::Schema`] if this version ships none that it can read.
    pub fn shipped() -> Result<Self, SetupError> {
        Self::of_schema(SHIPPED_SCHEMA, Home::SCHEMA.to_owned())
    }

    /// Returns the settings with the schema of this text.
    ///
    /// # Errors
    ///
    /// [`SetupError::Schema`], which names `path`.
    pub fn of_schema(text: &str, path: String) -> Result<Self, SetupError> {
        match Schema::parse(text) {
            Ok(schema) => Ok(Self::new(schema)),
            Err(source) => Err(SetupError::Schema { path, source }),
        }
    }

    /// Returns the usual settings with this schema. Profiles are TLP:AMBER, for customs control and
    /// statistics.
    #[must_use]
    pub fn new(schema: Schema) -> Self {
        Self {
            schema,
            settings: Settings::default(),
            calibration: Calibration::default(),
            profile_marking: Marking::new(
                Tlp::Amber,
                [Purpose::CustomsControl, Purpose::Statistics],
            ),
        }
    }
}

/// A file to import.
#[derive(Debug, Clone)]
pub struct Import {
    /// Content of the file, plain or packed with gzip.
    pub file: Bytes,
    /// ConsignmentStage of its consignments: arriving, or history.
    pub stage: ConsignmentStage,
    /// Instructions for reading it.
    pub instructions: Instructions,
}

/// Progress of the desk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeskState {
    /// Revision of the data that scores depend on; it is increased at every change.
    pub revision: u64,
    /// Revision by which every arrival is scored.
    pub scored: u64,
}

impl DeskState {
    /// Returns true if every arrival is scored by everything known.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        self.revision == self.scored
    }
}

/// The scoring desk of a running node.
pub struct Desk {
    kernel: Arc<Kernel>,
    /// The schema and the settings in force; a reload may exchange them.
    setup: ArcSwap<Setup>,
    /// The newest model. It serves scores that are needed at once while another model is being
    /// built.
    model: ArcSwapOption<Model>,
    /// Lock that lets one model be built at a time; held by blocking threads only.
    building: Mutex<()>,
    state: watch::Sender<DeskState>,
    importing: watch::Sender<ImportProgress>,
    /// Turn of who replaces consignments by what it read of them: an import, or a closing.
    replacing: tokio::sync::Mutex<()>,
}

impl Desk {
    /// Returns a desk that still has everything to score.
    #[must_use]
    pub fn new(kernel: Arc<Kernel>, setup: Setup) -> Self {
        let state = DeskState {
            revision: 1,
            scored: 0,
        };
        Self {
            kernel,
            setup: ArcSwap::from_pointee(setup),
            model: ArcSwapOption::empty(),
            building: Mutex::new(()),
            state: watch::Sender::new(state),
            importing: watch::Sender::new(ImportProgress::default()),
            replacing: tokio::sync::Mutex::new(()),
        }
    }

    /// Returns the progress of the desk.
    #[must_use]
    pub fn state(&self) -> DeskState {
        *self.state.borrow()
    }

    /// Waits until every arrival is scored by everything known.
    pub async fn settled(&self) {
        let mut state = self.state.subscribe();
        // The sender lives as long as the desk.
        if state.wait_for(|state| state.is_settled()).await.is_err() {
            tracing::debug!("the desk is gone");
        }
    }

    /// Publishes the profiles of the authority's own controls, one for each period, in one commit
    /// with the writes that `beside` makes of what is published: the act that orders it.
    ///
    /// # Errors
    ///
    /// [`DeskError::NoHistory`] if nothing was controlled; otherwise the reason why a profile
    /// cannot be sealed.
    pub async fn publish_profile(
        self: &Arc<Self>,
        beside: impl FnOnce(&[PublishedProfileView]) -> Vec<Write> + Send,
    ) -> Result<Vec<PublishedProfileView>, DeskError> {
        let mut profiles = self
            .apart(|desk| {
                let setup = desk.setup();
                let history = desk.consignments(&setup, ConsignmentStage::History)?;
                Ok(profile::drafts(
                    &setup.schema,
                    &history,
                    &desk.kernel.me().authority,
                    &setup.profile_marking,
                    &mut SystemEntropy::default(),
                )?)
            })
            .await?;
        if profiles.is_empty() {
            return Err(DeskError::NoHistory);
        }
        let drafts: Vec<Vec<Draft>> = profiles
            .iter_mut()
            .map(|profile| std::mem::take(&mut profile.drafts))
            .collect();
        let counts: Vec<usize> = drafts.iter().map(Vec::len).collect();
        let views = |records: &[RecordId]| {
            let mut records = records.iter();
            let profiles = profiles.iter().zip(&counts);
            profiles
                .map(|(profile, count)| PublishedProfileView {
                    version: 1,
                    period: profile.period.to_string(),
                    controls: profile.controls,
                    findings: profile.findings,
                    cells: profile.cells,
                    sections: profile.sections,
                    records: records
                        .by_ref()
                        .take(*count)
                        .map(RecordId::to_string)
                        .collect(),
                })
                .collect::<Vec<_>>()
        };
        // Profiles are all of one kind, which keeps the records in the order of the drafts.
        let drafts = drafts.into_iter().flatten().collect();
        let published = self
            .kernel
            .publish_with(drafts, |records| beside(&views(records)))
            .await?;
        Ok(views(&published))
    }

    /// Returns the score of a consignment as of now, explained. Nothing is stored.
    ///
    /// # Errors
    ///
    /// [`DeskError::UnknownConsignment`]; otherwise the reason why it cannot be scored.
    pub async fn score(self: &Arc<Self>, reference: &str) -> Result<ExplanationView, DeskError> {
        let reference = reference.to_owned();
        self.apart(move |desk| {
            let row = desk
                .kernel
                .store()
                .consignment(&reference)?
                .ok_or(DeskError::UnknownConsignment(reference))?;
            let model = desk.model(desk.state().revision)?;
            let holdings = Holdings::of(&desk.kernel);
            let view = desk.explain(&model, &holdings, &row)?;
            let closing = encoding::closing(&row.body)?;
            Ok(ExplanationView {
                closing: closing.as_ref().map(closing::shown),
                ..view
            })
        })
        .await
    }

    /// Returns the figures of the authority's own arrivals, from its own store.
    ///
    /// # Errors
    ///
    /// [`DeskError`] with the reason why a model cannot be built.
    pub async fn figures(self: &Arc<Self>) -> Result<FiguresView, DeskError> {
        self.apart(|desk| {
            // Built anew, so that the figures are those of the store at this moment.
            let model = desk.build()?;
            let setup = &model.setup;
            let history = desk.consignments(setup, ConsignmentStage::History)?;
            let arriving = desk.consignments(setup, ConsignmentStage::Arriving)?;
            let least_counts = LEAST_COUNTS
                .iter()
                .map(|least| desk.least_count(*least, setup, (&history, &arriving)))
                .collect::<Result<Vec<_>, _>>()?;
            let controlled = arriving.iter().filter(|row| row.finding().is_some());
            Ok(FiguresView {
                version: 1,
                history: history.len() as u64,
                arriving: arriving.len() as u64,
                controlled: controlled.count() as u64,
                local: figures::of_scores(&model.local, &arriving),
                federated: figures::of_scores(&model.federated, &arriving),
                lookup: figures::of_lookup(&model.federated, &arriving),
                lookup_local: figures::of_lookup(&model.local, &arriving),
                least_counts,
            })
        })
        .await
    }

    fn least_count(
        &self,
        least: u32,
        setup: &Setup,
        (history, arriving): (&[Consignment], &[Consignment]),
    ) -> Result<LeastCountView, DeskError> {
        let holdings = Holdings::of(&self.kernel);
        let (others, _) = holdings.profiles(&setup.schema, least)?;
        let builder = self.builder(setup, history, &setup.settings);
        let (scorer, _) = builder.scorer(others, None)?;
        Ok(LeastCountView {
            least_count: least,
            federated: figures::of_scores(&scorer, arriving),
        })
    }

    /// Returns a model of at least this revision; builds one if there is none.
    fn model(&self, revision: u64) -> Result<Arc<Model>, DeskError> {
        let newest = || {
            let model = self.model.load_full();
            model.filter(|model| model.revision >= revision)
        };
        if let Some(model) = newest() {
            return Ok(model);
        }
        let _one = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have built it meanwhile.
        if let Some(model) = newest() {
            return Ok(model);
        }
        let model = Arc::new(self.build()?);
        self.model.store(Some(Arc::clone(&model)));
        Ok(model)
    }

    /// Returns the newest model, even if more is known by now; builds one only if there is none.
    fn model_at_hand(&self) -> Result<Arc<Model>, DeskError> {
        self.model(0)
    }

    fn build(&self) -> Result<Model, DeskError> {
        // Read before the store, so that data which comes in meanwhile makes a later revision.
        let revision = self.state().revision;
        let holdings = Holdings::of(&self.kernel);
        let setup = self.setup();
        let history = self.consignments(&setup, ConsignmentStage::History)?;
        let (reliabilities, unheard) = holdings.reliabilities()?;
        let settings = Settings {
            reliabilities,
            ..setup.settings.clone()
        };
        let (others, uncounted) = holdings.profiles(&setup.schema, 1)?;
        let builder = self.builder(&setup, &history, &settings);
        let before = self.model.load_full();
        // Hearings of another schema are of other fields.
        let before = before
            .as_deref()
            .filter(|model| Arc::ptr_eq(&model.setup, &setup));
        let (local, _) = builder.scorer([], before.map(|model| &model.local))?;
        let (federated, implausible) =
            builder.scorer(others, before.map(|model| &model.federated))?;
        let (unindexed, unmatched) = holdings.unindexed()?;
        self.kernel
            .set_aside()
            .left_out([unheard, uncounted, unmatched]);
        Ok(Model {
            revision,
            local,
            federated,
            implausible,
            unindexed,
            next_end: holdings.next_end(),
            setup,
        })
    }

    fn builder<'a>(
        &'a self,
        setup: &'a Setup,
        history: &'a [Consignment],
        settings: &'a Settings,
    ) -> Builder<'a> {
        Builder {
            schema: &setup.schema,
            own: &self.kernel.me().authority,
            history,
            settings,
            calibration: setup.calibration,
        }
    }

    fn consignments(
        &self,
        setup: &Setup,
        stage: ConsignmentStage,
    ) -> Result<Vec<Consignment>, DeskError> {
        let mut consignments = Vec::new();
        // What does not fit the schema in use is set aside: the sweep tells of it.
        self.kernel.store().each_consignment(stage, &mut |row| {
            consignments.extend(setup.read(&row).ok());
        })?;
        consignments.sort_unstable_by(|one, other| one.id().cmp(other.id()));
        Ok(consignments)
    }

    /// Returns the settings in force.
    fn setup(&self) -> Arc<Setup> {
        self.setup.load_full()
    }

    /// Puts settings in force that were loaded. If the schema differs everything is scored anew; consignments
    /// that do not fit it are set aside until their files come again.
    pub fn take_up(&self, setup: Setup) {
        let differs = self.setup().schema.digest() != setup.schema.digest();
        self.setup.store(Arc::new(setup));
        if differs {
            tracing::info!("another schema of consignments is in force; everything is scored anew");
            self.changed();
        }
    }

    /// Starts a new revision, because data that scores depend on has changed.
    fn changed(&self) {
        self.state.send_modify(|state| state.revision += 1);
    }

    /// Runs blocking work, for the processor or the disk, outside of the runtime's threads.
    async fn apart<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, DeskError> + Send + 'static,
    ) -> Result<T, DeskError> {
        let desk = Arc::clone(self);
        portcullis_store::apart::spawn(move || work(&desk))
            .await
            .map_err(|_| DeskError::CutShort)?
    }
}
