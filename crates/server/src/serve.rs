//! `antiphon serve`: a page at `/`, and at `/ws` an echo, a program or a file; beside the echo a chat on the hub.

use std::sync::Arc;

use antiphon::Upgrade;
use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::IntoResponse as _,
    routing::{any, get},
};
use http::{StatusCode, Uri};

use crate::{
    cli::server::ServeArgs,
    command::{Commands, Visitor},
    echo,
    failure::Failure,
    host, listen,
    pages::{self, Page, ToAdmin},
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
        let to_admin = ToAdmin::default();
        let routes = pages::demo(&to_admin).route("/ws", any(echo::answer));
        let pages = (routes, to_admin);
        return realtime::run(args, pages, Use::Demo, |routes| guard(args, routes));
    }
    if args.source.config.is_some() || !args.source.set.is_empty() {
        return realtime::run(args, Default::default(), Use::Real, |routes| routes);
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
        .filter_map(|origin| host::of_origin(origin))
        .collect();
    routes.layer(middleware::from_fn(move |request: Request, next: Next| {
        let named = named.clone();
        async move {
            let host = host::of_request(&request);
            if host.is_some_and(|host| host::is_local(&host) || named.contains(&host)) {
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
