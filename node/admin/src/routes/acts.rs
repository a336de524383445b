//! Signed acts: each is checked, parsed whole, logged, and only then carried out.
//!
//! The log is written before the act is carried out, so that nothing happens that is not accounted
//! for. The store refuses a statement that was logged before, so that no act is carried out twice.

use crate::{
    people::{ChangeError, People},
    problem::{Problem, ProblemKind},
    request::{Admin, Caller, read_body},
    views,
};
use portcullis_admin_api::{
    ACT_HEADER,
    act::{self, ActError, Action, AnnouncedAct, Enrolled, VerifiedAct},
    persons::{Change, PersonError, Persons, Standing},
    v1::{
        ListView,
        act::{ClockView, DraftsView, EnrolView, PublishedView, ReloadedView},
    },
};
use portcullis_protocol::{
    record::{Kind, RecordId},
    seal::Draft,
    time::Timestamp,
};
use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{ConnectInfo, Request, State},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;

use super::{
    apart,
    backup::BackupAct,
    dispatch::OwedAct,
    gates::GateAct,
    hold::HoldAct,
    log::ReadLogAct,
    outcome::{begin, logged},
    quarantine::DropAct,
    settings::AcceptanceAct,
};
use portcullis_desk::{Import, generated::Seed};
use portcullis_kernel::{
    Kernel,
    gate::state::GateState,
    hold::{Choice, Ruling},
};
use portcullis_store::{Act, ConsignmentStage, Write};

/// Largest size of an act's body, in bytes. A year of declarations packs into a tenth of it.
const MOST_BODY: usize = 256 << 20;

/// Largest size of the body of a node's first act, which enrols a person whose key is in it.
const MOST_FIRST: usize = 64 << 10;

pub(crate) async fn act(
    State(admin): State<Admin>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    let statement = request
        .headers()
        .get(ACT_HEADER)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| {
            Problem::new(ProblemKind::Denied, "the act is not signed")
                .remedy("name a person's key with `--key FILE`")
        })?
        .to_owned();
    // An act that is refused whatever its body says is refused before the body is read.
    let (kernel, text) = (admin.kernel.clone(), statement.clone());
    let people = Arc::clone(&admin.people);
    let announced = apart(move || announced(&kernel, &people, &text)).await?;
    let most = announced.as_ref().map_or(MOST_FIRST, |_| MOST_BODY);
    let body = read_body(request, most).await?;
    let (kernel, read) = (admin.kernel.clone(), body.bytes.clone());
    let people = Arc::clone(&admin.people);
    let (act, deed) = apart(move || {
        let act = match announced {
            Some(announced) => announced.with(&read)?,
            None => first(&kernel, &statement, &read)?,
        };
        let deed = ParsedAct::read(&kernel, &people, &act, read)?;
        if let ParsedAct::Gate(gate) = &deed {
            gate.check(&kernel)?;
        }
        Ok((act, deed))
    })
    .await?;
    // A task of its own: the act is not stopped halfway if the caller goes away.
    let done = tokio::spawn(async move {
        let log = entry(&admin, caller, &act, &deed);
        let done = match &deed {
            ParsedAct::Person(change) => about_person(&admin, change, &act, log).await,
            ParsedAct::Publish(_)
            | ParsedAct::Import(_)
            | ParsedAct::PublishProfile
            | ParsedAct::Reload
            | ParsedAct::AcceptSettings(_)
            | ParsedAct::ConfirmClock
            | ParsedAct::Gate(_)
            | ParsedAct::Hold(..)
            | ParsedAct::Owed(_)
            | ParsedAct::Drop(_)
            | ParsedAct::Backup(_)
            | ParsedAct::ReadLog(_) => deed.perform(&admin, log).await,
        };
        // The room for the body is kept for as long as it is worked on.
        drop(body);
        done
    });
    done.await
        .map_err(|_| Problem::new(ProblemKind::Failed, "the act was cut short"))?
}

