//! Upper limits of the machine: the rate at which signatures are checked one by one, and the time
//! the disk takes to make an append durable.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use portcullis_protocol::{
    keys::{KeyUse, SigningKey},
    seal::Batch,
    statement::{SignatureError, SignedStatement},
};

/// Bytes of one append: a page of the store's log.
const APPEND: usize = 4096;

/// Time for which signatures are checked.
const CHECKING: Duration = Duration::from_secs(1);

/// Measures the signatures per second that one core checks one by one, each over a different
/// statement.
pub(super) fn verify_strict_per_s() -> Result<f64, SignatureError> {
    let key = SigningKey::from_seed(KeyUse::Sealing, [7; 32]);
    let public = key.public();
    let statements = (0..256_u32)
        .map(|number| {
            let mut payload = vec![0; 150];
            payload.extend_from_slice(&number.to_be_bytes());
            SignedStatement::sign::<Batch>(payload.into(), &key)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let begun = Instant::now();
    let mut checked = 0_u32;
    while begun.elapsed() < CHECKING {
        for statement in &statements {
            statement.verify::<Batch>(&public)?;
            checked = checked.saturating_add(1);
        }
    }
    Ok(f64::from(checked) / begun.elapsed().as_secs_f64())
}

/// Appends to a file and syncs after each append. Returns the time of each append, in milliseconds.
pub(super) fn fdatasync_ms(folder: &Path, count: u64) -> io::Result<Vec<f64>> {
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(folder.join("appends"))?;
    let page = [0x5a; APPEND];
    (0..count)
        .map(|_| {
            let begun = Instant::now();
            file.write_all(&page)?;
            file.sync_data()?;
            Ok(begun.elapsed().as_secs_f64() * 1e3)
        })
        .collect()
}
