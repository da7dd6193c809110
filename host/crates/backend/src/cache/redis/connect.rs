//! One attempt to connect, to a server, to a cluster, or to the master sentinels name.

use super::config::{RedisMode, Target};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult,
    TlsCertificates, TlsMode,
    aio::MultiplexedConnection,
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use std::sync::Arc;
use tokio::{sync::Notify, time::timeout};

/// Cheap to clone; all clones share one connection, or one per node of the cluster.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(Box<ClusterConnection>),
}

/// Takes what the server sends on its own; runs on the connection's task, so it must not wait.
pub(super) type OnPush = Arc<dyn Fn(PushInfo) + Send + Sync>;

/// Cannot be wrong any more, only without success.
pub(super) struct Connector {
    target: Target,
    way: Way,
}

enum Way {
    Server(Box<Client>),
    Cluster(Box<ClusterClient>),
    /// Asked anew for every connection. A tokio mutex: held while the sentinels answer.
    Sentinels(Box<tokio::sync::Mutex<SentinelClient>>),
}

impl Connector {
    pub(super) fn new(target: Target) -> RedisResult<Self> {
        let certificates = target.ca.clone().map(|ca| TlsCertificates { client_tls: None, root_cert: Some(ca) });
        let way = match target.mode {
            RedisMode::Single => {
                let nodes = target.nodes.first().cloned();
                let node = nodes.ok_or_else(|| RedisError::from((ErrorKind::InvalidClientConfig, "no URL")))?;
                Way::Server(Box::new(match certificates {
                    Some(certificates) => Client::build_with_tls(node, certificates)?,
                    None => Client::open(node)?,
                }))
            }
            RedisMode::Cluster => {
                // No retries: the crate would also repeat what may have happened.
                let mut builder = ClusterClient::builder(target.nodes.clone())
                    .retries(0)
                    .connection_timeout(target.connect_timeout)
                    .response_timeout(target.response_timeout)
                    .overall_response_timeout(Some(target.response_timeout))
                    .use_protocol(ProtocolVersion::RESP3);
                if let Some(certificates) = certificates {
                    builder = builder.certs(certificates);
                }
                Way::Cluster(Box::new(builder.build()?))
            }
            RedisMode::Sentinel => Way::Sentinels(Box::new(tokio::sync::Mutex::new(sentinels(&target, certificates)?))),
        };
        Ok(Self { target, way })
    }

    /// Bounded by the connect timeout. `gone` is told when the connection has ended.
    pub(super) async fn connect(&self, gone: Arc<Notify>, on_push: OnPush) -> RedisResult<Connection> {
        let attempt = async {
            let client = match &self.way {
                Way::Server(client) => Client::clone(client),
                Way::Cluster(client) => return Ok(Connection::Cluster(Box::new(client.get_async_connection().await?))),
                Way::Sentinels(sentinels) => sentinels.lock().await.async_get_client().await?,
            };
            let config = AsyncConnectionConfig::new()
                .set_response_timeout(Some(self.target.response_timeout))
                .set_connection_timeout(Some(self.target.connect_timeout))
                .set_push_sender(move |push: PushInfo| {
                    if push.kind == PushKind::Disconnection {
                        gone.notify_one();
                    }
                    on_push(push);
                    Ok::<_, std::convert::Infallible>(())
                });
            Ok(Connection::One(client.get_multiplexed_async_connection_with_config(&config).await?))
        };
        match timeout(self.target.connect_timeout, attempt).await {
            Ok(outcome) => outcome,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }
}

fn sentinels(target: &Target, certificates: Option<TlsCertificates>) -> RedisResult<SentinelClient> {
    let addresses: Vec<_> = target.nodes.iter().map(|node| node.addr().clone()).collect();
    let tls = addresses.iter().any(|address| matches!(address, ConnectionAddr::TcpTls { .. }));
    let mut builder = SentinelClientBuilder::new(addresses, &target.master_name, SentinelServerType::Master)?
        .set_client_to_redis_protocol(ProtocolVersion::RESP3);
    if tls {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure).set_client_to_sentinel_tls_mode(TlsMode::Secure);
    }
    if let Some(certificates) = certificates {
        builder = builder.set_client_to_redis_certificates(certificates.clone()).set_client_to_sentinel_certificates(certificates);
    }
    if let Some(settings) = target.nodes.first().map(redis::ConnectionInfo::redis_settings) {
        if let Some(username) = settings.username() {
            builder = builder.set_client_to_sentinel_username(username);
        }
        if let Some(password) = settings.password() {
            builder = builder.set_client_to_sentinel_password(password);
        }
    }
    if let Some(username) = &target.username {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = &target.password {
        builder = builder.set_client_to_redis_password(password);
    }
    builder.build()
}
