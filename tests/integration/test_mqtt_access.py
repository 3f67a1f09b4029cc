"""Which MQTT clients are let in, and what their roles allow."""
import paho.mqtt.client as mqtt
import pytest
from harness import wait_until
from locked import Doors
from mqttclients import BOTH, Raw, text

pytestmark = pytest.mark.memory


@pytest.fixture(scope="module")
def doors(shared):
    doors = Doors(shared.directory)
    doors.gateway = shared.sluice(doors.yaml(shared.main_broker.port, auth="  cookie: token\n", jwt_extra="    leeway: 0s\n",
                                             extra="mqtt: {}\nweb: { origins: [\"http://page.example\"] }\n"))
    return doors


@pytest.fixture(scope="module")
def gateway(doors):
    return doors.gateway


@BOTH
def test_token_key_or_ticket_is_the_password(paho, doors, version):
    gateway = doors.gateway
    ticket = gateway.post("/ticket", headers=doors.bearer("viewer")).json()["ticket"]
    for password in (doors.token("viewer"), doors.key, ticket):
        assert paho(where=gateway, version=version, user="whoever", password=password).connected().subscribe("rooms/#", 0) == [0]
    late = paho(where=gateway, version=version, user="whoever", password=ticket)  # it was good once
    assert late.event("connect")[1] == (0x86 if version == mqtt.MQTTv5 else 4)


@BOTH
def test_handshakes_bring_credentials(paho, doors, version):
    gateway = doors.gateway
    ticket = gateway.post("/ticket", headers=doors.bearer("viewer")).json()["ticket"]
    for where in ({"headers": doors.bearer("viewer")}, {"headers": {"Cookie": "token=" + doors.token("viewer")}}, {"path": "/mqtt?ticket=" + ticket}):
        assert paho(where=gateway, version=version, **where).connected().subscribe("rooms/#", 0) == [0]


@BOTH
def test_refusals(paho, doors, version):
    """Nobody, a wrong password, an expired one: with the code that there is for it."""
    five = version == mqtt.MQTTv5
    for password, code in ((None, 0x87 if five else 5), ("nonsense", 0x86 if five else 4), (doors.token("viewer", lifetime=-5), 0x86 if five else 4),
                           ("x" * 43, 0x86 if five else 4)):
        stranger = paho(where=doors.gateway, version=version, user="u", password=password)
        assert stranger.event("connect")[1] == code
    stranger = paho(where=doors.gateway, version=version, headers={"Cookie": "token=" + doors.token("viewer", lifetime=-5)})
    assert stranger.event("connect")[1] == (0x86 if five else 4)


@BOTH
def test_roles_decide(paho, doors, version, client):
    """Subscribing, publishing, fields."""
    viewer = paho(where=doors.gateway, version=version, user="u", password=doors.token("viewer")).connected()
    assert viewer.subscribe("rooms/#", 1) == [1]
    assert viewer.subscribe("secret/x", 0) == [0x87 if version == mqtt.MQTTv5 else 0x80]
    assert viewer.subscribe("#", 0) == [0x87 if version == mqtt.MQTTv5 else 0x80]
    some = paho(where=doors.gateway, version=version, user="u", password=doors.token("some")).connected()
    some.subscribe("rooms/fields/+", 0)
    client.publish("rooms/fields/t", b'{"t": 1, "secret": 2}')
    wait_until(lambda: some.messages)
    assert some.messages[0].payload == b'{"t":1}'
    with Raw(doors.gateway) as raw:
        raw.connect(5, 0xc2, rest=text("u") + text(doors.token("viewer")))
        raw.send(0x32, text("lamps/1") + b"\0\1\0ON")
        assert raw.receive()[1][:3] == b"\0\1\x87"


def test_the_end_of_a_token_ends_the_connection(doors):
    with Raw(doors.gateway) as raw:
        raw.connect(5, 0xc2, rest=text("u") + text(doors.token("viewer", lifetime=2)))
        first, answer = raw.receive()
        assert first == 0xe0 and answer[0] == 0xa0 and b"expired" in answer


def test_two_identities_with_one_client_id_do_not_meet(doors):
    """And two of one identity do: the newer one has it."""
    with Raw(doors.gateway) as ann, Raw(doors.gateway) as bob, Raw(doors.gateway) as again:
        ann.connect(5, 0xc2, "tab", rest=text("u") + text(doors.token("viewer", sub="ann")))
        bob.connect(5, 0xc2, "tab", rest=text("u") + text(doors.token("viewer", sub="bob")))
        for raw in (ann, bob):
            raw.send(0xc0)
            assert raw.receive() == (0xd0, b"")
        again.connect(5, 0xc2, "tab", rest=text("u") + text(doors.token("viewer", sub="ann")))
        first, answer = ann.receive()
        assert first == 0xe0 and answer[0] == 0x8e and ann.receive() is None
        for raw in (bob, again):
            raw.send(0xc0)
            assert raw.receive() == (0xd0, b"")


def test_no_page_of_another_origin(doors):
    with pytest.raises(AssertionError):
        Raw(doors.gateway, headers="Origin: http://evil.example\r\n")
    Raw(doors.gateway, headers="Origin: http://page.example\r\n").socket.close()
