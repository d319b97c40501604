"""Opening sealed items: epoch keys out of OPEN items, dictionaries by their hash, frames by both.

Keys and dictionaries are found through the index and cached. An item whose key or dictionary has not come yet is not an
error: it is committed all the same and opened later.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from telemetry import dictionary, frame, seal, windows
from telemetry.dictionary import Dictionary, DictionaryError
from telemetry.frame import Frame, FrameError
from telemetry.items import ItemError, Lost, Opening, decode_losses
from telemetry.seal import Item, ItemKind, SealError
from telemetry.topics import Address
from telemetry.windows import Window, WindowError


class NotYet(LookupError):
    """The epoch key or the dictionary of this item has not come."""


class Undecodable(ValueError):
    """The item opens to something that it should not be. `reason` is a short word to count by."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Opened:
    """The content of an item: a frame with its dictionary, a dictionary, an opening, what was lost, or a window."""

    frame: Frame | None = None
    dictionary: Dictionary | None = None
    opening: Opening | None = None
    losses: tuple[Lost, ...] = ()
    window: Window | None = None


class Opener:
    """`find_epoch` gives the OPEN item of an edge's epoch, `find_dictionary` the bytes of a dictionary; None if not there.

    An epoch is an edge's own: the same id from another edge is another epoch, and an edge that opens one of its epochs
    again with another key is refused. Not thread-safe: its owner locks.
    """

    _CACHE = 1024

    def __init__(
        self,
        private: X25519PrivateKey,
        *,
        find_epoch: Callable[[Address, bytes], Item | None],
        find_dictionary: Callable[[bytes], bytes | None],
    ) -> None:
        self._private = private
        self._find_epoch = find_epoch
        self._find_dictionary = find_dictionary
        self._epochs: dict[tuple[Address, bytes], bytes] = {}
        self._dictionaries: dict[bytes, Dictionary] = {}

    def open(self, item: Item, address: Address) -> Opened:
        """Open an item. Raises NotYet or Undecodable."""
        try:
            return self._open(item, address)
        except SealError as error:
            raise Undecodable(error.code, str(error)) from error
        except FrameError as error:
            raise Undecodable("bad_frame", str(error)) from error
        except DictionaryError as error:
            raise Undecodable("bad_dictionary", str(error)) from error
        except WindowError as error:
            raise Undecodable("bad_window", str(error)) from error
        except ItemError as error:
            raise Undecodable(f"bad_{item.header.kind.name.lower()}", str(error)) from error

    def _open(self, item: Item, address: Address) -> Opened:
        if item.header.kind is ItemKind.OPEN:
            opening = self._unwrap(item)
            known = self._known_key(address, item.header.epoch)
            if known is not None and known != opening.key:
                raise Undecodable("epoch_reused", "this epoch was opened before with another key")
            _remember(self._epochs, (address, item.header.epoch), opening.key, self._CACHE)
            return Opened(opening=opening)
        key = self._known_key(address, item.header.epoch)
        if key is None:
            raise NotYet(f"epoch {item.header.epoch.hex()}")
        plaintext = seal.unseal(item, epoch_key=key)
        if item.header.kind is ItemKind.LOSS:
            return Opened(losses=decode_losses(plaintext))
        if item.header.kind is ItemKind.DICTIONARY:
            decoded = dictionary.decode(plaintext)
            if (decoded.enterprise, decoded.edge) != (address.enterprise, address.edge):
                raise Undecodable("bad_dictionary", "a dictionary of another edge")
            _remember(self._dictionaries, dictionary.digest(plaintext), decoded, self._CACHE)
            return Opened(dictionary=decoded)
        words = self._dictionary(item.header.dictionary)
        if (words.enterprise, words.edge) != (address.enterprise, address.edge):
            raise Undecodable("bad_dictionary", "refers to a dictionary of another edge")
        if item.header.kind is ItemKind.WINDOW:
            return Opened(window=windows.decode(plaintext, words), dictionary=words)
        return Opened(frame=frame.decode(plaintext, words), dictionary=words)

    def _unwrap(self, item: Item) -> Opening:
        opening = Opening.decode(seal.unseal_open(item, private=self._private))
        if opening.epoch != item.header.epoch:
            raise Undecodable("bad_open", "the epoch inside is not that of the header")
        return opening

    def _known_key(self, address: Address, epoch: bytes) -> bytes | None:
        """The key of an edge's epoch, as it was first opened."""
        if (address, epoch) not in self._epochs:
            item = self._find_epoch(address, epoch)
            if item is None:
                return None
            _remember(self._epochs, (address, epoch), self._unwrap(item).key, self._CACHE)
        return self._epochs[address, epoch]

    def _dictionary(self, digest: bytes) -> Dictionary:
        if digest not in self._dictionaries:
            data = self._find_dictionary(digest)
            if data is None:
                raise NotYet(f"dictionary {digest.hex()}")
            _remember(self._dictionaries, digest, dictionary.decode(data), self._CACHE)
        return self._dictionaries[digest]


def _remember(cache: dict[Any, Any], key: Any, value: Any, limit: int) -> None:
    while len(cache) >= limit:
        del cache[next(iter(cache))]
    cache[key] = value
