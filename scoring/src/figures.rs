//! Checks the figures of `docs/scoring.md` by computing them again from the shipped files.
//!
//! The expected values come from separate Python programs (plain look-up; Newton's method and the
//! bound with numpy), which share no code with this crate.

use std::{
    fmt::Write as _,
    sync::{Arc, LazyLock},
};

use crate::{
    bound::Hearings,
    consignment::Consignment,
    fixtures::{self, OFFICES},
    levels::Levels,
    lookup::Lookup,
    metrics::{Ranking, Share},
    schema::Schema,
    score::{Scorer, Settings},
    scorecard::Calibration,
};

struct Files {
    schema: Schema,
    history: Vec<Consignment>,
    arriving: Vec<Consignment>,
}

static FILES: LazyLock<Files> = LazyLock::new(|| Files {
    schema: fixtures::schema(),
    history: fixtures::history(),
    arriving: fixtures::arriving(),
});

/// The arrivals of one office, and the scorer made from what it knows.
struct Office<'f> {
    scorer: Scorer,
    arriving: Vec<&'f Consignment>,
}

impl<'f> Office<'f> {
    /// Makes office `name` with its own counts whole and, of `others`, the cells with at least
    /// `least` controls.
    fn new(files: &'f Files, name: &str, others: &[&str], least: u32) -> Self {
        let pool = fixtures::pool_of(&files.schema, &files.history, name, others, least);
        let levels = Levels::of(&files.schema, &pool);
        let own = fixtures::of_office(&files.history, name);
        let hearings = Hearings::calibrated(&levels, own, Calibration::default()).unwrap();
        Self {
            scorer: Scorer::new(levels, Arc::new(hearings), Settings::default()),
            arriving: fixtures::of_office(&files.arriving, name),
        }
    }

    fn ranking(&self) -> Ranking {
        let score = |row: &Consignment| self.scorer.profile_log_odds(row);
        self.arriving
            .iter()
            .map(|row| (score(row), row.finding().unwrap()))
            .collect()
    }

    /// Ranks the arrivals by the score as it would be without the bound.
    fn ranking_unbounded(&self) -> Ranking {
        let scorecard = self.scorer.hearings().scorecard();
        let score = |row: &Consignment| scorecard.log_odds(self.scorer.levels().counts_of(row));
        self.arriving
            .iter()
            .map(|row| (score(row), row.finding().unwrap()))
            .collect()
    }

    /// Ranks the arrivals as if their findings had been dealt out anew.
    fn ranking_permuted(&self) -> Ranking {
        let findings = self.arriving.iter().cycle().skip(self.arriving.len() / 2);
        let score = |row: &Consignment| self.scorer.profile_log_odds(row);
        let rows = self.arriving.iter().zip(findings);
        rows.map(|(row, other)| (score(row), other.finding().unwrap()))
            .collect()
    }

    fn lookup(&self) -> Ranking {
        let lookup = Lookup::new(self.scorer.levels());
        self.arriving
            .iter()
            .map(|row| (lookup.rate(row), row.finding().unwrap()))
            .collect()
    }
}

fn offices(others: &[&str], least: u32) -> Vec<Office<'static>> {
    OFFICES
        .iter()
        .map(|name| Office::new(&FILES, name, others, least))
        .collect()
}

fn auc(rankings: &[Ranking]) -> f64 {
    let overall: Share = rankings.iter().map(Ranking::concordant_pairs).sum();
    overall.ratio().unwrap()
}

fn precision(rankings: &[Ranking], percent: f64) -> f64 {
    let overall: Share = rankings
        .iter()
        .map(|ranking| ranking.precision_at(percent))
        .sum();
    overall.ratio().unwrap()
}

#[track_caller]
fn near(value: f64, expected: f64, tolerance: f64) {
    assert!(
        (value - expected).abs() < tolerance,
        "{value} is not {expected}"
    );
}

