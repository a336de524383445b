//! Attacks with records: wrong signatures and headers of an originator, and a hub's changes to
//! records that others signed correctly.

use portcullis_protocol::{
    marking::{Purpose, Tlp},
    record::{Form, Kind},
    wire,
};
use prost::bytes::Bytes;

use super::{
    Behaviour,
    forge::{Loose, Who, reseal, reseal_bytes, sign, statement},
    stage::{Theatre, draft, retired_key},
};
use crate::behaviours;

/// Behaviours of this layer.
pub const BEHAVIOURS: &[Behaviour] = behaviours![
    hp_57_a_hub_strips_a_section_from_the_table,
    hp_58_a_hub_adds_a_section,
    hp_59_a_hub_swaps_two_salts,
    hp_60_a_hub_swaps_the_bodies_of_two_records,
    hp_61_a_hub_repeats_a_section,
    hp_62_a_hub_cuts_a_group_apart,
    hp_63_a_hub_opens_nothing,
    hp_64_a_salt_of_another_length,
    hp_65_a_path_cut_short,
    hp_66_a_huge_path,
    hp_67_an_inner_node_of_a_batch_as_a_leaf,
    hp_68_a_record_under_another_batch_of_its_origin,
    hp_69_another_records_blind,
    hp_70_a_record_of_another_federation,
    hp_71_a_record_of_an_exercise,
    hp_72_a_batch_back_dated_under_a_retired_key,
    hp_73_a_record_of_the_future,
    hp_74_a_record_of_ancient_times,
    hp_75_an_unknown_sealing_key,
    hp_76_a_batch_signed_by_a_hop_key,
    hp_77_an_honest_origin_with_a_forged_signature,
    hp_78_the_targets_own_record_comes_back,
    hp_79_a_thinner_form_races_the_full_one,
    hp_80_a_record_made_for_someone_else_is_retargeted,
    hp_81_a_member_passes_on_what_it_may_not,
    hp_82_a_kind_that_is_not_in_use,
    hp_83_a_table_with_an_index_twice,
    hp_84_a_section_looser_than_its_record,
    hp_85_control_characters_in_a_title,
    hp_86_the_policy_memo_is_filled_and_asked_again,
    hp_87_refused_items_by_the_thousand,
    hp_88_a_batch_of_too_many_leaves,
    hp_89_a_marking_that_contradicts_itself,
];

/// A record of the honest member as the hub received it.
async fn honest(stage: &mut Theatre) -> Loose {
    Loose::of(&stage.honest_record(draft(Kind::Indicator)).await)
}

fn own(stage: &Theatre) -> Loose {
    stage.seal_one(&stage.mallory, draft(Kind::Indicator))
}

#[track_caller]
fn is(told: &str, expected: &str) {
    assert_eq!(told, expected);
}

async fn hp_57_a_hub_strips_a_section_from_the_table(stage: &mut Theatre) {
    let mut item = honest(stage).await;
    let mut header = item.header();
    header.sections.pop();
    item.record.header = prost::Message::encode_to_vec(&header).into();
    item.record.sections.pop();
    is(&stage.deliver(Who::Hub, &item).await, "refused RE-14");
}

async fn hp_58_a_hub_adds_a_section(stage: &mut Theatre) {
    let mut item = honest(stage).await;
    let mut added = item.section(3).clone();
    added.index = 9;
    item.record.sections.push(added);
    is(&stage.deliver(Who::Hub, &item).await, "refused RE-05");
}

async fn hp_59_a_hub_swaps_two_salts(stage: &mut Theatre) {
    let mut item = honest(stage).await;
    let (first, second) = (item.section(2).salt.clone(), item.section(3).salt.clone());
    item.section(2).salt = second;
    item.section(3).salt = first;
    is(&stage.deliver(Who::Hub, &item).await, "refused RE-11");
}

async fn hp_60_a_hub_swaps_the_bodies_of_two_records(stage: &mut Theatre) {
    let mut item = honest(stage).await;
    let mut other = honest(stage).await;
    *item.section(3) = other.section(3).clone();
    is(&stage.deliver(Who::Hub, &item).await, "refused RE-11");
}

