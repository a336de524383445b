//! Forgeries: any header, section and statement that a dishonest or faulty originator could sign.
//!
//! Hashes are computed here a second time, from the text of docs/design.md and without the crate's own
//! code.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_protocol::{
    keys::SigningKey,
    seal::{Batch, SealedRecord},
    statement::SignedStatement,
    wire,
};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::fixture::{indicator, sealing_key};

/// SHA-256 over label, zero byte and parts.
pub(crate) fn labelled(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut input = label.as_bytes().to_vec();
    input.push(0);
    parts.iter().for_each(|part| input.extend(*part));
    Sha256::digest(input).into()
}

pub(crate) fn section_digest(section: &wire::Section, tag: u16) -> [u8; 32] {
    let index = u16::try_from(section.index).unwrap();
    labelled(
        "portcullis section v1",
        &[
            &section.salt,
            &tag.to_be_bytes(),
            &index.to_be_bytes(),
            &section.body,
        ],
    )
}

/// A header, its sections and the statement of a batch of one, all open to change before signing.
pub(crate) struct Forgery {
    pub(crate) header: wire::Header,
    pub(crate) sections: Vec<wire::Section>,
    pub(crate) statement: wire::BatchStatement,
    pub(crate) key: SigningKey,
}

impl Forgery {
    /// Starts from a good record.
    pub(crate) fn of_indicator() -> Self {
        Self::of(&indicator())
    }

    pub(crate) fn of(sealed: &SealedRecord) -> Self {
        let record = sealed.wire().clone();
        let payload = sealed.statement().unverified_payload().clone();
        Self {
            header: wire::Header::decode(record.header).unwrap(),
            sections: record.sections,
            statement: wire::BatchStatement::decode(payload).unwrap(),
            key: sealing_key(),
        }
    }

    /// Signs it as a batch of one.
    pub(crate) fn seal(self) -> SealedRecord {
        let header = self.header.encode_to_vec();
        self.seal_header(header)
    }

    /// Does the same with these bytes for a header.
    pub(crate) fn seal_header(mut self, header: Vec<u8>) -> SealedRecord {
        let blind = [5; 16];
        let id = labelled("portcullis record v1", &[&header]);
        let leaf = labelled("portcullis batch leaf v1", &[&blind, &id]);
        self.statement.tree_size = 1;
        self.statement.root = Bytes::copy_from_slice(&leaf);
        let record = wire::Record {
            header: header.into(),
            sections: self.sections,
            batch: 0,
            blind: Bytes::copy_from_slice(&blind),
            leaf: 0,
            path: Bytes::new(),
        };
        SealedRecord::new(record, sign(&self.statement, &self.key))
    }

    /// Gives section `at` another body, and the table its digest.
    pub(crate) fn set_body(&mut self, at: usize, body: Vec<u8>) {
        self.sections[at].body = body.into();
        let tag = u16::try_from(self.header.sections[at].tag).unwrap();
        let digest = section_digest(&self.sections[at], tag);
        self.header.sections[at].digest = Bytes::copy_from_slice(&digest);
    }
}

pub(crate) fn sign(statement: &wire::BatchStatement, key: &SigningKey) -> Arc<SignedStatement> {
    sign_payload(statement.encode_to_vec(), key)
}

pub(crate) fn sign_payload(payload: Vec<u8>, key: &SigningKey) -> Arc<SignedStatement> {
    Arc::new(SignedStatement::sign::<Batch>(payload.into(), key).unwrap())
}

/// Returns the record as it came, with something changed on the way.
pub(crate) fn altered(
    sealed: &SealedRecord,
    change: impl FnOnce(&mut wire::Record),
) -> SealedRecord {
    let mut record = sealed.wire().clone();
    change(&mut record);
    SealedRecord::new(record, Arc::clone(sealed.statement()))
}

/// `bytes` with bit `bit` flipped.
pub(crate) fn flipped(bytes: &[u8], bit: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes.into()
}