fn rankings(offices: &[Office<'_>]) -> Vec<Ranking> {
    offices.iter().map(Office::ranking).collect()
}

#[test]
fn federated_scores_rank_findings_and_not_findings_dealt_out_anew() {
    let offices = offices(&OFFICES, 1);
    let federated = rankings(&offices);
    assert!(auc(&federated) >= 0.88 && precision(&federated, 5.0) >= 0.95);
    near(auc(&federated), 0.898471, 2e-5);
    near(precision(&federated, 5.0), 364.0 / 377.0, 1e-9);
    let unbounded: Vec<Ranking> = offices.iter().map(Office::ranking_unbounded).collect();
    near(auc(&unbounded), 0.901872, 2e-5);
    near(precision(&unbounded, 5.0), 367.0 / 377.0, 1e-9);
    let permuted: Vec<Ranking> = offices.iter().map(Office::ranking_permuted).collect();
    assert!(
        (0.45..=0.55).contains(&auc(&permuted)),
        "{}",
        auc(&permuted)
    );
}

#[test]
fn a_denied_profile_changes_the_others_figures() {
    let without_20: Vec<&str> = OFFICES
        .into_iter()
        .filter(|office| *office != "20")
        .collect();
    let whole = Office::new(&FILES, "13", &OFFICES, 1).ranking();
    let denied = Office::new(&FILES, "13", &without_20, 1).ranking();
    assert!(auc(&[denied]) < auc(&[whole]) - 0.01);
}

#[test]
fn withholding_small_counts_costs_what_the_document_says() {
    let lookup_of_the_separate_program = [
        (1, 0.901598, 0.973475),
        (2, 0.866284, 0.962865),
        (3, 0.841821, 0.891247),
        (5, 0.829113, 0.848806),
        (10, 0.825292, 0.840849),
    ];
    let mut table = String::new();
    for (least, expected_auc, expected_precision) in lookup_of_the_separate_program {
        let offices = offices(&OFFICES, least);
        let lookup: Vec<Ranking> = offices.iter().map(Office::lookup).collect();
        near(auc(&lookup), expected_auc, 1e-6);
        near(precision(&lookup, 5.0), expected_precision, 1e-6);
        let columns = figures(&[&rankings(&offices), &lookup]);
        writeln!(table, "| {least} |{columns} |").unwrap();
    }
    documented(&table);
}

#[test]
fn the_figures_of_each_office_are_as_documented() {
    let (local, federated) = (offices(&[], 1), offices(&OFFICES, 1));
    near(auc(&rankings(&local)), 0.820789, 2e-5);
    near(precision(&rankings(&local), 5.0), 323.0 / 377.0, 1e-9);
    let columns = [
        rankings(&local),
        rankings(&federated),
        local.iter().map(Office::lookup).collect(),
        federated.iter().map(Office::lookup).collect(),
    ];
    let mut table = String::new();
    for (at, office) in OFFICES.iter().enumerate() {
        let history = fixtures::of_office(&FILES.history, office).len();
        let row = columns
            .each_ref()
            .map(|column| std::slice::from_ref(&column[at]));
        let arriving = row[0][0].len();
        writeln!(
            table,
            "| {office} | {history} | {arriving} |{} |",
            figures(&row)
        )
        .unwrap();
    }
    let overall = columns.each_ref().map(Vec::as_slice);
    writeln!(table, "| overall | | |{} |", figures(&overall)).unwrap();
    documented(&table);
    documented(&calibration(&federated));
}

#[test]
fn each_quarter_of_the_history_is_scored_by_the_other_three_as_documented() {
    let by_the_separate_program = [
        (0.876013, 464.0 / 484.0),
        (0.869338, 400.0 / 422.0),
        (0.883361, 409.0 / 429.0),
        (0.870805, 384.0 / 398.0),
    ];
    let mut table = String::new();
    for ((expected_auc, expected_precision), quarter) in
        by_the_separate_program.into_iter().zip(1..)
    {
        let schema = fixtures::schema();
        let in_quarter = |row: &Consignment| {
            let month = row
                .value(schema.date)
                .get(5..7)
                .unwrap()
                .parse::<u32>()
                .unwrap();
            month.div_ceil(3) == quarter
        };
        let (arriving, history) = FILES.history.iter().cloned().partition(in_quarter);
        let files = Files {
            schema: fixtures::schema(),
            history,
            arriving,
        };
        let offices: Vec<Office<'_>> = OFFICES
            .iter()
            .map(|name| Office::new(&files, name, &OFFICES, 1))
            .collect();
        let score = rankings(&offices);
        near(auc(&score), expected_auc, 2e-5);
        near(precision(&score, 5.0), expected_precision, 1e-9);
        let lookup: Vec<Ranking> = offices.iter().map(Office::lookup).collect();
        writeln!(table, "| {quarter} |{} |", figures(&[&score, &lookup])).unwrap();
    }
    documented(&table);
}

/// Checks that every row of the table is in the document.
#[track_caller]
fn documented(table: &str) {
    let document = include_str!("../../docs/scoring.md");
    let missing: Vec<&str> = table
        .lines()
        .filter(|line| !document.contains(line))
        .collect();
    assert!(
        missing.is_empty(),
        "`docs/scoring.md` lacks:\n{}",
        missing.join("\n")
    );
}

fn figures(columns: &[&[Ranking]]) -> String {
    let cell =
        |rankings: &&[Ranking]| format!(" {:.3} / {:.3}", auc(rankings), precision(rankings, 5.0));
    columns.iter().map(cell).collect::<Vec<_>>().join(" |")
}

/// Returns a table by fifths of the federated probability: the number of arrivals, the mean
/// probability and the rate of findings in each.
fn calibration(offices: &[Office<'_>]) -> String {
    let mut fifths = [(0.0, 0.0, 0.0); 5];
    for office in offices {
        for row in &office.arriving {
            let probability = 1.0 / (1.0 + (-office.scorer.profile_log_odds(row)).exp());
            let fifth = fifths
                .iter_mut()
                .zip(1u8..)
                .find(|(_, n)| probability * 5.0 <= f64::from(*n));
            let (count, sum, found) = fifth.unwrap().0;
            *count += 1.0;
            *sum += probability;
            *found += f64::from(u8::from(row.finding().unwrap()));
        }
    }
    let mut table = String::new();
    for ((count, sum, found), n) in fifths.into_iter().zip(0..) {
        let (from, to) = (n * 20, n * 20 + 20);
        let (mean, rate) = (100.0 * sum / count, 100.0 * found / count);
        writeln!(
            table,
            "| {from}–{to} % | {count} | {mean:.1} % | {rate:.1} % |"
        )
        .unwrap();
    }
    table
}
