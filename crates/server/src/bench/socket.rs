//! A non-blocking connection, plain or over TLS.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    sync::Arc,
};

use mio::{Interest, Registry, Token, net::TcpStream};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, pki_types::ServerName};

/// A connection that never blocks: what would is [`io::ErrorKind::WouldBlock`].
#[derive(Debug)]
pub(crate) enum Socket {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<Tls>),
}

/// A TLS session over TCP.
#[derive(Debug)]
pub(crate) struct Tls {
    tcp: TcpStream,
    session: ClientConnection,
}

impl Socket {
    /// Begins to connect; the first event of this token says that it is done, or has failed.
    ///
    /// # Errors
    ///
    /// The system has no socket, or the address cannot be reached at once.
    pub(crate) fn connect(
        registry: &Registry,
        token: usize,
        address: SocketAddr,
        tls: Option<(&Arc<ClientConfig>, &ServerName<'static>)>,
    ) -> io::Result<Self> {
        let mut tcp = TcpStream::connect(address)?;
        registry.register(
            &mut tcp,
            Token(token),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        let Some((config, name)) = tls else {
            return Ok(Self::Plain(tcp));
        };
        let session = ClientConnection::new(Arc::clone(config), name.clone())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Self::Tls(Box::new(Tls { tcp, session })))
    }

    /// Whether TCP is connected.
    ///
    /// # Errors
    ///
    /// Why it never will be.
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        let tcp = self.tcp();
        if let Some(error) = tcp.take_error()? {
            return Err(error);
        }
        match tcp.peer_addr() {
            Ok(_) => {
                // Small messages leave at once.
                tcp.set_nodelay(true)?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads what is there; 0 is the end.
    ///
    /// # Errors
    ///
    /// Nothing is there now, or the connection has failed.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }

    /// Whether a read of `count` bytes into `room` has taken all there was: a short read is the end of what the kernel
    /// has, so that asking again is one system call too many.
    pub(crate) fn is_drained(&self, count: usize, room: usize) -> bool {
        matches!(self, Self::Plain(_)) && count < room
    }

    /// Writes what fits.
    ///
    /// # Errors
    ///
    /// Nothing fits now, or the connection has failed.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    /// Moves on what TLS has to say.
    ///
    /// # Errors
    ///
    /// The connection has failed.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// How the TLS handshake went.
    pub(crate) fn handshake_kind(&self) -> Option<HandshakeKind> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => tls.session.handshake_kind(),
        }
    }

    /// Hangs up at once: nothing is left behind that would keep the port.
    pub(crate) fn abort(self) {
        #[cfg(unix)]
        let _ =
            rustix::net::sockopt::set_socket_linger(self.tcp(), Some(std::time::Duration::ZERO));
        drop(self);
    }

    const fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &tls.tcp,
        }
    }
}

impl Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Many servers hang up without TLS's own goodbye.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            let count = self.session.read_tls(&mut self.tcp)?;
            if let Err(error) = self.session.process_new_packets() {
                // The alert that says why.
                let _ = self.flush();
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            self.flush()?;
            if count == 0 && self.session.is_handshaking() {
                return Ok(0);
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let count = self.session.writer().write(bytes)?;
        self.flush()?;
        match count {
            0 if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.tcp) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
