//! The kinds of answers of all commands, each with its JSON Schema: `docs/schemas` is made of them.

use portcullis_admin_api::v1::{self, ListView};

use super::{
    about, check, consignment_desk, error, explain, federation, inbox, indicator_import, keys,
    output::Kind, person_enrol, person_recover, policy, publish, quarantine, tls,
};

/// Every kind, and that of errors.
pub(super) fn all() -> Vec<Kind> {
    let mut kinds = vec![
        Kind::named::<error::ErrorView<'_>>(error::SCHEMA),
        Kind::of::<ListView<v1::dispatch::ForkView>>(),
        Kind::of::<ListView<v1::dispatch::UndeliveredView>>(),
        Kind::of::<ListView<v1::hold::HeldDetailView>>(),
        Kind::of::<ListView<v1::hold::HeldView>>(),
        Kind::of::<ListView<v1::hold::RuledView>>(),
        Kind::of::<ListView<v1::log::ActEntryView>>(),
        Kind::of::<ListView<v1::log::EventView>>(),
        Kind::of::<ListView<v1::record::SetApartView>>(),
        Kind::of::<ListView<v1::score::PublishedProfileView>>(),
        Kind::of::<ListView<v1::status::EnrolledView>>(),
        Kind::of::<ListView<v1::status::PeerStandingView>>(),
        Kind::of::<ListView<v1::status::ProposalView>>(),
        Kind::of::<about::AboutView>(),
        Kind::of::<check::CheckView>(),
        Kind::of::<explain::RuleView>(),
        Kind::of::<explain::RulesView>(),
        Kind::of::<inbox::InboxView>(),
        Kind::of::<indicator_import::RehearsalView>(),
        Kind::of::<keys::RotatedView>(),
        Kind::of::<person_enrol::PassphraseView>(),
        Kind::of::<person_enrol::PersonKeyView>(),
        Kind::of::<person_recover::RecoveryView>(),
        Kind::of::<policy::PoliciesView>(),
        Kind::of::<policy::PolicyCheckView>(),
        Kind::of::<publish::PublishedOneView>(),
        Kind::of::<quarantine::QuarantineView>(),
        Kind::of::<tls::InstalledView>(),
        Kind::of::<v1::act::ClockView>(),
        Kind::of::<v1::act::ReloadedView>(),
        Kind::of::<consignment_desk::PruneCountView>(),
        Kind::of::<v1::consignment::ClosedView>(),
        Kind::of::<v1::consignment::ConsignmentView>(),
        Kind::of::<v1::consignment::ConsignmentsView>(),
        Kind::of::<v1::consignment::PrunedView>(),
        Kind::of::<v1::dispatch::BackfillPreviewView>(),
        Kind::of::<v1::dispatch::DispatchView>(),
        Kind::of::<v1::dispatch::OwedView>(),
        Kind::of::<v1::notice::NoticeView>(),
        Kind::of::<v1::preview::PreviewView>(),
        Kind::of::<v1::quarantine::BadItemDetailView>(),
        Kind::of::<v1::quarantine::DroppedView>(),
        Kind::of::<v1::record::RecordView>(),
        Kind::of::<v1::record::RecordsView>(),
        Kind::of::<v1::score::ExplanationView>(),
        Kind::of::<v1::score::ImportedView>(),
        Kind::of::<v1::score::RankingView>(),
        Kind::of::<v1::settings::AcceptedView>(),
        Kind::of::<v1::settings::SettingsView>(),
        Kind::of::<v1::status::EnrolledView>(),
        Kind::of::<v1::status::PolicyView>(),
        Kind::of::<v1::status::StatusView>(),
        Kind::of::<v1::trust::MovedView>(),
    ];
    kinds.extend(federation::kinds());
    kinds
}
