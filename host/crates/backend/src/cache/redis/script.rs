//! The programs that run inside Redis, each by its digest.

use redis::{Cmd, ErrorKind, RedisError, Script, ServerErrorKind};

/// One program. Its keys have the hash tag of their bucket, also those it
/// derives from what it reads, so on a cluster they are all on one node.
pub(super) struct Program {
    code: &'static str,
    digest: String,
}

impl Program {
    fn new(code: &'static str) -> Self {
        Self { code, digest: Script::new(code).get_hash().to_owned() }
    }

    /// A call by digest; arguments follow, keys first.
    pub(super) fn call(&self, keys: usize) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&self.digest).arg(keys);
        cmd
    }

    /// The same call with the whole code, which also makes the server remember it.
    pub(super) fn with_code(&self, call: &Cmd) -> Cmd {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(self.code);
        for arg in call.args_iter().skip(2) {
            if let redis::Arg::Simple(bytes) = arg {
                cmd.arg(bytes);
            }
        }
        cmd
    }
}

/// The server has restarted or was never asked before: it ran nothing.
pub(super) fn is_unknown(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

pub(super) struct Programs {
    pub(super) set: Program,
    pub(super) touch: Program,
    pub(super) increment: Program,
    pub(super) invalidate: Program,
    pub(super) account: Program,
}

impl Programs {
    pub(super) fn new() -> Self {
        Self {
            set: Program::new(include_str!("lua/set.lua")),
            touch: Program::new(include_str!("lua/touch.lua")),
            increment: Program::new(include_str!("lua/increment.lua")),
            invalidate: Program::new(include_str!("lua/invalidate.lua")),
            account: Program::new(include_str!("lua/account.lua")),
        }
    }
}
