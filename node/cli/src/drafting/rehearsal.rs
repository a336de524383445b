//! Rehearsal of drafts: what would be refused when they are sealed is found before the node is asked.
//!
//! A draft is sealed with a key that nobody has and thrown away, so that every rule of sealing is
//! asked, in the same code that the node runs.

use portcullis_home::clock::{SystemEntropy, system_clock};
use portcullis_protocol::{
    identifiers::{AuthorityId, FederationId},
    keys::{KeyUse, SigningKey},
    seal::{Draft, Entropy as _, Sealer},
};

use crate::error::CliError;
use portcullis_admin_api::v1::draft::DraftView;

/// A sealer whose records count nowhere.
pub(crate) struct Rehearsal {
    federation: FederationId,
    origin: AuthorityId,
    key: SigningKey,
    entropy: SystemEntropy,
}

impl Rehearsal {
    /// Makes a sealer with a key of its own.
    ///
    /// # Errors
    ///
    /// [`CliError`] if the system gives no random numbers.
    pub(crate) fn new() -> Result<Self, CliError> {
        let mut entropy = SystemEntropy::default();
        let mut seed = [0; 32];
        entropy.fill(&mut seed);
        let id = || CliError::failed("a rehearsal cannot be prepared");
        Ok(Self {
            federation: "rehearsal".parse().map_err(|_| id())?,
            origin: "rehearsal".parse().map_err(|_| id())?,
            key: SigningKey::from_seed(KeyUse::Sealing, seed),
            entropy,
        })
    }

    /// Seals a draft and throws the record away.
    ///
    /// # Errors
    ///
    /// The fault for which the node would refuse it, as a sentence.
    pub(crate) fn of(&mut self, draft: &DraftView) -> Result<(), String> {
        let draft = Draft::try_from(draft.clone()).map_err(|error| error.to_string())?;
        let sealer = Sealer {
            federation: &self.federation,
            origin: &self.origin,
            key: &self.key,
            now: system_clock()(),
        };
        sealer
            .seal(vec![draft], &mut self.entropy)
            .map(|_| ())
            .map_err(|error| error.to_string())
    }
}
