//! Acts about anything but persons: each is parsed whole, and carried out with its log.

use std::collections::BTreeMap;

use axum::{body::Bytes, response::Response};
use portcullis_admin_api::{
    act::{Action, MOST_DRAFTS, VerifiedAct},
    v1::{
        ListView,
        act::{ClockView, DraftsView, PublishedView, ReloadedView},
        consignment::PrunedView,
        score::{ImportedView, PublishedProfileView},
    },
};
use portcullis_desk::{
    Import, Setup,
    generated::Seed,
    import::{DecimalMark, Instructions, Wording, Wrong, WrongDigits},
};
use portcullis_kernel::{
    Kernel,
    decide::Decider,
    gate::state::GateState,
    hold::{Choice, Ruling},
};
use portcullis_protocol::{
    record::{Kind, RecordId},
    seal::Draft,
};
use portcullis_sheets::{Encoding, Options, Separator};
use portcullis_store::{Act, ConsignmentStage, Effects, Write, writer::Priority};

use super::{
    apart,
    backup::BackupAct,
    consignments::{CloseAct, PruneAct},
    dispatch::OwedAct,
    gates::GateAct,
    hold::HoldAct,
    json,
    log::ReadLogAct,
    names,
    outcome::{ActTurn, begin, ended, in_job, logged, note_failure, shown},
    quarantine::DropAct,
    settings::AcceptanceAct,
};
use crate::{
    problem::{Problem, ProblemKind},
    request::Admin,
};

/// An act that is about no person, parsed whole.
pub(super) enum Deed {
    Publish(Vec<Draft>),
    Import(Import),
    CloseConsignment(CloseAct),
    PruneConsignments(PruneAct),
    PublishProfile,
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

impl Deed {
    /// Reads an act's body.
    pub(super) fn read(kernel: &Kernel, act: &VerifiedAct, body: Bytes) -> Result<Self, Problem> {
        let hold = |choice| {
            let hold = HoldAct::read(choice, &body)?;
            let ruling = hold.rule(kernel)?;
            Ok(Self::Hold(hold, ruling))
        };
        match act.action {
            Action::Publish => drafts(kernel, &body, &[Kind::Indicator, Kind::Outcome]),
            Action::Alert => drafts(kernel, &body, &[Kind::Alert]),
            Action::Advisory => drafts(kernel, &body, &[Kind::Advisory]),
            Action::ImportConsignments => import(&act.parameters, body).map(Self::Import),
            Action::CloseConsignment => CloseAct::read(&body).map(Self::CloseConsignment),
            Action::PruneConsignments => PruneAct::read(kernel, &body).map(Self::PruneConsignments),
            Action::PublishProfile => Ok(Self::PublishProfile),
            Action::Reload => Ok(Self::Reload),
            Action::AcceptSettings => {
                AcceptanceAct::read(kernel, &act.parameters).map(Self::AcceptSettings)
            }
            Action::ConfirmClock => Ok(Self::ConfirmClock),
            Action::PeerBlock
            | Action::PeerUnblock
            | Action::ReleaseStop
            | Action::ReleaseResume => {
                let gate = GateAct::read(act.action, &body)?;
                gate.check(kernel)?;
                Ok(Self::Gate(gate))
            }
            Action::HoldRelease => hold(Choice::Release),
            Action::HoldDrop => hold(Choice::Drop),
            Action::QuarantineDrop => DropAct::read(&body).map(Self::Drop),
            Action::Backup => BackupAct::read(&body).map(Self::Backup),
            Action::ReadLog => ReadLogAct::read(&body).map(Self::ReadLog),
            Action::DispatchRetry | Action::Backfill | Action::BackfillCancel => {
                OwedAct::read(kernel, act.action, &body).map(Self::Owed)
            }
            Action::Enrol
            | Action::PersonEnd
            | Action::PersonRekey
            | Action::PersonRole
            | Action::PersonSecond
            | Action::PersonWithdraw => Err(Problem::new(
                ProblemKind::Invalid,
                format!("`{}` is about a person", act.action.name()),
            )),
        }
    }

