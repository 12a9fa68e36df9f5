//! Who may stand at the door: the handshakes that are under way, and which of them has to go when a
//! newcomer finds no room. Silent strangers so never keep a node out; they only push out each other.

use std::{collections::VecDeque, net::IpAddr};

/// Handshakes under way at one time.
pub const MAX_PENDING: usize = 64;
/// Of these, from one address.
pub const MAX_PENDING_PER_ADDRESS: usize = 8;

/// The handshakes under way, oldest first.
#[derive(Debug)]
pub struct Pending<K> {
    entries: VecDeque<(K, IpAddr)>,
}

impl<K> Default for Pending<K> {
    fn default() -> Self {
        Self { entries: VecDeque::new() }
    }
}

impl<K: Copy + PartialEq> Pending<K> {
    /// Makes room for a connection from this address: the one that has to go, if any.
    pub fn make_room(&mut self, address: IpAddr) -> Option<(K, IpAddr)> {
        let of_address = self.entries.iter().filter(|(_, from)| *from == address).count();
        let oldest = if of_address >= MAX_PENDING_PER_ADDRESS {
            self.entries.iter().position(|(_, from)| *from == address)
        } else {
            (self.entries.len() >= MAX_PENDING).then_some(0)
        };
        oldest.and_then(|index| self.entries.remove(index))
    }

    /// A handshake began.
    pub fn began(&mut self, key: K, address: IpAddr) {
        self.entries.push_back((key, address));
    }

    /// A handshake ended, in whatever way: where it came from, unless it had to go before.
    pub fn ended(&mut self, key: K) -> Option<IpAddr> {
        let index = self.entries.iter().position(|(other, _)| *other == key)?;
        self.entries.remove(index).map(|(_, address)| address)
    }

    /// How many are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn knock(pending: &mut Pending<u32>, key: u32, from: u8) -> Option<u32> {
        let gone = pending.make_room(address(from)).map(|(key, _)| key);
        pending.began(key, address(from));
        gone
    }

    #[test]
    fn one_address_pushes_out_only_its_own() {
        let mut pending = Pending::default();
        assert_eq!(knock(&mut pending, 0, 1), None);
        let gone: Vec<_> = (1..=10).map(|key| knock(&mut pending, key, 2)).collect();
        assert_eq!(gone[..8], [None; 8]);
        assert_eq!(gone[8..], [Some(1), Some(2)]);
        assert_eq!(pending.ended(0), Some(address(1)));
    }

    #[test]
    fn at_the_cap_the_oldest_of_all_goes() {
        let mut pending = Pending::default();
        for key in 0..MAX_PENDING as u32 {
            assert_eq!(knock(&mut pending, key, (key / 4) as u8), None);
        }
        assert_eq!(knock(&mut pending, 1000, 99), Some(0));
        assert_eq!(knock(&mut pending, 1001, 98), Some(1));
        assert_eq!(pending.len(), MAX_PENDING);
    }

    #[test]
    fn what_ended_makes_room_once() {
        let mut pending = Pending::default();
        for key in 0..8 {
            knock(&mut pending, key, 1);
        }
        assert!(pending.ended(3).is_some());
        assert!(pending.ended(3).is_none());
        assert_eq!(knock(&mut pending, 8, 1), None);
        assert_eq!(knock(&mut pending, 9, 1), Some(0));
    }
}
