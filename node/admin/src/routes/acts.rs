//! Signed acts: each is checked, parsed whole, logged, and only then carried out.
//!
//! The log is written before the act is carried out, so that nothing happens that is not accounted
//! for. The store refuses a statement that was logged before, so that no act is carried out twice.

use crate::{
    problem::{Problem, ProblemKind},
    request::{Admin, Caller, read_body},
    views,
};
use portcullis_admin_api::{
    ACT_HEADER,
    act::{self, Action, AnnouncedAct, Enrolled, Role, VerifiedAct},
    v1::{
        ListView,
        act::{ClockView, DraftsView, EnrolView, PublishedView, ReloadedView},
    },
};
use portcullis_protocol::{
    keys::{KeyUse, PublicKey},
    record::{Kind, RecordId},
    seal::Draft,
    time::Timestamp,
};
use std::collections::BTreeMap;

use axum::{
    Json,
    body::Bytes,
    extract::{ConnectInfo, Request, State},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;

use super::{apart, dispatch::OwedAct, gates::GateAct, hold::HoldAct, quarantine::DropAct};
use portcullis_desk::{Import, generated::Seed};
use portcullis_kernel::{
    Kernel,
    gate::state::GateState,
    hold::{Choice, Ruling},
};
use portcullis_store::{Act, ConsignmentStage, PersonRow, Write, writer::Priority};

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
    let announced = apart(move || announced(&kernel, &text)).await?;
    let most = announced.as_ref().map_or(MOST_FIRST, |_| MOST_BODY);
    let body = read_body(request, most).await?;
    let (kernel, read) = (admin.kernel.clone(), body.bytes.clone());
    let (act, deed) = apart(move || {
        let act = match announced {
            Some(announced) => announced.with(&read)?,
            None => first(&kernel, &statement, &read)?,
        };
        let deed = ParsedAct::read(&kernel, &act, read)?;
        if let ParsedAct::Gate(gate) = &deed {
            gate.check(&kernel)?;
        }
        Ok((act, deed))
    })
    .await?;
    // A task of its own: the act is not stopped halfway if the caller goes away.
    let done = tokio::spawn(async move {
        let log = Write::Act(entry(&admin, caller, &act, &deed));
        let done = deed.perform(&admin, log).await;
        // The room for the body is kept for as long as it is worked on.
        drop(body);
        done
    });
    done.await
        .map_err(|_| Problem::new(ProblemKind::Failed, "the act was cut short"))?
}

/// Checks a statement without its body; `None` at a node where nobody is enrolled yet.
fn announced(kernel: &Kernel, statement: &str) -> Result<Option<AnnouncedAct>, Problem> {
    let persons: Vec<Enrolled> = kernel.store().persons()?.iter().map(signer).collect();
    if persons.is_empty() {
        return Ok(None);
    }
    Ok(Some(verifier(kernel).announced(statement, &persons)?))
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
    Enrol(PersonRow),
    Reload,
    Gate(GateAct),
    Hold(HoldAct, Ruling),
    Owed(OwedAct),
    ConfirmClock,
    Drop(DropAct),
}

