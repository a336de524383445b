//! Addresses of the register's nodes, looked up again and again, so that members keep places at the port.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use portcullis_kernel::Kernel;
use portcullis_peering::listed::Listed;
use portcullis_protocol::identifiers::NodeId;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Interval at which names are looked up again.
const AGAIN: Duration = Duration::from_secs(300);

/// Time limit of one lookup.
const LOOKUP: Duration = Duration::from_secs(10);

/// Lookups under way at once.
const AT_ONCE: usize = 8;

/// Keeps `listed` up to date with the register until `shutdown`.
pub async fn keep(kernel: Arc<Kernel>, listed: Listed, shutdown: CancellationToken) {
    let mut deciders = kernel.deciders();
    let mut known = BTreeMap::new();
    loop {
        let endpoints: Vec<(NodeId, String)> = deciders
            .borrow_and_update()
            .register()
            .nodes()
            .map(|(_, node)| (node.id.clone(), node.endpoint.clone()))
            .collect();
        let found = tokio::select! {
            () = shutdown.cancelled() => return,
            found = look_up(endpoints) => found,
        };
        known = newer(known, found);
        listed.replace(known.clone());
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = deciders.changed() => if changed.is_err() {
                return;
            },
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Addresses of the nodes that the register lists; `None` if a name was not found.
type Found = BTreeMap<NodeId, Option<BTreeSet<IpAddr>>>;

async fn look_up(endpoints: Vec<(NodeId, String)>) -> Found {
    let mut found = BTreeMap::new();
    let mut lookups = JoinSet::new();
    for (node, endpoint) in endpoints {
        if lookups.len() >= AT_ONCE {
            found.extend(lookups.join_next().await.and_then(Result::ok));
        }
        lookups.spawn(async move {
            let addresses = tokio::time::timeout(LOOKUP, tokio::net::lookup_host(&endpoint)).await;
            let addresses = addresses.ok().and_then(Result::ok);
            (node, addresses.map(|of| of.map(|of| of.ip()).collect()))
        });
    }
    found.extend(lookups.join_all().await);
    found
}

/// Returns what is known now. A node whose name was not found keeps the addresses that it had.
fn newer(
    mut known: BTreeMap<NodeId, BTreeSet<IpAddr>>,
    found: Found,
) -> BTreeMap<NodeId, BTreeSet<IpAddr>> {
    found
        .into_iter()
        .map(|(node, found)| {
            let before = known.remove(&node).unwrap_or_default();
            (node, found.unwrap_or(before))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    #[tokio::test]
    async fn an_endpoint_is_looked_up_and_an_unknown_name_harms_no_other() {
        let endpoints = [("a", "192.0.2.1:7443"), ("b", "no name at all:7443")];
        let found = look_up(
            endpoints
                .map(|(name, at)| (node(name), at.to_owned()))
                .into(),
        )
        .await;
        let one = BTreeSet::from(["192.0.2.1".parse().unwrap()]);
        let expected = BTreeMap::from([(node("a"), Some(one)), (node("b"), None)]);
        assert_eq!(found, expected);
    }

    #[test]
    fn a_name_that_is_not_found_keeps_its_addresses_and_who_left_has_none() {
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let known = BTreeMap::from([
            (node("a"), BTreeSet::from([one])),
            (node("gone"), BTreeSet::from([one])),
        ]);
        let found = BTreeMap::from([(node("a"), None), (node("b"), Some(BTreeSet::new()))]);
        let now = newer(known, found);
        let expected = [
            (node("a"), BTreeSet::from([one])),
            (node("b"), BTreeSet::new()),
        ];
        assert_eq!(now, expected.into());
    }
}
