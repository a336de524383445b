//! A few consignments of the shipped schema, for tests.

use portcullis_protocol::body::SelectorKind;
use portcullis_scoring::{consignment::Consignment, identifier::Identifier, schema::Schema};

use super::import;

/// The header of the shipped files.
pub(crate) const HEADER: &str = "Declaration ID,Date,Office ID,Process Type,Import Type,Import Use,Payment Type,Mode of Transport,Declarant ID,Importer ID,Seller ID,Courier ID,HS6 Code,Country of Departure,Country of Origin,Tax Rate,Tax Type,Country of Origin Indicator,Net Mass,Item Price,Fraud,Critical Fraud";

/// The first row of January 2021. The consignment came by air.
pub(crate) const ROW: &str = "56839011,2021-01-01,40,B,11,11,11,40,76NV527,SHHZGSL,249LO7A,,760711,CN,CN,7.2,FCN1,E,901.2,415092.72,0,0";

pub(crate) fn schema() -> Schema {
    Schema::parse(include_str!("../../../data/customs-kr/schema.toml")).unwrap()
}

/// Returns [`ROW`] with another value in one column.
pub(crate) fn row_with(column: &str, value: &str) -> String {
    let columns = HEADER.split(',').zip(ROW.split(','));
    columns
        .map(|(name, stands)| if name == column { value } else { stands })
        .collect::<Vec<_>>()
        .join(",")
}

pub(crate) fn read(rows: &[String]) -> Vec<Consignment> {
    let text = format!("{HEADER}\n{}\n", rows.join("\n"));
    import::read(&schema(), text.as_bytes(), None, &|_| {}).unwrap()
}

/// Returns a consignment with a generated container and vessel.
pub(crate) fn consignment() -> Consignment {
    let row = read(&[ROW.to_owned()]).remove(0);
    let made = [
        (SelectorKind::Container, "CSQU3054383"),
        (SelectorKind::Imo, "9074729"),
    ];
    row.with_generated(made.map(|(kind, value)| Identifier {
        kind,
        value: value.to_owned(),
        generated: true,
        unchecked: false,
    }))
}

/// Returns a consignment by sea with this reference.
pub(crate) fn by_sea(reference: &str) -> Consignment {
    let row = row_with("Mode of Transport", "10").replacen("56839011", reference, 1);
    read(&[row]).remove(0)
}
