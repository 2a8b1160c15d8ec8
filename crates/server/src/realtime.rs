//! The realtime server: from a configuration to a hub with everything around it, and to its quiet end.

mod door;
mod logins;
mod reload;
mod site;
mod wiring;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use antiphon::{
    Config as SocketConfig, DeflateConfig, Origins, Running, Server, ServerTls, peer::Network,
};
use axum::{Router, routing::any};

use self::site::Site;
use crate::{
    admin::{self, pulse, requests, state::Admin},
    api,
    cli::server::ServeArgs,
    config::{
        command::refused,
        load::{self, Loaded, Sources},
        schema::Config,
    },
    failure::{Exit, Failure},
    health,
    listen::{Hangup, Stop, for_browsers, runtime, say, unusable},
    metrics,
    pages::{self, ToAdmin},
    tls,
};

/// Where a client of the demo is let in without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// A demo on this machine: clients say who they are.
    Demo,
    /// The real thing.
    Real,
}

/// Serves until a signal. `pages` are served beside the hub, and told where the admin page is; all of it behind `guard`.
///
/// # Errors
///
/// The configuration has problems, or an address cannot be used.
pub(crate) fn run(
    args: &ServeArgs,
    pages: (Router, ToAdmin),
    purpose: Use,
    guard: impl FnOnce(Router) -> Router,
) -> Result<(), Failure> {
    let sources = sources(args, purpose);
    let (sources, loaded) = load_all(sources, args, purpose)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    runtime()?.block_on(serve(sources, loaded, pages, purpose, guard))
}

/// The sources of the configuration, with the older options above all.
fn sources(args: &ServeArgs, purpose: Use) -> Sources {
    let mut sources = crate::config::command::sources(&args.source);
    let listen = &args.listen;
    let mut flag = |key: &str, option: &str, value: Option<String>| {
        if let Some(value) = value {
            sources.flag(key, option, &value);
        }
    };
    let path =
        |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let time = |time: Duration| format!("{}ms", time.as_millis());
    flag("server.listen", "--listen", listen.listen.clone());
    flag("tls.cert", "--tls-cert", path(&listen.tls_cert));
    flag("tls.key", "--tls-key", path(&listen.tls_key));
    flag(
        "tls.self_signed",
        "--tls-self-signed",
        listen.tls_self_signed.then(|| "true".into()),
    );
    if !listen.origins.is_empty() {
        flag("server.origins", "--origin", Some(listen.origins.join(",")));
    }
    flag(
        "server.insecure_any_origin",
        "--any-origin",
        listen.any_origin.then(|| "true".into()),
    );
    flag(
        "server.max_connections",
        "--max-connections",
        listen.max_connections.map(|count| count.to_string()),
    );
    flag(
        "websocket.max_message_size",
        "--max-message-size",
        listen.max_message_size.map(|size| size.to_string()),
    );
    flag(
        "websocket.ping_interval",
        "--ping-interval",
        listen.ping_interval.map(time),
    );
    flag("server.drain", "--drain", listen.drain.map(time));
    flag(
        "websocket.compression",
        "--compression",
        listen.compression.config().map(|_| "true".into()),
    );
    if purpose == Use::Demo {
        if listen.drain.is_none() {
            sources.flag("server.drain", "--dev", "5s");
        }
        // The demo shows the lines that import it.
        sources.flag("server.client", "--dev", "/antiphon.js");
    }
    sources
}

/// Reads the configuration. A demo without a word about the admin page has one, on this machine alone, with a token that
/// nobody has seen before.
fn load_all(
    mut sources: Sources,
    args: &ServeArgs,
    purpose: Use,
) -> Result<(Sources, Loaded), Failure> {
    let load = |sources: &Sources| load::load(sources).map_err(|problems| refused(&problems));
    let loaded = load(&sources)?;
    let admin = &loaded.config.admin;
    if purpose != Use::Demo || args.no_admin || admin.token.is_some() {
        return Ok((sources, loaded));
    }
    if admin.listen.is_none() {
        let port = loaded.config.server.listen.rsplit_once(':');
        let port = port.and_then(|(_, port)| port.parse::<u16>().ok());
        // A port that the system picks has no neighbour that is known.
        let port = port
            .filter(|port| *port > 0)
            .and_then(|port| port.checked_add(1));
        let listen = format!("127.0.0.1:{}", port.unwrap_or(0));
        sources.flag("admin.listen", "--dev", &listen);
    }
    let token = format!("{:032x}", rand::random::<u128>());
    sources.flag("admin.token", "--dev", &token);
    let loaded = load(&sources)?;
    Ok((sources, loaded))
}

