//! Whole-process faults, the short run: twenty kills and one of each fault that is quick.
//! `make faults` is the long run; `docs/reliability.md` has its results.

use portcullis_tests::faults::{clock, disk, kills, link, namespace, report::Row, resources};

use crate::binary::portcullis_lab;

#[track_caller]
fn clean(row: &Row) {
    println!("{row:#?}");
    assert!(row.injected > 0 && row.acknowledged > 0, "{row:?}");
    assert!(row.is_clean(), "{row:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_lose_nothing_and_double_nothing() {
    let row = kills::run(&portcullis_lab(), 2, 20).await;
    assert_eq!(row.states.values().sum::<usize>(), 20);
    clean(&row);
}

/// Attack HH5: an act, its records and its end were three commits; killed in between, an act that was
/// sent again made its records twice or never.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_act_that_is_sent_again_after_a_kill_is_done_once() {
    let row = kills::acts(&portcullis_lab(), 12).await;
    assert!(row.states.values().all(|count| *count > 0), "{row:?}");
    clean(&row);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_for_now_and_loses_nothing() {
    clean(&disk::full(&portcullis_lab()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_ends_the_process_and_loses_nothing() {
    clean(&disk::failing(&portcullis_lab()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_makes_slow_receipts_and_loses_nothing() {
    clean(&disk::slow(&portcullis_lab()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_loses_nothing() {
    clean(&clock::jumps(&portcullis_lab()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_put_right_makes_nobody_wait() {
    clean(&clock::put_right(&portcullis_lab()).await);
}

/// Newcomer A1: after a clock that was set back and confirmed, epochs stopped arriving for as long as
/// it had been ahead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_arrives_soon_after_any_step_of_the_clock() {
    clean(&clock::epochs(&portcullis_lab()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_and_falling_connections_lose_nothing() {
    clean(&link::partition(&portcullis_lab(), 1).await);
    clean(&link::falling(&portcullis_lab(), 10).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_peer_delays_nobody_else() {
    clean(&link::frozen(&portcullis_lab(), 1).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pulled_cable_loses_nothing_where_the_machine_has_namespaces() {
    match namespace::cut_and_healed(&portcullis_lab(), 1).await {
        Some(row) => clean(&row),
        None => println!("skipped: no network namespaces, which take root"),
    }
}

/// Attack H4: a full disk took no alert and no act any more. Bulk gives way first, and everything goes
/// on once there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_short_of_space_takes_alerts_and_acts_and_bulk_once_it_is_freed() {
    if disk::can_mount() {
        clean(&disk::short(&portcullis_lab()).await);
    } else {
        println!("skipped: nothing can be mounted here, which takes root");
    }
}

/// Attack H3: a new model read every indicator with its files, 637 MB for 80 of them. The bound is a
/// third of what 40 of them took.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scoring_over_records_with_large_files_costs_little_memory() {
    let pressure = resources::desk_memory(&portcullis_lab(), 40).await;
    println!("{pressure:#?}");
    assert!(pressure.gained_kib < 100 << 10, "{pressure:?}");
}

/// Attack HH2, H3: what waits was opened all at once, 266 MB for 64 items and one list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_held_items_is_bounded_on_the_disk_and_in_memory() {
    let pressure = resources::held_flood(&portcullis_lab(), 24).await;
    println!("{pressure:#?}");
    assert!(pressure.is_within(), "{pressure:?}");
}

/// Attacks M1, M2, M3, H3, H5: what one member sends without end costs the node bounded memory, and
/// honest alerts a bounded time, with 1 GiB of address space.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_a_member_cost_little_memory_and_alerts_little_time() {
    for pressure in resources::floods(&portcullis_lab()).await {
        println!("{pressure:#?}");
        assert!(pressure.attempts > 0, "{pressure:?}");
        assert!(pressure.is_within(), "{pressure:?}");
    }
}

/// Attack H5: without descriptors a node could take no peer, no administrator and no file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_could_run_out_of_descriptors_keeps_those_it_needs() {
    let pressure = resources::descriptors(&portcullis_lab()).await;
    println!("{pressure:#?}");
    assert!(pressure.is_within(), "{pressure:?}");
}
