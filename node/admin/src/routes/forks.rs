//! Forks in the frames of peers, with the evidence for each: two statements that the peer signed.

use axum::{Json, extract::State};
use data_encoding::{BASE64, HEXLOWER};
use portcullis_protocol::{
    digest::Digest,
    frame::FRAME_PAYLOAD_TYPE,
    identifiers::NodeId,
    keys::{KeyId, PublicKey},
    register::SignedRegister,
    rules::Rule,
    statement::SignedStatement,
    time::Timestamp,
    wire,
};
use prost::Message as _;

use super::apart;
use crate::{
    problem::{Problem, ProblemKind},
    request::Admin,
};
use portcullis_admin_api::v1::{
    ListView,
    dispatch::{EnvelopeSignature, EnvelopeView, EvidenceView, ForkView},
};
use portcullis_kernel::Kernel;

pub(crate) async fn list(State(admin): State<Admin>) -> Result<Json<ListView<ForkView>>, Problem> {
    let kernel = admin.kernel.clone();
    let items = apart(move || forks(&kernel)).await?;
    Ok(Json(ListView { items }))
}

fn forks(kernel: &Kernel) -> Result<Vec<ForkView>, Problem> {
    let epochs = kernel.store().registers()?;
    let rows = kernel.store().forks()?;
    rows.iter()
        .map(|row| {
            Ok(ForkView {
                peer: row.peer.to_string(),
                lane: row.lane.name().to_owned(),
                at: row.at.to_string(),
                rule: Rule::Fork.to_string(),
                known: evidence(&epochs, &row.peer, &row.known)?,
                forked: evidence(&epochs, &row.peer, &row.forked)?,
            })
        })
        .collect()
}

fn evidence(
    epochs: &[SignedRegister],
    peer: &NodeId,
    statement: &SignedStatement,
) -> Result<EvidenceView, Problem> {
    let payload = statement.unverified_payload();
    let said = wire::FramePayload::decode(payload.as_ref()).map_err(|error| {
        Problem::new(
            ProblemKind::Failed,
            format!("a statement that is kept as evidence cannot be read: {error}"),
        )
    })?;
    let listed = listed(epochs, peer, &statement.key_id());
    let (public, epoch) = listed.unzip();
    Ok(EvidenceView {
        envelope: EnvelopeView {
            payload: BASE64.encode(payload),
            payload_type: FRAME_PAYLOAD_TYPE.to_owned(),
            signatures: vec![EnvelopeSignature {
                keyid: statement.key_id().to_string(),
                sig: BASE64.encode(statement.signature()),
            }],
        },
        public_key: public.map(|key| HEXLOWER.encode(&key.to_bytes())),
        epoch: epoch.map(|(number, _)| number),
        epoch_digest: epoch.map(|(_, digest)| digest.to_string()),
        first_sequence: said.first_sequence,
        count: said.count,
        settled_sequence: said.settled_sequence,
        chain: HEXLOWER.encode(&said.chain),
        generation: HEXLOWER.encode(&said.generation),
        sent_at: Timestamp::from_millis(said.sent_at_ms).to_string(),
    })
}

/// Returns the key, with the newest epoch that lists it for this peer and the digest of that epoch.
fn listed(
    epochs: &[SignedRegister],
    peer: &NodeId,
    key: &KeyId,
) -> Option<(PublicKey, (u64, Digest))> {
    epochs.iter().rev().find_map(|signed| {
        // Each epoch was verified before it was kept.
        let register = signed.unverified().ok()?;
        let (_, node) = register.node(peer)?;
        let mut keys = node.keys.iter().map(|registered| &registered.public);
        let public = keys.find(|public| public.id() == *key)?;
        Some((public.clone(), (register.epoch, signed.digest())))
    })
}
