//! A registry that speaks the OCI distribution protocol.

use super::{
    OciError,
    artifact::{Artifact, COMPONENT_MAX, MANIFEST_MAX, MANIFEST_TYPE},
    login::Login,
};
use bytes::Bytes;
use http::HeaderValue;
use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol},
    errors::{OciDistributionError, OciErrorCode},
    secrets::RegistryAuth,
};
use std::{
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::AsyncWrite;

const CONNECT: Duration = Duration::from_secs(10);
/// Between two parts of an answer.
const SILENCE: Duration = Duration::from_secs(60);

pub(super) struct Registry<'a> {
    client: Client,
    auth: RegistryAuth,
    reference: &'a Reference,
}

impl<'a> Registry<'a> {
    pub(super) fn open(reference: &'a Reference, plain_http: bool, login: Login) -> Result<Self, OciError> {
        let protocol = if plain_http || on_loopback(reference.registry()) { ClientProtocol::Http } else { ClientProtocol::Https };
        let config = ClientConfig { protocol, connect_timeout: Some(CONNECT), read_timeout: Some(SILENCE), ..ClientConfig::default() };
        let client = Client::try_from(config).map_err(|e| told(reference, e))?;
        let auth = login.map_or(RegistryAuth::Anonymous, |(name, password)| RegistryAuth::Basic(name, password));
        Ok(Self { client, auth, reference })
    }

    /// The manifest last, so that nobody finds a tag without what it names.
    pub(super) async fn push(&self, artifact: &Artifact, overwrite: bool) -> Result<(), OciError> {
        let Self { client, auth, reference } = self;
        if reference.tag().is_none() || reference.digest().is_some() {
            return Err(OciError::Reference(reference.whole(), "what is pushed is named by a tag".to_owned()));
        }
        match client.fetch_manifest_digest(reference, auth).await {
            Ok(there) if there == artifact.digest => return Ok(()),
            Ok(digest) if !overwrite => return Err(OciError::Taken { place: reference.whole(), digest }),
            Ok(_) => {}
            Err(error) if absent(&error) => {}
            Err(error) => return Err(told(reference, error)),
        }
        let parts = Artifact::parts(&reference.whole(), &artifact.manifest)?;
        let blobs = [(&artifact.component, &parts.component.digest), (&artifact.config, &parts.manifest.config.digest)];
        for (bytes, digest) in blobs {
            client.push_blob(reference, bytes.clone(), digest).await.map_err(|e| told(reference, e))?;
        }
        let pushed = client.push_manifest_raw(reference, artifact.manifest.clone(), HeaderValue::from_static(MANIFEST_TYPE));
        pushed.await.map(drop).map_err(|e| told(reference, e))
    }

    pub(super) async fn pull(&self) -> Result<Artifact, OciError> {
        let Self { client, auth, reference } = self;
        let pulled = client.pull_manifest_raw(reference, auth, &[MANIFEST_TYPE]).await;
        let (manifest, _) = pulled.map_err(|e| told(reference, e))?;
        if manifest.len() as u64 > MANIFEST_MAX {
            return Err(OciError::Foreign(reference.whole(), format!("its manifest has more than {MANIFEST_MAX} bytes")));
        }
        let parts = Artifact::parts(&reference.whole(), &manifest)?;
        let mut component = Bounded { bytes: Vec::new(), most: usize::try_from(parts.component.size).unwrap_or(0) };
        client.pull_blob(reference, &parts.component, &mut component).await.map_err(|e| told(reference, e))?;
        Artifact::made(&reference.whole(), reference.digest(), manifest, Bytes::from(component.bytes))
    }
}

/// A registry that sends more than it said is not listened to.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, part: &[u8]) -> Poll<std::io::Result<usize>> {
        if self.bytes.len() + part.len() > self.most.min(usize::try_from(COMPONENT_MAX).unwrap_or(usize::MAX)) {
            return Poll::Ready(Err(std::io::Error::other("the component is larger than its manifest says")));
        }
        self.bytes.extend_from_slice(part);
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn on_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn absent(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::ImageManifestNotFoundError(_) | OciDistributionError::ServerError { code: 404, .. } => true,
        OciDistributionError::RegistryError { envelope, .. } => envelope
            .errors
            .iter()
            .any(|error| matches!(error.code, OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound)),
        OciDistributionError::RequestError(error) => error.status().is_some_and(|status| status.as_u16() == 404),
        _ => false,
    }
}

fn told(reference: &Reference, error: OciDistributionError) -> OciError {
    let place = reference.whole();
    match &error {
        _ if absent(&error) => OciError::Absent(place),
        OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => OciError::Login { place },
        OciDistributionError::ServerError { code: 401 | 403, .. } => OciError::Login { place },
        OciDistributionError::DigestError(why) => OciError::Registry { place, why: format!("it was changed on its way: {why}") },
        _ => OciError::Registry { place, why: super::super::chain(&error) },
    }
}
