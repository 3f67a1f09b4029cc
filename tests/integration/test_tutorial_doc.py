"""docs/tutorial.md: every command of it is run, in its order, in one shell, and prints what the page says. Only the ports
are others."""
import os
import re
import shutil
import signal
import subprocess
import textwrap
import threading

import pytest
import requests

from harness import ROOT, free_port, wait_until

PAGE = ROOT / "docs/tutorial.md"
BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.M | re.S)

# The page of step 5 in a real browser, by the same Playwright as tests/browser.
BROWSER = """
import { chromium } from 'playwright-core';
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(60000);
  await page.goto(process.argv[1]);
  await page.waitForFunction(() => /^2\\d/.test(document.getElementById('temperature').value));
  await page.waitForFunction(() => document.getElementById('state').value === 'ON');
  await page.waitForFunction(() => document.getElementById('line').textContent === 'live over websocket');
  await page.click('#lamp');
  await page.waitForFunction(() => document.getElementById('state').value === 'OFF');
  await page.click('#lamp');
  await page.waitForFunction(() => document.getElementById('state').value === 'ON');
} finally {
  await browser.close();
}
"""

# ... and that of step 6.
ELEMENTS = """
import { chromium } from 'playwright-core';
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(60000);
  await page.goto(process.argv[1]);
  await page.waitForSelector('sluice-value[data-state=live]');
  await page.waitForSelector('sluice-chart[data-state=live]');
  const lamp = page.getByRole('switch', { name: 'Lamp' });
  await page.waitForSelector('sluice-switch[data-state=live]');
  const was = await lamp.getAttribute('aria-checked');
  for (const wanted of [was === 'true' ? 'false' : 'true', was]) {
    await lamp.click();
    await page.waitForFunction((wanted) => {
      const element = document.querySelector('sluice-switch');
      return element.dataset.state === 'live' && element.shadowRoot.querySelector('button').getAttribute('aria-checked') === wanted;
    }, wanted);
  }
} finally {
  await browser.close();
}
"""


class Shell:
    """One bash for the whole page, so that its variables and background jobs go on from block to block."""

    def __init__(self, directory):
        tools = directory / "bin"
        tools.mkdir()
        if not shutil.which("sudo"):  # root in a container
            (tools / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
            (tools / "sudo").chmod(0o755)
        (directory / "apt.conf").write_text('DPkg::Lock::Timeout "300";\n')
        env = dict(os.environ, PATH=f"{tools}:{os.environ['PATH']}", APT_CONFIG=str(directory / "apt.conf"),
                   DEBIAN_FRONTEND="noninteractive")
        self.child = subprocess.Popen(["bash", "-s"], cwd=ROOT, env=env, text=True, stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self.child.stdin.write("set -eu -o pipefail\n")

    def run(self, text, timeout):
        """What the commands print; fails if one of them does, or if they take too long."""
        timer = threading.Timer(timeout, self.kill)
        timer.start()
        self.child.stdin.write(text + "\necho; echo '-- block done'\n")
        self.child.stdin.flush()
        lines = []
        for line in self.child.stdout:
            if line.rstrip("\n") == "-- block done":
                timer.cancel()
                return "".join(lines)
            lines.append(line)
        timer.cancel()
        pytest.fail("a command failed or did not end:\n" + textwrap.indent(text, "  ") + "\nprinted:\n" + "".join(lines))

    def processes(self):
        listed = subprocess.run(["pgrep", "-s", str(self.child.pid)], capture_output=True, text=True, check=False)
        return [int(pid) for pid in listed.stdout.split()]

    def kill(self):
        try:
            os.killpg(self.child.pid, signal.SIGKILL)  # the shell and all that it started
        except ProcessLookupError:
            pass

    def end(self):
        self.kill()
        self.child.stdin.close()
        self.child.wait(10)


def expect(expected, printed):
    """Each expected line is found in what was printed, in this order; … stands for anything."""
    at = 0
    for line in expected.splitlines():
        pattern = re.compile(".*?".join(map(re.escape, line.split("…"))))
        found = pattern.search(printed, at)
        assert found, f"expected {line!r} after position {at} in:\n{printed}"
        at = found.end()


@pytest.mark.timeout(900)
def test_every_command(tmp_path):
    text = PAGE.read_text("utf-8")
    broker, web, page = free_port(), free_port(), free_port()
    blocks = BLOCK.findall(text)
    for port, own in (("1884", broker), ("8080", web), ("8000", page)):
        assert any(port in block for _, block in blocks)
        blocks = [(kind, re.sub(rf"\b{port}\b", str(own), block)) for kind, block in blocks]
    assert [kind for kind, _ in blocks].count("sh") >= 10
    shell = Shell(tmp_path)
    try:
        printed = ""
        for kind, block in blocks:
            if kind == "text":
                expect(block, printed)
                continue
            printed = shell.run(block, timeout=600 if "dev build" in block or "apt-get" in block else 90)
            if "http.server" in block:
                run_page(BROWSER, f"http://127.0.0.1:{page}/")
            if "elements.html" in block:
                run_page(ELEMENTS, f"http://127.0.0.1:{page}/elements.html")
        wait_until(lambda: refuses(web) and refuses(page), 15, "the servers to end")
        wait_until(lambda: shell.processes() == [shell.child.pid], 30, "nothing but the shell to be left")
    finally:
        shell.end()


def run_page(script, address):
    subprocess.run(["node", "--input-type=module", "-e", script, address], cwd=ROOT / "tests/browser", check=True,
                   timeout=240)


def refuses(port):
    try:
        requests.get(f"http://127.0.0.1:{port}/", timeout=5)
    except requests.ConnectionError:
        return True
    return False
