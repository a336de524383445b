//! The shipped data set, read for tests.

use std::{fs::File, io::Read, path::Path};

use flate2::read::GzDecoder;

use portcullis_protocol::{
    evaluation::{Evaluation, InformationCode, SourceCode},
    identifiers::AuthorityId,
    marking::{Marking, Purpose, Tlp},
    record::{RecordId, RootTag},
    time::Timestamp,
};

use crate::{
    consignment::{Columns, Consignment},
    pool::{Added, Pool},
    profile::{Profile, SECTION_LIMIT},
    received::{CellsPart, Edition, ProfileRecord, Speaker},
    schema::Schema,
};

/// The schema file that ships with the data set.
pub(crate) const CUSTOMS_KR: &str = include_str!("../../data/customs-kr/schema.toml");

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

/// The name of the authority whose office this is.
pub(crate) fn authority(office: &str) -> AuthorityId {
    format!("customs-{office}").parse().unwrap()
}

/// What `receiver` holds when it knows its own rows of `history` whole and, of the other
/// offices, the cells with at least `least` controls.
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

/// A profile's record with this header.
pub(crate) fn said_by(header: &[u8]) -> ProfileRecord {
    ProfileRecord {
        record: RecordId::of_header(header),
        marking: Marking::new(Tlp::Green, [Purpose::CustomsControl]),
        evaluation: Evaluation::new(SourceCode::A, InformationCode::One),
    }
}
