//! `portcullis backup` and `portcullis restore`: make a backup of a node, and a node from a backup.

use std::{
    io,
    path::{Path, PathBuf},
};

use portcullis_protocol::{digest::Digest, keys::SigningKey};
use serde::Serialize;

use portcullis_admin_api::{
    act::Action,
    client::{Client, ClientError},
    v1::{
        backup::{BackupOrder, BackupStep},
        status::StatusView,
    },
};
use portcullis_backup as backup;
use portcullis_backup::{
    BackupError, BackupMade, Checked, Order, Progress, Restoring, Which,
    manifest::{Manifest, StoreSummary},
    signature::{Signed, Vouched},
};
use portcullis_cli::{
    Session,
    bar::Bar,
    error::CliError,
    exit::Exit,
    exit_codes,
    live::block_on,
    output::{Page, View},
    signing::{ActRequest, SigningArgs, have_done_in_steps},
};
use portcullis_home::{Home, clock::system_clock};
use portcullis_store_sqlite::Snapshot;

/// Back the node up, running or not, and check backups
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Back the node up: its store, configuration, register, policies and certificates into one folder, \
the table of wrapped keys and the node's sealed keys into another one. The two belong together and \
are kept apart: either alone opens nothing. The passphrase is in neither; keep it in a third place.

A running node does it itself and goes on serving; the folders are its user's. It is an act of an \
administrator, signed with `--key`. A node that does not run is backed up by this command, which needs \
the node's passphrase and no person's key. All is read again and checked before the folders get their names, \
so that a folder with its name is whole. Existing folders are refused.

`portcullis backup verify DIR` checks a backup.",
    after_long_help = "\
Examples:
  portcullis backup --to /backup/data/monday --keys-to /safe/keys/monday --key anna.key
  portcullis backup verify /backup/data/monday --keys /safe/keys/monday",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub(super) struct Backup {
    #[command(flatten)]
    targets: Option<Targets>,
    #[command(flatten)]
    signing: SigningArgs,
    #[command(subcommand)]
    command: Option<BackupCommand>,
}

/// Where a backup goes.
#[derive(Debug, clap::Args)]
struct Targets {
    /// The folder of the data, which is made
    #[arg(long, value_name = "DIR", required = true)]
    to: PathBuf,
    /// The folder of the keys, which is made, in another place
    #[arg(long, value_name = "DIR", required = true)]
    keys_to: PathBuf,
}

#[derive(Debug, clap::Subcommand)]
enum BackupCommand {
    Verify(BackupVerify),
}

/// Check a backup: its signature, every digest, and the databases themselves
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Check a backup: the node's signature on its manifest, every file against the digest there, the \
databases for damage, and, with `--keys`, that data and keys are of one backup and no record lacks its \
key. Needs no passphrase.

The signature is checked with the node's log key as the register in the backup lists it, and with the \
key that the manifest of the keys names. With `--pin` that register must begin with the epoch of this \
digest, so that nobody can have replaced it all.

Exit code 1 if the backup is damaged or not what the node signed, 3 if it is none.",
    after_long_help = "\
Examples:
  portcullis backup verify /backup/data/monday
  portcullis backup verify /backup/data/monday --keys /safe/keys/monday --json"
)]
struct BackupVerify {
    /// The folder of the data
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The folder of the keys
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// The digest of the first epoch of the federation's register, as it is known from elsewhere
    #[arg(long, value_name = "DIGEST")]
    pin: Option<Digest>,
}

/// Make a node's home from a backup
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Make a node's home from a backup. Signature and digests are checked before anything is put in place; a home \
that is there, and data and keys that are not of one backup, are refused.

The node knows that it was restored: at its first start it begins a new generation before it signs \
or sends anything, and then finds out from its peers what it has forgotten. Never start the old \
home and the restored one: two nodes with one node's keys are a fork.",
    after_long_help = "\
Example:
  portcullis restore --from /backup/data/monday --keys /safe/keys/monday --home /var/lib/portcullis"
)]
pub(super) struct Restore {
    /// The folder of the data
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The folder of the keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// The digest of the first epoch of the federation's register, as it is known from elsewhere
    #[arg(long, value_name = "DIGEST")]
    pin: Option<Digest>,
}

