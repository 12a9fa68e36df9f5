//! The one codec of the cluster: named MessagePack inside [`Wire`], whose decode failure is a value.

use ractor::{BytesConvertable, RpcReplyPort};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The largest message a sender lets out, in bytes. The frame limit of both sides lies above it.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// A value on the wire. What cannot be read arrives as `Err` and is counted, never a panic.
#[derive(Debug)]
pub struct Wire<T>(pub Result<T, String>);

impl<T> From<T> for Wire<T> {
    fn from(value: T) -> Self {
        Self(Ok(value))
    }
}

impl<T: Serialize + DeserializeOwned> BytesConvertable for Wire<T> {
    fn into_bytes(self) -> Vec<u8> {
        // There is no way to fail here. An empty message is none, so the receiver sees that something was amiss.
        match self.0.and_then(|value| rmp_serde::to_vec_named(&value).map_err(|e| e.to_string())) {
            Ok(bytes) if bytes.len() <= MAX_MESSAGE_BYTES => bytes,
            Ok(bytes) => {
                tracing::error!(bytes = bytes.len(), limit = MAX_MESSAGE_BYTES, "a message was too large to be sent");
                Vec::new()
            }
            Err(why) => {
                tracing::error!(why, "a message could not be written");
                Vec::new()
            }
        }
    }

    fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(rmp_serde::from_slice(&bytes).map_err(|e| e.to_string()))
    }
}

/// Why a question across the cluster got no answer, or an answer that says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum WireError {
    /// The message could not be read.
    #[error("the message could not be read: {0}")]
    Undecodable(String),
    /// The receiver refuses, and why.
    #[error("{0}")]
    Refused(String),
    /// Nothing is taken any more.
    #[error("the run is over")]
    Over,
    /// The message is larger than what a sender lets out; nothing was sent.
    #[error("the message of {bytes} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The receiver cannot take it at this moment; it may be sent again.
    #[error("not now: {0}")]
    NotNow(String),
    /// No answer came in time.
    #[error("no answer within the deadline")]
    TimedOut,
    /// The receiver or the link to it is gone.
    #[error("the node cannot be reached")]
    Unreachable,
}

/// Measures a value as it would go out. A frame over the receiver's limit would end the whole link, and
/// the sender would have been told that all is well.
///
/// # Errors
/// If it is too large, or cannot be written.
pub fn check_size<T: Serialize>(value: &T) -> Result<(), WireError> {
    let mut count = Count(0);
    let mut serializer = rmp_serde::Serializer::new(&mut count).with_struct_map();
    value.serialize(&mut serializer).map_err(|e| WireError::Undecodable(e.to_string()))?;
    match count.0 {
        bytes if bytes > MAX_MESSAGE_BYTES => Err(WireError::TooLarge { bytes, limit: MAX_MESSAGE_BYTES }),
        _ => Ok(()),
    }
}

/// Takes bytes and keeps only their number.
struct Count(usize);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What every question is answered with.
pub type Reply<T> = Wire<Result<T, WireError>>;

/// The port an answer goes to.
pub type ReplyPort<T> = RpcReplyPort<Reply<T>>;

/// Answers a question. The caller may have stopped waiting, and that is none of our troubles.
pub fn answer<T: Serialize + DeserializeOwned + Send + 'static>(port: ReplyPort<T>, value: Result<T, WireError>) {
    if port.send(Wire(Ok(value))).is_err() {
        tracing::debug!("an answer came too late for its caller");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{Beat, Bye};

    #[test]
    fn a_value_survives_the_wire_and_garbage_is_a_value() {
        let bytes = Wire::from(Beat { seq: 7, answered: 6 }).into_bytes();
        assert_eq!(Wire::<Beat>::from_bytes(bytes.clone()).0, Ok(Beat { seq: 7, answered: 6 }));
        for cut in 0..bytes.len() {
            assert!(Wire::<Beat>::from_bytes(bytes[..cut].to_vec()).0.is_err(), "cut at {cut}");
        }
        assert!(Wire::<Beat>::from_bytes(Wire::from(Bye { why: "x".into() }).into_bytes()).0.is_err());
    }

    #[test]
    fn the_limit_is_measured_in_the_bytes_that_go_out() {
        let frame = Wire::from(Bye { why: "x".repeat(70_000) }).into_bytes().len() - 70_000;
        let largest = Bye { why: "x".repeat(MAX_MESSAGE_BYTES - frame) };
        let too_large = Bye { why: "x".repeat(MAX_MESSAGE_BYTES - frame + 1) };
        assert_eq!(check_size(&largest), Ok(()));
        assert_eq!(Wire::from(largest.clone()).into_bytes().len(), MAX_MESSAGE_BYTES);
        assert_eq!(check_size(&too_large), Err(WireError::TooLarge { bytes: MAX_MESSAGE_BYTES + 1, limit: MAX_MESSAGE_BYTES }));
        assert!(Wire::<Bye>::from_bytes(Wire::from(too_large).into_bytes()).0.is_err());
    }
}
