//! `portcullis federation freshness`, `suspend` and `carry`: statements that any node passes on to
//! others.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use data_encoding::BASE64;
use portcullis_protocol::{
    freshness::{Freshness, SignedFreshness},
    identifiers::AuthorityId,
    keys::KeyUse,
    register::VerifiedRegister,
    rules::Rule,
    suspension::{MAX_SUSPENSION_MS, Suspension, VerifiedSuspension, encode},
    verify::Refusal,
};
use serde::Serialize;

use super::{
    super::{
        Session,
        error::CliError,
        exit::Exit,
        live::block_on,
        output::{Page, View},
    },
    GovernanceKey,
};
use portcullis_admin_api::{
    client::ClientError,
    v1::trust::{StatementView, TakenView},
};
use portcullis_home::{
    Home,
    clock::system_clock,
    config::{Config, duration::parse_duration},
    files::{self, Access},
    key_file,
    membership::load_chain,
    secret::Passphrase,
};

/// Say that the register is the newest
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Say that the register is the newest: a statement that holds for 48 hours, signed with a freshness \
key, which the register lists. The running node takes it up and passes it on to every member.

A node whose configuration names a freshness key says so by itself (`[freshness]`). Where the \
register asks for several signatures, write the statement to a file and let each holder add theirs.",
    after_long_help = "\
Examples:
  portcullis federation freshness --key online.key
  portcullis federation freshness --key one.key --out fresh
  portcullis federation freshness --key two.key --statement fresh --out fresh"
)]
pub(crate) struct FreshnessCommand {
    /// The file of the freshness key, made by `portcullis federation key --use freshness`
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// A file with the key's passphrase on its first line; without it you are asked
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// A statement to which the signature is added
    #[arg(long, value_name = "FILE")]
    statement: Option<PathBuf>,
    /// Where to write the statement
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl FreshnessCommand {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let register = register(session)?;
        let now = system_clock()();
        let mut statement = match &self.statement {
            None => SignedFreshness::unsigned(&Freshness::of(&register, now)),
            Some(path) => {
                SignedFreshness::decode(&files::read(path)?).map_err(|it| refused(&it))?
            }
        };
        let question = format!("passphrase of {}", self.key.display());
        let passphrase = Passphrase::given_or_asked(self.passphrase_file.as_deref(), &question)?;
        let key = key_file::open(&self.key, KeyUse::Freshness, &passphrase)?;
        statement
            .sign(&key)
            .map_err(|error| CliError::from_error(Exit::Failed, &error))?;
        let checked = statement.clone().verify(&register, now);
        let complete = match (checked, &self.out) {
            (Ok(_), _) => true,
            (Err(refusal), Some(_)) if refusal.rule == Rule::FreshnessSignatures => false,
            (Err(refusal), _) => return Err(refused(&refusal)),
        };
        let bytes = statement.encode();
        write(self.out.as_deref(), &bytes)?;
        let freshness = statement.unverified().map_err(|it| refused(&it))?;
        session.output.show(&StatementShown {
            what: "freshness",
            about: format!("epoch {}", freshness.epoch),
            until: freshness.valid_until.to_string(),
            complete,
            taken: if complete {
                hand_over(session, "/v1/freshness", &bytes)?
            } else {
                None
            },
        })
    }
}

/// Put a member out for a while
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Put a member out for a while: signed with one governance key, for 72 hours at most. The running \
node takes it up and passes it on. At every member, connections with the authority close, nothing \
is released to it, and what it delivers or made is refused for now; when it ends, everything goes \
on where it stopped.

One key suspends an authority once in an epoch. Signed again with an end that is sooner, it is \
shortened; it is never prolonged.",
    after_long_help = "\
Example:
  portcullis federation suspend nl-terminal --for 24h --reason 'its node was taken' --key anna.key"
)]
pub(crate) struct Suspend {
    /// The member
    #[arg(value_name = "AUTHORITY")]
    authority: AuthorityId,
    /// For how long, at most 72h
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    lasts: Duration,
    /// Why, for people
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    key: GovernanceKey,
    /// Where to write the statement, for another node to carry
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    let longest = Duration::from_millis(MAX_SUSPENSION_MS.unsigned_abs());
    if duration > longest {
        return Err("a suspension lasts 72h at most; for longer, sign a new register".to_owned());
    }
    Ok(duration)
}

