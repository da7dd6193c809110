//! Three nodes: a queue outlives the one that led it.

use super::support::{declared, nothing_is_lost, quick};
use plinth_backend::queue::AmqpConfig;
use plinth_services::RabbitMqCluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_loses_nothing_that_was_confirmed() {
    let cluster = RabbitMqCluster::start().await.unwrap();
    let urls: Vec<_> = cluster.urls().iter().map(|url| format!("{url}/%2f")).collect();
    // A queue is led by the node at which it was declared, and that is the first.
    let (opened, work) = declared(AmqpConfig { urls: urls.clone(), ..quick(urls[0].clone()) }).await;
    nothing_is_lost(&opened, &work, 300, async { cluster.node(0).unwrap().kill().await.unwrap() }).await;
}
