//! Things that are damaged or do not fit, at a running node: they are set aside and told of, the rest
//! goes on.

use portcullis_kernel::health;
use portcullis_protocol::register::AuthorityKind;
use portcullis_store::{ConsignmentRow, Write, writer::Priority};
use portcullis_tests::federation::{Federation, Running, eventually};

use crate::office::Office;

const HEADER: &str = "Declaration ID,Date,Office ID,Process Type,Import Type,Import Use,Payment Type,Mode of Transport,Declarant ID,Importer ID,Seller ID,Courier ID,HS6 Code,Country of Departure,Country of Origin,Tax Rate,Tax Type,Country of Origin Indicator,Net Mass,Item Price,Fraud,Critical Fraud";
const ROW: &str =
    "2021-01-01,40,B,11,11,11,10,76NV527,SHHZGSL,249LO7A,,760711,CN,CN,7.2,FCN1,E,901.2,415092.72";

/// Attack #9: a stored consignment that the schema in use does not take is set aside, counted in
/// health, named in the status alone, and mended by importing it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consignment_that_does_not_fit_keeps_no_other_from_being_scored() {
    let federation = Federation::new(&[("antwerp", AuthorityKind::Customs)]);
    let antwerp = Running::start(federation.home("antwerp")).await;
    let office = Office::open(&antwerp);
    let import = |references: &[&str], outcome: &str, more: &[&str]| {
        let rows: String = references
            .iter()
            .map(|reference| format!("{reference},{ROW},{outcome}\n"))
            .collect();
        office.user().file("rows.csv", &format!("{HEADER}\n{rows}"));
        let command = [&["consignment", "import", "rows.csv"][..], more].concat();
        office.good("anna", &command);
    };
    let misfit = ConsignmentRow {
        reference: "3000".to_owned(),
        at: antwerp.kernel.now(),
        arriving: true,
        body: vec![9],
        selectors: Vec::new(),
    };
    let write = Write::Consignments(vec![misfit]);
    antwerp
        .kernel
        .commit(Priority::Bulk, vec![write])
        .await
        .unwrap();
    import(&["1000", "1002"], "1,1", &["--history"]);
    import(&["1001", "1003"], "0,0", &["--history"]);
    import(&["2000", "2001"], "0,0", &[]);
    let scored = || antwerp.kernel.store().scores(9).unwrap().len();
    eventually(&antwerp.kernel, || scored() == 2).await;
    let problems = health::health_apart(&antwerp.kernel).await.problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].what.starts_with("1 ") && !problems[0].what.contains("3000"));
    let status = office.run(&["status"]);
    assert_eq!(status.status.code(), Some(6));
    let told = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(told.contains("consignment `3000`"), "{told}");
    let doctor = office.run(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(6));
    import(&["3000"], "0,0", &[]);
    eventually(&antwerp.kernel, || scored() == 3).await;
    assert_eq!(health::health_apart(&antwerp.kernel).await.problems, []);
    assert_eq!(office.run(&["status"]).status.code(), Some(0));
    antwerp.stop().await;
}
