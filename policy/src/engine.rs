//! The policies in force, and the memo of their answers.
//!
//! An engine never changes: another bundle needs another engine, with an empty memo. Every memo key
//! holds the register's facts, so a new epoch needs no other measure.

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard},
};

use cedar_policy::{Authorizer, Schema, ValidationMode, Validator};
use lru::LruCache;
use miette::Diagnostic;
use portcullis_protocol::digest::Digest;

use crate::{
    bundle::{Bundle, Loaded, PolicyText, baseline, policy_set},
    error::{Finding, PolicyError},
    evaluate::{Evaluator, Holds, PolicyId, Verdict},
    facts::Action,
    hearing,
    sources::{BASELINE, BASELINE_PREFIX, HEARING_SCHEMA, SCHEMA, digest_of},
    translate::Names,
    voices::Voices,
};

/// The baseline and one authority's bundle, ready to decide.
pub struct Engine {
    evaluator: Evaluator,
    texts: BTreeMap<String, PolicyText>,
    bundle: Digest,
    rules: Digest,
    /// Answers given so far, behind a lock; nothing is evaluated while it is held.
    memo: Mutex<Memo>,
}

/// Answers by whole key: a hit needs equal bytes, not merely equal hashes.
struct Memo {
    answers: LruCache<Box<[u8]>, Arc<Verdict>>,
    counts: MemoCounts,
}

/// Number of answers with and without the memo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoCounts {
    /// Questions answered from the memo.
    pub hits: u64,
    /// Questions put to Cedar.
    pub misses: u64,
}

impl Engine {
    /// Validates the baseline and `bundle` and puts them in force. The memo keeps at most `memo`
    /// answers of about 1 KiB each.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Invalid`] names every policy that does not fit the schema.
    pub fn new(bundle: Bundle, memo: NonZeroUsize) -> Result<Self, PolicyError> {
        let bundle_digest = bundle.digest();
        let mut policies = baseline()?;
        policies.extend(bundle.into_loaded());
        let (schema, of_hearing) = (schema()?, hearing_schema()?);
        let (hearing, others): (Vec<&Loaded>, Vec<&Loaded>) =
            policies.iter().partition(|loaded| loaded.is_of_hearing());
        validate([(&schema, others), (&of_hearing, hearing)])?;
        Self::unvalidated((schema, &of_hearing), policies, bundle_digest, memo)
    }

    pub(crate) fn unvalidated(
        (schema, hearing_schema): (Schema, &Schema),
        policies: Vec<Loaded>,
        bundle: Digest,
        memo: NonZeroUsize,
    ) -> Result<Self, PolicyError> {
        let ids = policies.iter().map(|loaded| {
            let id = (loaded.text.id.clone(), loaded.holds());
            (loaded.policy.id().clone(), id)
        });
        let of_hearing = policies.iter().filter(|it| it.is_of_hearing());
        let shipped = |it: &Loaded| it.text.id.as_str().starts_with(BASELINE_PREFIX);
        let voices = hearing::voices(hearing_schema, of_hearing, shipped)?;
        let of_records = policies.iter().filter(|it| !it.is_of_hearing());
        let deciding = of_records.clone().filter(|it| it.holds() == Holds::No);
        Ok(Self {
            evaluator: Evaluator {
                schema,
                ids: ids.collect(),
                policies: policy_set(of_records)?,
                deciding: policy_set(deciding)?,
                names: Names::parse()?,
                authorizer: Authorizer::new(),
                voices,
            },
            texts: policies
                .into_iter()
                .map(|loaded| (loaded.text.id.to_string(), loaded.text))
                .collect(),
            bundle,
            rules: rules_digest(bundle),
            memo: Mutex::new(Memo {
                answers: LruCache::new(memo),
                counts: MemoCounts::default(),
            }),
        })
    }

    /// Returns the digest of all that decides: schema, baseline and bundle. Decisions name it.
    #[must_use]
    pub const fn rules(&self) -> Digest {
        self.rules
    }

