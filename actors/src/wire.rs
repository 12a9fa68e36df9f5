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
        let encoded = self.0.and_then(|value| rmp_serde::to_vec_named(&value).map_err(|e| e.to_string()));
        encoded.unwrap_or_default()
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
    /// No answer came in time.
    #[error("no answer within the deadline")]
    TimedOut,
    /// The receiver or the link to it is gone.
    #[error("the node cannot be reached")]
    Unreachable,
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
