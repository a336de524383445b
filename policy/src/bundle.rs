//! Bundles: the policies of one authority, as texts in a folder.
//!
//! # Tighten only
//!
//! Of records, a bundle holds `forbid` policies and nothing else. A `permit` is refused when the
//! bundle is read, and so are templates and ids of the baseline. Cedar allows a request if some permit
//! applies and no forbid does. All permits belong to the baseline; so a bundle can turn an allow
//! into a denial and never a denial into an allow.
//!
//! Policies of hearing are apart ([`Voices`](crate::Voices)): whom an authority hears in its own scores
//! is its own affair, and there a bundle may permit as well.

use std::collections::BTreeMap;

use cedar_policy::{ActionConstraint, Effect, EntityUid, Policy, PolicySet};
use miette::Diagnostic;
use portcullis_protocol::digest::Digest;

use crate::{
    error::{Finding, PolicyError},
    evaluate::{Holds, PolicyId},
    sources::{BASELINE, BASELINE_PREFIX, digest_of},
};

const LONGEST_NAME: usize = 100;

/// Actions of policies of hearing, as Cedar writes them.
const HEARING: [&str; 2] = [
    "Portcullis::Action::\"hear\"",
    "Portcullis::Action::\"believe\"",
];

/// A policy as its author wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyText {
    /// Its id.
    pub id: PolicyId,
    /// The file it stands in; `baseline/…` for a shipped one.
    pub file: String,
    /// The line on which it starts, counted from 1.
    pub line: usize,
    /// The comment above it, without the slashes; empty if there is none.
    pub comment: String,
    /// The policy, with its annotations.
    pub text: String,
    /// The value of `@held`, if a person decides instead of a plain denial.
    pub held: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) text: PolicyText,
    pub(crate) policy: Policy,
    /// Its start in the file, in bytes.
    start: usize,
}

impl Loaded {
    /// Makes a finding about this policy, on the line that the diagnostic points at if there is
    /// one.
    pub(crate) fn finding(&self, diagnostic: &dyn Diagnostic, message: String) -> Finding {
        let label = diagnostic.labels().and_then(|mut labels| labels.next());
        let inside = label.and_then(|label| label.offset().checked_sub(self.start));
        let further = inside.map_or(0, |offset| line_at(&self.text.text, offset) - 1);
        let mut finding = self.text.finding(message);
        finding.line += further;
        finding
    }

    pub(crate) fn holds(&self) -> Holds {
        match self.text.held {
            Some(_) => Holds::ForAPerson,
            None => Holds::No,
        }
    }

    /// Returns whether it is a policy of hearing: its head names actions of hearing and no others.
    pub(crate) fn is_of_hearing(&self) -> bool {
        let is_one = |action: &EntityUid| HEARING.contains(&action.to_string().as_str());
        match self.policy.action_constraint() {
            ActionConstraint::Any => false,
            ActionConstraint::In(actions) => !actions.is_empty() && actions.iter().all(is_one),
            ActionConstraint::Eq(action) => is_one(&action),
        }
    }
}

/// The policies of one authority. On records they can tighten the baseline and never loosen it.
#[derive(Debug, Clone)]
pub struct Bundle {
    digest: Digest,
    policies: Vec<Loaded>,
}

impl Bundle {
    /// Makes an empty bundle: the baseline applies alone.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            digest: bundle_digest(&BTreeMap::new()),
            policies: Vec::new(),
        }
    }

    /// Reads the texts of a folder, given by file name. [`Engine::new`](crate::Engine::new)
    /// validates them against the schema.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] for text that is not Cedar and for policies not fit for a bundle, each with
    /// its place.
    pub fn from_files(files: &BTreeMap<String, String>) -> Result<Self, PolicyError> {
        if let Some(name) = files.keys().find(|name| !is_file_name(name)) {
            return Err(PolicyError::FileName(name.clone()));
        }
        let texts = files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()));
        let policies = load(texts)?;
        let unfit: Vec<Finding> = policies.iter().filter_map(unfit_for_bundle).collect();
        if !unfit.is_empty() {
            return Err(PolicyError::Unfit(unfit));
        }
        Ok(Self {
            digest: bundle_digest(files),
            policies,
        })
    }

    /// Returns the digest of the files' names and texts.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Its policies, ordered by file and position.
    pub fn policies(&self) -> impl Iterator<Item = &PolicyText> {
        self.policies.iter().map(|loaded| &loaded.text)
    }

    pub(crate) fn into_loaded(self) -> Vec<Loaded> {
        self.policies
    }
}