async fn serve(
    sources: Sources,
    loaded: Loaded,
    (pages, to_admin): (Router, ToAdmin),
    purpose: Use,
    guard: impl FnOnce(Router) -> Router,
) -> Result<(), Failure> {
    let config = loaded.config.clone();
    let site = Arc::new(Site::new(sources, loaded, purpose)?);
    wiring::wire(&site);
    let routes = guard(routes(&site, &config, pages));
    let running = Arc::new(start(&config, routes).await?);
    site.started(&running);
    let (mut stop, mut hangup) = (Stop::new(), Hangup::new());
    announce(&config, &running, purpose);
    let mut beside = beside(&site, &config).await?;
    if let Some(admin) = &site.admin {
        let page = start_admin(&config, admin, purpose).await?;
        announce_admin(&config, &page, purpose);
        if let Some(address) = page.local_addrs().first() {
            to_admin.found(admin_url(&config, *address));
        }
        beside.push(page);
    }
    let chores = tokio::spawn(site.clone().chores());
    let servers: Vec<&Running> = beside.iter().chain([&*running]).collect();
    tokio::select! {
        ended = running.wait() => return ended.map_err(Failure::from),
        () = reload::on_hangup(&site, &servers, &mut hangup) => {}
        () = stop.signal() => {}
    }
    tokio::select! {
        () = site.drain(&running) => {}
        () = stop.signal() => running.shutdown(),
    }
    running.shutdown();
    tokio::select! {
        ended = running.wait() => ended.map_err(Failure::from)?,
        () = stop.signal() => {
            running.shutdown();
            running.wait().await.map_err(Failure::from)?;
        }
    }
    chores.abort();
    for server in &beside {
        server.shutdown();
        server.wait().await.map_err(Failure::from)?;
    }
    site.end().await;
    Ok(())
}

/// Everything that is answered on the server's own address.
fn routes(site: &Arc<Site>, config: &Config, pages: Router) -> Router {
    let path = config.server.path.trim_end_matches('/');
    let socket = || {
        let site = site.clone();
        any(move |request| door::answer(site.clone(), request))
    };
    let mut routes = pages.merge(health::routes(site.health.clone(), &config.health));
    if let Some(path) = &config.server.client {
        routes = routes.merge(pages::client(path));
    }
    if config.metrics.listen.is_none() && config.metrics.token.is_some() {
        site.metrics.publish();
        routes = routes.merge(metrics::routes(site.metrics.clone(), &config.metrics));
    }
    if config.api.listen.is_none() && !config.api.keys.is_empty() {
        routes = routes.merge(calls(site));
    }
    if config.api.hotgo && !config.api.keys.is_empty() {
        routes = routes.merge(api::hotgo_routes(site.api.clone(), path));
    }
    if path.is_empty() {
        routes = routes.route("/", socket());
    } else {
        routes = routes
            .route(path, socket())
            .route(&format!("{path}/"), socket());
    }
    routes
}

/// The HTTP API.
fn calls(site: &Site) -> Router {
    let routes = api::routes(site.api.clone());
    match &site.traces {
        None => routes,
        Some(traces) => traces.calls(routes, |name| {
            name == "batch" || api::table::find(name).is_some()
        }),
    }
}

/// The servers beside the main one. What has the same address shares it.
async fn beside(site: &Site, config: &Config) -> Result<Vec<Running>, Failure> {
    /// An address, the name and the path of everything there, and its routes.
    type Door<'a> = (&'a str, Vec<(&'a str, &'a str)>, Router);
    let mut doors: Vec<Door<'_>> = Vec::new();
    let mut open = |address, name, path, routes: Router| {
        if let Some(door) = doors.iter_mut().find(|door| door.0 == address) {
            door.1.push((name, path));
            door.2 = std::mem::take(&mut door.2).merge(routes);
        } else {
            doors.push((address, vec![(name, path)], routes));
        }
    };
    if let Some(address) = &config.api.listen {
        let routes = calls(site);
        open(address, "API", &config.api.path, routes);
    }
    if let Some(address) = &config.metrics.listen {
        let routes = metrics::routes(site.metrics.clone(), &config.metrics)
            .merge(health::routes(site.health.clone(), &config.health));
        open(address, "metrics", &config.metrics.path, routes);
    }
    let mut running = Vec::new();
    for (address, names, routes) in doors {
        let server = Server::new()
            .bind(address)
            .router(routes)
            .trusted_proxies(proxies(config))
            .drain_timeout(LAST_WAIT);
        let server = server.start().await.map_err(|error| unusable(&error))?;
        for address in server.local_addrs() {
            for (name, path) in &names {
                say(&format!("{name} on http://{address}{path}"));
            }
        }
        running.push(server);
    }
    Ok(running)
}

/// The server of the admin page.
async fn start_admin(config: &Config, admin: &Admin, purpose: Use) -> Result<Running, Failure> {
    requests::install(admin);
    pulse::start(admin);
    let listen = config.admin.address().unwrap_or(ANY_PORT);
    let started = admin_server(config, admin, listen)?.start().await;
    let started = match started {
        // The demo takes the port beside its own, where that is free.
        Err(_) if purpose == Use::Demo && listen != ANY_PORT => {
            admin_server(config, admin, ANY_PORT)?.start().await
        }
        started => started,
    };
    started.map_err(|error| unusable(&error))
}

