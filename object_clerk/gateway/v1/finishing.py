"""How the pieces of an upload become an object: once, in one stream, verified like any other."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import random
from typing import TYPE_CHECKING, Any, TypeAlias

from object_clerk.exceptions import (
    BucketNotFoundException,
    ObjectClerkException,
    ObjectNotFoundException,
    ObjectVerificationException,
    PreconditionFailed,
    UnsupportedError,
)
from object_clerk.gateway.bodies import SMALL_BYTES, Outgoing
from object_clerk.gateway.v1 import objects
from object_clerk.gateway.v1.bodies import Checks
from object_clerk.gateway.v1.claims import Busy, Claim, kept
from object_clerk.gateway.v1.errors import Problem
from object_clerk.gateway.v1.stored import stored_of
from object_clerk.gateway.v1.uploads import CANCELLED, DONE, Upload, in_background
from object_clerk.session import wire
from object_clerk.session.metadata import metadata_of
from object_clerk.store.models import Capability

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence

    from object_clerk.gateway.v1.service import Service
    from object_clerk.gateway.v1.uploads import Piece
    from object_clerk.store.models import ObjectInfo

#: So often it is tried again while somebody else puts an upload together, and the least and most
#: seconds in between.
TRIES, PAUSES_S = 60, (0.5, 1.5)

#: So many are put together at once by a process.
MOST_AT_ONCE = 100

#: In place of the generation of what ``/v1`` did not write.
_FOREIGN = "?"

#: Finds out which pieces an upload is made of.
Pieces: TypeAlias = "Callable[[Service, Upload], Awaitable[Sequence[Piece]]]"


async def finish(
    service: Service, upload: Upload, pieces: Pieces, of: str = ""
) -> Mapping[str, Any]:
    """Let an upload become an object. Whoever asks later, or at the same time, is told the same.

    It goes on if the client goes away, or a large object could never be made over a bad connection.

    Args:
        service: where.
        upload: which one.
        pieces: finds out what it is made of.
        of: what the client wants it to be made of, where that is left to it.

    Raises:
        Problem: 400, it is not what was said of it; 409, it was made of something else before; 410,
            it was cancelled; 503, somebody else puts it together, and takes long.
    """
    key = (upload.prefix, of)
    task = service.finishing.get(key)
    if task is None:
        if len(service.finishing) >= MOST_AT_ONCE:
            raise _busy()
        work = _Finish(service, upload, pieces, of).run()
        task = service.finishing[key] = in_background(work)
        task.add_done_callback(lambda _: service.finishing.pop(key, None))
    return await asyncio.shield(task)


@dataclasses.dataclass
class _Finish:
    """One who wants an upload to become an object."""

    service: Service
    upload: Upload
    pieces: Pieces
    of: str

    async def run(self) -> Mapping[str, Any]:
        """Try until it is one."""
        is_fenced = Capability.CONDITIONS in self.service.store.store.client.capabilities
        for _ in range(TRIES):
            now = await self.upload.renewed(self.service)
            if now.state == CANCELLED:
                raise Problem(410, "the upload was cancelled")
            if now.state == DONE and now.of != self.of:
                raise Problem(409, "the upload was completed before, with other parts")
            if now.state == DONE:
                return now.told or wire.Stored(now.place.key).to_json()
            try:
                await self._try(is_fenced)
            except UnsupportedError:  # the server behind the store knows no conditions
                if not is_fenced:
                    raise
                is_fenced = False
            except (Busy, PreconditionFailed):
                # Somebody else has claimed or written it: what that means is seen the next time.
                await asyncio.sleep(random.uniform(*PAUSES_S))  # noqa: S311 - no secret
        raise _busy()

    async def _try(self, is_fenced: bool) -> None:
        """Become the object, or find out that it has become one before; and note that.

        Raises:
            Busy: somebody else does it, or the upload is over.
        """
        store, upload = self.service.store, self.upload
        prefix = f"{upload.prefix}claims/"
        claim = await store.call(Claim.make, store.store, prefix, self.of)
        try:
            async with kept(claim):
                if not await upload.is_there(self.service):
                    raise Busy
                there = await self._target()
                if there is None or not await self._was_written(claim, there):
                    told = await self._write(claim, there, is_fenced)
                    if await upload.is_there(self.service):
                        await upload.end(self.service, DONE, of=self.of, told=told)
        except BaseException as error:
            await store.call(claim.close)
            is_ours = isinstance(error, Problem | ObjectClerkException)
            if is_ours and not claim.has_begun and not await upload.is_there(self.service):
                raise Busy from error  # pieces go when somebody else has ended it
            raise

    async def _target(self) -> ObjectInfo | None:
        """What is under the key now."""
        try:
            head = self.service.store.store.head_object
            return await self.service.ask(head, self.upload.place.at)
        except BucketNotFoundException:
            raise
        except ObjectNotFoundException:
            return None

    async def _was_written(self, claim: Claim, there: ObjectInfo) -> bool:
        """Whether an earlier attempt has made the object; if so, it is noted.

        If something else is under the key than what was to be replaced, somebody has written it
        since. Whether that was before the attempt came through or after it makes no difference to
        anybody, so it counts as after it.
        """
        service, upload = self.service, self.upload
        generation = _generation_of(there)
        for of in (self.of, *(attempt.of for attempt in claim.earlier)):
            stored = stored_of(there)
            if stored and generation == self._generation(of):
                await objects.begin_time(service, upload.place, stored)
                sha256 = await objects.sha256_of(service, upload.place, stored)
                told = objects.told(upload.place, sha256, there.size)
                await upload.end(service, DONE, of=of, told=told)
                return True
        for attempt in claim.earlier:
            if attempt.before != generation:
                await upload.end(service, DONE, of=attempt.of)
                return True
        return False

    def _generation(self, of: str) -> str:
        """What the object is known by if it is made of this."""
        return hashlib.sha256(f"{self.upload.generation} {of}".encode()).hexdigest()[:32]

    async def _write(
        self, claim: Claim, there: ObjectInfo | None, is_fenced: bool
    ) -> dict[str, Any]:
        """Write the object; where the store knows conditions, only over what was looked at."""
        service, upload = self.service, self.upload

        async def last_look() -> None:
            await service.store.call(claim.begin, _generation_of(there))
            if not await upload.is_there(service):
                claim.take_back()
                raise Busy

        chosen = await self.pieces(service, upload)
        said = metadata_of(upload.headers)
        checks = Checks(upload.headers, said.compression, service.max_object_bytes)
        content: Any = _joined(service, chosen, checks, last_look)
        if sum(piece.size for piece in chosen) <= SMALL_BYTES:
            content = b"".join([block async for block in content])
        conditions: dict[str, Any] = {}
        if is_fenced:
            conditions = {"if_absent": True} if there is None else {"if_match": there.etag}
        generation = self._generation(self.of)
        return await objects.write(
            service, upload.place, said, checks, content, generation, **conditions
        )


def _generation_of(there: ObjectInfo | None) -> str:
    if there is None:
        return ""
    stored = stored_of(there)
    return stored.generation if stored else _FOREIGN


def _busy() -> Problem:
    return Problem(503, "the upload is being put together", headers={"retry-after": "5"})


async def _joined(
    service: Service,
    pieces: Iterable[Piece],
    checks: Checks,
    last_look: Callable[[], Awaitable[None]],
) -> AsyncGenerator[bytes]:
    """The bytes of all pieces, which are what they were when they came."""
    for piece in pieces:
        own = Checks({}, None, 0, with_md5=True)
        out = await service.store.call(Outgoing.of, service.store.store, piece.at, 0, None)
        blocks = out.blocks(service.store)
        try:
            async for block in blocks:
                await own.take(block)
                await checks.take(block)
                yield block
        finally:
            await blocks.aclose()
            await out.give_up(service.store)
        if own.size != piece.size or piece.md5 not in (None, own.md5):
            raise ObjectVerificationException(
                "a piece of an upload is not what it was when it came"
            )
    checks.end()
    await last_look()