async fn hp_61_a_hub_repeats_a_section(stage: &mut Theatre) {
    let mut item = honest(stage).await;
    let again = item.section(3).clone();
    item.record.sections.push(again);
    is(&stage.deliver(Who::Hub, &item).await, "refused RE-06");
    let mut turned = honest(stage).await;
    turned.record.sections.reverse();
    is(&stage.deliver(Who::Hub, &turned).await, "refused RE-06");
}

async fn hp_62_a_hub_cuts_a_group_apart(stage: &mut Theatre) {
    let mut item = honest(stage).await;
    item.record.sections.remove(0);
    is(&stage.deliver(Who::Hub, &item).await, "refused RE-10");
}

async fn hp_63_a_hub_opens_nothing(stage: &mut Theatre) {
    let mut item = honest(stage).await;
    item.record.sections.clear();
    is(&stage.deliver(Who::Hub, &item).await, "refused RE-09");
}

async fn hp_64_a_salt_of_another_length(stage: &mut Theatre) {
    for length in [0, 15, 17, 100_000] {
        let mut item = honest(stage).await;
        item.section(1).salt = vec![7; length].into();
        is(&stage.deliver(Who::Hub, &item).await, "refused RE-07");
    }
}

fn of_a_batch(stage: &Theatre) -> Loose {
    let drafts = vec![draft(Kind::Indicator); 4];
    Loose::of(stage.seal(&stage.mallory, drafts).first().unwrap())
}

async fn hp_65_a_path_cut_short(stage: &mut Theatre) {
    let mut item = of_a_batch(stage);
    item.record.path.truncate(32);
    is(&stage.deliver(Who::Mallory, &item).await, "refused RE-13");
}

/// The rule that applies to a short path applies here as well: a loop over the path would be long.
async fn hp_66_a_huge_path(stage: &mut Theatre) {
    let mut item = of_a_batch(stage);
    item.record.path = vec![7; 4 << 20].into();
    is(&stage.deliver(Who::Mallory, &item).await, "refused RE-13");
    let mut item = of_a_batch(stage);
    item.record.leaf = u32::MAX;
    is(&stage.deliver(Who::Mallory, &item).await, "refused RE-13");
}

/// The originator claims that the tree has one leaf, whose digest is the root over four leaves. The
/// root could then be opened to either.
async fn hp_67_an_inner_node_of_a_batch_as_a_leaf(stage: &mut Theatre) {
    let item = of_a_batch(stage);
    let mut one = statement(&item);
    one.tree_size = 1;
    let signed = sign::<portcullis_protocol::seal::Batch>(&one, &stage.mallory.keyring.sealing);
    let collapsed = Loose {
        record: wire::Record {
            leaf: 0,
            path: Bytes::new(),
            ..item.record.clone()
        },
        batch: (&signed).into(),
    };
    is(
        &stage.deliver(Who::Mallory, &collapsed).await,
        "refused RE-14",
    );
}

async fn hp_68_a_record_under_another_batch_of_its_origin(stage: &mut Theatre) {
    let mut item = honest(stage).await;
    // The other batch has another root, even if it was sealed within the same millisecond.
    item.batch = honest(stage).await.batch;
    let told = stage.deliver(Who::Hub, &item).await;
    assert!(
        ["refused RE-16", "refused RE-14"].contains(&told.as_str()),
        "{told}"
    );
}

async fn hp_69_another_records_blind(stage: &mut Theatre) {
    let mut item = honest(stage).await;
    item.record.blind = honest(stage).await.record.blind;
    is(&stage.deliver(Who::Hub, &item).await, "refused RE-14");
}

async fn hp_70_a_record_of_another_federation(stage: &mut Theatre) {
    let item = own(stage);
    let mut header = item.header();
    header.federation = "elsewhere".to_owned();
    let forged = reseal(&item, &header, &stage.mallory.keyring.sealing);
    is(&stage.deliver(Who::Mallory, &forged).await, "refused RE-02");
    // The statement names this federation, the header another one.
    let bytes = prost::Message::encode_to_vec(&header).into();
    let split = reseal_bytes(&item, bytes, &stage.mallory.keyring.sealing, |statement| {
        statement.federation = crate::federation::FEDERATION.to_owned();
    });
    is(&stage.deliver(Who::Mallory, &split).await, "refused RE-02");
}

