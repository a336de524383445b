//! Taking a backup of a running node, or of a home in which no node runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use portcullis_protocol::{
    digest::Digest,
    keys::{KeyUse, SigningKey},
    seal::Entropy as _,
    time::Timestamp,
};
use sha2::{Digest as _, Sha256};

use super::{
    BackupError, Phase, Progress, Told,
    check::{self, Checked, Which},
    manifest::{FileEntry, MANIFEST_FILE, Manifest, Of},
    signature::{self, SIGNATURE_FILE},
    staging::{self, Links, Staging},
};
use portcullis_home::{
    Home,
    clock::SystemEntropy,
    config::Config,
    files::{self, Access, FileError},
    keyring::Keyring,
    membership::load_chain,
};
use portcullis_store::StoreError;
use portcullis_store_sqlite::{KEYS_FILE, MAIN_FILE, Snapshot};

/// The home to back up, and the folders to make.
#[derive(Debug, Clone)]
pub struct Order {
    /// The node's home.
    pub home: Home,
    /// Folder for the data, which must not exist yet.
    pub to: PathBuf,
    /// Folder for the keys, which must not exist yet.
    pub keys_to: PathBuf,
    /// The node's log key, which signs.
    pub key: Arc<SigningKey>,
    /// The present time.
    pub now: Timestamp,
    /// Id of the act that orders it, if a person's does. The backup is named by it, so that the act
    /// finds it again.
    pub act: Option<Digest>,
}

/// Returns the log key of a node that does not run: the one that signs under its newest register.
///
/// # Errors
///
/// [`BackupError`] if its keys cannot be opened.
pub fn log_key(home: &Home, now: Timestamp) -> Result<Arc<SigningKey>, BackupError> {
    let config = Config::load(&home.config())?;
    let keyring = Keyring::load(home, &config.key)?;
    let newest = match load_chain(home, &config.register_pin) {
        Ok(newest) => Some(newest),
        Err(error) => {
            tracing::warn!(%error, "there is no register to tell which key signs; the first one does");
            None
        }
    };
    let listed = newest
        .as_ref()
        .and_then(|one| one.register().node(&config.node));
    Ok(keyring.signing(KeyUse::Log, listed.map(|(_, node)| node), now))
}

/// A backup that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupMade {
    /// The manifest of the data.
    pub data: Manifest,
    /// The manifest of the keys.
    pub keys: Manifest,
}

/// Takes a backup. `snapshot` holds the store at one commit. A backup that the same act made before is
/// checked and returned, and none is taken.
///
/// # Errors
///
/// [`BackupError`]; neither folder exists then.
pub fn take(
    order: &Order,
    snapshot: impl FnOnce() -> Result<Snapshot, StoreError>,
    told: Told<'_>,
) -> Result<BackupMade, BackupError> {
    let order = order.absolute()?;
    order.refuse()?;
    // Found once more with the folders around the targets in place; from here on these paths are
    // used, in which no link is left.
    let order = Order {
        to: staging::settled(&order.to)?,
        keys_to: staging::settled(&order.keys_to)?,
        ..order
    };
    order.refuse()?;
    let id = order.id();
    if let Some(made) = order.made_before(id, &mut *told)? {
        return Ok(made);
    }
    let config = Config::load(&order.home.config())?;
    let (data, keys) = (
        Staging::begin(order.to.clone())?,
        Staging::begin(order.keys_to.clone())?,
    );
    let (main, table) = copy_store(snapshot, &data, &keys, told)?;
    // Copied after the snapshot, so that the register's epochs that the store has seen are
    // included.
    copy_files(&order.home, &config, &data, &keys)?;
    told(phase(Phase::Checking));
    let findings = portcullis_store_sqlite::examine(&main, Some(&table))?;
    if !findings.is_empty() {
        return Err(BackupError::Damaged(findings));
    }
    let of = Of {
        federation: config.federation,
        authority: config.authority,
        node: config.node,
        made_at: order.now,
        backup: id,
    };
    let key_files = entries(&keys, told)?;
    let keys_manifest = Manifest::of_keys(&of, key_files, &order.key.public());
    let keys_text = keys_manifest.to_json()?;
    let bound = Digest::from_bytes(Sha256::digest(&keys_text).into());
    let data_files = entries(&data, told)?;
    let manifest = Manifest::of_data(
        &of,
        data_files,
        &portcullis_store_sqlite::look(&main)?,
        &bound,
    );
    let text = manifest.to_json()?;
    write(&keys, MANIFEST_FILE, &keys_text)?;
    write(&data, MANIFEST_FILE, &text)?;
    write(&data, SIGNATURE_FILE, &signature::sign(&text, &order.key)?)?;
    // The data comes last, so that a backup is whole once its data has its name.
    keys.finish()?;
    data.finish()?;
    Ok(BackupMade {
        data: manifest,
        keys: keys_manifest,
    })
}

