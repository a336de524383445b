//! Persons who act in the demo: an administrator and a supervisor at each node. Every act of the demo is a
//! statement that one of them signs.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use portcullis_protocol::{
    keys::{KeyUse, SigningKey},
    seal::Entropy as _,
};
use serde::de::DeserializeOwned;

use super::{DemoError, cast::FEDERATION, process::NodeProcess};
use portcullis_admin_api::{
    act::{self, Action, Request, Role},
    v1::{act::EnrolView, status::EnrolledView},
};
use portcullis_home::{
    clock::{SystemEntropy, system_clock},
    files::{self, Access},
    key_file,
    secret::Passphrase,
};

/// Persons of the demo: the same two at every node, so that one reader can act everywhere.
///
/// In service nobody is enrolled at two authorities, and nobody holds the keys of two persons.
pub struct People {
    administrator: Person,
    supervisor: Person,
}

/// A person with a key that is worth nothing outside of this demo.
struct Person {
    id: &'static str,
    name: &'static str,
    role: Role,
    seed: [u8; 32],
    key: SigningKey,
}

/// Files with which a reader acts as the demo's persons.
pub(super) struct KeyFiles {
    /// Key of the supervisor, who publishes and decides on what is held.
    pub(super) supervisor: PathBuf,
    /// Passphrase of both keys.
    pub(super) passphrase: PathBuf,
}

impl People {
    /// Makes the persons and their keys.
    #[must_use]
    pub fn make() -> Self {
        Self {
            administrator: Person::make(
                "administrator",
                "Administrator (demo)",
                Role::Administrator,
            ),
            supervisor: Person::make("supervisor", "Supervisor (demo)", Role::Supervisor),
        }
    }

    /// Enrols both at a node: the administrator first, who then enrols the supervisor.
    ///
    /// # Errors
    ///
    /// [`DemoError`] if the node refuses.
    pub async fn enrol(&self, node: &NodeProcess) -> Result<(), DemoError> {
        for person in [&self.administrator, &self.supervisor] {
            let body = json(&person.enrolment())?;
            let key = &self.administrator.key;
            let _: EnrolledView = act(node, key, Action::Enrol, BTreeMap::new(), body).await?;
        }
        Ok(())
    }

    /// Has a node carry out an act that the supervisor signs.
    ///
    /// # Errors
    ///
    /// [`DemoError`] if the node refuses.
    pub async fn act<T: DeserializeOwned>(
        &self,
        node: &NodeProcess,
        action: Action,
        parameters: BTreeMap<String, String>,
        body: Bytes,
    ) -> Result<T, DemoError> {
        act(node, &self.supervisor.key, action, parameters, body).await
    }

    /// Writes the keys of both into a folder, sealed under a passphrase that lies beside them.
    ///
    /// # Errors
    ///
    /// [`DemoError`] if a file cannot be written.
    pub(super) fn write(&self, folder: &Path) -> Result<KeyFiles, DemoError> {
        files::create_folder(folder)?;
        let passphrase = folder.join("passphrase");
        files::create(&passphrase, random_text().as_bytes(), Access::Owner)?;
        let opens = Passphrase::from_file(&passphrase)?;
        let path = |person: &Person| folder.join(format!("{}.key", person.id));
        for person in [&self.administrator, &self.supervisor] {
            key_file::keep(&path(person), KeyUse::Person, &person.seed, &opens)?;
        }
        Ok(KeyFiles {
            supervisor: path(&self.supervisor),
            passphrase,
        })
    }
}

impl Person {
    fn make(id: &'static str, name: &'static str, role: Role) -> Self {
        let mut seed = [0; 32];
        SystemEntropy::default().fill(&mut seed);
        Self {
            id,
            name,
            role,
            seed,
            key: SigningKey::from_seed(KeyUse::Person, seed),
        }
    }

    fn enrolment(&self) -> EnrolView {
        EnrolView {
            id: self.id.to_owned(),
            name: self.name.to_owned(),
            role: self.role.name().to_owned(),
            public_key: data_encoding::HEXLOWER.encode(&self.key.public().to_bytes()),
        }
    }
}

/// Returns a passphrase that nobody can guess.
pub(super) fn random_text() -> String {
    let mut bytes = [0; 24];
    SystemEntropy::default().fill(&mut bytes);
    data_encoding::HEXLOWER.encode(&bytes)
}

/// Writes the body of an act.
///
/// # Errors
///
/// [`DemoError::Json`].
pub fn json(view: &impl serde::Serialize) -> Result<Bytes, DemoError> {
    Ok(serde_json::to_vec(view).map_err(DemoError::Json)?.into())
}

async fn act<T: DeserializeOwned>(
    node: &NodeProcess,
    key: &SigningKey,
    action: Action,
    parameters: BTreeMap<String, String>,
    body: Bytes,
) -> Result<T, DemoError> {
    let mut nonce = [0; 16];
    SystemEntropy::default().fill(&mut nonce);
    let request = Request {
        federation: FEDERATION,
        node: node.member.node.as_str(),
        action,
        parameters,
        body: &body,
        at: system_clock()(),
        nonce,
    };
    let statement = act::sign(&request, key)?;
    node.client
        .act(&statement, body)
        .await
        .map_err(|source| DemoError::Client {
            node: node.member.node.to_string(),
            source,
        })
}
