//! Publication of drafts as records of the log: sealed, verified as any member would, and durable.

use std::sync::Arc;

use portcullis_protocol::{
    frame::Lane,
    merkle::MAX_LEAVES,
    record::{Kind, RecordId},
    seal::{Draft, SealError, Sealer},
    verify::{Refusal, VerifiedRecord},
};

use super::{Kernel, Notice};
use portcullis_home::clock::SystemEntropy;
use portcullis_store::{StoreError, Write};

/// Reason for which records are not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The drafts break a rule of sealing. The caller has to mend them.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The register does not list this node's sealing key, or the record breaks a rule of the protocol.
    #[error("the sealed record would be refused by every member: {0}")]
    Refused(#[from] Refusal),
    /// The records could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The clock was set by this many seconds, and nobody has confirmed it.
    #[error("the clock was set by {0} seconds; nothing is sealed until it is confirmed")]
    ClockStep(i64),
    /// The work was cut short.
    #[error("sealing was cut short; nothing was published")]
    CutShort,
}

impl Kernel {
    /// Seals drafts in batches, verifies them as any member would, and puts them in the log.
    /// Urgent kinds are sealed one by one.
    ///
    /// # Errors
    ///
    /// [`PublishError`] if sealing, verification or the commit fails; nothing is published then.
    pub async fn publish(
        self: &Arc<Self>,
        drafts: Vec<Draft>,
    ) -> Result<Vec<RecordId>, PublishError> {
        self.publish_with(drafts, |_| Vec::new()).await
    }

    /// Publishes drafts in one commit with the writes that `beside` makes of the records' ids: the
    /// act that orders it. A job of several writes is not cut, so that all of it is durable or
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`PublishError`] as for publishing; nothing of it is kept then.
    pub async fn publish_with(
        self: &Arc<Self>,
        drafts: Vec<Draft>,
        beside: impl FnOnce(&[RecordId]) -> Vec<Write> + Send,
    ) -> Result<Vec<RecordId>, PublishError> {
        let kernel = Arc::clone(self);
        let is_urgent = drafts
            .iter()
            .any(|draft| Lane::of(draft.kind) == Lane::Urgent);
        let lane = if is_urgent { Lane::Urgent } else { Lane::Bulk };
        let sealing = self.work.run(lane, move || kernel.seal(drafts));
        let records = sealing.await.map_err(|_| PublishError::CutShort)??;
        let now = self.now();
        let published: Vec<_> = records
            .iter()
            .map(|record| (record.id(), record.header().kind))
            .collect();
        let ids: Vec<RecordId> = published.iter().map(|(record, _)| *record).collect();
        // A receipt may come before the answer of the writer.
        let alerts = published.iter().filter(|(_, kind)| *kind == Kind::Alert);
        self.metrics()
            .begin_alerts(alerts.map(|(record, _)| *record));
        let mut writes = beside(&ids);
        writes.push(Write::Publish { records, now });
        self.commit(lane.into(), writes).await?;
        for &(record, kind) in &published {
            self.tell(Notice::Published {
                record,
                kind,
                at: now,
            });
        }
        Ok(ids)
    }

    /// Seals drafts and verifies them as any member would; nothing is stored.
    ///
    /// # Errors
    ///
    /// [`PublishError`] as for publishing.
    pub fn seal(&self, drafts: Vec<Draft>) -> Result<Vec<VerifiedRecord>, PublishError> {
        if let Some(step_ms) = self.clock_step() {
            return Err(PublishError::ClockStep(step_ms / 1000));
        }
        let me = &self.parts.me;
        let key = self.sealing_key();
        let sealer = Sealer {
            federation: &me.federation,
            origin: &me.authority,
            key: &key,
            now: self.now(),
        };
        let (urgent, bulk): (Vec<_>, Vec<_>) = drafts
            .into_iter()
            .partition(|draft| Lane::of(draft.kind) == Lane::Urgent);
        let mut batches: Vec<Vec<Draft>> = urgent.into_iter().map(|draft| vec![draft]).collect();
        let mut bulk = bulk.into_iter();
        loop {
            let batch: Vec<Draft> = bulk.by_ref().take(MAX_LEAVES).collect();
            if batch.is_empty() {
                break;
            }
            batches.push(batch);
        }
        let decider = self.decider();
        let mut entropy = SystemEntropy::default();
        let mut verification = decider.verification(sealer.now);
        let mut verified = Vec::new();
        for batch in batches {
            for sealed in sealer.seal(batch, &mut entropy)? {
                verified.push(verification.arriving(&sealed)?);
            }
        }
        Ok(verified)
    }
}
