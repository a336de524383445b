//! The names that a register gives out, for whoever types one: an unknown name is told with the names that
//! are near it. The node asks this of its register, and the command line of what the node lists.

use std::fmt;

use portcullis_protocol::{
    identifiers::{AuthorityId, NodeId},
    register::Register,
};
use serde::{Deserialize, Serialize};

/// Largest number of near names that are told.
const MOST_NEAR: usize = 3;

/// Names of a register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct NamesView {
    /// The authority that is asked.
    pub authority: String,
    /// Its node.
    pub node: String,
    /// All members, by id.
    pub members: Vec<MemberNames>,
}

/// Names of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
pub struct MemberNames {
    /// Id of the authority.
    pub authority: String,
    /// Ids of its nodes.
    pub nodes: Vec<String>,
}

/// Error for a name that the register does not list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownName {
    /// No such authority.
    #[error("no authority `{text}` is in the register")]
    Authority {
        /// The name that was written.
        text: String,
        /// Names that are near it, the nearest first.
        near: Vec<String>,
    },
    /// An authority was asked for, and a node is named.
    #[error("`{node}` is a node; its authority is `{authority}`")]
    IsNode {
        /// The name that was written.
        node: String,
        /// The node's authority.
        authority: String,
    },
    /// No such node.
    #[error("no node `{text}` is in the register")]
    Node {
        /// The name that was written.
        text: String,
        /// Names that are near it, the nearest first.
        near: Vec<String>,
    },
    /// A node was asked for, and an authority is named.
    #[error("`{authority}` is an authority; {}", nodes_of(nodes))]
    IsAuthority {
        /// The name that was written.
        authority: String,
        /// The authority's nodes.
        nodes: Vec<String>,
    },
    /// A peer was asked for, and the node itself is named.
    #[error("`{0}` is this node itself")]
    IsOwn(String),
}

fn nodes_of(nodes: &[String]) -> String {
    match nodes {
        [] => "it has no node".to_owned(),
        [one] => format!("its node is `{one}`"),
        [_, _, ..] => format!("its nodes are `{}`", nodes.join("`, `")),
    }
}

impl UnknownName {
    /// Returns advice to whoever wrote the name.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Authority { near, .. } | Self::Node { near, .. } if !near.is_empty() => {
                format!(
                    "write it as the register does; near: `{}`",
                    near.join("`, `")
                )
            }
            Self::Authority { .. } => {
                "`portcullis status` lists the peers with their authorities".to_owned()
            }
            Self::IsNode { authority, .. } => format!("write `{authority}`"),
            Self::IsAuthority { nodes, .. } => match nodes.first() {
                Some(node) => format!("write `{node}`"),
                None => "have its governance admit a node of it first".to_owned(),
            },
            Self::Node { .. } | Self::IsOwn(_) => {
                "name a peer; `portcullis status` lists them".to_owned()
            }
        }
    }
}

impl NamesView {
    /// Returns the names of a register, as this node of this authority knows them.
    #[must_use]
    pub fn of(register: &Register, authority: &AuthorityId, node: &NodeId) -> Self {
        let members = register.authorities.values().map(|member| MemberNames {
            authority: member.id.to_string(),
            nodes: member
                .nodes
                .iter()
                .map(|node| node.id.to_string())
                .collect(),
        });
        Self {
            authority: authority.to_string(),
            node: node.to_string(),
            members: members.collect(),
        }
    }

    /// Checks that the register lists an authority of this name.
    ///
    /// # Errors
    ///
    /// [`UnknownName`] with what may have been meant.
    pub fn authority(&self, text: &(impl fmt::Display + ?Sized)) -> Result<(), UnknownName> {
        let text = text.to_string();
        let mut authorities = self.members.iter().map(|member| &member.authority);
        if authorities.any(|authority| *authority == text) {
            return Ok(());
        }
        Err(match self.member_with(&text) {
            Some(member) => UnknownName::IsNode {
                node: text,
                authority: member.authority.clone(),
            },
            None => UnknownName::Authority {
                near: near(&text, self.members.iter().map(|member| &member.authority)),
                text,
            },
        })
    }

