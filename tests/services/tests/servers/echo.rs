//! A server that sends everything back, and can tell what reached it.

use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};

/// Sends back what it gets, and says when a connection of it has ended and how much came by it.
pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    pub(crate) ended: mpsc::Receiver<usize>,
    _tasks: JoinSet<()>,
}

impl Echo {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, ended) = mpsc::channel(16);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(echo(stream, tell.clone()));
            }
        });
        Self { address, ended, _tasks: tasks }
    }
}

async fn echo(mut stream: TcpStream, tell: mpsc::Sender<usize>) {
    let (mut buffer, mut total) = (vec![0; 4096], 0);
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        total += read;
        if stream.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    tell.send(total).await.unwrap();
}
