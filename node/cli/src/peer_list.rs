//! `portcullis peer list`: shows the state of each peer in one table.

use std::io;

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Column, Page, Table, View, seconds},
};
use portcullis_admin_api::v1::{
    ListView,
    status::{PeerStandingView, PeerView},
};

/// List the peers and how it stands with each
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
List the peers and how it stands with each: whether it is there and since when, when it was heard \
last, how many records of the log are not dealt with yet in either lane, what waits for another try, what was \
given up, its last receipt, how far its clock is from this node's, and when the certificate ends \
that it showed last.

STATE says first what is closed here or by the governance (blocked, suspended, release stopped), \
then the rule under which the peer takes nothing, then whether it is there: `connected` (with an \
open delivery stream), `reachable` (it answers, and nothing is on its way), `unreachable` (a line \
below the table says since when, why, and what to do), or `not tried yet`.",
    after_long_help = "\
Examples:
  portcullis peer list
  portcullis peer list --json | jq '.items[] | select(.state == \"unreachable\") | .node'"
)]
pub(super) struct PeerList {}

impl PeerList {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let peers: ListView<PeerStandingView> =
            block_on(async { Ok(client.get("/v1/peers").await?) })?;
        session.output.show(&peers)
    }
}

impl View for ListView<PeerStandingView> {
    const SCHEMA: &'static str = "portcullis/peers/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        if self.items.is_empty() {
            return page.line("the register lists no other node");
        }
        page.table(&table(&self.items))?;
        for line in self.items.iter().flat_map(troubles) {
            page.line(line)?;
        }
        Ok(())
    }
}

fn table(peers: &[PeerStandingView]) -> Table {
    let mut table = Table::new(&[
        Column::Text("NODE"),
        Column::Text("STATE"),
        Column::Text("SINCE"),
        Column::Number("URGENT"),
        Column::Number("BULK"),
        Column::Number("RETRIED"),
        Column::Number("GIVEN UP"),
        Column::Text("HEARD"),
        Column::Text("LAST RECEIPT"),
        Column::Text("CLOCK"),
        Column::Text("CERTIFICATE"),
    ]);
    let moment = |time: &Option<String>| time.as_deref().map_or_else(|| "-".to_owned(), seconds);
    for one in peers {
        table.row([
            one.peer.node.clone(),
            one.state.clone(),
            moment(one.since()),
            one.peer.behind_urgent.to_string(),
            one.peer.behind_bulk.to_string(),
            (one.exceptions_urgent + one.exceptions_bulk).to_string(),
            one.undelivered.to_string(),
            moment(&one.peer.last_heard),
            moment(&one.peer.last_receipt),
            clock(&one.peer),
            moment(&one.certificate_ends),
        ]);
    }
    table
}

/// Formats the offset of the peer's clock from this node's clock, with its error, in milliseconds.
fn clock(peer: &PeerView) -> String {
    match (peer.clock_ahead_ms, peer.clock_error_ms) {
        (Some(ahead), Some(error)) => format!("{ahead:+} ±{error} ms"),
        (None, _) | (_, None) => "-".to_owned(),
    }
}

/// Returns the lines below the table: troubles that do not fit into a row, and what to do about
/// them.
fn troubles(one: &PeerStandingView) -> Vec<String> {
    let node = &one.peer.node;
    let lost = unreachable(&one.peer);
    // A delivery that failed because the peer is not there says no more.
    let failure = one.peer.failure.as_ref();
    let failure = failure.filter(|why| one.peer.unreachable.as_ref() != Some(why));
    let failed = failure.map(|why| format!("  {node}: the last delivery failed: {why}"));
    let refused = one.refuses.as_ref().map(|rule| {
        format!("  {node}: it refuses this node under {rule}: `portcullis explain {rule}`")
    });
    let forked = (one.forks > 0).then(|| {
        let forks = one.forks;
        format!("  {node}: its history forked, {forks} proofs: `portcullis dispatch forks`")
    });
    let given_up = (one.undelivered > 0).then(|| {
        format!("  {node}: what was given up: `portcullis dispatch undelivered --peer {node}`")
    });
    let rest = [failed, refused, forked, given_up].into_iter().flatten();
    lost.into_iter().chain(rest).collect()
}

