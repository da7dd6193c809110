//! A question to a Redis server, as little of its protocol as readiness needs.

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// The longest answer that is read: `INFO` has a few kilobytes.
const MOST: usize = 1 << 20;

/// Sends one command over a fresh connection and answers its text. Words must not contain spaces.
pub(crate) async fn ask(port: u16, command: &str) -> Result<String> {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
    stream.write_all(format!("{command}\r\n").as_bytes()).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let line = line.trim_end();
    match line.split_at_checked(1).with_context(|| format!("`{command}` got no answer"))? {
        ("+" | ":", text) => Ok(text.to_owned()),
        ("$", length) => {
            let length: usize = length.parse()?;
            if length > MOST {
                bail!("`{command}` answers {length} bytes");
            }
            let mut text = vec![0; length];
            stream.read_exact(&mut text).await?;
            Ok(String::from_utf8(text)?)
        }
        _ => bail!("`{command}` was answered by: {line}"),
    }
}

/// A value of the `key:value` lines that `INFO` and `CLUSTER INFO` answer.
pub(crate) fn field<'a>(info: &'a str, key: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.split_once(':').filter(|(name, _)| *name == key).map(|(_, value)| value.trim_end()))
}
