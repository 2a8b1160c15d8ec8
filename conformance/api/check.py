"""The HTTP API of a server that runs: Centrifugo's own Python client on every call, then schemathesis on the document.

    check.py cent http://127.0.0.1:8199/api KEY ws://127.0.0.1:8199/socket
    check.py schemathesis http://127.0.0.1:8199/api KEY

Prints TAP. The server lets clients without a token in and lets them join what they like.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from email.message import Message

MAX_EXAMPLES = 20
MAX_SECONDS = 60

# Left out: `negative_data_rejection` (a call that fails answers 200 with an error, as Centrifugo does) and `ignored_auth`
# (after ten requests without a key the answer is 429).
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
]

count = 0
failed = 0


def check(what: str, good: bool, detail: object = "") -> None:
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {what}{'' if good else f': {detail}'}", flush=True)


def raw(url: str, path: str, body: bytes, headers: dict[str, str], method: str = "POST") -> tuple[int, str, Message]:
    request = urllib.request.Request(url + path, data=body if method == "POST" else None, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode(), response.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


async def cent(url: str, key: str, socket_url: str) -> None:
    import cent as library
    from websockets.asyncio.client import connect

    async def event(socket) -> dict:
        while True:
            message = json.loads(await asyncio.wait_for(socket.recv(), 10))
            if message:
                return message

    async def hello(**options):
        socket = await connect(socket_url, subprotocols=["antiphon.v2.json"], **options)
        return socket, (await event(socket))["data"]["client"]

    def fails(code: int, call) -> bool:
        try:
            call()
        except library.CentApiResponseError as error:
            return error.code == code
        return False

    socket, me = await hello()
    client = library.Client(url, key)
    call = lambda function, request: asyncio.to_thread(function, request)

    await call(client.subscribe, library.SubscribeRequest(user="", client=me, channel="news"))
    presence = await call(client.presence, library.PresenceRequest(channel="news"))
    check("subscribe and presence", list(presence.presence) == [me], presence)
    stats = await call(client.presence_stats, library.PresenceStatsRequest(channel="news"))
    check("presence_stats", (stats.num_clients, stats.num_users) == (1, 0), stats)
    channels = await call(client.channels, library.ChannelsRequest(pattern="ne*"))
    check("channels", channels.channels["news"].num_clients == 1, channels)

    await call(client.publish, library.PublishRequest(channel="news", data={"n": 1}, idempotency_key="a", tags={"x": "y"}))
    await call(client.publish, library.PublishRequest(channel="news", data={"n": 1}, idempotency_key="a"))
    broadcast = await call(client.broadcast, library.BroadcastRequest(channels=["news", "other"], data={"n": 2}, skip_history=True))
    first, second = await event(socket), await event(socket)
    check("publish, once for a key", first["data"] == {"n": 1} and first["ch"] == "news", first)
    check("broadcast", second["data"] == {"n": 2} and len(broadcast.responses) == 2, (second, broadcast))
    check("broadcast without an error", all(reply.error is None for reply in broadcast.responses), broadcast)

    info = await call(client.info, library.InfoRequest())
    check("info", info.nodes[0].num_clients == 1 and info.nodes[0].num_channels >= 1, info)
    for parallel in (False, True):
        batch = await call(
            client.batch,
            library.BatchRequest(
                requests=[
                    library.PublishRequest(channel="news", data={"n": 3}),
                    library.PresenceStatsRequest(channel="news"),
                    library.InfoRequest(),
                ],
                parallel=parallel,
            ),
        )
        check(f"batch, parallel {parallel}", len(batch.replies) == 3 and batch.replies[1].num_clients == 1, batch)
        check("its publication", (await event(socket))["data"] == {"n": 3})
    await call(client.refresh, library.RefreshRequest(user="", client=me, expire_at=4_000_000_000))
    check("refresh", True)
    check("history is not available", await asyncio.to_thread(fails, 108, lambda: client.history(library.HistoryRequest(channel="news"))))
    check(
        "history_remove is not available",
        await asyncio.to_thread(fails, 108, lambda: client.history_remove(library.HistoryRemoveRequest(channel="news"))),
    )
    check("an empty channel is 107", await asyncio.to_thread(fails, 107, lambda: client.publish(library.PublishRequest(channel="", data={}))))
    await call(client.unsubscribe, library.UnsubscribeRequest(user="", client=me, channel="news"))
    stats = await call(client.presence_stats, library.PresenceStatsRequest(channel="news"))
    check("unsubscribe", stats.num_clients == 0, stats)
    await call(
        client.disconnect,
        library.DisconnectRequest(user="", client=me, disconnect=library.Disconnect(code=4501, reason="bye")),
    )
    await socket.wait_closed()
    check("disconnect", (socket.close_code, socket.close_reason) == (4501, "bye"), (socket.close_code, socket.close_reason))

    try:
        await call(library.Client(url, "0123456789-not-a-key-of-ours").info, library.InfoRequest())
        check("a wrong key is refused", False)
    except library.CentUnauthorizedError:
        check("a wrong key is refused", True)
    async with library.AsyncClient(url, key) as concurrent:
        info = await concurrent.info(library.InfoRequest())
        check("the asynchronous client", len(info.nodes) == 1, info)

    headers = {"Authorization": f"apikey {key}"}
    status, text, _ = await asyncio.to_thread(raw, url, "", b'{"method":"info"}\n{"method":"channels"}', headers)
    check("the older form, two lines", status == 200 and len(text.splitlines()) == 2, text)
    socket, me = await hello()
    body = json.dumps({"target": {"connection": me}, "event": "hi", "data": [1]}).encode()
    status, text, _ = await asyncio.to_thread(raw, url, "/send", body, headers)
    check("send", (await event(socket))["event"] == "hi" and json.loads(text)["result"]["queued"] == 1, text)
    status, text, _ = await asyncio.to_thread(raw, url, "/connections", b'{"limit":10}', headers)
    check("connections", json.loads(text)["result"]["connections"][0]["id"] == me, text)
    status, text, _ = await asyncio.to_thread(raw, url, "/users", b"{}", headers)
    check("users", json.loads(text)["result"]["total"] == 0, text)
    status, text, _ = await asyncio.to_thread(raw, url, "/revoke", b'{"user":"nobody"}', headers)
    check("revoke", json.loads(text) == {"result": {"closed": 0}}, text)
    status, text, _ = await asyncio.to_thread(raw, url, "/kick", json.dumps({"connection": me}).encode(), headers)
    await socket.wait_closed()
    check("kick", socket.close_code == 3503, socket.close_code)
    status, text, _ = await asyncio.to_thread(raw, url, "/publish", b" " * (1 << 20) + b"{} ", headers)
    check("a body of more than 1 MiB is 413", status == 413, status)


def schemathesis(url: str, key: str) -> None:
    status, _, headers = raw(url, "/info", b"", {})
    check("without a key 401", status == 401 and headers["WWW-Authenticate"] == "apikey", (status, headers))
    status, _, _ = raw(url, "/openapi.json", b"", {}, "GET")
    check("the document needs no key", status == 200, status)
    # It leaves a cache where it runs.
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [
                sys.executable,
                "-m",
                "schemathesis.cli",
                "run",
                f"{url}/openapi.json",
                "--url",
                url,
                "-H",
                f"X-API-Key: {key}",
                "--checks",
                ",".join(CHECKS),
                "--phases",
                "examples,coverage,fuzzing",
                "--max-examples",
                str(MAX_EXAMPLES),
                "--seed",
                "1",
                "--no-color",
            ],
            timeout=MAX_SECONDS * 3,
            cwd=folder,
            capture_output=True,
            text=True,
        )
    output = run.stdout + run.stderr
    check("the server keeps what its document says", run.returncode == 0, "\n" + output.replace("\n", "\n# "))


if __name__ == "__main__":
    if sys.argv[1] == "cent":
        asyncio.run(cent(*sys.argv[2:5]))
    else:
        schemathesis(*sys.argv[2:4])
    print(f"1..{count}")
    sys.exit(failed > 0)
