//! Conversions of rows and values into the structs that the socket speaks: each once, and here.

use portcullis_admin_api::persons::{Change, Effect, Person, Persons, Proposal, Standing};
use portcullis_admin_api::v1::{
    Malformed,
    backup::BackupStep,
    dispatch::{BackfillPreviewView, BackfillView, DeniedView, ExceptionView, SendsView},
    hold::{HeldView, ItemView},
    log::{ActEntryView, EventView},
    notice::{NoticeView, WhatView},
    quarantine::BadItemView,
    record::{ArrivalView, DisclosureView, RecordLine, contributors},
    status::{EndView, EnrolledView, FormerKeyView, KeyView, ProposalView, StatusProblem},
};
use portcullis_backup::{BackupMade, Progress, manifest::Manifest};
use portcullis_exchange::dispatch::backfill::Preview;
use portcullis_kernel::{
    Notice, health::Problem, hold::ItemKey, key_use::KeyInUse, outlook::Dependency,
};
use portcullis_protocol::{
    body::{Assessment, Body},
    digest::Digest,
    frame::Outcome,
    keys::PublicKey,
    record::Form,
    rules::Rule,
    time::Timestamp,
    verify::VerifiedRecord,
};
use portcullis_store::{
    ActRow, ArrivalRow, BackfillRow, BadItemRow, DisclosureRow, DisclosureState, ExceptionRow,
    HeldItem, HeldRecord, NodeEvent,
};

/// The threat of a record that names none.
const UNSPECIFIED: &str = "unspecified";

/// Most characters of a text that stand for its record in a list.
const LONGEST_MATTER: usize = 60;

/// Problems or hindrances, each with what to do.
pub(crate) fn problems(problems: Vec<Problem>) -> Vec<StatusProblem> {
    let view = |problem: Problem| StatusProblem {
        kind: problem.kind.name().to_owned(),
        what: problem.what,
        r#do: problem.remedy.to_owned(),
    };
    problems.into_iter().map(view).collect()
}

/// The keys of one use.
#[must_use]
pub fn key(keys: &KeyInUse) -> KeyView {
    let KeyInUse {
        usage,
        signs,
        waits,
    } = keys;
    KeyView {
        r#use: usage.to_string(),
        in_use: signs.to_string(),
        waits: waits.map(|id| id.to_string()),
    }
}

/// An event of the log.
pub(crate) fn event((number, event): &(i64, NodeEvent)) -> EventView {
    let NodeEvent {
        at,
        kind,
        peer,
        detail,
    } = event;
    EventView {
        number: *number,
        at: at.to_string(),
        kind: kind.clone(),
        peer: peer.as_ref().map(ToString::to_string),
        detail: detail.clone(),
    }
}

/// An act of the log. An act without an outcome took effect with its log.
pub(crate) fn act_entry(row: ActRow) -> ActEntryView {
    let ActRow {
        n,
        at,
        action,
        person,
        uid,
        concerns,
        outcome,
        is_signed,
    } = row;
    ActEntryView {
        number: n,
        at: at.to_string(),
        person,
        uid,
        action,
        concerns,
        outcome: outcome.unwrap_or_else(|| "done".to_owned()),
        signed: is_signed,
    }
}

/// The progress of a backup, as a line of the answer.
pub(crate) fn progress(progress: Progress) -> BackupStep<Manifest> {
    let Progress { phase, done, of } = progress;
    BackupStep::Progress {
        phase: phase.name().to_owned(),
        done,
        of,
    }
}

/// A backup that is made, as the last line of the answer.
pub(crate) fn taken(taken: BackupMade) -> BackupStep<Manifest> {
    let BackupMade { data, keys } = taken;
    BackupStep::Taken {
        data: Box::new(data),
        keys: Box::new(keys),
    }
}

/// Records of a peer and lane that wait for another try.
pub(crate) fn exception(row: &ExceptionRow) -> ExceptionView {
    let ExceptionRow {
        peer,
        lane,
        state,
        count,
        next_attempt,
        ends_at,
    } = row;
    ExceptionView {
        peer: peer.to_string(),
        lane: lane.name().to_owned(),
        kind: state.clone(),
        count: *count,
        next_attempt: next_attempt.to_string(),
        ends_at: ends_at.to_string(),
    }
}

