//! What hyper's errors are called in rows, whichever version of HTTP was spoken.

use std::{error::Error, io};

use h2::Reason;
use hb_core::record::Kind;

/// Why no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trouble {
    pub kind: Kind,
    /// Whether the server answered to this very request, if only by giving up its stream.
    pub was_taken_up: bool,
    /// Whether the connection was reset, and not closed. The system tells a reset that follows a close otherwise.
    pub was_reset: bool,
}

/// Why the answer's head did not come.
pub(super) fn head_trouble(error: &hyper::Error) -> Trouble {
    let of_stream = cause::<h2::Error>(error);
    let kind = match of_stream {
        Some(error) if error.is_library() => Kind::Protocol,
        _ if error.is_parse() => Kind::Protocol,
        _ => Kind::Reset,
    };
    let is_refused = |error: &h2::Error| error.reason() == Some(Reason::REFUSED_STREAM);
    Trouble {
        kind,
        was_taken_up: of_stream.is_some_and(|error| error.is_reset() && !is_refused(error)),
        was_reset: cause::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionReset),
    }
}

/// Why the answer's body did not end.
pub(super) fn body_kind(error: &hyper::Error) -> Kind {
    if let Some(error) = cause::<h2::Error>(error) {
        return match error.get_io().map(io::Error::kind) {
            // To h2 a connection that ends while an answer comes is a broken pipe.
            Some(io::ErrorKind::BrokenPipe) => Kind::Truncated,
            Some(kind) => of_io(kind),
            None if error.is_library() => Kind::Protocol,
            // The server gave up the answer and said so.
            None => Kind::ResetMidway,
        };
    }
    cause::<io::Error>(error).map_or(Kind::Truncated, |error| of_io(error.kind()))
}

fn of_io(kind: io::ErrorKind) -> Kind {
    match kind {
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => Kind::ResetMidway,
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Kind::Protocol,
        _ => Kind::Truncated,
    }
}

fn cause<E: Error + 'static>(error: &hyper::Error) -> Option<&E> {
    error.source()?.downcast_ref()
}
