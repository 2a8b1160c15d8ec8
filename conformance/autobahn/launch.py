"""Runs inside the suite's venv: starts the converted suite on loopback and writes each verdict down as it falls.

Three things differ from the suite as published: payloads are converted at the border to the library, reports are one
JSON line a case instead of HTML, and masking and UTF-8 checking use Python's own fast routines (the published suite
has an optional C module for that).
"""

import json
import os
import sys
import warnings

warnings.simplefilter("ignore")
sys.path.insert(0, os.environ["AUTOBAHN_SITE"])

from twisted.internet import epollreactor  # noqa: E402

epollreactor.install()
from twisted.internet import reactor  # noqa: E402
import txaio  # noqa: E402

txaio.use_twisted()
listen_anywhere = reactor.listenTCP
reactor.listenTCP = lambda port, factory, backlog=50, interface="": listen_anywhere(port, factory, backlog, "127.0.0.1")

import autobahn.websocket.protocol as protocol  # noqa: E402
import autobahn.websocket.utf8validator as utf8  # noqa: E402


class Masker:
    """XOR with the masking key, a whole buffer at once."""

    def __init__(self, key):
        self.key, self.position = key, 0

    def pointer(self):
        return self.position

    def reset(self):
        self.position = 0

    def process(self, data):
        length = len(data)
        if not length:
            return b""
        offset = self.position & 3
        key = self.key[offset:] + self.key[:offset]
        self.position += length
        stream = (key * (length // 4 + 1))[:length]
        return (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(length, "big")


class Validator:
    """Incremental UTF-8 validation with the contract of `autobahn.websocket.utf8validator`."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.pending, self.total, self.broken = b"", 0, False

    def validate(self, data):
        data = bytes(data)
        before = len(self.pending)
        joined = self.pending + data
        try:
            if self.broken:
                return False, False, 0, self.total
            joined.decode("utf-8")
        except UnicodeDecodeError as error:
            if error.reason == "unexpected end of data" and error.end == len(joined):
                self.pending = joined[error.start:]
                self.total += len(data)
                return True, False, len(data), self.total
            self.broken = True
            index = max(0, error.end - before)
            self.total += index
            return False, False, index, self.total
        self.pending = b""
        self.total += len(data)
        return True, True, len(data), self.total


protocol.createXorMasker = lambda key, length=None: Masker(key)
protocol.Utf8Validator = utf8.Utf8Validator = Validator

from autobahntestsuite import fuzzing  # noqa: E402
from autobahntestsuite.case import CaseBasename, CaseCategories, Cases, CaseSetname, CaseSubCategories  # noqa: E402
from autobahntestsuite.case.case import Case  # noqa: E402
from autobahntestsuite.caseset import CaseSet  # noqa: E402


def to_bytes(text):
    return text.encode("latin-1") if isinstance(text, str) else text


def to_text(data):
    return bytes(data).decode("latin-1")


Fuzzer = fuzzing.FuzzingProtocol
Plain = protocol.WebSocketProtocol
on_message, on_pong = Fuzzer.onMessage, Fuzzer.onPong


def message(self, payload, binary):
    raw = self.runCase is not None and hasattr(self.runCase, "TESTDATA")
    return on_message(self, payload if raw else to_text(payload), binary)


def send_frame(self, opcode, payload=b"", fin=True, rsv=0, mask=None, payload_len=None, chopsize=None, sync=False):
    payload = to_bytes(payload)
    if payload_len is not None:
        payload = (payload * (payload_len // len(payload) + 1))[:payload_len]
    return Plain.sendFrame(self, opcode, payload, fin, rsv, to_bytes(mask), None, chopsize, sync)


def count(stats, opcode):
    stats[opcode] = stats.get(opcode, 0) + 1


def log_case(self, result):
    keys = ("id", "agent", "behavior", "behaviorClose", "duration", "resultClose", "remoteCloseCode")
    line = {key: result[key] for key in keys}
    line["result"] = str(result["result"])[:200]
    with open(os.environ["AUTOBAHN_RESULTS"], "a") as out:
        out.write(json.dumps(line) + "\n")


Case.compare = lambda self, a, b: [tuple(x) for x in a] == [tuple(x) for x in b]
fuzzing.binLogData = fuzzing.asciiLogData = lambda data, *rest, **more: "%d octets" % len(data)
Fuzzer.logRxOctets = Fuzzer.logTxOctets = lambda self, *rest: None
Fuzzer.logRxFrame = lambda self, header, payload: count(self.rxFrameStats, header.opcode)
Fuzzer.logTxFrame = lambda self, header, *rest: count(self.txFrameStats, header.opcode)
Fuzzer.onMessage = message
Fuzzer.onPong = lambda self, payload: on_pong(self, to_text(payload))
Fuzzer.sendFrame = send_frame
Fuzzer.sendMessage = lambda self, payload, isBinary=False, **more: Plain.sendMessage(self, to_bytes(payload), isBinary, **more)
Fuzzer.sendMessageFrameData = lambda self, payload, sync=False: Plain.sendMessageFrameData(self, to_bytes(payload), sync)
Fuzzer.sendCloseFrame = lambda self, code=None, reasonUtf8=None, isReply=False: Plain.sendCloseFrame(
    self, code, to_bytes(reasonUtf8), isReply)
fuzzing.FuzzingFactory.logCase = log_case
fuzzing.FuzzingFactory.createReports = lambda self, *rest, **more: None

if sys.argv[1] == "list":
    cases = CaseSet(CaseSetname, CaseBasename, Cases, CaseCategories, CaseSubCategories)
    print(json.dumps([cases.caseClasstoId(case) for case in cases.Cases]))
else:
    with open(sys.argv[2]) as spec_file:
        spec = json.load(spec_file)
    if sys.argv[1] == "client":
        fuzzing.startClient(spec)
    else:
        fuzzing.startServer(spec, 0)
    reactor.run()
