//! Excerpts: what was opened is checked like a whole record, and what was not may stay away.

use portcullis_protocol::{
    record::{Form, SectionTag},
    rules::Rule,
    seal::SealedRecord,
    verify::{Excerpt, Occasion, Refusal, Verifier},
};

use crate::{
    fixture::{Keys, NOW, assert_refused, federation, indicator, verify},
    forge::altered,
};

fn form(indexes: &[u8]) -> Form {
    indexes.iter().copied().collect()
}

fn excerpt(opened: &SealedRecord, held: Form) -> Result<Excerpt, Refusal> {
    let (federation, keys) = (federation(), Keys::usual());
    let verifier = Verifier {
        federation: &federation,
        keys: &keys,
        now: NOW,
        occasion: Occasion::Held { first_seen: NOW },
    };
    let batch = verifier.batch(opened.statement())?;
    verifier.excerpt_among(opened, held, &batch, &mut batch.nodes())
}

#[test]
fn an_excerpt_says_what_the_whole_record_says_of_the_opened_sections() {
    let whole = indicator();
    let asked = whole.claimed_sections(&[SectionTag::Subject, SectionTag::Narrative]);
    assert_eq!(asked, form(&[0, 2]));
    let found = excerpt(&whole.opening(asked), form(&[0, 1, 2, 3])).unwrap();
    let record = verify(&whole).unwrap();
    assert_eq!((found.id(), found.header()), (record.id(), record.header()));
    assert_eq!(found.form(), form(&[0, 1, 2, 3]));
    assert_eq!(found.sections().len(), 2);
    for tag in [SectionTag::Subject, SectionTag::Narrative] {
        assert_eq!(found.body(tag), record.body(tag));
    }
    let thin = found.within(form(&[2, 3]));
    assert_eq!((thin.form(), thin.sections().len()), (form(&[2, 3]), 1));
    assert_eq!(thin.body(SectionTag::Subject), None);
}

/// Attack H3: nothing counts that the originator did not sign, however little is opened.
#[test]
fn a_changed_section_or_header_is_refused_in_an_excerpt() {
    let held = form(&[0, 1, 2, 3]);
    let opened = indicator().opening(form(&[0]));
    let changed = altered(&opened, |record| {
        let body = &mut record.sections[0].body;
        let mut bytes = body.to_vec();
        bytes[0] ^= 1;
        *body = bytes.into();
    });
    assert_refused(excerpt(&changed, held), Rule::SectionDigest);
    let moved = altered(&opened, |record| record.leaf ^= 1);
    assert!(excerpt(&moved, held).is_err());
    let other = altered(&opened, |record| {
        let mut bytes = record.header.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        record.header = bytes.into();
    });
    assert!(excerpt(&other, held).is_err());
}

#[test]
fn the_form_that_is_held_is_checked_as_that_of_a_whole_record() {
    let opened = indicator().opening(form(&[0]));
    assert_refused(excerpt(&opened, form(&[0])), Rule::GroupCut);
    assert_refused(excerpt(&opened, form(&[2])), Rule::SectionNotListed);
    assert_refused(excerpt(&opened, Form::EMPTY), Rule::NothingOpened);
}
