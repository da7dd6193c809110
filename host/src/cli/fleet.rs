//! `plinth fleet`: the hosts over one state, and what each of them serves.

use super::{
    Done, Remote, block_on,
    client::{Fleet, FleetHost},
};
use clap::{Args, Subcommand};
use comfy_table::Table;

#[derive(Subcommand)]
pub(super) enum FleetCommand {
    /// Who is there, and which generation each host serves.
    Status(Status),
}

#[derive(Args)]
pub(super) struct Status {
    #[command(flatten)]
    remote: Remote,
}

impl FleetCommand {
    pub(super) fn run(self) -> Done {
        let Self::Status(status) = self;
        let fleet = block_on(async { Ok(status.remote.client()?.fleet().await?) })?;
        status.remote.print(fleet, |fleet: Fleet| table(&fleet))
    }
}

fn table(fleet: &Fleet) -> String {
    let mut table = Table::new();
    table.set_header(["host", "id", "state", "generation", "heard of", "note"]);
    for host in &fleet.hosts {
        table.add_row(row(host));
    }
    let newest = fleet.hosts.iter().map(|host| host.generation).max().unwrap_or_default();
    let behind = fleet.hosts.iter().filter(|host| host.live && host.generation < newest).count();
    match (fleet.shared, behind) {
        (false, _) => format!("{table}\nThis host has its state for itself."),
        (true, 0) => format!("{table}\nAll live hosts serve generation {newest}."),
        (true, behind) => format!("{table}\n{behind} live host(s) do not serve generation {newest} yet."),
    }
}

fn row(host: &FleetHost) -> [String; 6] {
    let state = match (host.live, host.ready) {
        (false, _) => "silent",
        (true, false) => "starting",
        (true, true) => "ready",
    };
    [
        format!("{}{}", host.name, if host.this { " (this)" } else { "" }),
        host.id.clone(),
        state.to_owned(),
        host.generation.to_string(),
        format!("{} ms ago", host.age_ms),
        host.note.clone().unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, live: bool, generation: u64) -> FleetHost {
        let note = (generation < 7).then(|| "a: busy".to_owned());
        FleetHost { name: name.to_owned(), id: "1".to_owned(), this: name == "one", live, ready: true, generation, note, age_ms: 12 }
    }

    #[test]
    fn who_is_behind_is_told() {
        let of = |hosts| table(&Fleet { shared: true, hosts });
        assert!(of(vec![host("one", true, 7), host("two", true, 7)]).ends_with("All live hosts serve generation 7."));
        assert!(of(vec![host("one", true, 7), host("two", true, 6)]).ends_with("1 live host(s) do not serve generation 7 yet."));
        let silent = of(vec![host("one", true, 7), host("two", false, 6)]);
        assert!(
            silent.contains("silent") && silent.contains("a: busy") && silent.ends_with("All live hosts serve generation 7."),
            "{silent}"
        );
    }
}
