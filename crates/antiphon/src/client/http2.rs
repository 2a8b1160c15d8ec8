//! WebSocket over one stream of an HTTP/2 connection (RFC 8441): the extended CONNECT.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, response};
use http_body_util::Empty;
use hyper::{client::conn::http2, rt::Executor, upgrade::Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::exchange::{MAX_HEAD, beginning};

/// Flow-control window of the stream in bytes: a message of the default limit passes without a stall.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// Wait for the server's SETTINGS, which it sends first of all.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(3);
/// The limit of streams before SETTINGS have arrived, which always change it: a number that no server is likely to
/// choose, because a server that does is waited for until [`SETTINGS_TIMEOUT`].
const STREAMS_BEFORE_SETTINGS: usize = 97;
/// hyper has no event for SETTINGS, so they are looked for: soon at first, then at this distance.
const SETTINGS_POLL: Duration = Duration::from_millis(20);

/// How the server answered.
pub(crate) enum Answer {
    /// It opened the stream.
    Switched(response::Parts, Upgraded),
    /// It answered as HTTP: the head and the beginning of the body.
    Refused(response::Parts, Bytes),
    /// It speaks HTTP/2 without the extended CONNECT.
    Unsupported,
}

/// Opens an HTTP/2 connection, waits for the server to allow the extended CONNECT, and sends the request.
///
/// # Cancel safety
///
/// Dropping the future ends the connection's tasks, and so the connection.
pub(crate) async fn exchange<T>(io: T, request: Request<()>) -> hyper::Result<Answer>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let tasks = Tasks::default();
    let guard = AbortOnDrop(tasks.clone());
    let (mut sender, mut connection) = http2::Builder::new(tasks.clone())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW)
        .initial_max_send_streams(STREAMS_BEFORE_SETTINGS)
        .max_header_list_size(MAX_HEAD as u32)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(io))
        .await?;

    let deadline = Instant::now() + SETTINGS_TIMEOUT;
    let mut pause = Duration::from_millis(1);
    loop {
        // Read in this order: both change together, and may do so between the two reads.
        let settled = connection.current_max_send_streams() != STREAMS_BEFORE_SETTINGS;
        if connection.is_extended_connect_protocol_enabled() {
            break;
        }
        if settled || Instant::now() >= deadline {
            return Ok(Answer::Unsupported);
        }
        tokio::select! {
            end = &mut connection => {
                end?;
                return Ok(Answer::Unsupported);
            }
            () = sleep(pause) => pause = (pause * 2).min(SETTINGS_POLL),
        }
    }
    tasks.execute(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the HTTP/2 connection failed");
        }
    });

    let mut response = sender.send_request(request.map(|()| Empty::new())).await?;
    if !response.status().is_success() {
        let (head, body) = response.into_parts();
        return Ok(Answer::Refused(head, beginning(body).await));
    }
    let upgraded = hyper::upgrade::on(&mut response).await?;
    guard.disarm();
    let (head, _) = response.into_parts();
    Ok(Answer::Switched(head, upgraded))
}

/// Runs hyper's tasks for one connection, so that they can be ended together while the handshake is under way.
#[derive(Clone)]
struct Tasks(Arc<Mutex<Option<JoinSet<()>>>>);

impl Default for Tasks {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(JoinSet::new()))))
    }
}

impl Tasks {
    fn take(&self) -> Option<JoinSet<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        let task = async move {
            task.await;
        };
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(set) => drop(set.spawn(task)),
            None => drop(tokio::spawn(task)),
        }
    }
}

/// The tasks hold the executor that holds them; this breaks the circle from outside.
struct AbortOnDrop(Tasks);

impl AbortOnDrop {
    /// The handshake succeeded: the tasks live as long as the stream.
    fn disarm(self) {
        if let Some(mut tasks) = self.0.take() {
            tasks.detach_all();
        }
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}
