//! A guest's stack in names that its author knows.

use super::Frame;
use wasmtime::WasmBacktrace;

/// Guest-controlled: a recursion is told by its innermost calls.
const FRAMES: usize = 48;
const NAME_BYTES: usize = 200;

/// Of what a call ended with; empty if the guest was not running.
pub(crate) fn of(error: &wasmtime::Error) -> Vec<Frame> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let frames = backtrace.frames().iter().take(FRAMES);
    let frame = |frame: &wasmtime::FrameInfo| Frame {
        function: frame.func_name().map_or_else(|| format!("function {}", frame.func_index()), readable),
        offset: frame.module_offset(),
    };
    frames.map(frame).collect()
}

fn readable(name: &str) -> String {
    // Without the hash at its end.
    let mut name = format!("{:#}", rustc_demangle::demangle(name));
    name.truncate(name.floor_char_boundary(NAME_BYTES));
    // One line for each frame, whatever a component calls its functions.
    name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn names_are_told_as_they_are_written() {
        assert_eq!(readable("_ZN10order_desk4desk5place17h0123456789abcdefE"), "order_desk::desk::place");
        assert_eq!(readable("main\n[31m"), "main?[31m");
        assert_eq!(readable(&"x".repeat(5_000)).len(), 200);
    }
}
