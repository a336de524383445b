//! Recovery of records that this authority made and lost. It is an exception to the rule that no
//! record goes back to where it came from.
//!
//! A record that a peer gives back counts by this authority's own signature, and only if this node
//! asked for it. Records made by another authority, and records not asked for, are refused (RC-03),
//! and so is what is past its date of deletion (EX-18).

use std::collections::BTreeSet;

use portcullis_protocol::{
    identifiers::AuthorityId,
    record::RecordId,
    rules::Rule,
    time::Timestamp,
    verify::{Refusal, VerifiedRecord},
};

/// Checks that a record given back was asked for, that this authority made it, and that it still lasts.
///
/// # Errors
///
/// A [`Refusal`] under RC-03 if either of the first is not so, under EX-18 if it does not last.
pub fn check(
    record: &VerifiedRecord,
    own: &AuthorityId,
    wanted: &BTreeSet<RecordId>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let origin = &record.header().origin;
    if origin != own {
        let detail = format!("`{}` was made by `{origin}`", record.id());
        return Err(Refusal::new(Rule::ReconcileRecord, detail));
    }
    if !wanted.contains(&record.id()) {
        let detail = format!("`{}` was not asked for", record.id());
        return Err(Refusal::new(Rule::ReconcileRecord, detail));
    }
    if record.header().marking.is_over(now) {
        let detail = format!("`{}` was to be deleted", record.id());
        return Err(Refusal::new(Rule::Expired, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use portcullis_policy::{Bundle, Engine};

    use super::*;
    use portcullis_kernel::decide::Decider;
    use portcullis_testbed as testbed;
    use portcullis_testbed::NOW;

    #[test]
    fn rc_03_a_record_given_back_is_taken_only_if_asked_for_and_ones_own() {
        let engine = Engine::new(Bundle::empty(), NonZeroUsize::new(64).unwrap()).unwrap();
        let decider =
            Decider::new(testbed::register(), engine, "rotterdam".parse().unwrap()).unwrap();
        let verified = |member| {
            let sealed = testbed::seal(member, vec![testbed::indicator()], 1).remove(0);
            decider.verify_seen(&sealed, NOW, NOW).unwrap()
        };
        let (own, others) = (verified(1), verified(2));
        let me = "rotterdam".parse().unwrap();
        let wanted = BTreeSet::from([own.id(), others.id()]);
        check(&own, &me, &wanted, NOW).unwrap();
        for (record, wanted) in [(&others, wanted), (&own, BTreeSet::from([others.id()]))] {
            let refusal = check(record, &me, &wanted, NOW).unwrap_err();
            assert_eq!(refusal.rule, Rule::ReconcileRecord);
        }
    }
    /// Attack HM9: what its originator lost came back to it after its date of deletion.
    #[test]
    fn ex_18_a_record_past_its_date_of_deletion_is_not_taken_back() {
        let engine = Engine::new(Bundle::empty(), NonZeroUsize::new(64).unwrap()).unwrap();
        let decider =
            Decider::new(testbed::register(), engine, "rotterdam".parse().unwrap()).unwrap();
        let mut draft = testbed::indicator();
        let end = NOW.plus_millis(1_000);
        draft.marking.delete_at = Some(end);
        let sealed = testbed::seal(1, vec![draft], 1).remove(0);
        let record = decider.verify_seen(&sealed, NOW, NOW).unwrap();
        let me = "rotterdam".parse().unwrap();
        let wanted = BTreeSet::from([record.id()]);
        let checked = |now| check(&record, &me, &wanted, now).map_err(|refusal| refusal.rule);
        assert_eq!(checked(end.plus_millis(-1)), Ok(()));
        assert_eq!(checked(end), Err(Rule::Expired));
    }
}
