//! Latencies as a histogram of three digits: small, mergeable without loss, and bytes on the wire.
//!
//! All histograms of a run have the same bounds, so that merging adds counts bucket by bucket and
//! nothing is rounded twice. Bytes that come from elsewhere are looked at before they are read: a
//! header with other bounds could ask for any amount of memory.

use hdrhistogram::{
    Histogram as Buckets,
    serialization::{Deserializer, Serializer as _, V2Serializer},
};

/// The lowest latency that is told apart, in nanoseconds.
pub const LOWEST_NANOS: u64 = 1_000;
/// The highest latency; what lies above is counted there.
pub const HIGHEST_NANOS: u64 = 3_600_000_000_000;
/// Significant digits.
pub const DIGITS: u8 = 3;

/// The most latencies that bytes may hold, so that adding up histograms cannot overflow.
pub const MOST_COUNTED: u64 = 1 << 44;

/// Latencies in nanoseconds, from 1 µs to 1 h, to three digits.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram(Buckets<u64>);

/// Why bytes are not a histogram of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistogramError {
    /// Less than a header.
    #[error("a histogram of {bytes} bytes is shorter than its header of {HEADER_BYTES}")]
    Short {
        /// How many there are.
        bytes: usize,
    },
    /// Bounds that cannot be merged exactly.
    #[error(
        "a histogram of {digits} digits from {low} to {high} ns cannot be merged with one of {DIGITS} digits from {LOWEST_NANOS} to {HIGHEST_NANOS} ns"
    )]
    OtherBounds {
        /// Its digits.
        digits: u32,
        /// Its lowest value.
        low: u64,
        /// Its highest value.
        high: u64,
    },
    /// More than any run can count.
    #[error("a histogram of {count} latencies is beyond the limit of {MOST_COUNTED}")]
    TooMany {
        /// How many it says it has.
        count: u64,
    },
    /// The bytes behind the header make no sense.
    #[error("a histogram cannot be read: {0}")]
    Malformed(String),
}

/// A latency as it is told, in nanoseconds: the lowest buckets are wider than what is in them.
fn told(nanos: u64) -> f64 {
    if nanos < LOWEST_NANOS { 0.0 } else { nanos as f64 }
}

