//! Revocation lists of a home: every list of every file, told apart by the anchor that issued it.
//!
//! A file holds lists in PEM, as many as it likes, or one in DER. A file counts whole or not at
//! all. A list that does not parse, or that no anchor of this federation ever issued, is a fault of
//! its file: it may be the one by which somebody's certificate should end.

use std::path::{Path, PathBuf};

use portcullis_home::{
    Home,
    files::{self, FileError},
};
use portcullis_peering::revocation::RevocationList;
use rustls_pki_types::CertificateRevocationListDer;

/// Begin of every PEM block (RFC 7468).
const PEM_BEGIN: &str = "-----BEGIN ";

/// A file of `crl/` does not count. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum ListFault {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file holds something else than lists.
    #[error(
        "`{}` is not a revocation list: {reason}; fetch it again from its CA", path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Description of what was found.
        reason: String,
    },
    /// No authority of the federation issued the list.
    #[error(
        "`{}` holds a revocation list that no member's trust anchor signed; fetch it again from the CA whose certificate the register lists, or remove it",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The list does not say by itself who is revoked.
    #[error(
        "`{}` holds a revocation list that cannot be used alone (of changes, or of other issuers' certificates); fetch the complete one from its CA",
        path.display()
    )]
    Partial {
        /// The file.
        path: PathBuf,
    },
}

/// A list and the file that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FiledList {
    /// The file.
    pub path: PathBuf,
    /// The list.
    pub list: RevocationList,
}

/// Content of a home's `crl/`.
#[derive(Debug, Default)]
pub struct HomeLists {
    /// Lists that an anchor of the federation issued.
    pub lists: Vec<FiledList>,
    /// Files that do not count.
    pub faults: Vec<ListFault>,
    /// Files whose name says that they hold no list.
    pub ignored: Vec<PathBuf>,
}

impl HomeLists {
    /// Reads `crl/` of a home. `anchors` are the trust anchors of every epoch, because the list of
    /// an authority that left is no fault.
    #[must_use]
    pub fn read(home: &Home, anchors: &[Vec<u8>]) -> Self {
        let mut found = Self::default();
        let paths = match files::list_all(&home.revocation_lists()) {
            Ok(paths) => paths,
            Err(error) => {
                found.faults.push(error.into());
                return found;
            }
        };
        for path in paths {
            if path.extension().is_none_or(|extension| extension != "crl") {
                found.ignored.push(path);
                continue;
            }
            match file(&path, anchors) {
                Ok(lists) => found.lists.extend(lists),
                Err(fault) => found.faults.push(fault),
            }
        }
        found
    }
}

fn file(path: &Path, anchors: &[Vec<u8>]) -> Result<Vec<FiledList>, ListFault> {
    let unreadable = |reason: String| ListFault::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let content = files::read(path)?;
    let lists = encoded(&content).map_err(unreadable)?;
    lists
        .into_iter()
        .map(|der| {
            let list = RevocationList::parse(der).map_err(|error| unreadable(error.to_string()))?;
            let path = path.to_owned();
            let Some(anchor) = anchors.iter().find(|anchor| list.is_issued_by(anchor)) else {
                return Err(ListFault::Foreign { path });
            };
            if !list.is_usable(anchor) {
                return Err(ListFault::Partial { path });
            }
            Ok(FiledList { path, list })
        })
        .collect()
}

