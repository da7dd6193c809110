//! The broker of the tests.

use tokio::process::Command;

pub(super) struct Vhost {
    name: String,
    url: String,
}

impl Vhost {
    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        std::process::Command::new("rabbitmqctl").args(["-q", "delete_vhost", &self.name]).status().unwrap();
    }
}

async fn ctl(args: &[&str]) {
    assert!(Command::new("rabbitmqctl").arg("-q").args(args).status().await.unwrap().success(), "rabbitmqctl {args:?}");
}

pub(super) async fn vhost() -> Vhost {
    let name = format!("amqp-{}", uuid::Uuid::now_v7().simple());
    ctl(&["add_vhost", &name]).await;
    ctl(&["set_permissions", "-p", &name, "guest", ".*", ".*", ".*"]).await;
    Vhost { url: format!("amqp://guest:guest@127.0.0.1:5672/{name}"), name }
}
