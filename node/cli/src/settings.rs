//! `portcullis settings`: shows which trust settings differ from the accepted ones, and accepts them.

use std::{collections::BTreeMap, io};

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Page, View},
    signing::{ActRequest, SigningArgs, have_done},
};
use portcullis_admin_api::{
    act::Action,
    v1::settings::{AcceptedView, SettingsView},
};

/// Fewest characters of a digest that name the settings.
const SHORTEST: usize = 12;

/// Show the settings that decide, and which of them nobody accepted
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Show which of the settings that decide differ from the accepted ones: who the node is, the pin of its \
register, the access to its socket, limits, exercises, and every file in `policy/`. What was accepted \
lies sealed with the node's keys; paths, addresses and the log change without acceptance.

A node that starts with other settings than the accepted ones is shut: nobody is connected to it. Put \
the files back and reload, or accept what is shown.",
    after_long_help = "\
Example:
  portcullis settings show"
)]
pub(super) struct SettingsShow {}

impl SettingsShow {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let found: SettingsView = block_on(async { Ok(client.get("/v1/settings").await?) })?;
        session.output.show(&found)
    }
}

/// Accept the settings that lie in the node's home
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Accept the settings that lie in the node's home, as `portcullis settings show` showed them, and put \
them in force. They are loaded and checked first, seal with the node's keys, and open a node that is \
shut. What needs a restart counts from the next start. It is an act of an administrator.",
    after_long_help = "\
Example:
  portcullis settings show
  portcullis settings accept 5f1c20d4a7e9 --key admin.key"
)]
pub(super) struct SettingsAccept {
    /// The digest that `settings show` shows; at least 12 characters of it
    #[arg(value_name = "DIGEST")]
    digest: String,
    #[command(flatten)]
    signing: SigningArgs,
}

impl SettingsAccept {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        if self.digest.len() < SHORTEST {
            return Err(CliError::invalid(format!(
                "name the settings with {SHORTEST} characters of their digest or more"
            )));
        }
        let client = session.client()?;
        let key = self.signing.open()?;
        let accepted: AcceptedView = block_on(async {
            let found: SettingsView = client.get("/v1/settings").await?;
            if !found.digest.starts_with(&self.digest) {
                return Err(CliError::invalid(format!(
                    "the settings in the home are {:.12}, not those that you name",
                    found.digest
                ))
                .remedy("look at them with `portcullis settings show`"));
            }
            let deed = ActRequest {
                parameters: BTreeMap::from([
                    ("digest".to_owned(), found.digest),
                    ("serial".to_owned(), found.serial.to_string()),
                ]),
                ..ActRequest::new(Action::AcceptSettings, "")
            };
            have_done(&client, &key, deed).await
        })?;
        session.output.show(&accepted)
    }
}

impl View for SettingsView {
    const SCHEMA: &'static str = "portcullis/settings/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!("settings {:.12}: {}", self.digest, self.standing))?;
        if self.shut {
            page.line("  the node is shut: nobody is connected")?;
        }
        let default = || "default".to_owned();
        for change in &self.changes {
            page.line(format!(
                "  {}: {} -> {}",
                change.name,
                change.old.clone().unwrap_or_else(default),
                change.new.clone().unwrap_or_else(default)
            ))?;
        }
        if !self.changes.is_empty() {
            page.line(format!(
                "  register: epoch {}, {:.12}",
                self.register_epoch, self.register_digest
            ))?;
            page.line(format!("  persons: {}", self.persons.join(", ")))?;
            let advice = self
                .r#do
                .clone()
                .unwrap_or_else(|| format!("portcullis settings accept {:.12}", self.digest));
            page.line(format!("           do: {advice}"))?;
        }
        Ok(())
    }
}

impl View for AcceptedView {
    const SCHEMA: &'static str = "portcullis/settings-accepted/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.line(format!("accepted: settings {:.12}", self.digest))?;
        if self.waiting.is_empty() {
            return Ok(());
        }
        page.line(format!(
            "restart the node, so that these count: {}",
            self.waiting.join(", ")
        ))
    }
}
