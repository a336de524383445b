//! Sealing and index tokens under the store's key.
//!
//! Each thing gets a fresh AES-256-GCM key that is used once, so that its nonce is constant (SP
//! 800-38D §8.2: a key and nonce pair never repeats). The key is wrapped with AES-KWP (SP 800-38F,
//! RFC 5649) under a key derived from the store's key. The additional data names the sealed thing,
//! so that a ciphertext moved to another place does not open.
//!
//! Each section of a pack also has a key of its own. These keys are kept together, sealed under a
//! fresh key of the pack, and only that one is wrapped. Erasing a section seals the other keys
//! under another pack key and destroys the former one. The section keys are bound to the pack's
//! directory except for its tokens, so that the directory cannot be changed unnoticed.
//!
//! Tokens of the blind index are HMAC-SHA-256 with one key per kind of selector, cut to 64 bits. A
//! record found by a token is therefore compared with the selector that was looked for. Consignments
//! have token keys of their own, so that the two indexes have nothing in common: which consignments a
//! record names is told by the plain selector alone, on the side that has the keys. Kinds with
//! few possible values have no token: whoever steals a token and guesses what its key is used for
//! could still count equal ones (docs/design.md, Store).

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf, hmac,
    key_wrap::{AES_256, AesKek, KeyWrapPadded as _},
    rand,
};
use portcullis_protocol::{
    body::SelectorKind,
    identifiers::NodeId,
    record::{Form, RecordId},
};
use portcullis_store::StoreError;
use zeroize::Zeroizing;

use super::error::SqlError;

/// The bytes of a wrapped 32-byte key.
pub(super) const WRAPPED_LEN: usize = 40;

/// A keyed hash of a selector.
pub(super) type Token = i64;

