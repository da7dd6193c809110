//! Glue for `plinth:log`: bounded, escaped, and stamped with plugin and invocation.

use crate::{
    bindings::plinth::log::log::{self, Level},
    choke::Operation,
    state::CallState,
};
use std::fmt::Write;

const WRITE: Operation = Operation::new("log", "write");

/// One line for the log: control characters escaped, so that a plugin can
/// neither forge a second line nor colour the terminal.
fn line(message: &str, fields: &[(String, String)]) -> String {
    let mut text: String = message.chars().flat_map(escaped).collect();
    for (name, value) in fields {
        let _ = write!(text, " {}={:?}", name.escape_debug(), value);
    }
    text
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    let (plain, escape) = if c.is_control() { (None, Some(c.escape_default())) } else { (Some(c), None) };
    plain.into_iter().chain(escape.into_iter().flatten())
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

impl log::Host for CallState {
    fn enabled(&mut self, level: Level) -> wasmtime::Result<bool> {
        Ok(match level {
            Level::Trace => tracing::enabled!(tracing::Level::TRACE),
            Level::Debug => tracing::enabled!(tracing::Level::DEBUG),
            Level::Info => tracing::enabled!(tracing::Level::INFO),
            Level::Warn => tracing::enabled!(tracing::Level::WARN),
            Level::Error => tracing::enabled!(tracing::Level::ERROR),
        })
    }

    fn write(&mut self, level: Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        self.choke_local(WRITE)?;
        let bytes = message.len() + fields.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>();
        if !self.take_log_bytes(bytes) {
            self.version.meters.dropped_log_line();
            return Ok(());
        }
        let text = line(&message, &fields);
        if let Some(faults) = &self.version.faults {
            faults.logged(name(level), &text);
        }
        let (plugin, version, invocation) = (&self.version.info.plugin, &self.version.info.version, &self.invocation_id);
        match level {
            Level::Trace => tracing::trace!(target: "plinth::plugin", %plugin, version, invocation, "{text}"),
            Level::Debug => tracing::debug!(target: "plinth::plugin", %plugin, version, invocation, "{text}"),
            Level::Info => tracing::info!(target: "plinth::plugin", %plugin, version, invocation, "{text}"),
            Level::Warn => tracing::warn!(target: "plinth::plugin", %plugin, version, invocation, "{text}"),
            Level::Error => {
                // Kept to explain the trap that often follows a panic message.
                self.last_error_line = Some(text.chars().take(500).collect());
                tracing::error!(target: "plinth::plugin", %plugin, version, invocation, "{text}");
            }
        }
        self.trail.logged(name(level), text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_line_stays_one_line() {
        let fields = [("user\n".to_owned(), "a\u{1b}[31m\"b".to_owned())];
        assert_eq!(line("x\r\nERROR forged 申请", &fields), r#"x\r\nERROR forged 申请 user\n="a\u{1b}[31m\"b""#);
    }
}