async fn hp_71_a_record_of_an_exercise(stage: &mut Theatre) {
    let mut exercise = draft(Kind::Alert);
    exercise.exercise = true;
    let item = stage.seal_one(&stage.mallory, exercise);
    is(&stage.deliver(Who::Mallory, &item).await, "refused EX-20");
}

/// The batch claims to have been sealed while the key was in force. The time at which it is first
/// seen decides.
async fn hp_72_a_batch_back_dated_under_a_retired_key(stage: &mut Theatre) {
    let item = own(stage);
    let mut header = item.header();
    header.key_id = Bytes::copy_from_slice(retired_key().id().as_bytes());
    header.sealed_at_ms -= 30 * 86_400_000;
    let dated = reseal(&item, &header, &retired_key());
    let told = stage.deliver(Who::Mallory, &dated).await;
    assert!(told.ends_with("EX-09"), "{told}");
    assert!(!told.starts_with("accepted"), "{told}");
}

async fn hp_73_a_record_of_the_future(stage: &mut Theatre) {
    for ahead in [11 * 60_000, 86_400_000, i64::MAX / 2] {
        let item = own(stage);
        let mut header = item.header();
        header.sealed_at_ms += ahead;
        let dated = reseal(&item, &header, &stage.mallory.keyring.sealing);
        is(
            &stage.deliver(Who::Mallory, &dated).await,
            "refused-for-now EX-16",
        );
    }
}

/// An old record under a key in force is accepted, because no rule requires a record to be recent.
/// It changes no clock and ends no other record.
async fn hp_74_a_record_of_ancient_times(stage: &mut Theatre) {
    for at in [0, 1, -1, i64::MIN] {
        let item = own(stage);
        let mut header = item.header();
        header.sealed_at_ms = at;
        let dated = reseal(&item, &header, &stage.mallory.keyring.sealing);
        let told = stage.deliver(Who::Mallory, &dated).await;
        if at == i64::MIN {
            is(&told, "refused RE-01");
        } else {
            is(&told, "accepted");
            stage.allowed.insert(dated.id());
        }
    }
}

async fn hp_75_an_unknown_sealing_key(stage: &mut Theatre) {
    let item = own(stage);
    let key = portcullis_protocol::keys::SigningKey::from_seed(
        portcullis_protocol::keys::KeyUse::Sealing,
        [5; 32],
    );
    let mut header = item.header();
    header.key_id = Bytes::copy_from_slice(key.id().as_bytes());
    let forged = reseal(&item, &header, &key);
    is(
        &stage.deliver(Who::Mallory, &forged).await,
        "refused-for-now EX-07",
    );
}

/// The register lists the key, but for another use.
async fn hp_76_a_batch_signed_by_a_hop_key(stage: &mut Theatre) {
    /// A batch statement under a hop key.
    struct ByHop;
    impl portcullis_protocol::statement::StatementType for ByHop {
        const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.batch.v1";
        const KEY_USE: portcullis_protocol::keys::KeyUse = portcullis_protocol::keys::KeyUse::Hop;
    }
    let item = own(stage);
    let hop = &stage.mallory.keyring.hop;
    let mut header = item.header();
    header.key_id = Bytes::copy_from_slice(hop.id().as_bytes());
    let mut forged = reseal(&item, &header, &stage.mallory.keyring.sealing);
    let mut says = statement(&forged);
    says.key_id = header.key_id;
    forged.batch = (&sign::<ByHop>(&says, hop)).into();
    is(
        &stage.deliver(Who::Mallory, &forged).await,
        "refused-for-now EX-07",
    );
}

async fn hp_77_an_honest_origin_with_a_forged_signature(stage: &mut Theatre) {
    let mut item = honest(stage).await;
    let mut signature = item.batch.signature.to_vec();
    signature[0] ^= 1;
    item.batch.signature = signature.into();
    is(&stage.deliver(Who::Hub, &item).await, "refused EX-08");
    // A forged header under the statement of the honest member.
    let item = honest(stage).await;
    let mut header = item.header();
    header.sealed_at_ms += 1;
    let forged = reseal(&item, &header, &stage.mallory.keyring.sealing);
    let told = stage.deliver(Who::Hub, &forged).await;
    is(&told, "refused-for-now EX-07");
}

