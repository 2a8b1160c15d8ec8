//! A server under test, and the clients of it.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Child, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};

use antiphon::{Client, WebSocket};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::token::SECRET;
use crate::support::{Scratch, antiphon};

/// Longest wait for anything. Nothing is expected to take it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The protocol of our own.
pub(crate) const V2: &str = "antiphon.v2.json";

/// What a pipe has said so far.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<String>>);

impl Said {
    /// Reads a pipe to its end, so that it never fills; each line is also sent away.
    fn listen(pipe: impl Read + Send + 'static, lines: Option<mpsc::Sender<String>>) -> Self {
        let said = Self::default();
        let copy = said.clone();
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe
                .read_until(b'\n', &mut line)
                .is_ok_and(|count| count > 0)
            {
                let text = String::from_utf8_lossy(&line).into_owned();
                copy.0
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_str(&text);
                if let Some(lines) = &lines {
                    let _ = lines.send(text.trim_end().to_owned());
                }
                line.clear();
            }
        });
        said
    }

    fn text(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A running server with a configuration of its own and metrics on an address of their own. It ends with the test.
pub(crate) struct Site {
    pub(crate) child: Child,
    lines: mpsc::Receiver<String>,
    stdout: Said,
    stderr: Said,
    file: Scratch,
    /// `127.0.0.1:PORT`
    pub(crate) authority: String,
    scheme: String,
    metrics: String,
}

/// The beginning of every configuration; what follows begins with a section, or with keys of `[server]`.
fn whole(config: &str) -> String {
    format!("metrics.listen = \"127.0.0.1:0\"\n\n[server]\nlisten = \"127.0.0.1:0\"\n{config}")
}

/// A key of the HTTP API that may do everything.
pub(crate) const KEY: &str = "a key of the tests, and of nobody else";

/// `[[api.keys]]` with that key.
pub(crate) fn api() -> &'static str {
    "\n[[api.keys]]\nname = \"tests\"\nhash = \"528c109f32d3af8ef54247e5fe76268569ae39faa136c0d92ea5ac89780683b1\"\n"
}

/// `[auth]` in the mode `jwt`, with these keys besides.
pub(crate) fn jwt(more: &str) -> String {
    format!("\n[auth]\nmode = \"jwt\"\nsecret = \"{SECRET}\"\n{more}\n")
}

impl Site {
    /// Starts a server. `config` begins with keys of `[server]`.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    /// The same with more arguments.
    pub(crate) fn start_with(config: &str, args: &[&str]) -> Self {
        let file = Scratch::new("realtime.toml", whole(config).as_bytes());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let private = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(&file.0, private).expect("the file is ours");
        }
        let mut command = antiphon(["serve", "--config", file.path(), "-v"]);
        let mut child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (sender, lines) = mpsc::channel();
        let stdout = Said::listen(child.stdout.take().expect("it is piped"), Some(sender));
        let stderr = Said::listen(child.stderr.take().expect("it is piped"), None);
        let mut site = Self {
            child,
            lines,
            stdout,
            stderr,
            file,
            authority: String::new(),
            scheme: String::new(),
            metrics: String::new(),
        };
        let address = site.line("listening on ");
        let (scheme, rest) = address.split_once("://").expect("a URL has a scheme");
        site.scheme = scheme.to_owned();
        site.authority = rest.split('/').next().unwrap_or_default().to_owned();
        let metrics = site.line("metrics on http://");
        site.metrics = metrics.split('/').next().unwrap_or_default().to_owned();
        site
    }

    /// The next line of stdout, behind this beginning.
    pub(crate) fn line(&self, beginning: &str) -> String {
        let line = self.lines.recv_timeout(PATIENCE);
        let line = line.unwrap_or_else(|_| panic!("no {beginning:?}: {}", self.stderr.text()));
        line.strip_prefix(beginning)
            .unwrap_or_else(|| panic!("no {beginning:?} but {line:?}: {}", self.stderr.text()))
            .to_owned()
    }

    /// Everything on stdout and stderr so far.
    pub(crate) fn output(&self) -> String {
        format!("{}{}", self.stdout.text(), self.stderr.text())
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.stderr.text()
    }

    /// Waits until the log says this once more than that often.
    pub(crate) async fn logged(&self, words: &str, before: usize) {
        self.until(words, async || self.log().matches(words).count() > before)
            .await;
    }

    /// Waits until something holds.
    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let wait = async {
            while !holds().await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(PATIENCE, wait).await.is_err() {
            panic!("{what} did not come: {}", self.log());
        }
    }

    /// The name of the configuration file.
    pub(crate) fn file(&self) -> &str {
        self.file.path()
    }

    /// Puts another configuration in the place of the old one, whole.
    pub(crate) fn rewrite(&self, config: &str) {
        std::fs::write(&self.file.0, whole(config)).expect("the file can be written");
    }

    /// `ws://127.0.0.1:PORT/socket?QUERY`
    pub(crate) fn url(&self, query: &str) -> String {
        format!("{}://{}/socket{query}", self.scheme, self.authority)
    }

    /// A client that is let in by the token of this user.
    pub(crate) async fn user(&self, user: &str) -> Peer {
        self.peer(&super::token::token(user)).await
    }

    /// A client of v2 that is let in by this token.
    pub(crate) async fn peer(&self, token: &str) -> Peer {
        let client = client().subprotocol(V2);
        let client = client.header("authorization", format!("Bearer {token}"));
        self.welcomed(&client, "").await
    }

    /// A client of v2 whose first event is `$connected`.
    pub(crate) async fn welcomed(&self, client: &Client, query: &str) -> Peer {
        let mut peer = self.open(client, query).await;
        let welcome = peer.next().await;
        assert_eq!(welcome["event"], "$connected", "{welcome}");
        peer.session = welcome["data"].clone();
        peer
    }

    /// Opens a socket.
    pub(crate) async fn open(&self, client: &Client, query: &str) -> Peer {
        let socket = client.connect(self.url(query)).await;
        let socket = socket.unwrap_or_else(|error| {
            let body = String::from_utf8_lossy(error.body()).into_owned();
            panic!("{error} {body} {}", self.log())
        });
        Peer::new(socket)
    }

    /// The status, the head and the body of the answer to an opening handshake with these headers.
    pub(crate) async fn handshake(&self, query: &str, headers: &str) -> Answer {
        let request = format!(
            "GET /socket{query} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n",
            self.authority
        );
        exchange(&self.authority, &request).await
    }

    /// The answer to a plain request.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        get(&self.authority, path).await
    }

    /// What a call of the HTTP API answers to [`KEY`].
    pub(crate) async fn call(&self, name: &str, parameters: &Value) -> Value {
        let body = parameters.to_string();
        let request = format!(
            "POST /api/{name} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nX-API-Key: {KEY}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.authority,
            body.len()
        );
        exchange(&self.authority, &request).await.json()
    }

    /// The answer of the metrics' own address.
    pub(crate) async fn beside(&self, path: &str) -> Answer {
        get(&self.metrics, path).await
    }

    /// The metrics as they stand there. They are up to a second old.
    pub(crate) async fn metrics(&self) -> String {
        self.beside("/metrics").await.body
    }

    /// Waits until a sample has this value at least; what it has then.
    pub(crate) async fn counted(&self, sample: &str, least: f64) -> f64 {
        let mut found = None;
        self.until(sample, async || {
            found = value(&self.metrics().await, sample);
            found.is_some_and(|value| value >= least)
        })
        .await;
        found.unwrap_or_default()
    }

    /// Sends a signal.
    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        crate::support::signal(&self.child, signal);
    }

    /// Waits for the end; the exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        for _ in 0..PATIENCE.as_millis() / 10 {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status.code();
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("the server does not end: {}", self.log());
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that asks nobody but the server.
pub(crate) fn client() -> Client {
    Client::new().proxy(antiphon::Proxy::none())
}