impl Order {
    fn absolute(&self) -> Result<Self, FileError> {
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|source| FileError::system("find", path, source))
        };
        Ok(Self {
            home: Home::new(absolute(self.home.folder())?),
            to: absolute(&self.to)?,
            keys_to: absolute(&self.keys_to)?,
            key: Arc::clone(&self.key),
            now: self.now,
            act: self.act,
        })
    }

    /// Returns the id of the backup: that of its act, or a random one.
    fn id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        match &self.act {
            Some(act) => id
                .iter_mut()
                .zip(act.as_bytes())
                .for_each(|(id, byte)| *id = *byte),
            None => SystemEntropy::default().fill(&mut id),
        }
        id
    }

    /// Returns the backup that the same act made before, if both of its folders are in place, are
    /// whole, and are signed with this node's key. `None` if anything else or nothing is there.
    fn made_before(&self, id: [u8; 16], told: Told<'_>) -> Result<Option<BackupMade>, BackupError> {
        let which = Which {
            from: &self.to,
            keys: Some(&self.keys_to),
            pin: None,
        };
        if self.act.is_none() || !self.to.is_dir() || !self.keys_to.is_dir() {
            return Ok(None);
        }
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        let (id, key) = (hex(&id), hex(&self.key.public().to_bytes()));
        let is_its = |found: &Checked| {
            let keys = found.keys.as_ref();
            let of_this_node = keys.and_then(|keys| keys.log_key.as_ref()) == Some(&key);
            found.data.backup == id && of_this_node
        };
        // What is there and is not this act's is refused with the folder that it stands at.
        if !check::manifests(which).is_ok_and(|found| is_its(&found)) {
            return Ok(None);
        }
        let Checked { data, keys, .. } = check::verify(which, told)?;
        Ok(keys.map(|keys| BackupMade { data, keys }))
    }

    /// Refuses targets that conflict with each other or with the home.
    fn refuse(&self) -> Result<(), BackupError> {
        let targets = [&self.to, &self.keys_to];
        if let Some(nameless) = targets.into_iter().find(|path| path.file_name().is_none()) {
            return Err(BackupError::Nameless(nameless.clone()));
        }
        let (to, keys_to) = (resolved(&self.to), resolved(&self.keys_to));
        if to.starts_with(&keys_to) || keys_to.starts_with(&to) {
            return Err(BackupError::Together(self.to.clone(), self.keys_to.clone()));
        }
        let home = resolved(self.home.folder());
        match [to, keys_to].into_iter().find(|to| to.starts_with(&home)) {
            Some(within) => Err(BackupError::InHome(within)),
            None => Ok(()),
        }
    }
}

/// Returns the path with the symbolic links in its existing part followed.
fn resolved(path: &Path) -> PathBuf {
    if let Ok(found) = fs::canonicalize(path) {
        return found;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => resolved(parent).join(name),
        (Some(_) | None, Some(_) | None) => path.to_owned(),
    }
}

