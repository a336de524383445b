//! The shipped data set, read for tests.

use std::{fs::File, io::Read, path::Path};

use flate2::read::GzDecoder;

use portcullis_protocol::{
    body::{Selector, SelectorKind, Window},
    evaluation::{Evaluation, InformationCode, SourceCode},
    identifiers::AuthorityId,
    marking::{Marking, Purpose, Tlp},
    record::{RecordId, RootTag},
    time::Timestamp,
};

use crate::{
    consignment::{Columns, Consignment},
    evidence::{Origin, OriginRole, SelectorEvidence, Voice},
    identifier::Identifier,
    pool::{Added, Pool},
    profile::{Profile, SECTION_LIMIT},
    received::{CellsPart, Edition, ProfileRecord, Speaker},
    schema::Schema,
};

/// The schema file that ships with the data set.
pub(crate) const CUSTOMS_KR: &str = include_str!("../../data/customs-kr/schema.toml");

/// The header of the shipped files.
pub(crate) const HEADER: &str = "Declaration ID,Date,Office ID,Process Type,Import Type,Import Use,Payment Type,Mode of Transport,Declarant ID,Importer ID,Seller ID,Courier ID,HS6 Code,Country of Departure,Country of Origin,Tax Rate,Tax Type,Country of Origin Indicator,Net Mass,Item Price,Fraud,Critical Fraud";

/// The first row of January 2021.
const ROW: &str = "56839011,2021-01-01,40,B,11,11,11,40,76NV527,SHHZGSL,249LO7A,,760711,CN,CN,7.2,FCN1,E,901.2,415092.72,0,0";

/// The six offices of the figures.
pub(crate) const OFFICES: [&str; 6] = ["40", "20", "30", "16", "13", "33"];

pub(crate) fn schema() -> Schema {
    Schema::parse(CUSTOMS_KR).unwrap()
}

/// Every consignment of 2020.
pub(crate) fn history() -> Vec<Consignment> {
    read("declarations-2020.csv.gz")
}

/// Every consignment of January to March 2021.
pub(crate) fn arriving() -> Vec<Consignment> {
    read("declarations-2021-q1.csv.gz")
}

/// The rows of `office`.
pub(crate) fn of_office<'c>(rows: &'c [Consignment], office: &str) -> Vec<&'c Consignment> {
    rows.iter().filter(|row| row.office() == office).collect()
}

fn read(file: &str) -> Vec<Consignment> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../data/customs-kr")
        .join(file);
    let mut text = String::new();
    GzDecoder::new(File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    parse_csv(&schema(), &text)
}

pub(crate) fn parse_csv(schema: &Schema, text: &str) -> Vec<Consignment> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let columns = Columns::of(schema, reader.headers().unwrap()).unwrap();
    reader
        .records()
        .map(|row| {
            let row = row.unwrap();
            let line = row.position().unwrap().line();
            columns.consignment(line, &row).unwrap()
        })
        .collect()
}

/// Returns the name of the authority that the office belongs to.
pub(crate) fn authority(office: &str) -> AuthorityId {
    format!("customs-{office}").parse().unwrap()
}

/// Returns the pool of `receiver`: its own rows of `history` whole, and of the other offices the
/// cells with at least `least` controls.
pub(crate) fn pool_of(
    schema: &Schema,
    history: &[Consignment],
    receiver: &str,
    others: &[&str],
    least: u32,
) -> Pool {
    let mut pool = Pool::new(authority(receiver));
    pool.replace_own(Profile::by_period(schema, of_office(history, receiver)));
    for (n, office) in (0u8..)
        .zip(others)
        .filter(|(_, office)| **office != receiver)
    {
        for (period, profile) in Profile::by_period(schema, of_office(history, office)) {
            for section in profile.sections(SECTION_LIMIT) {
                if section.least_count < least {
                    continue;
                }
                let edition = Edition {
                    sealed_at: Timestamp::from_millis(0),
                    root: RootTag::from_bytes([n; 16]),
                };
                let (from, said_by) = (authority(office), said_by(&[n]));
                let body = section.into_body(schema, &period, &from);
                let speaker = Speaker::Authority(&from);
                let part = CellsPart::read(schema, speaker, edition, said_by, body).unwrap();
                assert_eq!(pool.add(part), Added::New);
            }
        }
    }
    pool
}

/// Returns a profile's record with this header.
pub(crate) fn said_by(header: &[u8]) -> ProfileRecord {
    ProfileRecord {
        record: RecordId::of_header(header),
        marking: Marking::new(Tlp::Green, [Purpose::CustomsControl]),
        evaluation: Evaluation::new(SourceCode::A, InformationCode::One),
        is_by_own_policy: false,
    }
}

/// The container of the fixture consignment.
pub(crate) const CONTAINER: &str = "CSQU3054383";

/// A consignment of 2021-01-01 in a generated container.
pub(crate) fn consignment() -> Consignment {
    let first = parse_csv(&schema(), &format!("{HEADER}\n{ROW}\n")).remove(0);
    first.with_generated([Identifier {
        kind: SelectorKind::Container,
        value: CONTAINER.to_owned(),
        generated: true,
        unchecked: false,
    }])
}

/// The voice of whoever is heard on everything.
pub(crate) const WHOLE: Voice = Voice {
    outcomes: true,
    requests: true,
    believed: Some(Evaluation::new(SourceCode::A, InformationCode::One)),
};

/// The day of the fixture consignment.
pub(crate) fn day() -> Timestamp {
    "2021-01-01".parse().unwrap()
}

/// A fresh `A1` indicator on the fixture container. Each `n` gives another record and root, from an
/// authority and a group of its own.
pub(crate) fn indicator(n: u8) -> SelectorEvidence {
    let window = Window {
        from: day(),
        until: day().plus_millis(7 * 86_400_000),
    };
    SelectorEvidence {
        record: RecordId::of_header(&[n]),
        root: RootTag::from_bytes([n; 16]),
        origin: Origin {
            authority: authority(&n.to_string()),
            group: format!("ministry-{n}"),
            role: OriginRole::Member,
            voice: WHOLE,
            baseline: WHOLE,
        },
        selector: Selector::new(SelectorKind::Container, CONTAINER, Some(window)).unwrap(),
        evaluation: Evaluation::new(SourceCode::A, InformationCode::One),
        marking: Marking::new(Tlp::Green, [Purpose::CustomsControl]),
        seen_at: day(),
        outcome: None,
    }
}
