"""Installs the released Autobahn TestSuite for Python 3: the published sources, converted mechanically.

The suite was written for Python 2. Its cases are converted by lib2to3 (fissix where Python no longer has it) and run in
a world where a byte string is a latin-1 `str`: a literal then holds exactly the bytes that it held in Python 2.
What a case demands of its peer is not touched.
"""

import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
import tarfile

SUITE = "autobahntestsuite==25.10.1"
PACKAGES = [
    "setuptools==80.9.0", "wheel==0.45.1", "autobahn==0.10.9", "txaio==2.1.0", "Twisted==22.10.0", "six==1.17.0",
    "zope.interface==7.2", "fissix==24.4.24", "pyOpenSSL==24.2.1", "service_identity==24.2.0", "hyperlink==21.0.0",
]

# What the cases import from the standard library, in the latin-1 world.
BYTES_MODULE = '''
import binascii


def b2a_hex(text):
    return binascii.b2a_hex(text.encode("latin-1") if isinstance(text, str) else text).decode()


hexlify = b2a_hex


class Utf8Validator:
    def __init__(self):
        from autobahn.websocket.utf8validator import Utf8Validator as Real
        self.real = Real()

    def reset(self):
        self.real.reset()

    def validate(self, text):
        return self.real.validate(text.encode("latin-1") if isinstance(text, str) else text)
'''
REPORT_MODULE = 'CSS_COMMON = CSS_DETAIL_REPORT = CSS_MASTER_REPORT = JS_MASTER_REPORT = ""\n'


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit("%s failed:\n%s" % (" ".join(command[:6]), done.stdout[-4000:]))


def convert(source, target):
    """Copies the parts of the package that judge, and rewrites them for Python 3."""
    shutil.rmtree(target, ignore_errors=True)
    os.makedirs(target)
    for name in ("caseset.py", "fuzzing.py", "case", "testdata"):
        path = os.path.join(source, name)
        (shutil.copytree if os.path.isdir(path) else shutil.copy)(path, os.path.join(target, name))
    for name, text in (("__init__.py", 'version = "25.10.1"\n'), ("_bytes.py", BYTES_MODULE), ("report.py", REPORT_MODULE)):
        with open(os.path.join(target, name), "w") as out:
            out.write(text)
    files = glob.glob(target + "/case/*.py") + [target + "/caseset.py", target + "/fuzzing.py"]
    try:
        import lib2to3  # noqa: F401
        tool = "lib2to3"
    except ImportError:
        tool = "fissix"
    run(sys.executable, "-W", "ignore", "-m", tool, "-w", "-n", "--no-diffs", *files)
    for path in files:
        with open(path, "rb") as file:
            text = file.read()
        text = re.sub(rb"^#.*coding[:=].*$", b"#", text, count=2, flags=re.M)
        text = re.sub(rb"^import binascii[ \t\r]*$", b"from autobahntestsuite import _bytes as binascii", text, flags=re.M)
        text = text.replace(b"from autobahn.websocket.utf8validator import Utf8Validator",
                            b"from autobahntestsuite._bytes import Utf8Validator")
        text = re.sub(rb"\(object, Case,? *\)", b"(Case,)", text)
        text = text.replace(b"len(self.payload) / self.p.autoFragmentSize", b"len(self.payload) // self.p.autoFragmentSize")
        text = re.sub(rb"^(\s*)implements\(", rb"\1(lambda *a: None)(", text, flags=re.M)
        text = text.replace(b"from zope.interface import implements", b"")
        with open(path, "wb") as out:
            out.write(b"# -*- coding: latin-1 -*-\n" + text)


def install(root):
    """Builds the venv and the converted suite below `root`, unless they are there; returns the interpreter."""
    python, stamp = os.path.join(root, "venv", "bin", "python"), os.path.join(root, "installed")
    wanted = "\n".join([SUITE, *PACKAGES])
    if os.path.exists(stamp) and open(stamp).read() == wanted:
        return python
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(root)
    run(sys.executable, "-m", "venv", os.path.join(root, "venv"))
    run(python, "-m", "pip", "install", "-q", *PACKAGES)
    run(python, os.path.abspath(__file__), "--convert-into", root)
    with open(stamp, "w") as out:
        out.write(wanted)
    return python


def download_and_convert(root):
    """Runs inside the venv, where setuptools is old enough to read the suite's setup.py."""
    sources = os.path.join(root, "src")
    os.makedirs(sources, exist_ok=True)
    run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "--no-build-isolation",
        "-d", sources, SUITE)
    with tarfile.open(glob.glob(sources + "/*.tar.gz")[0]) as archive:
        archive.extractall(sources)
    package = [path for path in glob.glob(sources + "/*/autobahntestsuite") if os.path.isdir(path)][0]
    convert(package, os.path.join(root, "site", "autobahntestsuite"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--convert-into", required=True)
    download_and_convert(parser.parse_args().convert_into)
