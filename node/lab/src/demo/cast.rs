//! Members of the demo's federation.
//!
//! They are customs offices of the data set, a police authority, a port authority, the private
//! operator of a terminal, and a hub. Policy decides by their facts: kinds, communities, clients,
//! legal regimes. The federation, its members and their country code exist only in the demo; the
//! offices' numbers are those of the data set.

use portcullis_protocol::{
    identifiers::{AuthorityId, NameError, NodeId},
    register::{AuthorityKind, LegalRegime},
};

/// Id of the demo's federation.
pub const FEDERATION: &str = "portcullis-demo";

/// Name of the police authority.
pub const POLICE: &str = "police";

/// Name of the port authority.
pub const PORT: &str = "port";

/// Name of the private operator of a terminal.
pub const TERMINAL: &str = "terminal";

/// Name of the hub.
pub const HUB: &str = "hub";

/// Community of all members.
const ALLIANCE: &str = "ports-alliance";

/// A member and its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Id of the authority; its node has the same one.
    pub authority: AuthorityId,
    /// Id of its node.
    pub node: NodeId,
    /// Its name, for people.
    pub name: String,
    /// Kind of authority.
    pub kind: AuthorityKind,
    /// Name of its parent.
    pub group: &'static str,
    /// Law under which it works.
    pub regime: LegalRegime,
    /// Communities that it belongs to.
    pub communities: Vec<String>,
    /// Authorities that are its clients.
    pub clients: Vec<AuthorityId>,
    /// Its office in the data set, if it is a customs authority.
    pub office: Option<String>,
}

/// Returns the members in a fixed order: the offices first, then the others.
///
/// # Errors
///
/// [`NameError`] if the name of an office cannot be part of an id.
pub fn members(offices: &[String]) -> Result<Vec<Member>, NameError> {
    let customs = offices.iter().map(|office| {
        let name = format!("Customs office {office}");
        let member = Member::new(&format!("customs-{office}"), name, AuthorityKind::Customs)?;
        Ok(Member {
            group: "ministry-of-finance",
            regime: LegalRegime::Both,
            office: Some(office.clone()),
            ..member
        })
    });
    let others = [
        Member::new(POLICE, "Police".to_owned(), AuthorityKind::Police).map(|member| Member {
            group: "ministry-of-the-interior",
            regime: LegalRegime::Led,
            ..member
        }),
        Member::new(
            PORT,
            "Port authority".to_owned(),
            AuthorityKind::PortAuthority,
        )
        .map(|member| Member {
            group: "port",
            ..member
        }),
        Member::new(
            TERMINAL,
            "Terminal operator".to_owned(),
            AuthorityKind::PrivateOperator,
        )
        .map(|member| Member {
            group: "terminal-holding",
            ..member
        }),
        Member::new(HUB, "Hub".to_owned(), AuthorityKind::Hub).map(|member| Member {
            group: "alliance-secretariat",
            regime: LegalRegime::Led,
            ..member
        }),
    ];
    customs.chain(others).collect()
}

impl Member {
    fn new(id: &str, name: String, kind: AuthorityKind) -> Result<Self, NameError> {
        Ok(Self {
            authority: id.parse()?,
            node: id.parse()?,
            name,
            kind,
            group: "",
            regime: LegalRegime::Gdpr,
            communities: vec![ALLIANCE.to_owned()],
            clients: Vec::new(),
            office: None,
        })
    }

    /// Returns the DNS name in the member's certificate. The demo uses it on this machine only.
    #[must_use]
    pub fn dns_name(&self) -> String {
        format!("{}.portcullis-demo.test", self.node)
    }
}
