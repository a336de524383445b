//! Failures, refusals and events out of order.

use super::*;

#[test]
fn ex_15_a_frame_refused_whole_settles_nothing_and_is_planned_again_later() {
    let mut bench = Bench::new();
    bench.fill();
    let effects = bench.answer(Said::Refused(Rule::Busy), 0);
    assert!(disconnects(&effects), "{effects:?}");
    assert_eq!(paused_until(&effects), NOW.plus_millis(100));
    assert!(!effects.iter().any(|one| matches!(one, Effect::Settle(_))));
    assert!(matches!(bench.handle(Event::Wake)[..], [Effect::WakeAt(_)]));
    bench.now = NOW.plus_millis(100);
    assert!(matches!(
        bench.handle(Event::Wake)[..],
        [Effect::Plan(None)]
    ));
}

#[test]
fn a_pause_ends_when_the_clock_is_put_back() {
    let mut bench = Bench::new();
    bench.fill();
    bench.answer(Said::Refused(Rule::Busy), 0);
    bench.now = NOW.plus_millis(100 - RETRY.longest_ms());
    assert!(matches!(bench.handle(Event::Wake)[..], [Effect::WakeAt(_)]));
    bench.now = NOW.plus_millis(99 - RETRY.longest_ms());
    assert!(matches!(
        bench.handle(Event::Wake)[..],
        [Effect::Plan(None)]
    ));
}

#[test]
fn a_failure_drops_what_is_on_its_way_and_goes_on_from_what_is_durable() {
    let (mut bench, _) = Bench::with_four_in_flight();
    // One receipt came before the connection ended. It is settled all the same.
    let effects = bench.answer(Said::Each(Outcome::Accepted), 1);
    assert_eq!(settled(&effects).len(), 1);
    let effects = bench.handle(Event::Failed(FailedAt::Link));
    assert!(disconnects(&effects));
    assert_eq!(bench.machine.in_flight(), 0);
    assert!(
        !effects.iter().any(|one| matches!(one, Effect::Plan(_))),
        "not before the settlement is durable: {effects:?}"
    );
    let effects = bench.handle(Event::Settled);
    assert!(matches!(effects[..], [Effect::Plan(None)]), "{effects:?}");
}

#[test]
fn a_connection_that_worked_is_replaced_at_once_and_a_second_failure_waits() {
    let (mut bench, _) = Bench::with_four_in_flight();
    let effects = bench.handle(Event::Failed(FailedAt::Link));
    assert!(
        matches!(effects[..], [Effect::Disconnect, Effect::Plan(None)]),
        "{effects:?}"
    );
    let footing = Footing {
        next_sequence: 2,
        settled_sequence: 2,
        cursor: 1,
        ..start(GENERATION)
    };
    bench.send_from(footing);
    let effects = bench.handle(Event::Failed(FailedAt::Link));
    assert_eq!(paused_until(&effects), NOW.plus_millis(100));
}

#[test]
fn what_was_planned_ahead_of_a_failure_is_discarded() {
    let mut bench = Bench::new();
    bench.fill();
    let effects = bench.answer(Said::Each(Outcome::Accepted), 4);
    let footing = tip(&effects);
    bench.handle(Event::Settled);
    bench.handle(Event::Failed(FailedAt::Link));
    // The plan that was under way arrives after the failure.
    let plan = bench.plan(footing);
    let effects = bench.planned(plan);
    assert!(matches!(effects[..], [Effect::Plan(None)]), "{effects:?}");
}

#[test]
fn ledger_rows_of_a_frame_that_a_failure_overtook_send_nothing() {
    let mut bench = Bench::new();
    bench.fill();
    let effects = bench.answer(Said::Each(Outcome::Accepted), 4);
    let footing = tip(&effects);
    bench.handle(Event::Settled);
    let effects = bench.send_from(footing);
    let plan = bench.plan(tip(&effects));
    intended(&bench.planned(plan));
    bench.handle(Event::Failed(FailedAt::Link));
    let effects = bench.handle(Event::Intended);
    assert!(matches!(effects[..], [Effect::Plan(None)]), "{effects:?}");
}