/// A free port of this machine.
const ANY_PORT: &str = "127.0.0.1:0";

fn admin_server(config: &Config, admin: &Admin, listen: &str) -> Result<Server, Failure> {
    let origins = Origins::same_origin()
        .also(config.admin.origins.iter().map(String::as_str))
        .map_err(|error| Failure::caused(Exit::Failure, &error, "see admin.origins"))?;
    let mut socket = SocketConfig::default();
    socket.max_message_size = ADMIN_MESSAGE;
    let mut server = Server::new()
        .bind(listen)
        .router(admin::door::routes(admin))
        .config(socket)
        .origins(origins)
        .trusted_proxies(proxies(config))
        .max_connections(ADMIN_CONNECTIONS)
        .drain_timeout(LAST_WAIT);
    if config.admin.tls
        && let Some(certificate) = certificate(config)?
    {
        server = server.tls(certificate);
    }
    Ok(server)
}

/// Longest message of the admin page: what is sent to clients may be long.
const ADMIN_MESSAGE: usize = 1024 * 1024;

/// Most connections of the admin page's listener.
const ADMIN_CONNECTIONS: usize = 128;

fn announce_admin(config: &Config, page: &Running, purpose: Use) {
    for address in page.local_addrs() {
        let url = admin_url(config, *address);
        match (purpose, &config.admin.token) {
            // On this machine alone, and anew at each start.
            (Use::Demo, Some(token)) => say(&format!("Admin: {url}#token={}", token.expose())),
            _ => say(&format!("admin on {url}")),
        }
    }
}

fn admin_url(config: &Config, address: SocketAddr) -> String {
    let secure = if config.admin.tls { "s" } else { "" };
    format!("http{secure}://{}/", for_browsers(address))
}

fn proxies(config: &Config) -> Vec<Network> {
    let networks = config.server.trusted_proxies.iter();
    networks
        .filter_map(|network| network.parse().ok())
        .collect()
}

async fn start(config: &Config, routes: Router) -> Result<Running, Failure> {
    let bounds = &config.websocket;
    let mut socket = SocketConfig::default();
    socket.max_message_size = bounds.max_message_size;
    socket.max_fragments = bounds.max_fragments;
    socket.ping_interval = Some(bounds.ping_interval).filter(|interval| !interval.is_zero());
    socket.pong_timeout = bounds.pong_timeout;
    socket.write_timeout = bounds.write_timeout;
    socket.close_timeout = bounds.close_timeout;
    let settings = &config.server;
    let origins = if settings.insecure_any_origin {
        Origins::allow_any()
    } else {
        Origins::same_origin()
            .also(settings.origins.iter().map(String::as_str))
            .map_err(|error| Failure::caused(Exit::Failure, &error, "see server.origins"))?
    };
    let mut server = Server::new()
        .bind(&settings.listen)
        .router(routes)
        .http2(true)
        .config(socket)
        .origins(origins)
        .trusted_proxies(proxies(config))
        .max_connections_per_address(settings.max_connections_per_address)
        .max_handshakes(settings.max_handshakes)
        .max_accept_rate(settings.accept_rate)
        .workers(settings.workers)
        .handshake_timeout(settings.handshake_timeout)
        .drain_timeout(LAST_WAIT);
    if let Some(most) = settings.max_connections {
        server = server.max_connections(most);
    }
    if bounds.compression {
        server = server.compression(DeflateConfig::default());
    }
    if let Some(root) = &settings.static_root {
        server = server.static_root(root);
    }
    if let Some(certificate) = certificate(config)? {
        server = server.tls(certificate);
    }
    server.start().await.map_err(|error| unusable(&error))
}

fn certificate(config: &Config) -> Result<Option<ServerTls>, Failure> {
    tls::certificate(
        config.tls.cert.as_deref().map(Path::new),
        config.tls.key.as_deref().map(Path::new),
        config.tls.self_signed,
    )
}

/// Wait for what is still open when every client has been told to go.
const LAST_WAIT: Duration = Duration::from_secs(5);

fn announce(config: &Config, running: &Running, purpose: Use) {
    let secure = if config.tls.cert.is_some() || config.tls.self_signed {
        "s"
    } else {
        ""
    };
    for (index, address) in running.local_addrs().iter().enumerate() {
        if index > 0 {
            tracing::info!("also listening on ws{secure}://{address}/");
            continue;
        }
        match purpose {
            Use::Demo => {
                say(&format!("listening on ws{secure}://{address}/"));
                say(&format!("open http{secure}://{}/", for_browsers(*address)));
            }
            Use::Real => {
                let path = &config.server.path;
                say(&format!("listening on ws{secure}://{address}{path}"));
            }
        }
    }
}
