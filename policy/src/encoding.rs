//! Encoding of the facts that a decision rests on: each text with its length before it, so that no two facts encode alike.

use portcullis_protocol::{identifiers::AuthorityId, register::Authority};

/// Encodes the facts of a member as its part of a key.
pub(crate) fn encode_member(authority: &Authority) -> Box<[u8]> {
    let Authority {
        id,
        name: _,
        kind,
        country,
        group,
        regime,
        communities,
        clients,
        nodes: _,
        contact: _,
    } = authority;
    let mut key = Vec::with_capacity(128);
    put_text(&mut key, id.as_str());
    key.push(*kind as u8);
    put_text(&mut key, country.as_str());
    put_text(&mut key, group);
    key.push(*regime as u8);
    put_texts(&mut key, communities.iter().map(String::as_str));
    put_texts(&mut key, clients.iter().map(AuthorityId::as_str));
    key.into_boxed_slice()
}

pub(crate) fn put_text(key: &mut Vec<u8>, text: &str) {
    key.extend((text.len() as u64).to_be_bytes());
    key.extend_from_slice(text.as_bytes());
}

pub(crate) fn put_texts<'t>(key: &mut Vec<u8>, texts: impl Iterator<Item = &'t str>) {
    let start = key.len();
    key.extend([0; 8]);
    let mut count = 0u64;
    for text in texts {
        put_text(key, text);
        count += 1;
    }
    if let Some(place) = key.get_mut(start..start + 8) {
        place.copy_from_slice(&count.to_be_bytes());
    }
}
