//! Stored things that are not what was written. They are left out of lists and named here, so that
//! one of them does not keep back all the others.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use portcullis_store::{DamageRow, Damaged};

/// Most damaged things that are named.
const MOST: usize = 10_000;

/// The damage met since the store was opened.
#[derive(Debug, Default)]
pub(super) struct Damages {
    /// Damaged things, each with what was found; locked for a moment only.
    met: Mutex<BTreeMap<Damaged, String>>,
    /// The finding for which the indexes of a table were last built anew, without making them sound;
    /// locked for a moment only.
    built: Mutex<BTreeMap<&'static str, String>>,
}

impl Damages {
    /// Notes that a thing is damaged. The log names records alone: a consignment's reference is
    /// nobody's business there.
    pub(super) fn met(&self, thing: Damaged, why: String) {
        let mut met = self.lock();
        if met.contains_key(&thing) || met.len() >= MOST {
            return;
        }
        match &thing {
            Damaged::Table(table) => {
                tracing::error!(%table, %why, "a table of the store is not what was written: somebody may have written to the disk; restore it from a backup");
            }
            Damaged::Indexes(table) => {
                tracing::error!(%table, %why, "an index of the store is not what its table says: somebody may have written to the disk; it is built anew");
            }
            Damaged::Record(_) | Damaged::Pack(_) | Damaged::Held { .. } => {
                tracing::error!(%thing, %why, "damage in the store: it is left out; restore it from a backup");
            }
            Damaged::Consignment(_) | Damaged::Score(_) => {
                tracing::error!(
                    "a consignment or its score is damaged in the store: it is left out; import it again"
                );
            }
        }
        met.insert(thing, why);
    }

    /// Notes that a thing is sound, which it may have become.
    pub(super) fn sound(&self, thing: impl FnOnce() -> Damaged) {
        let mut met = self.lock();
        if !met.is_empty() {
            met.remove(&thing());
        }
    }

    /// Returns the tables whose indexes are to be built anew, each with what was found, and notes that
    /// they are built. What building did not mend is not built for the same finding again.
    pub(super) fn to_build(&self) -> Vec<(&'static str, DamageRow)> {
        let rows = self.rows();
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = |row: DamageRow| {
            let Damaged::Indexes(name) = row.thing else {
                return None;
            };
            let before = built.insert(name, row.why.clone());
            (before.as_ref() != Some(&row.why)).then_some((name, row))
        };
        rows.into_iter().filter_map(is_new).collect()
    }

    /// Notes that building the indexes of a table made them sound.
    pub(super) fn mended(&self, table: &str) {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        built.remove(table);
    }

    /// Keeps what `stays` says of; the other things are no longer there.
    pub(super) fn retain(&self, stays: impl Fn(&Damaged) -> bool) {
        self.lock().retain(|thing, _| stays(thing));
    }

    /// Returns everything that is damaged, as far as it was met.
    pub(super) fn rows(&self) -> Vec<DamageRow> {
        let met = self.lock();
        met.iter()
            .map(|(thing, why)| DamageRow {
                thing: thing.clone(),
                why: why.clone(),
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Damaged, String>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