/// Puts policies into one set.
pub(crate) fn policy_set<'p>(
    policies: impl IntoIterator<Item = &'p Loaded>,
) -> Result<PolicySet, PolicyError> {
    let mut set = PolicySet::new();
    for loaded in policies {
        set.add(loaded.policy.clone())
            .map_err(|error| PolicyError::Unfit(vec![loaded.text.finding(error.to_string())]))?;
    }
    Ok(set)
}

/// Loads the policies that ship with the crate.
pub(crate) fn baseline() -> Result<Vec<Loaded>, PolicyError> {
    load(BASELINE)
}

fn bundle_digest(files: &BTreeMap<String, String>) -> Digest {
    let files = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    digest_of("portcullis policy bundle v1", files)
}

fn is_file_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(is_name_char)
}

const fn is_name_char(character: char) -> bool {
    matches!(character, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_')
}

fn unfit_for_bundle(loaded: &Loaded) -> Option<Finding> {
    let is_of_hearing = loaded.is_of_hearing();
    let message = if loaded.policy.effect() == Effect::Permit && !is_of_hearing {
        "a bundle can only tighten the baseline and this is a `permit`; \
         write what is not to be as `forbid (…) when { … } unless { … };` \
         (only `hear` and `believe` may be permitted)"
    } else if loaded.text.held.is_some() && is_of_hearing {
        "nobody can be asked whom to hear; leave out `@held`"
    } else if loaded.text.id.as_str().starts_with(BASELINE_PREFIX) {
        "ids that start with `base-` belong to the baseline; give it another `@id`"
    } else {
        return None;
    };
    Some(loaded.text.finding(message.to_owned()))
}

impl PolicyText {
    pub(crate) fn finding(&self, message: String) -> Finding {
        Finding {
            file: self.file.clone(),
            line: self.line,
            policy: Some(self.id.to_string()),
            message,
        }
    }
}

fn load<'t>(
    files: impl IntoIterator<Item = (&'t str, &'t str)>,
) -> Result<Vec<Loaded>, PolicyError> {
    let mut all = Vec::new();
    let mut wrong = Vec::new();
    for (file, text) in files {
        match read_file(file, text) {
            Ok(policies) => all.extend(policies),
            Err(findings) => wrong.extend(findings),
        }
    }
    if !wrong.is_empty() {
        return Err(PolicyError::Parse(wrong));
    }
    let repeated = repeated_ids(&all);
    if !repeated.is_empty() {
        return Err(PolicyError::Unfit(repeated));
    }
    Ok(all)
}

fn repeated_ids(policies: &[Loaded]) -> Vec<Finding> {
    let mut first: BTreeMap<&PolicyId, &PolicyText> = BTreeMap::new();
    let mut repeated = Vec::new();
    for Loaded { text, .. } in policies {
        match first.get(&text.id) {
            Some(other) => repeated.push(text.finding(format!(
                "its id stands already in `{}` line {}; give it another `@id`",
                other.file, other.line
            ))),
            None => {
                first.insert(&text.id, text);
            }
        }
    }
    repeated
}

