//! Trust settings: what was found in the home and is not what was accepted, and its acceptance.

use std::collections::BTreeMap;

use axum::{Json, extract::State};

use super::apart;
use crate::{
    people::People,
    problem::{Problem, ProblemKind},
    request::Admin,
};
use portcullis_admin_api::{
    act::Role,
    v1::settings::{AcceptedView, SettingChangeView, SettingsView},
};
use portcullis_desk::Setup;
use portcullis_home::keyring::{Accepted, FirstAdministrator};
use portcullis_kernel::{Kernel, reload::Reloader};
use portcullis_protocol::digest::Digest;

/// Shows the trust settings as they lie in the home.
pub(crate) async fn show(State(admin): State<Admin>) -> Result<Json<SettingsView>, Problem> {
    apart(move || view(&admin.kernel, &admin.reloader, &admin.people))
        .await
        .map(Json)
}

fn view(kernel: &Kernel, reloader: &Reloader, people: &People) -> Result<SettingsView, Problem> {
    let unread = |error: portcullis_kernel::in_force::LoadError| {
        Problem::new(ProblemKind::Invalid, error.to_string())
    };
    let (acceptance, found) = reloader.settings_found().map_err(unread)?;
    let accepted = kernel
        .keyring()
        .facts()
        .accepted
        .clone()
        .unwrap_or_default();
    let changes = accepted.settings.changes(&found);
    let persons = people.known();
    let decider = kernel.decider();
    let administers = persons
        .signers(kernel.now())
        .iter()
        .any(|person| person.role == Role::Administrator.name());
    Ok(SettingsView {
        standing: acceptance.name().to_owned(),
        shut: acceptance.is_shut,
        digest: found.digest().to_string(),
        serial: next_serial(kernel)?,
        changes: changes
            .into_iter()
            .map(|change| SettingChangeView {
                name: change.name,
                old: change.old,
                new: change.new,
            })
            .collect(),
        persons: persons
            .all()
            .map(|person| format!("{} ({})", person.id, person.role.name()))
            .collect(),
        register_epoch: decider.register().epoch,
        register_digest: decider.verified_register().digest().to_string(),
        r#do: (!administers).then(|| NOBODY.to_owned()),
    })
}

const NOBODY: &str = "nobody who may accept them is enrolled: enrol the first administrator with `portcullis person enrol`, or put the files back and restart";

/// Returns the number of the next acceptance: above that of the keys and those of the log of acts.
fn next_serial(kernel: &Kernel) -> Result<u64, Problem> {
    let sealed = kernel
        .keyring()
        .facts()
        .accepted
        .as_ref()
        .map_or(0, |one| one.serial);
    let logged = portcullis_kernel::reload::accepted_in_log(kernel)?;
    Ok(sealed.max(logged.unwrap_or(0)).saturating_add(1))
}

/// Returns true if these very settings are sealed under this number, and no act that is done accounts
/// for it.
fn was_cut_short(kernel: &Kernel, serial: u64, digest: Digest) -> Result<bool, Problem> {
    let keyring = kernel.keyring();
    let is_it = |one: &Accepted| one.serial == serial && one.settings.digest() == digest;
    let is_sealed = keyring.facts().accepted.as_ref().is_some_and(is_it);
    let logged = portcullis_kernel::reload::accepted_in_log(kernel)?;
    Ok(is_sealed && logged.is_none_or(|logged| logged < serial))
}

/// An acceptance, as its act names it.
pub(super) struct AcceptanceAct {
    digest: Digest,
    serial: u64,
}

impl AcceptanceAct {
    /// Reads the act's parameters. Its number is the next one, so that an older act is not carried
    /// out again; or it is that of an acceptance that was sealed and cut short before its end was
    /// logged, which is finished.
    pub(super) fn read(
        kernel: &Kernel,
        parameters: &BTreeMap<String, String>,
    ) -> Result<Self, Problem> {
        let unread = || {
            Problem::new(
                ProblemKind::Invalid,
                "the act does not name the settings that it accepts",
            )
            .remedy("use a command line of the node's version")
        };
        let value = |name: &str| parameters.get(name).ok_or_else(unread);
        let digest = value("digest")?.parse().map_err(|_| unread())?;
        let serial: u64 = value("serial")?.parse().map_err(|_| unread())?;
        if serial != next_serial(kernel)? && !was_cut_short(kernel, serial, digest)? {
            return Err(
                Problem::new(ProblemKind::Invalid, "the settings were accepted meanwhile")
                    .remedy("look at them again with `portcullis settings show`"),
            );
        }
        Ok(Self { digest, serial })
    }

    pub(super) fn concerns(&self) -> String {
        format!("settings {:.12}", self.digest.to_string())
    }

    pub(super) async fn accept(self, admin: &Admin) -> Result<AcceptedView, Problem> {
        let first = first_of(&admin.people);
        let unaccepted = |message: String| {
            Problem::new(ProblemKind::Invalid, message)
                .remedy("nothing was accepted; mend it and try again")
        };
        let home = admin.reloader.home().folder().to_owned();
        let setup = apart(move || Ok(Setup::load(&home))).await?;
        let setup = setup.map_err(|error| unaccepted(error.to_string()))?;
        let accepting = admin.reloader.accept(self.digest, self.serial, first);
        let waiting = accepting
            .await
            .map_err(|error| unaccepted(error.to_string()))?;
        admin.desk.take_up(setup);
        Ok(AcceptedView {
            digest: self.digest.to_string(),
            waiting: waiting.into_iter().map(str::to_owned).collect(),
        })
    }
}

/// Returns the person with whom the enrolments began, with the first of their keys.
fn first_of(people: &People) -> Option<FirstAdministrator> {
    let persons = people.known();
    let first = persons.all().find(|person| person.enrolled_by.is_empty())?;
    let key = first
        .former
        .first()
        .map_or_else(|| first.key.id(), |former| former.key.id());
    Some(FirstAdministrator {
        id: first.id.clone(),
        key: key.to_string(),
    })
}
