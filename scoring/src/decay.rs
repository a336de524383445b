//! Decay of indicators with age.
//!
//! The curves of MISP and OpenCTI are offered so that their indicators can be weighed as their own
//! systems would; the default is a half-life.

/// A falling curve that is 1 at age zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decay {
    /// Halves with each `half_life_ms` milliseconds.
    HalfLife {
        /// The half-life in milliseconds.
        half_life_ms: f64,
    },
    /// MISP: `1 − (age / lifetime)^(1 / speed)`, and 0 from the lifetime on.
    Misp {
        /// The lifetime in milliseconds.
        lifetime_ms: f64,
        /// The decay speed.
        speed: f64,
    },
    /// `OpenCTI`: `1 − (age / lifetime)^(1 / (3 · pound))`, and 0 from the lifetime on.
    OpenCti {
        /// The lifetime in milliseconds.
        lifetime_ms: f64,
        /// The factor `pound` of the decay rule.
        pound: f64,
    },
    /// No decay.
    Never,
}

/// The milliseconds of a day.
pub const DAY_MS: f64 = 86_400_000.0;

impl Decay {
    /// Returns the fraction that is left at this age, in milliseconds; a negative age counts as
    /// zero.
    #[must_use]
    pub fn left(self, age_ms: i64) -> f64 {
        let age = (age_ms as f64).max(0.0);
        match self {
            Self::HalfLife { half_life_ms } => (-age / half_life_ms).exp2(),
            Self::Misp { lifetime_ms, speed } => polynomial(age / lifetime_ms, speed),
            Self::OpenCti { lifetime_ms, pound } => polynomial(age / lifetime_ms, 3.0 * pound),
            Self::Never => 1.0,
        }
    }
}

fn polynomial(age: f64, speed: f64) -> f64 {
    (1.0 - age.powf(speed.recip())).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(decay: Decay, base: f64, hours: i64, expected: f64, tolerance: f64) {
        let score = base * decay.left(hours * 3_600_000);
        assert!(
            (score - expected).abs() < tolerance,
            "{score} is not {expected}"
        );
    }

    /// MISP's NIDS model.
    const NIDS: Decay = Decay::Misp {
        lifetime_ms: 120.0 * DAY_MS,
        speed: 2.0,
    };

    #[test]
    fn the_misp_curve_gives_the_published_scores() {
        for (hours, expected) in [(0, 80.0), (24, 72.697), (168, 60.678), (720, 40.0)] {
            check(NIDS, 80.0, hours, expected, 5e-4);
        }
        check(NIDS, 80.0, 1125, 30.0, 1e-6);
        check(NIDS, 80.0, 2880, 0.0, 1e-9);
        check(NIDS, 80.0, 12_000, 0.0, 1e-9);
    }

    #[test]
    fn the_opencti_curve_reaches_its_revoke_score_where_the_formula_says() {
        // 100·(1 − (t/470)^(1/1.05)) is 20 at t = 470·0.8^1.05 = 371.828 days, or 8923.88 hours.
        let default = Decay::OpenCti {
            lifetime_ms: 470.0 * DAY_MS,
            pound: 0.35,
        };
        check(default, 100.0, 0, 100.0, 1e-9);
        check(default, 100.0, 8924, 20.0, 2e-3);
        check(default, 100.0, 11_280, 0.0, 1e-9);
    }

    #[test]
    fn a_half_life_halves() {
        let decay = Decay::HalfLife {
            half_life_ms: 30.0 * DAY_MS,
        };
        check(decay, 1.0, 720, 0.5, 1e-12);
        check(decay, 1.0, 2160, 0.125, 1e-12);
        check(decay, 1.0, -5, 1.0, 1e-12);
        check(Decay::Never, 1.0, 900_000, 1.0, 1e-12);
    }
}
