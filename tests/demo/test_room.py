"""The server of the page that is taught, spoken to by an http client: what it serves, takes and refuses."""

import contextlib
import hashlib
import json
import re
import socket
import ssl
import sys
import urllib.request

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.demo import room as room_module
from lowzoo.demo.certificate import certificate_for
from lowzoo.demo.room import MAX_BODY, MAX_PHONES, Room, Visit
from lowzoo.demo.session import TeachingRoom, door
from lowzoo.demo.subject import open_subject
from lowzoo.export.network.prototypes import PROTOTYPES
from lowzoo.serving import server as server_module
from lowzoo.serving.place import Serving
from lowzoo.serving.server import PageServer, Slots, hosts_of
from tests.bench.browser.client import PHONE, ask, post
from tests.demo.files import features_file
from tests.helpers.cli import runner
from tests.serving.test_pages import scripts

run = runner("demo")
HELLO = {"type": "hello", "facts": PHONE, "threads": 4}


def state(phone, **changes):
    said = {"type": "state", "phone": phone, "things": 3, "pictures": 9, "camera": "live", "ms": 31.4, "downloads": 0}
    return said | changes


def join(served):
    return post(served, HELLO)[1]["phone"]


def test_what_is_served(served):
    status, page, headers = ask(served, "")
    assert status == 200
    assert b"lowzoo demo" in page
    policy = headers["Content-Security-Policy"]
    assert "connect-src 'self' blob: data:" in policy
    assert "://" not in policy, "a page that was given its own onnxruntime-web may ask nobody else"
    for path in [script.name for script in scripts("lowzoo.demo")] + ["base.css", "style.css"]:
        assert ask(served, path)[0] == 200, path
    assert ask(served, "model")[1] == served.room.subject.file.path.read_bytes()
    task = json.loads(ask(served, "task")[1])
    assert task["output"] == {"name": "features", "dimensions": 6, "batch": 1}
    assert task["head"]["source"] == {"model": "rows", "head": PROTOTYPES}
    assert task["picture"]["target"] == [8, 8]
    for path in ("model2", "rows.onnx", "../../etc/passwd", "ort/secret.txt", "index.html", "input"):
        assert ask(served, path)[0] == 404, path


def test_every_address_of_the_page_is_served(served):
    """No script or style names a file that is not there, nor one of another place."""
    for path in ("", *(script.name for script in scripts("lowzoo.demo"))):
        text = ask(served, path)[1].decode()
        for name in re.findall(r'(?:from |src=|href=|Worker\()"([^"]+)"', text):
            if not name.startswith("data:"):
                assert ask(served, name.removeprefix("./"))[0] == 200, name
        assert "http:" not in text
        assert "https:" not in text


def test_another_token_host_or_origin(served):
    for wrong in ("x", served.server.token[:-1], served.server.token + "x", served.server.token.swapcase()):
        assert ask(served, "", token=wrong)[0] == 404
        assert ask(served, "model", token=wrong)[0] == 404
        assert ask(served, "report", "POST", json.dumps(HELLO), token=wrong)[0] == 404
    assert ask(served, "", host="evil.example")[0] == 404
    assert ask(served, "report", "POST", json.dumps(HELLO), headers={"Origin": "http://evil.example"})[0] == 404
    assert served.room.room.phones() == ()


def test_phones_are_kept_apart_and_said_once(served):
    said = {}
    first, second = join(served), join(served)
    assert list(served.room.room.news(said)) == [
        f"phone {number} (Pixel 8, Android 15.0.0, Google Chrome 140.0.1.2): has joined" for number in (1, 2)
    ]
    assert post(served, state(first)) == (200, {})
    assert post(served, state(second, things=1, pictures=1, camera="refused", ms=None)) == (200, {})
    lines = list(served.room.room.news(said))
    assert lines[0].endswith("): 3 things, 9 pictures, 31 ms a picture, camera on")
    assert lines[1].endswith("): 1 thing, 1 picture, camera refused")
    assert post(served, state(first, ms=29.0)) == (200, {})
    assert list(served.room.room.news(said)) == [], "milliseconds alone are no news"
    post(served, state(first, downloads=1))
    post(served, {"type": "gone", "phone": second})
    lines = list(served.room.room.news(said))
    assert lines[0].endswith("camera on, 1 download")
    assert lines[1].endswith("): gone")
    assert post(served, state(second))[0] == 409, "who has gone says nothing any more"
    assert post(served, state("other"))[0] == 409


