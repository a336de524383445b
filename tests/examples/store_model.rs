#![allow(warnings, clippy::all)]
#[path = "../tests/it/store_model/mod.rs"]
mod store_model;
fn main() {
    if std::env::var("MUT").is_err() {
        store_model::compare_stores();
    }
    if std::env::var("MUT").is_ok() {
        store_model::plant_faults();
    }
}
