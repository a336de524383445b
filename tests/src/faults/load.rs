//! The load: records that an analyst publishes at a node, with the list of those acknowledged.

use std::collections::BTreeMap;

use bytes::Bytes;
use portcullis_admin_api::{
    act::{self, Action, Request, Role},
    client::{Client, ClientError},
    v1::{
        act::{ClockView, DraftsView, EnrolView, PublishedView},
        draft::{AssessmentView, DraftView, SelectorView, SubjectView},
        marking::{EvaluationView, MarkingView, WindowView},
        status::EnrolledView,
    },
};
use portcullis_home::clock::{SystemEntropy, system_clock};
use portcullis_protocol::{
    keys::{KeyUse, SigningKey},
    marking::{Marking, Purpose, Tlp},
    seal::Entropy as _,
    time::Timestamp,
};
use serde::de::DeserializeOwned;

use crate::federation::FEDERATION;

/// An analyst of one node.
pub struct Load {
    node: String,
    client: Client,
    key: SigningKey,
    /// Milliseconds by which the node's clock is ahead of this process's.
    pub clock_ms: i64,
    /// Ids of the records that the node answered as published.
    pub acknowledged: Vec<String>,
    /// Number of records that the node was asked to publish.
    pub attempted: usize,
}

impl Load {
    /// Enrols an administrator and an analyst at a node where nobody is enrolled yet.
    pub async fn enrol(node: &str, client: Client) -> Self {
        let administrator = SigningKey::from_seed(KeyUse::Person, [41; 32]);
        let analyst = SigningKey::from_seed(KeyUse::Person, [42; 32]);
        let load = Self {
            node: node.to_owned(),
            client,
            key: administrator,
            clock_ms: 0,
            acknowledged: Vec::new(),
            attempted: 0,
        };
        for (id, role, key) in [
            ("admin", Role::Administrator, &load.key),
            ("analyst", Role::Analyst, &analyst),
        ] {
            let view = EnrolView {
                id: id.to_owned(),
                name: id.to_owned(),
                role: role.name().to_owned(),
                public_key: data_encoding::HEXLOWER.encode(&key.public().to_bytes()),
            };
            let body = serde_json::to_vec(&view).unwrap().into();
            let _: EnrolledView = load.act(Action::Enrol, body).await.unwrap();
        }
        Self {
            key: analyst,
            ..load
        }
    }

    /// Confirms the node's clock in the name of the administrator.
    pub async fn confirm_clock(&self) {
        let administrator = SigningKey::from_seed(KeyUse::Person, [41; 32]);
        let confirmed = self.act_by(&administrator, Action::ConfirmClock, Bytes::new());
        let _: ClockView = confirmed.await.unwrap();
    }

    /// Publishes `count` indicators. An answer acknowledges them.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if the node refused them or went away; they may have been published
    /// nevertheless.
    pub async fn publish(&mut self, count: usize) -> Result<(), ClientError> {
        self.send("indicator", Action::Publish, count).await
    }

    /// Raises an alert.
    ///
    /// # Errors
    ///
    /// As for [`Self::publish`].
    pub async fn alert(&mut self) -> Result<(), ClientError> {
        self.send("alert", Action::Alert, 1).await
    }

    async fn send(&mut self, kind: &str, action: Action, count: usize) -> Result<(), ClientError> {
        let body = self.drafts(kind, count);
        let PublishedView { records } = self.act(action, body).await?;
        assert_eq!(records.len(), count);
        self.acknowledged.extend(records);
        Ok(())
    }

    fn drafts(&mut self, kind: &str, count: usize) -> Bytes {
        let first = self.attempted;
        self.attempted += count;
        let drafts = (first..first + count).map(|n| draft(kind, n)).collect();
        serde_json::to_vec(&DraftsView { drafts }).unwrap().into()
    }

    /// Returns an act that publishes `count` indicators, signed and not sent yet.
    pub fn signed(&mut self, count: usize) -> (String, Bytes) {
        let body = self.drafts("indicator", count);
        let statement = self.statement(&self.key, Action::Publish, &body);
        (statement, body)
    }

    async fn act<T: DeserializeOwned>(
        &self,
        action: Action,
        body: Bytes,
    ) -> Result<T, ClientError> {
        self.act_by(&self.key, action, body).await
    }

    async fn act_by<T: DeserializeOwned>(
        &self,
        key: &SigningKey,
        action: Action,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let statement = self.statement(key, action, &body);
        self.client.act(&statement, body).await
    }

    fn statement(&self, key: &SigningKey, action: Action, body: &[u8]) -> String {
        let mut nonce = [0; 16];
        SystemEntropy::default().fill(&mut nonce);
        let at: Timestamp = system_clock()();
        let request = Request {
            federation: FEDERATION,
            node: &self.node,
            action,
            parameters: BTreeMap::new(),
            body,
            at: at.plus_millis(self.clock_ms),
            nonce,
        };
        act::sign(&request, key).unwrap()
    }
}

/// Returns a draft of about 600 bytes with an identifier that depends on `number`.
#[must_use]
pub fn draft(kind: &str, number: usize) -> DraftView {
    let marking = Marking::new(
        Tlp::Green,
        [
            Purpose::CustomsControl,
            Purpose::LawEnforcement,
            Purpose::PortSecurity,
        ],
    );
    let window = WindowView {
        from: "2021-01-01T00:00:00Z".to_owned(),
        until: "2031-01-01T00:00:00Z".to_owned(),
    };
    DraftView {
        kind: kind.to_owned(),
        exercise: false,
        audience: Vec::new(),
        marking: MarkingView::from(&marking),
        evaluation: EvaluationView {
            code: "B2".to_owned(),
            admiralty: None,
        },
        derived_from: Vec::new(),
        supersedes: None,
        subject: Some(SubjectView {
            title: format!("box {number}"),
            selectors: vec![SelectorView {
                kind: "container".to_owned(),
                value: format!("CSQU{:07}", number % 10_000_000),
                window: Some(window),
                unchecked: true,
            }],
            generated: true,
        }),
        assessment: AssessmentView {
            threat: "narcotics".to_owned(),
            finding: None,
            text: String::new(),
        },
        narrative: Some("n".repeat(300)),
        source: None,
        persons: Vec::new(),
        decoys: false,
    }
}