/// A range of older records that is sent.
pub(crate) fn backfill(row: &BackfillRow) -> BackfillView {
    let BackfillRow {
        n: _,
        peer,
        log,
        since,
        until,
        next,
        last,
        looked_at,
        sent,
        started_at,
        ended_at,
        cancelled,
    } = row;
    BackfillView {
        peer: peer.to_string(),
        log: log.name().to_owned(),
        since: since.to_string(),
        until: until.to_string(),
        next: *next,
        last: *last,
        looked_at: *looked_at,
        sent: *sent,
        started_at: started_at.to_string(),
        ended_at: ended_at.map(|time| time.to_string()),
        cancelled: *cancelled,
    }
}

/// A notice, for whoever watches.
pub(crate) fn notice(notice: &Notice) -> NoticeView {
    let (at, what) = match notice {
        Notice::Published { record, kind, at } => (
            at,
            WhatView::Published {
                record: record.to_string(),
                kind: kind.to_string(),
            },
        ),
        Notice::Received {
            record,
            kind,
            origin,
            peer,
            at,
        } => (
            at,
            WhatView::Received {
                record: record.to_string(),
                kind: kind.to_string(),
                origin: origin.to_string(),
                peer: peer.to_string(),
            },
        ),
        Notice::Declined { peer, answer, at } => (
            at,
            WhatView::Declined {
                record: answer.record.to_string(),
                peer: peer.to_string(),
                answer: answer.outcome.to_string(),
                reason: answer.reason.clone(),
            },
        ),
        Notice::Answered { peer, answer, at } => (
            at,
            WhatView::Answered {
                record: answer.record.to_string(),
                peer: peer.to_string(),
                answer: answer.outcome.to_string(),
                reason: answer.reason.clone(),
            },
        ),
        Notice::DeliveryFailed { peer, why, at } => (
            at,
            WhatView::DeliveryFailed {
                peer: peer.to_string(),
                why: why.clone(),
            },
        ),
        Notice::Scored {
            reference,
            points,
            at,
        } => (
            at,
            WhatView::Scored {
                reference: reference.clone(),
                points: *points,
            },
        ),
        Notice::Alarm { what, at } => (
            at,
            WhatView::Alarm {
                alarm: what.clone(),
            },
        ),
    };
    NoticeView {
        at: at.to_string(),
        what,
    }
}

/// A row of the ledger.
pub(crate) fn disclosure(row: &DisclosureRow) -> DisclosureView {
    DisclosureView {
        peer: row.peer.to_string(),
        state: state(row.state),
        reason: row.reason.clone(),
        opened: row.form.iter().collect(),
        withheld: row.withheld,
        policies: row.note.policies.clone(),
        decided_at: row.decided_at.to_string(),
        answered_at: row.answered_at.map(|time| time.to_string()),
    }
}

fn state(state: DisclosureState) -> String {
    match state {
        DisclosureState::Intended => "intended".to_owned(),
        DisclosureState::Denied => "denied".to_owned(),
        DisclosureState::Answered(outcome) => Outcome::name(outcome).to_owned(),
    }
}

/// A delivery that arrived.
pub(crate) fn arrival(row: &ArrivalRow) -> ArrivalView {
    ArrivalView {
        peer: row.peer.to_string(),
        answer: row.answer.outcome.to_string(),
        reason: row.answer.reason.clone(),
        opened: row.answer.form.iter().collect(),
        policies: row.note.policies.clone(),
        at: row.at.to_string(),
    }
}

/// A person who is or was enrolled.
pub(crate) fn enrolled(person: &Person, now: Timestamp) -> EnrolledView {
    let hex = |key: &PublicKey| data_encoding::HEXLOWER.encode(&key.to_bytes());
    let (state, until) = match person.standing(now) {
        Standing::Active => ("active", None),
        Standing::Suspended { since } => ("suspended", Some(since)),
        Standing::Ended { at } => ("ended", Some(at)),
    };
    EnrolledView {
        id: person.id.clone(),
        name: person.name.clone(),
        role: person.role.name().to_owned(),
        enrolled_at: person.enrolled_at.to_string(),
        enrolled_by: person.enrolled_by.clone(),
        public_key: hex(&person.key),
        state: state.to_owned(),
        until: until.map(|time| time.to_string()),
        former_keys: person
            .former
            .iter()
            .map(|former| FormerKeyView {
                public_key: hex(&former.key),
                until: former.until.to_string(),
            })
            .collect(),
        proposed: None,
    }
}

