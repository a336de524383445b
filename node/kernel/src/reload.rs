//! Changes that a running node takes up: all that is in its home, all or nothing, or new epochs
//! alone, from the home or from a member.
//!
//! ```text
//! epochs ─verify on top of the one in force─▶ files ─▶ store ─▶ trust of peers ─▶ decider
//! ```
//!
//! The files are written first. A process that is killed in between finds more in its home than in
//! its store, which it repairs at its start. In the other order it would take itself for rolled
//! back.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_protocol::{
    digest::Digest,
    gossip,
    register::{Register, SignedRegister, VerifiedRegister},
    statement::SignedStatement,
    time::Timestamp,
    verify::Refusal,
};
use tokio::sync::Mutex;

use crate::{
    Kernel,
    acceptance::Acceptance,
    decide::{Decider, DeciderError},
    in_force::{InForce, LoadError, anchors, meeting, missing_epochs, peer_trust, read_register},
    revocation::HomeLists,
};
use portcullis_home::{
    Home,
    config::Config,
    keyring::{Accepted, FirstAdministrator, Keyring, SealedFacts},
    membership::{self, load_epochs},
    own_certificate::{CertificateFault, Own, check_certificate, read_certificates, unix},
    trust_settings::TrustSettings,
};
use portcullis_peering::trust::PeerTrust;
use portcullis_store::{StoreError, Write, writer::Priority};

/// Name of the act with which a person accepts trust settings.
pub const ACCEPT_SETTINGS: &str = "accept-settings";

/// Takes up changes in a running node.
pub struct Reloader {
    kernel: Arc<Kernel>,
    home: Home,
    config: Config,
    /// Moves the level of the log.
    move_level: fn(tracing::Level),
    /// Guards only the order: the older of two registers must not be put in force after the newer.
    turn: Mutex<()>,
}

/// Result of following epochs that a member brought.
#[derive(Debug)]
pub struct Followed {
    /// Number of epochs put in force.
    pub taken: usize,
    /// Refusal of the next epoch, if there was one.
    pub refused: Option<Refusal>,
}

impl Reloader {
    /// Takes up what is in `home` into `kernel`; `move_level` is told the configured level of the log.
    #[must_use]
    pub fn new(
        kernel: Arc<Kernel>,
        home: Home,
        config: Config,
        move_level: fn(tracing::Level),
    ) -> Self {
        Self {
            kernel,
            home,
            config,
            move_level,
            turn: Mutex::new(()),
        }
    }

    /// Loads everything anew and puts it in force; what does not load changes nothing. Trust settings
    /// that nobody accepted are not taken up.
    ///
    /// # Errors
    ///
    /// [`LoadError`] says what did not load.
    pub async fn reload(&self) -> Result<(), LoadError> {
        self.reload_with(|_| Vec::new()).await
    }

    /// Loads everything anew and puts it in force. The writes that `beside` makes of what is to be
    /// in force become durable with the new epochs: the act that orders it.
    ///
    /// # Errors
    ///
    /// [`LoadError`] says what did not load; nothing of it is kept then.
    pub async fn reload_with(
        &self,
        beside: impl FnOnce(&Decider) -> Vec<Write> + Send,
    ) -> Result<(), LoadError> {
        let _turn = self.turn.lock().await;
        let (kernel, home, config) = self.parts();
        let (new, keyring, in_force) = apart(move || {
            let new = Config::load(&home.config())?;
            let keyring = Keyring::load(&home, &new.key)?;
            let found = TrustSettings::found(&home, &new)?;
            let logged = accepted_in_log(&kernel)?;
            let found = Acceptance::of(keyring.facts().accepted.as_ref(), &found, logged);
            if !found.holds() {
                let changes: Vec<String> = found.changes.iter().map(ToString::to_string).collect();
                let is_shut = kernel.acceptance().is_shut;
                kernel.compare_settings(Acceptance { is_shut, ..found });
                let changes = changes.join(", ");
                return Err(LoadError::Unaccepted { changes });
            }
            restart_only(&home, &config, &new)?;
            let in_force = loaded(&kernel, &home, &new, &keyring)?;
            Ok((new, keyring, in_force))
        })
        .await?;
        self.take_up_all(&new, keyring, in_force, beside).await?;
        self.kernel.compare_settings(Acceptance {
            is_open_ended: self.kernel.keyring().facts().accepted.is_none(),
            ..Acceptance::default()
        });
        Ok(())
    }