    /// The digest of the authority's own bundle.
    #[must_use]
    pub const fn bundle(&self) -> Digest {
        self.bundle
    }

    /// Returns what may be heard from each kind of authority.
    #[must_use]
    pub const fn voices(&self) -> &Voices {
        &self.evaluator.voices
    }

    /// Returns the policy with this id, as its author wrote it.
    #[must_use]
    pub fn explain(&self, policy: &str) -> Option<&PolicyText> {
        self.texts.get(policy)
    }

    /// Every policy in force, ordered by id.
    pub fn policies(&self) -> impl Iterator<Item = &PolicyText> {
        self.texts.values()
    }

    /// Returns the counts of hits and misses since this engine was made.
    #[must_use]
    pub fn memo_counts(&self) -> MemoCounts {
        self.memo().counts
    }

    /// Answers the question that `key` encodes, from the memo if it was asked before.
    pub(crate) fn answer(&self, key: &[u8]) -> Arc<Verdict> {
        if let Some(known) = self.memo().recall(key) {
            return known;
        }
        let verdict = Arc::new(self.evaluator.evaluate(key));
        self.memo().answers.put(key.into(), Arc::clone(&verdict));
        verdict
    }

    #[cfg(test)]
    pub(crate) fn answer_afresh(&self, key: &[u8]) -> Verdict {
        self.evaluator.evaluate(key)
    }

    fn memo(&self) -> MutexGuard<'_, Memo> {
        self.memo.lock().unwrap_or_else(|poisoned| {
            // A thread died inside the cache, so its content cannot be trusted.
            let mut memo = poisoned.into_inner();
            memo.answers.clear();
            memo
        })
    }
}

