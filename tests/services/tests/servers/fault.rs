//! The proxy in front of a server that sends everything back.

use super::{PATIENCE, SILENCE, echo::Echo};
use plinth_services::{Fault, FaultProxy};
use std::{io::ErrorKind, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

const SEED: u64 = 20_260;

async fn through(fault: Fault) -> (Echo, FaultProxy, TcpStream) {
    let echo = Echo::start().await;
    let proxy = FaultProxy::start(echo.address, SEED).await.unwrap();
    proxy.set(fault);
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    (echo, proxy, client)
}

async fn exchange(client: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    client.write_all(bytes).await.unwrap();
    let mut answer = vec![0; bytes.len()];
    timeout(PATIENCE, client.read_exact(&mut answer)).await.expect("an answer in time").unwrap();
    answer
}

async fn end(client: &mut TcpStream) -> std::io::Result<usize> {
    timeout(PATIENCE, client.read_to_end(&mut Vec::new())).await.expect("an end in time")
}

async fn is_reset(client: &mut TcpStream) {
    assert_eq!(end(client).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251) as u8).collect()
}

#[tokio::test]
async fn pass_carries_everything_both_ways_and_ends_as_the_client_does() {
    let (mut echo, proxy, mut client) = through(Fault::Pass).await;
    let sent = noise(300_000);
    let (mut read, mut write) = client.split();
    let mut answer = Vec::new();
    let (wrote, got) = tokio::join!(
        async {
            write.write_all(&sent).await?;
            write.shutdown().await
        },
        read.read_to_end(&mut answer)
    );
    wrote.unwrap();
    assert_eq!(got.unwrap(), sent.len());
    assert!(answer == sent, "the bytes come back as they were");
    assert_eq!(echo.ended.recv().await, Some(sent.len()));
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn latency_delays_and_does_not_add_up() {
    let (base, jitter) = (Duration::from_millis(100), Duration::from_millis(20));
    let (_echo, _proxy, mut client) = through(Fault::Latency { base, jitter }).await;
    let started = Instant::now();
    client.set_nodelay(true).unwrap();
    for byte in noise(20) {
        client.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = vec![0; 20];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, noise(20), "in order");
    let took = started.elapsed();
    assert!(took >= base * 2, "{took:?}");
    assert!(took < base * 20, "delays overlap: {took:?}");
}

#[tokio::test]
async fn bandwidth_limits_and_something_arrives_all_the_while() {
    let (_echo, _proxy, mut client) = through(Fault::Bandwidth { bytes_per_s: 10_000 }).await;
    let started = Instant::now();
    client.write_all(&noise(3000)).await.unwrap();
    let mut first = [0];
    client.read_exact(&mut first).await.unwrap();
    let at_first = started.elapsed();
    let mut rest = vec![0; 2999];
    client.read_exact(&mut rest).await.unwrap();
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(290), "{took:?}");
    assert!(at_first < took / 2, "the first byte after {at_first:?} of {took:?}");
}

#[tokio::test]
async fn reset_ends_open_connections_and_new_ones() {
    let (_echo, proxy, mut client) = through(Fault::Pass).await;
    assert_eq!(exchange(&mut client, b"a").await, b"a");
    proxy.set(Fault::Reset);
    is_reset(&mut client).await;
    let mut another = TcpStream::connect(proxy.address()).await.unwrap();
    is_reset(&mut another).await;
    assert_eq!(proxy.connections(), 2, "the one that was ended at once counts");

    proxy.set(Fault::Pass);
    let mut third = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(exchange(&mut third, b"b").await, b"b");
}

#[tokio::test]
async fn a_short_reset_is_not_slept_through_and_reset_all_spares_later_ones() {
    let (_echo, proxy, mut client) = through(Fault::Pass).await;
    assert_eq!(exchange(&mut client, b"a").await, b"a");
    proxy.set(Fault::Reset);
    proxy.set(Fault::Pass);
    is_reset(&mut client).await;

    let mut second = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(exchange(&mut second, b"b").await, b"b");
    proxy.reset_all();
    is_reset(&mut second).await;
    let mut third = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(exchange(&mut third, b"c").await, b"c");
}