/// Takes the lists of a file apart: every block of PEM, or the whole as DER.
fn encoded(content: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let begins = content
        .windows(PEM_BEGIN.len())
        .filter(|window| *window == PEM_BEGIN.as_bytes())
        .count();
    if begins == 0 {
        return Ok(vec![content.to_vec().into()]);
    }
    let blocks = pem::parse_many(content).map_err(|error| error.to_string())?;
    if blocks.len() != begins {
        return Err(format!(
            "{begins} blocks of PEM begin and {} are whole",
            blocks.len()
        ));
    }
    blocks
        .into_iter()
        .map(|block| match block.tag() {
            "X509 CRL" => Ok(block.into_contents().into()),
            other => Err(format!("it holds a block `{}`", other.escape_debug())),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use portcullis_certs_dev::{DevelopmentAuthority, revocation_list_pem};

    use super::*;

    struct Crl {
        folder: tempfile::TempDir,
        authority: DevelopmentAuthority,
    }

    impl Crl {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("crl")).unwrap();
            let authority = DevelopmentAuthority::new("rotterdam", jiff::Timestamp::now()).unwrap();
            Self { folder, authority }
        }

        fn pem(&self, number: u64) -> String {
            revocation_list_pem(&self.der(number))
        }

        fn der(&self, number: u64) -> CertificateRevocationListDer<'static> {
            let now = jiff::Timestamp::now();
            self.authority.revocation_list(number, &[], now).unwrap()
        }

        /// Reads a folder in which one file has this content.
        fn read(&self, name: &str, content: impl AsRef<[u8]>) -> HomeLists {
            let path = self.folder.path().join("crl").join(name);
            std::fs::write(&path, content).unwrap();
            let anchors = [self.authority.certificate().to_vec()];
            let found = HomeLists::read(&Home::new(self.folder.path().to_owned()), &anchors);
            std::fs::remove_file(&path).unwrap();
            found
        }

        #[track_caller]
        fn counts(&self, content: impl AsRef<[u8]>, lists: usize) {
            let found = self.read("a.crl", content);
            assert!(found.faults.is_empty(), "{:?}", found.faults);
            assert_eq!(found.lists.len(), lists);
        }

        #[track_caller]
        fn faults(&self, content: impl AsRef<[u8]>, says: &str) {
            let found = self.read("a.crl", content);
            let [fault] = &found.faults[..] else {
                panic!("{found:?}");
            };
            let told = fault.to_string();
            assert!(told.contains("a.crl") && told.contains(says), "{told}");
            assert!(found.lists.is_empty(), "the file counts whole or not");
        }
    }

    /// Bugs #6: the second list of a file counts as the first does.
    #[test]
    fn every_list_of_a_file_counts_and_a_file_in_der_as_well() {
        let crl = Crl::new();
        crl.counts(crl.pem(1), 1);
        crl.counts(crl.pem(1) + &crl.pem(2), 2);
        crl.counts(format!("Issuer: text above\n{}", crl.pem(1)), 1);
        crl.counts(crl.pem(1).replace('\n', "\r\n"), 1);
        crl.counts(crl.der(1), 1);
    }

    /// Attack HH4: PEM around random bytes turned revocation off.
    #[test]
    fn what_is_no_list_or_nobodys_is_a_fault_that_names_the_file() {
        let crl = Crl::new();
        let random = pem::encode(&pem::Pem::new("X509 CRL", [7; 20]));
        let stranger = Crl::new();
        crl.faults(&random, "not a revocation list");
        crl.faults(crl.pem(1) + &random, "not a revocation list");
        crl.faults(stranger.pem(1), "no member's trust anchor");
        crl.faults(crl.pem(1) + &stranger.pem(1), "no member's trust anchor");
        crl.faults("", "not a revocation list");
        crl.faults("<html>not found</html>", "not a revocation list");
        crl.faults(crl.authority.certificate_pem(), "`CERTIFICATE`");
        let two = crl.pem(1) + &crl.pem(2);
        let cut = two.trim_end().trim_end_matches("-----END X509 CRL-----");
        crl.faults(cut, "not a revocation list");
        let mut after = crl.der(1).to_vec();
        after.push(0);
        crl.faults(after, "not a revocation list");
    }

    #[test]
    fn a_file_of_another_name_is_told_as_ignored() {
        let crl = Crl::new();
        let found = crl.read("a.pem", crl.pem(1));
        assert!(found.lists.is_empty() && found.faults.is_empty());
        assert_eq!(found.ignored.len(), 1);
    }
}
