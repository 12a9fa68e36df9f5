//! One try to reach the leader, and what stood in its way.

use std::{io, time::Duration};

use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, TlsStream};

use super::{
    events::TroubleOnTheWay,
    tls,
    transport::{self, Link},
};

/// Time for the connection, and again for the handshake.
const STEP: Duration = Duration::from_secs(2);

/// Connects and shakes hands.
pub(crate) async fn dial(address: &str, connector: &TlsConnector) -> Result<Link, TroubleOnTheWay> {
    let addresses: Vec<_> = timeout(STEP, tokio::net::lookup_host(address))
        .await
        .map_err(|_| TroubleOnTheWay::Unresolved("no answer in time".to_owned()))?
        .map_err(|e| TroubleOnTheWay::Unresolved(e.to_string()))?
        .collect();
    let stream = match timeout(STEP, TcpStream::connect(addresses.as_slice())).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) if e.kind() == io::ErrorKind::ConnectionRefused => return Err(TroubleOnTheWay::ConnectionRefused),
        Ok(Err(e)) => return Err(TroubleOnTheWay::Unreachable(e.to_string())),
        Err(_) => return Err(TroubleOnTheWay::Unreachable(format!("no connection within {} s", STEP.as_secs()))),
    };
    transport::tune(&stream).map_err(|e| TroubleOnTheWay::Unreachable(e.to_string()))?;
    match timeout(STEP, connector.connect(tls::server_name(), stream)).await {
        Ok(Ok(stream)) => Ok(Link { stream: TlsStream::Client(stream), peer: address.to_owned() }),
        Ok(Err(error)) => Err(of_handshake(&error)),
        Err(_) => Err(TroubleOnTheWay::HandshakeTimedOut(STEP)),
    }
}

/// Rustls wraps what it has against a certificate in `InvalidData`; all else is a cut connection, such as
/// of a leader that had too many at its door.
fn of_handshake(error: &io::Error) -> TroubleOnTheWay {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_)) => {
            TroubleOnTheWay::ForeignCertificate(error.to_string())
        }
        _ => TroubleOnTheWay::HandshakeCut(error.to_string()),
    }
}