    /// Checks everything in the home as a reload does, seals its trust settings with the keys, and
    /// puts all in force that needs no restart. `digest` names the settings that a person signed
    /// for. `first` begins the persons, if the keys do not say so. Returns the keys and sections
    /// that count only from the next start.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if other settings are found or they do not load; nothing is changed then.
    pub async fn accept(
        &self,
        digest: Digest,
        serial: u64,
        first: Option<FirstAdministrator>,
    ) -> Result<Vec<&'static str>, LoadError> {
        let _turn = self.turn.lock().await;
        let (kernel, home, config) = self.parts();
        let (new, keyring, in_force) = apart(move || {
            let new = Config::load(&home.config())?;
            let keyring = Keyring::load(&home, &new.key)?;
            let settings = TrustSettings::found(&home, &new)?;
            if settings.digest() != digest {
                return Err(LoadError::OtherSettings);
            }
            let in_force = loaded(&kernel, &home, &new, &keyring)?;
            missing_epochs(&in_force.epochs, &kernel.store().registers()?)?;
            let present = keyring.facts().first_administrator.clone();
            let facts = SealedFacts {
                recoveries: keyring.facts().recoveries.clone(),
                first_administrator: present.or(first),
                accepted: Some(Accepted { serial, settings }),
            };
            Keyring::seal_facts(&home, &new.key, &facts)?;
            let keyring = Keyring::load(&home, &new.key)?;
            Ok((new, keyring, in_force))
        })
        .await?;
        let waiting = config.needs_restart(&new);
        if waiting.is_empty() {
            let nothing = |_: &Decider| Vec::new();
            self.take_up_all(&new, keyring, in_force, nothing).await?;
            self.kernel.compare_settings(Acceptance::default());
        } else {
            self.kernel.replace_keyring(keyring);
            self.kernel.compare_settings(Acceptance {
                is_shut: self.kernel.acceptance().is_shut,
                waiting: waiting.clone(),
                ..Acceptance::default()
            });
        }
        Ok(waiting)
    }

    /// Puts everything in force that was loaded and checked.
    async fn take_up_all(
        &self,
        new: &Config,
        keyring: Keyring,
        in_force: Box<InForce>,
        beside: impl FnOnce(&Decider) -> Vec<Write> + Send,
    ) -> Result<(), LoadError> {
        let found = in_force.decider.register().epoch;
        let present = self.kernel.decider().register().epoch;
        if found < present {
            return Err(LoadError::Older { found, present });
        }
        let beside = beside(&in_force.decider);
        self.keep(&in_force.epochs, in_force.decider.register(), beside)
            .await?;
        // No step below can fail.
        self.kernel.identity().replace(&in_force.identity);
        self.kernel.replace_keyring(keyring);
        self.kernel.trust().replace(in_force.trust);
        self.kernel.take_settings(new);
        (self.move_level)(new.log.level);
        self.kernel.replace_decider(Arc::new(in_force.decider));
        self.kernel.move_gates();
        tracing::info!(
            "configuration, register, policy, certificate and revocation lists were loaded again"
        );
        Ok(())
    }

    /// Puts the epochs in force that are in the home and newer than the present one, and gives
    /// the epoch in force.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if one does not hold; nothing is changed then.
    pub async fn take_up(&self) -> Result<u64, LoadError> {
        let _turn = self.turn.lock().await;
        let (_, home, config) = self.parts();
        let mut chain = apart(move || Ok(load_epochs(&home, &config.register_pin)?)).await?;
        let present = self.kernel.decider().register().epoch;
        self.compare(&chain)?;
        chain.retain(|epoch| epoch.register().epoch > present);
        self.put_in_force(chain).await?;
        Ok(self.kernel.decider().register().epoch)
    }

    /// Verifies epochs that a member brought on top of the one in force, keeps those that hold in
    /// home and store, and puts the newest in force.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if they could not be kept or do not go together with this node.
    pub async fn follow(&self, epochs: Vec<Bytes>) -> Result<Followed, LoadError> {
        if epochs.is_empty() {
            return Ok(Followed {
                taken: 0,
                refused: None,
            });
        }
        let _turn = self.turn.lock().await;
        let (kernel, home, _) = self.parts();
        let gossip::Followed { taken, refused } = apart(move || {
            let present = kernel.decider().verified_register().clone();
            let followed = gossip::follow(&present, &epochs);
            membership::append(&home, &followed.taken)?;
            Ok(followed)
        })
        .await?;
        let count = taken.len();
        self.put_in_force(taken).await?;
        Ok(Followed {
            taken: count,
            refused,
        })
    }

    /// Refuses a chain that holds a different epoch under the number of the one in force.
    fn compare(&self, chain: &[VerifiedRegister]) -> Result<(), LoadError> {
        let decider = self.kernel.decider();
        let (present, epoch) = (decider.verified_register(), decider.register().epoch);
        let same = chain.iter().find(|held| held.register().epoch == epoch);
        match same {
            Some(held) if held.digest() == present.digest() => Ok(()),
            Some(_) => Err(LoadError::Forked { epoch }),
            None => Err(LoadError::Older {
                found: chain.len() as u64,
                present: epoch,
            }),
        }
    }

    /// Stores all of these epochs and puts the last in force.
    async fn put_in_force(&self, chain: Vec<VerifiedRegister>) -> Result<(), LoadError> {
        let kept: Vec<SignedRegister> = chain.iter().map(|one| one.signed().clone()).collect();
        let mut archive = self.kernel.decider().archive().clone();
        chain.iter().for_each(|one| archive.add(one.register()));
        let Some(newest) = chain.into_iter().next_back() else {
            return Ok(());
        };
        let trust = self.trust_under(newest.register()).await?;
        if let Err(error) = self.find_keys(newest.register()).await {
            // The change of trust does not wait for keys: the node goes on with those that it has.
            tracing::error!(%error, "the keys that the new epoch lists cannot be opened; see to them, then reload");
        }
        self.commit(kept, newest.register(), Vec::new()).await?;
        let epoch = newest.register().epoch;
        let engine = self.kernel.decider().shared_engine();
        match Decider::new(newest, engine, self.config.authority.clone()) {
            Ok(decider) => {
                let decider = decider.with_archive(archive);
                self.kernel.trust().replace(trust);
                self.kernel.replace_decider(Arc::new(decider));
                self.kernel.move_gates();
                tracing::info!(epoch, "another epoch of the register is in force");
                Ok(())
            }
            Err(error @ DeciderError::NotListed { .. }) => {
                // A node that is not a member has no peers: every connection closes.
                self.kernel.trust().replace(PeerTrust::nobody());
                Err(error.into())
            }
        }
    }

    /// Builds the trust under a new epoch. The change of trust does not wait for a revocation list
    /// that does not hold: those that hold count, and those in force go on counting.
    async fn trust_under(&self, register: &Register) -> Result<PeerTrust, LoadError> {
        let (kernel, home, register) = (
            Arc::clone(&self.kernel),
            self.home.clone(),
            register.clone(),
        );
        apart(move || {
            let seen = kernel.store().registers()?;
            let seen: Vec<Register> = seen.iter().filter_map(read_register).collect();
            let found = HomeLists::read(&home, &anchors(seen.iter().chain([&register])));
            for fault in &found.faults {
                tracing::error!(%fault, "a revocation list does not hold; those that were in force stay so until it is mended and reloaded");
            }
            let present = kernel.trust().current();
            let filed = found.lists.iter().map(|filed| &filed.list);
            peer_trust(&register, filed.chain(present.revocation_lists()))
        })
        .await
    }

    /// Opens the keys again if an epoch lists a key of this node that was made since the start.
    async fn find_keys(&self, register: &Register) -> Result<(), LoadError> {
        let listed = register.node(&self.config.node).map(|(_, node)| node);
        let (kernel, home, config) = self.parts();
        if listed.is_none_or(|node| kernel.keyring().has_all(node, kernel.now())) {
            return Ok(());
        }
        let keyring = apart(move || Ok(Keyring::load(&home, &config.key)?)).await?;
        kernel.replace_keyring(keyring);
        Ok(())
    }

    /// Stores those of the home's epochs that the store has not seen.
    async fn keep(
        &self,
        epochs: &[SignedRegister],
        newest: &Register,
        beside: Vec<Write>,
    ) -> Result<(), LoadError> {
        let (kernel, _, _) = self.parts();
        let known = apart(move || Ok(kernel.store().registers()?)).await?;
        let missing = missing_epochs(epochs, &known)?;
        self.commit(missing, newest, beside).await
    }

    /// Stores epochs. Peers that are new in the newest are met in the same transaction.
    async fn commit(
        &self,
        epochs: Vec<SignedRegister>,
        newest: &Register,
        beside: Vec<Write>,
    ) -> Result<(), LoadError> {
        let mut writes = beside;
        if !epochs.is_empty() {
            writes.extend(epochs.into_iter().map(Write::Register));
            let present = self.kernel.decider();
            writes.extend(meeting(Some(present.register()), newest));
        }
        if !writes.is_empty() {
            self.kernel.commit(Priority::Urgent, writes).await?;
        }
        Ok(())
    }

    /// Returns the trust settings that lie in the home, and how they compare. It reads the disk.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the configuration or a deciding file cannot be read.
    pub fn settings_found(&self) -> Result<(Acceptance, TrustSettings), LoadError> {
        let new = Config::load(&self.home.config())?;
        let found = TrustSettings::found(&self.home, &new)?;
        let keyring = self.kernel.keyring();
        let logged = accepted_in_log(&self.kernel)?;
        let acceptance = Acceptance::of(keyring.facts().accepted.as_ref(), &found, logged);
        let present = self.kernel.acceptance();
        Ok((
            Acceptance {
                is_shut: present.is_shut,
                waiting: present.waiting.clone(),
                ..acceptance
            },
            found,
        ))
    }

    fn parts(&self) -> (Arc<Kernel>, Home, Config) {
        (
            Arc::clone(&self.kernel),
            self.home.clone(),
            self.config.clone(),
        )
    }

    /// Returns the node's home.
    #[must_use]
    pub const fn home(&self) -> &Home {
        &self.home
    }

    /// Returns the configuration with which the node started.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }
}