impl Backup {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        match (self.command, self.targets) {
            (Some(BackupCommand::Verify(command)), _) => command.run(session),
            (None, Some(targets)) => targets.run(session, &self.signing),
            (None, None) => Err(CliError::usage("nothing says where the backup goes")
                .remedy("name the folders with `--to DIR` and `--keys-to DIR`")),
        }
    }
}

impl Targets {
    fn run(self, session: &Session, signing: &SigningArgs) -> Result<(), CliError> {
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|error| {
                CliError::invalid(format!("`{}` cannot be found", path.display())).because(&error)
            })
        };
        let order = BackupOrder {
            to: absolute(&self.to)?,
            keys_to: absolute(&self.keys_to)?,
        };
        let mut bar = Bar::new(session);
        let client = session.client()?;
        let taken = if block_on(is_running(&client))? {
            let key = signing.open()?;
            block_on(ask(&client, &key, &order, &mut bar))?
        } else {
            of_stopped(Home::new(session.home()?), &order, &mut bar)?
        };
        bar.end();
        session.output.show(&TakenView {
            to: order.to,
            keys_to: order.keys_to,
            manifest: taken.data,
        })
    }
}

/// Returns true if a node answers.
async fn is_running(client: &Client) -> Result<bool, CliError> {
    match client.get::<StatusView>("/v1/status").await {
        Ok(_) => Ok(true),
        Err(ClientError::NotThere(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Has the running node make the backup, by an act signed with `key`.
async fn ask(
    client: &Client,
    key: &SigningKey,
    order: &BackupOrder,
    bar: &mut Bar,
) -> Result<BackupMade, CliError> {
    let deed = ActRequest::of(Action::Backup, order)?;
    let remedy = unanswered(order);
    let step = |step: BackupStep<Manifest>| match step {
        BackupStep::Progress { phase, done, of } => {
            bar.at(&phase, done, of);
            None
        }
        BackupStep::Taken { data, keys } => Some(Ok(BackupMade {
            data: *data,
            keys: *keys,
        })),
        BackupStep::Failed { invalid, problem } => {
            let exit = if invalid { Exit::Invalid } else { Exit::Failed };
            Some(Err(CliError::new(exit, problem.message)))
        }
    };
    have_done_in_steps(client, key, deed, &remedy, step).await?
}

/// Tells what to do if the node does not say whether it made the backup. It may be whole.
fn unanswered(order: &BackupOrder) -> String {
    let (to, keys_to) = (order.to.display(), order.keys_to.display());
    format!(
        "look whether it is whole with `portcullis backup verify {to} --keys {keys_to}`; if it is not, name other folders and make it again"
    )
}

fn of_stopped(home: Home, order: &BackupOrder, bar: &mut Bar) -> Result<BackupMade, CliError> {
    let now = system_clock()();
    let order = Order {
        key: backup::log_key(&home, now).map_err(|error| refused(&error))?,
        home,
        to: order.to.clone(),
        keys_to: order.keys_to.clone(),
        now,
        act: None,
    };
    let data = order.home.data();
    backup::take(&order, || Snapshot::of_folder(&data), &mut |progress| {
        tell(bar, progress)
    })
    .map_err(|error| refused(&error))
}

impl BackupVerify {
    fn run(self, session: &Session) -> Result<(), CliError> {
        let mut bar = Bar::new(session);
        let which = Which {
            from: &self.dir,
            keys: self.keys.as_deref(),
            pin: self.pin.as_ref(),
        };
        let checked = backup::verify(which, &mut |progress| tell(&mut bar, progress));
        let Checked { data, keys, signed } = checked.map_err(|error| refused(&error))?;
        bar.end();
        session.output.show(&CheckedView {
            dir: self.dir,
            keys_checked: keys.is_some(),
            signed,
            manifest: data,
        })
    }
}

impl Restore {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let order = Restoring {
            from: self.from,
            keys: self.keys,
            pin: self.pin,
            home: Home::new(session.home()?),
        };
        let mut bar = Bar::new(session);
        let Checked {
            data,
            keys: _,
            signed,
        } = backup::restore(&order, &mut |progress| tell(&mut bar, progress))
            .map_err(|error| refused(&error))?;
        bar.end();
        session.output.show(&RestoredView {
            home: order.home.folder().to_owned(),
            signed,
            manifest: data,
        })
    }
}

fn refused(error: &BackupError) -> CliError {
    let exit = if let BackupError::File(file) = error {
        exit_codes::of_file(file)
    } else if error.is_invalid() {
        Exit::Invalid
    } else {
        Exit::Failed
    };
    // A damaged backup is told of in the words of what reads its parts.
    if matches!(error, BackupError::Damaged(_)) {
        exit_codes::told_at_the_end(exit, error)
    } else {
        exit_codes::told(exit, error)
    }
}

fn tell(bar: &mut Bar, progress: Progress) {
    bar.at(progress.phase.name(), progress.done, progress.of);
}

/// A backup that was made, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct TakenView {
    to: PathBuf,
    keys_to: PathBuf,
    manifest: Manifest,
}

impl View for TakenView {
    const SCHEMA: &'static str = "portcullis/backup-taken/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.line(format!("backup of {}", self.manifest.node))?;
        let mut pairs = vec![
            ("data", self.to.display().to_string()),
            ("keys", self.keys_to.display().to_string()),
        ];
        pairs.extend(summary(&self.manifest));
        page.pairs(&pairs)
    }
}

/// A backup that was found whole, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct CheckedView {
    dir: PathBuf,
    keys_checked: bool,
    signed: Signed,
    manifest: Manifest,
}

