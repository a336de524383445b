//! The parts of a running node: tasks that all have to live as long as the node does.
//!
//! A part that ends by itself, or panics, leaves half a node that looks whole. It is therefore
//! missed at once, and the node ends in order, so that whoever supervises it starts a whole one.

use std::{collections::HashMap, future::Future, time::Duration};

use tokio::task::{Id, JoinError, JoinSet};

/// Tasks, each with the name of the part that it is.
#[derive(Debug, Default)]
pub(crate) struct NodeParts {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl NodeParts {
    /// Starts a part.
    pub(crate) fn start(
        &mut self,
        name: &'static str,
        part: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.tasks.spawn(part).id();
        self.names.insert(id, name);
    }

    /// Waits for a part to end. Returns its name; `None` if there are no parts.
    pub(crate) async fn ended(&mut self) -> Option<&'static str> {
        let ended = self.tasks.join_next_with_id().await?;
        Some(self.told(ended))
    }

    /// Waits until every part has ended. A part that takes longer than `limit` is cut off.
    pub(crate) async fn stop(mut self, limit: Duration) {
        let all = async { while self.ended().await.is_some() {} };
        if tokio::time::timeout(limit, all).await.is_ok() {
            return;
        }
        let mut late: Vec<&str> = self.names.values().copied().collect();
        late.sort_unstable();
        tracing::warn!(
            parts = late.join(", "),
            "these parts did not end in time and are cut off"
        );
        self.tasks.shutdown().await;
    }

    fn told(&mut self, ended: Result<(Id, ()), JoinError>) -> &'static str {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let name = self.names.remove(&id).unwrap_or("a part without a name");
        if let Err(error) = ended {
            tracing::error!(%error, part = name, "a part of the node did not end well");
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attack HM2: a part that panics, or ends by itself, is missed at once and by its name.
    #[tokio::test]
    async fn a_part_that_panics_or_ends_is_named_while_the_others_go_on() {
        let mut parts = NodeParts::default();
        parts.start("lives", std::future::pending());
        parts.start("panics", async { panic!("a test") });
        assert_eq!(parts.ended().await, Some("panics"));
        parts.start("ends", async {});
        assert_eq!(parts.ended().await, Some("ends"));
        let more = tokio::time::timeout(Duration::ZERO, parts.ended());
        assert!(more.await.is_err(), "the third part lives");
    }

    /// Attack HL6: a part that does not end holds up the end of the node for a limited time.
    #[tokio::test]
    async fn a_part_that_does_not_end_is_cut_off() {
        let mut parts = NodeParts::default();
        parts.start("hangs", std::future::pending());
        parts.start("ends", async {});
        // Without the limit this would last for ever.
        parts.stop(Duration::from_millis(10)).await;
    }
}
