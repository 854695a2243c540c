//! A way to the database that is long enough for a caller to really wait at every await: a server
//! next door has often answered before the caller looks.

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Leads connections through a proxy. It lives as long as the runtime; `direct` names a server over
/// TCP.
pub(super) async fn slow(direct: PgConnectOptions) -> PgConnectOptions {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = (direct.get_host().to_owned(), direct.get_port());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect((server.0.as_str(), server.1)).await;
            tokio::spawn(pass(client, server.unwrap()));
        }
    });
    direct.host("127.0.0.1").port(port)
}

/// Passes bytes on until one side closes.
async fn pass(client: TcpStream, server: TcpStream) {
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let questions = tokio::spawn(async move {
        // Fails only when a side has gone, and then there is nothing left to pass on.
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    });
    let mut answer = vec![0; 64 * 1024];
    while let Ok(bytes @ 1..) = from_server.read(&mut answer).await {
        tokio::task::yield_now().await;
        if to_client.write_all(&answer[..bytes]).await.is_err() {
            break;
        }
    }
    questions.abort();
}
