//! Threads that answer take the processor as soon as they wake, from whoever computes.

use std::ffi::c_int;

/// The shortest slice Linux allows. A thread that wakes takes the processor at
/// once from one whose slice is longer; it does not get a larger share by it.
/// Without this it waits for the end of the other's slice, 1.4 ms on a machine
/// of two cores, however low the other's priority.
const SLICE_NS: u64 = 100_000;
const RESET_ON_FORK: u64 = 1;

/// Asks for short slices for the calling thread, and not for threads that it
/// starts. Linux before 6.12 ignores the wish, and a sandbox may refuse it:
/// then the host works as before, only less promptly.
#[expect(unsafe_code, reason = "no library of ours offers this system call")]
pub fn ask_for_short_slices() {
    let mine = rustix::process::getpriority_process(None).unwrap_or(0);
    // A fair thread has no other field; they must be zero.
    let mut wish = libc::sched_attr {
        size: u32::try_from(size_of::<libc::sched_attr>()).unwrap_or(0),
        sched_policy: 0,
        sched_flags: RESET_ON_FORK,
        sched_nice: mine,
        sched_priority: 0,
        sched_runtime: SLICE_NS,
        sched_deadline: 0,
        sched_period: 0,
    };
    let (this_thread, flags): (c_int, c_int) = (0, 0);
    // SAFETY: the kernel reads `size` bytes of a live value, and may write its own size into the first field.
    let refused = unsafe { libc::syscall(libc::SYS_sched_setattr, this_thread, &raw mut wish, flags) } != 0;
    if refused {
        tracing::debug!(error = %std::io::Error::last_os_error(), "short slices are not to be had");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Niceness, and the slice where this kernel says it.
    fn now() -> (i32, Option<String>) {
        let told = std::fs::read_to_string("/proc/thread-self/sched").unwrap_or_default();
        let slice = told.lines().find_map(|line| line.strip_prefix("se.slice")?.split(':').nth(1).map(|slice| slice.trim().to_owned()));
        (rustix::process::getpriority_process(None).unwrap(), slice)
    }

    #[test]
    fn the_slice_is_short_the_priority_stays_and_children_have_the_usual_one() {
        std::thread::spawn(|| {
            let (niceness, usual) = now();
            ask_for_short_slices();
            let short = usual.is_some().then(|| SLICE_NS.to_string());
            assert_eq!(now(), (niceness, short));
            assert_eq!(std::thread::spawn(now).join().unwrap(), (niceness, usual));
        })
        .join()
        .unwrap();
    }
}
