//! `plinth postgres prepare`: for operators whose hosts may not change the schema they work in.

use super::{Complaint, Done, Exit, block_on, chain};
use clap::{Args, Subcommand};
use plinth_backend::postgres::{PostgresConfig, prepare};
use plinth_capability::ErrorKind;
use std::path::PathBuf;

#[derive(Subcommand)]
pub(super) enum PostgresCommand {
    /// Bring the schema to this version as its owner, and let the hosts' role do what hosts do and nothing else.
    Prepare(Prepare),
}

#[derive(Args)]
pub(super) struct Prepare {
    /// Of the owner, without a password: postgres://owner@host/plinth
    #[arg(long)]
    url: String,
    /// Holds the owner's password and nothing else.
    #[arg(long)]
    password_file: Option<PathBuf>,
    /// Authorities to believe, in PEM form; with it the server must prove its name.
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// The role that hosts log in as; it must be there, and be able to make roles.
    #[arg(long)]
    host_role: String,
}

impl PostgresCommand {
    pub(super) fn run(self) -> Done {
        let Self::Prepare(Prepare { url, password_file, ca_file, host_role }) = self;
        let tls = if ca_file.is_some() { plinth_backend::postgres::PostgresTls::VerifyFull } else { Default::default() };
        let owner = PostgresConfig { url, password_file, ca_file, tls, ..PostgresConfig::default() };
        let complaint = |error: plinth_capability::Error| match error.kind() {
            ErrorKind::InvalidInput => Complaint::usage(chain(&error)),
            ErrorKind::Unavailable | ErrorKind::Timeout => Complaint { exit: Exit::Unreachable, text: chain(&error) },
            _ => Complaint::failed(chain(&error)),
        };
        block_on(async { prepare(&owner, &host_role).await.map_err(complaint) })?;
        println!("The schema `plinth` is of this version; `{host_role}` may work in it and cannot change it.");
        Ok(())
    }
}