fn read_file(file: &str, text: &str) -> Result<Vec<Loaded>, Vec<Finding>> {
    let set: PolicySet = text
        .parse()
        .map_err(|errors| parse_findings(file, text, &errors))?;
    if let Some(template) = set.templates().next() {
        let place = template.to_cedar();
        let line = text.find(&place).map_or(1, |offset| line_at(text, offset));
        return Err(vec![Finding {
            file: file.to_owned(),
            line,
            policy: None,
            message: "templates are not used here; write the authority instead of the slot"
                .to_owned(),
        }]);
    }
    let mut policies: Vec<(usize, &Policy)> = set
        .policies()
        .map(|policy| (position(policy), policy))
        .collect();
    policies.sort_by_key(|(position, _)| *position);
    let mut loaded = Vec::with_capacity(policies.len());
    let mut from = 0;
    for (position, policy) in policies {
        let written = policy.to_cedar().unwrap_or_default();
        let start = find_from(text, &written, from);
        from = start + written.len();
        loaded.push(load_policy(file, text, start, written, position, policy)?);
    }
    Ok(loaded)
}

/// Returns the position of a policy in its text; Cedar names the policies of a text `policy0`,
/// `policy1`, …
fn position(policy: &Policy) -> usize {
    let id: &str = policy.id().as_ref();
    let number = id
        .strip_prefix("policy")
        .and_then(|number| number.parse().ok());
    number.unwrap_or(usize::MAX)
}

fn find_from(text: &str, part: &str, from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    rest.find(part).map_or(from, |offset| from + offset)
}

fn load_policy(
    file: &str,
    whole: &str,
    start: usize,
    written: String,
    position: usize,
    policy: &Policy,
) -> Result<Loaded, Vec<Finding>> {
    let line = line_at(whole, start);
    let fallback = format!("{file}#{}", position.saturating_add(1));
    let id = policy.annotation("id").unwrap_or(&fallback);
    let fit = (1..=LONGEST_NAME + 8).contains(&id.len())
        && id
            .chars()
            .all(|c| is_name_char(c) || matches!(c, '#' | '/'));
    if !fit {
        return Err(vec![Finding {
            file: file.to_owned(),
            line,
            policy: None,
            message: "its `@id` is empty, too long or has other characters than letters, \
                      digits, dots, hyphens and underscores; shorten or respell it"
                .to_owned(),
        }]);
    }
    Ok(Loaded {
        policy: policy.new_id(cedar_policy::PolicyId::new(id)),
        start,
        text: PolicyText {
            id: PolicyId::new(id),
            file: file.to_owned(),
            line,
            comment: comment_above(whole, start),
            text: written,
            held: policy.annotation("held").map(str::to_owned),
        },
    })
}

/// Returns the `//` lines directly above `start`, without their slashes.
fn comment_above(whole: &str, start: usize) -> String {
    let above = whole.get(..start).unwrap_or_default();
    let mut lines: Vec<&str> = above
        .lines()
        .rev()
        .map_while(|line| line.trim_start().strip_prefix("//"))
        .map(str::trim)
        .collect();
    lines.reverse();
    lines.join("\n")
}

fn line_at(text: &str, offset: usize) -> usize {
    let above = text.get(..offset).unwrap_or(text);
    above.matches('\n').count() + 1
}

