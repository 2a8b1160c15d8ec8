"""A backend in Python: it says who users are, publishes, sends, lists who is online, and kicks.

    python3 backend.py serve               the page http://127.0.0.1:8000/?user=ada, and tokens for it
    python3 backend.py publish news TEXT   to everybody in the channel
    python3 backend.py send USER TEXT      to one user, on all devices
    python3 backend.py online              who is there
    python3 backend.py kick USER           close all connections of a user; their clients stay away
"""
import hashlib
import json
import os
import pathlib
import secrets
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import jwt
import requests
from cent import Client, DisconnectRequest, PresenceRequest, PublishRequest

ANTIPHON = os.environ.get("ANTIPHON_URL", "http://127.0.0.1:8199")
HERE = pathlib.Path(__file__).parent


def kept(name):
    """A random text that only the owner may read; made when it is first asked for."""
    file = HERE / name
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(secrets.token_hex(32))
    return file.read_text()


SECRET, KEY = kept("secret.txt"), kept("api-key.txt")
# antiphon knows a key of its API by the hash alone.
(HERE / "keys.toml").write_text(f'[[keys]]\nname = "backend"\nhash = "{hashlib.sha256(KEY.encode()).hexdigest()}"\n')
api = Client(f"{ANTIPHON}/api", KEY)


def token(user):
    """Who the user is for the next ten minutes, and what the user joins at once."""
    now = int(time.time())
    claims = {"sub": user, "iat": now, "exp": now + 600, "channels": ["news"], "info": {"name": user.title()}}
    return jwt.encode(claims, SECRET, algorithm="HS256")


def call(method, body):
    """A call that antiphon has beyond Centrifugo's."""
    answer = requests.post(f"{ANTIPHON}/api/{method}", json=body, headers={"X-API-Key": KEY}, timeout=10).json()
    return answer.get("result") or sys.exit(json.dumps(answer))


class Site(BaseHTTPRequestHandler):
    """The page, and the token for whoever has it open."""

    def do_GET(self):
        url = urlsplit(self.path)
        user = parse_qs(url.query).get("user", [""])[0]
        if url.path == "/":
            page = (HERE / "page.html").read_text().replace("SOCKET", f"{ANTIPHON.replace('http', 'ws', 1)}/socket")
            self.answer(200, "text/html; charset=utf-8", page)
        elif url.path == "/token" and user:
            # A real backend looks at its own session here. This one believes everybody.
            self.answer(200, "text/plain", token(user))
        else:
            self.answer(404, "text/plain", "no such page\n")

    def answer(self, status, kind, text):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())


def main(command="", *rest):
    match command, *rest:
        case ["serve"] | ["serve", _]:
            server = ThreadingHTTPServer(("127.0.0.1", int(rest[0]) if rest else 8000), Site)
            print(f"open http://127.0.0.1:{server.server_port}/?user=ada", flush=True)
            server.serve_forever()
        case ["publish", channel, text]:
            api.publish(PublishRequest(channel=channel, data={"text": text}))
        case ["send", user, text]:
            print(call("send", {"target": {"user": user}, "event": "notice", "data": {"text": text}}))
        case ["online"]:
            for one in call("connections", {})["connections"]:
                print(one["id"], one["user"], one["address"])
            print(*sorted(member.user for member in api.presence(PresenceRequest(channel="news")).presence.values()))
        case ["kick", user]:
            api.disconnect(DisconnectRequest(user=user))
        case _:
            sys.exit(__doc__)


main(*sys.argv[1:])