    /// Describes the object of the act for the log, without content.
    pub(super) fn concerns(&self) -> String {
        match self {
            Self::Publish(drafts) => format!("{} drafts", drafts.len()),
            Self::Import(import) => format!("{} bytes of consignments", import.file.len()),
            Self::CloseConsignment(close) => close.concerns(),
            Self::PruneConsignments(prune) => prune.concerns(),
            Self::PublishProfile => "the risk profile".to_owned(),
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

    /// Carries the act out with its log. What lies in the store is one commit with the log; of
    /// everything else the log tells how it ended. A failure is noted, and leaves the act open.
    pub(super) async fn perform(
        self,
        admin: &Admin,
        log: Act,
        turn: ActTurn,
    ) -> Result<Response, Problem> {
        let done = self.carry_out(admin, log.clone(), turn).await;
        if let Err(problem) = &done {
            note_failure(admin, log, problem).await;
        }
        done
    }

    async fn carry_out(self, admin: &Admin, log: Act, turn: ActTurn) -> Result<Response, Problem> {
        match self {
            Self::Publish(drafts) => publish(admin, log, drafts).await,
            Self::CloseConsignment(close) => Ok(shown(&close.carry_out(admin, log).await?)),
            Self::PublishProfile => publish_profile(admin, log).await,
            Self::Reload => reload(admin, log).await,
            Self::AcceptSettings(accepted) => logged(admin, log, accepted.accept(admin)).await,
            Self::Gate(gate) => {
                let view = gate.view();
                let kept = view.clone();
                let log = in_job(log, move |_| kept.clone());
                let change = |state: &GateState| gate.change(state, &admin.kernel);
                admin.kernel.change_gates(change, vec![log]).await?;
                Ok(shown(&view))
            }
            Self::Drop(drop) => Ok(shown(&drop.carry_out(admin, log).await?)),
            Self::Owed(owed) => Ok(shown(&owed.carry_out(admin, log).await?)),
            Self::Hold(hold, ruling) => {
                let ruling = hold.in_force(admin, ruling).await?;
                Ok(shown(&HoldAct::carry_out(admin, ruling, log).await?))
            }
            // A consignment is replaced by the same one, so that an import that was cut short goes on
            // when it comes again. Its last part is one commit with its end.
            Self::Import(import) => {
                let statement = begin(admin, log).await?;
                let end = |view: &ImportedView| ended(statement, view).into_iter().collect();
                let view = admin.desk.import_with(import, end);
                Ok(shown(&view.await?))
            }
            // What is removed stays removed, so that one that was cut short goes on.
            Self::PruneConsignments(prune) => {
                let statement = begin(admin, log).await?;
                let end = |view: &PrunedView| ended(statement, view).into_iter().collect();
                Ok(shown(&admin.desk.prune_with(prune.chosen(), end).await?))
            }
            // The confirmation is kept by the running node alone, and cannot fail. It follows its log,
            // so that no act confirms a second step of the clock.
            Self::ConfirmClock => {
                let now = admin.kernel.wall().to_string();
                let view = ClockView { now };
                let kept = view.clone();
                let log = in_job(log, move |_| kept.clone());
                admin.kernel.commit(Priority::Urgent, vec![log]).await?;
                admin.kernel.confirm_clock();
                Ok(shown(&view))
            }
            Self::Backup(backup) => {
                let statement = begin(admin, log).await?;
                Ok(backup.begin(admin, statement, turn))
            }
            Self::ReadLog(page) => {
                let log = Act {
                    effects: Effects::Nothing,
                    ..log
                };
                let writes = vec![Write::Act(log)];
                admin.kernel.commit(Priority::Urgent, writes).await?;
                page.page(admin).await
            }
        }
    }
}

async fn publish(admin: &Admin, log: Act, drafts: Vec<Draft>) -> Result<Response, Problem> {
    let view = |records: &[RecordId]| PublishedView {
        records: records.iter().map(RecordId::to_string).collect(),
    };
    let act = |records: &[RecordId]| {
        let kept = view(records);
        vec![in_job(log, move |_| kept.clone())]
    };
    let records = admin.kernel.publish_with(drafts, act).await?;
    Ok(shown(&view(&records)))
}

async fn publish_profile(admin: &Admin, log: Act) -> Result<Response, Problem> {
    let view = |items: &[PublishedProfileView]| ListView {
        items: items.to_vec(),
    };
    let act = |items: &[PublishedProfileView]| {
        let kept = view(items);
        vec![in_job(log, move |_| kept.clone())]
    };
    let items = admin.desk.publish_profile(act).await?;
    Ok(shown(&view(&items)))
}

async fn reload(admin: &Admin, log: Act) -> Result<Response, Problem> {
    let view = |decider: &Decider| ReloadedView {
        register_epoch: decider.register().epoch,
        policy: decider.engine().rules().to_string(),
    };
    let act = |decider: &Decider| {
        let kept = view(decider);
        vec![in_job(log, move |_| kept.clone())]
    };
    let unchanged = |message: String| {
        Problem::new(ProblemKind::Invalid, message)
            .remedy("nothing was changed; mend it and reload again")
    };
    let home = admin.reloader.home().folder().to_owned();
    let setup = apart(move || Ok(Setup::load(&home))).await?;
    let setup = setup.map_err(|error| unchanged(error.to_string()))?;
    let reloaded = admin.reloader.reload_with(act).await;
    reloaded.map_err(|error| unchanged(error.to_string()))?;
    admin.desk.take_up(setup);
    Ok(shown(&view(&admin.kernel.decider())))
}

fn drafts(kernel: &Kernel, body: &[u8], kinds: &[Kind]) -> Result<Deed, Problem> {
    let DraftsView { drafts } = json(body)?;
    if drafts.is_empty() {
        return Err(Problem::new(
            ProblemKind::Invalid,
            "nothing is to be published",
        ));
    }
    if drafts.len() > MOST_DRAFTS {
        let message = format!(
            "{} records are to be published at once; {MOST_DRAFTS} are the most",
            drafts.len()
        );
        return Err(Problem::new(ProblemKind::Invalid, message).remedy("publish them in parts"));
    }
    let drafts = drafts
        .into_iter()
        .map(|view| names::draft(kernel, view))
        .collect::<Result<Vec<_>, _>>()?;
    match drafts.iter().find(|draft| !kinds.contains(&draft.kind)) {
        None => Ok(Deed::Publish(drafts)),
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
    let separator = named(parameters, "separator", Separator::ALL, Separator::name)?;
    let encoding = named(parameters, "encoding", Encoding::ALL, Encoding::name)?;
    let wrong = match parameters.get("wrong").map(String::as_str) {
        None | Some("refuse") => Wrong::RefusesAll,
        Some("skip") => Wrong::IsSkipped,
        Some(other) => {
            let message =
                format!("`{other}` is no treatment of wrong lines; `refuse` or `skip` is");
            return Err(invalid(message));
        }
    };
    let decimal = named(parameters, "decimal", DecimalMark::ALL, DecimalMark::name)?;
    let wrong_digits = match parameters.get("unchecked").map(String::as_str) {
        None | Some("refuse") => WrongDigits::Refused,
        Some("accept") => WrongDigits::Marked,
        Some(other) => {
            let message =
                format!("`{other}` is no treatment of wrong check digits; `refuse` or `accept` is");
            return Err(invalid(message));
        }
    };
    let instructions = Instructions {
        options: Options {
            separator,
            encoding,
        },
        generate,
        wrong,
        wording: Wording {
            decimal,
            wrong_digits,
        },
    };
    Ok(Import {
        file,
        stage,
        instructions,
    })
}

/// Returns the value that a parameter names, if it is given.
fn named<T: Copy, const N: usize>(
    parameters: &BTreeMap<String, String>,
    parameter: &str,
    all: [T; N],
    name: fn(T) -> &'static str,
) -> Result<Option<T>, Problem> {
    let Some(given) = parameters.get(parameter) else {
        return Ok(None);
    };
    let found = all.into_iter().find(|one| name(*one) == given);
    found.map(Some).ok_or_else(|| {
        let names = all.map(|one| format!("`{}`", name(one))).join(", ");
        let message = format!("`{given}` is no {parameter}; {names} are");
        Problem::new(ProblemKind::Invalid, message)
    })
}
