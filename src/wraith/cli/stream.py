"""`wraith stream`: one channel, or the bare transport, on stdin and stdout or on a descriptor."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import rich_click as click

from wraith.cli import report
from wraith.cli.connect import GROUPS as CONNECT_GROUPS
from wraith.cli.connect import ask_passphrase, session_options
from wraith.cli.options import apply, command, common_options, option

if TYPE_CHECKING:
    from wraith.cli.stdio import Pipe
    from wraith.client.options import ConnectOptions

CHUNK = 256 * 1024

stream_options = apply(
    option("--fd", type=int, metavar="N", help="Use this socket instead of stdin and stdout."),
    option(
        "--raw",
        is_flag=True,
        help="The bare transport, without an SSH session: for a stock ssh's ProxyCommand.",
    ),
)


GROUPS = [{"name": "Where the bytes go", "options": ["--fd", "--raw"]}, *CONNECT_GROUPS]


@command(GROUPS)
@click.argument("destination", metavar="[DEST]", required=False)
@apply(session_options, stream_options, common_options)
def stream(
    destination: str | None,
    log_level: str,
    log_format: str,
    fd: int | None,
    raw: bool,
    **values: Any,
) -> None:
    """Connect stdin and stdout to DEST: host:port, a Unix socket path, or wraith-echo:0.

    \b
    As OpenSSH's ProxyCommand, through a Wraith server to an sshd behind it:
      ssh -o ProxyCommand='wraith stream --server gateway %h:%p' inner-host

    With --raw there is no DEST: ssh itself is the client of the Wraith server.
    """
    from wraith.cli import logs
    from wraith.cli.stdio import Pipe
    from wraith.client.options import ConnectOptions
    from wraith.errors import WraithError

    if raw == (destination is not None):
        raise click.UsageError("--raw takes no DEST" if raw else "name the DEST to connect to")
    logs.configure("error" if log_level == "info" else log_level, log_format)
    try:
        options = ConnectOptions(**values, ask_passphrase=ask_passphrase)
    except WraithError as error:
        report.fail(error)
    pipe = Pipe(fd)
    report.run(lambda: _raw(options, pipe) if raw else _stream(options, destination or "", pipe))


async def _stream(options: ConnectOptions, destination: str, pipe: Pipe) -> int:
    from wraith.client.stream import open_stream

    async with pipe, await open_stream(options, destination) as duplex:
        await _join(pipe, duplex.reader, duplex.write, duplex.write_eof)
    return 0


async def _raw(options: ConnectOptions, pipe: Pipe) -> int:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport = options.make_transport()
    try:
        stream = await transport.connect(lambda: protocol, options.connect_timeout)
        writer = asyncio.StreamWriter(stream, protocol, reader, loop)

        async def write(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        async with pipe:
            try:
                await _join(pipe, reader, write, writer.write_eof)
            finally:
                writer.close()
    finally:
        await transport.close()
    return 0


async def _join(pipe: Pipe, reader: asyncio.StreamReader, write: Any, write_eof: Any) -> None:
    """Carry both ways until the far side has said all; our side may end earlier."""

    async def upload() -> None:
        while data := await pipe.read(CHUNK):
            await write(data)
        write_eof()

    async def download() -> None:
        while data := await reader.read(CHUNK):
            await pipe.write(data)
        await pipe.write_eof()

    from wraith.errors import SessionLost

    uploading = asyncio.create_task(upload(), name="stdin to the channel")
    try:
        await download()
    except ConnectionResetError:
        raise SessionLost("the stream was cut short") from None
    except BrokenPipeError:
        pass  # whoever read our output has gone; there is nothing left to do
    finally:
        uploading.cancel()
        await asyncio.gather(uploading, return_exceptions=True)
