//! A private Redis.

use super::{PATIENCE, SILENCE};
use plinth_services::{Redis, RedisOptions};
use redis::{AsyncCommands, Client, aio::MultiplexedConnection};
use tokio::time::timeout;

async fn connect(url: &str) -> MultiplexedConnection {
    Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

#[tokio::test]
async fn an_acknowledged_write_survives_a_kill_and_the_address_stays() {
    let server = Redis::start(RedisOptions { appendonly: true, ..RedisOptions::default() }).await.unwrap();
    let url = server.url();
    let _: () = connect(&url).await.set("k", "v").await.unwrap();

    server.kill().await.unwrap();
    server.kill().await.expect("killing the dead is no error");
    Client::open(url.as_str()).unwrap().get_multiplexed_async_connection().await.expect_err("nobody listens");

    server.restart().await.unwrap();
    assert_eq!(server.url(), url);
    assert_eq!(connect(&url).await.get::<_, String>("k").await.unwrap(), "v");
}

#[tokio::test]
async fn a_paused_one_takes_the_request_and_answers_it_when_resumed() {
    let server = Redis::start(RedisOptions::default()).await.unwrap();
    let mut connection = connect(&server.url()).await;
    connection.set_response_timeout(PATIENCE);

    server.pause().unwrap();
    let mut command = redis::cmd("INCR");
    let asked = command.arg("n").query_async::<u64>(&mut connection);
    tokio::pin!(asked);
    timeout(SILENCE, &mut asked).await.expect_err("no answer while it is paused");
    server.resume().unwrap();
    assert_eq!(asked.await.unwrap(), 1);
}

#[tokio::test]
async fn a_user_is_held_to_its_keys() {
    let acl_users = vec!["user app on >secret ~app:* +@all".to_owned(), "user default off".to_owned()];
    let server = Redis::start(RedisOptions { acl_users, ..RedisOptions::default() }).await.unwrap();
    let url = server.url().replace("redis://", "redis://app:secret@");
    let mut connection = connect(&url).await;
    let _: () = connection.set("app:k", "v").await.unwrap();
    let refused = connection.set::<_, _, ()>("other:k", "v").await.unwrap_err();
    assert_eq!(refused.code(), Some("NOPERM"), "{refused}");

    let refused = connect(&server.url()).await.get::<_, Option<String>>("app:k").await.unwrap_err();
    assert_eq!(refused.code(), Some("NOAUTH"), "{refused}");
}

#[tokio::test]
async fn its_certificate_is_trusted_by_who_knows_the_authority() {
    let server = Redis::start(RedisOptions { tls: true, ..RedisOptions::default() }).await.unwrap();
    let (url, authority) = server.tls_url().unwrap();
    let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(authority.as_bytes().to_vec()) };
    let client = Client::build_with_tls(url.as_str(), certificates).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let _: () = connection.set("k", "v").await.unwrap();

    let stranger = Client::open(url.as_str()).unwrap();
    stranger.get_multiplexed_async_connection().await.expect_err("an authority nobody knows");
}

#[tokio::test]
async fn one_that_does_not_start_says_why_in_its_own_words() {
    let acl_users = vec!["user app +nonsense".to_owned()];
    let error = Redis::start(RedisOptions { acl_users, ..RedisOptions::default() }).await.unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("redis-server is not ready") && text.contains("it ended"), "{text}");
    assert!(text.contains("Unknown command or category name in ACL"), "the server's log: {text}");
}
