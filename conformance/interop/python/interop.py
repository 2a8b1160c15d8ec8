#!/usr/bin/env python3
"""websockets and aiohttp against `antiphon echo`; `antiphon connect` and our client's example against their servers.

    interop.py ws://HOST:PORT/ PATH-OF-THE-COMMAND PATH-OF-INTEROP_CLIENT

Prints `ok NAME` or `not ok NAME: WHY` for each check; the exit status is 1 when one failed.
"""

import asyncio
import base64
import contextlib
import os
import re
import ssl
import sys
import tempfile
from urllib.parse import parse_qs, urlsplit

import aiohttp
import aiohttp.web
import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory

SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20]
LIMIT = 1 << 22
PATIENCE = 30
failures = 0


async def check(name, work):
    """Runs one check within its time and prints its line."""
    global failures
    try:
        await asyncio.wait_for(work, PATIENCE)
        print("ok " + name, flush=True)
    except Exception as error:
        failures += 1
        print("not ok %s: %s: %s" % (name, type(error).__name__, str(error)[:300].replace("\n", " ")), flush=True)


def words(size):
    """Text of so many octets that compresses about as well as people's does, two-octet characters included."""
    text = base64.b64encode(os.urandom(size)).decode()[:size]
    return text if size < 8 else "ä" + text[:size - 4] + "ö"


def same(found, expected):
    assert found == expected, "found %.80r, expected %.80r" % (found, expected)


async def websockets_client(url, compression):
    """Every size as text and binary, fragments, ping, subprotocol and close codes through the websockets client."""
    tag = "websockets client, %s" % (compression or "plain")
    options = {"compression": compression, "max_size": LIMIT, "proxy": None}

    async def echoes():
        async with connect(url, **options) as socket:
            same(bool(socket.protocol.extensions), compression is not None)
            for size in SIZES:
                for message in (words(size), os.urandom(size)):
                    await socket.send(message)
                    same(await socket.recv(), message)

    async def fragments():
        async with connect(url, **options) as socket:
            await socket.send(["ant", "", "iph", "on ä"])
            same(await socket.recv(), "antiphon ä")
            data = os.urandom(70000)
            await socket.send([data, b"\xff"])
            same(await socket.recv(), data + b"\xff")

    async def pings():
        async with connect(url, **options) as socket:
            for payload in (b"", b"p" * 125):
                await (await socket.ping(payload))

    async def subprotocol():
        async with connect(url, subprotocols=["unknown", "chat"], **options) as socket:
            same(socket.subprotocol, "chat")

    async def closes(code, reason):
        async with connect(url, **options) as socket:
            await socket.close(code, reason)
            same((socket.protocol.close_rcvd.code, socket.protocol.close_rcvd_then_sent), (code, False))

    async def burst():
        async with connect(url, **options) as socket:
            expected = ["message %d" % number for number in range(1000)]

            async def send():
                for message in expected:
                    await socket.send(message)
            sending = asyncio.ensure_future(send())
            same([await socket.recv() for _ in expected], expected)
            await sending

    await check(tag + ": every size", echoes())
    await check(tag + ": fragments", fragments())
    await check(tag + ": ping", pings())
    await check(tag + ": subprotocol", subprotocol())
    await check(tag + ": a thousand messages in order", burst())
    for code, reason in ((1000, ""), (1001, "going"), (3000, "ä"), (4999, "r" * 123)):
        await check("%s: close %d" % (tag, code), closes(code, reason))


async def aiohttp_client(url, compress):
    """The same through aiohttp's client."""
    tag = "aiohttp client, %s" % ("deflate" if compress else "plain")
    options = {"compress": compress, "max_msg_size": LIMIT, "autoclose": True}

    async def echoes():
        async with aiohttp.ClientSession() as session, session.ws_connect(url, **options) as socket:
            same(bool(socket.compress), bool(compress))
            for size in SIZES:
                text = words(size)
                await socket.send_str(text)
                same(await socket.receive_str(), text)
                data = os.urandom(size)
                await socket.send_bytes(data)
                same(await socket.receive_bytes(), data)

    async def subprotocol_and_close():
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(url, protocols=["chat"], **options) as socket:
                same(socket.protocol, "chat")
                await socket.close(code=4000, message=b"bye")
                same(socket.close_code, 4000)

    await check(tag + ": every size", echoes())
    await check(tag + ": subprotocol and close code", subprotocol_and_close())


