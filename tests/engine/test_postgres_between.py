"""What stands between us and PostgreSQL: encryption that the URL asks for, and poolers."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

psycopg = pytest.importorskip("psycopg", reason="needs the extra 'postgres'")

from cryptography import x509  # noqa: E402 - after the skip
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from cryptography.x509.oid import NameOID  # noqa: E402

from engine.errors import StoreError  # noqa: E402
from engine.report_keys import topics  # noqa: E402
from engine.store import open_store  # noqa: E402
from privacy.workload import TABLES  # noqa: E402
from tests.postgres import Server, _die_with_parent, binaries  # noqa: E402

PGBOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of localhost that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "server.crt", folder / "server.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    paths[1].chmod(0o600)
    return paths


@contextmanager
def encrypted(folder: Path) -> Iterator[tuple[str, Path]]:
    """Start a server that speaks TLS on a port; give the URL of a database, and its certificate."""
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL server here: install Debian's postgresql")
    port = free_port()
    server = Server(programs)
    try:
        server.stop()
        authority, key = certificate(folder)
        for one in (authority, key):
            copied = Path(shutil.copy(one, server.folder))
            copied.chmod(0o600)
            server.own(copied)
        server.given |= {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "ssl": "on",
            "ssl_cert_file": str(server.folder / "server.crt"),
            "ssl_key_file": str(server.folder / "server.key"),
        }
        server.port = port
        server.start()
        yield f"postgresql://tactful@localhost:{port}/postgres", authority
    finally:
        server.close()


def test_the_url_says_how_the_connection_is_encrypted(tmp_path: Path):
    with encrypted(tmp_path) as (url, authority):
        checked = f"{url}?sslmode=verify-full&sslrootcert={quote(str(authority), safe='')}"
        with closing(open_store(checked)) as store:
            ((on,),) = store.rows("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            assert on
            # The engine that counts goes there by the same URL.
            assert dict(store.reports().tally(topics())(20_000, TABLES[:1])) == {TABLES[0].name: {}}
        (tmp_path / "other").mkdir()
        other, _ = certificate(tmp_path / "other")
        with pytest.raises(StoreError, match="certificate verify failed"):
            open_store(f"{url}?sslmode=verify-full&sslrootcert={quote(str(other), safe='')}")


@contextmanager
def pooled(postgres: Server, folder: Path, mode: str) -> Iterator[str]:
    """Start PgBouncer before a database; give the URL through it."""
    port = free_port()
    folder.mkdir()
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n* = host={postgres.folder} user=tactful\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\nauth_type = any\npool_mode = {mode}\ndefault_pool_size = 20\n"
    )
    folder.chmod(0o755)
    settings.chmod(0o644)
    process = subprocess.Popen(
        [PGBOUNCER, str(settings)], user=postgres.user, cwd="/", preexec_fn=_die_with_parent,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(100):
            with closing(socket.socket()) as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        with postgres.database() as direct:
            name = direct.partition("@/")[2].partition("?")[0]
            yield f"postgresql://tactful@127.0.0.1:{port}/{name}"
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(PGBOUNCER is None, reason="needs pgbouncer")
def test_a_pool_of_transactions_is_refused_and_one_of_sessions_serves(postgres: Server, tmp_path: Path):
    shared = Path(postgres.folder).parent / f"pool-{free_port()}"  # where the server's user may read
    try:
        with (
            pooled(postgres, shared, "transaction") as url,
            pytest.raises(StoreError, match="pool_mode to session"),
        ):
            open_store(url)
        shutil.rmtree(shared)
        with pooled(postgres, shared, "session") as url, closing(open_store(url)) as store:
            assert store.settle("currency", "EUR") == "EUR"
            for _ in range(20):
                assert store.setting("currency") == "EUR"
    finally:
        shutil.rmtree(shared, ignore_errors=True)
