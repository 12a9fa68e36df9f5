//! The version of HTTP that a server is spoken to in.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A version of HTTP. Its text is the one of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum HttpVersion {
    /// Spoken wherever a server speaks it.
    #[default]
    #[serde(rename = "1.1")]
    Http1,
    /// Spoken where a server speaks nothing else.
    #[serde(rename = "2")]
    Http2,
}

impl fmt::Display for HttpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        })
    }
}
