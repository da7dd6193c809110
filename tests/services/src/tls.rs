//! Certificates for servers that take TLS: an authority of their own, and one certificate by it.

use crate::launch::Launch;
use anyhow::Result;
use std::{fs, path::Path};

pub(crate) const AUTHORITY: &str = "authority.pem";
pub(crate) const CERTIFICATE: &str = "certificate.pem";
pub(crate) const KEY: &str = "key.pem";

/// Makes the files in the folder and answers the authority's certificate. The two are separate because
/// clients refuse a server whose certificate is its own authority.
pub(crate) async fn certificate(dir: &Path) -> Result<String> {
    let key = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let authority =
        Launch::new("openssl", dir).args(key).args(["-subj", "/CN=Plinth test authority", "-keyout", "authority.key", "-out", AUTHORITY]);
    authority.run().await?;
    let server = Launch::new("openssl", dir).args(key).args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]);
    let server = server.args(["-addext", "basicConstraints=critical,CA:FALSE", "-CA", AUTHORITY, "-CAkey", "authority.key"]);
    server.args(["-keyout", KEY, "-out", CERTIFICATE]).run().await?;
    Ok(fs::read_to_string(dir.join(AUTHORITY))?)
}