/// Returns the lines about a peer that cannot be reached: since when, why, and what to do.
pub(super) fn unreachable(peer: &PeerView) -> Vec<String> {
    let (None, Some(since), Some(why)) = (&peer.closed, &peer.unreachable_since, &peer.unreachable)
    else {
        return Vec::new();
    };
    let heard = match &peer.last_heard {
        Some(heard) => format!("last heard {}", seconds(heard)),
        None => "not heard since the start".to_owned(),
    };
    let (node, since) = (&peer.node, seconds(since));
    let what = format!("  {node}: unreachable since {since}, {heard}: {why}");
    let remedy = peer.unreachable_do.as_ref();
    let remedy = remedy.map(|remedy| format!("           do: {remedy}"));
    [what].into_iter().chain(remedy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> PeerView {
        PeerView {
            node: "antwerp".to_owned(),
            authority: "antwerp".to_owned(),
            kind: "customs".to_owned(),
            last_receipt: None,
            failure: None,
            last_heard: None,
            unreachable_since: None,
            unreachable: None,
            unreachable_do: None,
            closed: None,
            clock_ahead_ms: Some(-1_200),
            clock_error_ms: Some(4),
            reconciled: None,
            repaired: None,
            behind_urgent: 0,
            behind_bulk: 0,
        }
    }

    #[test]
    fn a_clock_is_shown_with_its_sign_and_its_error() {
        assert_eq!(clock(&peer()), "-1200 ±4 ms");
        let unmeasured = PeerView {
            clock_error_ms: None,
            ..peer()
        };
        assert_eq!(clock(&unmeasured), "-");
    }

    /// Newcomer A12: a peer that cannot be reached looked like one that is idle.
    #[test]
    fn a_peer_that_cannot_be_reached_is_told_with_since_when_why_and_what_to_do() {
        let lost = PeerView {
            failure: Some("nothing listens at `antwerp.example:7443`".to_owned()),
            last_heard: Some("2026-03-01T12:00:00.25Z".to_owned()),
            unreachable_since: Some("2026-03-01T12:00:30.5Z".to_owned()),
            unreachable: Some("nothing listens at `antwerp.example:7443`".to_owned()),
            unreachable_do: Some("ask".to_owned()),
            ..peer()
        };
        let what = "  antwerp: unreachable since 2026-03-01T12:00:30Z, last heard 2026-03-01T12:00:00Z: nothing listens at `antwerp.example:7443`";
        assert_eq!(unreachable(&lost), [what, "           do: ask"]);
        let standing = |peer| PeerStandingView {
            peer,
            state: "unreachable".to_owned(),
            connected_since: None,
            delivers_since: None,
            refuses: None,
            exceptions_urgent: 0,
            exceptions_bulk: 0,
            undelivered: 0,
            forks: 0,
            certificate_ends: None,
        };
        let told = troubles(&standing(lost.clone()));
        assert_eq!(told.len(), 2, "the same reason stands twice: {told:?}");
        let blocked = PeerView {
            closed: Some("blocked here".to_owned()),
            ..lost
        };
        assert_eq!(unreachable(&blocked), Vec::<String>::new());
    }

    #[test]
    fn each_trouble_names_the_command_that_shows_more() {
        let well = PeerStandingView {
            peer: peer(),
            state: "connected".to_owned(),
            connected_since: None,
            delivers_since: None,
            refuses: None,
            exceptions_urgent: 0,
            exceptions_bulk: 0,
            undelivered: 0,
            forks: 0,
            certificate_ends: None,
        };
        assert_eq!(troubles(&well), Vec::<String>::new());
        let ill = PeerStandingView {
            refuses: Some("EX-11".to_owned()),
            undelivered: 2,
            forks: 1,
            ..well
        };
        let lines = troubles(&ill);
        assert_eq!(lines.len(), 3);
        for (line, command) in lines.iter().zip([
            "portcullis explain EX-11",
            "portcullis dispatch forks",
            "portcullis dispatch undelivered --peer antwerp",
        ]) {
            assert!(line.contains(command), "{line}");
        }
    }
}
