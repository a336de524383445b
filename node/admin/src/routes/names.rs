//! Names that requests give: members and nodes of the register, and records by the beginning of their ids.

use axum::{Json, extract::State};
use portcullis_admin_api::{names::NamesView, v1::draft::DraftView};
use portcullis_home::config::Exercises;
use portcullis_kernel::Kernel;
use portcullis_protocol::{body::Body, identifiers::AuthorityId, record::RecordId, seal::Draft};

use crate::{
    problem::{Problem, ProblemKind},
    request::Admin,
};

/// Largest number of ids shown for an ambiguous prefix.
const AMBIGUOUS_SHOWN: u32 = 6;

/// Smallest length of a prefix, in characters: a shorter one says nothing.
const SHORTEST_PREFIX: usize = 4;

/// Most characters of a title.
const LONGEST_TITLE: usize = 200;

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
    let named = draft.derived_from.iter().chain(&draft.supersedes);
    for id in named {
        if kernel.store().excerpt(id, &[])?.is_none() {
            return Err(unknown(&id.to_string()));
        }
    }
    sensible(&draft, &kernel.me().authority, kernel.exercises())?;
    Ok(draft)
}

/// Refuses a draft that tells nobody anything.
fn sensible(draft: &Draft, own: &AuthorityId, exercises: Exercises) -> Result<(), Problem> {
    let refused = |message: &str, remedy: &str| {
        Err(Problem::new(ProblemKind::Invalid, message.to_owned()).remedy(remedy.to_owned()))
    };
    if draft.exercise && exercises == Exercises::Refused {
        return refused(
            "this node takes no part in exercises, and sends no record of one",
            "set `exercises = true` in portcullis.toml for as long as the exercise lasts",
        );
    }
    let listed = draft.marking.release_to.as_ref();
    if listed.is_some_and(|listed| listed.iter().all(|authority| authority == own)) {
        return refused(
            "its release list names nobody but this authority: nobody would get it",
            "name the members that are to have it, or leave the list out",
        );
    }
    let bodies = || draft.sections.iter().map(|section| &section.body);
    let title = bodies().find_map(|body| match body {
        Body::Subject(subject) => Some(subject.title.as_str()),
        Body::Assessment(_)
        | Body::Narrative(_)
        | Body::Source(_)
        | Body::Persons(_)
        | Body::Attachments(_)
        | Body::Cells(_) => None,
    });
    if title.is_some_and(|title| title.chars().count() > LONGEST_TITLE) {
        return refused(
            "its title is longer than 200 characters",
            "write a line, and the rest as text",
        );
    }
    if !bodies().any(says_something) {
        return refused(
            "it says nothing: no identifier, no title and no text",
            "write at least a text, for instance `--text 'what happened'`",
        );
    }
    Ok(())
}

/// Returns whether a body tells anything. Of an assessment its words do; the threat alone is a word.
fn says_something(body: &Body) -> bool {
    match body {
        Body::Subject(subject) => !subject.selectors.is_empty() || !subject.title.is_empty(),
        Body::Assessment(assessment) => {
            assessment.finding.is_some() || !assessment.text.trim().is_empty()
        }
        Body::Narrative(text) | Body::Source(text) => !text.trim().is_empty(),
        Body::Persons(_) | Body::Attachments(_) | Body::Cells(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::{
        body::{Assessment, Selector, SelectorKind, Subject},
        marking::{Marking, Purpose, Tlp},
        record::Kind,
    };

    use super::*;

    fn draft(bodies: Vec<Body>) -> Draft {
        let marking = Marking::new(Tlp::Green, [Purpose::CustomsControl]);
        Draft::new(Kind::Advisory, marking, "B2".parse().unwrap(), bodies)
    }

    fn assessment(text: &str) -> Body {
        Body::Assessment(Assessment {
            threat: "narcotics".to_owned(),
            finding: None,
            text: text.to_owned(),
        })
    }

    fn subject(title: String) -> Body {
        Body::Subject(Subject {
            title,
            selectors: vec![Selector::new(SelectorKind::Imo, "9074729", None).unwrap()],
            generated: false,
        })
    }

    #[track_caller]
    fn refused(draft: &Draft, says: &str) {
        let own = "police".parse().unwrap();
        let problem = sensible(draft, &own, Exercises::Refused).unwrap_err();
        let problem = format!("{problem:?}");
        assert!(problem.contains(says), "{problem}");
    }

    /// Newcomer A17: records that told nobody anything were signed and sent to everybody.
    #[test]
    fn what_tells_nobody_anything_is_not_published() {
        let own: AuthorityId = "police".parse().unwrap();
        let fine = |draft: &Draft, exercises| sensible(draft, &own, exercises).is_ok();
        refused(&draft(vec![assessment(" ")]), "says nothing");
        assert!(fine(
            &draft(vec![assessment("codes for sale")]),
            Exercises::Refused
        ));
        let long = draft(vec![subject("x".repeat(201)), assessment("")]);
        refused(&long, "longer than 200");
        assert!(fine(
            &draft(vec![subject("x".repeat(200))]),
            Exercises::Refused
        ));

        let mut alone = draft(vec![assessment("a text")]);
        alone.marking.release_to = Some([own.clone()].into());
        refused(&alone, "nobody but this authority");
        alone.marking.release_to = Some([own.clone(), "hub".parse().unwrap()].into());
        assert!(fine(&alone, Exercises::Refused));

        let mut exercise = draft(vec![assessment("a text")]);
        exercise.exercise = true;
        refused(&exercise, "no part in exercises");
        assert!(fine(&exercise, Exercises::Admitted));
    }
}
