//! Requests in flight, from their stamps: a sweep over starts and ends, not a count per second, which would
//! count a request in every second that it touches.

use crate::units::Nanos;

/// Beyond what is held exactly, starts and ends are put into cells of this length.
const CELL_NANOS: u64 = 100_000_000;

/// When requests were sent and over, in whatever order they come.
#[derive(Debug)]
pub(super) struct InFlight {
    most_exact: usize,
    starts: Vec<u64>,
    ends: Vec<u64>,
    /// What takes their place once there are too many; grows with time, not with requests.
    cells: Vec<Cell>,
}

/// Starts and ends within a stretch of [`CELL_NANOS`], with the sums of their distances from its beginning.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    starts: u64,
    starts_after: u64,
    ends: u64,
    ends_after: u64,
}

impl InFlight {
    /// Up to so many requests, mean and peak are exact.
    pub(super) fn exact_up_to(most_exact: u64) -> Self {
        let most_exact = usize::try_from(most_exact).unwrap_or(usize::MAX);
        Self { most_exact, starts: Vec::new(), ends: Vec::new(), cells: Vec::new() }
    }

    pub(super) fn take(&mut self, start: Nanos, end: Nanos) {
        if !self.cells.is_empty() {
            return self.put(start.0, end.0);
        }
        self.starts.push(start.0);
        self.ends.push(end.0.max(start.0));
        if self.starts.len() > self.most_exact {
            let (starts, ends) = (std::mem::take(&mut self.starts), std::mem::take(&mut self.ends));
            starts.into_iter().zip(ends).for_each(|(start, end)| self.put(start, end));
        }
    }

    fn put(&mut self, start: u64, end: u64) {
        let start_cell = self.cell(start);
        start_cell.starts += 1;
        start_cell.starts_after += start % CELL_NANOS;
        let end_cell = self.cell(end.max(start));
        end_cell.ends += 1;
        end_cell.ends_after += end.max(start) % CELL_NANOS;
    }

    fn cell(&mut self, at: u64) -> &mut Cell {
        let number = (at / CELL_NANOS) as usize;
        if number >= self.cells.len() {
            self.cells.resize(number + 1, Cell::default());
        }
        &mut self.cells[number]
    }

    /// All are here: puts them in order.
    pub(super) fn sort(&mut self) {
        self.starts.sort_unstable();
        self.ends.sort_unstable();
    }

    /// Mean over the window, weighted by time, and the most at one instant; of cells, the most at the instant at which
    /// one begins. To be asked once all are [sorted](Self::sort).
    pub(super) fn within(&self, window: (Nanos, Nanos)) -> (f64, u32) {
        if self.cells.is_empty() { swept(&self.starts, &self.ends, window) } else { self.by_cells(window) }
    }

    fn by_cells(&self, (from, to): (Nanos, Nanos)) -> (f64, u32) {
        let (mut now, mut peak, mut area) = (0i128, 0i128, 0.0);
        for (number, cell) in self.cells.iter().enumerate() {
            let begin = number as u64 * CELL_NANOS;
            let inside = to.0.min(begin + CELL_NANOS).saturating_sub(from.0.max(begin));
            let started = i128::from(cell.starts * CELL_NANOS - cell.starts_after);
            let ended = i128::from(cell.ends * CELL_NANOS - cell.ends_after);
            let whole = now * i128::from(CELL_NANOS) + started - ended;
            // Of a cell that lies in the window in part, as large a part.
            area += whole as f64 * (inside as f64 / CELL_NANOS as f64);
            if inside > 0 {
                peak = peak.max(now);
            }
            now += i128::from(cell.starts) - i128::from(cell.ends);
        }
        let length = to.since(from).as_nanos();
        (if length == 0 { 0.0 } else { area / length as f64 }, u32::try_from(peak).unwrap_or(u32::MAX))
    }
}

/// Starts and ends are each in order.
fn swept(starts: &[u64], ends: &[u64], window: (Nanos, Nanos)) -> (f64, u32) {
    let (mut now, mut peak, mut area, mut since) = (0u32, 0, 0u128, window.0.0);
    let (mut started, mut ended) = (starts.iter().copied().peekable(), ends.iter().copied().peekable());
    loop {
        // What ends at an instant ends before what starts there: a client that goes on at once is one client.
        let (at, is_end) = match (started.peek(), ended.peek()) {
            (Some(start), Some(end)) if start < end => (*start, false),
            (_, Some(end)) => (*end, true),
            (Some(start), None) => (*start, false),
            (None, None) => break,
        };
        let within = at.clamp(window.0.0, window.1.0.max(window.0.0));
        area += u128::from(now) * u128::from(within - since);
        if at > window.0.0 && since < window.1.0 {
            peak = peak.max(now);
        }
        since = within;
        if is_end {
            ended.next();
            now = now.saturating_sub(1);
        } else {
            started.next();
            now += 1;
        }
    }
    let length = window.1.since(window.0).as_nanos();
    (if length == 0 { 0.0 } else { area as f64 / length as f64 }, peak)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(requests: &[(u64, u64)], window: (u64, u64), expected: (f64, u32)) {
        let mut in_flight = InFlight::exact_up_to(10);
        requests.iter().for_each(|(start, end)| in_flight.take(Nanos(*start), Nanos(*end)));
        in_flight.sort();
        assert_eq!(in_flight.within((Nanos(window.0), Nanos(window.1))), expected);
    }

    #[test]
    fn overlap_counts_by_its_length_and_only_inside_the_window() {
        check(&[], (0, 10), (0.0, 0));
        check(&[(0, 10)], (0, 10), (1.0, 1));
        check(&[(0, 5), (5, 10)], (0, 10), (1.0, 1));
        check(&[(0, 6), (4, 10)], (0, 10), (1.2, 2));
        check(&[(0, 100), (0, 100), (0, 2)], (10, 20), (2.0, 2));
        check(&[(30, 40), (31, 40)], (10, 20), (0.0, 0));
        check(&[(3, 3)], (0, 0), (0.0, 0));
    }

    proptest! {
        #[test]
        fn cells_give_the_mean_of_the_sweep_and_no_higher_peak(
            requests in prop::collection::vec((0..3 * CELL_NANOS, 0..2 * CELL_NANOS), 1..40),
            from in 0u64..2,
            cells in 1u64..4,
        ) {
            let window = (Nanos(from * CELL_NANOS), Nanos((from + cells) * CELL_NANOS));
            let [exact, rough] = [u64::MAX, 0].map(|most_exact| {
                let mut in_flight = InFlight::exact_up_to(most_exact);
                requests.iter().for_each(|(start, took)| in_flight.take(Nanos(*start), Nanos(start + took)));
                in_flight.sort();
                in_flight.within(window)
            });
            prop_assert!((exact.0 - rough.0).abs() < 1e-6, "{exact:?} {rough:?}");
            prop_assert!(rough.1 <= exact.1);
        }
    }

    #[test]
    fn a_window_may_begin_and_end_within_a_cell() {
        let mut in_flight = InFlight::exact_up_to(0);
        (0..4).for_each(|_| in_flight.take(Nanos(0), Nanos(10 * CELL_NANOS)));
        let window = (Nanos(CELL_NANOS / 2), Nanos(3 * CELL_NANOS + CELL_NANOS / 4));
        assert_eq!(in_flight.within(window), (4.0, 4));
    }
}
