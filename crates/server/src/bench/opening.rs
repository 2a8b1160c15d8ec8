//! From an address to open WebSockets: TCP, TLS, the opening handshake, many at a time.

use std::{
    fmt::Write as _,
    hint, io,
    net::{SocketAddr, ToSocketAddrs as _},
    sync::Arc,
    time::{Duration, Instant},
};

use antiphon_proto::{
    config::{DeflateConfig, DeflateParams},
    handshake::{
        client::{ClientHandshake, Pending, ResponseError},
        uri::WebSocketUri,
    },
};
use http::{HeaderValue, Request, Response, header};
use mio::{Events, Poll, Registry};
use rustls::{ClientConfig, pki_types::ServerName};

use crate::{
    bench::{
        fault::{Fault, Faults, Kind},
        interrupt,
        socket::Socket,
        tls, usage,
    },
    cli::bench::CommonArgs,
    failure::{Exit, Failure, plain},
};

/// Connections that are being opened at a time.
const AT_ONCE: usize = 128;
/// Longest response to the opening handshake.
const MAX_RESPONSE: usize = 16 * 1024;
/// Between two looks for connections that take too long.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Turns of a loop between two looks for events, about a microsecond.
const SPINS: u32 = 32;
/// Most header fields of the response.
const MAX_FIELDS: usize = 64;

/// Whom to connect to, and what to say.
#[derive(Debug)]
pub(crate) struct Target {
    address: SocketAddr,
    uri: WebSocketUri,
    handshake: ClientHandshake,
    /// There is no opening handshake.
    pub(crate) raw: bool,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Most time for opening one connection.
    pub(crate) timeout: Duration,
}

impl Target {
    /// Finds the server and prepares what is said to it.
    ///
    /// # Errors
    ///
    /// The URL or an option cannot be used, or there is no such host.
    pub(crate) fn new(
        args: &CommonArgs,
        deflate: Option<DeflateConfig>,
        subprotocol: Option<&str>,
        resume: bool,
    ) -> Result<Self, Failure> {
        let uri: WebSocketUri = args.url.parse().map_err(|error| {
            Failure::new(
                Exit::Usage,
                format!("{error}"),
                "write it as ws://HOST[:PORT]/PATH or wss://HOST[:PORT]/PATH",
            )
        })?;
        let mut handshake = ClientHandshake::default();
        handshake
            .subprotocols
            .clone_from(&args.handshake.subprotocols);
        if handshake.subprotocols.is_empty() {
            handshake
                .subprotocols
                .extend(subprotocol.map(str::to_owned));
        }
        handshake.deflate = deflate.map(Arc::new);
        for (name, value) in &args.handshake.headers {
            handshake.headers.append(name.clone(), value.clone());
        }
        if let Some(origin) = &args.handshake.origin {
            let origin = HeaderValue::try_from(origin.as_str()).map_err(|_| {
                let what = "the origin has characters that a header cannot carry";
                Failure::new(Exit::Usage, what, "write it as https://HOST")
            })?;
            handshake.headers.insert(header::ORIGIN, origin);
        }
        // What cannot be said is known before anybody is connected.
        handshake.request(&uri).map_err(|error| {
            Failure::new(
                Exit::Usage,
                error.to_string(),
                "check --header and --subprotocol",
            )
        })?;
        let tls = if uri.is_secure() {
            let name = ServerName::try_from(uri.host().to_owned()).map_err(|_| {
                Failure::new(Exit::Usage, "the host is no name for TLS", "check the URL")
            })?;
            Some((tls::config(&args.tls, resume)?, name))
        } else {
            None
        };
        Ok(Self {
            address: find(&uri, args.timeout)?,
            uri,
            handshake,
            raw: false,
            tls,
            timeout: args.timeout,
        })
    }

    /// What it is called, without what might be a secret.
    pub(crate) fn name(&self) -> String {
        let text = self.uri.to_string();
        text.split('?').next().unwrap_or_default().to_owned()
    }

    /// Whether it runs over TLS.
    pub(crate) const fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Begins to open a connection.
    ///
    /// # Errors
    ///
    /// It cannot even be tried.
    pub(crate) fn open(
        &self,
        registry: &Registry,
        token: usize,
        now: Instant,
    ) -> Result<Opening, Fault> {
        let tls = self.tls.as_ref().map(|(config, name)| (config, name));
        let socket = Socket::connect(registry, token, self.address, tls).map_err(no_connection)?;
        let (request, pending) = self
            .handshake
            .request(&self.uri)
            .map_err(|error| Fault::new(Kind::Handshake, error.to_string()))?;
        Ok(Opening {
            socket,
            request: encode(&request),
            written: 0,
            pending,
            response: Vec::new(),
            known: self.raw.then(|| Answer {
                deflate: self.handshake.deflate.as_deref().map(apart),
                early: Vec::new(),
            }),
            connected: false,
            began: now,
        })
    }

