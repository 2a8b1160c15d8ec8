#!/usr/bin/env python3
"""Runs the Autobahn TestSuite against an echo server or a client, in shards, bounded in time, and counts.

    driver.py server ws://HOST:PORT/     judge an echo server
    driver.py client 'COMMAND {url}'     judge a client that does the Autobahn loop: /getCaseCount, /runCase?case=N&agent=A
                                         (echo until the server closes) for each case, /updateReports?agent=A
    driver.py list                       print the ids of all cases

Options: --cases 6.*,7.7.1   --jobs 2   --shard-timeout 420   --budget 1400   --root DIR (the installed suite)
         --out DIR (logs)    --json FILE (the verdict of every case)

A verdict is made of the suite's own words, `behavior` and `behaviorClose`: both OK is "ok"; INFORMATIONAL is
"informational"; NON-STRICT is "non-strict"; UNIMPLEMENTED is "unimplemented"; everything else, and a case that left no
result, is "failed". A failed case is repeated once, alone, and named as repeated. The exit status is 1 when a case failed.
"""

import argparse
import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import convert

HERE = os.path.dirname(os.path.abspath(__file__))


def numbers(case):
    return tuple(int(part) for part in case.split("."))


def shards_of(cases):
    """Groups of cases that one process runs, the long ones first so that the jobs end together."""
    groups = {}
    for case in cases:
        key = numbers(case)
        if key[0] in (12, 13):
            group = (0, key[0], key[1], 0 if key[2] > 12 else 1)
        elif key[0] in (6, 9):
            group = (1, key[0])
        else:
            group = (2, 0)
        groups.setdefault(group, []).append(case)
    return [groups[key] for key in sorted(groups, key=lambda key: (key[0], key[3] if len(key) > 3 else 0, key))]


