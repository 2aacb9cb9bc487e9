"""Where a node may listen, and what it says where it may not."""

import socket

import pytest

from yilian.node import Settings, SettingsWrong, read_settings
from yilian.node.settings import checked, write_settings
from yilian.web import CannotListen
from yilian.web.serving import bound_socket


def settings(**fields):
    return Settings(**({"id": "clinic-1", "endpoint": "http://127.0.0.1:8700", "port": 0} | fields))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "node.example"])  # noqa: S104 - what must be refused
def test_anything_but_loopback_without_tls_is_refused(host):
    for attempt in (checked, bound_socket):
        with pytest.raises((SettingsWrong, CannotListen), match=f"refusing to listen on {host} without TLS"):
            attempt(settings(host=host))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_needs_no_tls(host):
    bound_socket(checked(settings(host=host))).close()


def test_a_port_in_use_is_said_in_a_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"port {port} on 127.0.0.1 is in use"):
            bound_socket(settings(port=port))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('id = "a"', "must name id and endpoint"),
        ('id = "a"\nendpoint = "x"\nport = "8"', "port is a number"),
        ('id = "a"\nendpoint = "x"\nengine = "none"', "engine is one of"),
        ('id = "a"\nendpoint = "x"\nengine = "remote"', "needs operator"),
        ('id = "a"\nendpoint = "x"\nprt = 1', "not known: prt"),
        ("id = ", "is not TOML"),
    ],
)
def test_a_node_toml_that_cannot_be_used_says_why(tmp_path, text, says):
    (tmp_path / "node.toml").write_text(text)
    with pytest.raises(SettingsWrong, match=says):
        read_settings(tmp_path)


def test_settings_are_read_as_they_were_written(tmp_path):
    write_settings(tmp_path / "m", settings(display="社区"))
    assert read_settings(tmp_path / "m") == settings(display="社区")
    assert (tmp_path / "m").stat().st_mode & 0o777 == 0o700  # keys will lie here
    with pytest.raises(FileExistsError):
        write_settings(tmp_path / "m", settings())
