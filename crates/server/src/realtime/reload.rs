//! SIGHUP: the configuration and the certificates are read again; a bad file is refused, and what is in force stays.

use antiphon::Running;

use super::site::Site;
use crate::{config::load, listen::Hangup};

/// Reads again.
pub(crate) fn reload(site: &Site, servers: &[&Running]) {
    match load::load(&site.sources) {
        Err(problems) => {
            for problem in &problems.0 {
                tracing::error!("{problem}");
            }
            tracing::error!("the configuration is not taken over: the old one stays");
        }
        Ok(loaded) => {
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            let changes = load::changes(&site.loaded(), &loaded);
            match site.apply(loaded) {
                Err(failure) => {
                    let why = failure.words();
                    tracing::error!(
                        "the configuration is not taken over, the old one stays: {why}"
                    );
                }
                Ok(()) => {
                    tracing::info!(applied = ?changes.applied, "the configuration is read again");
                    if !changes.restart.is_empty() {
                        tracing::warn!(keys = ?changes.restart, "these keys wait for a restart");
                    }
                }
            }
        }
    }
    for server in servers {
        if let Err(error) = server.reload_tls() {
            tracing::error!("the old certificate stays: {error}");
            return;
        }
    }
    tracing::info!("certificates are read again");
}

/// Reloads at each SIGHUP, for ever.
pub(crate) async fn on_hangup(site: &Site, servers: &[&Running], hangup: &mut Hangup) {
    loop {
        hangup.signal().await;
        reload(site, servers);
    }
}
