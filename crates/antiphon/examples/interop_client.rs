//! Our client against anybody's echo server: `interop_client ws://HOST:PORT/ [OPTION]...`
//!
//! Prints `ok - NAME` or `not ok - NAME: WHY` for each check, the sums at the end, and exits with 1 when one failed.
//! The server echoes at `/`, speaks the subprotocol `chat`, closes at `/close?code=N&reason=TEXT`, and at `/ping` pings
//! with "are you there" and says "pong are you there" when it has the answer.
//!
//! `interop_client --certificate DIRECTORY` writes `cert.pem` and `key.pem` for a server on 127.0.0.1 instead.

use std::{
    env, fs, future::Future, path::Path, pin::pin, process::ExitCode, result, time::Duration,
};

use antiphon::{
    Client, ClientTls, CloseFrame, Codec, Config, DeflateConfig, Message, MessageKind, Proxy,
    WebSocket,
};
use tokio::time::timeout;

const USAGE: &str = "usage: interop_client URL [--compression] [--window BYTES | --dedicated] [--bits 8..15] \
[--no-takeover] [--http2] [--ca FILE] [--without CHECK]...\n       interop_client --certificate DIRECTORY";
const SUBPROTOCOL: &str = "chat";
const PATIENCE: Duration = Duration::from_secs(30);

/// Anything that goes wrong in a check is a sentence.
type Outcome<T = ()> = result::Result<T, String>;

struct Checks {
    client: Client,
    url: String,
    /// What the server's library cannot do.
    without: Vec<String>,
    passed: usize,
    failed: usize,
}

impl Checks {
    async fn run(&mut self, name: &str, check: impl Future<Output = Outcome>) {
        if self.without.iter().any(|left_out| name == left_out) {
            println!("# left out - {name}");
            return;
        }
        let outcome = timeout(PATIENCE, pin!(check))
            .await
            .unwrap_or_else(|_| Err(format!("nothing within {PATIENCE:?}")));
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("ok - {name}");
            }
            Err(why) => {
                self.failed += 1;
                println!("not ok - {name}: {why}");
            }
        }
    }

    async fn all(&mut self) {
        let (client, url) = (self.client.clone(), self.url.clone());
        let reasons = !self.without.iter().any(|name| name == "reasons");
        let open = |path: &str| {
            let (client, url) = (client.clone(), format!("{url}{path}"));
            async move { client.connect(url).await.map_err(|e| describe(&e)) }
        };

        self.run("subprotocol", async {
            let client = client.clone().subprotocols(["other", SUBPROTOCOL]);
            let socket = client.connect(&url).await.map_err(|e| describe(&e))?;
            expect(socket.subprotocol(), Some(SUBPROTOCOL))
        })
        .await;
        for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 3 << 20] {
            self.run(&format!("text of {size} bytes"), async {
                echo(&mut open("").await?, Message::text(letters(size))).await
            })
            .await;
            self.run(&format!("binary of {size} bytes"), async {
                echo(&mut open("").await?, Message::binary(noise(size))).await
            })
            .await;
        }
        self.run("text beyond ASCII", async {
            echo(&mut open("").await?, Message::text("κόσμε 世界 🎵")).await
        })
        .await;
        self.run("messages in a row", async {
            let mut socket = open("").await?;
            for size in 0..300 {
                echo(&mut socket, Message::text("the same words ".repeat(size))).await?;
                echo(&mut socket, Message::binary(noise(size * 17))).await?;
            }
            Ok(())
        })
        .await;
        self.run("order", async { order(open("").await?).await })
            .await;
        self.run("fragments", async {
            let mut socket = open("").await?;
            fragments(
                &mut socket,
                MessageKind::Text,
                &["one ", "", "two 世", "界"],
            )
            .await?;
            let large = letters(70_000);
            fragments(&mut socket, MessageKind::Binary, &["a", &large, ""]).await
        })
        .await;
        self.run("ping", async {
            let mut socket = open("").await?;
            let sender = socket.sender();
            let (pong, message) = tokio::join!(sender.ping(), async {
                sender
                    .send("after the ping")
                    .await
                    .map_err(|e| e.to_string())?;
                socket.recv().await.map_err(|e| describe(&e))
            });
            pong.map_err(|e| describe(&e))?;
            expect(message?, Some(Message::text("after the ping")))
        })
        .await;
        self.run("pong", async {
            let message = open("ping").await?.recv().await;
            expect(
                message.map_err(|e| describe(&e))?,
                Some(Message::text("pong are you there")),
            )
        })
        .await;
        let long = "é".repeat(61);
        for (name, code, reason) in [
            ("close", 1000, ""),
            ("close with a reason", 1000, "done"),
            ("close with 3000", 3000, "of a library"),
            ("close with 4999", 4999, long.as_str()),
        ] {
            self.run(name, async {
                let answer = open("").await?.close(code, reason).await;
                let answer = answer.map_err(|e| describe(&e))?;
                expect(answer.map(|frame| frame.code.get()), Some(code))
            })
            .await;
        }
        self.run("close without a code", async {
            let answer = open("").await?.close(1005, "").await;
            // Some answer with 1000, which is theirs to choose.
            expect(answer.map_err(|e| describe(&e))?.is_some(), true)
        })
        .await;
        for (name, code, reason) in [
            ("closed by the server", 1000, "bye"),
            ("closed by the server with 4001", 4001, "go away"),
        ] {
            self.run(name, async {
                let path = format!("close?code={code}&reason={}", reason.replace(' ', "%20"));
                let mut socket = open(&path).await?;
                expect(socket.recv().await.map_err(|e| describe(&e))?, None)?;
                let reason = if reasons { reason } else { "" };
                expect(socket.close_frame(), Some(CloseFrame::new(code, reason)))
            })
            .await;
        }
    }
}

