//! Who takes part in the demo's federation.
//!
//! Customs offices of the data set, a police authority, a port authority, the private operator of
//! a terminal, and a hub. Their facts are what policy decides by: kinds, communities, clients,
//! legal regimes. The federation, its members and its country code are of the demo; the offices'
//! numbers are those of the data set.

use portcullis_protocol::{
    identifiers::{AuthorityId, NameError, NodeId},
    register::{AuthorityKind, LegalRegime},
};

/// The federation of the demo.
pub const FEDERATION: &str = "portcullis-demo";

/// The police authority.
pub const POLICE: &str = "police";

/// The port authority.
pub const PORT: &str = "port";

/// The private operator of a terminal.
pub const TERMINAL: &str = "terminal";

/// The hub.
pub const HUB: &str = "hub";

/// All members.
const ALLIANCE: &str = "ports-alliance";

/// One member and its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The authority; its node has the same name.
    pub authority: AuthorityId,
    /// Its node.
    pub node: NodeId,
    /// Its name, for people.
    pub name: String,
    /// What kind of authority it is.
    pub kind: AuthorityKind,
    /// Its parent.
    pub group: &'static str,
    /// Under which law it works.
    pub regime: LegalRegime,
    /// Its communities.
    pub communities: Vec<String>,
    /// Its clients.
    pub clients: Vec<AuthorityId>,
    /// Its office in the data set, if it is a customs authority.
    pub office: Option<String>,
}

/// The members, in a fixed order: the offices, then the others.
///
/// # Errors
///
/// [`NameError`] if an office cannot stand in a name.
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

    /// The DNS name in its certificate; it is looked up nowhere in the demo but on this machine.
    #[must_use]
    pub fn dns_name(&self) -> String {
        format!("{}.portcullis-demo.test", self.node)
    }
}