/// The fixed part of the V2 form: cookie, length, offset, digits, lowest, highest, ratio.
const HEADER_BYTES: usize = 40;

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// An empty histogram.
    #[must_use]
    pub fn new() -> Self {
        Self(Buckets::new_with_bounds(LOWEST_NANOS, HIGHEST_NANOS, DIGITS).expect("the bounds are constants that fit"))
    }

    /// Counts one latency; what lies outside the bounds is counted at the bound.
    pub fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    /// Adds what the other one counted.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms have the same bounds");
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// How many latencies were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency at this quantile (0–1) in seconds, to three digits, zero below the lowest that is told apart; `None` if
    /// nothing was counted.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| told(self.0.value_at_quantile(quantile)) / 1e9)
    }

    /// Mean and standard deviation, smallest and largest, in seconds; `None` if nothing was counted. What lies below the
    /// lowest latency that is told apart counts as zero.
    #[must_use]
    pub fn moments(&self) -> Option<[f64; 4]> {
        if self.0.is_empty() {
            return None;
        }
        let all = self.0.len() as f64;
        let averaged = |figure: &dyn Fn(f64) -> f64| -> f64 {
            let buckets = self.0.iter_recorded();
            let sums = buckets.map(|bucket| (bucket.count_at_value() as f64, self.middle(bucket.value_iterated_to())));
            sums.map(|(count, nanos)| count * figure(nanos)).sum::<f64>() / all
        };
        let mean = averaged(&|nanos| nanos);
        let variance = averaged(&|nanos| (nanos - mean).powi(2));
        Some([mean, variance.sqrt(), told(self.0.min()), told(self.0.max())].map(|nanos| nanos / 1e9))
    }

    /// What a bucket's latencies count as, in nanoseconds: its middle, as everywhere with such histograms.
    fn middle(&self, value: u64) -> f64 {
        if told(value) == 0.0 { 0.0 } else { self.0.median_equivalent(value) as f64 }
    }

    /// The V2 form; no bytes at all if nothing was counted.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.0.is_empty() {
            V2Serializer::new().serialize(&self.0, &mut bytes).expect("counts below 2^63 are written into memory");
        }
        bytes
    }

    /// Reads the V2 form; no bytes are a histogram in which nothing was counted, for which none is made.
    ///
    /// # Errors
    /// The bytes are no V2 histogram of our bounds.
    pub fn from_bytes(bytes: &[u8]) -> Result<Option<Self>, HistogramError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let header = bytes.get(..HEADER_BYTES).ok_or(HistogramError::Short { bytes: bytes.len() })?;
        let word = |at: usize| u64::from_be_bytes(header[at..at + 8].try_into().expect("a slice of eight bytes"));
        let (digits, low, high) = ((word(8) & 0xffff_ffff) as u32, word(16), word(24));
        if (digits, low, high) != (u32::from(DIGITS), LOWEST_NANOS, HIGHEST_NANOS) {
            return Err(HistogramError::OtherBounds { digits, low, high });
        }
        let read: Buckets<u64> =
            Deserializer::new().deserialize(&mut &bytes[..]).map_err(|error| HistogramError::Malformed(error.to_string()))?;
        if read.len() > MOST_COUNTED {
            return Err(HistogramError::TooMany { count: read.len() });
        }
        Ok(Some(Self(read)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::new();
        values.iter().for_each(|value| histogram.record(*value));
        histogram
    }

    proptest! {
        // A histogram has some 25,000 buckets, which an unoptimised build walks slowly.
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn merging_is_as_if_all_had_been_counted_at_once(a: Vec<u64>, b: Vec<u64>) {
            let mut merged = of(&a);
            merged.merge(&of(&b));
            prop_assert_eq!(merged, of(&[a, b].concat()));
        }

        #[test]
        fn bytes_give_the_same_histogram(values in prop::collection::vec(1_000u64..HIGHEST_NANOS, 0..200)) {
            let histogram = of(&values);
            let read = Histogram::from_bytes(&histogram.to_bytes()).unwrap().unwrap_or_default();
            prop_assert_eq!(read.count(), histogram.count());
            prop_assert_eq!(read.quantile(0.5), histogram.quantile(0.5));
        }

        #[test]
        fn quantiles_are_within_a_tenth_of_a_percent(value in 1_000_000u64..HIGHEST_NANOS) {
            let seen = of(&[value]).quantile(0.99).unwrap() * 1e9;
            prop_assert!((seen / value as f64 - 1.0).abs() < 1e-3, "{} for {}", seen, value);
        }

        #[test]
        fn no_bytes_can_do_harm(bytes: Vec<u8>, cut in 0usize..200, flip in 0usize..200) {
            let _ = Histogram::from_bytes(&bytes);
            let mut ours = of(&[5_000, 1_000_000, 77_000_000_000]).to_bytes();
            let at = flip % ours.len();
            ours[at] ^= 0x55;
            ours.truncate(cut.max(1));
            let _ = Histogram::from_bytes(&ours);
        }
    }

    #[test]
    fn other_bounds_are_refused_before_they_take_memory() {
        let huge = Buckets::<u64>::new_with_bounds(1, 1 << 40, 1).unwrap();
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&huge, &mut bytes).unwrap();
        assert_eq!(Histogram::from_bytes(&bytes), Err(HistogramError::OtherBounds { digits: 1, low: 1, high: 1 << 40 }));
        assert_eq!(Histogram::from_bytes(&[1, 2]), Err(HistogramError::Short { bytes: 2 }));
    }

    #[test]
    fn what_came_together_is_zero_and_not_the_width_of_a_bucket() {
        let mut merged = of(&[0, 0, 0, 400]);
        merged.merge(&of(&[0]));
        let read = Histogram::from_bytes(&merged.to_bytes()).unwrap().unwrap();
        for histogram in [merged, read] {
            assert_eq!((histogram.quantile(0.5), histogram.quantile(1.0)), (Some(0.0), Some(0.0)));
            assert_eq!(histogram.moments(), Some([0.0; 4]));
        }
        let [mean, deviation, least, most] = of(&[0, 0, 0, 4_000_000]).moments().unwrap();
        let is_near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 1e-3;
        assert!(
            is_near(mean, 0.001) && is_near(deviation, 0.75_f64.sqrt() * 0.002) && is_near(most, 0.004),
            "{mean} {deviation}"
        );
        assert_eq!(least, 0.0);
    }

    #[test]
    fn nothing_counted_is_nothing_on_the_wire() {
        assert!(Histogram::new().to_bytes().is_empty());
        assert_eq!(Histogram::from_bytes(&[]), Ok(None));
    }
}