#[test]
fn a_frame_whose_policy_has_changed_is_not_sent_and_not_counted() {
    let mut bench = Bench::new();
    bench.handle(Event::Wake);
    let plan = bench.plan(start(GENERATION));
    bench.planned(plan);
    let mut effects = bench.handle(Event::Intended);
    let Effect::Send(outgoing) = effects.remove(0) else {
        panic!("{effects:?}");
    };
    assert!(outgoing.release(&decider()).is_none());
    let effects = bench.handle(Event::Superseded);
    assert!(matches!(effects[..], [Effect::Plan(None)]), "{effects:?}");
    assert_eq!(bench.machine.in_flight(), 0);
}

#[test]
fn after_a_change_of_policy_what_is_on_its_way_is_receipted_first() {
    let (mut bench, _) = Bench::with_four_in_flight();
    bench.sent.pop_back();
    // The last of the four did not leave.
    assert!(bench.handle(Event::Superseded).is_empty());
    for _ in 0..2 {
        let effects = bench.answer(Said::Each(Outcome::Accepted), 4);
        assert!(!effects.iter().any(|one| matches!(one, Effect::Plan(_))));
        assert!(bench.handle(Event::Settled).is_empty());
    }
    bench.answer(Said::Each(Outcome::Accepted), 4);
    let effects = bench.handle(Event::Settled);
    assert!(matches!(effects[..], [Effect::Plan(None)]), "{effects:?}");
}

#[test]
fn what_is_denied_behind_frames_on_their_way_is_passed_with_the_last_of_them() {
    let mut bench = Bench::new();
    bench.fill();
    let effects = bench.answer(Said::Each(Outcome::Accepted), 4);
    let footing = tip(&effects);
    bench.handle(Event::Settled);
    let effects = bench.send_from(footing);
    // There is nothing to send: the plan moves the cursor alone.
    let effects = bench.planned(nothing(tip(&effects), Some(40), None));
    let footing = tip(&effects);
    assert_eq!(footing.cursor, 40);
    // A denial is noted at once, and the cursor stays where it is.
    let mut denied = nothing(footing, Some(50), None);
    denied.entries.push(portcullis_store::LedgerEntry {
        sequence: Some(50),
        record: record().id(),
        form: portcullis_protocol::record::Form::EMPTY,
        withheld: 4,
        note: portcullis_store::DecisionNote::default(),
    });
    let effects = bench.planned(denied);
    assert_eq!(intended(&effects).cursor, None);
    bench.handle(Event::Intended);
    let effects = bench.answer(Said::Each(Outcome::Accepted), 4);
    assert_eq!(settled(&effects)[0].cursor, Some(50));
}

#[test]
fn a_receipt_that_nobody_waits_for_changes_nothing_durable() {
    let mut bench = Bench::new();
    bench.fill();
    let answer = bench.receipt(Said::Each(Outcome::Accepted), 1);
    bench.handle(Event::Failed(FailedAt::Link));
    let effects = bench.handle(Event::Answered(Box::new(answer)));
    assert!(!effects.iter().any(|one| matches!(one, Effect::Settle(_))));
}

#[test]
fn receipts_out_of_order_settle_nothing() {
    let (mut bench, _) = Bench::with_four_in_flight();
    bench.sent.swap(0, 1);
    let effects = bench.answer(Said::Each(Outcome::Accepted), 4);
    assert!(disconnects(&effects), "{effects:?}");
    assert!(!effects.iter().any(|one| matches!(one, Effect::Settle(_))));
}

#[test]
fn answers_that_could_not_be_stored_are_asked_for_again() {
    let (mut bench, _) = Bench::with_four_in_flight();
    for _ in 0..2 {
        bench.answer(Said::Each(Outcome::Accepted), 1);
    }
    let effects = bench.handle(Event::Failed(FailedAt::Settle));
    assert!(disconnects(&effects));
    bench.now = paused_until(&effects);
    assert!(matches!(
        bench.handle(Event::Wake)[..],
        [Effect::Plan(None)]
    ));
}

#[test]
fn ex_10_a_node_that_was_rolled_back_starts_a_new_generation_once() {
    let mut bench = Bench::new();
    bench.fill();
    let effects = bench.prove_forgotten(GENERATION);
    let [
        Effect::Disconnect,
        Effect::StartGeneration {
            instead_of,
            shown,
            why,
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}");
    };
    assert_eq!((*instead_of, *shown), (GENERATION, GENERATION));
    assert!(why.contains("antwerp-1") && why.contains("EX-10"), "{why}");
    // Nothing is planned before the generation is in force.
    assert!(bench.handle(Event::Wake).is_empty());
    let effects = bench.handle(Event::GenerationStarted);
    assert!(matches!(effects[..], [Effect::Plan(None)]), "{effects:?}");
    bench.send_from(start(ANOTHER));
    let effects = bench.answer(Said::Each(Outcome::Accepted), 4);
    assert_eq!(settled(&effects)[0].generation, ANOTHER);
}

