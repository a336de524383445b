//! The table from errors to exit codes.
//!
//! What was given is wrong: 3. The machine, or the present state of a home, does not let it: 1.
//! Our messages say after a semicolon what to do; that part is printed apart.

use std::{error::Error, io::ErrorKind};

use super::{error::CliError, exit::Exit};
use portcullis_home::{
    config::ConfigError,
    files::FileError,
    key_file::KeyFileError,
    keyring::KeyringError,
    membership::{AdmitError, AmendError, ChainError, FoundError, RequestError, SignError},
    own_certificate::{CertificateFault, CsrError, PemError},
    secret::SecretError,
};

/// Returns an error as it is printed, with the advice apart from the event.
pub fn told(exit: Exit, error: &dyn Error) -> CliError {
    apart(exit, error, |message| message.split_once("; "))
}

/// As [`told`], for an error that repeats what another says before its own advice.
pub fn told_at_the_end(exit: Exit, error: &dyn Error) -> CliError {
    apart(exit, error, |message| message.rsplit_once("; "))
}

fn apart(exit: Exit, error: &dyn Error, cut: impl Fn(&str) -> Option<(&str, &str)>) -> CliError {
    let whole = CliError::from_error(exit, error);
    match cut(&whole.message) {
        Some((message, advice)) => CliError {
            message: message.to_owned(),
            ..whole.clone()
        }
        .remedy(advice),
        None => whole,
    }
}

impl From<FileError> for CliError {
    fn from(error: FileError) -> Self {
        told(of_file(&error), &error)
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        told(of_config(&error), &error)
    }
}

impl From<SecretError> for CliError {
    fn from(error: SecretError) -> Self {
        told(of_secret(&error), &error)
    }
}

impl From<KeyringError> for CliError {
    fn from(error: KeyringError) -> Self {
        told(of_keyring(&error), &error)
    }
}

impl From<KeyFileError> for CliError {
    fn from(error: KeyFileError) -> Self {
        let exit = match &error {
            KeyFileError::File(file) => of_file(file),
            KeyFileError::Secret { source, .. } => of_secret(source),
            KeyFileError::NoKey { .. } => Exit::Invalid,
            KeyFileError::Random => Exit::Failed,
        };
        told(exit, &error)
    }
}

impl From<CsrError> for CliError {
    fn from(error: CsrError) -> Self {
        let exit = match &error {
            CsrError::Refused(_) => Exit::Failed,
            CsrError::Keyring(keyring) => of_keyring(keyring),
        };
        told(exit, &error)
    }
}

impl From<PemError> for CliError {
    fn from(error: PemError) -> Self {
        told(of_pem(&error), &error)
    }
}

impl From<CertificateFault> for CliError {
    fn from(error: CertificateFault) -> Self {
        let exit = match &error {
            CertificateFault::Pem(pem) => of_pem(pem),
            CertificateFault::Identity(_)
            | CertificateFault::Names { .. }
            | CertificateFault::Ended(_)
            | CertificateFault::Refused(_)
            | CertificateFault::Trust(_)
            | CertificateFault::Unlisted(_) => Exit::Invalid,
        };
        told(exit, &error)
    }
}

impl From<ChainError> for CliError {
    fn from(error: ChainError) -> Self {
        match &error {
            ChainError::File(file) => told(of_file(file), &error),
            ChainError::None(_) => told(Exit::Failed, &error),
            ChainError::Refused { path, refusal } => {
                let message = format!("`{}` is refused: {}", path.display(), refusal.detail);
                Self::invalid(message)
                    .rule(refusal.rule.id())
                    .remedy(refusal.rule.remedy())
            }
        }
    }
}

impl From<RequestError> for CliError {
    fn from(error: RequestError) -> Self {
        match &error {
            RequestError::File(file) => told(of_file(file), &error),
            RequestError::Refused { path, refusal } => {
                let message = format!("`{}` is refused: {}", path.display(), refusal.detail);
                Self::invalid(message)
                    .rule(refusal.rule.id())
                    .remedy(refusal.rule.remedy())
            }
            RequestError::Content(refusal) => told(Exit::Invalid, &error).rule(refusal.rule.id()),
            RequestError::Signature(_) | RequestError::NotListed(_) => told(Exit::Failed, &error),
        }
    }
}

