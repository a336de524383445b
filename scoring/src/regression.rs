//! Logistic regression with a Gaussian prior on each unknown, by Newton's method. Conjugate
//! gradients find its steps on the matrix of curvatures, which is as small as the unknowns are few.

/// One unknown: its factor in each row, and its prior.
pub(crate) struct Unknown {
    pub(crate) column: Vec<f64>,
    pub(crate) mean: f64,
    /// The precision of the prior; above 0.
    pub(crate) pull: f64,
}

/// The rows, each with a finding or without, and the unknowns.
pub(crate) struct Regression {
    /// 1 for a finding, 0 for none.
    found: Vec<f64>,
    unknowns: Vec<Unknown>,
}

/// Length of a step below which the fit ends.
const SETTLED: f64 = 1e-9;
/// Most steps of a fit.
const STEPS: usize = 50;
/// Gain of a step below which it is taken whole: Newton's steps are good there, and sums over many
/// rows are not exact enough to show that they improve the fit.
const SMALL_GAIN: f64 = 1e-9;
/// Most halvings of a step that does not improve the fit.
const HALVINGS: usize = 30;

impl Regression {
    pub(crate) fn new(found: Vec<bool>, unknowns: Vec<Unknown>) -> Self {
        let found = found
            .into_iter()
            .map(|found| f64::from(u8::from(found)))
            .collect();
        Self { found, unknowns }
    }

    /// Returns the most probable value of each unknown.
    ///
    /// The search starts with all unknowns but the first at 0. There the probabilities are far from
    /// 0 and 1, and Newton's steps are good.
    pub(crate) fn fit(&self) -> Vec<f64> {
        let start = self.unknowns.iter().enumerate();
        let mut at: Vec<f64> = start
            .map(|(n, unknown)| if n == 0 { unknown.mean } else { 0.0 })
            .collect();
        for _ in 0..STEPS {
            let next = self.step(&at);
            let moved = at.iter().zip(&next).map(|(from, to)| (to - from).abs());
            let longest = moved.fold(0.0, f64::max);
            at = next;
            if longest < SETTLED {
                break;
            }
        }
        at
    }

    /// Returns the values after one Newton step, which is halved until it improves the fit.
    fn step(&self, at: &[f64]) -> Vec<f64> {
        let log_odds = self.log_odds(at);
        let likely: Vec<f64> = log_odds.iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect();
        let missed: Vec<f64> = self.found.iter().zip(&likely).map(|(y, p)| y - p).collect();
        let doubt: Vec<f64> = likely.iter().map(|p| p * (1.0 - p)).collect();
        let slope = self.unknowns.iter().zip(at).map(|(unknown, value)| {
            dot(&unknown.column, &missed) - unknown.pull * (value - unknown.mean)
        });
        let slope: Vec<f64> = slope.collect();
        let step = solve(&self.curvatures(&doubt), slope.clone());
        if dot(&slope, &step) < SMALL_GAIN {
            return plus(at, 1.0, &step);
        }
        let before = self.fitness(at);
        let mut length = 1.0;
        for _ in 0..HALVINGS {
            let next = plus(at, length, &step);
            if self.fitness(&next) >= before {
                return next;
            }
            length /= 2.0;
        }
        at.to_vec()
    }

    /// Returns the log-odds of each row.
    fn log_odds(&self, at: &[f64]) -> Vec<f64> {
        let mut log_odds = vec![0.0; self.found.len()];
        for (unknown, value) in self.unknowns.iter().zip(at) {
            for (sum, x) in log_odds.iter_mut().zip(&unknown.column) {
                *sum += value * x;
            }
        }
        log_odds
    }

    /// Returns the logarithm of the posterior, up to a constant.
    fn fitness(&self, at: &[f64]) -> f64 {
        let log_odds = self.log_odds(at);
        let likelihood = log_odds
            .iter()
            .zip(&self.found)
            .map(|(z, y)| y * z - softplus(*z));
        let prior = self
            .unknowns
            .iter()
            .zip(at)
            .map(|(unknown, value)| unknown.pull * (value - unknown.mean).powi(2) / 2.0);
        likelihood.sum::<f64>() - prior.sum::<f64>()
    }