/// The value of a sample in the text of the metrics: its name and all of its labels, as they stand there.
pub(crate) fn value(metrics: &str, sample: &str) -> Option<f64> {
    metrics
        .lines()
        .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

/// An answer of HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

async fn get(authority: &str, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    exchange(authority, &request).await
}

/// Sends a request; the answer, or status 0 where there is none.
pub(crate) async fn exchange(authority: &str, request: &str) -> Answer {
    let mut received = Vec::new();
    if let Ok(mut stream) = TcpStream::connect(authority).await {
        let _ = stream.write_all(request.as_bytes()).await;
        let read = async {
            while !is_whole(&received) {
                match stream.read_buf(&mut received).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        };
        timeout(PATIENCE, read).await.expect("the answer comes");
    }
    let text = String::from_utf8_lossy(&received);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&*text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

/// Whether the answer is complete; one that switches protocols ends with its head.
fn is_whole(received: &[u8]) -> bool {
    let text = String::from_utf8_lossy(received);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let head = head.to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    head.starts_with("http/1.1 101") || length.is_some_and(|length: usize| body.len() >= length)
}

/// A client on the other side of a socket.
pub(crate) struct Peer {
    pub(crate) socket: WebSocket,
    /// What `$connected` said.
    pub(crate) session: Value,
    /// Events that came while a reply was waited for.
    pub(crate) events: Vec<Value>,
    id: u64,
}

impl Peer {
    pub(crate) fn new(socket: WebSocket) -> Self {
        Self {
            socket,
            session: Value::Null,
            events: Vec::new(),
            id: 0,
        }
    }

    /// Sends an object.
    pub(crate) async fn send(&self, message: Value) {
        self.socket
            .send(message.to_string())
            .await
            .expect("it is open");
    }

    /// The next message; heartbeats are passed over.
    pub(crate) async fn next(&mut self) -> Value {
        if !self.events.is_empty() {
            return self.events.remove(0);
        }
        self.receive()
            .await
            .unwrap_or_else(|| panic!("closed: {:?}", self.socket.close_frame()))
    }

    async fn receive(&mut self) -> Option<Value> {
        loop {
            let message = timeout(PATIENCE, self.socket.recv())
                .await
                .expect("a message comes");
            let message = message.ok().flatten()?;
            let value: Value = serde_json::from_slice(message.as_bytes()).expect("it is JSON");
            if value != json!({}) {
                return Some(value);
            }
        }
    }

    /// Asks with an id (v2); the reply.
    pub(crate) async fn ask(&mut self, event: &str, data: Value) -> Value {
        self.id += 1;
        let id = self.id;
        self.send(json!({"event": event, "id": id, "data": data}))
            .await;
        loop {
            let value = self.receive().await;
            let value = value.unwrap_or_else(|| panic!("{event}: {:?}", self.socket.close_frame()));
            if value["id"] == id {
                return value;
            }
            self.events.push(value);
        }
    }

    /// The `code` of the reply.
    pub(crate) async fn code(&mut self, event: &str, data: Value) -> i64 {
        let reply = self.ask(event, data).await;
        reply["code"]
            .as_i64()
            .unwrap_or_else(|| panic!("no code: {reply}"))
    }

    /// Receives to the end; its close code (1006 without a Close frame) and what came before it.
    pub(crate) async fn end(&mut self) -> (u16, Vec<Value>) {
        let mut events = std::mem::take(&mut self.events);
        while let Some(value) = self.receive().await {
            events.push(value);
        }
        let code = self
            .socket
            .close_frame()
            .map_or(1006, |frame| frame.code.get());
        (code, events)
    }
}