async fn hp_78_the_targets_own_record_comes_back(stage: &mut Theatre) {
    let kernel = &stage.target.kernel;
    let id = kernel.publish(vec![draft(Kind::Indicator)]).await.unwrap()[0];
    let own = Loose::of(&super::stage::of(kernel, &id));
    is(&stage.deliver(Who::Hub, &own).await, "refused EX-19");
}

/// Both forms are one record in whatever order they arrive, and an answer once given stays.
async fn hp_79_a_thinner_form_races_the_full_one(stage: &mut Theatre) {
    let whole = stage
        .seal(&stage.mallory, vec![draft(Kind::Indicator)])
        .remove(0);
    let thin = whole.withhold(Form::from_bits(0b0011)).unwrap();
    let middle = whole.withhold(Form::from_bits(0b0111)).unwrap();
    stage.allowed.insert(whole.id());
    let [whole, thin, middle] = [&whole, &thin, &middle].map(Loose::of);
    is(&stage.deliver(Who::Mallory, &thin).await, "accepted");
    is(&stage.deliver(Who::Mallory, &whole).await, "extended");
    is(&stage.deliver(Who::Mallory, &middle).await, "duplicate");
    is(&stage.deliver(Who::Mallory, &thin).await, "accepted");
    is(&stage.deliver(Who::Mallory, &whole).await, "extended");
    let held = super::stage::of(&stage.target.kernel, &whole.id());
    assert_eq!(held.form(), Form::from_bits(0b1111));
    assert_eq!(stage.times_held(&whole.id()), 1);
}

async fn hp_80_a_record_made_for_someone_else_is_retargeted(stage: &mut Theatre) {
    let mut red = draft(Kind::Indicator);
    red.marking.tlp = Tlp::Red;
    red.marking.release_to = Some(["rotterdam".parse().unwrap()].into());
    let item = stage.seal_one(&stage.mallory, red);
    is(&stage.deliver(Who::Mallory, &item).await, "refused PO-01");
    is(&stage.deliver(Who::Hub, &item).await, "refused PO-01");
}

/// A member that is not a hub delivers what another made.
async fn hp_81_a_member_passes_on_what_it_may_not(stage: &mut Theatre) {
    let mut amber = draft(Kind::Indicator);
    amber.marking.tlp = Tlp::Amber;
    let made = stage.seal_one(&stage.hub, amber);
    is(&stage.deliver(Who::Mallory, &made).await, "refused PO-01");
}

fn with_header(stage: &Theatre, change: impl FnOnce(&mut wire::Header)) -> Loose {
    let item = own(stage);
    let mut header = item.header();
    change(&mut header);
    reseal(&item, &header, &stage.mallory.keyring.sealing)
}

async fn hp_82_a_kind_that_is_not_in_use(stage: &mut Theatre) {
    for kind in [6, 8, 99] {
        let item = with_header(stage, |header| header.kind = kind);
        is(
            &stage.deliver(Who::Mallory, &item).await,
            "refused-for-now RE-03",
        );
    }
}

async fn hp_83_a_table_with_an_index_twice(stage: &mut Theatre) {
    let item = with_header(stage, |header| {
        let first = header.sections[0].clone();
        header.sections.insert(0, first);
    });
    is(&stage.deliver(Who::Mallory, &item).await, "refused RE-04");
    let item = with_header(stage, |header| {
        let last = header.sections.last_mut().unwrap();
        last.index = u32::MAX;
    });
    is(&stage.deliver(Who::Mallory, &item).await, "refused RE-04");
}

async fn hp_84_a_section_looser_than_its_record(stage: &mut Theatre) {
    let item = with_header(stage, |header| {
        header.sections[3].stricter = Some(wire::SectionMarking {
            tlp: wire::Tlp::Clear.into(),
            pap: wire::Pap::Clear.into(),
            h1: false,
            h2: false,
        });
    });
    is(&stage.deliver(Who::Mallory, &item).await, "refused RE-08");
}

