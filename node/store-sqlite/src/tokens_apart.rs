//! The step to the format in which consignments have tokens of their own, and references, points and
//! headers are sealed.
//!
//! Consignments are taken over as they are sealed, with their tokens computed anew. Scores are left
//! behind, for the desk computes them. Of the packs of records, those are rewritten in which a header
//! has free text (handling code H3); the headers of the others stay as they are.
//!
//! The keys of a rewritten pack are durable first, bound so that they open before and after it is
//! rewritten. A step that is cut short is taken again.

use portcullis_protocol::wire;
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _};

use super::{
    consignments::{SealedConsignment, SealedSelector},
    crypt::{SealedAs, Token, Vault},
    error::SqlError,
    pack::Telling,
};

/// The former tables, renamed, and the empty new ones.
pub(super) const TABLES: &str = include_str!("main_tokens_apart.sql");

/// The end of the former tables.
pub(super) const DROP: &str = "DROP TABLE former_consignment";

/// Fills the new tables in the transaction that is open on `main`.
pub(super) fn fill(main: &Connection, keys: &Connection, vault: &Vault) -> Result<(), SqlError> {
    let mut former =
        main.prepare("SELECT n, reference, at, arriving, key, sealed FROM former_consignment")?;
    let mut insert = main.prepare(
        "INSERT INTO consignment (n, name, at, arriving, key, sealed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut add = main
        .prepare("INSERT OR IGNORE INTO consignment_token (token, consignment) VALUES (?1, ?2)")?;
    let mut rows = former.query([])?;
    while let Some(row) = rows.next()? {
        let (n, reference): (i64, String) = (row.get(0)?, row.get(1)?);
        let (at, arriving): (i64, bool) = (row.get(2)?, row.get(3)?);
        let (key, sealed): (i64, Vec<u8>) = (row.get(4)?, row.get(5)?);
        insert.execute((n, vault.name(&reference)?, at, arriving, key, &sealed))?;
        if arriving {
            for token in tokens(keys, vault, &reference, key, sealed)? {
                add.execute((token, n))?;
            }
        }
    }
    seal_free_text(main, keys, vault)
}

/// Returns the tokens of a consignment; none if it does not open, as its reader will tell.
fn tokens(
    keys: &Connection,
    vault: &Vault,
    reference: &str,
    key: i64,
    sealed: Vec<u8>,
) -> Result<Vec<Token>, SqlError> {
    let wrapped: Option<Vec<u8>> = keys
        .query_row(
            "SELECT wrapped FROM wrapped_key WHERE n = ?1",
            [key],
            |row| row.get(0),
        )
        .optional()
        .map_err(SqlError::Keys)?;
    let plain = wrapped
        .and_then(|wrapped| vault.open(SealedAs::Consignment(reference), &wrapped, sealed))
        .and_then(|plain| SealedConsignment::decode(plain.as_slice()).ok());
    let selectors = plain.map(|plain| plain.selectors).unwrap_or_default();
    let named = selectors.into_iter().map(SealedSelector::read);
    let tokens = named.filter_map(|read| match read {
        Ok((kind, value)) => vault.consignment_token(kind, &value),
        Err(_) => None,
    });
    Ok(tokens.collect())
}

/// Rewrites the packs in which a header in clear has free text.
fn seal_free_text(main: &Connection, keys: &Connection, vault: &Vault) -> Result<(), SqlError> {
    let mut select = main.prepare("SELECT n, ids, directory, body FROM pack WHERE extends = 0")?;
    let mut rows = select.query([])?;
    let mut rewritten = Vec::new();
    while let Some(row) = rows.next()? {
        let n: i64 = row.get(0)?;
        let Some(pack) = Telling::read(row.get(1)?, row.get(2)?, row.get(3)?, has_free_text) else {
            continue;
        };
        let kept = keys
            .query_row(
                "SELECT wrapped, sealed FROM pack_key WHERE n = ?1",
                [n],
                |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)),
            )
            .optional()
            .map_err(SqlError::Keys)?;
        let Some((wrapped, sealed)) = kept else {
            continue;
        };
        // A pack that does not open stays as it is, for its reader to tell of.
        if let Some(again) = pack.bind_anew(n, vault, (&wrapped, sealed))? {
            keys.execute(
                "INSERT OR REPLACE INTO pack_key (n, wrapped, sealed) VALUES (?1, ?2, ?3)",
                (n, again.wrapped, again.bytes),
            )
            .map_err(SqlError::Keys)?;
            rewritten.push((n, pack.rewritten(vault)?));
        }
    }
    drop(rows);
    for (n, (directory, body)) in rewritten {
        main.execute(
            "UPDATE pack SET directory = ?2, body = ?3 WHERE n = ?1",
            (n, directory, body),
        )?;
    }
    Ok(())
}

fn has_free_text(header: &[u8]) -> bool {
    let header = wire::Header::decode(header);
    let marking = header.ok().and_then(|header| header.marking);
    marking.is_some_and(|marking| !marking.h3.is_empty())
}