/// Kind and identity of a sealed thing; bound to its ciphertext as additional data.
#[derive(Clone, Copy)]
pub(super) enum SealedAs<'a> {
    /// A section of a record.
    Section(&'a RecordId, u8),
    /// An item that waits for a person's decision.
    Held(&'a RecordId, Form, &'a NodeId),
    /// An item that failed verification.
    BadItem(&'a RecordId, &'a NodeId),
    /// A consignment, by its reference.
    Consignment(&'a str),
    /// A score, by its consignment's reference.
    Score(&'a str),
    /// The keys of a pack's sections, by the pack's number and the digest of its directory.
    Keys(i64, &'a [u8; 32]),
    /// The root of the seals of rows.
    Root,
    /// A record's header.
    Header(&'a RecordId),
}

impl SealedAs<'_> {
    /// Returns the additional data: a label, then fields of which at most the last has no fixed
    /// length.
    fn additional_data(self) -> Vec<u8> {
        match self {
            Self::Section(id, index) => labelled("section", &[id.as_bytes(), &[index]]),
            Self::Held(id, form, peer) => {
                let form = form.bits().to_be_bytes();
                labelled("held", &[id.as_bytes(), &form, peer.as_str().as_bytes()])
            }
            Self::BadItem(id, peer) => {
                labelled("bad item", &[id.as_bytes(), peer.as_str().as_bytes()])
            }
            Self::Consignment(reference) => labelled("consignment", &[reference.as_bytes()]),
            Self::Score(reference) => labelled("score", &[reference.as_bytes()]),
            Self::Keys(pack, directory) => labelled("keys", &[&pack.to_be_bytes(), directory]),
            Self::Root => labelled("root", &[]),
            Self::Header(id) => labelled("header", &[id.as_bytes()]),
        }
    }
}

fn labelled(label: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96);
    for text in ["portcullis store ", label, " v1\0"] {
        bytes.extend_from_slice(text.as_bytes());
    }
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// A sealed thing, and its key as it is kept.
pub(super) struct Sealed {
    /// The wrapped key.
    pub(super) wrapped: [u8; WRAPPED_LEN],
    /// The ciphertext with its tag.
    pub(super) bytes: Vec<u8>,
}

/// The keys of a pack's sections, in order.
pub(super) struct SectionKeys(Zeroizing<Vec<u8>>);

/// Bytes in a key.
const KEY_LEN: usize = 32;
/// Number of keys drawn from the random source at a time.
const KEYS_AT_ONCE: usize = 32;

impl SectionKeys {
    /// No keys yet.
    pub(super) fn new() -> Self {
        Self(Zeroizing::new(Vec::new()))
    }

    /// Returns the key with this number, and draws it first if it is a new one.
    pub(super) fn draw(&mut self, number: usize) -> Result<&[u8; KEY_LEN], SqlError> {
        let failed = StoreError::Cryptography("the random source");
        let end = (number + 1) * KEY_LEN;
        if self.0.len() < end {
            let mut more = Zeroizing::new([0; KEYS_AT_ONCE * KEY_LEN]);
            rand::fill(more.as_mut()).map_err(|_| failed.clone())?;
            self.0.extend_from_slice(more.as_ref());
        }
        Ok(self.get(number).ok_or(failed)?)
    }

    /// Returns the key with this number. `None` if there is no such key or it was erased (all bytes
    /// zero).
    pub(super) fn get(&self, number: usize) -> Option<&[u8; KEY_LEN]> {
        let bytes = self.0.get(number.checked_mul(KEY_LEN)?..)?;
        bytes.first_chunk().filter(|key| **key != [0; KEY_LEN])
    }

    /// Erases the key with this number.
    pub(super) fn erase(&mut self, number: usize) {
        let begin = number.saturating_mul(KEY_LEN);
        if let Some(key) = self.0.get_mut(begin..begin.saturating_add(KEY_LEN)) {
            key.fill(0);
        }
    }

    /// Returns the first `count` keys as bytes, to be sealed. Sections that were counted and have no
    /// key would be lost without a word.
    fn bytes(&self, count: usize) -> Result<Vec<u8>, SqlError> {
        let keys = count
            .checked_mul(KEY_LEN)
            .and_then(|bytes| self.0.get(..bytes));
        let missing = StoreError::Fault("a pack has more sections than keys");
        Ok(keys.ok_or(missing)?.to_vec())
    }
}

/// Seals `plain` under a key that is used for nothing else.
pub(super) fn seal_under(
    key: &[u8; KEY_LEN],
    sealed_as: SealedAs<'_>,
    mut plain: Vec<u8>,
) -> Result<Vec<u8>, SqlError> {
    cipher(key)?
        .seal_in_place_append_tag(
            single_use_nonce(),
            Aad::from(sealed_as.additional_data()),
            &mut plain,
        )
        .map_err(|_| StoreError::Cryptography("sealing"))?;
    Ok(plain)
}

/// Opens a ciphertext of [`seal_under`]. `None` if the key or the ciphertext is not the one made
/// for `place`.
pub(super) fn open_under(
    key: &[u8; KEY_LEN],
    sealed_as: SealedAs<'_>,
    mut sealed: Vec<u8>,
) -> Option<Vec<u8>> {
    let plain = cipher(key)
        .ok()?
        .open_in_place(
            single_use_nonce(),
            Aad::from(sealed_as.additional_data()),
            &mut sealed,
        )
        .ok()?
        .len();
    sealed.truncate(plain);
    Some(sealed)
}

/// The keys derived from the store's key: one for wrapping, and one for each other use.
pub(super) struct Vault {
    wrapping: Zeroizing<[u8; 32]>,
    /// Of records.
    tokens: TokenKeys,
    /// Of the authority's own consignments.
    consignment_tokens: TokenKeys,
    /// Of the references of consignments.
    names: Zeroizing<[u8; 32]>,
    /// Of the points of scores.
    points: Zeroizing<[u8; 32]>,
    /// Of the keys of headers.
    headers: hmac::Key,
}

/// The keys of one blind index, one for each kind of selector that it holds.
struct TokenKeys(Vec<(SelectorKind, hmac::Key)>);

impl TokenKeys {
    fn new(key: &[u8; 32], of: &str) -> Result<Self, SqlError> {
        let keys = SelectorKind::ALL
            .iter()
            .filter(|kind| kind.is_high_entropy())
            .map(|kind| {
                let key = derived(key, &format!("{of} {kind} v1"))?;
                Ok((*kind, hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())))
            });
        keys.collect::<Result<_, SqlError>>().map(Self)
    }

    fn token(&self, kind: SelectorKind, value: &str) -> Option<Token> {
        let (_, key) = self.0.iter().find(|(of, _)| *of == kind)?;
        let tag = hmac::sign(key, value.as_bytes());
        tag.as_ref().first_chunk().copied().map(i64::from_be_bytes)
    }
}

impl Vault {
    /// Derives one key from the store's key for each of its uses. The key table is not bound.
    pub(super) fn new(key: &[u8; 32]) -> Result<Self, SqlError> {
        Self::wrapping_under(key, derived(key, "key wrap v1")?)
    }

    /// As [`Self::new`], for a key table that is bound to `secret`: keys are wrapped under a key
    /// that both together give.
    pub(super) fn bound(key: &[u8; 32], secret: &[u8; 32]) -> Result<Self, SqlError> {
        let mut both = Zeroizing::new([0; 64]);
        let (first, second) = both.split_at_mut(32);
        first.copy_from_slice(key);
        second.copy_from_slice(secret);
        Self::wrapping_under(key, derived(both.as_ref(), "key wrap of a bound table v1")?)
    }

    fn wrapping_under(key: &[u8; 32], wrapping: Zeroizing<[u8; 32]>) -> Result<Self, SqlError> {
        let headers = derived(key, "headers of records v1")?;
        Ok(Self {
            wrapping,
            tokens: TokenKeys::new(key, "blind index")?,
            consignment_tokens: TokenKeys::new(key, "blind index of consignments")?,
            names: derived(key, "references of consignments v1")?,
            points: derived(key, "points of scores v1")?,
            headers: hmac::Key::new(hmac::HMAC_SHA256, headers.as_ref()),
        })
    }

    /// Seals `plain` under a fresh key.
    pub(super) fn seal(&self, sealed_as: SealedAs<'_>, plain: Vec<u8>) -> Result<Sealed, SqlError> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        rand::fill(key.as_mut()).map_err(|_| StoreError::Cryptography("the random source"))?;
        Ok(Sealed {
            bytes: seal_under(&key, sealed_as, plain)?,
            wrapped: self.wrap(&key)?,
        })
    }

    /// Seals the first `count` keys of a pack under a fresh key.
    pub(super) fn seal_keys(
        &self,
        pack: i64,
        directory: &[u8; 32],
        keys: &SectionKeys,
        count: usize,
    ) -> Result<Sealed, SqlError> {
        self.seal(SealedAs::Keys(pack, directory), keys.bytes(count)?)
    }

    /// Opens the keys of a pack. `None` if they or its directory were changed.
    pub(super) fn open_keys(
        &self,
        pack: i64,
        directory: &[u8; 32],
        wrapped: &[u8],
        sealed: Vec<u8>,
    ) -> Option<SectionKeys> {
        let bytes = self.open(SealedAs::Keys(pack, directory), wrapped, sealed)?;
        Some(SectionKeys(Zeroizing::new(bytes)))
    }

    /// Opens a ciphertext of [`Vault::seal`]. `None` if the key or the ciphertext is not the one
    /// sealed as this.
    pub(super) fn open(
        &self,
        sealed_as: SealedAs<'_>,
        wrapped: &[u8],
        sealed: Vec<u8>,
    ) -> Option<Vec<u8>> {
        open_under(&*self.unwrap(wrapped)?, sealed_as, sealed)
    }

    /// Wraps a key.
    pub(super) fn wrap(&self, key: &[u8; 32]) -> Result<[u8; WRAPPED_LEN], SqlError> {
        let mut wrapped = [0; WRAPPED_LEN];
        AesKek::new(&AES_256, self.wrapping.as_ref())
            .and_then(|kek| kek.wrap_with_padding(key, &mut wrapped).map(|_| ()))
            .map_err(|_| StoreError::Cryptography("wrapping a key"))?;
        Ok(wrapped)
    }

    /// Unwraps a key. `None` if it was wrapped under another key or was changed.
    pub(super) fn unwrap(&self, wrapped: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        let mut buffer = Zeroizing::new([0; WRAPPED_LEN]);
        let key = AesKek::new(&AES_256, self.wrapping.as_ref())
            .and_then(|kek| kek.unwrap_with_padding(wrapped, buffer.as_mut()))
            .ok()?;
        (&*key).try_into().ok().map(Zeroizing::new)
    }

    /// Returns the token by which records with a selector are found. `None` for kinds that are not
    /// indexed on disk.
    pub(super) fn token(&self, kind: SelectorKind, value: &str) -> Option<Token> {
        self.tokens.token(kind, value)
    }

    /// Returns the token by which consignments with a selector are found. `None` for kinds that are
    /// not indexed on disk.
    pub(super) fn consignment_token(&self, kind: SelectorKind, value: &str) -> Option<Token> {
        self.consignment_tokens.token(kind, value)
    }

    /// Seals the reference of a consignment. The same reference gives the same bytes (AES-KWP is
    /// deterministic), by which the consignment is found.
    pub(super) fn name(&self, reference: &str) -> Result<Vec<u8>, SqlError> {
        seal_small(&self.names, reference.as_bytes())
    }

    /// Opens the bytes of [`Vault::name`].
    pub(super) fn reference(&self, name: &[u8]) -> Option<String> {
        String::from_utf8(open_small(&self.names, name)?).ok()
    }

    /// Seals the points of a consignment's score. Equal points of two consignments give other bytes.
    pub(super) fn points(&self, reference: &str, points: f64) -> Result<Vec<u8>, SqlError> {
        let plain = [&points.to_be_bytes(), reference.as_bytes()].concat();
        seal_small(&self.points, &plain)
    }

    /// Opens the bytes of [`Vault::points`] of this consignment.
    pub(super) fn open_points(&self, reference: &str, sealed: &[u8]) -> Option<f64> {
        let plain = open_small(&self.points, sealed)?;
        let (points, of) = plain.split_first_chunk()?;
        (of == reference.as_bytes()).then(|| f64::from_be_bytes(*points))
    }

    /// Seals the header of a record. A record's id is the digest of its header, so that the key of
    /// an id seals nothing else.
    pub(super) fn seal_header(&self, id: &RecordId, header: &[u8]) -> Result<Vec<u8>, SqlError> {
        seal_under(
            &*self.header_key(id)?,
            SealedAs::Header(id),
            header.to_vec(),
        )
    }

    /// Opens a header. `None` if it is not the one of this record.
    pub(super) fn open_header(&self, id: &RecordId, sealed: Vec<u8>) -> Option<Vec<u8>> {
        open_under(&*self.header_key(id).ok()?, SealedAs::Header(id), sealed)
    }

    fn header_key(&self, id: &RecordId) -> Result<Zeroizing<[u8; KEY_LEN]>, SqlError> {
        let tag = hmac::sign(&self.headers, id.as_bytes());
        let key = tag.as_ref().try_into();
        let key = key.map_err(|_| StoreError::Cryptography("HMAC-SHA-256"))?;
        Ok(Zeroizing::new(key))
    }
}

/// Seals a few bytes with AES-KWP, which also authenticates them.
fn seal_small(key: &[u8; 32], plain: &[u8]) -> Result<Vec<u8>, SqlError> {
    let mut sealed = vec![0; plain.len().next_multiple_of(8) + 8];
    let len = AesKek::new(&AES_256, key)
        .and_then(|kek| {
            kek.wrap_with_padding(plain, &mut sealed)
                .map(|out| out.len())
        })
        .map_err(|_| StoreError::Cryptography("sealing a few bytes"))?;
    sealed.truncate(len);
    Ok(sealed)
}

fn open_small(key: &[u8; 32], sealed: &[u8]) -> Option<Vec<u8>> {
    let mut plain = vec![0; sealed.len()];
    let len = AesKek::new(&AES_256, key)
        .and_then(|kek| {
            kek.unwrap_with_padding(sealed, &mut plain)
                .map(|out| out.len())
        })
        .ok()?;
    plain.truncate(len);
    Some(plain)
}

/// Returns the constant nonce. It is safe because every key seals one thing only.
fn single_use_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, SqlError> {
    UnboundKey::new(&AES_256_GCM, key)
        .map(LessSafeKey::new)
        .map_err(|_| StoreError::Cryptography("AES-256-GCM").into())
}

struct KeyLength;

impl hkdf::KeyType for KeyLength {
    fn len(&self) -> usize {
        32
    }
}

/// Derives a key for one use of `secret` (HKDF-SHA-256, RFC 5869).
pub(super) fn derived(secret: &[u8], label: &str) -> Result<Zeroizing<[u8; 32]>, SqlError> {
    let mut key = Zeroizing::new([0; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis store")
        .extract(secret)
        .expand(&[label.as_bytes()], KeyLength)
        .and_then(|okm| okm.fill(key.as_mut()))
        .map_err(|_| StoreError::Cryptography("HKDF"))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attack HL2: a pack is never sealed with fewer keys than it has sections.
    #[test]
    fn more_sections_than_keys_are_a_fault() {
        let vault = Vault::new(&[1; 32]).unwrap();
        let mut keys = SectionKeys::new();
        keys.draw(0).unwrap();
        assert!(vault.seal_keys(1, &[0; 32], &keys, KEYS_AT_ONCE).is_ok());
        for count in [KEYS_AT_ONCE + 1, usize::MAX] {
            let refused = vault.seal_keys(1, &[0; 32], &keys, count);
            let Err(SqlError::Store(StoreError::Fault(_))) = refused else {
                panic!("{count} keys were sealed");
            };
        }
    }

    fn vault(byte: u8) -> Vault {
        Vault::new(&[byte; 32]).unwrap()
    }

    fn id(byte: u8) -> RecordId {
        RecordId::from_slice(&[byte; 32]).unwrap()
    }

    #[test]
    fn a_sealed_thing_opens_in_its_place_and_nowhere_else() {
        let (vault, id, other) = (vault(1), id(1), id(2));
        let sealed_as = SealedAs::Section(&id, 3);
        let Sealed { wrapped, bytes } = vault.seal(sealed_as, b"container".to_vec()).unwrap();
        let opened = |sealed_as| vault.open(sealed_as, &wrapped, bytes.clone());
        assert_eq!(opened(sealed_as).as_deref(), Some(b"container".as_slice()));
        assert_eq!(opened(SealedAs::Section(&id, 4)), None);
        assert_eq!(opened(SealedAs::Section(&other, 3)), None);
        assert_eq!(opened(SealedAs::Consignment("x")), None);
        assert_eq!(opened(SealedAs::Score("x")), None);
    }

    #[test]
    fn a_flipped_bit_in_key_or_ciphertext_opens_nothing() {
        let (vault, id) = (vault(1), id(1));
        let sealed_as = SealedAs::Section(&id, 0);
        let Sealed { wrapped, bytes } = vault.seal(sealed_as, b"abc".to_vec()).unwrap();
        for bit in 0..wrapped.len() * 8 {
            let mut changed = wrapped;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(vault.open(sealed_as, &changed, bytes.clone()), None);
        }
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(vault.open(sealed_as, &wrapped, changed), None);
        }
        assert_eq!(vault.open(sealed_as, &[], bytes), None);
        assert_eq!(vault.open(sealed_as, &wrapped, Vec::new()), None);
    }

    #[test]
    fn another_store_key_opens_nothing() {
        let id = id(1);
        let sealed_as = SealedAs::Section(&id, 0);
        let Sealed { wrapped, bytes } = vault(1).seal(sealed_as, b"abc".to_vec()).unwrap();
        assert_eq!(vault(2).open(sealed_as, &wrapped, bytes), None);
    }

    /// Finding F3: keys of before the binding hold the store's key.
    #[test]
    fn what_is_bound_opens_with_its_secret_and_finds_the_same() {
        let id = id(1);
        let sealed_as = SealedAs::Section(&id, 0);
        let bound = |secret| Vault::bound(&[1; 32], &[secret; 32]).unwrap();
        let Sealed { wrapped, bytes } = bound(7).seal(sealed_as, b"abc".to_vec()).unwrap();
        let opens = |vault: Vault| vault.open(sealed_as, &wrapped, bytes.clone()).is_some();
        assert!(opens(bound(7)));
        assert!(!opens(bound(8)) && !opens(vault(1)));
        assert!(!opens(Vault::bound(&[7; 32], &[1; 32]).unwrap()));
        // Tokens, names and headers do not change, so that no row is written anew.
        let token = |vault: &Vault| vault.token(SelectorKind::Imo, "9074729");
        assert_eq!(token(&bound(7)), token(&vault(1)));
        assert_eq!(bound(7).name("x").unwrap(), vault(1).name("x").unwrap());
    }

    #[test]
    fn the_same_text_sealed_twice_shows_nothing_in_common() {
        let (vault, id) = (vault(1), id(1));
        let seal = || vault.seal(SealedAs::Section(&id, 0), vec![0; 64]).unwrap();
        let (first, second) = (seal(), seal());
        assert_ne!(first.bytes, second.bytes);
        assert_ne!(first.wrapped, second.wrapped);
    }

    #[test]
    fn a_token_depends_on_store_kind_and_value() {
        let vault = vault(1);
        let token = |kind| vault.token(kind, "9074729");
        assert_eq!(token(SelectorKind::Imo), token(SelectorKind::Imo));
        assert_ne!(token(SelectorKind::Imo), token(SelectorKind::Mmsi));
        assert_ne!(
            token(SelectorKind::Imo),
            self::vault(2).token(SelectorKind::Imo, "9074729")
        );
    }

    #[test]
    fn places_and_goods_have_no_token() {
        assert_eq!(vault(1).token(SelectorKind::UnLocode, "NLRTM"), None);
        assert_eq!(vault(1).token(SelectorKind::HsCode, "0803"), None);
    }

    #[test]
    fn a_token_is_the_hmac_of_rfc_2104_under_the_derived_key() {
        // An independent computation with the sha2 crate: HKDF (RFC 5869), then HMAC.
        use sha2::{Digest as _, Sha256};
        fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
            let mut block = [0; 64];
            block[..key.len()].copy_from_slice(key);
            let inner = Sha256::new()
                .chain_update(block.map(|byte| byte ^ 0x36))
                .chain_update(text)
                .finalize();
            Sha256::new()
                .chain_update(block.map(|byte| byte ^ 0x5c))
                .chain_update(inner)
                .finalize()
                .into()
        }
        let extracted = mac(b"portcullis store", &[1; 32]);
        let key = mac(&extracted, b"blind index imo v1\x01");
        assert_eq!(
            vault(1).token(SelectorKind::Imo, "9074729").unwrap(),
            i64::from_be_bytes(mac(&key, b"9074729")[..8].try_into().unwrap())
        );
    }
}
