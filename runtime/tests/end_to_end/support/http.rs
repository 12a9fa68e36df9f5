//! One question over HTTP/1.0, which is answered in one piece and ends with the connection.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

/// An answer waits this long for its next byte at most.
const PATIENCE: Duration = Duration::from_secs(15);

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("`{}` is no JSON: {error}", self.body))
    }
}

/// `GET path` of `host:port`.
pub fn get(address: &str, path: &str) -> Answer {
    send(address, "GET", path, None, "").unwrap()
}

/// `POST path` of `host:port`, with a bearer token if there is one.
pub fn post(address: &str, path: &str, token: Option<&str>, body: &str) -> Answer {
    send(address, "POST", path, token, body).unwrap()
}

/// Asks; an error where nobody answers.
pub fn send(address: &str, method: &str, path: &str, token: Option<&str>, body: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let bearer = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: {address}\r\n{bearer}Content-Length: {length}\r\n\r\n{body}")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| std::io::Error::other(format!("no answer but `{text}`")))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Answer { status: status.ok_or_else(|| std::io::Error::other(head.to_owned()))?, body: body.to_owned() })
}
