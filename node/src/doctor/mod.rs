//! Diagnosis of a node: finds what is wrong and what to do, from facts and without a running node.
//!
//! ```text
//! inspect(home, now) ─▶ Facts ─▶ diagnose ─▶ findings, the errors first
//! ```
//!
//! [`inspect`] only reads; [`diagnose`] is a pure function. An error keeps the node from starting
//! or from being believed by peers. A warning will become an error, or weakens the protection of
//! the node.

mod inspect;

use std::path::PathBuf;

use portcullis_protocol::{
    freshness::Stage, identifiers::AuthorityId, keys::KeyUse, time::Timestamp,
};

pub use inspect::inspect;

use portcullis_home::secret::KeyPlace;
use portcullis_kernel::{
    disk::Space,
    health::disk_problem,
    outlook::{Dependency, Subject, Urgency},
};
use portcullis_peering::term::Term;

/// Time in milliseconds by which the clock may be behind the time of issue of the register.
const CLOCK_SLACK_MS: i64 = 5 * 60_000;

/// Age in milliseconds from which on the latest backup is an old one.
const BACKUP_OLD_MS: i64 = 7 * 24 * 3_600_000;

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The node does not start, or no peer believes it.
    Error,
    /// The node works, but not for long, or not as safely as it could.
    Warning,
    /// The subject is as it should be.
    Good,
}

impl Severity {
    /// Returns the severity as it is printed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Good => "good",
        }
    }
}

/// A finding of the diagnosis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Severity.
    pub severity: Severity,
    /// Subject, in a word.
    pub about: &'static str,
    /// Description of the state.
    pub what: String,
    /// Advice; empty if there is nothing to do.
    pub advice: String,
}

/// Facts about a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The present, by this machine's clock.
    pub now: Timestamp,
    /// Files and folders that others than the node's owner can read and should not.
    pub exposed: Vec<Exposed>,
    /// Facts of the node, or the reason why there is no node.
    pub node: Result<NodeFacts, String>,
}

/// A file or folder that is open to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// Path of the file or folder.
    pub path: PathBuf,
    /// Present mode.
    pub mode: u32,
    /// Mode that it should have.
    pub should: u32,
}

/// Facts about a node whose configuration is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// Place of the passphrase in relation to the home; `None` if it cannot be seen.
    pub key_place: Option<KeyPlace>,
    /// State of the sealed keys.
    pub keys: KeysFact,
    /// Presence of the store's files, or a description of the fault.
    pub store: Result<(), String>,
    /// State of the register in the home.
    pub register: RegisterFact,
    /// State of the node's certificate.
    pub certificate: CertificateFact,
    /// State of the revocation lists.
    pub revocation: Revocation,
    /// Validity of the policies, or a description of the fault.
    pub policy: Result<(), String>,
    /// Names in the folder of policies that are not read.
    pub unread: Vec<String>,
    /// Validity of `schema.toml`, or a description of the fault.
    pub schema: Result<(), String>,
    /// Number of bytes by which the path of the home is too long for the socket.
    pub too_long_by: Option<usize>,
    /// Trust settings of the home, compared with those that lie sealed with the keys.
    pub settings: SettingsFact,
    /// State of the admin socket.
    pub socket: SocketFact,
    /// Freshness of the register, by its own time of issue or as the running node reports it.
    pub freshness: Stage,
    /// Things that end by themselves, as seen from outside, the nearest end first.
    pub dependencies: Vec<Dependency>,
    /// Free space on the disk of the store; `None` if the system does not tell, or the running node
    /// does.
    pub space: Option<Space>,
    /// Parts of its work that the running node does not do, each with what to do.
    pub hindered: Vec<(String, String)>,
    /// Newer keys that the register does not list yet, by their use.
    pub keys_waiting: Vec<KeyUse>,
    /// Time of the latest backup, if the running node knows of one; `None` if it was not asked.
    pub last_backup: Option<Option<Timestamp>>,
    /// Stored things that are not what was written, in words, if all of them were checked.
    pub checked: Option<Result<Vec<String>, String>>,
    /// Problems that the running node reports, each with what to do.
    pub reported: Vec<(String, String)>,
}

