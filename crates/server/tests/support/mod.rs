//! Runs the real binary: servers on free ports that end with the test, and clients with what they said.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// The binary, with nothing of this machine's settings.
pub(crate) fn antiphon(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    command.args(args);
    for name in [
        "ANTIPHON_CONFIG",
        "ANTIPHON_AUTH_SECRET",
        "ANTIPHON_LISTEN",
        "ANTIPHON_LOG",
        "ANTIPHON_TLS_CERT",
        "ANTIPHON_TLS_KEY",
        "RUST_BACKTRACE",
    ] {
        command.env_remove(name);
    }
    for name in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ] {
        command.env_remove(name);
    }
    command
}

/// What a command said and how it ended.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the binary to its end, with this on stdin.
pub(crate) fn run(args: impl IntoIterator<Item = impl AsRef<OsStr>>, stdin: &[u8]) -> Outcome {
    let mut child = antiphon(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut pipe = child.stdin.take().expect("stdin is piped");
    let input = stdin.to_vec();
    // A command that does not read its input is no failure of the test.
    let writer = std::thread::spawn(move || drop(pipe.write_all(&input)));
    let output = child.wait_with_output().expect("the binary ends");
    writer.join().expect("the writer ends");
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A server of the binary on a free port.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// As printed: `ws://127.0.0.1:PORT/`.
    pub(crate) url: String,
}

impl Running {
    /// Starts `antiphon COMMAND --listen 127.0.0.1:0 ARGS...` and waits for its address.
    pub(crate) fn start(command: &str, args: &[&str]) -> Self {
        let mut line = antiphon([command, "--listen", "127.0.0.1:0"]);
        line.args(args);
        Self::from_command(line)
    }

    /// Starts a server that has been given its arguments.
    pub(crate) fn from_command(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("stdout can be read");
        let Some(url) = line.trim_end().strip_prefix("listening on ") else {
            let mut stderr = String::new();
            let _ = child
                .stderr
                .take()
                .map(|mut pipe| pipe.read_to_string(&mut stderr));
            panic!("no address but {line:?}: {stderr}");
        };
        let url = url.to_owned();
        Self { child, stdout, url }
    }

    /// The next line of stdout.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout
            .read_line(&mut line)
            .expect("stdout can be read");
        line.trim_end().to_owned()
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn authority(&self) -> &str {
        self.url.split('/').nth(2).expect("a URL has an authority")
    }

    /// The server's URL with this path.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Sends SIGTERM and waits.
    #[cfg(unix)]
    pub(crate) fn terminate(mut self) -> (ExitStatus, String) {
        signal(&self.child, rustix::process::Signal::TERM);
        let status = self.child.wait().expect("the server ends");
        let mut stderr = String::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_string(&mut stderr)
                .expect("stderr can be read");
        }
        (status, stderr)
    }

    /// The response to a plain request: status line, headers and body as one text.
    pub(crate) fn get(&self, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(self.authority()).expect("the server listens");
        let host = if headers.to_ascii_lowercase().contains("host:") {
            String::new()
        } else {
            format!("Host: {}\r\n", self.authority())
        };
        write!(
            stream,
            "GET {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n"
        )
        .expect("the request is sent");
        let mut response = Vec::new();
        stream
            .read_to_end(&mut response)
            .expect("the response comes");
        String::from_utf8_lossy(&response).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process that this test has started.
#[cfg(unix)]
pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).expect("the signal is sent");
}

/// A file for this test alone, removed at its end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str, content: &[u8]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!(
            "antiphon-test-{}-{number}-{name}",
            std::process::id()
        ));
        std::fs::write(&path, content).expect("the directory for temporary files can be written");
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("the path is UTF-8")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
