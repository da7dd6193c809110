//! An archive of the log, verified segment by segment.

use super::verify::usage;
use crate::cli::Complaint;
use plinth_audit::{
    segment::{Chain, check_since, verify_segments},
    verify::{CanonicalEntries, NoCheck, Report, Request},
};
use plinth_backend::audit::{ArchiveFolder, ArchiveLocation};
use std::path::Path;

/// Every segment that is there, and that those before and between them are. `dropped`: below this number their records are not.
pub(super) fn verify(address: &str, dropped: u64, foreign: bool, request: &Request<'_>) -> Result<Report, Complaint> {
    let folder = open(address)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|e| usage(e.to_string()))?;
    let told = |error: plinth_capability::Error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        usage(format!("{address}: {}{cause}", error.message()))
    };
    let count = runtime.block_on(folder.segments()).map_err(told)?;
    if count == 0 {
        return Err(usage(format!("{address} has no segments; an archive has a folder for each epoch, such as {address}/0")));
    }
    let archive = folder.blocking(runtime.handle().clone());
    let mut chain = Chain { dropped, ..Chain::default() };
    let mut report = match foreign {
        true => verify_segments(&archive, count, &mut chain, request.policy, &NoCheck),
        false => verify_segments(&archive, count, &mut chain, request.policy, &CanonicalEntries),
    };
    if report.findings.is_empty() {
        check_since(&archive, count, request.since, request.policy, &mut report.findings);
    }
    Ok(report)
}

fn open(address: &str) -> Result<ArchiveFolder, Complaint> {
    let told = |error: plinth_capability::Error| usage(format!("{address}: {}", error.message()));
    if address.starts_with("s3://") {
        return ArchiveFolder::open(&ArchiveLocation::new(address)).map_err(told);
    }
    let path = Path::new(address.strip_prefix("file://").unwrap_or(address));
    if !path.is_dir() {
        return Err(usage(format!("{} is no folder", path.display())));
    }
    let path = std::path::absolute(path).map_err(|e| usage(format!("{}: {e}", path.display())))?;
    let path = path.to_str().ok_or_else(|| usage("the path of an archive is not UTF-8"))?;
    ArchiveFolder::open(&ArchiveLocation::new(format!("file://{path}"))).map_err(told)
}
