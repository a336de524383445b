//! Alarms of the desk, pure: what a score, a model or a sweep tells of members that mean to move
//! scores.

use portcullis_kernel::alarms::Alarm;
use portcullis_protocol::{identifiers::AuthorityId, record::RecordId};
use portcullis_scoring::{
    recommend::Control,
    score::{Score, What},
};

/// Returns the alarms that a score raises: members whose statements take more than one authority
/// may, and requests of others to the finder.
pub(crate) fn of_score(score: &Score, own: &AuthorityId) -> Vec<Alarm> {
    let bounded = score
        .contributions
        .iter()
        .filter_map(|part| match &part.what {
            What::Bound { authorities } => Some(authorities),
            What::Base | What::Level { .. } | What::Selector { .. } => None,
        });
    let bounded = bounded.flatten().map(|authority| Alarm {
        of: format!("bounded {authority}"),
        what: format!(
            "counts or outcomes of `{authority}` would lower scores by more than one authority may; \
             what is beyond that is given back"
        ),
    });
    let asks = score.recommendation.asks.iter();
    let asks = asks.filter(|ask| ask.authority != *own).map(|ask| Alarm {
        // One for each action: a flood of requests must leave room for other alarms.
        of: format!("asks {} {}", ask.authority, ask.action),
        what: format!(
            "`{}` asks for `{}` on arriving goods, in record {}; the recommended control stands beside it",
            ask.authority, ask.action, ask.record
        ),
    });
    bounded.chain(asks).collect()
}

/// Returns the alarms of profiles that are not believed.
pub(crate) fn of_profiles(implausible: &[RecordId]) -> Vec<Alarm> {
    let alarm = |record: &RecordId| Alarm {
        of: format!("implausible {record}"),
        what: format!(
            "profile {record} shows more than ten times the controls of the one before it; that one stands"
        ),
    };
    implausible.iter().map(alarm).collect()
}

/// A recommended control that fell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fall {
    pub(crate) reference: String,
    pub(crate) from: Control,
    pub(crate) to: Control,
}

/// Returns the alarm of recommended controls that fell together; `None` if none did. `revision`
/// counts the changes of what scores rest on.
pub(crate) fn of_falls(falls: &[Fall], revision: u64) -> Option<Alarm> {
    let deepest = falls.iter().max_by_key(|fall| fall.from)?;
    Some(Alarm {
        of: format!("fell {revision} {}", deepest.reference),
        what: format!(
            "recommended controls of {} arrivals fell after new profiles, outcomes or history, \
             `{}` from {} to {}; `portcullis score {}` names the records",
            falls.len(),
            deepest.reference,
            deepest.from,
            deepest.to,
            deepest.reference
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fall(reference: &str, from: Control, to: Control) -> Fall {
        Fall {
            reference: reference.to_owned(),
            from,
            to,
        }
    }

    #[test]
    fn one_alarm_tells_how_many_fell_and_names_the_deepest() {
        assert_eq!(of_falls(&[], 7), None);
        let falls = [
            fall("1", Control::Document, Control::None),
            fall("2", Control::Physical, Control::Scan),
        ];
        let alarm = of_falls(&falls, 7).unwrap();
        assert!(alarm.what.contains("2 arrivals fell"), "{}", alarm.what);
        assert!(
            alarm.what.contains("`2` from physical to scan"),
            "{}",
            alarm.what
        );
    }
}
