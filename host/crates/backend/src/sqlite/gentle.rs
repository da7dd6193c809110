//! Connections whose threads give way: what a plugin's statement computes must not hold up the host.

use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{runtime::Handle, sync::oneshot};

/// Added to the niceness of a connection's thread: about a third of the share
/// of a thread that serves requests when both want the processor.
const NICENESS: i32 = 5;

/// Opens a connection whose thread runs at lower priority. Must be called
/// inside a runtime. Cancel safe: an unwanted connection closes itself.
///
/// SQLx starts one thread per connection from the thread that opens it, and a
/// thread inherits the priority of the one that started it; so a thread that
/// has lowered its own does the opening, and ends.
pub(crate) async fn connect(options: &SqliteConnectOptions) -> sqlx::Result<SqliteConnection> {
    let (options, runtime) = (options.clone(), Handle::current());
    let (tell, opened) = oneshot::channel();
    let open = move || {
        // Without the right to it the connection still works, only less politely.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        if let Err(Ok(unwanted)) = tell.send(runtime.block_on(options.connect())) {
            let _ = runtime.block_on(unwanted.close());
        }
    };
    std::thread::Builder::new().name("plinth-sqlite-open".to_owned()).spawn(open).map_err(sqlx::Error::Io)?;
    opened.await.map_err(|_| sqlx::Error::WorkerCrashed)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_thread_of_a_connection_gives_way_and_ours_does_not() {
        let options = SqliteConnectOptions::new().in_memory(true).thread_name(|_| "gentle-test".to_owned());
        let connection = connect(&options).await.unwrap();
        let niceness = |task: &std::path::Path| {
            let stat = std::fs::read_to_string(task.join("stat")).unwrap_or_default();
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
            // The 19th field of the line; the state is the third.
            Some((name.to_owned(), rest.split(' ').nth(16)?.parse::<i32>().ok()?))
        };
        let tasks: Vec<(String, i32)> =
            std::fs::read_dir("/proc/self/task").unwrap().filter_map(|entry| niceness(&entry.unwrap().path())).collect();
        let ours = niceness(std::path::Path::new("/proc/thread-self")).unwrap().1;
        let theirs = tasks.iter().find(|(name, _)| name == "gentle-test").unwrap().1;
        assert_eq!(theirs, (ours + NICENESS).min(19), "{tasks:?}");
        connection.close().await.unwrap();
    }
}
