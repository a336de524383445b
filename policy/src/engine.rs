//! The policies in force, and the memo of what they answered.
//!
//! An engine never changes: another bundle is another engine with an empty memo. The facts of
//! the register are in every key, so a new epoch needs nothing else.

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard},
};

use cedar_policy::{Authorizer, PolicySet, Schema, ValidationMode, Validator};
use lru::LruCache;
use miette::Diagnostic;
use portcullis_protocol::digest::Digest;

use crate::{
    bundle::{Bundle, Loaded, PolicyText, baseline},
    error::{Finding, PolicyError},
    evaluate::{Evaluator, Names, PolicyId, Verdict},
    sources::{BASELINE, SCHEMA, digest_of},
};

/// The baseline and one authority's bundle, ready to decide.
pub struct Engine {
    evaluator: Evaluator,
    texts: BTreeMap<String, PolicyText>,
    bundle: Digest,
    rules: Digest,
    /// Guards the answers given so far; nothing is evaluated under it.
    memo: Mutex<Memo>,
}

/// Answers by whole key: equal bytes, not equal hashes, make a hit.
struct Memo {
    answers: LruCache<Box<[u8]>, Arc<Verdict>>,
    counts: MemoCounts,
}

/// How often the memo answered.
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
        let schema = schema()?;
        validate(&schema, &policies)?;
        Self::unvalidated(schema, policies, bundle_digest, memo)
    }

    pub(crate) fn unvalidated(
        schema: Schema,
        policies: Vec<Loaded>,
        bundle: Digest,
        memo: NonZeroUsize,
    ) -> Result<Self, PolicyError> {
        let ids = policies.iter().map(|loaded| {
            let id = (loaded.text.id.clone(), loaded.holds());
            (loaded.policy.id().clone(), id)
        });
        Ok(Self {
            evaluator: Evaluator {
                schema,
                ids: ids.collect(),
                policies: policy_set(&policies)?,
                names: Names::parse()?,
                authorizer: Authorizer::new(),
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

    /// The digest of all that decides: schema, baseline and bundle. Decisions name it.
    #[must_use]
    pub const fn rules(&self) -> Digest {
        self.rules
    }

    /// The digest of the authority's own bundle.
    #[must_use]
    pub const fn bundle(&self) -> Digest {
        self.bundle
    }

    /// The policy with this id, as it was written.
    #[must_use]
    pub fn explain(&self, policy: &str) -> Option<&PolicyText> {
        self.texts.get(policy)
    }

    /// Every policy in force, by id.
    pub fn policies(&self) -> impl Iterator<Item = &PolicyText> {
        self.texts.values()
    }

    /// How often the memo answered since this engine was made.
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

    fn memo(&self) -> MutexGuard<'_, Memo> {
        self.memo.lock().unwrap_or_else(|poisoned| {
            // A thread died inside the cache: what it left is not to be trusted.
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
    match Schema::from_cedarschema_str(SCHEMA) {
        Ok((schema, _warnings)) => Ok(schema),
        Err(error) => Err(PolicyError::Schema(error.to_string())),
    }
}

fn rules_digest(bundle: Digest) -> Digest {
    let bundle = bundle.to_string();
    let shipped = BASELINE.into_iter().chain([("schema", SCHEMA)]);
    digest_of(
        "portcullis policy rules v1",
        shipped.chain([("bundle", bundle.as_str())]),
    )
}

fn policy_set(policies: &[Loaded]) -> Result<PolicySet, PolicyError> {
    let mut set = PolicySet::new();
    for loaded in policies {
        set.add(loaded.policy.clone())
            .map_err(|error| PolicyError::Unfit(vec![loaded.text.finding(error.to_string())]))?;
    }
    Ok(set)
}

/// Holds every policy against the schema. Warnings count as errors: a `forbid` that can never
/// apply is a restriction that its author believes in and that is not there.
fn validate(schema: &Schema, policies: &[Loaded]) -> Result<(), PolicyError> {
    let validator = Validator::new(schema.clone());
    let result = validator.validate(&policy_set(policies)?, ValidationMode::Strict);
    let errors = result
        .validation_errors()
        .map(|error| finding(policies, error.policy_id().as_ref(), error));
    let warnings = result
        .validation_warnings()
        .map(|warning| finding(policies, warning.policy_id().as_ref(), warning));
    let mut findings: Vec<Finding> = errors.chain(warnings).collect();
    if findings.is_empty() {
        return Ok(());
    }
    findings.sort_by(|left, right| (&left.file, left.line).cmp(&(&right.file, right.line)));
    Err(PolicyError::Invalid(findings))
}

fn finding(policies: &[Loaded], id: &str, diagnostic: &dyn Diagnostic) -> Finding {
    let help = diagnostic.help().map(|help| help.to_string());
    let help = help.unwrap_or_else(|| {
        "look up what a policy can see in `policy/schema/portcullis.cedarschema`".to_owned()
    });
    let message = format!("{diagnostic}; {help}");
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
