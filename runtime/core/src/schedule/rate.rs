//! One stretch of a load whose rate changes: how many requests it has, and when each of them is due.

use crate::trial::{RateStage, Slope};

/// Slopes flatter than this over a whole stage are level: the formulas below would divide by almost nothing.
const LEVEL: f64 = 1e-9;

impl RateStage {
    /// The rate `seconds` after its beginning.
    #[must_use]
    pub fn rate_at(&self, seconds: f64) -> f64 {
        let part = (seconds / self.duration.as_secs_f64()).clamp(0.0, 1.0);
        match self.slope {
            Slope::Linear => self.from + (self.to - self.from) * part,
            Slope::Exponential => self.from * (self.to / self.from).powf(part),
        }
    }

    /// How many requests it has on average: the integral of its rate.
    #[must_use]
    pub fn expected(&self) -> f64 {
        let duration = self.duration.as_secs_f64();
        match self.slope {
            Slope::Exponential if !self.is_level() => duration * (self.to - self.from) / (self.to / self.from).ln(),
            Slope::Linear | Slope::Exponential => duration * (self.from + self.to) / 2.0,
        }
    }

    /// The seconds after its beginning at which the integral of its rate reaches `count`.
    pub(super) fn reaches(&self, count: f64) -> f64 {
        let duration = self.duration.as_secs_f64();
        if count <= 0.0 {
            return 0.0;
        }
        let seconds = match self.slope {
            _ if self.is_level() => count / self.from,
            Slope::Linear => {
                let per_second = (self.to - self.from) / duration;
                // The usual formula of a quadratic's root would subtract two numbers that are almost equal.
                2.0 * count / (self.from + (self.from * self.from + 2.0 * per_second * count).max(0.0).sqrt())
            }
            Slope::Exponential => {
                let growth = (self.to / self.from).ln() / duration;
                (growth * count / self.from).ln_1p() / growth
            }
        };
        seconds.clamp(0.0, duration)
    }

    fn is_level(&self) -> bool {
        (self.to - self.from).abs() <= LEVEL * self.from.max(self.to)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::Span;

    fn stage(slope: Slope, seconds: u64, from: f64, to: f64) -> RateStage {
        RateStage { duration: Span::from_secs(seconds), from, to, slope }
    }

    fn slopes() -> impl Strategy<Value = Slope> {
        prop_oneof![Just(Slope::Linear), Just(Slope::Exponential)]
    }

    proptest! {
        #[test]
        fn the_integral_of_the_rate_is_what_is_expected(slope in slopes(), seconds in 1u64..100, from in 0.1f64..1e4, to in 0.1f64..1e4) {
            let stage = stage(slope, seconds, from, to);
            let steps = 20_000;
            let width = seconds as f64 / f64::from(steps);
            let sum: f64 = (0..steps).map(|step| stage.rate_at((f64::from(step) + 0.5) * width) * width).sum();
            prop_assert!((sum / stage.expected() - 1.0).abs() < 1e-4, "{sum} {}", stage.expected());
        }

        #[test]
        fn a_count_is_reached_where_the_integral_says(slope in slopes(), seconds in 1u64..100, from in 0.1f64..1e4, to in 0.1f64..1e4, part in 0.0f64..1.0) {
            let whole = stage(slope, seconds, from, to);
            let at = whole.reaches(part * whole.expected());
            let until = RateStage { duration: Span(std::time::Duration::from_secs_f64(at)), to: whole.rate_at(at), ..whole };
            prop_assert!((until.expected() - part * whole.expected()).abs() < 1e-6 * whole.expected() + 1e-4);
        }
    }

    #[test]
    fn a_ramp_from_nothing_is_walked_by_the_square_root() {
        let ramp = stage(Slope::Linear, 10, 0.0, 20.0);
        assert!((ramp.expected() - 100.0).abs() < 1e-9);
        for (count, seconds) in [(0.0, 0.0), (25.0, 5.0), (100.0, 10.0), (1e9, 10.0)] {
            assert!((ramp.reaches(count) - seconds).abs() < 1e-9, "{count}");
        }
    }
}