impl Memo {
    fn recall(&mut self, key: &[u8]) -> Option<Arc<Verdict>> {
        let known = self.answers.get(key).cloned();
        match known {
            Some(_) => self.counts.hits += 1,
            None => self.counts.misses += 1,
        }
        known
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("rules", &self.rules)
            .field("policies", &self.texts.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

pub(crate) fn schema() -> Result<Schema, PolicyError> {
    parsed(SCHEMA)
}

pub(crate) fn hearing_schema() -> Result<Schema, PolicyError> {
    parsed(HEARING_SCHEMA)
}

fn parsed(schema: &str) -> Result<Schema, PolicyError> {
    match Schema::from_cedarschema_str(schema) {
        Ok((schema, _warnings)) => Ok(schema),
        Err(error) => Err(PolicyError::Schema(error.to_string())),
    }
}

fn rules_digest(bundle: Digest) -> Digest {
    let bundle = bundle.to_string();
    let schemas = [("schema", SCHEMA), ("hearing schema", HEARING_SCHEMA)];
    let shipped = BASELINE.into_iter().chain(schemas);
    digest_of(
        "portcullis policy rules v1",
        shipped.chain([("bundle", bundle.as_str())]),
    )
}

/// Validates every policy against its schema. Warnings count as errors: a `forbid` that can never
/// apply is a restriction that its author relies on and that does not exist.
fn validate(parts: [(&Schema, Vec<&Loaded>); 2]) -> Result<(), PolicyError> {
    let mut findings = Vec::new();
    for (schema, policies) in parts {
        findings.extend(invalid(schema, &policies)?);
    }
    if findings.is_empty() {
        return Ok(());
    }
    findings.sort_by(|left, right| {
        let place = (&left.file, left.line).cmp(&(&right.file, right.line));
        place.then_with(|| left.message.cmp(&right.message))
    });
    findings.dedup();
    Err(PolicyError::Invalid(findings))
}

fn invalid(schema: &Schema, policies: &[&Loaded]) -> Result<Vec<Finding>, PolicyError> {
    let validator = Validator::new(schema.clone());
    let set = policy_set(policies.iter().copied())?;
    let result = validator.validate(&set, ValidationMode::Strict);
    let mut findings: Vec<Finding> = result
        .validation_errors()
        .map(|error| finding(policies, error.policy_id().as_ref(), error))
        .collect();
    if findings.is_empty() {
        let warnings = result.validation_warnings();
        findings.extend(warnings.map(|it| finding(policies, it.policy_id().as_ref(), it)));
    }
    Ok(findings)
}

fn finding(policies: &[&Loaded], id: &str, diagnostic: &dyn Diagnostic) -> Finding {
    let help = diagnostic.help().map(|help| help.to_string());
    let help = help.unwrap_or_else(|| {
        "look up what a policy can see in `policy/schema/portcullis.cedarschema`".to_owned()
    });
    // Cedar repeats the message for each action, because all six have one shape.
    let said = Action::ALL
        .iter()
        .fold(diagnostic.to_string(), |said, action| {
            said.replace(
                &format!(" in context for Portcullis::Action::\"{action}\""),
                "",
            )
        });
    let said = said
        .strip_prefix(&format!("for policy `{id}`, "))
        .unwrap_or(&said);
    let message = format!("{said}; {help}");
    match policies.iter().find(|loaded| loaded.text.id.as_str() == id) {
        Some(loaded) => loaded.finding(diagnostic, message),
        None => Finding {
            file: String::new(),
            line: 1,
            policy: Some(PolicyId::new(id).to_string()),
            message,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use portcullis_protocol::marking::Tlp;

    use super::*;
    use crate::{
        Permission, Roster,
        testing::{engine, holding, id, indicator, marking, memo, register},
    };

    fn bundle(text: &str) -> Bundle {
        let files = BTreeMap::from([("own.cedar".to_owned(), text.to_owned())]);
        Bundle::from_files(&files).unwrap()
    }

    #[track_caller]
    fn check_invalid(text: &str, line: usize, policy: &str, part: &str) {
        let error = Engine::new(bundle(text), memo()).unwrap_err();
        let [finding] = error.findings() else {
            panic!("{error}");
        };
        assert_eq!(
            (
                finding.file.as_str(),
                finding.line,
                finding.policy.as_deref()
            ),
            ("own.cedar", line, Some(policy)),
            "{error}"
        );
        assert!(finding.message.contains(part), "{error}");
    }

    #[test]
    fn a_policy_that_does_not_fit_the_schema_is_refused_with_its_place() {
        check_invalid(
            "\n@id(\"typo\")\nforbid (principal, action, resource)\n  when { resource.secret };",
            4,
            "typo",
            "attribute `secret`",
        );
        check_invalid(
            "forbid (principal, action, resource)\n\
             when { principal.kind == Portcullis::AuthorityKind::\"custom\" };",
            2,
            "own.cedar#1",
            "custom",
        );
        check_invalid(
            "forbid (principal, action == Portcullis::Action::\"send\", resource);",
            1,
            "own.cedar#1",
            "send",
        );
        // The attribute may be absent, so it must not be read without `has`.
        check_invalid(
            "forbid (principal, action, resource) when { context.section.least_count < 5 };",
            1,
            "own.cedar#1",
            "least_count",
        );
    }

    #[test]
    fn a_restriction_that_can_never_apply_is_refused() {
        check_invalid(
            "forbid (principal, action, resource) when { false };",
            1,
            "own.cedar#1",
            "impossible",
        );
    }

    #[test]
    fn every_policy_of_the_baseline_is_named_explained_and_in_the_document() {
        let document = include_str!("../../docs/policy.md");
        let rows: BTreeSet<&str> = document
            .lines()
            .filter_map(|line| line.strip_prefix("| `base-"))
            .filter_map(|line| line.split_once('`'))
            .map(|(id, _)| id)
            .collect();
        let engine = engine("");
        let ids: BTreeSet<&str> = engine
            .policies()
            .map(|policy| policy.id.as_str().strip_prefix("base-").unwrap())
            .collect();
        assert_eq!(rows, ids);
        for policy in engine.policies() {
            assert!(!policy.comment.is_empty(), "{}", policy.id);
        }
    }

    #[test]
    fn explain_shows_a_policy_as_it_was_written() {
        let text = "// Not on Sundays.\n//   Ask the duty officer.\n@id(\"sunday\")\n\
                    forbid (principal, action, resource) when { context.expired };\n";
        let engine = engine(text);
        let sunday = engine.explain("sunday").unwrap();
        assert_eq!(sunday.comment, "Not on Sundays.\nAsk the duty officer.");
        assert!(
            sunday.text.starts_with("@id(\"sunday\")\nforbid"),
            "{}",
            sunday.text
        );
        assert_eq!((sunday.file.as_str(), sunday.line), ("test.cedar", 3));
        assert_eq!(engine.explain("monday"), None);
        let held = engine.explain("base-h3-held").unwrap();
        assert!(held.comment.starts_with("H3: other restrictions"));
        assert!(held.held.is_some());
    }

    #[test]
    fn the_rules_digest_changes_with_the_bundle() {
        let first = engine("");
        let second = engine("forbid (principal, action, resource) when { context.expired };");
        assert_ne!(first.rules(), second.rules());
        assert_ne!(first.bundle(), second.bundle());
        assert_ne!(first.rules(), first.bundle());
        assert_eq!(first.rules(), engine("").rules());
    }

    #[test]
    fn like_records_share_an_answer_and_the_memo_stays_bounded() {
        let engine = Engine::new(Bundle::empty(), NonZeroUsize::new(3).unwrap()).unwrap();
        let roster = Roster::of(&register());
        let (police, customs) = (id("police"), id("customs"));
        let mut header = indicator(marking(Tlp::Green));
        let ask = |header: &portcullis_protocol::record::Header| {
            let mut holding = holding(&roster, &police, &police, header);
            holding.form = [0, 1, 2].into_iter().collect();
            assert_eq!(
                engine.decide(&holding.towards(&customs).unwrap()).outcome(),
                Permission::Allow
            );
        };
        ask(&header);
        // Another record with the same marking: id, key, time and digests differ.
        header.sealed_at = header.sealed_at.plus_millis(5);
        header.root = portcullis_protocol::record::RootTag::from_bytes([9; 16]);
        ask(&header);
        assert_eq!(engine.memo_counts(), MemoCounts { hits: 3, misses: 3 });
        header.exercise = true;
        ask(&header);
        header.exercise = false;
        ask(&header);
        assert_eq!(engine.memo_counts(), MemoCounts { hits: 3, misses: 9 });
        assert_eq!(engine.memo().answers.len(), 3);
    }

    #[test]
    fn an_unknown_attribute_denies_even_if_it_came_past_validation() {
        let text = "forbid (principal, action, resource) when { resource.secret };";
        let mut policies = baseline().unwrap();
        policies.extend(bundle(text).into_loaded());
        let digest = Bundle::empty().digest();
        let engine = Engine::unvalidated(
            (schema().unwrap(), &hearing_schema().unwrap()),
            policies,
            digest,
            memo(),
        )
        .unwrap();
        let roster = Roster::of(&register());
        let (police, customs) = (id("police"), id("customs"));
        let header = indicator(marking(Tlp::Clear));
        let holding = holding(&roster, &police, &police, &header);
        let decision = engine.decide(&holding.towards(&customs).unwrap());
        assert_eq!(decision.outcome(), Permission::Deny);
        assert!(decision.permit().is_none());
        assert!(decision.errors().all(|error| error.contains("own.cedar#1")));
        assert_eq!(decision.policies(), [PolicyId::new("own.cedar#1")]);
    }

    #[test]
    fn bytes_that_are_no_key_are_denied() {
        let verdict = engine("").answer_afresh(&[1, 2, 3]);
        assert_eq!(verdict.outcome, Permission::Deny);
        assert_eq!(verdict.errors.len(), 1);
    }
}