#[tokio::test]
async fn a_black_hole_holds_everything_back_until_it_ends() {
    let (_echo, proxy, mut client) = through(Fault::Pass).await;
    assert_eq!(exchange(&mut client, b"a").await, b"a");
    proxy.set(Fault::BlackHole);
    client.write_all(b"b").await.unwrap();
    let mut new = TcpStream::connect(proxy.address()).await.expect("connecting works");
    new.write_all(b"c").await.unwrap();
    let mut byte = [0];
    timeout(SILENCE, client.read_exact(&mut byte)).await.expect_err("an open connection is silent");
    timeout(SILENCE, new.read_exact(&mut byte)).await.expect_err("a new connection is silent");

    proxy.set(Fault::Pass);
    client.read_exact(&mut byte).await.unwrap();
    assert_eq!(&byte, b"b");
    new.read_exact(&mut byte).await.unwrap();
    assert_eq!(&byte, b"c");
}

#[tokio::test]
async fn lost_replies_were_executed_and_a_stream_with_a_hole_is_reset() {
    let (mut echo, proxy, mut client) = through(Fault::LoseReplies).await;
    client.write_all(b"abc").await.unwrap();
    timeout(SILENCE, client.read_u8()).await.expect_err("the reply is lost");
    proxy.set(Fault::Pass);
    is_reset(&mut client).await;
    assert_eq!(echo.ended.recv().await, Some(3), "the request arrived");

    proxy.set(Fault::LoseReplies);
    let mut idle = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.set(Fault::Pass);
    assert_eq!(exchange(&mut idle, b"d").await, b"d", "one that lost nothing goes on");
}

#[tokio::test]
async fn a_half_open_connection_ends_for_the_server_only() {
    let (mut echo, proxy, mut client) = through(Fault::Pass).await;
    assert_eq!(exchange(&mut client, b"a").await, b"a");
    proxy.set(Fault::HalfOpen);
    assert_eq!(timeout(PATIENCE, echo.ended.recv()).await.unwrap(), Some(1), "the server saw the end");
    client.write_all(b"into the void").await.unwrap();
    timeout(SILENCE, client.read_u8()).await.expect_err("the client sees nothing");
    proxy.set(Fault::Pass);
    is_reset(&mut client).await;
}

#[tokio::test]
async fn slices_are_small_and_complete() {
    let (_echo, _proxy, mut client) = through(Fault::Slice { max_bytes: 3 }).await;
    client.write_all(&noise(300)).await.unwrap();
    let (mut answer, mut reads, mut buffer) = (Vec::new(), 0, [0; 300]);
    while answer.len() < 300 {
        let read = client.read(&mut buffer).await.unwrap();
        assert!(read > 0);
        answer.extend_from_slice(&buffer[..read]);
        reads += 1;
    }
    assert_eq!(answer, noise(300));
    assert!(reads > 1, "one write arrived in one piece");
}

#[tokio::test]
async fn corruption_changes_some_bytes_the_same_ones_each_time() {
    let mut answers = Vec::new();
    for _ in 0..2 {
        let (_echo, _proxy, mut client) = through(Fault::Corrupt { one_in: 50 }).await;
        // One at a time: how reads fall must not matter.
        let mut answer = Vec::new();
        for byte in noise(500) {
            answer.extend(exchange(&mut client, &[byte]).await);
        }
        answers.push(answer);
    }
    let changed = answers[0].iter().zip(noise(500)).filter(|(got, sent)| **got != *sent).count();
    assert!((5..80).contains(&changed), "{changed} of 500 bytes changed, some 20 expected");
    assert_eq!(answers[0], answers[1], "seed {SEED}");
}

#[tokio::test]
async fn close_after_counts_replies_from_when_it_was_set() {
    let (_echo, proxy, mut client) = through(Fault::Pass).await;
    assert_eq!(exchange(&mut client, b"not counted").await, b"not counted");
    proxy.set(Fault::CloseAfter { bytes: 4 });
    client.write_all(b"torn reply").await.unwrap();
    let mut got = Vec::new();
    timeout(PATIENCE, client.read_to_end(&mut got)).await.unwrap().expect("an orderly end");
    assert_eq!(got, b"torn");
}

#[tokio::test]
async fn without_a_server_the_client_is_reset() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = FaultProxy::start(free, SEED).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    is_reset(&mut client).await;
}
