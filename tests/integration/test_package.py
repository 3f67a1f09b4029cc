"""What `cmake --install` and the Debian package put where, by the tools that will read it: lintian, dpkg, man, systemd,
the shells. That the package installs, starts and goes again is tried in a chroot by tests/package/in_chroot.sh, outside CI."""
import os
import re
import shutil
import subprocess

import pytest
from harness import BINARY, ROOT

RELEASE = ROOT / "build/release"
COMMANDS = sorted(set(re.findall(r"^  sluice ([a-z]+)", subprocess.run([BINARY, "--help"], capture_output=True, text=True,
                                                                       timeout=30).stdout, re.M)))


def run(*args, **kwargs):
    kwargs.setdefault("timeout", 120)
    return subprocess.run([str(arg) for arg in args], capture_output=True, text=True, **kwargs)


def good(*args, **kwargs):
    result = run(*args, **kwargs)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The .deb and the tree inside it."""
    directory = tmp_path_factory.mktemp("deb")
    good("cpack", "-G", "DEB", "-B", directory, "--config", RELEASE / "CPackConfig.cmake", cwd=directory)
    deb, = directory.glob("*.deb")
    good("dpkg-deb", "-x", deb, directory / "tree")
    good("dpkg-deb", "-e", deb, directory / "control")
    return deb, directory / "tree", directory / "control"


def test_commands_are_known():
    assert {"check", "explain", "healthcheck", "schema", "reference"} <= set(COMMANDS)


def test_lintian(package):
    result = run("lintian", "--allow-root", "--fail-on", "error", "--no-tag-display-limit", package[0])
    assert result.returncode == 0 and not re.search("^E: ", result.stdout, re.M), result.stdout + result.stderr


def test_contents(package):
    deb, tree, control = package
    for path in ("usr/bin/sluice", "etc/sluice/sluice.yaml", "usr/share/man/man1/sluice.1.gz", "usr/share/man/man5/sluice.yaml.5.gz",
                 "usr/lib/systemd/system/sluice.service", "usr/share/sluice/sluice.schema.json", "usr/share/doc/sluice/copyright",
                 "usr/share/bash-completion/completions/sluice", "usr/share/zsh/vendor-completions/_sluice",
                 "usr/share/fish/vendor_completions.d/sluice.fish", "usr/share/doc/sluice/examples/reference.yaml"):
        assert (tree / path).is_file(), path
    for line in good("dpkg-deb", "-c", deb).splitlines():
        assert line.split()[1] == "root/root", line
    assert (control / "conffiles").read_text().split() == ["/etc/sluice/sluice.yaml"]
    fields = dict(line.split(": ", 1) for line in good("dpkg-deb", "-f", deb).splitlines() if re.match(r"\w[\w-]*: ", line))
    assert fields["Package"] == "sluice" and fields["Version"].split("-")[0] in good(BINARY, "--version")
    for dependency in ("adduser", "libmosquitto1", "libwebsockets", "libjansson4", "libyaml-0-2", "libc6"):
        assert dependency in fields["Depends"], dependency
    assert good(tree / "usr/bin/sluice", "--version") == good(BINARY, "--version")
    assert "not stripped" not in good("file", tree / "usr/bin/sluice")
    assert ": OK, " in good(tree / "usr/bin/sluice", "check", tree / "etc/sluice/sluice.yaml")


def test_maintainer_scripts(package):
    for name in ("postinst", "prerm", "postrm"):
        script = package[2] / name
        assert os.access(script, os.X_OK) and good("sh", "-n", script) == ""
        # Arguments that dpkg gives and that ask for nothing.
        assert run("sh", script, "failed-upgrade", "0").returncode == 0


def test_install_leaves_a_configuration_alone(tmp_path):
    env = dict(os.environ, DESTDIR=str(tmp_path))
    good("cmake", "--install", RELEASE, "--prefix", "/opt/sluice", env=env)
    unit = (tmp_path / "opt/sluice/lib/systemd/system/sluice.service").read_text()
    assert "ExecStart=/opt/sluice/bin/sluice -c /etc/sluice/sluice.yaml\n" in unit
    assert (tmp_path / "opt/sluice/share/zsh/site-functions/_sluice").exists()
    file = tmp_path / "etc/sluice/sluice.yaml"
    file.write_text("# mine\n")
    assert "Left alone" in good("cmake", "--install", RELEASE, "--prefix", "/opt/sluice", env=env)
    assert file.read_text() == "# mine\n"


def test_unit(package, tmp_path):
    unit = tmp_path / "sluice.service"
    text = (package[1] / "usr/lib/systemd/system/sluice.service").read_text()
    assert "ExecStart=/usr/bin/sluice -c /etc/sluice/sluice.yaml\n" in text
    unit.write_text(text.replace("/usr/bin/sluice", BINARY))
    result = run("systemd-analyze", "verify", "--man=no", unit)
    assert result.returncode == 0 and "sluice" not in result.stderr, result.stderr
    exposure = good("systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=20", unit)
    assert float(re.search(r"Overall exposure level for sluice.service: ([0-9.]+)", exposure).group(1)) <= 2.0


@pytest.mark.parametrize("page", ["sluice.1", "sluice.yaml.5"])
def test_manual_pages(page):
    path = ROOT / "docs/man" / page
    env = dict(os.environ, LC_ALL="C.UTF-8", MANROFFSEQ="", MANWIDTH="80")
    result = run("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", path, env=env)
    assert result.returncode == 0 and result.stderr == ""
    text = re.sub(".\b", "", good("man", "-l", path, env=env))
    if page == "sluice.1":
        for word in [*COMMANDS, "SIGHUP", "NOTIFY_SOCKET", "--topic", "--channel", "--as", "--version"]:
            assert word in text, word
    else:
        for word in ("broker.url (text; required)", "limits.frame (size; default 1MiB; 128 to 256MiB)"):
            assert word in text, word


# Completions, asked as the shells ask them

def bash(*words):
    script = ('source "$1"; shift; compopt() { :; }; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sluice; printf "%s\\n" "${COMPREPLY[@]}"')
    return good("bash", "--norc", "-c", script, "bash", ROOT / "packaging/completions/sluice.bash", *words).split()


def fish(line):
    script = f"source {ROOT}/packaging/completions/sluice.fish; complete -C '{line}'"
    return [row.split("\t")[0] for row in good("fish", "--no-config", "-c", script).splitlines()]


ZSH = r"""
zmodload zsh/zpty
zpty inner zsh -f -i
zpty -w inner "PROMPT=; unsetopt zle_bracketed_paste 2>/dev/null; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D"
zpty -w inner "zstyle ':completion:*' list-prompt ''; zstyle ':completion:*' insert-tab false; LISTMAX=1000; bindkey '^I' list-choices; echo rea''dy"
zpty -m -r inner _ "*ready*"
zpty -n -w inner "$2"$'\t'
zpty -m -r inner out "*$3*"
print -r -- "$out"
zpty -d inner
"""


def zsh(line, until):
    return good("zsh", "-f", "-c", ZSH, "zsh", ROOT / "packaging/completions", line, until, timeout=30)


def test_bash_completion():
    assert set(COMMANDS) <= set(bash("sluice", ""))
    assert bash("sluice", "he") == ["healthcheck"]
    assert bash("sluice", "explain", "--") == ["--topic", "--channel", "--as"]
    assert str(ROOT / "config/minimal.yaml") in bash("sluice", "check", str(ROOT / "config/mini"))
    assert str(ROOT / "config/minimal.yaml") in bash("sluice", "explain", "-c", str(ROOT / "config/mini"))
    assert bash("sluice", "explain", "--topic", "") == []


def test_fish_completion():
    assert set(COMMANDS) <= set(fish("sluice "))
    assert fish("sluice he") == ["healthcheck"]
    assert {"--topic", "--channel"} <= set(fish("sluice explain --"))
    assert [path for path in fish(f"sluice check {ROOT}/config/mini") if path.endswith("minimal.yaml")]


def test_zsh_completion():
    text = zsh("sluice ", f"{COMMANDS[-1]} *-- *") # the list is sorted; the word may be in a description, too
    for command in COMMANDS:
        assert command in text, text
    assert "--channel" in zsh("sluice explain --", "topic*")


def test_editors_are_told_of_the_schema():
    first = (ROOT / "packaging/sluice.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=/usr/share/sluice/sluice.schema.json"
    assert shutil.which("lintian") and shutil.which("dpkg-shlibdeps")  # what the tests above stand on