/// Refuses a configuration that a running node cannot take up.
fn restart_only(home: &Home, present: &Config, new: &Config) -> Result<(), LoadError> {
    let keys = present.needs_restart(new);
    if keys.is_empty() {
        return Ok(());
    }
    let path = home.config();
    let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    let keys = keys.join(", ");
    Err(LoadError::NeedsRestart { path, keys })
}

/// Loads what is in a home and checks it whole, as a running node needs it.
fn loaded(
    kernel: &Kernel,
    home: &Home,
    config: &Config,
    keyring: &Keyring,
) -> Result<Box<InForce>, LoadError> {
    let in_force = Box::new(InForce::load(home, config, keyring)?);
    fit(home, config, keyring, &in_force, kernel.now())?;
    Ok(in_force)
}

/// Returns the highest number of an acceptance of settings that the log of acts has as done.
///
/// # Errors
///
/// [`StoreError`] if the acts cannot be read.
pub fn accepted_in_log(kernel: &Kernel) -> Result<Option<u64>, StoreError> {
    let acts = kernel.store().acts_done(ACCEPT_SETTINGS)?;
    Ok(acts.iter().filter_map(serial_of).max())
}

/// Reads the number of an acceptance from its act. Who signed it does not matter: more only closes.
fn serial_of(act: &SignedStatement) -> Option<u64> {
    let payload: serde_json::Value = serde_json::from_slice(act.unverified_payload()).ok()?;
    let serial = payload.pointer("/parameters/serial")?;
    serial.as_str()?.parse().ok()
}

/// Refuses a certificate that no peer would believe. A start tolerates one, a reload does not.
fn fit(
    home: &Home,
    config: &Config,
    keyring: &Keyring,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), LoadError> {
    let path = home.certificate();
    let own = Own::of(config);
    let register = in_force.decider.register();
    read_certificates(&path)
        .map_err(CertificateFault::from)
        .and_then(|chain| {
            check_certificate(
                &chain,
                keyring.tls_key(&chain),
                &own,
                Some(register),
                unix(now),
            )
        })
        .map(drop)
        .map_err(|fault| LoadError::Certificate {
            path,
            fault: Box::new(fault),
        })
}

/// Runs work for processor and disk apart from the runtime's threads.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    portcullis_store::apart::spawn(work)
        .await
        .map_err(|_| LoadError::CutShort)?
}
