"""`sluice doctor` says why something does not work, and nothing where all is well."""
import socket

import harness
from command import run
from conftest import yaml
from harness import BINARY, free_port, wait_until


def lines(result):
    return [(line.split()[0], line.split(None, 1)[1]) for line in result.stdout.splitlines()]


def test_doctor_finds_nothing(world):
    broker, port = world.broker(), free_port()
    file = world.directory / "well.yaml"
    file.write_text(yaml(broker.port, "  - { topic: a/# }", listen=f"127.0.0.1:{port}\n  - address: unix:{world.directory}/s.sock"))
    result = run("doctor", "-c", str(file))
    assert result.returncode == 0 and {word for word, _ in lines(result)} == {"ok"}, result
    assert f"listen: 127.0.0.1:{port} is free" in result.stdout and "s.sock can be made" in result.stdout
    world.keep(harness.Process([BINARY, "-c", str(file)], world.directory / "well.log"))
    wait_until(lambda: "a gateway runs there" in run("doctor", "-c", str(file)).stdout)


def test_doctor_leaves_a_running_gateway_its_connection(world):
    """Its client_id is one; a second client of that name would take the connection over."""
    broker = world.broker()
    port = free_port()
    gateway = world.sluice(yaml(broker.port, "  - { topic: a/# }", listen=f"127.0.0.1:{port}", broker="  client_id: only-one\n"))
    result = run("doctor", "-c", str(gateway.config))
    assert result.returncode == 0 and "ok       broker: the gateway that runs is connected to it" in result.stdout, result
    assert "\nsluice_mqtt_disconnects_total 0\n" in gateway.get("/metrics").text
    broker.kill()
    wait_until(lambda: not gateway.get("/readyz").ok)
    result = run("doctor", "-c", str(gateway.config))
    assert result.returncode == 1 and "FAILURE  broker: the gateway that runs is not connected" in result.stdout, result


def test_doctor_finds_what_is_wrong(world):
    broker, nobody = world.broker(), free_port()
    (world.directory / "pass").write_text("x\n")
    (world.directory / "pass").chmod(0o644)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        file = world.directory / "ill.yaml"
        file.write_text(yaml(nobody, "  - { topic: a/# }", listen=f"127.0.0.1:{taken.getsockname()[1]}\n  - address: unix:/nonexistent/s.sock\n"
                             f"  - address: 0.0.0.0:{free_port()}", broker="  username: u\n  password_file: " + str(world.directory / "pass") + "\n", extra="web: { origins: '*' }\n"))
        result = run("doctor", "-c", str(file))
    said = [text for word, text in lines(result) if word == "FAILURE"]
    assert result.returncode == 1 and len(said) == 3, result
    assert said[0].startswith(f"broker: mqtt://127.0.0.1:{nobody}: Connection refused") and "Address already in use" in said[1] and "/nonexistent" in said[2]
    warned = [text for word, text in lines(result) if word == "warning"]
    assert len(warned) == 3 and "add auth:" in warned[0] and "every web page" in warned[1] and f"chmod o-rwx {world.directory}/pass" in warned[2], result
    file.write_text(yaml(broker.port, "  - { topic: a/# }").replace("mqtt:", "mqtts:"))
    result = run("doctor", "-c", str(file))
    assert result.returncode == 1 and "FAILURE  broker: mqtts:" in result.stdout, result
    file.write_text("broker: 1\n")
    assert run("doctor", "-c", str(file)).returncode == 2
