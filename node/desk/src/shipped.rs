//! The schemas that ship with the program.

/// A schema that ships with the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shipped {
    /// Consignments at a port.
    Port,
    /// The import declarations of the shipped data set; the schema of a node without a file of its own.
    CustomsKr,
}

impl Shipped {
    /// Every shipped schema.
    pub const ALL: [Self; 2] = [Self::Port, Self::CustomsKr];

    /// Returns the name under which a person asks for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::CustomsKr => "customs-kr",
        }
    }

    /// Returns the schema with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|schema| schema.name() == name)
    }

    /// Returns the text of its file.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Port => include_str!("../../../data/port/schema.toml"),
            Self::CustomsKr => include_str!("../../../data/customs-kr/schema.toml"),
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_protocol::body::{Selector, SelectorKind, Window};
    use portcullis_scoring::schema::Schema;

    use super::*;
    use crate::{
        encoding,
        import::{self, CheckedFile, Instructions},
    };

    /// A file of the port schema, as a spreadsheet of the continent saves it.
    const SAMPLE: &str = include_str!("../../../data/port/sample.csv");

    fn port() -> Schema {
        Schema::parse(Shipped::Port.text()).unwrap()
    }

    /// Newcomer A19: the columns of a schema could be found in its source alone.
    #[test]
    fn every_field_of_a_shipped_schema_is_explained_and_its_examples_are_a_consignment() {
        for shipped in Shipped::ALL {
            let schema = Schema::parse(shipped.text()).unwrap();
            assert_eq!(schema.name(), shipped.name());
            assert_eq!(Shipped::named(shipped.name()), Some(shipped));
            for field in schema.fields() {
                assert!(field.about().is_some(), "{}", field.name());
                assert!(field.example().is_some(), "{}", field.name());
            }
            import::examples(&schema).unwrap().unwrap();
        }
        assert_eq!(Shipped::named("ports"), None);
    }

    /// The digest by which profiles of this data set name their schema: a node goes on with those it holds.
    #[test]
    fn the_schema_of_nodes_of_today_has_the_digest_of_before() {
        let schema = Schema::parse(Shipped::CustomsKr.text()).unwrap();
        assert_eq!(schema.digest().to_string(), DIGEST);
    }

    /// Digest made by an own script, after the documentation of `Schema::canonical_bytes`.
    const DIGEST: &str = "db1e77eade1c225b67ce8d71dbef7d5da51d8a67267e3fb69971c686386a546d";

    /// Newcomer A19, B5: no container could be imported by what is shipped.
    #[test]
    fn the_sample_of_a_port_is_read_kept_and_met_by_its_containers() {
        let schema = port();
        let instructions = Instructions::default();
        let checked = CheckedFile::of(&schema, SAMPLE.as_bytes(), &instructions, &|_| {}).unwrap();
        assert!(checked.read_as().contains("decimal commas"));
        let read = checked.consignments().unwrap();
        assert_eq!(read.len(), 6);
        let march = Window {
            from: "2026-11-01".parse().unwrap(),
            until: "2026-12-31".parse().unwrap(),
        };
        let of = |kind, value| Selector::new(kind, value, Some(march)).unwrap();
        for (selector, met) in [
            (of(SelectorKind::Container, "CSQU3054383"), 1),
            (of(SelectorKind::Imo, "9074729"), 4),
            (of(SelectorKind::UnLocode, "CNSHA"), 2),
            (of(SelectorKind::HsCode, "080390"), 2),
            (of(SelectorKind::HsCode, "080390@2022"), 2),
            (of(SelectorKind::HsCode, "080390@2017"), 0),
            (of(SelectorKind::Ilu, "XYZA1003094"), 1),
        ] {
            let found = read.iter().filter(|consignment| {
                let mut own = consignment.identifiers().iter();
                own.any(|identifier| identifier.is_named_by(&selector, consignment.year()))
            });
            assert_eq!(found.count(), met, "{selector}");
        }
        for consignment in &read {
            let kept = encoding::encode(consignment);
            assert_eq!(encoding::decode(&schema, &kept).as_ref(), Ok(consignment));
        }
    }
}