/// The person whom a change concerns, after it or while it waits for a second person.
pub(crate) fn changed(
    persons: &Persons,
    change: &Change,
    effect: Effect,
    now: Timestamp,
) -> EnrolledView {
    let proposed = match effect {
        Effect::Done | Effect::Withdrawn => None,
        Effect::Proposed(act) => Some(act.to_string()),
    };
    let (id, new) = match change {
        Change::Enrol {
            id,
            name,
            role,
            key,
        } => (id.as_str(), Some((name, role, key))),
        Change::End { id } | Change::Rekey { id, .. } | Change::Role { id, .. } => {
            (id.as_str(), None)
        }
        Change::Second { .. } | Change::Withdraw { .. } => ("", None),
    };
    let known = persons.all().find(|person| person.id == id);
    let view = known.map(|person| enrolled(person, now));
    let view = view.unwrap_or_else(|| EnrolledView {
        id: id.to_owned(),
        name: new.map(|(name, ..)| name.clone()).unwrap_or_default(),
        role: new
            .map(|(_, role, _)| role.name().to_owned())
            .unwrap_or_default(),
        enrolled_at: String::new(),
        enrolled_by: String::new(),
        public_key: new
            .map(|(.., key)| data_encoding::HEXLOWER.encode(&key.to_bytes()))
            .unwrap_or_default(),
        state: if effect == Effect::Withdrawn {
            "withdrawn".to_owned()
        } else {
            "proposed".to_owned()
        },
        until: None,
        former_keys: Vec::new(),
        proposed: None,
    });
    EnrolledView { proposed, ..view }
}

/// A change of persons that waits for a second person.
pub(crate) fn proposal(act: &Digest, proposal: &Proposal, now: Timestamp) -> ProposalView {
    ProposalView {
        id: act.to_string(),
        by: proposal.by.clone(),
        at: proposal.at.to_string(),
        until: proposal.until_from(now).to_string(),
        change: proposal.change.describe(),
        person: proposal.change.person().unwrap_or_default().to_owned(),
        recovery: proposal.is_recovery(),
    }
}

/// The key of an item that waits.
pub(crate) fn item(key: &ItemKey) -> ItemView {
    ItemView {
        record: key.record.to_string(),
        from: key.peer.to_string(),
        form: key.form.bits(),
    }
}

/// Reads the key of an item.
pub(crate) fn item_key(view: ItemView) -> Result<ItemKey, Malformed> {
    let ItemView { record, from, form } = view;
    Ok(ItemKey {
        record: Malformed::reading("record", &record)?,
        peer: Malformed::reading("from", &from)?,
        form: Form::from_bits(form),
    })
}

/// An item that waits, verified again, and the policies that hold it.
pub(crate) fn held(item: &HeldItem, record: &VerifiedRecord, policies: Vec<String>) -> HeldView {
    let header = record.header();
    HeldView {
        item: self::item(&ItemKey::of(item)),
        kind: header.kind.to_string(),
        origin: header.origin.to_string(),
        tlp: header.marking.tlp.to_string(),
        handling: header.marking.handling.to_string(),
        exercise: header.exercise,
        open: record.form().len(),
        sections: header.full_form().len(),
        rule: item.rule.clone(),
        why: item
            .rule
            .parse()
            .map_or_else(|_| String::new(), |rule: Rule| rule.title().to_owned()),
        policies,
        since: item.at.to_string(),
        until: item.ends_at.to_string(),
    }
}

/// An item that failed verification, as a line of the list.
pub(crate) fn bad_item(row: &BadItemRow) -> BadItemView {
    let title = row
        .rule
        .parse()
        .map_or("", portcullis_protocol::rules::Rule::title);
    BadItemView {
        number: row.n,
        record: row.record.to_string(),
        from: row.peer.to_string(),
        rule: row.rule.clone(),
        why: if row.detail.is_empty() {
            title.to_owned()
        } else {
            format!("{title}: {}", row.detail)
        },
        at: row.at.to_string(),
        bytes: row.bytes,
    }
}

