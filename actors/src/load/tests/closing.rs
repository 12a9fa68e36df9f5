//! Connections that the server closes between two requests.

use std::{future::poll_fn, pin::pin};

use hb_core::http_version::HttpVersion;

use super::*;
use crate::load::{
    connection::{Link, Stream},
    server::Server,
};

/// The answer to one request on this connection: its status, once its body was read to the end.
async fn asked(link: &mut Link, server: &Server) -> Result<u16, Kind> {
    let mut response = pin!(link.send(server.request("{}".into())));
    let response = poll_fn(|cx| link.poll_head(cx, response.as_mut())).await?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    while let Some(data) = poll_fn(|cx| link.poll_data(cx, &mut body)).await {
        data?;
    }
    Ok(status)
}

/// The close arrives after the connection was found ready and before the request is written: hyper then ends without
/// ever taking the request up.
#[tokio::test]
async fn a_request_on_a_connection_that_was_just_closed_fails_and_does_not_wait_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server =
        Server::new(&format!("http://{address}"), "/v1/completions", None, HttpVersion::Http1, || unreachable!("no TLS"))
            .unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let mut theirs = accepted.unwrap().0;
    let mut link = Link::new(Stream::Plain(client.unwrap()), HttpVersion::Http1).await.unwrap();
    let answering = async {
        read_request(&mut theirs).await.unwrap();
        theirs.write_all(json("{}").as_bytes()).await.unwrap();
    };
    assert_eq!(tokio::join!(asked(&mut link, &server), answering).0.unwrap(), 200);
    link.is_used = true;
    assert!(link.is_ready());
    drop(theirs);
    // Another connection comes and goes, so the runtime has looked at its sockets since.
    let (other, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    drop((other, accepted));
    let result = tokio::time::timeout(Duration::from_secs(10), asked(&mut link, &server)).await;
    assert!(result.expect("it is told that nobody takes the request").is_err());
    assert!(!link.is_ready());
}
