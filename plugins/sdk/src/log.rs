//! Structured log lines. The host adds plugin, version, invocation and trace;
//! logging never fails the caller.

use crate::bindings::plinth::log::log;
pub use crate::bindings::plinth::log::log::Level;
use std::sync::Once;

/// Whether the host would keep a message of this level, to save the work of
/// building one it would drop.
pub fn enabled(level: Level) -> bool {
    log::enabled(level)
}

/// Writes one line; the macros [`info!`](crate::info) and its kin read better.
pub fn write(level: Level, message: &str, fields: &[(String, String)]) {
    log::write(level, message, fields);
}

/// Has a panic written to the host's log before the call traps.
#[doc(hidden)]
pub fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let text = panic.payload_as_str().unwrap_or("a panic without a text");
            write(Level::Error, "the plugin panicked", &[("panic".to_owned(), text.to_owned()), ("at".to_owned(), place)]);
        }));
    });
}

/// Leaves a panic to end as a bare trap.
#[doc(hidden)]
pub fn ignore_panics() {}

/// Writes a line with fields at a given level: `log_at!(Level::Info, "text", name = value)`.
#[macro_export]
macro_rules! log_at {
    ($level:expr, $message:expr $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::log::write($level, ::core::convert::AsRef::<str>::as_ref(&$message), &[
            $((::std::string::String::from(::core::stringify!($name)), ::std::string::ToString::to_string(&$value))),*
        ])
    };
}

/// Logs at level `trace`, if the host keeps that level.
#[macro_export]
macro_rules! trace {
    ($($line:tt)+) => {
        if $crate::log::enabled($crate::log::Level::Trace) {
            $crate::log_at!($crate::log::Level::Trace, $($line)+);
        }
    };
}

/// Logs at level `debug`, if the host keeps that level.
#[macro_export]
macro_rules! debug {
    ($($line:tt)+) => {
        if $crate::log::enabled($crate::log::Level::Debug) {
            $crate::log_at!($crate::log::Level::Debug, $($line)+);
        }
    };
}

/// Logs at level `info`: `info!("saw an event", topic = event.topic)`.
#[macro_export]
macro_rules! info {
    ($($line:tt)+) => { $crate::log_at!($crate::log::Level::Info, $($line)+) };
}

/// Logs at level `warn`.
#[macro_export]
macro_rules! warn {
    ($($line:tt)+) => { $crate::log_at!($crate::log::Level::Warn, $($line)+) };
}

/// Logs at level `error`: someone must act.
#[macro_export]
macro_rules! error {
    ($($line:tt)+) => { $crate::log_at!($crate::log::Level::Error, $($line)+) };
}
