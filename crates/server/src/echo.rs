//! `antiphon echo`: every message comes back, on every path, with its kind and its boundaries.

use antiphon::{Result, Upgrade, WebSocket};
use axum::{Router, response::Response};

use crate::{cli::server::EchoArgs, failure::Failure, listen};

/// Serves until a signal.
///
/// # Errors
///
/// As [`listen::serve`].
pub(crate) fn run(args: &EchoArgs) -> Result<(), Failure> {
    let routes = Router::new().fallback(answer);
    listen::runtime()?.block_on(listen::serve(&args.listen, routes, false))
}

/// The handler of a route that echoes.
pub(crate) async fn answer(upgrade: Upgrade) -> Response {
    upgrade.on_socket(echo)
}

async fn echo(mut socket: WebSocket) -> Result<()> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}
