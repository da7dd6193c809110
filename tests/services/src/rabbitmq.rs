//! A private RabbitMQ node with a port mapper of its own.

use crate::{http, launch::Launch, packages, ports::Port, process::Process, wait};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A node needs six seconds of CPU to start, on a machine whose other cores run tests.
pub(crate) const READY: Duration = Duration::from_secs(180);

const ALARM: Duration = Duration::from_secs(60);
const MEMORY: &str = "512MB";

/// A message on its way between queues whose confirm was lost in a partition is sent again after this long, and not
/// only after the three minutes that are usual.
const ADVANCED: &str = "[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 10000}]}].\n";

/// A private RabbitMQ node with the user `t`, password `t`, killed when dropped.
#[derive(Debug)]
pub struct RabbitMq {
    // First, because it is dropped first: the process before what it uses.
    process: Process,
    name: &'static str,
    ports: NodePorts,
    home: Arc<Home>,
}

#[derive(Debug)]
struct NodePorts {
    amqp: Port,
    management: Port,
    distribution: Port,
    control: Port,
}

/// What the nodes of one cluster share: the folder with the cookie, and the mapper that knows their ports.
#[derive(Debug)]
pub(crate) struct Home {
    _mapper: Process,
    mapper_port: Port,
    dir: TempDir,
}

impl Home {
    pub(crate) async fn open() -> Result<Arc<Self>> {
        let dir = TempDir::with_prefix("plinth-rabbitmq-").context("no temporary folder")?;
        let cookie = dir.path().join(".erlang.cookie");
        fs::write(&cookie, format!("{:016X}", rand::random::<u64>()))?;
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400))?;
        let mapper_port = Port::reserve()?;
        let number = mapper_port.number();
        // In the foreground and ours: a node without a mapper would leave one behind as a daemon.
        let mapper = Process::start(Launch::new("epmd", dir.path()).args(["-port", &number.to_string(), "-address", "127.0.0.1"]))?;
        mapper.ready(READY, || async move { Ok(TcpStream::connect(("127.0.0.1", number)).await.map(drop)?) }).await?;
        Ok(Arc::new(Self { _mapper: mapper, mapper_port, dir }))
    }
}

impl RabbitMq {
    /// Starts a single node and waits until it takes connections.
    pub async fn start() -> Result<Self> {
        let node = Self::begin(&Home::open().await?, "a", &[])?;
        node.ready().await?;
        Ok(node)
    }

    /// Starts a node without waiting: those of a cluster wait for each other.
    pub(crate) fn begin(home: &Arc<Home>, name: &'static str, settings: &[String]) -> Result<Self> {
        let dir = home.dir.path().join(name);
        let ports =
            NodePorts { amqp: Port::reserve()?, management: Port::reserve()?, distribution: Port::reserve()?, control: Port::reserve()? };
        fs::create_dir(&dir)?;
        fs::write(dir.join("rabbitmq.conf"), configuration(&ports, settings))?;
        fs::write(dir.join("advanced.config"), ADVANCED)?;
        fs::write(dir.join("enabled_plugins"), "[rabbitmq_management].\n")?;
        if !Path::new(packages::RABBITMQ).is_dir() {
            bail!("RabbitMQ is not installed: apt-get install rabbitmq-server");
        }
        let launch = environment(Launch::new(program("rabbitmq-server"), &dir), name, &ports, home);
        Ok(Self { process: Process::start(launch)?, name, ports, home: Arc::clone(home) })
    }

    /// `amqp://t:t@127.0.0.1:PORT`; a vhost is a path behind it.
    pub fn url(&self) -> String {
        format!("amqp://t:t@127.0.0.1:{}", self.port())
    }

    /// The port of AMQP connections.
    pub fn port(&self) -> u16 {
        self.ports.amqp.number()
    }

    /// The port of its management API, same user.
    pub fn management_port(&self) -> u16 {
        self.ports.management.number()
    }

    /// Ends it by SIGKILL, as a crash would. Killing it twice is no error. See [`RabbitMq::settle`] for what
    /// a crash forgets.
    pub async fn kill(&self) -> Result<()> {
        self.process.kill().await
    }

    /// Starts it again on the same ports and folder and waits until it takes connections; a running one is killed first.
    pub async fn restart(&self) -> Result<()> {
        self.process.start_again().await?;
        self.ready().await
    }

    /// Stops it: connections stay open and can be made, nothing answers.
    pub fn pause(&self) -> Result<()> {
        self.process.pause()
    }