def test_a_silent_phone_and_one_that_comes_back(served):
    now = [0.0]
    room = Room(clock=lambda: now[0])
    said = {}
    phone = room.take(json.dumps(HELLO).encode(), "")["phone"]
    assert len(list(room.news(said))) == 1
    now[0] = room_module.SILENT_S + 1
    assert next(room.news(said)).endswith("has joined; not heard of for a while")
    room.take(json.dumps(state(phone)).encode(), "")
    assert next(room.news(said)).endswith("camera on")


@pytest.mark.parametrize(
    "message",
    [
        "{",
        "[]",
        json.dumps({"type": "hello"}),
        json.dumps(HELLO | {"threads": 0}),
        json.dumps(HELLO | {"facts": PHONE | {"user_agent": "x" * 401}}),
        json.dumps(state("x", ms=-1.0)),
        json.dumps(state("x", ms=float("inf"))),
        json.dumps(state("x", things=10**9)),
        json.dumps(state("x", camera="filming")),
        json.dumps(state("x") | {"names": ["mug"]}),
        json.dumps(state("x") | {"picture": "data:image/jpeg;base64,AAAA"}),
        json.dumps(state("x") | {"features": [1.0]}),
    ],
)
def test_messages_that_make_no_sense_or_say_too_much(served, message):
    """Names, pictures and features are not taken even from a page that would send them."""
    status, body, _ = ask(served, "report", "POST", message)
    assert status == 400
    assert b"not understood" in body
    assert served.room.room.phones() == ()


def test_large_messages_and_too_many_phones(served):
    assert ask(served, "report", "POST", "x" * (MAX_BODY + 1))[0] == 413
    room = Room()
    for _ in range(MAX_PHONES):
        room.take(json.dumps(HELLO).encode(), "")
    with pytest.raises(LowzooError, match="are here already"):
        room.take(json.dumps(HELLO).encode(), "")


def test_phones_that_went_out_of_reach_hold_no_place(monkeypatch):
    """As many as there is room for go silent; as many others come, and one of the first that comes back joins again."""
    monkeypatch.setattr(room_module, "MAX_KNOWN", MAX_PHONES + 1)
    now = [0.0]
    room = Room(clock=lambda: now[0])
    names = [room.take(json.dumps(HELLO).encode(), "")["phone"] for _ in range(MAX_PHONES)]
    now[0] = room_module.SILENT_S - 1
    room.take(json.dumps(state(names[-1])).encode(), "")
    now[0] = room_module.SILENT_S + 1
    for _ in range(MAX_PHONES - 1):
        room.take(json.dumps(HELLO).encode(), "")
    with pytest.raises(LowzooError, match="are here already"):
        room.take(json.dumps(HELLO).encode(), "")
    assert len(room.phones()) == MAX_PHONES + 1
    room.take(json.dumps(state(names[-1])).encode(), "")
    with pytest.raises(LowzooError, match="no such phone"):
        room.take(json.dumps(state(names[0])).encode(), "")
    assert room.forgotten == MAX_PHONES - 2
    visit = Visit("x", room.phones(), True, room.forgotten)
    assert list(visit.lines()) == [f"{2 * MAX_PHONES - 1} pages joined."]


def test_a_page_that_is_loaded_again_and_again(monkeypatch):
    """Pages that left take no place, and are not kept for ever."""
    monkeypatch.setattr(room_module, "MAX_KNOWN", MAX_PHONES + 5)
    room = Room()
    for _ in range(MAX_PHONES + 20):
        phone = room.take(json.dumps(HELLO).encode(), "")["phone"]
        room.take(json.dumps({"type": "gone", "phone": phone}).encode(), "")
    assert len(room.phones()) == MAX_PHONES + 5
    assert room.phones()[-1].number == MAX_PHONES + 20


def test_a_page_that_cannot_start(served):
    post(served, {"type": "failed", "facts": PHONE, "reason": "no WebAssembly"})
    assert next(served.room.room.news({})).endswith("): cannot run it: no WebAssembly")


