//! actix-ws on actix-web, one worker. Its `Session` queues messages and its server flushes them.

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, rt, web};
use actix_ws::{AggregatedMessage, handle};
use antiphon_bench_peers::{BACKLOG, Fault, MAX_MESSAGE, options::Options};
use futures_util::StreamExt as _;

async fn answer(request: HttpRequest, body: web::Payload) -> actix_web::Result<HttpResponse> {
    let (response, mut session, messages) = handle(&request, body)?;
    let mut messages = messages
        .max_frame_size(MAX_MESSAGE)
        .aggregate_continuations()
        .max_continuation_size(MAX_MESSAGE);
    rt::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            let sent = match message {
                AggregatedMessage::Text(text) => session.text(text).await,
                AggregatedMessage::Binary(bytes) => session.binary(bytes).await,
                AggregatedMessage::Ping(bytes) => session.pong(&bytes).await,
                AggregatedMessage::Pong(_) => Ok(()),
                AggregatedMessage::Close(reason) => {
                    let _ = session.close(reason).await;
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    });
    Ok(response)
}

fn main() -> Result<(), Fault> {
    let options = Options::read(false, false);
    rt::System::new().block_on(async {
        let server = HttpServer::new(|| App::new().route("/", web::get().to(answer)))
            .workers(1)
            .backlog(BACKLOG)
            .max_connections(65_536)
            .tcp_nodelay(true)
            .bind(("127.0.0.1", options.port))?;
        for address in server.addrs() {
            println!("listening on ws://{address}/");
        }
        Ok(server.run().await?)
    })
}
