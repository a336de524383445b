//! Measures decisions per second, answered from the memo and by Cedar.
//!
//! `cargo run --release -p portcullis-policy --example memo_speed`

use std::{error::Error, num::NonZeroUsize, time::Instant};

use portcullis_policy::{Bundle, Engine, Facts, Holding, Roster};
use portcullis_protocol::{
    digest::Digest,
    evaluation::{Evaluation, InformationCode, SourceCode},
    identifiers::AuthorityId,
    keys::KeyId,
    marking::{Marking, Purpose, Tlp},
    record::{Header, Kind, RecordId, RootTag, SectionEntry, SectionTag},
    register::{Authority, AuthorityKind, FreshnessKeys, LegalRegime, Register},
    time::Timestamp,
};

fn main() -> Result<(), Box<dyn Error>> {
    let register = register()?;
    let roster = Roster::of(&register);
    let header = header()?;
    let (police, customs) = ("police".parse()?, "customs".parse()?);
    let holding = Holding {
        roster: &roster,
        here: &police,
        record: RecordId::of_header(b"header"),
        header: &header,
        form: header.full_form(),
        via: &police,
        facts: Facts::default(),
    };
    let request = holding.towards(&customs)?;
    for (name, memo, rounds) in [("memo", 1024, 400_000u32), ("cedar", 1, 4_000)] {
        let engine = Engine::new(Bundle::empty(), NonZeroUsize::try_from(memo)?)?;
        let seconds = seconds(|| {
            for _ in 0..rounds {
                std::hint::black_box(engine.decide(std::hint::black_box(&request)));
            }
        });
        let counts = engine.memo_counts();
        let sections = f64::from(rounds) * header.sections.len() as f64;
        println!(
            "{name}: {:.0} sections/s, {:.0} records/s ({} hits, {} misses)",
            sections / seconds,
            f64::from(rounds) / seconds,
            counts.hits,
            counts.misses,
        );
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn register() -> Result<Register, Box<dyn Error>> {
    let members = [
        authority("police", AuthorityKind::Police)?,
        authority("customs", AuthorityKind::Customs)?,
    ];
    Ok(Register {
        federation: "speed".parse()?,
        epoch: 1,
        previous: None,
        development: true,
        threshold: 1,
        governance: Vec::new(),
        freshness: FreshnessKeys::default(),
        authorities: members.into_iter().map(|it| (it.id.clone(), it)).collect(),
        issued_at: Timestamp::from_millis(0),
        former: std::collections::BTreeMap::new(),
    })
}

fn authority(name: &str, kind: AuthorityKind) -> Result<Authority, Box<dyn Error>> {
    let id: AuthorityId = name.parse()?;
    Ok(Authority {
        id,
        name: name.to_owned(),
        kind,
        country: "NL".parse()?,
        group: name.to_owned(),
        regime: LegalRegime::Both,
        communities: vec!["ports".to_owned(), "north-sea".to_owned()],
        clients: Vec::new(),
        nodes: Vec::new(),
        contact: String::new(),
    })
}

fn header() -> Result<Header, Box<dyn Error>> {
    let tags = [
        SectionTag::Subject,
        SectionTag::Assessment,
        SectionTag::Narrative,
        SectionTag::Source,
    ];
    let sections = (0..).zip(tags).map(|(index, tag)| SectionEntry {
        index,
        tag,
        digest: Digest::from_bytes([index; 32]),
        stricter: None,
        least_count: None,
    });
    Ok(Header {
        version: 1,
        federation: "speed".parse()?,
        kind: Kind::Indicator,
        origin: "police".parse()?,
        key_id: KeyId::from_slice(&[7; 32]).ok_or("no key id")?,
        sealed_at: Timestamp::from_millis(1),
        exercise: false,
        audience: ["NLRTM".parse()?].into(),
        marking: Marking::new(Tlp::Amber, [Purpose::LawEnforcement]),
        evaluation: Evaluation {
            source: SourceCode::B,
            information: InformationCode::Two,
            admiralty: None,
        },
        groups: Vec::new(),
        derived_from: Vec::new(),
        supersedes: None,
        root: RootTag::from_bytes([1; 16]),
        sections: sections.collect(),
    })
}
