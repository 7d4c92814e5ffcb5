"""API keys on Google Cloud: public halves as records in the bucket, and the key sets that ESPv2 fetches.

ESPv2 takes a key set by URL only, without credentials, so the sets stand in a bucket of their own that everybody may
read: public halves and nothing else, no consumer's name among them. The records stay private.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from mawasu.errors import PlatformError
from mawasu.gateway import authn, tokens
from mawasu.gateway.endpoints import key_set_name
from mawasu.google import objects
from mawasu.google.call import Call, path
from mawasu.google.client import Client
from mawasu.google.faults import ConflictError, NotFoundError
from mawasu.google.storage import Bucket
from mawasu.words import PublicKey

RECORDS = "keys/"
AT_ONCE = 16  # records read in parallel
TRIES = 20  # of publishing while others publish
_PREFIX, _SUFFIX = key_set_name("\0").split("\0")


class KeyRing:
    """What `mawasu keys --records gs://…` works on."""

    def __init__(self, records: Bucket, sets: KeySets) -> None:
        self._records = records
        self._sets = sets

    def create(self, consumer: str, grants: Sequence[str], expires: float | None = None) -> tuple[PublicKey, str]:
        """As locally. Open doors: at most `espv2.FORGET` seconds later, when ESPv2 has fetched the set again."""
        key, token = tokens.make(consumer, grants, time.time(), expires)
        self._records.create(_name(key), tokens.encode(key))
        self._sets.refresh()
        return key, token

    def list(self) -> Sequence[PublicKey]:
        return kept(self._records)

    def rotate(self, name: str, grace: float) -> tuple[PublicKey, str]:
        """As locally; the old key goes with the first `mawasu reconcile` after its grace. Raises UsageError."""
        old, now = self._find(name), time.time()
        key, token = tokens.make(old.consumer, old.grants, now, tokens.renewed(old, now))
        self._records.create(_name(key), tokens.encode(key))
        self._records.put(_name(old), tokens.encode(tokens.ending(old, now + grace)))
        self._sets.refresh()
        return key, token

    def revoke(self, name: str) -> PublicKey:
        """Forget the public half: at most `espv2.FORGET` seconds later its token opens nothing. Raises UsageError."""
        found = self._find(name)
        self._records.delete(_name(found))
        self._sets.refresh()
        return found

    def _find(self, name: str) -> PublicKey:
        found = [key for key in self.list() if key.id == name]
        if not found:
            raise tokens.unknown(name)
        return found[0]


def _name(key: PublicKey) -> str:
    return f"{RECORDS}{key.id}.json"


def kept(records: Bucket) -> Sequence[PublicKey]:
    """All keys that were not revoked, the oldest first; expired ones too. Raises CorruptError."""

    def read(name: str) -> PublicKey | None:
        data = records.read(name)  # None: revoked since it was listed
        stem = name.removeprefix(RECORDS).removesuffix(".json")
        return None if data is None else tokens.decode(data, stem, f"gs://{records.name}/{name}")

    names = [found.name for found in records.list(RECORDS) if found.name.endswith(".json")]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        keys = [key for key in pool.map(read, names) if key is not None]
    return sorted(keys, key=lambda key: (key.created, key.id))


class KeySets:
    """The published key sets, one object for each feature."""

    def __init__(self, client: Client, bucket: str, records: Bucket) -> None:
        self._client = client
        self._bucket = Bucket(client, bucket)
        self._records = records

    @property
    def url(self) -> str:
        """Below which the objects are fetched."""
        return f"https://{objects.HOST}/{self._bucket.name}"

    def publish(self, feature: str) -> None:
        """The keys that open something of a feature, as they are kept now. Raises GoogleError, PlatformError.

        The records are read after the object's generation, and it is replaced only if it is still that one: who
        publishes last has seen every key, whatever others do at the same moment.
        """
        name = key_set_name(feature)
        for _ in range(TRIES):
            generation = self._generation(name)
            now = time.time()
            wanted = authn.key_set(key for key in kept(self._records) if tokens.opens(key, feature, now)).encode()
            if generation and self._bucket.read(name) == wanted:
                return
            try:
                self._insert(name, wanted, generation)
            except ConflictError:
                continue
            return
        raise PlatformError(f"gs://{self._bucket.name}/{name} is changed without end", "run it again later")

    def refresh(self) -> None:
        """Publish anew what has been published before; a feature's first set comes with its first switch."""
        for found in list(self._bucket.list(_PREFIX)):
            self.publish(found.name.removeprefix(_PREFIX).removesuffix(_SUFFIX))

    def add(self, sets: Mapping[str, str]) -> None:
        """Key sets of documents, whose names are digests: what is there already is right."""
        for name, text in sets.items():
            if not self._generation(name):
                self._insert(name, text.encode(), 0)

    def _generation(self, name: str) -> int:
        try:
            return objects.found(self._client.send(objects.stat(self._bucket.name, name))).generation
        except NotFoundError:
            return 0

    def _insert(self, name: str, data: bytes, generation: int) -> None:
        call, headers, content = insertion(self._bucket.name, name, data, generation, secrets.token_hex(16))
        self._client.request(call, content=content, headers=headers)


def insertion(bucket: str, name: str, data: bytes, generation: int, boundary: str) -> objects.Upload:
    """A public object in the place of this generation (0: of none).

    Without `no-store` Cloud Storage would let caches keep a public object for an hour, revoked keys and all
    (cloud.google.com/storage/docs/metadata#cache-control).
    """
    facts = json.dumps({"name": name, "cacheControl": "no-store", "contentType": "application/json"})
    head = f"--{boundary}\r\ncontent-type: application/json; charset=UTF-8\r\n\r\n{facts}\r\n"
    content = f"{head}--{boundary}\r\ncontent-type: application/json\r\n\r\n".encode() + data
    query = {"uploadType": "multipart", "ifGenerationMatch": str(generation)}
    where = path("upload", "storage", "v1", "b", bucket, "o")
    call = Call("POST", objects.HOST, where, query, again=True)
    headers = {"content-type": f"multipart/related; boundary={boundary}"}
    return objects.Upload(call, headers, content + f"\r\n--{boundary}--\r\n".encode())
