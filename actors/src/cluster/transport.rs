//! A link as the NodeServer is given it: TLS over a socket that notices a dead peer.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream};
use rustix::net::sockopt;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};
use tokio_rustls::TlsStream;

use super::IDLE;

/// Sets what every link needs: no delay, and a kernel that gives up on a peer that acknowledges nothing.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(5))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(stream, 2)?;
    sockopt::set_tcp_user_timeout(stream, u32::try_from(IDLE.as_millis()).expect("the idle limit is seconds"))?;
    Ok(())
}

/// An encrypted link.
pub(crate) struct Link {
    pub(crate) stream: TlsStream<TcpStream>,
    /// The peer's address, for the log.
    pub(crate) peer: String,
}

impl ClusterBidiStream for Link {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        let (read, write) = tokio::io::split(self.stream);
        (Box::new(IdleRead::new(read, IDLE)), Box::new(write))
    }

    fn peer_label(&self) -> Option<String> {
        Some(self.peer.clone())
    }
}

/// A reader that fails when nothing came for too long. ractor_cluster pings its peer every 1 to 5 s and
/// does nothing about a missing answer, so that a frozen process or a cut cable would go unnoticed for as
/// long as TCP bears it.
struct IdleRead<R> {
    inner: R,
    limit: Duration,
    deadline: Pin<Box<Sleep>>,
}

impl<R> IdleRead<R> {
    fn new(inner: R, limit: Duration) -> Self {
        Self { inner, limit, deadline: Box::pin(tokio::time::sleep(limit)) }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for IdleRead<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let Poll::Ready(result) = read {
            if buf.filled().len() > before {
                let deadline = Instant::now() + self.limit;
                self.deadline.as_mut().reset(deadline);
            }
            return Poll::Ready(result);
        }
        match self.deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer is silent"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_link_and_talk_keeps_it() {
        let (near, mut far) = duplex(64);
        let mut read = IdleRead::new(near, Duration::from_secs(15));
        for _ in 0..4 {
            tokio::time::advance(Duration::from_secs(10)).await;
            far.write_all(b"x").await.unwrap();
            assert_eq!(read.read_u8().await.unwrap(), b'x');
        }
        assert_eq!(read.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