/// The line of a held record that was verified; its subject comes from the sections in `shown` alone.
pub(crate) fn record_line(held: &HeldRecord, record: &VerifiedRecord, shown: Form) -> RecordLine {
    let header = record.header();
    RecordLine {
        id: record.id().to_string(),
        kind: header.kind.to_string(),
        origin: header.origin.to_string(),
        sealed_at: header.sealed_at.to_string(),
        received_at: held.received_at.to_string(),
        from: held.source.as_ref().map(ToString::to_string),
        tlp: header.marking.tlp.to_string(),
        handling: header.marking.handling.to_string(),
        evaluation: header.evaluation.to_string(),
        exercise: header.exercise,
        open: record.form().len(),
        sections: header.full_form().len(),
        about: about(record, shown),
        title: said(record, shown, |body| match body {
            Body::Subject(subject) => Some(&subject.title),
            Body::Assessment(_)
            | Body::Narrative(_)
            | Body::Source(_)
            | Body::Persons(_)
            | Body::Attachments(_)
            | Body::Cells(_) => None,
        }),
        threat: said(record, shown, |body| match body {
            Body::Assessment(assessment) => Some(&assessment.threat),
            Body::Subject(_)
            | Body::Narrative(_)
            | Body::Source(_)
            | Body::Persons(_)
            | Body::Attachments(_)
            | Body::Cells(_) => None,
        }),
    }
}

/// Returns a text of the sections of a record that may be shown; `None` if it is empty.
fn said(
    record: &VerifiedRecord,
    shown: Form,
    text: impl Fn(&Body) -> Option<&String>,
) -> Option<String> {
    let sections = record.sections().iter();
    let mut shown = sections.filter(|open| shown.contains(open.section.index));
    let found = shown.find_map(|open| text(&open.body));
    found.filter(|text| !text.is_empty()).cloned()
}

/// Describes the subject of a record: its identifiers, else its title, else its threat or its
/// counts.
fn about(record: &VerifiedRecord, shown: Form) -> Option<String> {
    let sections = record.sections().iter();
    let mut shown = sections.filter(|open| shown.contains(open.section.index));
    shown.find_map(|open| match &open.body {
        Body::Subject(subject) if !subject.selectors.is_empty() => {
            let selectors: Vec<_> = subject.selectors.iter().map(ToString::to_string).collect();
            Some(selectors.join(", "))
        }
        Body::Subject(subject) if !subject.title.is_empty() => Some(subject.title.clone()),
        Body::Assessment(assessment) => Some(matter(assessment)),
        Body::Cells(cells) => Some(format!(
            "counts of {} for {}",
            contributors(cells).join(", "),
            cells.period
        )),
        Body::Subject(_)
        | Body::Narrative(_)
        | Body::Source(_)
        | Body::Persons(_)
        | Body::Attachments(_) => None,
    })
}

/// Describes an assessment without a subject in one line: its threat, else the first line of its text.
fn matter(assessment: &Assessment) -> String {
    let first = assessment.text.lines().next().unwrap_or_default();
    if assessment.threat != UNSPECIFIED || first.is_empty() {
        return assessment.threat.clone();
    }
    let mut matter: String = first.chars().take(LONGEST_MATTER).collect();
    if matter.len() < first.len() {
        matter.push('…');
    }
    matter
}

/// A preview of a backfill to a peer.
pub(crate) fn backfill_preview(peer: &str, preview: &Preview) -> BackfillPreviewView {
    let decided: u64 = preview.sends.values().chain(preview.denied.values()).sum();
    BackfillPreviewView {
        peer: peer.to_owned(),
        looked_at: preview.looked_at,
        sends: preview
            .sends
            .iter()
            .map(|(sends, records)| SendsView {
                records: *records,
                kind: sends.kind.to_string(),
                gets: sends.gets.iter().map(ToString::to_string).collect(),
                withheld: sends.withheld,
                policies: sends.policies.clone(),
            })
            .collect(),
        denied: preview
            .denied
            .iter()
            .map(|(policies, records)| DeniedView {
                records: *records,
                policies: policies.clone(),
            })
            .collect(),
        nothing_new: preview.looked_at.saturating_sub(decided),
    }
}

/// A dependency as it is at this time.
#[must_use]
pub fn end(one: &Dependency, now: Timestamp) -> EndView {
    EndView {
        what: one.subject.to_string(),
        kind: one.subject.name().to_owned(),
        ends: one.ends.to_string(),
        left: one.left(now),
        urgency: one.urgency(now).name().to_owned(),
        stops: one.stops(),
        r#do: one.remedy().to_owned(),
    }
}