fn copy_store(
    snapshot: impl FnOnce() -> Result<Snapshot, StoreError>,
    data: &Staging,
    keys: &Staging,
    told: Told<'_>,
) -> Result<(PathBuf, PathBuf), BackupError> {
    let main = data.place(&format!("data/{MAIN_FILE}"))?;
    let table = keys.place(&format!("data/{KEYS_FILE}"))?;
    let snapshot = snapshot()?;
    let tell = |phase| {
        move |copied: portcullis_store_sqlite::Copied| Progress {
            phase,
            done: copied.pages,
            of: copied.of,
        }
    };
    let (of_main, of_keys) = (tell(Phase::Store), tell(Phase::Keys));
    snapshot.copy_main(&main, &mut |copied| told(of_main(copied)))?;
    snapshot.copy_keys(&table, &mut |copied| told(of_keys(copied)))?;
    Ok((main, table))
}

/// Copies the files of a home other than the store: open files to the data, secret files to the
/// keys. Passphrases are not copied.
fn copy_files(
    home: &Home,
    config: &Config,
    data: &Staging,
    keys: &Staging,
) -> Result<(), BackupError> {
    let mut open = vec![
        home.config(),
        home.certificate(),
        home.certificate_request(),
        home.schema(),
    ];
    for folder in [home.revocation_lists(), home.register(), home.policy()] {
        open.extend(files::list_all(&folder)?);
    }
    let secret = home.keys().parent().map(files::list_all).transpose()?;
    let mut secret = secret.unwrap_or_default();
    secret.extend(
        config
            .freshness
            .as_ref()
            .map(|settings| settings.key.clone()),
    );
    let passphrases = passphrases(config);
    for (paths, staging) in [(open, data), (secret, keys)] {
        for path in paths {
            if !passphrases.contains(&resolved(&path)) {
                copy_file(home, &path, staging)?;
            }
        }
    }
    Ok(())
}

fn passphrases(config: &Config) -> Vec<PathBuf> {
    let mut paths = config.key.file().into_iter().collect::<Vec<_>>();
    let renewal = config.freshness.as_ref();
    paths.extend(renewal.map(|settings| settings.passphrase_file.clone()));
    paths.iter().map(|path| resolved(path)).collect()
}

/// Copies a file of the home to the same path in the backup. Skips files outside of the home,
/// missing files, and files that a process has not finished writing.
fn copy_file(home: &Home, path: &Path, staging: &Staging) -> Result<(), BackupError> {
    let Some(below) = path.strip_prefix(home.folder()).ok().and_then(Path::to_str) else {
        return Ok(());
    };
    let is_hidden = path
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let is_file = match fs::metadata(path) {
        Ok(found) => found.is_file(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(source) => return Err(FileError::system("read", path, source).into()),
    };
    let place = staging.place(below)?;
    if is_file && !is_hidden && !place.exists() {
        staging::copy(path, Links::Followed, &place, &mut |_| {})?;
    }
    Ok(())
}

/// Lists the files of an unfinished folder, by path.
fn entries(staging: &Staging, told: Told<'_>) -> Result<Vec<FileEntry>, BackupError> {
    let mut paths = Vec::new();
    below(staging.folder(), &mut paths)?;
    let sizes = paths.iter().filter_map(|path| fs::metadata(path).ok());
    let of = sizes.map(|found| found.len()).sum();
    let mut done = 0;
    let mut entries = Vec::new();
    for path in paths {
        let (bytes, sha256) = staging::digest(&path, &mut |read| {
            done += read;
            told(Progress {
                phase: Phase::Digesting,
                done,
                of,
            });
        })?;
        let name = path.strip_prefix(staging.folder()).unwrap_or(&path);
        entries.push(FileEntry {
            path: name.to_string_lossy().into_owned(),
            bytes,
            sha256: sha256.to_string(),
        });
    }
    Ok(entries)
}

/// Collects the files of a folder and of all folders below, by path.
fn below(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), FileError> {
    for path in files::list_all(folder)? {
        let is_hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() {
            below(&path, paths)?;
        } else if !is_hidden {
            paths.push(path);
        }
    }
    Ok(())
}

fn write(staging: &Staging, name: &str, text: &[u8]) -> Result<(), BackupError> {
    Ok(files::create(&staging.place(name)?, text, Access::Owner)?)
}

const fn phase(phase: Phase) -> Progress {
    Progress {
        phase,
        done: 0,
        of: 0,
    }
}
