//! `plinth invocation`: calls that failed on a host, and why.

use super::{
    Done, Remote, block_on,
    client::{Invocation, InvocationDetail, Invocations},
};
use clap::Subcommand;
use comfy_table::Table;

#[derive(Subcommand)]
pub(super) enum InvocationCommand {
    /// Calls that failed, the newest first.
    List {
        /// Only those of this plugin.
        #[arg(long)]
        plugin: Option<String>,
        /// At most so many, 1 to 1000.
        #[arg(long, default_value_t = 20)]
        limit: u32,
        #[command(flatten)]
        remote: Remote,
    },
    /// One of them: outcome, stack, the last log lines and capability calls. Sensitive values are masked.
    Show {
        /// As the header `plinth-invocation` and the host's log have it.
        id: String,
        #[command(flatten)]
        remote: Remote,
    },
}

impl InvocationCommand {
    pub(super) fn run(self) -> Done {
        match self {
            Self::List { plugin, limit, remote } => {
                let list = block_on(async { Ok(remote.client()?.invocations(plugin.as_deref(), limit).await?) })?;
                remote.print(list, |list: Invocations| table(&list))
            }
            Self::Show { id, remote } => {
                let detail = block_on(async { Ok(remote.client()?.invocation(&id).await?) })?;
                remote.print(detail, |detail: InvocationDetail| shown(&detail))
            }
        }
    }
}

fn table(list: &Invocations) -> String {
    let mut table = Table::new();
    table.set_header(["invocation", "plugin", "hook", "outcome", "took", "message"]);
    for Invocation { id, plugin, version, hook, outcome, took_us, message, .. } in &list.invocations {
        let message: String = message.chars().take(80).collect();
        table.add_row([
            id.clone(),
            format!("{plugin} {version}"),
            hook.clone(),
            outcome.clone(),
            format!("{} ms", took_us / 1_000),
            message,
        ]);
    }
    match list.passed_over {
        0 => table.to_string(),
        more => format!("{table}\nNothing was kept of {more} more: there were too many at once."),
    }
}

fn shown(detail: &InvocationDetail) -> String {
    let InvocationDetail { invocation: call, stack, log, stderr, calls, calls_made } = detail;
    let mut text = format!("{} of {} {} ({}): {}\n{}\n", call.hook, call.plugin, call.version, call.digest, call.outcome, call.message);
    text.push_str(&format!(
        "attempt {}, generation {}, {} ms, {} ms of CPU, {} bytes of memory\n",
        call.attempt,
        call.generation,
        call.took_us / 1_000,
        call.cpu_us / 1_000,
        call.memory_bytes
    ));
    let frames = stack.iter().map(|frame| match frame.offset {
        Some(offset) => format!("{} at {offset:#x}", frame.function),
        None => frame.function.clone(),
    });
    let calls: Vec<String> = calls.iter().map(|call| format!("{}: {}", call.operation, call.answer)).collect();
    let title = format!("last of {calls_made} capability calls");
    for (title, lines) in [
        ("stack, innermost first", frames.collect::<Vec<_>>()),
        ("last log lines", log.clone()),
        ("standard error", stderr.iter().flat_map(|text| text.lines()).map(str::to_owned).collect()),
        (title.as_str(), calls),
    ] {
        if !lines.is_empty() {
            text.push_str(&format!("{title}:\n  {}\n", lines.join("\n  ")));
        }
    }
    text.trim_end().to_owned()
}
