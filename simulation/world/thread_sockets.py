"""`socket.socket`, names and TLS for code that blocks: sockets of trio behind the face of the standard ones.

In a thread a call that would wait is awaited by the loop. On the loop a call that need not wait is done, and one that
would is refused, since the real one would block the loop.
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
import sys
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NoReturn

import outcome
import trio
from trio._core import _traps

from simulation.world.patching import Patches
from simulation.world.threads import Threads, here, is_outside, passing

CHUNK: Final = 65_536
HOST_NAME: Final = "service.example"
"""The machine's own name in a world."""

_RealSocket: Final = socket.socket
_real_sleep: Final = time.sleep
_real_socketpair: Final = socket.socketpair
_real_poll: Final = select.poll
_real_select: Final = select.select
_real_from_stdlib: Final = trio.socket.from_stdlib_socket
_real_getaddrinfo: Final = socket.getaddrinfo
_NO_FD: Final = -1
_by_fd: Final[weakref.WeakValueDictionary[int, ThreadSocket]] = weakref.WeakValueDictionary()
"""The open sockets of the world by the numbers that they show."""


class WouldWait(Exception):
    """An async call could not be done at once."""


def at_once(afn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Run an async call to its end without giving control to trio.

    Raises:
        WouldWait: it waits for something.
    """
    coroutine: Any = afn(*args)
    answer: Any = None
    try:
        with trio.CancelScope(shield=True):
            while (trap := coroutine.send(answer)) is _traps.CancelShieldedCheckpoint:
                answer = outcome.Value(None)
            trap.abort_func(lambda: None)
            coroutine.close()
            raise WouldWait
    except StopIteration as end:
        return end.value


def _refused(method: str) -> Any:
    def refuse(sock: ThreadSocket, *_: Any) -> NoReturn:
        sentence = f"a socket of the world has no {method}: wanted send and recv over TCP"
        raise sock.threads.refuse(sentence, sys._getframe(1))

    return refuse


class ThreadSocket(socket.socket):
    """A TCP socket of the world. It has no descriptor of the operating system."""

    threads: Threads

    def __new__(cls, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> Any:
        if cls is ThreadSocket and here.is_passing:
            return _RealSocket(family, type, proto, fileno)
        return super().__new__(cls)

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        if is_outside() or fileno is not None:
            what = "a socket is made before the run begins" if fileno is None else "a socket is made of a descriptor"
            raise self.threads.refuse(what, sys._getframe(1))
        kind = socket.AF_INET if family == -1 else family, socket.SOCK_STREAM if type == -1 else type
        self._be(self.threads.call(trio.socket.socket, *kind, max(proto, 0)))

    def _be(self, inner: trio.socket.SocketType) -> None:
        self.inner: Any = inner
        self.ahead = b""  # what was read to learn whether there is something to read
        self._patience: float | None = socket.getdefaulttimeout()
        self._closed = False
        self._io_refs = 0
        _by_fd[self.fileno()] = self

    def _wait(self, afn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        if here.job is None:
            try:
                return at_once(afn, *args)
            except WouldWait:
                if self._patience == 0:
                    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable") from None
        sentence = "a call of a socket blocks the event loop: call it in trio.to_thread, or use trio's sockets"
        return self.threads.wait(sentence, self._limited, afn, *args)

    async def _limited(self, afn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        if self._patience == 0:
            try:
                return at_once(afn, *args)
            except WouldWait:
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable") from None
        with trio.move_on_after(float("inf") if self._patience is None else self._patience):
            return await afn(*args)
        raise TimeoutError("timed out")

    async def read_some(self, size: int = CHUNK) -> bytes:
        """Read the bytes that have come, at least one; on the loop."""
        ahead, self.ahead = self.ahead, b""
        if not ahead:
            return bytes(await self.inner.recv(size))
        self.ahead = ahead[size:]
        return ahead[:size]

    async def write_all(self, data: bytes) -> None:
        """Write all; on the loop."""
        view = memoryview(data)
        while view:
            view = view[await self.inner.send(view) :]

    async def readable(self) -> None:
        if not self.ahead and not self.inner.is_readable():
            self.ahead = await self.inner.recv(CHUNK)

    family = property(lambda self: self.inner.family)
    type = property(lambda self: self.inner.type)
    proto = property(lambda self: int(self.inner.proto))

    def fileno(self) -> int:
        return _NO_FD if self._closed else int(self.inner.fileno())

    def connect(self, address: Any, /) -> None:
        self._wait(self.inner.connect, address)

    def connect_ex(self, address: Any, /) -> int:
        try:
            self.connect(address)
        except TimeoutError:
            return errno.EAGAIN
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def bind(self, address: Any, /) -> None:
        self._wait(self.inner.bind, address)

    def listen(self, backlog: int = 128, /) -> None:
        self.threads.call(self.inner.listen, backlog)

    def accept(self) -> tuple[Any, Any]:
        inner, address = self._wait(self.inner.accept)
        return _socket_of(inner), address

    def recv(self, size: int = 1024, flags: int = 0, /) -> bytes:
        if flags & socket.MSG_PEEK:
            self._wait(self.readable)
            if not self.ahead and size:
                self.ahead = self._wait(self.inner.recv, CHUNK)
            return self.ahead[:size]
        return bytes(self._wait(self.read_some, size))

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        data = self.recv(nbytes or len(buffer), flags)
        memoryview(buffer).cast("B")[: len(data)] = data
        return len(data)

    def send(self, data: Any, flags: int = 0, /) -> int:
        return int(self._wait(self.inner.send, bytes(data)))

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        self._wait(self.write_all, bytes(data))

    def shutdown(self, how: int, /) -> None:
        self.threads.call(self.inner.shutdown, how)

    def _real_close(self, *_: Any) -> None:
        self._closed = True
        if self.inner is not None:
            self.threads.call(self.inner.close)

    def __del__(self) -> None:
        pass  # dropped without a close: the world ends with the run

    def settimeout(self, value: float | None, /) -> None:
        if value is not None and value < 0:
            raise ValueError("Timeout value out of range")
        self._patience = value

    def gettimeout(self) -> float | None:
        return self._patience

    timeout = property(gettimeout)

    def setblocking(self, flag: bool, /) -> None:
        self._patience = None if flag else 0.0

    def getblocking(self) -> bool:
        return self._patience != 0

    def getpeername(self) -> Any:
        return self.inner.getpeername()

    def getsockname(self) -> Any:
        return self.inner.getsockname()

    def setsockopt(self, *args: Any) -> None:
        self.inner.setsockopt(*args)

    def getsockopt(self, *args: Any) -> Any:
        return self.inner.type if args == (socket.SOL_SOCKET, socket.SO_TYPE) else self.inner.getsockopt(*args)

    def set_inheritable(self, inheritable: bool) -> None:
        pass

    detach, dup, sendto, recvfrom, sendmsg, recvmsg = map(
        _refused, ("detach", "dup", "sendto", "recvfrom", "sendmsg", "recvmsg")
    )

    def __repr__(self) -> str:
        return f"<{self.__class__.__name__} fd={self.fileno()}>"


class ThreadTLS(ssl.SSLSocket, ThreadSocket):
    """TLS over a socket of the world: the standard library's class over two buffers in memory."""

    @classmethod
    def _create(cls, sock: Any, *args: Any, **options: Any) -> Any:
        if not isinstance(sock, ThreadSocket):
            return ssl.SSLSocket._create(sock, *args, **options)  # type: ignore[attr-defined]
        return cls._over(sock, *args, **options)

    @classmethod
    def _over(
        cls,
        sock: ThreadSocket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | None = None,
        context: Any = None,
        session: Any = None,
    ) -> Any:
        self: Any = cls.__new__(cls)
        self._be(sock.inner)
        self.settimeout(sock.gettimeout())
        self.ahead, self._io_refs = sock.ahead, 0
        sock._closed, sock.inner = True, None  # as the standard one, which takes the descriptor over
        self._context, self._session, self._connected = context, session, True
        self.server_side, self.server_hostname = server_side, server_hostname
        self.do_handshake_on_connect, self.suppress_ragged_eofs = do_handshake_on_connect, suppress_ragged_eofs
        self._sslobj = _TlsObject(self, server_side, server_hostname, context, session)
        if do_handshake_on_connect:
            self.do_handshake()
        return self


class _TlsObject:
    """Stands where a TLS socket keeps OpenSSL's object, which reads and writes its descriptor."""

    def __init__(self, sock: ThreadTLS, server_side: bool, name: str | None, context: Any, session: Any) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=name, session=session
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tls, name)

    def read(self, *args: Any) -> Any:
        return self._run(self._tls.read, *args)

    def write(self, data: Any) -> int:
        return int(self._run(self._tls.write, data))

    def do_handshake(self) -> None:
        self._run(self._tls.do_handshake)

    def shutdown(self) -> Any:
        self._run(self._tls.unwrap)
        return self._sock

    def _run(self, operation: Callable[..., Any], *args: Any) -> Any:
        try:
            return self._sock._wait(self._exchange, operation, *args)
        except BlockingIOError:
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "The operation did not complete (read)") from None

    async def _exchange(self, operation: Callable[..., Any], *args: Any) -> Any:
        while True:
            try:
                result = operation(*args)
            except ssl.SSLWantReadError:
                await self._sock.write_all(self._outgoing.read())
            except ssl.SSLError:
                await self._sock.write_all(self._outgoing.read())  # the alert
                raise
            else:
                await self._sock.write_all(self._outgoing.read())
                return result
            data = await self._sock.read_some()
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()