impl View for CheckedView {
    const SCHEMA: &'static str = "portcullis/backup-verified/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.line(format!(
            "the backup of {} in {} is whole",
            self.manifest.node,
            self.dir.display()
        ))?;
        let mut pairs = summary(&self.manifest);
        let keys = if self.keys_checked {
            "of the same backup, and complete"
        } else {
            "not looked at; name them with `--keys`"
        };
        pairs.push(("keys", keys.to_owned()));
        pairs.extend(vouched(&self.signed));
        page.pairs(&pairs)
    }
}

/// A home that was made, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct RestoredView {
    home: PathBuf,
    signed: Signed,
    manifest: Manifest,
}

impl View for RestoredView {
    const SCHEMA: &'static str = "portcullis/restored/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.line(format!(
            "{} is restored in {}",
            self.manifest.node,
            self.home.display()
        ))?;
        let mut pairs = summary(&self.manifest);
        pairs.extend(vouched(&self.signed));
        page.pairs(&pairs)?;
        page.line("start it with `portcullis run`; its old home must not run any more")
    }
}

/// Returns the pairs that tell who signed a backup, and what the trust in that signature rests on.
fn vouched(signed: &Signed) -> [(&'static str, String); 2] {
    let by = match &signed.vouched {
        Vouched::Register(epoch) => format!("which the register lists since epoch {epoch}"),
        Vouched::Keys => "which the manifest of the keys names".to_owned(),
        Vouched::Nobody => {
            "which nobody vouches for, so that it was not checked; name the keys with `--keys`"
                .to_owned()
        }
    };
    [
        ("signed", format!("by the log key {:.16}, {by}", signed.key)),
        ("register pin", signed.pin.clone()),
    ]
}

fn summary(manifest: &Manifest) -> Vec<(&'static str, String)> {
    let mut pairs = vec![
        ("taken", manifest.made_at.clone()),
        (
            "files",
            format!("{}, {} bytes", manifest.files.len(), manifest.bytes()),
        ),
    ];
    if let Some(StoreSummary {
        generation,
        register_epoch,
        log_end,
        positions: _,
    }) = &manifest.store
    {
        pairs.push(("record log", format!("up to {log_end}")));
        pairs.push(("register", format!("epoch {register_epoch}")));
        pairs.push(("generation", generation.clone()));
    }
    pairs
}