async fn hp_85_control_characters_in_a_title(stage: &mut Theatre) {
    let mut item = own(stage);
    let subject = wire::Subject {
        title: "box\u{1b}[2J".to_owned(),
        ..prost::Message::decode(item.section(0).body.clone()).unwrap()
    };
    item.section(0).body = prost::Message::encode_to_vec(&subject).into();
    let section = item.section(0).clone();
    let digest = portcullis_protocol::digest::Digest::labelled(
        "portcullis section v1",
        &[
            &section.salt,
            &1_u16.to_be_bytes(),
            &0_u16.to_be_bytes(),
            &section.body,
        ],
    );
    let mut header = item.header();
    header.sections[0].digest = Bytes::copy_from_slice(digest.as_bytes());
    let forged = reseal(&item, &header, &stage.mallory.keyring.sealing);
    is(&stage.deliver(Who::Mallory, &forged).await, "refused RE-12");
}

/// An answer remembered for one marking is not given for another, however many others come in
/// between.
async fn hp_86_the_policy_memo_is_filled_and_asked_again(stage: &mut Theatre) {
    let only_for = |name: &str| {
        let mut red = draft(Kind::Indicator);
        red.marking.tlp = Tlp::Red;
        red.marking.release_to = Some([name.parse().unwrap()].into());
        red
    };
    let good = stage.seal_one(&stage.mallory, only_for("antwerp"));
    is(&stage.deliver(Who::Mallory, &good).await, "accepted");
    stage.allowed.insert(good.id());
    // Each of these is a separate question to the policy.
    let many: Vec<_> = (0..256)
        .map(|n| {
            let mut other = only_for(&format!("member-{n}"));
            other.marking.purposes = [Purpose::Statistics].into();
            other
        })
        .collect();
    let sealed = stage.seal(&stage.mallory, many);
    let items: Vec<_> = sealed.iter().map(Loose::of).collect();
    for answer in stage.deliver_all(Who::Mallory, &items).await {
        is(&answer, "refused PO-01");
    }
    let bad = stage.seal_one(&stage.mallory, only_for("rotterdam"));
    is(&stage.deliver(Who::Mallory, &bad).await, "refused PO-01");
}

/// A thousand refused items in a frame: each is answered, and the storage used for each is bounded.
async fn hp_87_refused_items_by_the_thousand(stage: &mut Theatre) {
    let folder = stage.target.home.data();
    let before = bytes_in(&folder);
    let frames = 4;
    for _ in 0..frames {
        let mut red = draft(Kind::Indicator);
        red.marking.tlp = Tlp::Red;
        red.marking.release_to = Some(["rotterdam".parse().unwrap()].into());
        let sealed = stage.seal(&stage.mallory, vec![red; 1024]);
        let items: Vec<_> = sealed.iter().map(Loose::of).collect();
        let told = stage.deliver_all(Who::Mallory, &items).await;
        assert!(told.iter().all(|one| one == "refused PO-01"));
    }
    let each = (bytes_in(&folder) - before) / (frames * 1024);
    println!("{each} bytes are kept of a refused item");
    assert!(each < 1_000, "{each} bytes are kept of a refused item");
}

fn bytes_in(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap())
        .filter(|entry| !entry.file_name().to_string_lossy().ends_with("-wal"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum()
}

async fn hp_88_a_batch_of_too_many_leaves(stage: &mut Theatre) {
    for size in [0, 3, 2048, u32::MAX] {
        let item = own(stage);
        let bytes = item.record.header.clone();
        let key = &stage.mallory.keyring.sealing;
        let forged = reseal_bytes(&item, bytes, key, |statement| statement.tree_size = size);
        is(&stage.deliver(Who::Mallory, &forged).await, "refused RE-15");
    }
}

async fn hp_89_a_marking_that_contradicts_itself(stage: &mut Theatre) {
    let item = with_header(stage, |header| {
        let marking = header.marking.as_mut().unwrap();
        marking.tlp = wire::Tlp::Red.into();
        marking.release_to.clear();
    });
    is(&stage.deliver(Who::Mallory, &item).await, "refused RE-19");
}
