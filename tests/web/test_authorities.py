"""Outbound connections trust the authorities that node.toml names, and no others; they are read once."""

import asyncio
import datetime as dt
import ssl
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.ports import bound
from yilian.peers import FollowedNode, Peers, Unreachable
from yilian.peers.authorities import authorities


def certified(folder):
    """Write a key and a certificate of 127.0.0.1 that is its own authority; return the certificate's path."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, folder.name)])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + dt.timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    folder.mkdir()
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "cert.pem").write_bytes(made.sign(key, SHA256()).public_bytes(Encoding.PEM))
    return str(folder / "cert.pem")


@asynccontextmanager
async def serving(certificate):
    """Answer every question with one byte, over TLS; give the URL."""

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\n1")
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.replace("cert.pem", "key.pem"))
    async with await asyncio.start_server(answer, sock=bound(), ssl=context) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
def own(tmp_path):
    return certified(tmp_path / "own")


async def test_a_named_authority_is_trusted_and_nobody_else(own, tmp_path):
    other = certified(tmp_path / "other")
    async with serving(own) as url, Peers(own) as trusting, Peers(other) as elsewhere, Peers() as public:
        assert (await trusting.get(url)).content == b"1"
        for peers in (elsewhere, public):
            with pytest.raises(Unreachable):
                await peers.get(url)


async def test_who_follows_a_node_trusts_the_named_authority_too(own):
    async with serving(own) as url, FollowedNode(url, own) as following, FollowedNode(url) as public:
        assert await following.genesis() == b"1"
        with pytest.raises(Unreachable):
            await public.genesis()


def test_authorities_are_read_once_and_those_of_one_file_are_not_those_of_another(own, tmp_path):
    other = certified(tmp_path / "other")
    assert authorities(own) is authorities(own)
    assert [len(authorities(path).get_ca_certs()) for path in (own, other)] == [1, 1]
    assert authorities(own).get_ca_certs() != authorities(other).get_ca_certs()
    assert (authorities(None) is authorities(None), len(authorities(None).get_ca_certs()) > 50) == (True, True)