fn parse_findings(file: &str, text: &str, errors: &cedar_policy::ParseErrors) -> Vec<Finding> {
    errors
        .iter()
        .map(|error| {
            let label = error.labels().and_then(|mut labels| labels.next());
            let line = label.map_or(1, |label| line_at(text, label.offset()));
            let help = error.help().map(|help| help.to_string());
            let help = help.unwrap_or_else(|| "correct the policy there".to_owned());
            Finding {
                file: file.to_owned(),
                line,
                policy: None,
                message: format!("{error}; {help}"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: &str = "forbid (principal, action, resource) when { context.expired };\n";

    fn read(files: &[(&str, &str)]) -> Result<Bundle, PolicyError> {
        let files = files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Bundle::from_files(&files.collect())
    }

    #[track_caller]
    fn check_refused(files: &[(&str, &str)], message: &str) {
        let error = read(files).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }

    #[test]
    fn a_permit_is_refused_and_says_what_to_write_instead() {
        check_refused(
            &[("own.cedar", "\npermit (principal, action, resource);")],
            "`own.cedar` line 2, policy `own.cedar#1`: a bundle can only tighten the baseline \
             and this is a `permit`; write what is not to be as `forbid",
        );
    }

    #[test]
    fn the_ids_of_the_baseline_are_its_own() {
        check_refused(
            &[("own.cedar", &format!("@id(\"base-h3-held\") {NEVER}"))],
            "`own.cedar` line 1, policy `base-h3-held`: ids that start with `base-`",
        );
    }

    #[test]
    fn no_id_stands_twice_in_whatever_files() {
        let named = format!("@id(\"one\")\n{NEVER}");
        check_refused(
            &[("a.cedar", &named), ("b.cedar", &format!("{NEVER}{named}"))],
            "`b.cedar` line 2, policy `one`: its id stands already in `a.cedar` line 1",
        );
        // An `@id` may not take the name of an unnamed policy either.
        check_refused(
            &[("a.cedar", &format!("{NEVER}@id(\"a.cedar#1\") {NEVER}"))],
            "`a.cedar` line 2, policy `a.cedar#1`: its id stands already in `a.cedar` line 1",
        );
    }

    #[test]
    fn a_text_that_is_no_cedar_is_refused_with_file_and_line() {
        check_refused(
            &[(
                "own.cedar",
                &format!("{NEVER}\nforbid (principal, action, resource) when {{"),
            )],
            "`own.cedar` line 3: ",
        );
        check_refused(&[("own.cedar", "hello")], "`own.cedar` line 1: ");
    }

    #[test]
    fn every_file_that_is_no_cedar_is_named() {
        let error = read(&[
            ("a.cedar", "hello"),
            ("b.cedar", NEVER),
            ("c.cedar", "when"),
        ]);
        let error = error.unwrap_err();
        let files: Vec<&str> = error.findings().iter().map(|it| it.file.as_str()).collect();
        assert_eq!(files, ["a.cedar", "c.cedar"]);
    }

    #[test]
    fn templates_are_refused() {
        check_refused(
            &[(
                "own.cedar",
                "\nforbid (principal == ?principal, action, resource);",
            )],
            "`own.cedar` line 2: templates are not used here",
        );
    }

    #[test]
    fn names_of_files_and_ids_stay_printable() {
        for name in [
            "",
            "a b.cedar",
            "../own.cedar",
            "a\u{430}.cedar",
            &"a".repeat(101),
        ] {
            assert_eq!(
                read(&[(name, NEVER)]).unwrap_err(),
                PolicyError::FileName(name.to_owned())
            );
        }
        check_refused(
            &[("own.cedar", &format!("\n@id(\"two words\") {NEVER}"))],
            "`own.cedar` line 2: its `@id`",
        );
    }

    #[test]
    fn unnamed_policies_are_called_by_file_and_number() {
        let bundle = read(&[("own.cedar", &NEVER.repeat(11))]).unwrap();
        let ids: Vec<&str> = bundle.policies().map(|policy| policy.id.as_str()).collect();
        assert_eq!(ids.len(), 11);
        assert_eq!((ids[0], ids[10]), ("own.cedar#1", "own.cedar#11"));
        let lines: Vec<usize> = bundle.policies().map(|policy| policy.line).collect();
        assert_eq!(lines, (1..=11).collect::<Vec<_>>());
    }

    #[test]
    fn the_digest_tells_names_from_texts() {
        let digest = |files: &[(&str, &str)]| read(files).unwrap().digest();
        assert_eq!(digest(&[]), Bundle::empty().digest());
        let one = digest(&[("a.cedar", NEVER)]);
        assert_ne!(one, digest(&[("b.cedar", NEVER)]));
        assert_ne!(one, digest(&[("a.cedar", &format!("// note\n{NEVER}"))]));
        assert_ne!(one, digest(&[("a.cedar", NEVER), ("b.cedar", "")]));
        // SHA-256 of the label, a zero byte and the counted parts, computed apart from this code.
        let mut input = b"portcullis policy bundle v1\0".to_vec();
        for part in ["a.cedar", NEVER] {
            input.extend([0, 0, 0, 0, 0, 0, 0]);
            input.push(u8::try_from(part.len()).unwrap());
            input.extend(part.as_bytes());
        }
        let expected: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(input).into();
        assert_eq!(one.as_bytes(), &expected);
    }
}