#[test]
fn ex_10_a_peer_makes_this_node_start_a_generation_once_an_hour_and_no_more() {
    for took_a_frame in [false, true] {
        let mut bench = Bench::new();
        bench.fill();
        bench.prove_forgotten(GENERATION);
        bench.handle(Event::GenerationStarted);
        bench.send_from(start(ANOTHER));
        if took_a_frame {
            let effects = bench.answer(Said::Each(Outcome::Accepted), 1);
            let footing = tip(&effects);
            bench.handle(Event::Settled);
            bench.send_from(footing);
        }
        let effects = bench.prove_forgotten(GENERATION);
        let starts = |one: &Effect| matches!(one, Effect::StartGeneration { .. });
        assert!(!effects.iter().any(starts), "{effects:?}");
        assert!(matches!(&effects[..], [.., Effect::Trouble(rule)] if rule == "EX-10"));
        let until = paused_until(&effects);
        assert_eq!(until, NOW.plus_millis(STOPPED_MS));
        // After the hour it is believed again.
        bench.now = until;
        bench.handle(Event::Wake);
        bench.send_from(start(ANOTHER));
        let effects = bench.prove_forgotten(GENERATION);
        assert!(effects.iter().any(starts), "{effects:?}");
    }
}

/// Attacks HH3 and M6: the word of a peer restarted the generation for all.
#[test]
fn ex_10_without_a_proof_is_trouble_with_that_peer_alone() {
    let mut bench = Bench::new();
    bench.fill();
    let effects = bench.answer(Said::Refused(Rule::Sequence), 1);
    let [
        Effect::Disconnect,
        Effect::WakeAt(until),
        Effect::Trouble(rule),
    ] = &effects[..]
    else {
        panic!("{effects:?}");
    };
    assert_eq!(
        (*until, rule.as_str()),
        (NOW.plus_millis(STOPPED_MS), "EX-10")
    );
    bench.now = *until;
    let effects = bench.handle(Event::Wake);
    assert!(matches!(effects[..], [Effect::Plan(None)]), "{effects:?}");
    // The peer may prove it later.
    bench.send_from(start(GENERATION));
    let effects = bench.prove_forgotten(ANOTHER);
    let shows =
        |one: &Effect| matches!(one, Effect::StartGeneration { shown, .. } if *shown == ANOTHER);
    assert!(effects.iter().any(shows), "{effects:?}");
}

#[test]
fn ex_11_deliveries_to_a_peer_that_sees_a_fork_stop_and_are_told_as_trouble() {
    let (mut bench, _) = Bench::with_four_in_flight();
    let effects = bench.answer(Said::Refused(Rule::Fork), 4);
    assert!(disconnects(&effects));
    assert!(matches!(&effects[..], [.., Effect::Trouble(rule)] if rule == "EX-11"));
    let until = paused_until(&effects);
    assert_eq!(until, NOW.plus_millis(STOPPED_MS));
    // It stays paused however often it is woken, so it does not spin.
    for _ in 0..3 {
        let effects = bench.handle(Event::Wake);
        assert!(matches!(effects[..], [Effect::WakeAt(at)] if at == until));
    }
    bench.now = until;
    assert!(matches!(
        bench.handle(Event::Wake)[..],
        [Effect::Plan(None)]
    ));
}

#[test]
fn a_generation_that_another_lane_started_is_taken_up_once_the_old_frames_are_receipted() {
    let (mut bench, _) = Bench::with_four_in_flight();
    let effects = bench.answer(Said::Each(Outcome::Accepted), 4);
    tip(&effects);
    assert!(bench.handle(Event::Outdated).is_empty());
    bench.handle(Event::Settled);
    for _ in 0..3 {
        let effects = bench.answer(Said::Each(Outcome::Accepted), 4);
        assert_eq!(settled(&effects)[0].generation, GENERATION);
        if bench.sent.is_empty() {
            break;
        }
        assert!(bench.handle(Event::Settled).is_empty());
    }
    let effects = bench.handle(Event::Settled);
    assert!(matches!(effects[..], [Effect::Plan(None)]), "{effects:?}");
    bench.send_from(start(ANOTHER));
    assert_eq!(bench.sent[0].head().generation, ANOTHER);
}