async fn echo(socket: &mut WebSocket, message: Message) -> Outcome {
    let sent = message.clone();
    let (sending, received) = {
        let sender = socket.sender();
        tokio::join!(sender.send(message), socket.recv())
    };
    sending.map_err(|e| e.to_string())?;
    expect(received.map_err(|e| describe(&e))?, Some(sent))
}

async fn order(mut socket: WebSocket) -> Outcome {
    const COUNT: usize = 1000;
    let sender = socket.sender();
    let sending = async {
        for number in 0..COUNT {
            let text = format!("message {number}");
            sender.send(text).await.map_err(|e| e.to_string())?;
        }
        Ok::<_, String>(())
    };
    let receiving = async {
        for number in 0..COUNT {
            let received = socket.recv().await.map_err(|e| describe(&e))?;
            expect(received, Some(Message::text(format!("message {number}"))))?;
        }
        Ok(())
    };
    tokio::try_join!(sending, receiving).map(drop)
}

async fn fragments(socket: &mut WebSocket, kind: MessageKind, parts: &[&str]) -> Outcome {
    let whole = parts.concat();
    let sender = socket.sender();
    let sending = async {
        let mut writer = sender.send_stream(kind).await?;
        for part in parts {
            writer.write(part.as_bytes()).await?;
        }
        writer.finish().await
    };
    let (sent, received) = tokio::join!(sending, socket.recv());
    sent.map_err(|e| describe(&e))?;
    let whole = match kind {
        MessageKind::Text => Message::text(whole),
        MessageKind::Binary => Message::binary(whole),
    };
    expect(received.map_err(|e| describe(&e))?, Some(whole))
}

fn expect<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Outcome {
    if found == wanted {
        return Ok(());
    }
    Err(format!("{found:.200?} instead of {wanted:.200?}"))
}

fn describe(error: &antiphon::Error) -> String {
    let mut text = format!("{error} ({:?})", error.kind());
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Letters that look random: they compress, but not to nothing.
fn letters(size: usize) -> String {
    noise(size)
        .iter()
        .map(|byte| char::from(b'a' + byte % 16))
        .collect()
}

fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

/// A certificate of its own authority, as a test wants it.
fn certificate(directory: &Path) -> Outcome {
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(|e| e.to_string())?;
    let write = |name, text: String| {
        fs::write(directory.join(name), text).map_err(|e| format!("cannot write {name}: {e}"))
    };
    write("cert.pem", made.cert.pem())?;
    write("key.pem", made.signing_key.serialize_pem())
}

fn arguments() -> Option<Checks> {
    let mut arguments = env::args().skip(1);
    let url = arguments.next()?;
    let (mut compression, mut without) = (false, Vec::new());
    let mut deflate = DeflateConfig::default();
    deflate.min_size = 0;
    let mut client = Client::new().proxy(Proxy::none());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--compression" => compression = true,
            "--window" => {
                deflate.codec = Codec::Pooled {
                    window: arguments.next()?.parse().ok()?,
                };
            }
            "--dedicated" => deflate.codec = Codec::Dedicated,
            "--bits" => {
                let bits = arguments.next()?.parse().ok()?;
                deflate.server_max_window_bits = bits;
                deflate.client_max_window_bits = bits;
            }
            "--no-takeover" => {
                deflate.server_no_context_takeover = true;
                deflate.client_no_context_takeover = true;
            }
            "--http2" => client = client.http2(true),
            "--ca" => client = client.tls(ClientTls::new().root_pem_file(arguments.next()?)),
            "--without" => without.push(arguments.next()?),
            _ => return None,
        }
    }
    let mut config = Config::default();
    config.max_message_size = 16 << 20;
    // Some servers cut messages where their buffers end.
    config.max_fragments = 16 << 10;
    client = client.config(config);
    if compression {
        client = client.compression(deflate);
    }
    Some(Checks {
        client,
        url,
        without,
        passed: 0,
        failed: 0,
    })
}

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<_> = env::args().skip(1).collect();
    if let [option, directory] = words.as_slice()
        && option == "--certificate"
    {
        return match certificate(Path::new(directory)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("interop_client: error: {why}");
                ExitCode::FAILURE
            }
        };
    }
    let Some(mut checks) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    checks.all().await;
    println!("{} passed, {} failed", checks.passed, checks.failed);
    ExitCode::from(u8::from(checks.failed > 0))
}
