//! A witness as another team runs it: it cosigns what grows, remembers over restarts, and refuses a log that was rewritten.

use crate::audit_log::{append, copy_database, ended, mirror, plinth, signed, words};
use plinth_audit::witness::REQUEST_MAX;
use plinth_tests::{HostProcess, binary};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdout, Command},
};

/// `plinth witness serve`, ended with the test.
struct Witness {
    url: String,
    child: Child,
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Witness {
    async fn start(folder: &Path) -> Self {
        let mut command = Command::new(binary());
        command.args(words(&serve(folder, "data"))).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        loop {
            let line = stdout.next_line().await.unwrap().expect("the witness says that it is ready");
            if let Some(url) = line.strip_prefix("plinth: witness ready on ") {
                return Self { url: url.to_owned(), child, _stdout: stdout };
            }
        }
    }

    /// One that sends half a request does not keep it from stopping.
    async fn stop(mut self) {
        let address = self.url.strip_prefix("http://").unwrap().to_owned();
        let mut half = TcpStream::connect(address).await.unwrap();
        half.write_all(b"POST /add-checkpoint HTTP/1.1\r\nhost: w\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n").await.unwrap();
        // It has begun to read: it asks for the body.
        let mut said = [0; 12];
        half.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"HTTP/1.1 100");
        kill_process(Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap(), Signal::TERM).unwrap();
        assert!(self.child.wait().await.unwrap().success(), "told to stop, it ends well");
    }

    /// No last word, no last write.
    async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    async fn post(&self, body: Vec<u8>) -> u16 {
        let request = reqwest::Client::new().post(format!("{}/add-checkpoint", self.url)).body(body);
        request.send().await.unwrap().status().as_u16()
    }
}

fn serve(folder: &Path, data: &str) -> String {
    let folder = folder.to_str().unwrap();
    format!("witness serve --key {folder}/key --trust {folder}/policy --data {folder}/{data} --listen 127.0.0.1:0")
}

/// The newest checkpoint with the witness's line, as a file.
async fn ask(host: &HostProcess, witness: &Witness, file: &Path) -> (i32, String) {
    let arguments = words(&format!("witness ask --url {}/v1/audit/log/0 --witness {}", host.base(), witness.url));
    let run = move || -> Output { std::process::Command::new(binary()).args(&arguments).output().unwrap() };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    fs::write(file, &output.stdout).unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_cosigns_what_grows_and_no_other_history() {
    let (data, backup, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = |name: &str| files.path().join(name);
    let text = |name: &str| file(name).to_str().unwrap().to_owned();
    let host = HostProcess::start(data.path(), &[]).await;
    append(&host, 3).await;
    let size = signed(&host, 3).await;
    let made = plinth(words(&format!("witness key example.org/witness {}", text("key")))).await;
    ended(&made, 0, "witness example.org/witness example.org/witness+");
    ended(&plinth(words(&format!("witness key example.org/witness {}", text("key")))).await, 1, "exists");
    let trust = plinth(words(&format!("audit trust --url {}", host.base()))).await;
    let policy = trust.1.replace("quorum none", &format!("{}quorum example.org/witness", made.1));
    fs::write(file("policy"), policy).unwrap();

    let witness = Witness::start(files.path()).await;
    ended(&plinth(words(&serve(files.path(), "data"))).await, 1, "another witness uses this folder");
    ended(&ask(&host, &witness, &file("cosigned")).await, 0, "");
    let log = file("log");
    mirror(&host, size, &log).await;
    let verify = format!("audit verify --dir {} --trust {}", log.to_str().unwrap(), text("policy"));
    ended(&plinth(words(&verify)).await, 2, "example.org/witness");
    fs::copy(file("cosigned"), log.join("checkpoint")).unwrap();
    ended(&plinth(words(&verify)).await, 0, "sound");

    // A witness that was killed goes on from what it had cosigned.
    witness.kill().await;
    append(&host, 4).await;
    signed(&host, size + 4).await;
    let witness = Witness::start(files.path()).await;
    ended(&ask(&host, &witness, &file("cosigned")).await, 0, "");
    ended(&ask(&host, &witness, &file("cosigned")).await, 0, "");
    assert_eq!(witness.post(b"no request".to_vec()).await, 400);
    assert_eq!(witness.post(vec![b'x'; REQUEST_MAX + 1]).await, 413);
    let unknown = fs::read_to_string(file("cosigned")).unwrap().replacen("plinth-", "other-", 1);
    assert_eq!(witness.post(format!("old 0\n\n{unknown}").into_bytes()).await, 404);

    // Whoever has the host's key, its database and its folder of checkpoints can rewrite
    // the log so that the host notices nothing. The witness does.
    host.stop().await;
    copy_database(data.path(), backup.path());
    fs::remove_dir_all(data.path().join("audit-checkpoints")).unwrap();
    for name in ["audit.db", "audit.db-wal", "audit.db-shm"] {
        let _absent = fs::remove_file(data.path().join(name));
    }
    let host = HostProcess::start(data.path(), &["--config", &rewritten(&file("plinth.toml"), &trust.1)]).await;
    append(&host, 2).await;
    signed(&host, 2).await;
    ended(&ask(&host, &witness, &file("rewritten")).await, 1, "the log was taken back");
    let grown = size + 4;
    let now = signed(&host, 2).await;
    append(&host, usize::try_from(grown - now).unwrap()).await;
    assert_eq!(signed(&host, grown).await, grown);
    ended(&ask(&host, &witness, &file("rewritten")).await, 1, "the log has shown two");
    append(&host, 20).await;
    signed(&host, grown + 20).await;
    ended(&ask(&host, &witness, &file("rewritten")).await, 1, "refused (422");
    witness.stop().await;
    assert!(!fs::read_to_string(file("rewritten")).unwrap().contains("example.org/witness"), "it has no line of the witness");
    host.stop().await;
}

/// A configuration under which a new database goes by the old one's name.
fn rewritten(path: &Path, trust: &str) -> String {
    let key = trust.lines().find_map(|line| line.strip_prefix("log ")).unwrap();
    let origin = key.split('+').next().unwrap().strip_suffix("/0").unwrap();
    fs::write(path, format!("[audit-log]\norigin = \"{origin}\"\n")).unwrap();
    path.to_str().unwrap().to_owned()
}
