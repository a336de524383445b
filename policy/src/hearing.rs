//! Policies of hearing: what Cedar answers for each kind of authority.
//!
//! All questions are asked when the policies are put in force. A question that fails to evaluate is
//! answered with no. Policies of hearing are the only ones of a bundle that may permit: they decide on
//! this authority's own scores, and not on who gets a record.

use std::collections::HashSet;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicySet, Request,
    RestrictedExpression, Schema,
};

use crate::{
    bundle::{Loaded, policy_set},
    error::PolicyError,
    translate::Type,
    voices::{Heard, Speaker, Voice, Voices, evaluations},
};

/// Asks for every speaker. The `policies` are those of hearing; `shipped` tells which are the
/// baseline's.
pub(crate) fn voices<'p>(
    schema: &Schema,
    policies: impl Iterator<Item = &'p Loaded>,
    shipped: impl Fn(&Loaded) -> bool,
) -> Result<Voices, PolicyError> {
    let (shipped, own): (Vec<_>, Vec<_>) = policies.partition(|loaded| shipped(loaded));
    let terms = Terms::parse(schema)?;
    let mut errors = Vec::new();
    let baseline = terms.voices(&policy_set(shipped.iter().copied())?, &mut errors);
    let in_force = if own.is_empty() {
        baseline.clone()
    } else {
        let all = shipped.into_iter().chain(own);
        terms.voices(&policy_set(all)?, &mut errors)
    };
    errors.sort();
    errors.dedup();
    let heard = in_force.into_iter().zip(baseline);
    let heard = heard.map(|((speaker, in_force), (_, baseline))| {
        let heard = Heard { in_force, baseline };
        (speaker, heard)
    });
    Ok(Voices::new(heard, errors))
}

/// Terms of the schema of hearing, parsed once.
struct Terms<'s> {
    schema: &'s Schema,
    speaker: Type,
    kind: Type,
    regime: Type,
    matter: Type,
    evaluation: Type,
    action: Type,
    authorizer: Authorizer,
}

impl<'s> Terms<'s> {
    fn parse(schema: &'s Schema) -> Result<Self, PolicyError> {
        Ok(Self {
            schema,
            speaker: Type::parse("Speaker")?,
            kind: Type::parse("AuthorityKind")?,
            regime: Type::parse("Regime")?,
            matter: Type::parse("Matter")?,
            evaluation: Type::parse("Evaluation")?,
            action: Type::parse("Action")?,
            authorizer: Authorizer::new(),
        })
    }

    fn voices(&self, policies: &PolicySet, errors: &mut Vec<String>) -> Vec<(Speaker, Voice)> {
        let voices = Speaker::all().map(|speaker| {
            let mut ask = |action: &str, resource: EntityUid| {
                let answer = self.answer(policies, speaker, action, resource);
                answer.unwrap_or_else(|error| {
                    errors.push(error);
                    false
                })
            };
            let [outcomes, counts, requests] = ["outcomes", "counts", "requests"]
                .map(|matter| ask("hear", self.matter.uid(matter)));
            let believed = evaluations()
                .filter(|code| ask("believe", self.evaluation.uid(&code.to_string())))
                .collect();
            let voice = Voice {
                outcomes,
                counts,
                requests,
                believed,
            };
            (speaker, voice)
        });
        voices.collect()
    }

