"""Pages and apps: static files, base path, frames, origins of apps, a refused page in the log (issue: In the field, 7 to 9)."""
import gzip
import subprocess

import pytest
import requests
from conftest import yaml
from harness import BINARY, free_port, wait_until
from wsclient import dial, refused

pytestmark = pytest.mark.memory

FILES = {"/": "text/html", "/dashboard.js": "text/javascript", "/dashboard.css": "text/css", "/favicon.svg": "image/svg+xml",
         "/client.js": "text/javascript", "/client.mjs": "text/javascript", "/share.mjs": "text/javascript", "/openapi.json": "application/json", "/asyncapi.json": "application/json",
         "/elements.js": "text/javascript"}
APPS = ["file://", "capacitor://localhost", "ionic://localhost", "tauri://localhost", "http://tauri.localhost", "app://obsidian.md",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop", "moz-extension://6a4b1f5e-7d2f-4a40-9d0f-0f5f7a5f5f5f"]


def test_files_are_compressed_and_kept(sluice):
    plain = {"Accept-Encoding": "identity"}
    for path, kind in FILES.items():
        whole = sluice.get(path, headers=plain)
        assert whole.headers["Content-Type"].startswith(kind) and "Content-Encoding" not in whole.headers
        assert whole.headers["Cache-Control"] == "no-cache" and "Accept-Encoding" in whole.headers["Vary"]
        small = requests.get(sluice.http + path, headers={"Accept-Encoding": "gzip"}, stream=True, timeout=10)
        raw = small.raw.read(decode_content=False)
        assert small.headers["Content-Encoding"] == "gzip" and gzip.decompress(raw) == whole.content
        assert len(raw) == int(small.headers["Content-Length"]) < len(whole.content)
        assert small.headers["ETag"] != whole.headers["ETag"]  # two forms, two names (RFC 9110, 8.8.3.3)
        for headers, first in (({"Accept-Encoding": "gzip"}, small), (plain, whole)):
            for tags in (first.headers["ETag"], "W/" + first.headers["ETag"], '"x", ' + first.headers["ETag"], "*"):
                again = sluice.get(path, headers={**headers, "If-None-Match": tags})
                assert again.status_code == 304 and not again.content and again.headers["ETag"] == first.headers["ETag"]
                assert "Content-Length" not in again.headers and "Content-Encoding" not in again.headers
            assert sluice.get(path, headers={**headers, "If-None-Match": '"other"'}).status_code == 200
        head = requests.head(sluice.http + path, headers={"Accept-Encoding": "gzip"}, timeout=10)
        assert head.status_code == 200 and int(head.headers["Content-Length"]) == len(raw) and not head.content
        assert sluice.get(path, headers={"Accept-Encoding": "gzip;q=0, *"}).headers.get("Content-Encoding") is None
        assert sluice.post(path, b"").status_code == 405
    # What changes is never kept.
    assert sluice.get("/channels").headers["Cache-Control"] == "no-store"


def test_client_for_isolated_pages(sluice):
    """A page with Cross-Origin-Embedder-Policy: require-corp takes only scripts that say so."""
    for path in ("/client.js", "/client.mjs", "/share.mjs"):
        answer = sluice.get(path, headers={"Origin": "https://anywhere.example"})
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin" and answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "export" in sluice.get("/client.mjs").text


@pytest.mark.parametrize("base", ["/sluice", "/iot/live/"])
async def test_base_path(world, base):
    gateway = world.sluice(yaml(world.broker().port, listen=f"127.0.0.1:{free_port()}", extra=f"web: {{ base_path: {base} }}\n"), ready=False)
    base = base.rstrip("/")
    wait_until(lambda: gateway.get(base + "/readyz").status_code == 200, what="the gateway")
    assert gateway.post(base + "/channels/lamps/1", b"ON").json() == {"status": "published"}
    wait_until(lambda: gateway.get(base + "/channels/lamps/1").status_code == 200)
    assert gateway.get(base + "/channels/lamps/1").json()["data"] == "ON"
    assert gateway.get(base + "/poll?channel=lamps/1&cursor=last&wait=0").json()["messages"][0]["data"] == "ON"
    for path in list(FILES) + ["/channels", "/channels/lamps/1/history", "/healthz", "/metrics"]:
        assert gateway.get(base + path).status_code == 200, path
    async with dial(gateway.ws + base + "/ws") as ws:
        assert '"welcome"' in await ws.recv()
    async with dial(gateway.ws + base + "/channels/lamps/1") as ws:
        assert await ws.recv() == "ON"
    with requests.get(gateway.http + base + "/sse?channel=lamps/1", stream=True, timeout=10) as stream:
        assert stream.status_code == 200
    moved = requests.get(gateway.http + base, allow_redirects=False, timeout=10)
    assert moved.status_code == 308 and moved.headers["Location"] == base + "/"
    for path in ("/", "/healthz", "/channels/lamps/1", base + "x/healthz", base.upper() + "/healthz", "/x" + base + "/healthz", base + "/.."):
        answer = gateway.get(path)
        assert answer.status_code == 404 and answer.json()["code"] == "not_found", path
    assert "web.base_path" in gateway.get("/channels").json()["message"]
    assert await refused(gateway.ws + "/ws", {}) == 404
    assert subprocess.run([BINARY, "healthcheck", "-c", str(gateway.config)], timeout=30).returncode == 0
    # It changes with the file.
    gateway.config.write_text(gateway.config.read_text().replace("base_path: " + base, "base_path: /"))
    gateway.signal(1)
    wait_until(lambda: gateway.get("/healthz").status_code == 200, what="the reload")


def test_frames(world):
    gateway = world.sluice(yaml(world.broker().port, extra="web: { frame_ancestors: [self, \"https://home.example:8123\"] }\n"))
    headers = gateway.get("/").headers
    assert "frame-ancestors 'self' https://home.example:8123\r" in headers["Content-Security-Policy"] + "\r"
    assert "X-Frame-Options" not in headers


@pytest.fixture(scope="module")
def listed(shared):
    return shared.sluice(yaml(shared.main_broker.port, extra="web:\n  origins: " + str(APPS + ["null", "https://*.preview.example", "http://localhost:*"]) + "\n"))


@pytest.mark.parametrize("origin", APPS + ["null", "https://a.preview.example", "https://b.a.preview.example", "http://localhost:5173"])
async def test_apps_and_devices(listed, origin):
    answer = listed.get("/channels", headers={"Origin": origin})
    assert answer.status_code == 200
    # Cookies only for a page that is listed by its own name: everybody can have a preview, a file, a sandboxed frame.
    exact = origin in APPS and origin != "file://"
    assert answer.headers["Access-Control-Allow-Origin"] == (origin if exact else "*")
    assert answer.headers.get("Access-Control-Allow-Credentials") == ("true" if exact else None)
    async with dial(listed.ws + "/ws", origin=origin) as ws:
        assert '"welcome"' in await ws.recv()


@pytest.mark.parametrize("origin", ["https://preview.example", "https://a.preview.example.evil.example", "https://evilpreview.example",
                                    "http://a.preview.example", "https://a.preview.example:444", "capacitor://evil", "http://localhost.evil.example:1",
                                    "chrome-extension://ponmlkjihgfedcbaponmlkjihgfedcba", "file:///etc"])
async def test_others_stay_out(listed, origin):
    assert listed.get("/channels", headers={"Origin": origin}).status_code == 403
    assert await refused(listed.ws + "/ws", {"Origin": origin}) == 403


def test_a_refused_page_is_told_once_a_minute(world):
    gateway = world.sluice(yaml(world.broker().port))
    line = lambda origin: f"a page of {origin} was refused; to let it in, add web: {{ origins: [\\\"{origin}\\\"] }} to {gateway.config}"
    for _ in range(20):
        assert gateway.get("/channels", headers={"Origin": "http://localhost:3000"}).status_code == 403
        assert gateway.get("/poll?channel=a", headers={"Origin": "capacitor://localhost"}).status_code == 403
    for origin in ("http://localhost:3000", "capacitor://localhost"):
        wait_until(lambda: line(origin) in gateway.text(), what=line(origin))
        assert gateway.text().count(f"a page of {origin} ") == 1
    # What no browser sends tells nothing to do, and however many come, the log does not grow with them.
    for origin in ("https://x.example/path", "x", "http://a\"b", "https://*.evil.example", "http://" + "a" * 200 + ".example"):
        assert gateway.get("/channels", headers={"Origin": origin}).status_code == 403
    for number in range(100):
        gateway.get("/channels", headers={"Origin": f"https://{number}.evil.example"})
    assert gateway.text().count("a page of ") == 32 and "evil.example\\\"] } to" in gateway.text() and "*.evil" not in gateway.text()
    assert gateway.metric("sluice_forbidden_total") >= 145


@pytest.mark.parametrize("address,told", [("0.0.0.0:0", True), ("[::]:0", True), ("127.0.0.1:0", False), ("[::1]:0", False)])
def test_open_to_everybody(world, tmp_path, address, told):
    """Listening on all addresses without auth: is said at the start and by check."""
    broker = world.broker()
    file = tmp_path / "open.yaml"
    file.write_text(yaml(broker.port, listen=f'"{address}"'))
    check = subprocess.run([BINARY, "check", str(file)], capture_output=True, text=True, timeout=30)
    assert check.returncode == 0 and (f"{file}:7:" in check.stderr and "warning: listen" in check.stderr and "no auth:" in check.stderr) == told
    gateway = world.sluice(yaml(broker.port, listen=f'"{address}"'), ready=False)
    wait_until(lambda: "connected to" in gateway.text(), what="the start")
    wait_until(lambda: ("is open to everybody who reaches this machine" in gateway.text()) == told, what=gateway.text)
    assert gateway.text().count("listening on") == 1
    file.write_text(yaml(broker.port, listen=f'"{address}"', extra="auth: { anonymous: guest }\nroles: { guest: { subscribe: \"#\" } }\n"))
    check = subprocess.run([BINARY, "check", str(file)], capture_output=True, text=True, timeout=30)
    assert check.returncode == 0 and not check.stderr
