//! Bytes of answers that have come and are not read: evidence that it is the client that is slow.
//!
//! A thread of its own looks into the receive queues, as the load's workers could look only when they have the time to
//! read, and would find little there. A socket cannot be asked while another thread owns it, so its file is held twice.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hb_core::sockets;

use super::{LoadError, ledger::Ledger, side_thread::SideThread};
use crate::limits;

/// Between two looks lie from half of this to one and a half, evenly spread, so that no server's beat is met again and again.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// The golden ratio: its multiples leave the most even remainders.
const SPREAD: f64 = 0.618_033_988_749_895;

/// The receive queues of a share's open connections. Of many, some stand for the others.
#[derive(Clone)]
pub(super) struct ReceiveQueues(Arc<Mutex<Queues>>);

struct Queues {
    /// Open connections.
    open: u64,
    /// Those of them that are looked at, and how many that may be.
    watched: BTreeMap<u64, Watched>,
    most: u64,
    next: u64,
}

struct Watched {
    file: OwnedFd,
    is_answering: Answering,
}

/// Whether a connection has a request on it. What a server sends on an idle one, such as its farewell, is nobody's answer.
pub(super) type Answering = Arc<AtomicBool>;

/// An open connection's place among the others, to be dropped together with it: only then is the connection closed.
pub(super) struct Place {
    queues: ReceiveQueues,
    number: u64,
    pub(super) is_answering: Answering,
}

impl Default for ReceiveQueues {
    fn default() -> Self {
        let most = sockets::watched(limits::sockets().open_files.map(|(most, _)| most));
        Self(Arc::new(Mutex::new(Queues { open: 0, watched: BTreeMap::new(), most, next: 0 })))
    }
}

impl ReceiveQueues {
    /// A place for this socket. One whose file cannot be held twice is not looked at.
    pub fn enter(&self, socket: impl AsFd) -> Place {
        let mut queues = self.queues();
        let number = queues.next;
        queues.next += 1;
        queues.open += 1;
        let is_answering = Answering::default();
        if (queues.watched.len() as u64) < queues.most
            && let Ok(file) = socket.as_fd().try_clone_to_owned()
        {
            queues.watched.insert(number, Watched { file, is_answering: is_answering.clone() });
        }
        Place { queues: self.clone(), number, is_answering }
    }

    /// Bytes of answers that lie unread in all queues now; `None` where none of the open ones is looked at.
    fn unread(&self) -> Option<u64> {
        let queues = self.queues();
        let answering = queues.watched.values().filter(|watched| watched.is_answering.load(Ordering::Relaxed));
        let seen: u64 = answering.map(|watched| rustix::io::ioctl_fionread(&watched.file).unwrap_or(0)).sum();
        match queues.watched.len() as u64 {
            watched if watched == queues.open => Some(seen),
            0 => None,
            watched => Some((seen as f64 / watched as f64 * queues.open as f64) as u64),
        }
    }

    /// Looks again and again, until what is returned is dropped.
    pub fn watch(&self, ledger: Arc<Ledger>) -> Result<SideThread, LoadError> {
        let queues = self.clone();
        SideThread::start("load-watch", move |pauses| {
            let mut place = 0.0;
            while !pauses.are_over() {
                pauses.wait(BETWEEN_LOOKS.mul_f64(0.5 + place));
                place = (place + SPREAD).fract();
                queues.unread().into_iter().for_each(|bytes| ledger.saw_unread(bytes));
            }
        })
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.queues.queues();
        queues.open -= 1;
        queues.watched.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// Both ends of a connection, ours first.
    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    fn queues(most: u64) -> ReceiveQueues {
        let queues = ReceiveQueues::default();
        queues.queues().most = most;
        queues
    }

    #[test]
    fn what_has_come_lies_there_until_it_is_read() {
        let queues = queues(8);
        let (mut ours, mut theirs) = connection();
        let (other, _open) = connection();
        let places = [queues.enter(&ours), queues.enter(&other)];
        assert_eq!(queues.unread(), Some(0));
        theirs.write_all(&[7; 1000]).unwrap();
        ours.read_exact(&mut [0; 400]).unwrap();
        assert_eq!(queues.unread(), Some(0), "nobody waits for an answer there");
        places[0].is_answering.store(true, Ordering::Relaxed);
        assert_eq!(queues.unread(), Some(600));
        ours.read_exact(&mut [0; 600]).unwrap();
        assert_eq!(queues.unread(), Some(0));
        drop(places);
        let queues = queues.queues();
        assert_eq!((queues.open, queues.watched.len()), (0, 0));
    }

    #[test]
    fn some_connections_stand_for_all() {
        let queues = queues(2);
        let ends: Vec<_> = (0..6).map(|_| connection()).collect();
        let places: Vec<_> = ends.iter().map(|(ours, _)| queues.enter(ours)).collect();
        for (ours, theirs) in &ends {
            (&*theirs).write_all(&[7; 100]).unwrap();
            ours.peek(&mut [0; 100]).unwrap();
        }
        assert_eq!(queues.queues().watched.len(), 2);
        places.iter().for_each(|place| place.is_answering.store(true, Ordering::Relaxed));
        assert_eq!(queues.unread(), Some(600));
        drop(places);
        let place = self::queues(0).enter(&ends[0].0);
        assert_eq!(place.queues.unread(), None);
    }

    #[test]
    fn a_connection_that_is_dropped_with_its_place_is_closed() {
        let queues = queues(8);
        let (ours, mut theirs) = connection();
        let place = queues.enter(&ours);
        drop((ours, place));
        assert_eq!(theirs.read(&mut [0; 1]).unwrap(), 0);
    }
}
