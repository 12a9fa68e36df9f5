//! Requests in flight, from their stamps: a sweep over starts and ends, not a count per second, which would
//! count a request in every second that it touches.

use crate::units::Nanos;

/// Mean over the window, weighted by time, and the most at one instant; starts and ends are each in order.
pub(super) fn in_flight(starts: &[u64], ends: &[u64], window: (Nanos, Nanos)) -> (f64, u32) {
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
    use super::*;

    fn check(requests: &[(u64, u64)], window: (u64, u64), expected: (f64, u32)) {
        let (mut starts, mut ends): (Vec<u64>, Vec<u64>) = requests.iter().copied().unzip();
        starts.sort_unstable();
        ends.sort_unstable();
        assert_eq!(in_flight(&starts, &ends, (Nanos(window.0), Nanos(window.1))), expected);
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
}