    /// Checks that the register lists a node of this name.
    ///
    /// # Errors
    ///
    /// [`UnknownName`] with what may have been meant.
    pub fn node(&self, text: &(impl fmt::Display + ?Sized)) -> Result<(), UnknownName> {
        let text = text.to_string();
        if self.member_with(&text).is_some() {
            return Ok(());
        }
        let mut members = self.members.iter();
        Err(match members.find(|member| member.authority == text) {
            Some(member) => UnknownName::IsAuthority {
                authority: text,
                nodes: member.nodes.clone(),
            },
            None => UnknownName::Node {
                near: near(&text, self.members.iter().flat_map(|member| &member.nodes)),
                text,
            },
        })
    }

    /// Checks that the register lists another node of this name.
    ///
    /// # Errors
    ///
    /// [`UnknownName`] with what may have been meant.
    pub fn peer(&self, text: &(impl fmt::Display + ?Sized)) -> Result<(), UnknownName> {
        self.node(text)?;
        if text.to_string() == self.node {
            return Err(UnknownName::IsOwn(self.node.clone()));
        }
        Ok(())
    }

    /// Returns the member that has a node of this name.
    fn member_with(&self, node: &str) -> Option<&MemberNames> {
        let mut members = self.members.iter();
        members.find(|member| member.nodes.iter().any(|one| one == node))
    }
}

/// Returns the names that are near a text, the nearest first: those that a few wrong, missing or exchanged
/// letters make of it, and those that it is a part of.
fn near<'n>(text: &str, names: impl Iterator<Item = &'n String>) -> Vec<String> {
    let text = text.to_lowercase();
    let most = text.chars().count().div_ceil(3);
    let mut found: Vec<(usize, &String)> = names
        .filter_map(|name| {
            let distance = strsim::osa_distance(&text, name);
            let is_part =
                !text.is_empty() && (name.contains(&text) || text.contains(name.as_str()));
            (distance <= most || is_part).then_some((distance, name))
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    let nearest = found.into_iter().take(MOST_NEAR);
    nearest.map(|(_, name)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> NamesView {
        let member = |authority: &str, nodes: &[&str]| MemberNames {
            authority: authority.to_owned(),
            nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
        };
        NamesView {
            authority: "nl-customs".to_owned(),
            node: "rotterdam".to_owned(),
            members: vec![
                member("be-customs", &["antwerp", "zeebrugge"]),
                member("nl-customs", &["rotterdam"]),
                member("nl-police", &["hague"]),
                member("port-32", &["port-32"]),
            ],
        }
    }

    #[track_caller]
    fn check(checked: Result<(), UnknownName>, message: &str, remedy: &str) {
        let error = checked.unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.remedy().as_str()),
            (message, remedy)
        );
    }

    /// Newcomer A7, A9: a name that nobody has was an empty list, or a record that reaches nobody.
    #[test]
    fn an_unknown_name_is_told_with_what_is_near_it() {
        let names = names();
        check(
            names.authority("nl-custons"),
            "no authority `nl-custons` is in the register",
            "write it as the register does; near: `nl-customs`, `be-customs`",
        );
        check(
            names.authority("antwerp"),
            "`antwerp` is a node; its authority is `be-customs`",
            "write `be-customs`",
        );
        check(
            names.authority("zzzzzz"),
            "no authority `zzzzzz` is in the register",
            "`portcullis status` lists the peers with their authorities",
        );
        check(
            names.node("antwrep"),
            "no node `antwrep` is in the register",
            "write it as the register does; near: `antwerp`",
        );
        check(
            names.node("be-customs"),
            "`be-customs` is an authority; its nodes are `antwerp`, `zeebrugge`",
            "write `antwerp`",
        );
        check(
            names.peer("rotterdam"),
            "`rotterdam` is this node itself",
            "name a peer; `portcullis status` lists them",
        );
        check(
            names.node(""),
            "no node `` is in the register",
            "name a peer; `portcullis status` lists them",
        );
        check(
            names.authority("police"),
            "no authority `police` is in the register",
            "write it as the register does; near: `nl-police`",
        );
    }

    #[test]
    fn a_name_that_is_both_is_each() {
        let names = names();
        assert_eq!(names.authority("port-32"), Ok(()));
        assert_eq!(names.node("port-32"), Ok(()));
        assert_eq!(names.peer("antwerp"), Ok(()));
        assert_eq!(names.node("rotterdam"), Ok(()));
    }
}