/// Checks a statement without its body; `None` at a node where nobody is enrolled yet.
fn announced(
    kernel: &Kernel,
    people: &People,
    statement: &str,
) -> Result<Option<AnnouncedAct>, Problem> {
    let persons = people.known();
    if persons.is_empty() {
        if people.is_orphaned() {
            return Err(Problem::new(
                ProblemKind::Denied,
                "the store lists persons, and no signed act accounts for any of them",
            )
            .remedy("restore the node from a backup"));
        }
        return Ok(None);
    }
    let verifier = verifier(kernel);
    let signers = persons.signers(verifier.now);
    let announced = verifier.announced(statement, &signers).map_err(|error| {
        let ended =
            matches!(error, ActError::Nobody(_)).then(|| ended(&persons, statement, verifier.now));
        ended.flatten().unwrap_or_else(|| error.into())
    })?;
    Ok(Some(announced))
}

/// Checks the first act of a node, in which a person enrols and signs for themselves.
fn first(kernel: &Kernel, statement: &str, body: &[u8]) -> Result<VerifiedAct, Problem> {
    let first: EnrolView = json(body).map_err(|_| nobody())?;
    let act = verifier(kernel).verify(statement, body, &[first_signer(&first)])?;
    if act.action == Action::Enrol {
        Ok(act)
    } else {
        Err(nobody())
    }
}

fn verifier(kernel: &Kernel) -> act::ActVerifier<'_> {
    let me = kernel.me();
    act::ActVerifier {
        federation: &me.federation,
        node: &me.node,
        // The person signs by this machine's clock. The time it shows is therefore compared, even
        // while the node does not trust it. The log refuses an act that was carried out before.
        now: kernel.wall(),
    }
}

/// Describes an act whose signer's key counted once.
fn ended(persons: &Persons, statement: &str, now: Timestamp) -> Option<Problem> {
    let key = act::key_of(statement)?;
    let person = persons.of_key(key)?;
    let id = &person.id;
    let former = person.former.iter().find(|former| former.key.id() == key);
    let message = match (former, person.standing(now)) {
        (Some(former), _) => format!("the key was that of `{id}` until {}", former.until),
        (None, Standing::Ended { at }) => format!("`{id}` was ended at {at}"),
        (None, Standing::Suspended { since }) => format!("`{id}` is suspended since {since}"),
        (None, Standing::Active) => return None,
    };
    Some(
        Problem::new(ProblemKind::Denied, message)
            .remedy("ask an administrator; `portcullis person list` shows who may act"),
    )
}

/// Problem of a node at which nobody is enrolled yet. The only possible act is then to enrol an
/// administrator, who signs for themselves.
fn nobody() -> Problem {
    Problem::new(ProblemKind::Denied, "nobody is enrolled at this node yet")
        .remedy("enrol the first administrator with `portcullis person enrol`")
}

/// An act to carry out, parsed whole.
enum ParsedAct {
    Publish(Vec<Draft>),
    Import(Import),
    PublishProfile,
    Person(Change),
    Reload,
    AcceptSettings(AcceptanceAct),
    Gate(GateAct),
    Hold(HoldAct, Ruling),
    Owed(OwedAct),
    ConfirmClock,
    Drop(DropAct),
    Backup(BackupAct),
    ReadLog(ReadLogAct),
}

impl ParsedAct {
    fn read(
        kernel: &Kernel,
        people: &People,
        act: &VerifiedAct,
        body: Bytes,
    ) -> Result<Self, Problem> {
        let hold = |choice| {
            let hold = HoldAct::read(choice, &body)?;
            let ruling = hold.rule(kernel)?;
            Ok(Self::Hold(hold, ruling))
        };
        match act.action {
            Action::Publish => drafts(&body, &[Kind::Indicator, Kind::Outcome]),
            Action::Alert => drafts(&body, &[Kind::Alert]),
            Action::Advisory => drafts(&body, &[Kind::Advisory]),
            Action::ImportConsignments => import(&act.parameters, body).map(Self::Import),
            Action::PublishProfile => Ok(Self::PublishProfile),
            Action::Enrol
            | Action::PersonEnd
            | Action::PersonRekey
            | Action::PersonRole
            | Action::PersonSecond => change(people, act, &body).map(Self::Person),
            Action::Reload => Ok(Self::Reload),
            Action::AcceptSettings => {
                AcceptanceAct::read(kernel, &act.parameters).map(Self::AcceptSettings)
            }
            Action::ConfirmClock => Ok(Self::ConfirmClock),
            Action::PeerBlock
            | Action::PeerUnblock
            | Action::ReleaseStop
            | Action::ReleaseResume => GateAct::read(act.action, &body).map(Self::Gate),
            Action::HoldRelease => hold(Choice::Release),
            Action::HoldDrop => hold(Choice::Drop),
            Action::QuarantineDrop => DropAct::read(&body).map(Self::Drop),
            Action::Backup => BackupAct::read(&body).map(Self::Backup),
            Action::ReadLog => ReadLogAct::read(&body).map(Self::ReadLog),
            Action::DispatchRetry | Action::Backfill | Action::BackfillCancel => {
                OwedAct::read(kernel, act.action, &body).map(Self::Owed)
            }
        }
    }