    /// Opens connections 0 to `count` and leaves those that failed out.
    ///
    /// # Errors
    ///
    /// Not one could be opened because nobody listens, or this process may not open so many.
    pub(crate) fn open_all(
        &self,
        poll: &mut Poll,
        count: usize,
        faults: &mut Faults,
    ) -> Result<Vec<Option<Opened>>, Failure> {
        let mut opened: Vec<Option<Opened>> = Vec::new();
        opened.resize_with(count, || None);
        let mut openings: Vec<Option<Opening>> = Vec::new();
        openings.resize_with(count, || None);
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; MAX_RESPONSE];
        let (mut next, mut under_way, mut good) = (0, 0, 0);
        let mut looked = Instant::now();
        while next < count || under_way > 0 {
            let now = Instant::now();
            while next < count && under_way < AT_ONCE {
                match self.open(poll.registry(), next, now) {
                    Ok(opening) => {
                        openings[next] = Some(opening);
                        under_way += 1;
                    }
                    Err(fault) => self.failed(next, &fault, good, faults)?,
                }
                next += 1;
            }
            wait(poll, &mut events, Some(LOOK_EVERY))?;
            if interrupt::is_asked() {
                return Err(interrupt::too_early());
            }
            for event in &events {
                let index = event.token().0;
                let Some(opening) = openings.get_mut(index).and_then(Option::as_mut) else {
                    continue;
                };
                match opening.advance(&mut buffer, event.is_read_closed()) {
                    Ok(None) => {}
                    Ok(Some(Answer { deflate, early })) => {
                        under_way -= 1;
                        good += 1;
                        opened[index] = openings[index].take().map(|opening| Opened {
                            socket: opening.socket,
                            deflate,
                            early,
                        });
                    }
                    Err(fault) => {
                        under_way -= 1;
                        openings[index] = None;
                        self.failed(index, &fault, good, faults)?;
                    }
                }
            }
            let now = Instant::now();
            if now < looked + LOOK_EVERY {
                continue;
            }
            looked = now;
            for (index, slot) in openings.iter_mut().enumerate() {
                if slot
                    .as_ref()
                    .is_some_and(|opening| now > opening.began + self.timeout)
                {
                    under_way -= 1;
                    *slot = None;
                    let fault = Fault::new(Kind::Handshake, "no answer to the opening handshake");
                    self.failed(index, &fault, good, faults)?;
                }
            }
        }
        Ok(opened)
    }

    /// A first connection that nobody takes is a wrong address, not a fault of a server.
    fn failed(
        &self,
        index: usize,
        fault: &Fault,
        good: usize,
        faults: &mut Faults,
    ) -> Result<(), Failure> {
        if fault.kind == Kind::Connect && good == 0 {
            return Err(Failure::new(
                Exit::Refused,
                format!("cannot connect to {}: {}", self.address, fault.what),
                "check the host and the port, and that the server runs",
            ));
        }
        faults.add(index, fault);
        Ok(())
    }
}

/// What the server has answered to an opening handshake.
#[derive(Debug)]
pub(crate) struct Answer {
    /// How messages are compressed, if they are.
    pub(crate) deflate: Option<DeflateParams>,
    /// What it has sent behind its response.
    pub(crate) early: Vec<u8>,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The connection.
    pub(crate) socket: Socket,
    /// How messages are compressed, if they are.
    pub(crate) deflate: Option<DeflateParams>,
    /// What the server has sent already.
    pub(crate) early: Vec<u8>,
}

/// What is agreed on without a word: each message by itself, in the windows that were asked for.
const fn apart(config: &DeflateConfig) -> DeflateParams {
    DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: config.server_max_window_bits,
        client_max_window_bits: config.client_max_window_bits,
    }
}

/// A connection on its way to be open.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) socket: Socket,
    request: Vec<u8>,
    written: usize,
    pending: Pending,
    response: Vec<u8>,
    /// What stands for the response where there is no opening handshake.
    known: Option<Answer>,
    connected: bool,
    pub(crate) began: Instant,
}

