//! Persons who act in the demo: an administrator and an analyst at each node, with keys of their
//! own. Every act of the demo is a statement that one of them signs.

use std::collections::BTreeMap;

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
use portcullis_home::clock::{SystemEntropy, system_clock};

/// The analyst of one node.
pub struct Analyst(SigningKey);

impl Analyst {
    /// Enrols the first administrator of a node, who then enrols this analyst.
    ///
    /// # Errors
    ///
    /// [`DemoError`] if the node refuses.
    pub async fn enrol(node: &NodeProcess) -> Result<Self, DemoError> {
        let (administrator, analyst) = (person_key(), person_key());
        let first = enrolment(
            "admin",
            "Administrator (demo)",
            Role::Administrator,
            &administrator,
        );
        let second = enrolment("analyst", "Analyst (demo)", Role::Analyst, &analyst);
        for view in [first, second] {
            let body = json(&view)?;
            let _: EnrolledView =
                act(node, &administrator, Action::Enrol, BTreeMap::new(), body).await?;
        }
        Ok(Self(analyst))
    }

    /// Has the node carry out an act that the analyst signs.
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
        act(node, &self.0, action, parameters, body).await
    }
}

/// Writes the body of an act.
///
/// # Errors
///
/// [`DemoError::Json`].
pub fn json(view: &impl serde::Serialize) -> Result<Bytes, DemoError> {
    Ok(serde_json::to_vec(view).map_err(DemoError::Json)?.into())
}

fn person_key() -> SigningKey {
    let mut seed = [0; 32];
    SystemEntropy::default().fill(&mut seed);
    SigningKey::from_seed(KeyUse::Person, seed)
}

fn enrolment(id: &str, name: &str, role: Role, key: &SigningKey) -> EnrolView {
    EnrolView {
        id: id.to_owned(),
        name: name.to_owned(),
        role: role.name().to_owned(),
        public_key: data_encoding::HEXLOWER.encode(&key.public().to_bytes()),
    }
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