def test_what_a_page_says_forges_no_line(served):
    """Neither its device's name nor its reason brings an escape sequence or a line of its own to the terminal."""
    facts = PHONE | {"model": "x\x1b]52;c;cm0=\x07", "browser": "\r\nphone 9 (Pixel): gone"}
    post(served, {"type": "failed", "facts": facts, "reason": "\x1b[2J\u202eno\nlowzoo: all is well"})
    (line,) = served.room.room.news({})
    assert line.isprintable()
    assert "x�]52;c;cm0=�, Android" in line
    assert line.endswith("cannot run it: �[2J�no lowzoo: all is well")


def test_more_than_ten_phones_hold_their_connections(served):
    """Each browser opens six and keeps them: so many at once are served, and nobody who is refused holds a place."""
    port = int(served.server.url.rsplit(":", 1)[1].split("/")[0])
    head = f"GET /{served.server.token}/task HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        for _ in range(6 * 12):
            held = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            held.sendall(head)
            assert held.recv(100).startswith(b"HTTP/1.1 200")


def test_one_address_of_the_network_leaves_room_for_others():
    slots = Slots(8, 2)
    assert [slots.take("a") for _ in range(3)] == [True, True, False]
    assert [slots.take(each) for each in "bbccdd"] == [True] * 6
    assert not slots.take("e")
    slots.give_back("a")
    assert slots.take("e")
    assert PageServer(lambda body, address: {}, {}).slots.most_each == server_module.MAX_CONNECTIONS, "this computer"


def test_the_schemes_own_ports_are_not_named_by_browsers():
    assert hosts_of("192.0.2.7", 443, "https") == {"192.0.2.7:443", "192.0.2.7"}
    assert hosts_of("127.0.0.1", 80, "http") == {"127.0.0.1:80", "127.0.0.1", "localhost:80", "localhost"}
    assert hosts_of("192.0.2.7", 443, "http") == {"192.0.2.7:443"}


def test_a_host_and_an_origin_without_a_port(served):
    served.server.hosts = hosts_of("127.0.0.1", 80, "http")
    assert ask(served, "", host="127.0.0.1")[0] == 200
    known = {"Origin": "http://127.0.0.1"}
    assert ask(served, "report", "POST", json.dumps(HELLO), host="127.0.0.1", headers=known)[0] == 200
    assert ask(served, "", host="127.0.0.1.evil.example")[0] == 404


def test_what_is_left_lying_beside_a_page_is_not_served(tmp_path, monkeypatch):
    (tmp_path / "page").mkdir()
    for name in ("index.html", "page.js", "page.js~", ".page.js", "notes.txt", "README", ".DS_Store"):
        (tmp_path / "page" / name).write_text(name)
    monkeypatch.setattr(server_module, "files", lambda _: tmp_path)
    assert sorted(server_module.page_of("any")) == ["", "page.js"]


def test_a_certificate_for_this_run(tmp_path, dist):
    room = TeachingRoom(features_file(tmp_path / "rows.onnx"), door(Serving(ort_dist=dist), own_certificate=True))
    with room.serving() as (server, fingerprint):
        assert server.url.startswith("https://127.0.0.1:")
        port = int(server.url.rsplit(":", 1)[1].split("/")[0])
        pem = ssl.get_server_certificate(("127.0.0.1", port), timeout=10)
        shown = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
        assert fingerprint.replace(":", "").lower() == shown
        trusting = ssl.create_default_context(cadata=pem)
        with urllib.request.urlopen(server.url, context=trusting, timeout=10) as answer:  # its name is the address
            assert b"lowzoo demo" in answer.read()


