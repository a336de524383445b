//! Signing acts with a person's key.
//!
//! The key alone identifies the person who acts; there is no option to give a name. The passphrase
//! is asked for at the terminal, or read from a file that only its owner can read.

use std::{collections::BTreeMap, path::PathBuf};

use bytes::Bytes;
use portcullis_protocol::keys::{KeyUse, SigningKey};
use serde::{Serialize, de::DeserializeOwned};

use crate::{error::CliError, exit::Exit};
use portcullis_admin_api::{
    act::{self, Action, Request},
    client::{Client, CutShort},
    v1::status::StatusView,
};
use portcullis_home::{clock::system_clock, key_file, secret::Passphrase};

/// The environment variable that names a person's key file.
const KEY_VARIABLE: &str = "PORTCULLIS_PERSON_KEY";

/// The environment variable that names the file with that key's passphrase.
const PASSPHRASE_VARIABLE: &str = "PORTCULLIS_PERSON_PASSPHRASE_FILE";

/// With which key to sign.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Who signs")]
pub struct SigningArgs {
    /// The person's key file [default: $PORTCULLIS_PERSON_KEY]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A file with the key's passphrase on its first line; without it you are asked
    /// [default: $PORTCULLIS_PERSON_PASSPHRASE_FILE]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// An act that a person signs and a node carries out.
#[derive(Debug)]
pub struct ActRequest {
    /// Action.
    pub action: Action,
    /// Parameters of the action.
    pub parameters: BTreeMap<String, String>,
    /// Body of the request.
    pub body: Bytes,
}

impl ActRequest {
    /// Makes an act with this body and no parameters.
    pub fn new(action: Action, body: impl Into<Bytes>) -> Self {
        Self {
            action,
            parameters: BTreeMap::new(),
            body: body.into(),
        }
    }
}

impl ActRequest {
    /// Makes an act with this value as its JSON body, and no parameters.
    ///
    /// # Errors
    ///
    /// [`CliError`] if the value cannot be written.
    pub fn of(action: Action, body: &impl Serialize) -> Result<Self, CliError> {
        let body = serde_json::to_vec(body)
            .map_err(|error| CliError::failed("the act cannot be written").because(&error))?;
        Ok(Self::new(action, body))
    }
}

impl SigningArgs {
    /// Opens the person's key.
    ///
    /// # Errors
    ///
    /// [`CliError`] if no key is named, or the key does not open.
    pub fn open(&self) -> Result<SigningKey, CliError> {
        let file = self
            .key
            .clone()
            .or_else(|| named(KEY_VARIABLE))
            .ok_or_else(|| {
                CliError::usage("nothing says with whose key to sign").remedy(format!(
                    "name a person's key with `--key FILE`, or set {KEY_VARIABLE}"
                ))
            })?;
        let question = format!("passphrase of {}", file.display());
        let passphrase_file = self
            .passphrase_file
            .clone()
            .or_else(|| named(PASSPHRASE_VARIABLE));
        let passphrase = Passphrase::given_or_asked(passphrase_file.as_deref(), &question)?;
        Ok(key_file::open(&file, KeyUse::Person, &passphrase)?)
    }
}

/// Returns the path in a variable of the environment. An empty one counts as none.
fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// Signs an act and has the node behind `client` carry it out.
///
/// # Errors
///
/// [`CliError`] if the node does not answer, or refuses.
pub async fn have_done<T: DeserializeOwned>(
    client: &Client,
    key: &SigningKey,
    deed: ActRequest,
) -> Result<T, CliError> {
    let (statement, body) = signed(client, key, deed).await?;
    let answer = client.act_until_answered(&statement, body).await;
    answer.map_err(|error| {
        if !error.is_unanswered() {
            return error.into();
        }
        CliError::failed("the node did not say whether the act was carried out")
            .because(&error)
            .remedy("look at its log; before you sign it again, see `portcullis log acts`")
    })
}

/// Signs an act and has the node behind `client` carry it out; the answer comes line by line. `step` is
/// given every line, and returns the end if it is the last one. `remedy` tells what to do if the node
/// does not say whether it did it.
///
/// # Errors
///
/// [`CliError`] if the node does not answer, or refuses.
pub async fn have_done_in_steps<T: DeserializeOwned, E>(
    client: &Client,
    key: &SigningKey,
    deed: ActRequest,
    remedy: &str,
    step: impl FnMut(T) -> Option<E>,
) -> Result<E, CliError> {
    let (statement, body) = signed(client, key, deed).await?;
    let ended = client.act_lines_until_ended(&statement, body, step).await;
    ended.map_err(|error| match error {
        CutShort::NotBegun(error) => error.into(),
        CutShort::Unanswered(cause) => {
            let error = CliError::failed("the node did not say whether the act was carried out");
            let error = match &cause {
                Some(cause) => error.because(cause),
                None => error,
            };
            error.remedy(remedy)
        }
    })
}

/// Returns the statement of an act for the node behind `client`, and the act's body.
async fn signed(
    client: &Client,
    key: &SigningKey,
    deed: ActRequest,
) -> Result<(String, Bytes), CliError> {
    let status: StatusView = client.get("/v1/status").await?;
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce)
        .map_err(|error| CliError::failed("the system gives no random bytes").because(&error))?;
    let request = Request {
        federation: &status.federation,
        node: &status.node,
        action: deed.action,
        parameters: deed.parameters,
        body: &deed.body,
        at: system_clock()(),
        nonce,
    };
    let statement =
        act::sign(&request, key).map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    Ok((statement, deed.body))
}