async def command(binary, url, lines, *options):
    """Runs `antiphon connect`, a line a message, and returns its exit code, its lines and its errors."""
    process = await asyncio.create_subprocess_exec(
        binary, "connect", url, "--timeout", "20s", *options, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    try:
        out, err = await process.communicate("".join(line + "\n" for line in lines).encode())
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, out.decode().splitlines(), err.decode()


LINES = ["hello", "ä€😀", *(words(size) for size in SIZES if size > 1)]


async def client_against(tag, binary, url):
    """Our client against a foreign echo server that closes when it is told to."""
    async def echoes(*options):
        code, lines, errors = await command(binary, url, LINES, *options)
        same((code, lines == LINES), (0, True))

    async def closed(expected, number):
        code, _, errors = await command(binary, url, ["close %d" % number])
        same((code, "" if str(number) in errors or expected == 0 else errors), (expected, ""))

    async def subprotocol():
        code, lines, errors = await command(binary, url, ["which subprotocol"], "--subprotocol", "chat")
        same((code, lines), (0, ["chat"]))

    await check(tag + ": echo", echoes())
    await check(tag + ": echo, compressed", echoes("--compression"))
    await check(tag + ": subprotocol", subprotocol())
    await check(tag + ": closed with 1000", closed(0, 1000))
    await check(tag + ": closed with 4001", closed(6, 4001))


async def websockets_server(binary):
    async def handler(socket):
        async for message in socket:
            if message.startswith("close "):
                await socket.close(int(message.split()[1]), "as told")
                return
            elif message == "which subprotocol":
                await socket.send(socket.subprotocol or "none")
            elif len(message) > 1000:
                half = len(message) // 2
                await socket.ping()
                await socket.send([message[:half], message[half:]])
            else:
                await socket.send(message)

    def choose(_, offered):
        return "chat" if "chat" in offered else None

    async with serve(handler, "127.0.0.1", 0, max_size=LIMIT, select_subprotocol=choose) as server:
        port = server.sockets[0].getsockname()[1]
        await client_against("websockets server", binary, "ws://127.0.0.1:%d/" % port)


async def aiohttp_server(binary):
    async def handler(request):
        socket = aiohttp.web.WebSocketResponse(protocols=["chat"], max_msg_size=LIMIT)
        await socket.prepare(request)
        async for message in socket:
            if message.data.startswith("close "):
                await socket.close(code=int(message.data.split()[1]), message=b"as told")
            elif message.data == "which subprotocol":
                await socket.send_str(socket.ws_protocol or "none")
            else:
                await socket.send_str(message.data)
        return socket

    app = aiohttp.web.Application()
    app.router.add_get("/", handler)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    await client_against("aiohttp server", binary, "ws://127.0.0.1:%d/" % runner.addresses[0][1])
    await runner.cleanup()


async def parameters(url):
    """Every kind of compression that a client may ask for, against our server."""
    for name, wanted in (
        ("the server forgets", {"server_no_context_takeover": True}),
        ("the client forgets", {"client_no_context_takeover": True}),
        ("the server has 9 bits", {"server_max_window_bits": 9}),
        ("the client has 9 bits", {"client_max_window_bits": 9}),
        ("no window of the client is offered", {"client_max_window_bits": None}),
        ("everything at its least", {"server_no_context_takeover": True, "client_no_context_takeover": True,
                                     "server_max_window_bits": 9, "client_max_window_bits": 9}),
    ):
        async def echoes():
            factory = ClientPerMessageDeflateFactory(**wanted)
            async with connect(url, compression=None, extensions=[factory], max_size=LIMIT, proxy=None) as socket:
                same(len(socket.protocol.extensions), 1)
                for size in (0, 1, 10, 300, 5000, 40000, 100000) * 3:
                    message = os.urandom(size // 2).hex() + "the same words again"
                    await socket.send(message)
                    same(await socket.recv(), message)

        await check("websockets client, deflate: " + name, echoes())


async def interop_client(tag, client, url, *options):
    """Takes over the checks of our client's example."""
    global failures
    process = await asyncio.create_subprocess_exec(client, url, *options, stdout=asyncio.subprocess.PIPE)
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 10 * PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
    for verdict, name in re.findall("^(ok|not ok) - (.*)$", output.decode(), re.MULTILINE):
        failures += verdict == "not ok"
        print("%s %s: %s" % (verdict, tag, name), flush=True)

    async def ended():
        same(process.returncode, 0)

    await check(tag + ": the client ends with 0", ended())


def closing(path):
    query = parse_qs(urlsplit(path).query)
    return int(query["code"][0]), query["reason"][0]


def chat(_, offered):
    return "chat" if "chat" in offered else None


async def answer_websockets(socket):
    path = urlsplit(socket.request.path).path
    if path == "/close":
        await socket.close(*closing(socket.request.path))
    elif path == "/ping":
        await (await socket.ping("are you there"))
        await socket.send("pong are you there")
    # Closed with another code than 1000 is an exception there, and what is checked.
    with contextlib.suppress(websockets.ConnectionClosed):
        async for message in socket:
            await socket.send(message)


async def answer_aiohttp(request, compress):
    socket = aiohttp.web.WebSocketResponse(protocols=["chat"], max_msg_size=LIMIT, compress=compress, autoping=False)
    await socket.prepare(request)
    if request.path == "/close":
        code, reason = closing(request.path_qs)
        await socket.close(code=code, message=reason.encode())
    elif request.path == "/ping":
        await socket.ping(b"are you there")
    async for message in socket:
        if message.type is aiohttp.WSMsgType.PING:
            await socket.pong(message.data)
        elif message.type is aiohttp.WSMsgType.PONG:
            await socket.send_str("pong " + bytes(message.data).decode())
        elif message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data)
        else:
            await socket.send_bytes(message.data)
    return socket


async def example(client):
    """Our client's example against both libraries: plain, every kind of compression, TLS."""
    asked = [["--compression"], ["--compression", "--dedicated"], ["--compression", "--window", "0"],
             ["--compression", "--window", "32768"], ["--compression", "--bits", "9"], ["--compression", "--no-takeover"]]
    servers = [("plain", None, [[], ["--compression"]]), ("deflate", [ServerPerMessageDeflateFactory()], asked)]
    for name, wanted in (
        ("the server forgets", {"server_no_context_takeover": True}),
        ("the client must forget", {"client_no_context_takeover": True}),
        ("the server has 9 bits", {"server_max_window_bits": 9}),
        ("the client must have 9 bits", {"client_max_window_bits": 9, "require_client_max_window_bits": True}),
    ):
        servers.append(("deflate, " + name, [ServerPerMessageDeflateFactory(**wanted)], asked[:1]))
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(client, "--certificate", folder)
        same(await process.wait(), 0)
        secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        secure.load_cert_chain(folder + "/cert.pem", folder + "/key.pem")
        trust = ["--ca", folder + "/cert.pem"]

        for tag, extensions, asked_for in servers + [("TLS", [ServerPerMessageDeflateFactory()], [["--compression"] + trust])]:
            tls = secure if tag == "TLS" else None
            async with serve(answer_websockets, "127.0.0.1", 0, max_size=LIMIT, select_subprotocol=chat, compression=None,
                             extensions=extensions, ssl=tls) as server:
                url = "%s://127.0.0.1:%d/" % ("wss" if tls else "ws", server.sockets[0].getsockname()[1])
                for options in asked_for:
                    shown = " ".join([tag] + [option for option in options if option not in trust])
                    await interop_client("websockets server, " + shown, client, url, *options)

        for tag, compress, options in (("plain", False, []), ("deflate", True, asked[0]), ("deflate, a codec of its own", True, asked[1]),
                                       ("deflate, 9 bits", True, asked[4]), ("TLS", True, asked[0] + trust)):
            app = aiohttp.web.Application()
            app.router.add_get("/{path:.*}", lambda request, compress=compress: answer_aiohttp(request, compress))
            runner = aiohttp.web.AppRunner(app)
            await runner.setup()
            await aiohttp.web.TCPSite(runner, "127.0.0.1", 0, ssl_context=secure if tag == "TLS" else None).start()
            url = "%s://127.0.0.1:%d/" % ("wss" if tag == "TLS" else "ws", runner.addresses[0][1])
            # It answers every Close with 1000.
            without = ["--without", "close with 3000", "--without", "close with 4999"]
            await interop_client("aiohttp server, " + tag, client, url, *options, *without)
            await runner.cleanup()


async def main(url, binary, client):
    for compression in (None, "deflate"):
        await websockets_client(url, compression)
    for compress in (0, 15):
        await aiohttp_client(url, compress)
    await websockets_server(binary)
    await aiohttp_server(binary)
    await parameters(url)
    await example(client)
    print("websockets %s, aiohttp %s, %d failed" % (websockets.__version__, aiohttp.__version__, failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:4])))