def test_the_key_leaves_nothing_behind():
    with certificate_for("127.0.0.1", 5) as (path, _):
        assert path.stat().st_mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0
        assert "PRIVATE KEY" in path.read_text()
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--https"], "--https needs the package cryptography"),
        (["--ort-dist", "nowhere"], "nowhere holds no onnxruntime-web"),
        (["--lan"], "in no network"),
        (["--certificate", "none.pem"], "none.pem holds no certificate"),
        (["--port", "TAKEN"], "cannot listen on 127.0.0.1:"),
    ],
)
def test_what_is_missing_is_said_before_a_model_is_exported(monkeypatch, capsys, words, said):
    def no_network():
        raise LowzooError("this computer is in no network", "Connect it")

    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.setattr("lowzoo.demo.session.lan_address", no_network)
    monkeypatch.setattr("lowzoo.bench.subjects.exported.artifact_of", lambda *_, **__: pytest.fail("was exported"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        words = [str(other.getsockname()[1]) if word == "TAKEN" else word for word in words]
        code, _, error = run(capsys, "rob_vit_tiny", *words)
    assert code == 2
    assert said in error


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"notes": {"lowzoo.classes": '["a", "b"]'}}, "is a classifier already"),
        ({"notes": {"lowzoo.source": None}}, "does not say what it was made from"),
        ({"notes": {"lowzoo.preprocessing": None}}, "does not say how its pictures are prepared"),
        ({"notes": {"lowzoo.preprocessing": '{"mean": [0.5], "std": [0.5]}'}}, "does not say how"),
        ({"outputs": 2}, "does not give features"),
        ({"element": 1}, "takes tensor"),
        ({"shape": (4, 8, 8, 3)}, "takes 4 pictures at once"),
    ],
)
def test_files_that_no_page_can_teach(tmp_path, changes, said):
    with pytest.raises(LowzooError, match=said):
        open_subject(features_file(tmp_path / "rows.onnx", **changes))


def with_visitor(monkeypatch, then=lambda served: None):
    """A phone joins as soon as the page is served; then Ctrl-C."""
    serving = TeachingRoom.serving

    @contextlib.contextmanager
    def watched(self):
        with serving(self) as (server, fingerprint):

            class Held:
                pass

            Held.server = server
            then(Held)
            yield server, fingerprint

    monkeypatch.setattr(TeachingRoom, "serving", watched)

    def wait(self, say, sleep=None):
        turns = iter([None])

        def stop(_):
            if next(turns, "over") == "over":
                raise KeyboardInterrupt

        return serve(self, say, stop)

    serve = TeachingRoom.serve
    monkeypatch.setattr(TeachingRoom, "serve", wait)


def test_the_command_shows_phones_and_ends_by_ctrl_c(tmp_path, capsys, monkeypatch, dist):
    def visit(served):
        post(served, state(join(served)))

    with_visitor(monkeypatch, visit)
    file = features_file(tmp_path / "rows.onnx")
    code, text, error = run(capsys, file, "--ort-dist", dist)
    assert (code, text) == (0, "1 page joined.\n")
    assert "http://127.0.0.1:" in error
    assert "phone 1 (Pixel 8, Android 15.0.0, Google Chrome 140.0.1.2): 3 things, 9 pictures, 31 ms a picture" in error
    code, text, _ = run(capsys, file, "--ort-dist", dist, "--json")
    found = json.loads(text)
    assert (code, found["interrupted"], found["phones"][0]["state"]["pictures"]) == (0, True, 9)


def test_nobody_comes(tmp_path, capsys, dist):
    code, text, error = run(capsys, features_file(tmp_path / "rows.onnx"), "--ort-dist", dist, "--minutes", "0.002")
    assert (code, text) == (0, "No page has joined.\n")
    assert "Ends after 0.002 minutes" in error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--https", "--certificate", "x.pem"], "--https makes the certificate"),
        (["--minutes", "0"], "0 minutes are impossible"),
        (["--port", "70000"], "port 70000 is impossible"),
        (["--certificate", "FILE"], "holds no certificate"),
        (["--size", "64"], "has a size already"),
    ],
)
def test_options_that_do_not_fit(tmp_path, capsys, dist, words, said):
    file = features_file(tmp_path / "rows.onnx")
    words = [str(file) if word == "FILE" else word for word in words]
    code, text, error = run(capsys, file, "--ort-dist", dist, *words)
    assert (code, text) == (2, "")
    assert said in error
    assert "Traceback" not in error


def test_a_model_that_is_unknown(capsys):
    code, _, error = run(capsys, "rob_vit_tinny")
    assert code == 2
    assert "unknown model rob_vit_tinny" in error
