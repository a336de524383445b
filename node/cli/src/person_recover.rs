//! `portcullis person recover`: another key for an administrator who lost theirs, made at the machine
//! with the passphrase of the node's keys.

use std::{io, path::PathBuf};

use portcullis_protocol::keys::{KeyUse, PublicKey};
use serde::Serialize;

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Page, View},
};
use portcullis_admin_api::{
    act::Role,
    persons::is_slug,
    v1::{
        ListView,
        status::{EnrolledView, ProposalView},
    },
};
use portcullis_home::{
    Home,
    config::Config,
    key_file,
    keyring::{Keyring, SealedFacts, SealedRecovery},
};

/// Give an administrator who lost their key another one, at the machine
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Give an administrator who lost their key another one, when nobody is left who could propose and second \
it (`portcullis person rekey`). It is done at the machine of the node, with the passphrase of the node's \
keys, and sealed with them.

Restart the node then. It tells everybody: an event, a problem of its health, `portcullis person \
proposals`. The key counts once the node has run for 72 hours after that. Until then any administrator, supervisor or officer for \
data protection can withdraw it.",
    after_long_help = "\
Example:
  portcullis person recover anna --public-key anna-2.key.pub"
)]
pub(super) struct PersonRecover {
    /// The administrator's id
    #[arg(value_name = "ID")]
    id: String,
    /// The public half of their new key, made by `portcullis person key`
    #[arg(long, value_name = "FILE")]
    public_key: PathBuf,
}

impl PersonRecover {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        if !is_slug(&self.id) {
            return Err(CliError::usage("it names no person")
                .remedy("give the administrator's id, as `portcullis person list` shows it"));
        }
        let key = key_file::public(&self.public_key, KeyUse::Person)?;
        let home = Home::new(session.home()?);
        if let Some(waits) = waiting(session)?
            .into_iter()
            .find(|one| one.person == self.id)
        {
            return Err(another_waits(&waits));
        }
        refuse_in_vain(&enrolled(session)?, &self.id, &key)?;
        let config = Config::of(&home)?;
        let keyring = Keyring::load(&home, &config.key)?;
        let recovery = SealedRecovery {
            id: self.id,
            public_key: data_encoding::HEXLOWER.encode(&key.to_bytes()),
        };
        let mut facts: SealedFacts = keyring.facts().clone();
        facts.recoveries.push(recovery.clone());
        Keyring::seal_facts(&home, &config.key, &facts)?;
        session.output.show(&RecoveryView {
            id: recovery.id,
            key: key.id().to_string(),
            next: "restart the node: it tells everybody, and the key counts once it has run for 72 hours"
                .to_owned(),
        })
    }
}

/// Returns the recoveries that wait at the node; none if it does not say. A node that does not run looks
/// when it starts.
fn waiting(session: &Session) -> Result<Vec<ProposalView>, CliError> {
    let client = session.client()?;
    let asked = block_on(async {
        let asked = client.get::<ListView<ProposalView>>("/v1/persons/proposals");
        Ok(asked.await)
    })?;
    let mut waiting = asked.map(|list| list.items).unwrap_or_default();
    waiting.retain(|one| one.recovery);
    Ok(waiting)
}

/// Returns the persons whom the node knows; none if it does not say.
fn enrolled(session: &Session) -> Result<Vec<EnrolledView>, CliError> {
    let client = session.client()?;
    let asked = block_on(async { Ok(client.get::<ListView<EnrolledView>>("/v1/persons").await) })?;
    Ok(asked.map(|list| list.items).unwrap_or_default())
}

/// Refuses a recovery that would never count. A node that does not run looks when it starts.
fn refuse_in_vain(persons: &[EnrolledView], id: &str, key: &PublicKey) -> Result<(), CliError> {
    if persons.is_empty() {
        return Ok(());
    }
    // The node tells everybody that one of nobody counts for nobody.
    let Some(person) = persons.iter().find(|one| one.id == id) else {
        return Ok(());
    };
    if person.role != Role::Administrator.name() || person.state == "ended" {
        let message = format!("`{id}` is no administrator: only administrators are recovered");
        return Err(CliError::invalid(message)
            .remedy("have an administrator give them a key: `portcullis person rekey`"));
    }
    let bytes = data_encoding::HEXLOWER.encode(&key.to_bytes());
    let has_key = |one: &&EnrolledView| {
        let former = one.former_keys.iter().map(|former| &former.public_key);
        former.chain([&one.public_key]).any(|known| *known == bytes)
    };
    if let Some(holder) = persons.iter().find(has_key) {
        let message = format!("the key is or was `{}`'s already", holder.id);
        return Err(CliError::invalid(message)
            .remedy("make a new one with `portcullis person key --out FILE`"));
    }
    Ok(())
}

/// Describes the recovery beside which no other one of the same person is made.
fn another_waits(waits: &ProposalView) -> CliError {
    let message = format!(
        "a recovery of `{}` waits already: {}",
        waits.person, waits.change
    );
    CliError::invalid(message).remedy(format!(
        "withdraw it first with `portcullis person withdraw {}`, or wait until it counts",
        waits.id
    ))
}

/// A recovery that was sealed with the keys, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct RecoveryView {
    id: String,
    /// Id of the key.
    key: String,
    next: String,
}

impl View for RecoveryView {
    const SCHEMA: &'static str = "portcullis/person-recovery/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.line(format!(
            "the key {:.12} is sealed for `{}`",
            self.key, self.id
        ))?;
        page.line(format!("next: {}", self.next))
    }
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::keys::SigningKey;

    use super::*;

    fn person(id: &str, role: Role, seed: u8) -> EnrolledView {
        EnrolledView {
            id: id.to_owned(),
            name: id.to_owned(),
            role: role.name().to_owned(),
            enrolled_at: String::new(),
            enrolled_by: String::new(),
            public_key: data_encoding::HEXLOWER.encode(&key(seed).to_bytes()),
            state: "active".to_owned(),
            until: None,
            former_keys: Vec::new(),
            proposed: None,
        }
    }

    fn key(seed: u8) -> PublicKey {
        SigningKey::from_seed(KeyUse::Person, [seed; 32]).public()
    }

    /// A recovery of nobody was promised to count after three days, and the log said later that it never would.
    #[test]
    fn a_recovery_that_can_never_count_is_refused_at_once() {
        let persons = [
            person("ada", Role::Administrator, 1),
            person("sam", Role::Supervisor, 2),
        ];
        let refused = |id: &str, seed: u8| refuse_in_vain(&persons, id, &key(seed)).is_err();
        assert!(!refused("ada", 3));
        assert!(refused("sam", 3));
        assert!(refused("ada", 1) && refused("ada", 2));
        assert!(
            refuse_in_vain(&[], "nobody", &key(3)).is_ok(),
            "the node does not run"
        );
    }
}
