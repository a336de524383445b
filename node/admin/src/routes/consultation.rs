//! Consultations: logged before anything is shown, and shown as policy allows.
//!
//! Directive (EU) 2016/680 Art. 25 demands that consultations are logged. Data whose consultation
//! cannot be logged is not shown.

use portcullis_policy::PolicyId;
use portcullis_protocol::{
    record::Form,
    rules::Rule,
    time::Timestamp,
    verify::{Refusal, VerifiedRecord},
};

use crate::{
    problem::{Problem, ProblemKind},
    request::{Admin, Caller},
};
use portcullis_kernel::{Kernel, decide::Decider};
use portcullis_store::{Act, Effects, HeldRecord, Write, writer::Priority};

/// Logs a consultation by `caller`.
///
/// # Errors
///
/// [`Problem`] if it cannot be logged.
pub(super) async fn log(
    admin: &Admin,
    caller: Caller,
    action: &str,
    concerns: String,
) -> Result<(), Problem> {
    let act = Act {
        action: action.to_owned(),
        person: String::new(),
        uid: caller.uid,
        at: admin.kernel.now(),
        statement: None,
        concerns,
        enrols: None,
        effects: Effects::Nothing,
    };
    admin
        .kernel
        .commit(Priority::Bulk, vec![Write::Act(act)])
        .await?;
    Ok(())
}

/// A held record that was verified again, with the sections that may be shown here.
#[derive(Debug)]
pub(super) struct Consulted {
    /// The record in the form held.
    pub(super) record: VerifiedRecord,
    /// The sections that may be shown.
    pub(super) shown: Form,
    /// The policies that decided.
    pub(super) policies: Vec<PolicyId>,
}

impl Consulted {
    /// Verifies a held record and asks policy which sections of it may be consulted.
    ///
    /// # Errors
    ///
    /// [`Problem`] if it does not verify, or if its origin is no longer a member.
    pub(super) fn of(
        kernel: &Kernel,
        decider: &Decider,
        held: &HeldRecord,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let record = decider.verify_held(held, now).map_err(|refusal| {
            kernel.set_aside().refused(held.sealed.id(), refusal.rule);
            unverified(held, &refusal)
        })?;
        let holding = decider.holding(&record, held.source.as_ref(), now);
        let request = holding
            .consultation()
            .map_err(|unknown| Problem::new(ProblemKind::Denied, unknown.to_string()))?;
        let decision = decider.engine().decide(&request);
        tracing::debug!(node = %kernel.me().node, record = %record.id(), "consulted");
        Ok(Self {
            shown: decision.opened(),
            policies: decision.policies(),
            record,
        })
    }
}

/// Returns the problem of a record that does not verify: denied if it is set apart, else a failure
/// of this node.
fn unverified(held: &HeldRecord, refusal: &Refusal) -> Problem {
    let id = held.sealed.id();
    let problem = if refusal.rule == Rule::KeyCompromised {
        let message = format!("record `{id}` is set apart: {}", refusal.detail);
        Problem::new(ProblemKind::Denied, message)
            .remedy("`portcullis list --quarantined` lists what is set apart")
    } else {
        let message = format!("record `{id}` does not verify: {refusal}");
        Problem::new(ProblemKind::Failed, message)
            .remedy("it was changed on disk, or its key is gone from the register; keep the disk")
    };
    problem.rule(refusal.rule.id())
}