/// State of the node's sealed keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysFact {
    /// The keys open.
    Open,
    /// The keys do not open.
    Closed(String),
    /// The passphrase is a systemd credential, which systemd gives only to the service.
    OutOfReach,
}

/// Comparison of the trust settings in the home with those that lie sealed with the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingsFact {
    /// The settings are those that were accepted.
    Accepted,
    /// The keys hold no settings: nobody has accepted any.
    Unsealed,
    /// The settings differ, each in words.
    Changed(Vec<String>),
    /// The settings cannot be compared while the keys do not open.
    Unchecked,
}

/// State of the register in the home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterFact {
    /// There is no register.
    Missing,
    /// The register does not verify.
    Refused(String),
    /// The register verifies.
    Held {
        /// Number of the newest epoch.
        epoch: u64,
        /// Time at which that epoch was issued.
        issued_at: Timestamp,
        /// Listing of this node, compared with the keys that it has.
        listed: Listed,
    },
}

/// Listing of this node in the register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// The node is not listed.
    No,
    /// The node is listed with other keys than it has, or under another authority or name.
    Otherwise,
    /// The node is listed as it is.
    Yes,
}

/// State of the node's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateFact {
    /// There is no certificate.
    Missing,
    /// The certificate cannot be checked while the keys do not open.
    Unchecked,
    /// Peers would not believe the certificate.
    Unfit(String),
    /// The certificate is a worthless development one, and the federation is a real one (RG-09).
    Development,
    /// Peers believe the certificate during its term.
    Fit {
        /// First and last second of its validity.
        term: Term,
    },
}

/// State of the revocation lists in the home.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Revocation {
    /// The lists that count, one entry for each member authority.
    pub authorities: Vec<RevocationFact>,
    /// Files that hold no list that counts, in words.
    pub faults: Vec<String>,
    /// Files that can be removed, in words.
    pub idle: Vec<String>,
}

/// The revocation lists for the nodes of one authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationFact {
    /// Id of the authority.
    pub authority: AuthorityId,
    /// Term in which its list is valid; `None` if there is no list.
    pub term: Option<Term>,
}

/// State of the admin socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketFact {
    /// There is no socket: the node does not run.
    Absent,
    /// The socket exists, and nobody answers on it.
    Dead,
    /// A node answers on the socket.
    Answers,
}