    /// Describes the object of the act for the log, without content.
    fn concerns(&self) -> String {
        match self {
            Self::Publish(drafts) => format!("{} drafts", drafts.len()),
            Self::Import(import) => format!("{} bytes of consignments", import.file.len()),
            Self::PublishProfile => "the risk profile".to_owned(),
            Self::Person(change) => change.describe(),
            Self::Reload => "register, policy, certificate and revocation lists".to_owned(),
            Self::AcceptSettings(accepted) => accepted.concerns(),
            Self::Gate(gate) => gate.concerns(),
            Self::Hold(hold, _) => hold.concerns(),
            Self::Owed(owed) => owed.concerns(),
            Self::ConfirmClock => "the clock".to_owned(),
            Self::Drop(drop) => drop.concerns(),
            Self::Backup(backup) => backup.concerns(),
            Self::ReadLog(page) => page.concerns(),
        }
    }

    /// Logs the act and carries it out. A change of the store alone takes effect with its log; of
    /// everything else the log tells how it ended.
    async fn perform(self, admin: &Admin, log: Act) -> Result<Response, Problem> {
        match self {
            Self::Gate(gate) => {
                let change = |state: &GateState| gate.change(state, &admin.kernel);
                admin
                    .kernel
                    .change_gates(change, vec![Write::Act(log)])
                    .await?;
                Ok(Json(gate.view()).into_response())
            }
            Self::Drop(drop) => Ok(drop
                .carry_out(admin, Write::Act(log))
                .await?
                .into_response()),
            Self::Owed(owed) => Ok(owed
                .carry_out(admin, Write::Act(log))
                .await?
                .into_response()),
            Self::Hold(hold, ruling) => {
                let ruling = hold.in_force(admin, ruling).await?;
                HoldAct::carry_out(admin, ruling, vec![Write::Act(log)]).await
            }
            Self::Person(_) => Err(Problem::new(
                ProblemKind::Failed,
                "an act about persons is carried out in its turn",
            )),
            Self::Publish(drafts) => {
                logged(admin, log, async {
                    let records = admin.kernel.publish(drafts).await?;
                    let records = records.iter().map(RecordId::to_string).collect();
                    Ok(Json(PublishedView { records }).into_response())
                })
                .await
            }
            Self::Import(import) => {
                logged(admin, log, async {
                    let imported = admin.desk.import(import, Box::new(|_| {})).await?;
                    Ok(Json(imported).into_response())
                })
                .await
            }
            Self::PublishProfile => {
                logged(admin, log, async {
                    let items = admin.desk.publish_profile().await?;
                    Ok(Json(ListView { items }).into_response())
                })
                .await
            }
            Self::Reload => logged(admin, log, reload(admin)).await,
            Self::AcceptSettings(accepted) => logged(admin, log, accepted.accept(admin)).await,
            Self::ReadLog(page) => logged(admin, log, page.page(admin)).await,
            Self::Backup(backup) => {
                let statement = begin(admin, log).await?;
                Ok(backup.begin(admin, statement))
            }
            Self::ConfirmClock => {
                logged(admin, log, async {
                    admin.kernel.confirm_clock();
                    let now = admin.kernel.now().to_string();
                    Ok(Json(ClockView { now }).into_response())
                })
                .await
            }
        }
    }
}