    /// Returns the matrix of second derivatives, with the sign turned: a row for each unknown.
    fn curvatures(&self, doubt: &[f64]) -> Vec<Vec<f64>> {
        let mut matrix = vec![vec![0.0; self.unknowns.len()]; self.unknowns.len()];
        for (at, unknown) in self.unknowns.iter().enumerate() {
            let doubted = unknown.column.iter().zip(doubt);
            let doubted: Vec<f64> = doubted.map(|(x, doubt)| x * doubt).collect();
            for (other, column) in self.unknowns.iter().enumerate().take(at + 1) {
                let pull = if other == at { unknown.pull } else { 0.0 };
                let curvature = dot(&doubted, &column.column) + pull;
                for (row, column) in [(at, other), (other, at)] {
                    if let Some(cell) = matrix.get_mut(row).and_then(|row| row.get_mut(column)) {
                        *cell = curvature;
                    }
                }
            }
        }
        matrix
    }
}

/// Solves for the step whose product with the matrix is `slope`, by conjugate gradients. In exact
/// arithmetic they end after as many rounds as there are unknowns.
fn solve(matrix: &[Vec<f64>], slope: Vec<f64>) -> Vec<f64> {
    let mut step = vec![0.0; slope.len()];
    let mut left = slope;
    let mut towards = left.clone();
    let mut square = dot(&left, &left);
    for _ in 0..2 * matrix.len() {
        if square < f64::MIN_POSITIVE {
            break;
        }
        let curved: Vec<f64> = matrix.iter().map(|row| dot(row, &towards)).collect();
        let length = square / dot(&towards, &curved);
        step = plus(&step, length, &towards);
        left = plus(&left, -length, &curved);
        let next = dot(&left, &left);
        towards = plus(&left, next / square, &towards);
        square = next;
    }
    step
}

/// Sums the products. Several sums run side by side, so that the processor's vectors are used.
fn dot(left: &[f64], right: &[f64]) -> f64 {
    let (left, left_rest) = left.as_chunks::<LANES>();
    let (right, right_rest) = right.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (left, right) in left.iter().zip(right) {
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum += left * right;
        }
    }
    let rest = left_rest.iter().zip(right_rest);
    sums.iter().sum::<f64>() + rest.map(|(left, right)| left * right).sum::<f64>()
}

/// Number of sums side by side.
const LANES: usize = 8;

/// `from + length · towards`.
fn plus(from: &[f64], length: f64, towards: &[f64]) -> Vec<f64> {
    from.iter()
        .zip(towards)
        .map(|(from, towards)| from + length * towards)
        .collect()
}

/// ln(1 + e^z), without overflow.
fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(column: &[f64], pull: f64) -> Unknown {
        Unknown {
            column: column.to_vec(),
            mean: 0.0,
            pull,
        }
    }

    #[test]
    fn a_constant_finds_the_logit_of_the_rate() {
        // 3 of 4 found; with a negligible prior: ln 3.
        let found = vec![true, true, true, false];
        let fit = Regression::new(found, vec![unknown(&[1.0; 4], 1e-12)]).fit();
        assert!((fit[0] - 3.0_f64.ln()).abs() < 1e-9, "{fit:?}");
    }

    #[test]
    fn separated_rows_are_held_by_the_prior() {
        // 2 / (1 + e^w) = w, by bisection in Python.
        let found = vec![true, false];
        let fit = Regression::new(found, vec![unknown(&[1.0, -1.0], 1.0)]).fit();
        assert!((fit[0] - 0.674_831_614_342_399_2).abs() < 1e-9, "{fit:?}");
    }

    #[test]
    fn nothing_to_learn_from_leaves_the_means() {
        let mut held = unknown(&[], 2.0);
        held.mean = 0.7;
        let fit = Regression::new(vec![], vec![unknown(&[], 1.0), held]).fit();
        assert!(
            fit[0].abs() < 1e-9 && (fit[1] - 0.7).abs() < 1e-9,
            "{fit:?}"
        );
    }
}
