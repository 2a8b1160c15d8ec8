//! The steps of `cargo xtask ci`, in the order in which they run: the quick ones first.

mod api;
mod browser;
mod conformance;
mod foreign;
mod fuzz;
mod rust;
mod shown;
mod web;

use anyhow::Result;

use crate::context::{Context, Tally};
use crate::counts;

/// A step: a name for `--only`, a line for the reader, and the work.
pub(crate) struct Step {
    /// The name on the command line and of the log.
    pub(crate) name: &'static str,
    /// What it checks.
    pub(crate) about: &'static str,
    /// Runs it.
    pub(crate) run: fn(&Context) -> Result<Tally>,
}

/// All steps.
pub(crate) fn all() -> Vec<Step> {
    let step = |name, about, run| Step { name, about, run };
    vec![
        step(
            "format",
            "every crate is formatted by rustfmt's defaults",
            rust::format,
        ),
        step(
            "tidy",
            "house rules: walls, circles, first lines, sizes, words",
            rust::tidy,
        ),
        step("clippy", "no lint, in any target", rust::clippy),
        step(
            "tests",
            "unit and integration tests of the workspace",
            rust::tests,
        ),
        step(
            "doctests",
            "the examples in the documentation",
            rust::doctests,
        ),
        step("docs", "documentation without a warning", rust::docs),
        step("examples", "every example builds", rust::examples),
        step(
            "deny",
            "licences, bans, sources and advisories of all dependencies",
            rust::deny,
        ),
        step(
            "web",
            "the browser client and the pages: types, tests, size, and the committed pages are those of the source",
            web::web,
        ),
        step(
            "build",
            "the command and the test clients, once, for the steps below",
            rust::build,
        ),
        step(
            "counts",
            "no hot path takes more instructions than docs/instructions.md says",
            counts::check,
        ),
        step(
            "autobahn-server",
            "517 cases of the Autobahn TestSuite against `antiphon echo`",
            conformance::autobahn_server,
        ),
        step(
            "autobahn-client",
            "517 cases of the Autobahn TestSuite against the client",
            conformance::autobahn_client,
        ),
        step(
            "interop-python",
            "websockets and aiohttp, both ways",
            conformance::python,
        ),
        step(
            "interop-node",
            "ws, and Node's HTTP/2, both ways",
            conformance::node,
        ),
        step(
            "interop-go",
            "gorilla, coder, x/net and gf, both ways",
            conformance::go,
        ),
        step(
            "api",
            "Centrifugo's Python client and schemathesis on the HTTP API",
            api::api,
        ),
        step(
            "browser",
            "Chromium on every page, and the client in pages of others",
            browser::browser,
        ),
        step(
            "hotgo",
            "hotgo's client, to the second and to the byte, in both modes of auth",
            foreign::hotgo,
        ),
        step(
            "backend",
            "the example's backend in Python, with Chromium at the other end",
            foreign::backend,
        ),
        step(
            "fuzz",
            "every fuzz target for a while, from an empty corpus",
            fuzz::fuzz,
        ),
        step(
            "readme",
            "every command that the README shows",
            shown::readme,
        ),
        step(
            "guide",
            "every command that the guide to the realtime server shows",
            foreign::guide,
        ),
    ]
}
