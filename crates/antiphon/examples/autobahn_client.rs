//! The client under test of the Autobahn test suite: `autobahn_client ws://HOST:PORT AGENT`.
//!
//! Asks the suite how many cases there are, runs each one as an echo, and has the report written.

use std::{env, process::ExitCode};

use antiphon::{Client, Codec, Config, DeflateConfig, Error, ErrorKind, Result};

/// The suite sends messages of up to 16 MiB, in up to 65,536 fragments, some of which compress extremely well.
fn client() -> Client {
    let mut config = Config::default();
    config.max_message_size = 64 * 1024 * 1024;
    config.max_fragments = 1 << 20;
    config.max_inflate_ratio = u32::MAX;
    Client::new().config(config)
}

async fn case_count(base: &str) -> Result<u32> {
    let mut socket = client().connect(format!("{base}/getCaseCount")).await?;
    let message = socket.recv().await?;
    let count = message
        .as_ref()
        .and_then(|message| message.as_text())
        .and_then(|text| text.parse().ok());
    count.ok_or_else(|| {
        Error::new(
            ErrorKind::Config,
            "the suite did not say how many cases there are",
        )
    })
}

/// Echoes until the connection ends; many cases end it by breaking the protocol.
async fn run_case(base: &str, case: u32, agent: &str) -> Result<()> {
    let mut deflate = DeflateConfig::default();
    deflate.min_size = 0;
    deflate.codec = Codec::Dedicated;
    let client = client().compression(deflate);
    let mut socket = client
        .connect(format!("{base}/runCase?case={case}&agent={agent}"))
        .await?;
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

async fn run(base: &str, agent: &str) -> Result<()> {
    let count = case_count(base).await?;
    for case in 1..=count {
        match run_case(base, case, agent).await {
            Ok(()) => eprintln!("case {case} of {count}"),
            Err(error) => eprintln!("case {case} of {count}: {error}"),
        }
    }
    let mut socket = client()
        .connect(format!("{base}/updateReports?agent={agent}"))
        .await?;
    while socket.recv().await?.is_some() {}
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [base, agent] = arguments.as_slice() else {
        eprintln!("usage: autobahn_client ws://HOST:PORT AGENT");
        return ExitCode::from(2);
    };
    match run(base.trim_end_matches('/'), agent).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("autobahn_client: error: {error}");
            ExitCode::FAILURE
        }
    }
}
