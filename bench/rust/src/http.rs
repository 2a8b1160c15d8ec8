//! hyper's HTTP/1.1 with upgrades, for the libraries that leave HTTP to it.

use axum::Router;
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
    service::Service,
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};

use crate::peer::{Fault, Transport};

/// Serves one connection by a hyper service.
///
/// # Errors
///
/// As hyper.
pub async fn serve<S, V, B>(stream: S, service: V) -> Result<(), Fault>
where
    S: Transport,
    V: Service<Request<Incoming>, Response = Response<B>>,
    V::Error: Into<Fault>,
    B: Body + 'static,
    B::Error: Into<Fault>,
{
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    Ok(connection.with_upgrades().await?)
}

/// Serves one connection by an axum router.
///
/// # Errors
///
/// As hyper.
pub async fn route<S: Transport>(stream: S, router: Router) -> Result<(), Fault> {
    let connection = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    Ok(connection.with_upgrades().await?)
}