    fn answer(
        &self,
        policies: &PolicySet,
        speaker: Speaker,
        action: &str,
        resource: EntityUid,
    ) -> Result<bool, String> {
        let Speaker {
            is_own,
            kind,
            regime,
        } = speaker;
        let principal = self.speaker.uid("speaker");
        let attributes = [
            ("own", RestrictedExpression::new_bool(is_own)),
            ("kind", self.kind.value(kind.name())),
            ("regime", self.regime.value(regime.name())),
        ];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value));
        let entity = Entity::new(
            principal.clone(),
            attributes.into_iter().collect(),
            HashSet::new(),
        )
        .map_err(|error| error.to_string())?;
        let entities = Entities::from_entities([entity], Some(self.schema));
        let request = Request::new(
            principal,
            self.action.uid(action),
            resource,
            Context::empty(),
            Some(self.schema),
        );
        let request = request.map_err(|error| error.to_string())?;
        let entities = entities.map_err(|error| error.to_string())?;
        let response = self.authorizer.is_authorized(&request, policies, &entities);
        match response.diagnostics().errors().next() {
            Some(error) => Err(error.to_string()),
            None => Ok(response.decision() == Decision::Allow),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        sync::LazyLock,
    };

    use portcullis_protocol::register::{AuthorityKind, LegalRegime};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Bundle, Engine, PolicyError,
        bundle::baseline,
        engine::{hearing_schema, schema},
        testing::{engine, memo},
        voices::HeardRow,
    };

    /// Returns the rows as `who: outcomes counts requests; evaluations; changes`.
    fn rows(engine: &Engine) -> Vec<String> {
        let row = |HeardRow { who, heard }: HeardRow| {
            let voice = &heard.in_force;
            let matters = [
                ("outcomes", voice.outcomes),
                ("counts", voice.counts),
                ("requests", voice.requests),
            ];
            let matters = matters.iter().filter(|(_, heard)| *heard);
            let matters: Vec<&str> = matters.map(|(matter, _)| *matter).collect();
            let changes = heard.by_own_policy().join(", ");
            format!(
                "{who}: {}; {}; {changes}",
                matters.join(" "),
                voice.believed_as()
            )
        };
        engine.voices().rows().into_iter().map(row).collect()
    }

    /// Attack M11, C1, C2: the constants that stood in the code of scoring, as policy.
    #[test]
    fn the_baseline_hears_whom_it_always_heard() {
        assert_eq!(
            rows(&engine("")),
            [
                "this authority: outcomes counts requests; any; ",
                "customs under led, both: outcomes counts; any; ",
                "customs under gdpr, third-country: ; any; ",
                "police under led, both: outcomes counts requests; any; ",
                "police under gdpr, third-country: requests; any; ",
                "port-authority: ; any but A1 A2 B1; ",
                "private-operator: ; X3 X4; ",
                "hub under led, both: counts; any but A1 A2 B1; ",
                "hub under gdpr, third-country: ; any but A1 A2 B1; ",
            ]
        );
        assert_eq!(engine("").voices().errors(), Vec::<String>::new());
    }

    /// The authority's own policies permit and forbid, and each change is told.
    #[test]
    fn own_policies_loosen_and_tighten_and_are_told_from_the_baseline() {
        let own = "permit (principal, action == Portcullis::Action::\"hear\", \
                     resource == Portcullis::Matter::\"outcomes\") \
                     when { principal.kind == Portcullis::AuthorityKind::\"private-operator\" };\n\
                   forbid (principal, action == Portcullis::Action::\"hear\", \
                     resource == Portcullis::Matter::\"requests\") unless { principal.own };\n\
                   forbid (principal, action == Portcullis::Action::\"believe\", resource) \
                     when { principal.regime == Portcullis::Regime::\"third-country\" && \
                            resource != Portcullis::Evaluation::\"X4\" };";
        let rows = rows(&engine(own));
        for row in [
            "private-operator under led, gdpr, both: outcomes; X3 X4; hears outcomes",
            "private-operator under third-country: outcomes; X4; hears outcomes, does not believe X3",
            "police under led, both: outcomes counts; any; does not hear requests",
            "customs under led, both: outcomes counts; any; ",
        ] {
            assert!(rows.iter().any(|it| it == row), "{row}\n{rows:#?}");
        }
        // A policy on this authority as a third country's makes its own row one of several.
        assert!(
            rows.iter()
                .any(|it| it.starts_with("this authority as customs under third-country"))
        );
    }

    fn bundle(text: &str) -> Result<Bundle, PolicyError> {
        Bundle::from_files(&BTreeMap::from([("own.cedar".to_owned(), text.to_owned())]))
    }

    #[track_caller]
    fn check_wrong(text: &str, part: &str) {
        let error = bundle(text).and_then(|bundle| Engine::new(bundle, memo()));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("`own.cedar` line 1"), "{error}");
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn a_text_that_hears_nobody_it_could_mean_is_refused() {
        let hear = "action == Portcullis::Action::\"hear\"";
        for (text, part) in [
            // A kind, a matter, an evaluation and an attribute that do not exist.
            (
                &*format!(
                    "permit (principal, {hear}, resource) when {{ principal.kind == Portcullis::AuthorityKind::\"operator\" }};"
                ),
                "operator",
            ),
            (
                &*format!("permit (principal, {hear}, resource == Portcullis::Matter::\"cells\");"),
                "cells",
            ),
            (
                "permit (principal, action == Portcullis::Action::\"believe\", resource == Portcullis::Evaluation::\"A5\");",
                "A5",
            ),
            (
                &*format!(
                    "permit (principal, {hear}, resource) when {{ principal.country == \"NL\" }};"
                ),
                "country",
            ),
            // A single authority, an evaluation that is heard, a record.
            (
                &*format!(
                    "permit (principal == Portcullis::Authority::\"terminal\", {hear}, resource);"
                ),
                "own.cedar#1",
            ),
            (
                &*format!(
                    "permit (principal, {hear}, resource == Portcullis::Evaluation::\"A1\");"
                ),
                "own.cedar#1",
            ),
            (
                &*format!("forbid (principal, {hear}, resource) when {{ context.expired }};"),
                "expired",
            ),
            // Never applies.
            (
                &*format!("forbid (principal, {hear}, resource) when {{ false }};"),
                "impossible",
            ),
            // Nobody is there to be asked.
            (
                &*format!("@held(\"ask\") forbid (principal, {hear}, resource);"),
                "leave out `@held`",
            ),
            // A permit of anything else is none of hearing, whatever stands beside it.
            ("permit (principal, action, resource);", "can only tighten"),
            (
                "permit (principal, action in [Portcullis::Action::\"hear\", Portcullis::Action::\"score\"], resource);",
                "can only tighten",
            ),
            (
                "permit (principal, action in [], resource);",
                "can only tighten",
            ),
            (
                "forbid (principal, action in [Portcullis::Action::\"hear\", Portcullis::Action::\"score\"], resource);",
                "hear",
            ),
        ] {
            check_wrong(text, part);
        }
    }

    /// A question that fails to evaluate is answered with no, and the failure is told.
    #[test]
    fn an_error_is_a_no() {
        let mut policies = baseline().unwrap();
        let wrong = "forbid (principal, action == Portcullis::Action::\"believe\", resource) \
                     when { principal.secret };";
        policies.extend(bundle(wrong).unwrap().into_loaded());
        let schemas = (schema().unwrap(), &hearing_schema().unwrap());
        let digest = Bundle::empty().digest();
        let engine = Engine::unvalidated(schemas, policies, digest, memo()).unwrap();
        for row in engine.voices().rows() {
            assert!(row.heard.in_force.believed.is_empty(), "{row:?}");
            assert!(!row.heard.baseline.believed.is_empty(), "{row:?}");
        }
        assert!(
            engine
                .voices()
                .errors()
                .iter()
                .all(|error| error.contains("own.cedar#1"))
        );
        assert!(!engine.voices().errors().is_empty());
    }

    #[test]
    fn who_is_in_no_table_is_not_heard() {
        let voices = Voices::default();
        let nobody = voices.of(Speaker::all().next().unwrap());
        assert_eq!(*nobody, Heard::default());
        assert!(!nobody.in_force.outcomes && nobody.in_force.believed.is_empty());
    }

    static BASELINE: LazyLock<Engine> = LazyLock::new(|| engine(""));

    /// One policy of hearing in parts: the model reads the parts, the engine the text made of them.
    #[derive(Debug, Clone)]
    struct Rule {
        is_permit: bool,
        kinds: Vec<AuthorityKind>,
        regimes: Vec<LegalRegime>,
        own: bool,
        /// Names of matters, or of evaluations.
        what: Vec<String>,
        is_on_matters: bool,
    }

    impl Rule {
        fn text(&self) -> String {
            let list = |of: &str, names: &[&str]| {
                let names = names
                    .iter()
                    .map(|name| format!("Portcullis::{of}::\"{name}\""));
                format!("[{}]", names.collect::<Vec<_>>().join(", "))
            };
            let kinds: Vec<&str> = self.kinds.iter().map(|kind| kind.name()).collect();
            let regimes: Vec<&str> = self.regimes.iter().map(|regime| regime.name()).collect();
            let what: Vec<&str> = self.what.iter().map(String::as_str).collect();
            let (action, of) = if self.is_on_matters {
                ("hear", "Matter")
            } else {
                ("believe", "Evaluation")
            };
            format!(
                "{} (principal, action == Portcullis::Action::\"{action}\", resource) \
                 when {{ {}.contains(principal.kind) && {}.contains(principal.regime) && \
                 principal.own == {} && {}.contains(resource) }};\n",
                if self.is_permit { "permit" } else { "forbid" },
                list("AuthorityKind", &kinds),
                list("Regime", &regimes),
                self.own,
                list(of, &what),
            )
        }

        fn applies(&self, speaker: Speaker, what: &str) -> bool {
            self.kinds.contains(&speaker.kind)
                && self.regimes.contains(&speaker.regime)
                && self.own == speaker.is_own
                && self.what.iter().any(|it| it == what)
        }
    }

    fn rules() -> impl Strategy<Value = Rule> {
        let matters = ["outcomes", "counts", "requests"]
            .map(str::to_owned)
            .to_vec();
        let codes: Vec<String> = evaluations().map(|code| code.to_string()).collect();
        let what = prop_oneof![
            prop::sample::subsequence(matters, 1..3).prop_map(|what| (true, what)),
            prop::sample::subsequence(codes, 1..9).prop_map(|what| (false, what)),
        ];
        (
            any::<bool>(),
            prop::sample::subsequence(AuthorityKind::ALL.to_vec(), 1..5),
            prop::sample::subsequence(LegalRegime::ALL.to_vec(), 1..4),
            prop::bool::weighted(0.2),
            what,
        )
            .prop_map(
                |(is_permit, kinds, regimes, own, (is_on_matters, what))| Rule {
                    is_permit,
                    kinds,
                    regimes,
                    own,
                    what,
                    is_on_matters,
                },
            )
    }

    /// Returns what a voice hears and believes, by name.
    fn said(voice: &Voice) -> BTreeSet<String> {
        let matters = [
            ("outcomes", voice.outcomes),
            ("counts", voice.counts),
            ("requests", voice.requests),
        ];
        let matters = matters.iter().filter(|(_, heard)| *heard);
        let matters = matters.map(|(matter, _)| (*matter).to_owned());
        matters
            .chain(voice.believed.iter().map(ToString::to_string))
            .collect()
    }

    proptest! {
        // Each case asks every question of two sets of policies.
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Over every kind and regime: a policy loosens and tightens what it names and nothing else, a
        /// forbid stands before a permit, and the baseline beside it stays as it is.
        #[test]
        fn a_voice_is_the_baselines_with_what_is_permitted_and_without_what_is_forbidden(
            own in prop::collection::vec(rules(), 0..5),
        ) {
            let text: String = own.iter().map(Rule::text).collect();
            let (plain, engine) = (&*BASELINE, engine(&text));
            let names: Vec<String> = ["outcomes", "counts", "requests"]
                .map(str::to_owned)
                .into_iter()
                .chain(evaluations().map(|code| code.to_string()))
                .collect();
            for speaker in Speaker::all() {
                let heard = engine.voices().of(speaker);
                let baseline = plain.voices().of(speaker).in_force.clone();
                prop_assert_eq!(&heard.baseline, &baseline);
                let before = said(&baseline);
                let expected: BTreeSet<String> = names.iter().filter(|what| {
                    let ruled = |is_permit| own
                        .iter()
                        .any(|rule| rule.is_permit == is_permit && rule.applies(speaker, what));
                    (before.contains(*what) || ruled(true)) && !ruled(false)
                }).cloned().collect();
                prop_assert_eq!(said(&heard.in_force), expected);
                prop_assert_eq!(heard.by_own_policy().is_empty(), heard.in_force == heard.baseline);
            }
        }
    }
}