/// Returns the findings, the errors first.
#[must_use]
pub fn diagnose(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = facts.exposed.iter().map(exposed).collect();
    match &facts.node {
        Err(reason) => findings.push(error("configuration", reason, "")),
        Ok(node) => {
            findings.push(good("configuration", "it holds"));
            findings.extend(key(node));
            findings.push(of_result("store", &node.store, "its files are there", ""));
            findings.extend(register(&node.register, facts.now));
            findings.push(certificate(&node.certificate, facts.now));
            findings.extend(revocation(&node.revocation, facts.now));
            findings.push(of_result("policy", &node.policy, "it holds", POLICY));
            findings.extend(node.unread.iter().map(|name| unread(name)));
            findings.push(of_result("schema", &node.schema, "it holds", SCHEMA));
            findings.extend(node.too_long_by.map(too_long));
            findings.extend(settings(&node.settings));
            findings.extend(node.checked.iter().flat_map(checked));
            findings.push(socket(&node.socket));
            findings.extend(node.space.and_then(space));
            findings.extend(freshness(node.freshness));
            findings.extend(ends(&node.dependencies, facts.now));
            findings.extend(keys_waiting(&node.keys_waiting));
            findings.extend(node.last_backup.map(|taken| backup(taken, facts.now)));
            let hindered = node.hindered.iter();
            findings.extend(hindered.map(|(what, advice)| warning("node", what, advice)));
            let reported = node.reported.iter();
            findings.extend(reported.map(|(what, advice)| error("node", what, advice)));
        }
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

const POLICY: &str = "correct it, and check it with `portcullis policy check`";
const SCHEMA: &str = "correct `schema.toml`: with it the node does not start";
const RENEW: &str =
    "have the authority's own CA sign `tls/csr.pem`, then run `portcullis tls install FILE`";

fn unread(name: &str) -> Finding {
    warning(
        "policy",
        &format!("`{name}` is not read"),
        "give it a name that ends in `.cedar`, or take it out of `policy/`",
    )
}

fn too_long(over: usize) -> Finding {
    error(
        "socket",
        &format!("the path of the home is {over} bytes too long for `admin.sock`"),
        "move the home to a shorter path, or name it by a shorter link",
    )
}

fn space(space: Space) -> Option<Finding> {
    let problem = disk_problem(space)?;
    Some(error("disk", &problem.what, problem.remedy))
}

fn exposed(found: &Exposed) -> Finding {
    let path = found.path.display();
    error(
        "permissions",
        &format!("`{path}` is open to others (mode {:04o})", found.mode),
        &format!("run `chmod {:o} {path}`", found.should),
    )
}

fn key(node: &NodeFacts) -> Vec<Finding> {
    const ABOUT: &str = "key";
    let place = node.key_place.map(|place| match place {
        KeyPlace::Beside => warning(
            ABOUT,
            "the passphrase lies in the node's home, beside what it protects: who copies the home has both",
            "move it out, to a file that backups of the home do not hold, or use a systemd credential",
        ),
        KeyPlace::SameDisk => warning(
            ABOUT,
            "the passphrase lies on the disk of the store: who takes the disk has both",
            "keep it on another disk, or use a systemd credential (`LoadCredentialEncrypted=`)",
        ),
        KeyPlace::Elsewhere => good(ABOUT, "the passphrase lies apart from the store"),
    });
    let keys = match &node.keys {
        KeysFact::Open => good("keys", "they open"),
        KeysFact::Closed(reason) => error("keys", reason, ""),
        KeysFact::OutOfReach => warning(
            "keys",
            "they cannot be opened here: systemd gives their credential to the service alone",
            "have the service run it: `ExecStartPre=portcullis doctor`",
        ),
    };
    place.into_iter().chain([keys]).collect()
}

fn register(fact: &RegisterFact, now: Timestamp) -> Vec<Finding> {
    const ABOUT: &str = "register";
    match fact {
        RegisterFact::Missing => vec![error(
            ABOUT,
            "there is none",
            "fetch every epoch from the governance and run `portcullis federation apply FILE…`",
        )],
        RegisterFact::Refused(reason) => vec![error(ABOUT, reason, "")],
        RegisterFact::Held {
            epoch,
            issued_at,
            listed,
        } => {
            let mut findings = vec![match listed {
                Listed::Yes => good(ABOUT, &format!("epoch {epoch} lists this node")),
                Listed::No => error(
                    ABOUT,
                    &format!("epoch {epoch} does not list this node"),
                    "send `portcullis federation request` to the governance, or apply a newer epoch",
                ),
                Listed::Otherwise => error(
                    ABOUT,
                    &format!("epoch {epoch} lists this node with other keys or names than it has"),
                    "apply the newest epoch; if it is the newest, send a new `portcullis federation request`",
                ),
            }];
            if issued_at.millis_since(now) > CLOCK_SLACK_MS {
                findings.push(error(
                    "clock",
                    &format!("the register was issued at {issued_at}, and here it is {now}"),
                    "set the clock, and keep it set with NTP",
                ));
            }
            findings
        }
    }
}

fn certificate(fact: &CertificateFact, now: Timestamp) -> Finding {
    const ABOUT: &str = "certificate";
    match fact {
        CertificateFact::Missing => error(ABOUT, "there is none", RENEW),
        CertificateFact::Unchecked => warning(
            ABOUT,
            "it cannot be checked while the keys do not open",
            "see to the keys first",
        ),
        CertificateFact::Unfit(reason) => error(ABOUT, reason, ""),
        CertificateFact::Development => error(
            ABOUT,
            "RG-09: it is a worthless development certificate, and the federation is not for development",
            RENEW,
        ),
        CertificateFact::Fit { term } if ends_soon(*term, now) => {
            warning(ABOUT, &format!("it ends at {}", term.until), RENEW)
        }
        CertificateFact::Fit { term } => {
            good(ABOUT, &format!("peers believe it until {}", term.until))
        }
    }
}

const fn ends_soon(term: Term, now: Timestamp) -> bool {
    term.until.millis_since(now) <= portcullis_kernel::outlook::warned_before(term)
}

fn revocation(lists: &Revocation, now: Timestamp) -> Vec<Finding> {
    let faults = lists.faults.iter().map(|what| error(REVOCATION, what, ""));
    let idle = lists.idle.iter().map(|what| warning(REVOCATION, what, ""));
    let authorities = lists.authorities.iter().map(|fact| list(fact, now));
    faults.chain(idle).chain(authorities).collect()
}

const REVOCATION: &str = "revocation";

fn list(fact: &RevocationFact, now: Timestamp) -> Finding {
    const ABOUT: &str = REVOCATION;
    const FETCH: &str =
        "fetch it from that authority's CA into `crl/`, with a name that ends in `.crl`";
    let authority = &fact.authority;
    match fact.term {
        None => warning(
            ABOUT,
            &format!(
                "there is no revocation list of `{authority}`: a certificate it revoked goes on counting"
            ),
            FETCH,
        ),
        Some(Term { since: _, until }) if until < now => error(
            ABOUT,
            &format!("the list of `{authority}` ended at {until}: its nodes are refused"),
            FETCH,
        ),
        Some(term) if ends_soon(term, now) => warning(
            ABOUT,
            &format!("the list of `{authority}` ends at {}", term.until),
            FETCH,
        ),
        Some(Term { since: _, until }) => good(
            ABOUT,
            &format!("the list of `{authority}` holds until {until}"),
        ),
    }
}

fn checked(found: &Result<Vec<String>, String>) -> Vec<Finding> {
    const ABOUT: &str = "seals";
    match found {
        Err(reason) => vec![error(ABOUT, reason, "")],
        Ok(damaged) if damaged.is_empty() => {
            vec![good(ABOUT, "everything that is kept is what was written")]
        }
        Ok(damaged) => {
            let damaged = damaged.iter();
            damaged.map(|what| error(ABOUT, what, TAMPERED)).collect()
        }
    }
}

const TAMPERED: &str = "somebody may have written to the disk: find out who, and restore the store from a backup of before";

fn settings(fact: &SettingsFact) -> Option<Finding> {
    const ABOUT: &str = "settings";
    match fact {
        SettingsFact::Accepted => Some(good(ABOUT, "they are those that were accepted")),
        SettingsFact::Unchecked => None,
        SettingsFact::Unsealed => Some(warning(
            ABOUT,
            "they are not sealed with the keys: who can write to the disk can change them unnoticed",
            "look at them with `portcullis settings show`, and have an administrator accept them with `portcullis settings accept`",
        )),
        SettingsFact::Changed(changes) => Some(error(
            ABOUT,
            &format!("nobody accepted these: {}", changes.join(", ")),
            "put them back, or have an administrator accept them with `portcullis settings accept`; a node that starts with them is shut",
        )),
    }
}

fn socket(fact: &SocketFact) -> Finding {
    const ABOUT: &str = "socket";
    match fact {
        SocketFact::Answers => good(ABOUT, "the node runs"),
        SocketFact::Absent => warning(
            ABOUT,
            "the node does not run",
            "start it with `portcullis run`, or by its service",
        ),
        SocketFact::Dead => warning(
            ABOUT,
            "`admin.sock` is there and nobody answers: the node was killed or hangs",
            "look at its log, then start it again",
        ),
    }
}

fn freshness(stage: Stage) -> Option<Finding> {
    const ABOUT: &str = "freshness";
    const SEE: &str =
        "see to a connection with any member, or run `portcullis federation freshness`";
    match stage {
        Stage::Unused => None,
        Stage::Fresh(until) => Some(good(ABOUT, &format!("the register is fresh until {until}"))),
        Stage::Ending(until) => Some(warning(
            ABOUT,
            &format!("no new statement came in the last day; the register is fresh until {until}"),
            SEE,
        )),
        Stage::Stale(since) => Some(warning(
            ABOUT,
            &format!("nobody has said since {since} that the register is the newest"),
            SEE,
        )),
        Stage::BulkStopped(since) => Some(error(
            ABOUT,
            &format!("the register is not fresh since {since}: bulk records are not released"),
            SEE,
        )),
    }
}

/// Returns the things that end soon and have no finding of their own: keys, and the certificates
/// and anchors that vouch for peers.
fn ends(dependencies: &[Dependency], now: Timestamp) -> impl Iterator<Item = Finding> {
    dependencies.iter().filter_map(move |one| {
        let about = match one.subject {
            Subject::Certificate
            | Subject::RevocationList(_)
            | Subject::Freshness
            | Subject::BulkRelease => return None,
            Subject::Key(_) => "key",
            Subject::PeerCertificate(_) | Subject::Anchor(_) => "peer",
        };
        let what = format!("{} ends at {}: {}", one.subject, one.ends, one.stops());
        match one.urgency(now) {
            Urgency::Later => None,
            Urgency::Soon | Urgency::Ended => Some(warning(about, &what, one.remedy())),
        }
    })
}

fn keys_waiting(uses: &[KeyUse]) -> Option<Finding> {
    let names: Vec<&str> = uses.iter().map(|usage| usage.name()).collect();
    (!names.is_empty()).then(|| {
        warning(
            "keys",
            &format!(
                "newer ones wait for the register to list them: {}",
                names.join(", ")
            ),
            "send the request of `portcullis keys rotate` to the governance, to be admitted with `federation admit --change`",
        )
    })
}

fn backup(taken: Option<Timestamp>, now: Timestamp) -> Finding {
    const ABOUT: &str = "backup";
    const TAKE: &str = "take one every night with `portcullis backup`, to two other places";
    match taken {
        None => warning(ABOUT, "this node knows of none that it took", TAKE),
        Some(at) if now.millis_since(at) > BACKUP_OLD_MS => {
            warning(ABOUT, &format!("the latest was taken at {at}"), TAKE)
        }
        Some(at) => good(ABOUT, &format!("the latest was taken at {at}")),
    }
}

fn of_result(
    about: &'static str,
    result: &Result<(), String>,
    well: &str,
    advice: &str,
) -> Finding {
    match result {
        Ok(()) => good(about, well),
        Err(reason) => error(about, reason, advice),
    }
}

fn error(about: &'static str, what: &str, advice: &str) -> Finding {
    finding(Severity::Error, about, what, advice)
}

fn warning(about: &'static str, what: &str, advice: &str) -> Finding {
    finding(Severity::Warning, about, what, advice)
}

fn good(about: &'static str, what: &str) -> Finding {
    finding(Severity::Good, about, what, "")
}

/// Makes a finding. The part of an error message after its semicolon says what to do; it becomes
/// the advice unless another is given.
fn finding(severity: Severity, about: &'static str, what: &str, advice: &str) -> Finding {
    let (what, inner) = match what.split_once("; ") {
        Some((what, inner)) if advice.is_empty() => (what, inner),
        Some(_) | None => (what, advice),
    };
    Finding {
        severity,
        about,
        what: what.to_owned(),
        advice: inner.to_owned(),
    }
}

#[cfg(test)]
mod tests;
