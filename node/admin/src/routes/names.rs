//! Names that requests give: members and nodes of the register, and records by the beginning of their ids.

use axum::{Json, extract::State};
use portcullis_admin_api::{names::NamesView, v1::draft::DraftView};
use portcullis_kernel::Kernel;
use portcullis_protocol::{record::RecordId, seal::Draft};

use crate::{
    problem::{Problem, ProblemKind},
    request::Admin,
};

/// Largest number of ids shown for an ambiguous prefix.
const AMBIGUOUS_SHOWN: u32 = 6;

/// Smallest length of a prefix, in characters: a shorter one says nothing.
const SHORTEST_PREFIX: usize = 4;

/// Length of a whole id, in characters.
const WHOLE_ID: usize = 64;

pub(crate) async fn list(State(admin): State<Admin>) -> Json<NamesView> {
    Json(known(&admin.kernel))
}

/// Returns the names of the register in force.
pub(super) fn known(kernel: &Kernel) -> NamesView {
    let (decider, me) = (kernel.decider(), kernel.me());
    NamesView::of(decider.register(), &me.authority, &me.node)
}

/// Returns the only record whose id begins with `prefix`.
pub(super) fn record(kernel: &Kernel, prefix: &str) -> Result<RecordId, Problem> {
    let prefix = prefix.to_ascii_lowercase();
    let fits = prefix.len() >= SHORTEST_PREFIX
        && prefix.len() <= WHOLE_ID
        && prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !fits {
        let message = format!("`{prefix}` is no id of a record, nor the beginning of one");
        return Err(Problem::new(ProblemKind::Invalid, message)
            .remedy("write at least 4 of its 64 hexadecimal characters"));
    }
    let found = kernel.store().ids_with_prefix(&prefix, AMBIGUOUS_SHOWN)?;
    match found.as_slice() {
        [] => Err(unknown(&prefix)),
        [id] => Ok(*id),
        [_, _, ..] => Err(ambiguous(&prefix, &found)),
    }
}

pub(super) fn unknown(prefix: &str) -> Problem {
    let message = format!("no record here has an id that begins with `{prefix}`");
    Problem::new(ProblemKind::Unknown, message).remedy("`portcullis list` shows what is held")
}

fn ambiguous(prefix: &str, found: &[RecordId]) -> Problem {
    let ids: Vec<String> = found.iter().map(|id| format!("`{id:.16}`")).collect();
    let message = format!("several records have an id that begins with `{prefix}`");
    Problem::new(ProblemKind::Invalid, message)
        .remedy(format!("write more of it; there are {}", ids.join(", ")))
}

/// Reads a draft. Ids of records may be cut short, and its release lists name members.
pub(super) fn draft(kernel: &Kernel, view: DraftView) -> Result<Draft, Problem> {
    let whole = |id: String| -> Result<String, Problem> {
        if id.len() == WHOLE_ID {
            return Ok(id);
        }
        record(kernel, &id).map(|id| id.to_string())
    };
    let draft = Draft::try_from(DraftView {
        derived_from: view
            .derived_from
            .into_iter()
            .map(whole)
            .collect::<Result<_, _>>()?,
        supersedes: view.supersedes.map(whole).transpose()?,
        ..view
    })?;
    if let Some(listed) = &draft.marking.release_to {
        let names = known(kernel);
        listed
            .iter()
            .try_for_each(|authority| names.authority(authority))?;
    }
    Ok(draft)
}
