//! A hostile peer over real TLS, HTTP/2 and gRPC.
//!
//! It has what a member has: keys, a certificate and an entry in the register; as a hub it also has
//! the records of others. It sends anything at any layer. Each attempt is a [`Behaviour`] with an
//! id that is listed in docs/validation.md. The behaviours of one layer run one after the other
//! against the same running node, which must serve an honest peer after each.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a panic here is a failed test"
)]

pub mod caller;
pub mod channels;
pub mod connections;
pub mod forge;
pub mod frames;
pub mod gossip;
pub mod http2;
pub mod raw;
pub mod receipts;
pub mod records;
pub mod stage;

use std::pin::Pin;

use self::stage::Theatre;

impl Behaviour {
    /// Returns its id in docs/validation.md.
    #[must_use]
    pub fn id(&self) -> String {
        let number = self.name.split('_').nth(1).unwrap();
        format!("HP-{number}")
    }
}

/// Function that performs a behaviour on a stage.
pub type Act = for<'a> fn(&'a mut Theatre) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// One behaviour of a hostile peer.
pub struct Behaviour {
    /// Name of the function that performs it, `hp_NN_…`.
    pub name: &'static str,
    /// The function.
    pub act: Act,
}

/// Lists functions `hp_NN_…` as behaviours.
#[macro_export]
macro_rules! behaviours {
    ($($name:ident),+ $(,)?) => {
        &[$($crate::hostile::Behaviour {
            name: stringify!($name),
            act: |stage| Box::pin($name(stage)),
        }),+]
    };
}

/// Every layer with its behaviours.
pub const LAYERS: &[(&str, &[Behaviour])] = &[
    ("connection", connections::BEHAVIOURS),
    ("http/2", http2::BEHAVIOURS),
    ("frame", frames::BEHAVIOURS),
    ("record", records::BEHAVIOURS),
    ("receipt", receipts::BEHAVIOURS),
    ("gossip", gossip::BEHAVIOURS),
    ("channel", channels::BEHAVIOURS),
];

/// Performs every behaviour of one layer. After each, the node must serve an honest peer and hold
/// nothing that it should not.
pub async fn try_all(layer: &str) {
    let (_, behaviours) = LAYERS.iter().find(|(name, _)| *name == layer).unwrap();
    let mut stage = Theatre::start().await;
    for behaviour in *behaviours {
        println!("{}", behaviour.name);
        (behaviour.act)(&mut stage).await;
        stage.still_serves().await;
    }
    stage.end().await;
}
