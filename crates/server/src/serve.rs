//! `antiphon serve`: a page at `/`, and at `/ws` an echo, a program or a file; beside the echo a chat on the hub.

use std::{net::IpAddr, sync::Arc};

use antiphon::Upgrade;
use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::IntoResponse as _,
    routing::{any, get},
};
use http::{StatusCode, Uri, header, uri::Authority};

use crate::{
    cli::server::ServeArgs,
    command::{Commands, Visitor},
    echo,
    failure::Failure,
    listen,
    pages::{self, Page},
    realtime::{self, Use},
    watch::{self, Watched},
};

/// Serves until a signal.
///
/// # Errors
///
/// There is nothing to serve, or it cannot be served; and as [`listen::serve`].
pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    args.check()?;
    if args.dev {
        let routes = pages::routes(Page::Echo)
            .route("/ws", any(echo::answer))
            .merge(pages::chat());
        return realtime::run(args, routes, Use::Demo, |routes| guard(args, routes));
    }
    if args.source.config.is_some() || !args.source.set.is_empty() {
        return realtime::run(args, Router::new(), Use::Real, |routes| routes);
    }
    listen::runtime()?.block_on(async {
        let routes = if let Some(path) = &args.watch {
            watch_routes(Watched::start(path)?)
        } else {
            command_routes(Arc::new(Commands::new(args)?))
        };
        listen::serve(&args.listen, guard(args, routes), true).await
    })
}

fn command_routes(commands: Arc<Commands>) -> Router {
    let answer = async move |upgrade: Upgrade, uri: Uri| {
        let visitor = Visitor {
            address: upgrade
                .peer()
                .remote()
                .map(|address| address.to_string())
                .unwrap_or_default(),
            uri: uri
                .path_and_query()
                .map(ToString::to_string)
                .unwrap_or_default(),
        };
        upgrade.on_socket(move |socket| async move { commands.run(socket, visitor).await })
    };
    pages::routes(Page::Command).route("/ws", any(answer))
}

fn watch_routes(watched: Arc<Watched>) -> Router {
    let current = watched.clone();
    let answer = async move |upgrade: Upgrade, uri: Uri| {
        let known = watch::last_mod(uri.query().unwrap_or_default());
        upgrade.on_socket(move |socket| async move { watched.follow(socket, known).await })
    };
    pages::routes(Page::Watch)
        .route("/file", get(move || async move { current.current() }))
        .route("/ws", any(answer))
}

/// A server for this machine alone answers to this machine's names alone.
///
/// Any web site can let a name of its own point to 127.0.0.1 (DNS rebinding). Its pages are then of the same origin as
/// this server and could run the program or read the file.
fn guard(args: &ServeArgs, routes: Router) -> Router {
    if !args.listen.is_loopback() || args.listen.any_origin {
        return routes;
    }
    let named: Arc<[String]> = args
        .listen
        .origins
        .iter()
        .filter_map(|origin| host_of(origin))
        .collect();
    routes.layer(middleware::from_fn(move |request: Request, next: Next| {
        let named = named.clone();
        async move {
            if host(&request).is_some_and(|host| is_local(&host) || named.contains(&host)) {
                return next.run(request).await;
            }
            let mut response = pages::answer(
                "text/plain; charset=utf-8",
                "this server is for localhost; see --origin\n",
            );
            *response.status_mut() = StatusCode::MISDIRECTED_REQUEST;
            response.into_response()
        }
    }))
}

fn host(request: &Request) -> Option<String> {
    let authority = match request.headers().get(header::HOST) {
        Some(host) => host.to_str().ok()?.parse::<Authority>().ok()?,
        None => request.uri().authority()?.clone(),
    };
    Some(authority.host().to_ascii_lowercase())
}

fn host_of(origin: &str) -> Option<String> {
    Some(origin.parse::<Uri>().ok()?.host()?.to_ascii_lowercase())
}

/// Names that no web site can have.
fn is_local(host: &str) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || literal
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        for (host, local) in [
            ("localhost", true),
            ("app.localhost", true),
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(is_local(host), local, "{host}");
        }
        assert_eq!(
            host_of("https://App.example:8443").as_deref(),
            Some("app.example")
        );
    }
}
