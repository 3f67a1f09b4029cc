"""Mistakes of YAML that people make in the file, each with the sentence that says what is there and what to write.

A row: what it is, the file, the lines that `sluice check` prints of it (without the file's name). Rows whose lines are
warnings, or that have none, are taken.
"""
import pytest
from mistakes import BROKER, PASSWORD, ROUTE, check

CASES = [
    ("password: a tag", PASSWORD + "!Secret1\n" + ROUTE, [
        "4:13: a value that begins with '!' is a tag to YAML, and tags are not supported (quotes expected: password: \"…\")",
    ]),
    ("password: Home Assistant's secrets", PASSWORD + "!secret mqtt_password\n" + ROUTE, [
        "4:13: tags such as !secret and !env are not supported (a variable of the environment expected: password: ${MQTT_PASSWORD}, or password_file: with a file's path)",
    ]),
    ("password: ESPHome's substitution", PASSWORD + "!env_var MQTT_PW\n" + ROUTE, [
        "4:13: tags such as !secret and !env are not supported (a variable of the environment expected: password: ${MQTT_PW}, or password_file: with a file's path)",
    ]),
    ("password: Ansible's vault", PASSWORD + "!vault |\n" + ROUTE, [
        "4:13: !vault is Ansible's (the value expected, or ${NAME} from the environment)",
    ]),
    ("password: an at sign", PASSWORD + "@hunter2\n" + ROUTE, [
        "4:13: a value can't begin with '@' in YAML (quotes expected: password: \"…\")",
    ]),
    ("password: a backtick", PASSWORD + "`hunter2\n" + ROUTE, [
        "4:13: a value can't begin with '`' in YAML (quotes expected: password: \"…\")",
    ]),
    ("password: a percent sign", PASSWORD + "%hunter2\n" + ROUTE, [
        "4:13: a value can't begin with '%' in YAML (quotes expected: password: \"…\")",
    ]),
    ("password: an anchor", PASSWORD + "&hunter2\n" + ROUTE, [
        "4:13: a value that begins with '&' is an anchor to YAML, and these are not supported (the value written out expected, or quotes if it is a text: password: \"…\")",
    ]),
    ("password: an alias", PASSWORD + "*hunter2\n" + ROUTE, [
        "4:13: a value that begins with '*' is an alias to YAML, and these are not supported (the value written out expected, or quotes if it is a text: password: \"…\")",
    ]),
    ("password: a closing bracket", PASSWORD + "]hunter2\n" + ROUTE, [
        "4:13: a value can't begin with ']' in YAML (quotes expected: password: \"…\")",
    ]),
    ("password: a closing brace", PASSWORD + "}hunter2\n" + ROUTE, [
        "4:13: a value can't begin with '}' in YAML (quotes expected: password: \"…\")",
    ]),
    ("password: a comma", PASSWORD + ",hunter2\n" + ROUTE, [
        "4:13: a value can't begin with ',' in YAML (quotes expected: password: \"…\")",
    ]),
    ("password: a folded block", PASSWORD + "> hunter2 x\n" + ROUTE, [
        "4:13: a value can't begin with '>' in YAML (quotes expected: password: \"…\")",
    ]),
    ("password: a literal block", PASSWORD + "|hunter2\n" + ROUTE, [
        "4:13: a value can't begin with '|' in YAML (quotes expected: password: \"…\")",
    ]),
    ("password: an entry", PASSWORD + "- hunter2\n" + ROUTE, [
        "4:13: a value can't begin with '-' in YAML (quotes expected: password: \"…\")",
    ]),
    ("password: a colon inside", PASSWORD + "hunter2: x\n" + ROUTE, [
        "4:13: a ':' with a blank behind it begins another value in YAML (quotes expected: password: \"…\")",
    ]),
    ("password: a colon at the end", PASSWORD + "hunter2:\n" + ROUTE, [
        "4:13: a ':' with a blank behind it begins another value in YAML (quotes expected: password: \"…\")",
    ]),
    ("password: an opening brace", PASSWORD + "{hunter2}x\n" + ROUTE, [
        "4:13: a value that begins with '{' is a mapping to YAML (quotes expected: password: \"…\")",
    ]),
    ("password: an opening bracket", PASSWORD + "[hunter2]x\n" + ROUTE, [
        "4:13: a value that begins with '[' is a list to YAML (quotes expected: password: \"…\")",
    ]),
    ("password: a brace that is not closed", PASSWORD + "{hunter2\n" + ROUTE, [
        "4:13: what opens with '{' here is not closed as it should be ('}' at its end expected, and a comma between entries; quotes if it is a text)",
    ]),
    ("password: an escape", PASSWORD + '"hunter\\2"\n' + ROUTE, [
        "4:13: a \\ in double quotes begins an escape (\\\\ expected, or single quotes around the value)",
    ]),
    ("password: text behind quotes", PASSWORD + '"hunter"2\n' + ROUTE, [
        '4:13: text behind the closing " of a value (\\" for a " inside expected, or the other kind of quotes)',
    ]),
    ("password: an apostrophe", PASSWORD + "'hunter's2'\n" + ROUTE, [
        "4:13: text behind the closing ' of a value ('' for a ' inside expected, or the other kind of quotes)",
    ]),
    ("password: an open quote", PASSWORD + '"hunter2\n' + ROUTE, [
        '4:13: a text that opens with " here is never closed (another " at its end expected)',
    ]),
    ("password: a template", PASSWORD + "{{ hunter2 }}\n" + ROUTE, [
        "4:14: '{{' belongs to a template of another program, which has not been filled in (the value expected, or ${NAME} from the environment)",
    ]),
    ("password: a comment", PASSWORD + "#hunter2\n" + ROUTE, [
        "4:12: broker.password: it has no value, as '#' begins a comment (a text expected, in quotes if it has a '#': password: \"#\")",
    ]),
    ("password: a comment inside", PASSWORD + "abc #hunter2\n" + ROUTE, [
        "4:13: warning: broker.password: it ends before ' #', which begins a comment (quotes around all of it, if that belongs to it)",
    ]),
    ("password: a mapping", PASSWORD + "{hunter2}\n" + ROUTE, [
        "4:13: broker.password: '{…}' without quotes is a mapping to YAML (quotes expected: password: \"…\")",
    ]),
    ("password: typographic quotes", PASSWORD + "\u201chunter2\u201d\n" + ROUTE, [
        "4:13: the character U+201C, a typographic quote, in a value without quotes (\" or ' expected, or quotes if it is meant)",
    ]),
    ("topic: a capture in front", BROKER + "routes:\n  - topic: {device}/a\n", [
        "4:12: a value that begins with '{' is a mapping to YAML (quotes expected: topic: \"{device}/a\")",
    ]),
    ("topic: a capture in front, in braces", BROKER + "routes:\n  - { topic: {device}/a, channel: b }\n", [
        "4:14: a value that begins with '{' is a mapping to YAML (quotes expected: topic: \"{device}/a\")",
    ]),
    ("topic: only a capture", BROKER + "routes:\n  - topic: {device}\n", [
        "4:12: routes[0].topic: '{device}' without quotes is a mapping to YAML (quotes expected: topic: \"{device}\")",
    ]),
    ("topic: only a rest", BROKER + "routes:\n  - topic: {device...}\n", [
        "4:12: routes[0].topic: '{device...}' without quotes is a mapping to YAML (quotes expected: topic: \"{device...}\")",
    ]),
    ("channel: only a capture", BROKER + 'routes:\n  - topic: "{x}"\n    channel: {x}\n', [
        "5:14: routes[0].channel: '{x}' without quotes is a mapping to YAML (quotes expected: channel: \"{x}\")",
    ]),
    ("topic: a shell's variable", BROKER + "routes:\n  - topic: a/${device}\n", [
        "4:12: the environment has no variable device (set it, or write ${device:-default}; a capture has no $)",
    ]),
    ("topic: a hash", BROKER + "routes:\n  - topic: #\n", [
        "4:11: routes[0].topic: it has no value, as '#' begins a comment (a text expected, in quotes if it has a '#': topic: \"#\")",
    ]),
    ("topic: a hash behind a slash", BROKER + "routes:\n  - topic: a/ #\n", [
        "4:12: warning: routes[0].topic: it ends before ' #', which begins a comment (quotes around all of it, if that belongs to it)",
    ]),
    ("topic: a list", BROKER + "routes:\n  - topic: [a, b]\n", [
        "4:12: routes[0].topic: a list (a text expected)",
    ]),
    ("topic: a star", BROKER + "routes:\n  - topic: */x\n", [
        "4:12: a value that begins with '*' is an alias to YAML (a wildcard of MQTT's expected, in quotes: + for one level, # for the rest)",
    ]),
    ("topic: a star inside", BROKER + "routes:\n  - topic: a/*\n  - topic: a/**\n", [
        "4:12: warning: routes[0].topic: '*' is no wildcard in MQTT, it matches itself (+ for one level expected)",
        "5:12: warning: routes[1].topic: '**' is no wildcard in MQTT, it matches itself (# or {name...} for several levels expected)",
    ]),
    ("topic: a no-break space", BROKER + "routes:\n  - topic: \u00a0a\n", [
        "4:12: the character U+00A0, a no-break space, in a value without quotes (a plain space expected, or quotes if it is meant)",
    ]),
    ("topic: a zero-width space", BROKER + "routes:\n  - topic: a\u200b\n", [
        "4:12: the character U+200B, an invisible space, in a value without quotes (a plain space expected, or quotes if it is meant)",
    ]),
    ("except: an at sign in a list", BROKER + "routes:\n  - topic: a/#\n    except:\n      - @x\n", [
        "6:9: a value can't begin with '@' in YAML (quotes expected: \"…\")",
    ]),
    ("except: an alias in a list", BROKER + "routes:\n  - topic: a/#\n    except: [*x]\n", [
        "5:14: a value that begins with '*' is an alias to YAML, and these are not supported (the value written out expected, or quotes if it is a text: \"…\")",
    ]),
    ("except: a backtick in a list of several lines", BROKER + "routes:\n  - topic: a/#\n    except: [\n      `x,\n    ]\n", [
        "6:7: a value can't begin with '`' in YAML (quotes expected: \"…\")",
    ]),
    ("no blank behind a colon, alone", "broker:\n  url:mqtt://h\n" + ROUTE, [
        "2:3: broker: no blank behind 'url:' (url: … expected)",
    ]),
    ("no blank behind a colon, first of two", "broker:\n  url:mqtt\n  keepalive: 5s\n" + ROUTE, [
        "2:6: no blank behind ':' (url: … expected)",
    ]),
    ("no blank behind a colon in an entry", BROKER + "routes:\n  - topic:a\n", [
        "4:5: routes[0]: no blank behind 'topic:' (topic: … expected)",
    ]),
    ("no blank behind a dash", BROKER + "routes:\n  -topic: a\n", [
        "4:3: routes: no blank behind '-' in '-topic' (- topic: … expected)",
    ]),
    ("no blank behind a dash, two entries", BROKER + "routes:\n  - topic: a\n  -topic: b\n", [
        "5:3: no blank behind '-' (- topic: … expected)",
    ]),
    ("indentation: a key left of the entry", BROKER + "routes:\n- topic: a\n channel: b\n", [
        "5:2: the line begins in column 2, where no line above does (column 1 expected, as '-' in line 4, or column 3, as 'topic' in line 4)",
    ]),
    ("indentation: a key right of the entry", BROKER + "routes:\n  - topic: a\n     channel: b\n", [
        "5:6: the line begins in column 6, where no line above does (column 5 expected, as 'topic' in line 4)",
    ]),
    ("indentation: a key between dash and key", BROKER + "routes:\n  - topic: a\n   channel: b\n", [
        "5:4: the line begins in column 4, where no line above does (column 3 expected, as '-' in line 4, or column 5, as 'topic' in line 4)",
    ]),
    ("indentation: the second entry right of the first", BROKER + "routes:\n  - topic: a\n    - topic: b\n", [
        "5:5: the entry of a list begins in column 5, where no entry above does (column 3 expected, as '-' in line 4)",
    ]),
    ("indentation: the second entry left of the first", BROKER + "routes:\n  - topic: a\n - topic: b\n", [
        "5:2: the entry of a list begins in column 2, where no entry above does (column 1 expected, as 'routes' in line 3, or column 3, as '-' in line 4)",
    ]),
    ("indentation: the second key of broker", BROKER + "   keepalive: 5s\n" + ROUTE, [
        "3:4: the line begins in column 4, where no line above does (column 3 expected, as 'url' in line 2)",
    ]),
    ("indentation: not at all", "broker:\nurl: mqtt://h\nroutes:\n- topic: a\n", [
        "2:1: url: unknown key here (broker.url expected, below broker:)",
    ]),
    ("indentation: everything", "  broker:\n    url: mqtt://h\n" + ROUTE, [
        "3:1: the line begins in column 1, where no line above does (column 3 expected, as 'broker' in line 1)",
    ]),
    ("a list as a mapping", BROKER + "routes:\n  topic: a\n", [
        "4:3: routes: a mapping (a list expected: '- ' before topic:)",
    ]),
    ("a list as a mapping of topics", BROKER + "routes:\n  a/b: { channel: b }\n", [
        "4:3: routes: a mapping (a list expected: '- ' before a/b:)",
    ]),
    ("a list as a text", BROKER + "routes: a\n", [
        "3:9: routes: a single value (a list expected: - topic: a)",
    ]),
    ("a list of texts", BROKER + "routes: [a, b/c]\n", [
        "3:10: routes[0]: not a mapping (- topic: a expected)",
        "3:13: routes[1]: not a mapping (- topic: b/c expected)",
    ]),
    ("a list of a wildcard", BROKER + "routes: ['#', '{device}/x', 'a: b']\n", [
        '3:10: routes[0]: not a mapping (- topic: "#" expected)',
        '3:15: routes[1]: not a mapping (- topic: "{device}/x" expected)',
        '3:29: routes[2]: not a mapping (- topic: "a: b" expected)',
    ]),
    ("a list as a wildcard", BROKER + "routes: '#'\n", [
        '3:9: routes: a single value (a list expected: - topic: "#")',
    ]),
    ("a variable inside braces", "broker: { url: mqtt://h, username: u, password: ${NOSUCH} }\n" + ROUTE, [
        '1:49: a variable inside { } or [ ] without quotes ("${NOSUCH}" expected)',
    ]),
    ("a variable inside braces over several lines", "broker: { url: mqtt://h,\n  username: ${USER_NAME:-me},\n  password: x }\n" + ROUTE, [
        '2:13: a variable inside { } or [ ] without quotes ("${USER_NAME:-me}" expected)',
    ]),
    ("a variable inside brackets", BROKER + ROUTE + "web: { origins: [${ORIGIN}] }\n", [
        '5:18: a variable inside { } or [ ] without quotes ("${ORIGIN}" expected)',
    ]),
    ("an empty list", BROKER + "routes: []\n", [
        "3:9: routes: it is empty (a list expected: - topic: …)",
    ]),
    ("listen as a number", BROKER + "listen: 8080\n" + ROUTE, [
        "3:9: listen: a single value (a list expected: - address: 8080)",
    ]),
    ("listen as a mapping", BROKER + "listen:\n  address: 8080\n" + ROUTE, [
        "4:3: listen: a mapping (a list expected: '- ' before address:)",
    ]),
    ("broker as a text", "broker: mqtt://h\n" + ROUTE, [
        "1:9: broker: a single value (a mapping expected, such as broker: { url: … })",
    ]),
    ("broker as a list", "broker:\n  - url: mqtt://h\n" + ROUTE, [
        "2:3: broker: a list (a mapping expected: the keys without '- ')",
    ]),
    ("tls: true", BROKER + "  tls: true\n" + ROUTE, [
        "3:8: broker.tls: a single value (a mapping expected, such as tls: { ca_file: … })",
        "3:8: broker.tls: the URL is mqtt:// (mqtts:// expected)",
    ]),
    ("a tab in front", "broker:\n\turl: mqtt://h\n" + ROUTE, [
        "2:1: the line is indented by a tab (spaces expected)",
    ]),
    ("a tab behind blanks", "broker:\n  \turl: mqtt://h\n" + ROUTE, [
        "2:3: the line is indented by a tab (spaces expected)",
    ]),
    ("a tab in front of a second key", BROKER + "\tkeepalive: 5s\n" + ROUTE, [
        "3:1: the line is indented by a tab (spaces expected)",
    ]),
    ("a tab behind a dash", BROKER + "routes:\n  -\ttopic: a\n", [
        "4:4: a tab where YAML has none (a space expected)",
    ]),
    ("tabs where YAML takes them", "broker:\n  url:\tmqtt://h\t# x\nroutes:\n  - topic:\ta\t\n", []),
    ("a switch: yes", BROKER + "sandbox: yes\n" + ROUTE, [
        "3:10: sandbox: 'yes' is no value for this (true expected)",
    ]),
    ("a switch: no", BROKER + "sandbox: no\n" + ROUTE, [
        "3:10: sandbox: 'no' is no value for this (false expected)",
    ]),
    ("a switch: On", BROKER + "sandbox: On\n" + ROUTE, [
        "3:10: sandbox: 'On' is no value for this (true expected)",
    ]),
    ("a switch: OFF", BROKER + "sandbox: OFF\n" + ROUTE, [
        "3:10: sandbox: 'OFF' is no value for this (false expected)",
    ]),
    ("a switch: True", BROKER + "sandbox: True\n" + ROUTE, [
        "3:10: sandbox: 'True' is no value for this (true expected)",
    ]),
    ("a switch: FALSE", BROKER + "sandbox: FALSE\n" + ROUTE, [
        "3:10: sandbox: 'FALSE' is no value for this (false expected)",
    ]),
    ("a switch: y", BROKER + "sandbox: y\n" + ROUTE, [
        "3:10: sandbox: 'y' is no value for this (true expected)",
    ]),
    ("a switch: 1", BROKER + "sandbox: 1\n" + ROUTE, [
        "3:10: sandbox: '1' is no value for this (true expected)",
    ]),
    ("a switch in quotes", BROKER + 'sandbox: "true"\n' + ROUTE, [
        "3:10: sandbox: a quoted text (true without quotes expected)",
    ]),
    ("publish: yes", BROKER + "routes:\n  - topic: a\n    publish: yes\n", [
        "5:14: routes[0].publish: a single value (a mapping expected, or true)",
    ]),
    ('publish: "false"', BROKER + 'routes:\n  - topic: a\n    publish: "false"\n', [
        "5:14: routes[0].publish: a single value (a mapping expected, or false)",
    ]),
    ("a duplicate key", BROKER + "  url: mqtt://i\n" + ROUTE, [
        "3:3: url: duplicate key, it is in line 2 already (each key once expected)",
    ]),
    ("a duplicate key of an entry, without its dash", BROKER + "routes:\n  - topic: a\n    topic: b\n", [
        "5:5: topic: duplicate key, it is in line 4 already (each key once expected; '- ' begins the next entry of a list)",
    ]),
    ("a duplicate list", BROKER + "routes:\n  - topic: a\nroutes:\n  - topic: b\n", [
        "5:1: routes: duplicate key, it is in line 3 already (each key once expected)",
    ]),
    ("Windows line ends", "broker:\r\n  url: mqtt://h\r\nroutes:\r\n  - topic: a\r\n", []),
    ("Windows line ends, and a mistake", "broker:\r\n  url: mqtt://h\r\n  username: u\r\n  password: @x\r\nroutes:\r\n  - topic: a\r\n", [
        "4:13: a value can't begin with '@' in YAML (quotes expected: password: \"…\")",
    ]),
    ("a byte order mark", "\ufeffbroker:\n  url: mqtt://h\n" + ROUTE, []),
    ("a byte order mark, and a mistake", "\ufeffbroker: {{ x }}\n" + ROUTE, [
        "1:10: '{{' belongs to a template of another program, which has not been filled in (the value expected, or ${NAME} from the environment)",
    ]),
    ("two byte order marks", "\ufeff\ufeffbroker:\n  url: mqtt://h\n" + ROUTE, [
        "1:1: two byte order marks at the beginning (one or none expected)",
    ]),
    ("a file in Latin-1", b'broker:\n  url: mqtt://h\n  client_id: K\xfcche\nroutes:\n  - topic: a\n', [
        "3:15: the byte 0xFC is not UTF-8 (a file saved as UTF-8 expected)",
    ]),
    ("a NUL", b'broker:\n  url: mqtt://h\n  client_id: a\x00b\nroutes:\n  - topic: a\n', [
        "3:15: the character U+0000 (printable text expected)",
    ]),
    ("a second document", BROKER + "routes:\n  - topic: a\n---\n", [
        "5:1: a second document (one expected; nothing behind '---')",
    ]),
    ("an included file", "broker: !include broker.yaml\n" + ROUTE, [
        "1:9: files can't be included (the content expected here)",
    ]),
    ("merge keys", "broker:\n  <<: *base\n  url: mqtt://h\n" + ROUTE, [
        "2:7: merge keys are not supported (the keys written out expected)",
    ]),
    ("TOML", '[broker]\nurl = "mqtt://h"\n', [
        "2:5: '=' between key and value (url: … expected)",
    ]),
    # From public trackers (docs/field.md).
    ("a topic to leave out", BROKER + "routes:\n  - topic: !should_excluded_topic\n", [
        "4:12: a value that begins with '!' is a tag to YAML; to leave topics out, a route has except: (quotes expected: topic: \"!should_excluded_topic\")",
    ]),
    ("a password with an ampersand and a hash", PASSWORD + "&MSy8K8xo5#4taewga\n" + ROUTE, [
        "4:13: a value that begins with '&' is an anchor to YAML, and these are not supported (the value written out expected, or quotes if it is a text: password: \"…\")",
    ]),
    ("a password with a hash in front", PASSWORD + "#Go#Sungrow1-8883\n" + ROUTE, [
        "4:12: broker.password: it has no value, as '#' begins a comment (a text expected, in quotes if it has a '#': password: \"#\")",
    ]),
    # Taken, although they look like some of the above.
    ("braces in quotes", BROKER + "routes:\n  - topic: '{device}/a'\n", []),
    ("a hash inside a word", PASSWORD + "a#b\n" + ROUTE, []),
    ("an exclamation mark inside", PASSWORD + "Secret!1\n" + ROUTE, []),
    ("an at sign inside", PASSWORD + "a@b\n" + ROUTE, []),
    ("signs in quotes", PASSWORD + "'!@`%*& #: {['\n" + ROUTE, []),
    ("a comment behind a value", PASSWORD + "abc # the password\n" + ROUTE, []),
    ("a colon without a blank", PASSWORD + "a:b\n" + ROUTE, []),
    ("a list at the column of its key", BROKER + "routes:\n- topic: a\n", []),
    ("a password of a tracker", PASSWORD + "p@ss:w0rd!#\n" + ROUTE, []),
    ("another password of a tracker", PASSWORD + "complex$%^&!@\n" + ROUTE, []),
    ("JSON", '{"broker": {"url": "mqtt://h"}, "routes": [{"topic": "a"}]}', []),
    ("the word no as a text", BROKER + "  client_id: no\n" + ROUTE, []),
    ("a no-break space in quotes", BROKER + "routes:\n  - topic: '\u00a0a'\n", []),
    ("yes in quotes as a text", BROKER + "  client_id: 'yes'\n" + ROUTE, []),
]