impl Opening {
    /// Does what can be done now. `is_ending`: the server sends no more. `Some`: the WebSocket is open; with what the
    /// server has sent behind its response.
    ///
    /// # Errors
    ///
    /// It will never be open.
    pub(crate) fn advance(
        &mut self,
        buffer: &mut [u8],
        is_ending: bool,
    ) -> Result<Option<Answer>, Fault> {
        if !self.connected {
            self.connected = self.socket.is_connected().map_err(no_connection)?;
            if !self.connected {
                return Ok(None);
            }
        }
        if let Some(answer) = self.known.take() {
            return Ok(Some(answer));
        }
        while self.written < self.request.len() {
            match self.socket.write(&self.request[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(broken(&error)),
            }
        }
        loop {
            match self.socket.read(buffer) {
                Ok(0) => {
                    return Err(Fault::new(
                        Kind::Handshake,
                        "the server hung up during the opening handshake",
                    ));
                }
                Ok(count) => {
                    self.response.extend_from_slice(&buffer[..count]);
                    if let Some((response, length)) = parse(&self.response)? {
                        let negotiated = self.pending.verify(&response).map_err(refused)?;
                        let early = self.response.split_off(length);
                        // Reading on is the next owner's: with TLS there may be more.
                        return Ok(Some(Answer {
                            deflate: negotiated.deflate,
                            early,
                        }));
                    }
                    if self.response.len() >= MAX_RESPONSE {
                        return Err(Fault::new(Kind::Handshake, "the response is too long"));
                    }
                    if !is_ending && self.socket.is_drained(count, buffer.len()) {
                        return Ok(None);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // A TLS handshake that has just ended lets the request out.
                    if self.written < self.request.len() && self.socket.handshake_kind().is_some() {
                        match self.socket.write(&self.request[self.written..]) {
                            Ok(count) => self.written += count,
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                            Err(error) => return Err(broken(&error)),
                        }
                    }
                    return Ok(None);
                }
                Err(error) => return Err(broken(&error)),
            }
        }
    }
}

/// Waits for events, asleep or awake; a signal is none.
///
/// # Errors
///
/// The system has no more polls.
pub(crate) fn wait(
    poll: &mut Poll,
    events: &mut Events,
    timeout: Option<Duration>,
) -> Result<(), Failure> {
    if !usage::is_busy_polling() {
        return look(poll, events, timeout);
    }
    let began = Instant::now();
    loop {
        let waited = began.elapsed();
        look(poll, events, Some(Duration::ZERO))?;
        if !events.is_empty() || timeout.is_some_and(|timeout| waited >= timeout) {
            usage::add_idle(waited);
            return Ok(());
        }
        // Whoever sends has to write into what is looked at: it gets the time.
        (0..SPINS).for_each(|_| hint::spin_loop());
    }
}

fn look(poll: &mut Poll, events: &mut Events, timeout: Option<Duration>) -> Result<(), Failure> {
    match poll.poll(events, timeout) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(no_poll(&error)),
        _ => Ok(()),
    }
}

/// What waits for many connections.
///
/// # Errors
///
/// The system has no more.
pub(crate) fn poll() -> Result<Poll, Failure> {
    Poll::new().map_err(|error| no_poll(&error))
}

fn no_poll(error: &io::Error) -> Failure {
    Failure::new(
        Exit::Failure,
        format!("cannot wait for connections: {}", plain(error)),
        "check the limits of this process",
    )
}

fn no_connection(error: io::Error) -> Fault {
    Fault::new(Kind::Connect, plain(&error))
}

fn broken(error: &io::Error) -> Fault {
    let kind = match error.kind() {
        io::ErrorKind::InvalidData => Kind::Tls,
        _ => Kind::Handshake,
    };
    Fault::new(kind, plain(error))
}

fn refused(error: ResponseError) -> Fault {
    let kind = match error {
        ResponseError::AcceptMismatch
        | ResponseError::AcceptMissing
        | ResponseError::AcceptRepeated => Kind::Accept,
        _ => Kind::Handshake,
    };
    Fault::new(kind, error.to_string())
}

fn find(uri: &WebSocketUri, timeout: Duration) -> Result<SocketAddr, Failure> {
    let failed = |why: String| {
        Failure::new(
            Exit::Refused,
            format!("cannot reach {}: {why}", uri.host()),
            "check the host and the port, and that the server runs",
        )
    };
    let addresses: Vec<_> = (uri.host(), uri.port())
        .to_socket_addrs()
        .map_err(|error| failed(plain(&error)))?
        .collect();
    // A name may have several addresses of which one answers.
    if let [_, _, ..] = addresses[..] {
        for address in &addresses {
            if std::net::TcpStream::connect_timeout(address, timeout).is_ok() {
                return Ok(*address);
            }
        }
    }
    addresses
        .first()
        .copied()
        .ok_or_else(|| failed("it has no address".into()))
}

fn encode(request: &Request<()>) -> Vec<u8> {
    let mut head = String::new();
    let _ = write!(head, "GET {} HTTP/1.1\r\n", request.uri());
    let mut bytes = head.into_bytes();
    for (name, value) in request.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// The response and its length, once it is whole.
fn parse(bytes: &[u8]) -> Result<Option<(Response<()>, usize)>, Fault> {
    let no_http =
        |why: String| Fault::new(Kind::Handshake, format!("the response is no HTTP: {why}"));
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut fields);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(no_http(error.to_string())),
    };
    let mut response = Response::builder()
        .status(parsed.code.unwrap_or_default())
        .version(match parsed.version {
            Some(1) => http::Version::HTTP_11,
            _ => http::Version::HTTP_10,
        });
    for field in parsed.headers {
        response = response.header(field.name, field.value);
    }
    match response.body(()) {
        Ok(response) => Ok(Some((response, length))),
        Err(error) => Err(no_http(error.to_string())),
    }
}
