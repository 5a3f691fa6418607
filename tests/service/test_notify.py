"""Word of new requests: what is sent and what never is, and that nobody but the server's operator says where to."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import stat
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import polars as pl
import pytest
from bastion_plan.errors import InputError
from bastion_server import start
from bastion_server.service.notify import Config, Mail, Notice, Notifier, Webhook, checked, letter, load, send_now

from bastion import Connection, Denied, Identity

NOTICE = Notice("r-1", "alice", ("olga",), ("titanic",), 1_700_000_000.0)
SECRET_REASON = "Mrs Miller of Elm Street earns 70000"


class Listener:
    """A web server that answers what it is told, and keeps what it got."""

    def __init__(self, *answers: int, location: str = "") -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        got, pending = self.got, list(answers)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                got.append((self.path, dict(self.headers), data))
                self.send_response(pending.pop(0) if pending else 200)
                if location:
                    self.send_header("Location", location)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?token=t"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def program(folder: Path, text: str) -> str:
    path = folder / "mailer"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def until(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_new_request_reaches_webhook_and_mail_with_names_only(tmp_path):
    with Listener() as hook:
        server_folder = tmp_path / "server"
        server_folder.mkdir(mode=0o700)
        box = tmp_path / "box"
        command = program(tmp_path, f'cat > {box}.new && mv {box}.new {box}; echo "$@" > {box}.args\n')
        (server_folder / "notify.toml").write_text(
            f'server = "Ward 9"\n[[webhook]]\nurl = "{hook.url}"\nsecret = "s3cret"\n\n'
            f'[mail]\ncommand = ["{command}", "-t"]\nto = {{ olga = "olga@example.org" }}\n'
        )
        olga, alice = (Identity.create(name) for name in ("olga", "alice"))
        with start(server_folder, owners=[olga], users=[alice]) as server:
            with Connection(server.endpoint, identity=olga, server_key=server.server_key) as owner:
                owner.client.polars.send_df(pl.DataFrame({"pay": range(50)}), name="wages", unit="row")
            with Connection(server.endpoint, identity=alice, server_key=server.server_key) as user:
                query = user.dataset("wages").filter(pl.col("pay") == 4711).head(3)
                with pytest.raises(Denied) as caught:
                    query.fetch()
                request = caught.value.request(SECRET_REASON)
                until(lambda: hook.got and box.exists())
                caught.value.request(SECRET_REASON)
                time.sleep(0.3)
        ((path, headers, data),) = hook.got
        assert path == "/hook?token=t"
        assert json.loads(data) == {
            "event": "request", "server": "Ward 9", "request": request.id, "requester": "alice", "owners": ["olga"],
            "datasets": ["wages"], "created": int(request.info.created),
        }  # fmt: skip
        signature = hmac.new(b"s3cret", data, hashlib.sha256).hexdigest()
        assert headers["X-Bastion-Signature"] == f"sha256={signature}"
        mail = box.read_text()
        assert "To: olga@example.org" in mail
        assert "alice asks about wages" in mail
        assert request.id in mail
        for told in (data.decode(), mail):
            for private in ("Miller", "70000", "4711", "pay", "head", "filter"):
                assert private not in told
        assert (tmp_path / "box.args").read_text().strip() == "-t"


def run(config: Config, *notices: Notice, seconds: float = 1.0) -> None:
    async def work() -> None:
        notifier = Notifier(config, pause=0.02)
        for notice in notices:
            notifier.tell(notice)
        await asyncio.sleep(seconds)
        await notifier.close()

    asyncio.run(work())


def test_it_is_tried_again_and_given_up_in_the_end(caplog):
    with Listener(500, 503) as hook:
        run(Config(webhook=(Webhook(hook.url),)), NOTICE)
        assert len(hook.got) == 3
    with Listener(*[500] * 9) as hook:
        run(Config(webhook=(Webhook(hook.url),)), NOTICE, seconds=2.0)
        assert len(hook.got) == 4
    assert "token" not in caplog.text
    assert "given up" in caplog.text


def test_a_redirect_is_not_followed(caplog):
    with Listener() as elsewhere, Listener(*[302] * 9, location=elsewhere.url) as hook:
        run(Config(webhook=(Webhook(hook.url),)), NOTICE)
        assert hook.got
        assert elsewhere.got == []


def test_a_slow_webhook_holds_up_nobody_and_ends():
    class Slow(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            time.sleep(0.6)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    async def work() -> tuple[float, dict[str, str]]:
        config = Config(webhook=(Webhook(f"http://127.0.0.1:{server.server_port}/", timeout=0.2),))
        begin = time.monotonic()
        Notifier(None).tell(NOTICE)
        notifier = Notifier(config)
        notifier.tell(NOTICE)
        told = time.monotonic() - begin
        await notifier.close()
        return told, await send_now(config, NOTICE)

    told, found = asyncio.run(work())
    assert told < 0.1
    assert found == {"webhook 1": "TimeoutError"}
    server.shutdown()
    server.server_close()


def test_a_mail_command_that_hangs_or_fails_is_ended(tmp_path):
    hangs = Mail((program(tmp_path, "sleep 60\n"),), {"*": "a@b"}, timeout=0.3)
    assert asyncio.run(send_now(Config(mail=hangs), NOTICE)) == {"mail": "took too long"}
    fails = Mail((program(tmp_path, "exit 3\n"),), {"*": "a@b"})
    assert asyncio.run(send_now(Config(mail=fails), NOTICE)) == {"mail": "ended with 3"}
    missing = Mail(("/nowhere/sendmail",), {"*": "a@b"})
    assert asyncio.run(send_now(Config(mail=missing), NOTICE)) == {"mail": "FileNotFoundError"}


def test_only_for_the_owners_that_are_named():
    config = Config(
        webhook=(Webhook("https://h/", owners=("otto",)),), mail=Mail(("/bin/cat",), {"olga": "o@x", "otto": "t@x"})
    )
    assert [label for label, _ in Notifier(config)._ways(NOTICE)] == ["mail"]
    none = Notice("r-1", "alice", ("nobody",), ("t",), 1.0)
    assert Notifier(config)._ways(none) == []


def test_a_name_cannot_add_a_header():
    text = letter("B", "b@x", "o@x", Notice("r-1", "al\r\nBcc: all@x", ("olga",), ("t\nBcc: you@x",), 1.0)).decode()
    assert not any(line.startswith("Bcc:") for line in text.splitlines())


@pytest.mark.parametrize(
    "text",
    [
        "webhok = 3\n",
        '[[webhook]]\nurl = "http://example.org/x"\n',
        '[[webhook]]\nurl = "file:///etc/passwd"\n',
        '[[webhook]]\nurl = "https://user:word@h/"\n',
        '[[webhook]]\nurl = "https://h/"\ntimeout = 0\n',
        '[mail]\ncommand = ["sendmail"]\nto = {}\n',
        "[mail]\ncommand = []\nto = {}\n",
        '[mail]\ncommand = ["/bin/cat"]\nto = { olga = "x\\nBcc: y@z" }\n',
        "not toml",
    ],
)
def test_a_file_that_means_nothing_is_refused(tmp_path, text):
    (tmp_path / "notify.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert caught.value.code == "input.notify"


def test_off_without_the_file(tmp_path):
    assert load(tmp_path) is None
    assert checked(Config()) == Config()