def _socket_of(inner: Any) -> Any:
    sock: Any = ThreadSocket.__new__(ThreadSocket)
    sock._be(inner)
    return sock


class _Poll:
    """`select.poll`, which knows the sockets of the world too."""

    def __init__(self) -> None:
        self._real = _real_poll()
        self._masks: dict[int, int] = {}

    def register(self, file: Any, mask: int = 7, /) -> None:
        if (fd := _fd(file)) in _by_fd:
            self._masks[fd] = mask
        else:
            self._real.register(file, mask)

    modify = register

    def unregister(self, file: Any, /) -> None:
        if self._masks.pop(_fd(file), None) is None:
            self._real.unregister(file)

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        if not self._masks:
            return list(self._real.poll(timeout))
        to_read = [fd for fd, mask in self._masks.items() if mask & select.POLLIN]
        to_write = [fd for fd, mask in self._masks.items() if mask & select.POLLOUT]
        seconds = None if timeout is None or timeout < 0 else timeout / 1_000
        can_read = _ready(to_read, bool(to_write), seconds)
        events = dict.fromkeys(can_read, select.POLLIN)
        for fd in to_write:
            events[fd] = events.get(fd, 0) | select.POLLOUT
        return list(events.items())


def _select(to_read: Any, to_write: Any, others: Any, timeout: float | None = None, /) -> Any:
    readers, writers = list(to_read), list(to_write)
    if not any(_fd(file) in _by_fd for file in (*readers, *writers)):
        return _real_select(readers, writers, others, timeout)
    can_read = _ready([_fd(file) for file in readers], bool(writers), timeout)
    return [file for file in readers if _fd(file) in can_read], writers, []


