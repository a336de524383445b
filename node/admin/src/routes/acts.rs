//! Signed acts: each is checked, parsed whole, and carried out with its log.
//!
//! Nothing happens that is not accounted for: the log is one commit with the effects, or stands before
//! them. The store refuses a statement that was carried out before, so that no act is carried out
//! twice; whoever sends it again is given the first answer.
//!
//! Key, standing and role of who signs are checked before the body is read, and again when it is the
//! act's turn: no entry of the log is made for who may not act any more, and nothing is carried out
//! without one.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension,
    body::Bytes,
    extract::{ConnectInfo, Request, State},
    response::Response,
};
use portcullis_admin_api::{
    ACT_HEADER,
    act::{self, ActError, Action, AnnouncedAct, Enrolled, VerifiedAct},
    persons::{Change, PersonError, Persons, Standing},
    v1::act::EnrolView,
};
use portcullis_kernel::Kernel;
use portcullis_protocol::{keys::KeyId, time::Timestamp};
use portcullis_store::{Act, Effects};

use super::{
    apart,
    deeds::Deed,
    json,
    outcome::{ActTurns, answered_before, in_job, shown},
};
use crate::{
    people::{ChangeError, People},
    problem::{Problem, ProblemKind},
    request::{Admin, Caller, read_body},
    views,
};

/// Largest size of an act's body, in bytes. A year of declarations packs into a tenth of it.
const MOST_BODY: usize = 256 << 20;

/// Largest size of the body of a node's first act, which enrols a person whose key is in it.
const MOST_FIRST: usize = 64 << 10;

pub(crate) async fn act(
    State(admin): State<Admin>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Extension(turns): Extension<ActTurns>,
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
    let (act, read) = apart(move || {
        let act = match announced {
            Some(announced) => announced.with(&read)?,
            None => first(&kernel, &statement, &read)?,
        };
        Ok((act, read))
    })
    .await?;
    // A task of its own: the act is not stopped halfway if the caller goes away.
    let done = tokio::spawn(async move {
        let done = in_turn(&admin, &turns, caller, act, read).await;
        // The room for the body is kept for as long as it is worked on.
        drop(body);
        done
    });
    done.await
        .map_err(|_| Problem::new(ProblemKind::Failed, "the act was cut short"))?
}

/// Carries out an act unless it was done before, while no other request does.
async fn in_turn(
    admin: &Admin,
    turns: &ActTurns,
    caller: Caller,
    act: VerifiedAct,
    body: Bytes,
) -> Result<Response, Problem> {
    let turn = turns.of(act::id(&act.statement)).await;
    stands(admin, &act)?;
    if let Some(answer) = answered_before(admin, &act.statement).await? {
        return Ok(answer);
    }
    let (kernel, people) = (admin.kernel.clone(), Arc::clone(&admin.people));
    let (act, parsed) = apart(move || {
        let parsed = ParsedAct::read(&kernel, &people, &act, body)?;
        Ok((act, parsed))
    })
    .await?;
    let log = entry(admin, caller, &act, &parsed)?;
    match parsed {
        ParsedAct::Person(change) => about_person(admin, &change, &act, log).await,
        ParsedAct::Deed(deed) => deed.perform(admin, log, turn).await,
    }
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
    let now = kernel.now();
    let signers = persons.signers(now);
    let announced = verifier(kernel).announced(statement, &signers);
    let announced =
        announced.map_err(|error| refused(&persons, act::key_of(statement), error, now))?;
    Ok(Some(announced))
}

/// Checks who signed an act by the persons of now. A first enrolment is checked with its content.
fn stands(admin: &Admin, act: &VerifiedAct) -> Result<(), Problem> {
    let persons = admin.people.known();
    if persons.is_empty() && act.action == Action::Enrol {
        return Ok(());
    }
    let now = admin.kernel.now();
    let key = Some(act.statement.key_id());
    act.stands(&persons.signers(now))
        .map_err(|error| refused(&persons, key, error, now))
}

/// Describes an act that is refused because of who signed it.
fn refused(persons: &Persons, key: Option<KeyId>, error: ActError, now: Timestamp) -> Problem {
    let is_nobody = matches!(error, ActError::Nobody(_));
    let ended = key
        .filter(|_| is_nobody)
        .and_then(|key| ended(persons, key, now));
    ended.unwrap_or_else(|| error.into())
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
        // while the node does not trust it; who may sign is asked by the time that it believes. The log refuses an act that was carried out before.
        now: kernel.wall(),
    }
}

/// Describes an act whose signer's key counted once.
fn ended(persons: &Persons, key: KeyId, now: Timestamp) -> Option<Problem> {
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
    /// It changes the persons, and is carried out in their turn.
    Person(Change),
    /// Any other.
    Deed(Deed),
}

impl ParsedAct {
    fn read(
        kernel: &Kernel,
        people: &People,
        act: &VerifiedAct,
        body: Bytes,
    ) -> Result<Self, Problem> {
        match act.action {
            Action::Enrol
            | Action::PersonEnd
            | Action::PersonRekey
            | Action::PersonRole
            | Action::PersonSecond
            | Action::PersonWithdraw => change(people, act, &body).map(Self::Person),
            Action::Publish
            | Action::Alert
            | Action::Advisory
            | Action::ImportConsignments
            | Action::CloseConsignment
            | Action::PruneConsignments
            | Action::PublishProfile
            | Action::Reload
            | Action::PeerBlock
            | Action::PeerUnblock
            | Action::ReleaseStop
            | Action::ReleaseResume
            | Action::HoldRelease
            | Action::HoldDrop
            | Action::DispatchRetry
            | Action::Backfill
            | Action::BackfillCancel
            | Action::ConfirmClock
            | Action::QuarantineDrop
            | Action::Backup
            | Action::ReadLog
            | Action::AcceptSettings => Deed::read(kernel, act, body).map(Self::Deed),
        }
    }

    /// Describes the object of the act for the log, without content.
    fn concerns(&self) -> String {
        match self {
            Self::Person(change) => change.describe(),
            Self::Deed(deed) => deed.concerns(),
        }
    }
}

/// Changes the persons, in one commit with the log of the act, and shows the one concerned.
async fn about_person(
    admin: &Admin,
    change: &Change,
    act: &VerifiedAct,
    log: Act,
) -> Result<Response, Problem> {
    let now = admin.kernel.now();
    let with_answer = |persons: &Persons, made: &Change, effect, enrols| {
        let kept = views::changed(persons, made, effect, now);
        in_job(Act { enrols, ..log }, move |_| kept.clone())
    };
    let (effect, made) = admin
        .people
        .change(&admin.kernel, change, act, with_answer)
        .await?;
    Ok(shown(&views::changed(
        &admin.people.known(),
        &made,
        effect,
        now,
    )))
}

/// Returns the log entry of an act whose person may have it carried out now. Whatever is carried out
/// has one.
fn entry(
    admin: &Admin,
    caller: Caller,
    act: &VerifiedAct,
    deed: &ParsedAct,
) -> Result<Act, Problem> {
    // Reading a large body took its time as well.
    stands(admin, act)?;
    Ok(Act {
        action: act.action.name().to_owned(),
        person: act.person.id.clone(),
        uid: caller.uid,
        at: admin.kernel.now(),
        statement: Some(act.statement.clone()),
        concerns: deed.concerns(),
        enrols: None,
        effects: Effects::Nothing,
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
