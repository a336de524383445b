//! Names and ids as a person types them: what nobody has is an error, and never an empty list.

use portcullis_admin_api::{client::Client, names::NamesView};
use portcullis_protocol::identifiers::NodeId;

use super::error::CliError;

/// Fewest characters of an id's prefix; a shorter one identifies nothing.
const SHORTEST_PREFIX: usize = 4;

/// Returns an id of a record, or its beginning, as the node writes it.
///
/// # Errors
///
/// [`CliError`] with exit code 3 if it can be neither.
pub(super) fn id_prefix(id: &str) -> Result<String, CliError> {
    let id = id.trim().to_ascii_lowercase();
    let fits = id.len() >= SHORTEST_PREFIX
        && id.len() <= 64
        && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if fits {
        return Ok(id);
    }
    let message = if id.is_empty() {
        "no id of a record is named".to_owned()
    } else {
        format!("`{id}` is no id of a record, nor the beginning of one")
    };
    Err(CliError::invalid(message).remedy(
        "write at least 4 of its 64 hexadecimal characters, as `portcullis list` shows them",
    ))
}

/// Refuses a peer that the register does not list, if nothing was found of it. Of a node that has left the
/// register something may be left.
///
/// # Errors
///
/// [`CliError`] with exit code 3 and the names that are near.
pub(super) async fn known_peer(
    client: &Client,
    peer: Option<&NodeId>,
    is_found: bool,
) -> Result<(), CliError> {
    let Some(peer) = peer.filter(|_| !is_found) else {
        return Ok(());
    };
    let names: NamesView = client.get("/v1/names").await?;
    names
        .node(peer)
        .map_err(|unknown| CliError::invalid(unknown.to_string()).remedy(unknown.remedy()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    /// Newcomer B20: an empty id was an unknown request, and the advice a command line of another version.
    #[test]
    fn an_id_that_can_be_none_is_refused_with_what_to_write() {
        assert_eq!(id_prefix(" 3F2A91c0").unwrap(), "3f2a91c0");
        for (wrong, told) in [
            ("", "no id"),
            ("  ", "no id"),
            ("3f2", "`3f2`"),
            ("zzzz", "`zzzz`"),
        ] {
            let error = id_prefix(wrong).unwrap_err();
            assert_eq!(error.exit, Exit::Invalid);
            assert!(error.message.contains(told), "{error}");
            assert!(error.remedy.unwrap().contains("at least 4"));
        }
        assert!(id_prefix(&"a".repeat(65)).is_err());
    }
}