def _fd(file: Any) -> int:
    return file if isinstance(file, int) else int(file.fileno())


def _ready(fds: list[int], need_not_wait: bool, timeout: float | None) -> list[int]:
    """Return the sockets that can be read; all can be written, as the world takes data at once, or `send` waits."""
    socks = {fd: _by_fd[fd] for fd in fds}

    def ready() -> list[int]:
        return [fd for fd, sock in socks.items() if sock.ahead or sock.inner.is_readable()]

    async def wait() -> None:
        with trio.move_on_after(float("inf") if timeout is None else timeout):
            async with trio.open_nursery() as nursery:
                for sock in socks.values():
                    nursery.start_soon(first, sock, nursery.cancel_scope)

    async def first(sock: ThreadSocket, scope: trio.CancelScope) -> None:
        await sock.readable()
        scope.cancel()

    if not (found := ready()) and not need_not_wait and timeout != 0:
        ThreadSocket.threads.wait("select blocks the event loop", wait)
        found = ready()
    return found


@contextmanager
def thread_sockets(threads: Threads) -> Iterator[None]:
    """Let `socket`, `ssl`, `select` and `time.sleep` of code that blocks use the world."""

    def sleep(seconds: float, /) -> None:
        if is_outside():
            _real_sleep(seconds)
        else:
            threads.wait("time.sleep blocks the event loop: await trio.sleep", trio.sleep, seconds)

    def getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
        numeric = flags | socket.AI_NUMERICHOST
        try:
            with passing():
                return _real_getaddrinfo(host, port, family, type, proto, numeric)
        except socket.gaierror:
            if flags & socket.AI_NUMERICHOST:
                raise
        sentence = "looking up a name blocks the event loop: use trio.socket.getaddrinfo"
        return threads.wait(sentence, trio.socket.getaddrinfo, host, port, family, type, proto, flags)

    def gethostbyname(host: str, /) -> Any:
        return getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]

    def socketpair(*args: Any, **options: Any) -> Any:
        if is_outside():
            with passing():  # of trio.run itself
                return _real_socketpair(*args, **options)
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            for package, sentence in _PAIRS_OF.items():
                if frame.f_globals.get("__name__", "").startswith(package):
                    raise threads.refuse(sentence, sys._getframe(1))
            frame = frame.f_back
        raise threads.refuse("a real pair of sockets is opened: use trio.open_memory_channel", sys._getframe(1))

    def from_stdlib_socket(sock: Any) -> Any:
        return sock.inner if isinstance(sock, ThreadSocket) else _real_from_stdlib(sock)

    with Patches() as patches:
        patches.put(ThreadSocket, "threads", threads)
        pairs = [
            (time, "sleep", sleep),
            (socket, "socket", ThreadSocket),
            (socket, "socketpair", socketpair),
            (socket, "getaddrinfo", getaddrinfo),
            (socket, "gethostbyname", gethostbyname),
            (socket, "gethostname", lambda: HOST_NAME),
            (socket, "getfqdn", lambda name="": name or HOST_NAME),
            (select, "select", _select),
            (select, "poll", _Poll),
            (trio.socket, "from_stdlib_socket", from_stdlib_socket),
        ]
        patches.rebind([(getattr(owner, name), value) for owner, name, value in pairs])
        for owner, name, value in pairs:
            patches.put(owner, name, value)
        patches.put(ssl.SSLContext, "sslsocket_class", ThreadTLS)
        yield


_PAIRS_OF: Final = {
    "asyncio": "an event loop of asyncio is started: a world runs trio alone",
    "trio._core._wakeup_socketpair": "trio.run is called within the run",
}
"""Modules that open pairs of sockets, and the sentence about their caller."""