@pytest.mark.parametrize("text, expected", [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_mistake(tmp_path, text, expected):
    status, lines = check(tmp_path, text)
    assert lines == expected
    assert status == (2 if any(": warning: " not in line for line in lines) else 0)


@pytest.mark.parametrize("key", ["password", "PASSWORD", "db_secret", "token"])
def test_secrets_are_never_repeated(tmp_path, key):
    """The errors of a start go to the log."""
    values = ["!hunter2", "@hunter2", "`hunter2", "%hunter2", "*hunter2", "&hunter2 x", "{hunter2}", "{hunter2}x", "[hunter2", "hunter2: x",
              "hunter2:", "'hunter2'x", '"hunter2\\q"', '"hunter2', "|hunter2", ">hunter2", "- hunter2", "?hunter2: y", "{{ hunter2 }}",
              "hunter2 #x", "\thunter2: x", "!!binary hunter2", "\u201chunter2\u201d", "\n\thunter2", "\n  hunter2\n   x: y", "[!hunter2]", "[a, @hunter2]",
              "\n    !hunter2", "\n    @hunter2", "\n    - *hunter2", "\n    {hunter2}x", "{ a: !hunter2 }"]
    for value in values:
        for template in (f"broker:\n  url: mqtt://h\n  username: u\n  {key}: {value}\n{ROUTE}", f"broker: {{ url: 'mqtt://h', {key}: {value} }}\n{ROUTE}",
                         f"broker:\n  {key}:{value}\n{ROUTE}", f"broker: {key}:{value}\n{ROUTE}"):
            _, lines = check(tmp_path, template)
            assert lines or value == "?hunter2: y" or "hunter2 #x" in value, template
            assert not [line for line in lines if "hunter2" in line], (template, lines)
