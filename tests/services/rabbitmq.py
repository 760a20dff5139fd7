"""A RabbitMQ of our own on loopback: own node, ports, folder, cookie and port mapper, nothing left behind."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import amqp

from tests.services.process import find_program, folder, free_port, running, unprivileged_user


@dataclass(slots=True)
class Queue:
    """A running RabbitMQ."""

    url: str
    port: int
    home: Path


@contextmanager
def queue() -> Iterator[Queue]:
    """Start RabbitMQ on free ports, and end it with the block, its Erlang port mapper too."""
    # Debian's rabbitmq-server is a wrapper that only root and rabbitmq may call; the real script lies here.
    server = find_program("rabbitmq-server", *sorted(Path("/usr/lib/rabbitmq").glob("bin")))
    mapper = find_program("epmd", *sorted(Path("/usr/lib/erlang").glob("erts-*/bin")))
    user = unprivileged_user("rabbitmq")
    port, distribution, mapping = free_port(), free_port(), free_port()
    with folder("meterproof-rabbitmq-", owner=user) as home:
        environment = _environment(home, port, distribution, mapping)
        _write(home / ".erlang.cookie", secrets.token_hex(20), user)
        _write(home / "rabbitmq.conf", _configuration(port), user)
        _write(home / "enabled_plugins", "[].\n", user)
        with ExitStack() as servers:
            servers.enter_context(
                running(
                    [mapper, "-address", "127.0.0.1", "-port", str(mapping)],
                    answers=lambda: _names(mapper, environment),
                    log=home / "epmd.log",
                    user=user,
                    environment=environment,
                )
            )
            servers.enter_context(
                running(
                    [server],
                    answers=lambda: _answers(port),
                    log=home / "server.log",
                    user=user,
                    environment=environment,
                )
            )
            yield Queue(f"amqp://guest:guest@127.0.0.1:{port}//", port, home)


def _environment(home: Path, port: int, distribution: int, mapping: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "ERL_EPMD_PORT": str(mapping),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"meterproof-{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_BASE": str(home),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "logs"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq"),
        "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(home / "config"),
        # Two schedulers, which do not spin while they wait: the machine has other work.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
    }


def _configuration(port: int) -> str:
    return f"listeners.tcp.1 = 127.0.0.1:{port}\nloopback_users.guest = true\ndisk_free_limit.absolute = 10MB\n"


def _write(path: Path, text: str, user: str | None) -> None:
    path.write_text(text)
    path.chmod(0o400 if path.name == ".erlang.cookie" else 0o600)
    if user:
        shutil.chown(path, user)


def _names(mapper: Path, environment: dict[str, str]) -> bool:
    return subprocess.run([mapper, "-names"], env=environment, capture_output=True, check=False).returncode == 0


def _answers(port: int) -> bool:
    try:
        with amqp.Connection(f"127.0.0.1:{port}", connect_timeout=2):
            return True
    except (OSError, amqp.AMQPError):
        return False