impl From<AdmitError> for CliError {
    fn from(error: AdmitError) -> Self {
        let told = told(Exit::Invalid, &error);
        match error.rule() {
            Some(rule) => told.rule(rule.id()),
            None => told,
        }
    }
}

impl From<AmendError> for CliError {
    fn from(error: AmendError) -> Self {
        let told = told(Exit::Invalid, &error);
        match error.rule() {
            Some(rule) => told.rule(rule.id()),
            None => told,
        }
    }
}

impl From<FoundError> for CliError {
    fn from(error: FoundError) -> Self {
        told(Exit::Invalid, &error)
    }
}

impl From<SignError> for CliError {
    fn from(error: SignError) -> Self {
        told(Exit::Invalid, &error)
    }
}

/// The exit code of a file that is not read or written. A folder in place of a file, or a path through a file, is
/// wrong input like a file that is missing.
#[must_use]
pub fn of_file(error: &FileError) -> Exit {
    match error {
        FileError::Missing { .. }
        | FileError::Exists { .. }
        | FileError::NotFile { .. }
        | FileError::Open { .. }
        | FileError::TooLarge { .. }
        | FileError::NotText { .. } => Exit::Invalid,
        FileError::System { source, .. } if is_another_kind(source.kind()) => Exit::Invalid,
        FileError::System { .. } | FileError::NotOwn { .. } => Exit::Failed,
    }
}

/// Returns true if the path is that of something that is no such file.
fn is_another_kind(kind: ErrorKind) -> bool {
    [
        ErrorKind::IsADirectory,
        ErrorKind::NotADirectory,
        ErrorKind::InvalidInput,
        ErrorKind::InvalidFilename,
    ]
    .contains(&kind)
}

/// The exit code of a configuration that does not hold.
#[must_use]
pub fn of_config(error: &ConfigError) -> Exit {
    match error {
        ConfigError::File(file) => of_file(file),
        ConfigError::Unfinished(_) => Exit::Failed,
        ConfigError::Missing(_)
        | ConfigError::Toml { .. }
        | ConfigError::UnknownKey { .. }
        | ConfigError::MissingKey { .. }
        | ConfigError::Value { .. } => Exit::Invalid,
    }
}

fn of_secret(error: &SecretError) -> Exit {
    match error {
        SecretError::File(file) => of_file(file),
        SecretError::Empty(_)
        | SecretError::Short(_)
        | SecretError::Differ
        | SecretError::Format(_)
        | SecretError::OtherContent { .. }
        | SecretError::WrongPassphrase(_) => Exit::Invalid,
        SecretError::Terminal(_)
        | SecretError::NoCredential(_)
        | SecretError::Derivation(_)
        | SecretError::System => Exit::Failed,
    }
}

/// The exit code of keys that do not load.
#[must_use]
pub fn of_keyring(error: &KeyringError) -> Exit {
    match error {
        KeyringError::File(file) => of_file(file),
        KeyringError::Secret(secret) => of_secret(secret),
        KeyringError::NoKeys(_) | KeyringError::Exists(_) => Exit::Invalid,
        KeyringError::Format | KeyringError::Key(_) | KeyringError::System => Exit::Failed,
    }
}

fn of_pem(error: &PemError) -> Exit {
    match error {
        PemError::File(file) => of_file(file),
        PemError::None(_) | PemError::NotAuthority(_) => Exit::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_is_told_apart_from_what_happened() {
        let error = CliError::from(SecretError::Differ);
        assert_eq!(error.message, "the two passphrases differ");
        assert_eq!(error.remedy.as_deref(), Some("type the same one twice"));
        assert_eq!(error.exit, Exit::Invalid);
    }
}