impl ParsedAct {
    fn read(kernel: &Kernel, act: &VerifiedAct, body: Bytes) -> Result<Self, Problem> {
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
            Action::Enrol => enrolment(act, &body, kernel.now()).map(Self::Enrol),
            Action::Reload => Ok(Self::Reload),
            Action::ConfirmClock => Ok(Self::ConfirmClock),
            Action::PeerBlock
            | Action::PeerUnblock
            | Action::ReleaseStop
            | Action::ReleaseResume => GateAct::read(act.action, &body).map(Self::Gate),
            Action::HoldRelease => hold(Choice::Release),
            Action::HoldDrop => hold(Choice::Drop),
            Action::QuarantineDrop => DropAct::read(&body).map(Self::Drop),
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
            Self::Enrol(person) => format!("person {}", person.id),
            Self::Reload => "register, policy, certificate and revocation lists".to_owned(),
            Self::Gate(gate) => gate.concerns(),
            Self::Hold(hold, _) => hold.concerns(),
            Self::Owed(owed) => owed.concerns(),
            Self::ConfirmClock => "the clock".to_owned(),
            Self::Drop(drop) => drop.concerns(),
        }
    }

    /// Logs the act and carries it out. A change of the store alone takes effect with its log.
    async fn perform(self, admin: &Admin, log: Write) -> Result<Response, Problem> {
        match self {
            Self::Gate(gate) => {
                let change = |state: &GateState| gate.change(state, &admin.kernel);
                admin.kernel.change_gates(change, vec![log]).await?;
                Ok(Json(gate.view()).into_response())
            }
            Self::Drop(drop) => Ok(drop.carry_out(admin, log).await?.into_response()),
            Self::Owed(owed) => Ok(owed.carry_out(admin, log).await?.into_response()),
            Self::Hold(_, ruling) => HoldAct::carry_out(admin, ruling, vec![log]).await,
            Self::Publish(drafts) => {
                logged(admin, log).await?;
                let records = admin.kernel.publish(drafts).await?;
                let records = records.iter().map(RecordId::to_string).collect();
                Ok(Json(PublishedView { records }).into_response())
            }
            Self::Import(import) => {
                logged(admin, log).await?;
                let imported = admin.desk.import(import, Box::new(|_| {})).await?;
                Ok(Json(imported).into_response())
            }
            Self::PublishProfile => {
                logged(admin, log).await?;
                let items = admin.desk.publish_profile().await?;
                Ok(Json(ListView { items }).into_response())
            }
            Self::Enrol(person) => {
                logged(admin, log).await?;
                Ok(Json(views::enrolled(&person)).into_response())
            }
            Self::Reload => {
                logged(admin, log).await?;
                reload(admin).await
            }
            Self::ConfirmClock => {
                logged(admin, log).await?;
                admin.kernel.confirm_clock();
                let now = admin.kernel.now().to_string();
                Ok(Json(ClockView { now }).into_response())
            }
        }
    }
}

async fn logged(admin: &Admin, log: Write) -> Result<(), Problem> {
    admin.kernel.commit(Priority::Urgent, vec![log]).await?;
    Ok(())
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

/// Returns the log entry of the act; an enrolment takes effect with it.
fn entry(admin: &Admin, caller: Caller, act: &VerifiedAct, deed: &ParsedAct) -> Act {
    let enrols = match deed {
        ParsedAct::Enrol(person) => Some(person.clone()),
        ParsedAct::Publish(_)
        | ParsedAct::Import(_)
        | ParsedAct::PublishProfile
        | ParsedAct::Reload
        | ParsedAct::ConfirmClock
        | ParsedAct::Gate(_)
        | ParsedAct::Hold(..)
        | ParsedAct::Owed(_)
        | ParsedAct::Drop(_) => None,
    };
    Act {
        action: act.action.name().to_owned(),
        person: act.person.id.clone(),
        uid: caller.uid,
        at: admin.kernel.now(),
        statement: Some(act.statement.clone()),
        concerns: deed.concerns(),
        enrols,
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

fn enrolment(act: &VerifiedAct, body: &[u8], now: Timestamp) -> Result<PersonRow, Problem> {
    let view: EnrolView = json(body)?;
    let invalid = |message: String| Problem::new(ProblemKind::Invalid, message);
    if Role::named(&view.role).is_none() {
        let names: Vec<_> = Role::ALL.iter().map(|role| role.name()).collect();
        let message = format!(
            "`{}` is no role; write one of {}",
            view.role,
            names.join(", ")
        );
        return Err(invalid(message));
    }
    let key = view.key_bytes().unwrap_or_default();
    PublicKey::from_slice(KeyUse::Person, &key).map_err(|error| invalid(error.to_string()))?;
    let by_self = act.person.public_key == key;
    Ok(PersonRow {
        id: view.id,
        name: view.name,
        role: view.role,
        public_key: key,
        enrolled_at: now,
        enrolled_by: if by_self {
            String::new()
        } else {
            act.person.id.clone()
        },
    })
}

/// A person as who signs.
fn signer(row: &PersonRow) -> Enrolled {
    Enrolled {
        id: row.id.clone(),
        role: row.role.clone(),
        public_key: row.public_key.clone(),
    }
}

/// The first administrator, who is about to be enrolled, as who signs.
fn first_signer(view: &EnrolView) -> Enrolled {
    Enrolled {
        id: view.id.clone(),
        role: view.role.clone(),
        public_key: view.key_bytes().unwrap_or_default(),
    }
}