async fn reload(admin: &Admin) -> Result<Response, Problem> {
    admin.reloader.reload().await.map_err(|error| {
        Problem::new(ProblemKind::Invalid, error.to_string())
            .remedy("nothing was changed; mend it and reload again")
    })?;
    let decider = admin.kernel.decider();
    Ok(Json(ReloadedView {
        register_epoch: decider.register().epoch,
        policy: decider.engine().rules().to_string(),
    })
    .into_response())
}

/// Changes the persons, with the log of the act, and shows the one concerned.
async fn about_person(
    admin: &Admin,
    change: &Change,
    act: &VerifiedAct,
    log: Act,
) -> Result<Response, Problem> {
    let (effect, made) = admin.people.change(&admin.kernel, change, act, log).await?;
    let view = views::changed(&admin.people.known(), &made, effect, admin.kernel.wall());
    Ok(Json(view).into_response())
}

/// Returns the log entry of the act.
fn entry(admin: &Admin, caller: Caller, act: &VerifiedAct, deed: &ParsedAct) -> Act {
    Act {
        action: act.action.name().to_owned(),
        person: act.person.id.clone(),
        uid: caller.uid,
        at: admin.kernel.now(),
        statement: Some(act.statement.clone()),
        concerns: deed.concerns(),
        enrols: None,
    }
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        Problem::new(
            ProblemKind::Invalid,
            format!("the request cannot be read: {error}"),
        )
    })
}

fn drafts(body: &[u8], kinds: &[Kind]) -> Result<ParsedAct, Problem> {
    let DraftsView { drafts } = json(body)?;
    if drafts.is_empty() {
        return Err(Problem::new(
            ProblemKind::Invalid,
            "nothing is to be published",
        ));
    }
    let drafts = drafts
        .into_iter()
        .map(Draft::try_from)
        .collect::<Result<Vec<_>, _>>()?;
    match drafts.iter().find(|draft| !kinds.contains(&draft.kind)) {
        None => Ok(ParsedAct::Publish(drafts)),
        Some(other) => {
            let message = format!("the act does not publish records of kind `{}`", other.kind);
            Err(Problem::new(ProblemKind::Invalid, message))
        }
    }
}

fn import(parameters: &BTreeMap<String, String>, file: Bytes) -> Result<Import, Problem> {
    let invalid = |message: String| Problem::new(ProblemKind::Invalid, message);
    let stage = match parameters.get("stage").map(String::as_str) {
        Some("history") => ConsignmentStage::History,
        Some("arriving") => ConsignmentStage::Arriving,
        other => {
            let message = format!(
                "`{}` is no stage; consignments are `history` or `arriving`",
                other.unwrap_or_default()
            );
            return Err(invalid(message));
        }
    };
    let generate = parameters
        .get("seed")
        .map(|seed| seed.parse().map(Seed))
        .transpose()
        .map_err(|_| invalid("the seed is a whole number".to_owned()))?;
    Ok(Import {
        file,
        stage,
        generate,
    })
}

fn change(people: &People, act: &VerifiedAct, body: &[u8]) -> Result<Change, Problem> {
    let enrols = act.action == Action::Enrol;
    let content: Option<EnrolView> = enrols.then(|| json(body)).transpose()?;
    let read = || -> Result<Change, PersonError> {
        let change = Change::read(act.action, &act.parameters, content.as_ref())?
            .ok_or(PersonError::Unreadable("it is about no person"))?;
        change.check_names()?;
        if content.is_some() && act.parameters.is_empty() && people.known().takes_two() {
            // The statement alone must tell whom a second person seconds.
            return Err(PersonError::Unreadable(
                "its statement does not say who is enrolled; use a command line of the node's version",
            ));
        }
        let plain = Change::read(act.action, &BTreeMap::new(), content.as_ref());
        match (&content, plain) {
            (Some(_), Ok(Some(plain))) if plain != change => Err(PersonError::Unreadable(
                "its statement and its content differ",
            )),
            (Some(_), Err(error)) => Err(error),
            (Some(_) | None, Ok(_) | Err(_)) => Ok(change),
        }
    };
    read().map_err(|error| ChangeError::from(error).into())
}

/// The first administrator, who is about to be enrolled, as who signs.
fn first_signer(view: &EnrolView) -> Enrolled {
    Enrolled {
        id: view.id.clone(),
        role: view.role.clone(),
        public_key: view.key_bytes().unwrap_or_default(),
    }
}