impl Suspend {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let register = register(session)?;
        let now = system_clock()();
        let lasts = i64::try_from(self.lasts.as_millis()).unwrap_or(MAX_SUSPENSION_MS);
        let suspension = Suspension {
            federation: register.register().federation.clone(),
            authority: self.authority,
            epoch: register.register().epoch,
            from: now,
            until: now.plus_millis(lasts),
            reason: self.reason,
        };
        let key = self.key.open()?;
        let signed = suspension
            .sign(&key)
            .map_err(|error| CliError::from_error(Exit::Failed, &error))?;
        let bytes = encode(&signed);
        VerifiedSuspension::verify(&bytes, register.register()).map_err(|it| refused(&it))?;
        write(self.out.as_deref(), &bytes)?;
        session.output.show(&StatementShown {
            what: "suspension",
            about: suspension.authority.to_string(),
            until: suspension.until.to_string(),
            complete: true,
            taken: hand_over(session, "/v1/suspensions", &bytes)?,
        })
    }
}

/// Hand a statement that was made elsewhere to the running node
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Hand a freshness statement or a suspension that was made elsewhere to the running node, which takes \
it up and passes it on to every member. It carries its own signatures: nobody signs this.",
    after_long_help = "\
Example:
  portcullis federation carry fresh"
)]
pub(crate) struct Carry {
    /// The statement
    #[arg(value_name = "FILE")]
    statement: PathBuf,
}

impl Carry {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let bytes = files::read(&self.statement)?;
        let freshness = SignedFreshness::decode(&bytes).and_then(|signed| signed.unverified());
        let shown = match freshness {
            Ok(freshness) => StatementShown {
                what: "freshness",
                about: format!("epoch {}", freshness.epoch),
                until: freshness.valid_until.to_string(),
                complete: true,
                taken: hand_over(session, "/v1/freshness", &bytes)?,
            },
            Err(_) => {
                let register = register(session)?;
                let held = VerifiedSuspension::verify(&bytes, register.register())
                    .map_err(|it| refused(&it))?;
                StatementShown {
                    what: "suspension",
                    about: held.suspension().authority.to_string(),
                    until: held.suspension().until.to_string(),
                    complete: true,
                    taken: hand_over(session, "/v1/suspensions", &bytes)?,
                }
            }
        };
        if shown.taken.is_none() {
            return Err(CliError::failed("no node runs here that could carry it")
                .remedy("start it with `portcullis run`, or use another member's node"));
        }
        session.output.show(&shown)
    }
}

/// Returns the register in the home of the named node.
fn register(session: &Session) -> Result<VerifiedRegister, CliError> {
    let home = Home::new(session.home()?);
    let config = Config::of(&home)?;
    Ok(load_chain(&home, &config.register_pin)?)
}

fn refused(refusal: &Refusal) -> CliError {
    CliError {
        rule: Some(refusal.rule.id().to_owned()),
        ..CliError::new(Exit::Denied, refusal.to_string()).remedy(refusal.rule.remedy())
    }
}

fn write(path: Option<&Path>, bytes: &[u8]) -> Result<(), CliError> {
    if let Some(path) = path {
        files::replace(path, bytes, Access::Everyone)?;
    }
    Ok(())
}

/// Hands a statement to the running node. Returns true if it was new there; `None` if no node runs.
fn hand_over(session: &Session, path: &str, bytes: &[u8]) -> Result<Option<bool>, CliError> {
    let client = session.client()?;
    let view = StatementView {
        statement: BASE64.encode(bytes),
    };
    block_on(async {
        match client.post::<_, TakenView>(path, &view).await {
            Ok(taken) => Ok(Some(taken.new)),
            Err(ClientError::NotThere(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
}

/// A statement that was made or carried, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct StatementShown {
    what: &'static str,
    about: String,
    until: String,
    complete: bool,
    /// True if the statement was new to the running node; `None` if none runs or signatures are
    /// missing.
    taken: Option<bool>,
}

impl View for StatementShown {
    const SCHEMA: &'static str = "portcullis/trust-statement/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.line(format!(
            "{} of {} until {}",
            self.what, self.about, self.until
        ))?;
        page.line(match (self.complete, self.taken) {
            (false, _) => "more signatures are needed: let another holder add theirs",
            (true, Some(true)) => "the running node passes it on to every member",
            (true, Some(false)) => "the running node had it, or a newer one",
            (true, None) => "no node runs here: hand it to one with `portcullis federation carry`",
        })
    }
}