    /// Lets it go on after [`RabbitMq::pause`].
    pub fn resume(&self) -> Result<()> {
        self.process.resume()
    }

    /// Sets or clears the memory alarm, and waits until it is so. While it is set, connections that publish are blocked.
    pub async fn memory_alarm(&self, set: bool) -> Result<()> {
        let watermark: &[&str] = if set { &["0.00001"] } else { &["absolute", MEMORY] };
        self.control().args(["set_vm_memory_high_watermark"]).args(watermark).run().await?;
        let (port, wanted) = (self.management_port(), if set { 503 } else { 200 });
        wait::until("the memory alarm", ALARM, || async move {
            let asked = tokio::task::spawn_blocking(move || http::request(port, "GET", "/api/health/checks/local-alarms", "")).await?;
            let (status, body) = asked?;
            if status == wanted { Ok(()) } else { bail!("the check of alarms says {status}: {body}") }
        })
        .await
    }

    /// Waits until what was declared so far is on disk. The broker keeps declarations, of durable queues
    /// too, in memory for up to two seconds after it confirmed them; a kill in that time loses them.
    pub async fn settle(&self) -> Result<()> {
        let answer = self.eval("mnesia:sync_log().").await?;
        if answer.trim() == "ok" { Ok(()) } else { bail!("the broker could not write its log: {answer}") }
    }

    /// What an Erlang expression is in the node; works while the broker on it is paused.
    pub(crate) async fn eval(&self, expression: &str) -> Result<String> {
        self.control().args(["eval", expression]).run().await
    }

    fn control(&self) -> Launch {
        let dir = self.home.dir.path().join(self.name);
        environment(Launch::new(program("rabbitmqctl"), &dir), self.name, &self.ports, &self.home).args(["-q"])
    }

    pub(crate) fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    pub(crate) async fn ready(&self) -> Result<()> {
        let (amqp, management) = (self.port(), self.management_port());
        let answer = || async move {
            greets(amqp).await?;
            http::call(management, "GET", "/api/whoami".into(), String::new()).await.map(drop)
        };
        self.process.ready(READY, answer).await
    }
}

fn program(name: &str) -> PathBuf {
    Path::new(packages::RABBITMQ).join(name)
}

fn configuration(ports: &NodePorts, settings: &[String]) -> String {
    let (amqp, management) = (ports.amqp.number(), ports.management.number());
    format!(
        "listeners.tcp.1 = 127.0.0.1:{amqp}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {management}\n\
         default_user = t\ndefault_pass = t\nloopback_users = none\nlog.console = true\nlog.console.level = info\nlog.file = false\n\
         vm_memory_high_watermark.absolute = {MEMORY}\ndisk_free_limit.absolute = 50MB\n{}\n",
        settings.join("\n")
    )
}

/// The environment of the broker, and of the tools that talk to it.
fn environment(launch: Launch, name: &str, ports: &NodePorts, home: &Home) -> Launch {
    let dir = launch.dir.clone();
    let mapper = home.mapper_port.number().to_string();
    let control = ports.control.number().to_string();
    let launch = launch.env("HOME", home.dir.path()).env("ERL_EPMD_PORT", mapper).env("ERL_EPMD_ADDRESS", "127.0.0.1");
    let launch = launch.env("RABBITMQ_NODENAME", format!("{name}@localhost")).env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
    let launch =
        launch.env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq.conf")).env("RABBITMQ_ADVANCED_CONFIG_FILE", dir.join("advanced.config"));
    let launch = launch.env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("enabled_plugins")).env("RABBITMQ_MNESIA_BASE", dir.join("mnesia"));
    let launch = launch.env("RABBITMQ_LOG_BASE", dir.join("logs")).env("RABBITMQ_DIST_PORT", ports.distribution.number().to_string());
    let launch = launch.env("RABBITMQ_CTL_DIST_PORT_MIN", control.clone()).env("RABBITMQ_CTL_DIST_PORT_MAX", control);
    // The script then becomes the broker, so that signals reach it and not a shell.
    let launch = launch.env("RUNNING_UNDER_SYSTEMD", "true");
    launch.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}")
}

/// Says hello in AMQP 0.9.1 and expects the first frame of a method.
async fn greets(port: u16) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"AMQP\0\0\x09\x01").await?;
    match stream.read_u8().await? {
        1 => Ok(()),
        other => bail!("the first byte of the broker is {other}"),
    }
}