def end(process):
    """Ends one process group that this driver started."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except OSError:
            pass
    process.wait(10)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def open_websocket(url, timeout=10):
    parts = urlsplit(url)
    path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    link = socket.create_connection((parts.hostname, parts.port or 80), timeout)
    key = base64.b64encode(os.urandom(16)).decode()
    link.sendall((
        "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n" % (path, parts.netloc, key)).encode())
    head = b""
    while b"\r\n\r\n" not in head:
        data = link.recv(4096)
        if not data:
            break
        head += data
    return link, head


class Runner:
    """Hands shards to jobs and collects one verdict a case."""

    def __init__(self, options):
        self.options = options
        self.root = os.path.abspath(options.root)
        self.python = convert.install(self.root)
        self.out = os.path.abspath(options.out or os.path.join(self.root, "run"))
        self.results, self.repeated, self.started = {}, [], time.monotonic()
        self.lock, self.count = threading.Lock(), 0
        os.makedirs(self.out, exist_ok=True)
        listed = subprocess.run([self.python, os.path.join(HERE, "launch.py"), "list"], env=self.environment(),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        if listed.returncode:
            sys.exit("the suite does not start:\n" + listed.stderr[-2000:])
        every = json.loads(listed.stdout.strip().splitlines()[-1])
        patterns = [re.compile("^" + re.escape(p).replace(r"\*", ".*") + "$") for p in options.cases.split(",")]
        self.cases = sorted((case for case in every if any(p.match(case) for p in patterns)), key=numbers)

    def environment(self, **more):
        clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
        return dict(clean, AUTOBAHN_SITE=os.path.join(self.root, "site"), PYTHONUNBUFFERED="1", **more)

    def left(self):
        return self.options.budget - (time.monotonic() - self.started)

    def patience(self):
        return max(5, min(self.options.shard_timeout, self.left()))

    def start(self, mode, spec, tag):
        folder = os.path.join(self.out, tag)
        os.makedirs(folder, exist_ok=True)
        spec = dict(spec, outdir=os.path.join(folder, "report"))
        spec.update({"exclude-cases": [], "exclude-agent-cases": {}})
        with open(os.path.join(folder, "spec.json"), "w") as out:
            json.dump(spec, out)
        results = os.path.join(folder, "results.jsonl")
        open(results, "w").close()
        log = open(os.path.join(folder, "suite.log"), "w")
        process = subprocess.Popen(
            [self.python, os.path.join(HERE, "launch.py"), mode, os.path.join(folder, "spec.json")],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True,
            env=self.environment(AUTOBAHN_RESULTS=results))
        return process, results, folder

    def collect(self, results):
        with open(results, errors="replace") as lines:
            for line in lines:
                result = json.loads(line)
                with self.lock:
                    self.results[result["id"]] = result

    def verdict(self, case):
        result = self.results.get(case)
        if not result:
            return "failed"
        words = {result["behavior"], result["behaviorClose"]}
        if result["behavior"] == "UNIMPLEMENTED":
            return "unimplemented"
        if not words <= {"OK", "INFORMATIONAL", "NON-STRICT"}:
            return "failed"
        if "NON-STRICT" in words:
            return "non-strict"
        return "informational" if "INFORMATIONAL" in words else "ok"

    def run(self, shard):
        queue = shards_of(self.cases)

        def job():
            while True:
                with self.lock:
                    if not queue or self.left() <= 0:
                        return
                    cases = queue.pop(0)
                    self.count += 1
                    tag = "shard%02d" % self.count
                shard(self, cases, tag)

        jobs = [threading.Thread(target=job) for _ in range(self.options.jobs)]
        for thread in jobs:
            thread.start()
        for thread in jobs:
            thread.join()
        bad = [case for case in self.cases if self.verdict(case) == "failed"]
        if len(bad) <= 12:
            for case in bad:
                if self.left() > 0:
                    before = self.results.pop(case, None)
                    shard(self, [case], "again-" + case)
                    if case not in self.results and before:
                        self.results[case] = before
                    elif self.verdict(case) != "failed":
                        self.repeated.append(case)

    def report(self):
        verdicts = {case: self.verdict(case) for case in self.cases}
        totals, groups = {}, {}
        for case, verdict in verdicts.items():
            totals[verdict] = totals.get(verdict, 0) + 1
            group = groups.setdefault(numbers(case)[0], {"cases": 0, "ok": 0, "seconds": 0.0})
            group["cases"] += 1
            group["ok"] += verdict == "ok"
            group["seconds"] += (self.results.get(case) or {}).get("duration", 0) / 1000
        for group, row in sorted(groups.items()):
            print("%3d.*  %4d cases  %4d ok  %6.1f s" % (group, row["cases"], row["ok"], row["seconds"]))
        for case, verdict in verdicts.items():
            if verdict != "ok":
                result = self.results.get(case)
                words = "no result" if not result else "%s/%s: %s %s (close code %s)" % (
                    result["behavior"], result["behaviorClose"], result["result"], result["resultClose"],
                    result["remoteCloseCode"])
                print("%s %s %s" % (verdict, case, words))
        if self.repeated:
            print("ok only when repeated: " + " ".join(self.repeated))
        print("%d cases in %.0f s: %s" % (len(self.cases), time.monotonic() - self.started, ", ".join(
            "%d %s" % (number, verdict) for verdict, number in sorted(totals.items()))))
        if self.options.json:
            with open(self.options.json, "w") as out:
                json.dump({"verdicts": verdicts, "repeated": self.repeated}, out, indent=1)
        return 1 if totals.get("failed") else 0


def judge_server(runner, cases, tag):
    spec = {"servers": [{"agent": "antiphon", "url": runner.options.target, "options": {"version": 18}}], "cases": cases}
    process, results, _ = runner.start("client", spec, tag)
    try:
        process.wait(runner.patience())
    except subprocess.TimeoutExpired:
        print("%s cut off" % tag, file=sys.stderr)
    end(process)
    runner.collect(results)


def judge_client(runner, cases, tag):
    base = "ws://127.0.0.1:%d" % free_port()
    process, results, folder = runner.start("server", {"url": base, "cases": cases, "options": {"failByDrop": False}}, tag)
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", urlsplit(base).port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            print("%s: the fuzzing server did not start" % tag, file=sys.stderr)
            return
        with open(os.path.join(folder, "client.log"), "w") as log:
            client = subprocess.Popen(["/bin/bash", "-c", runner.options.target.replace("{url}", base)], stdout=log,
                                      stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
            try:
                client.wait(runner.patience())
            except subprocess.TimeoutExpired:
                print("%s: client cut off" % tag, file=sys.stderr)
            end(client)
    finally:
        end(process)
        runner.collect(results)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["server", "client", "list"])
    parser.add_argument("target", nargs="?", default="")
    parser.add_argument("--cases", default="*")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--budget", type=float, default=1400)
    parser.add_argument("--shard-timeout", type=float, default=420)
    parser.add_argument("--root", default=os.path.join(HERE, "..", "..", "target", "tools", "autobahn"))
    parser.add_argument("--out")
    parser.add_argument("--json")
    options = parser.parse_args()
    runner = Runner(options)
    if options.mode == "list":
        print("\n".join(runner.cases))
        return 0
    if options.mode == "server":
        link, head = open_websocket(options.target)
        link.close()
        if not head.startswith(b"HTTP/1.1 101"):
            sys.exit("no WebSocket server at %s: %r" % (options.target, head[:200]))
    elif "{url}" not in options.target:
        parser.error("the client command needs {url}")
    runner.run(judge_server if options.mode == "server" else judge_client)
    return runner.report()


if __name__ == "__main__":
    sys.exit(main())
