"""A very small edge and cloud, for the verifier to be run against over real sockets.

They speak the real formats (seal, echo, ledger entry, head, live feed) but keep everything in memory. `Toy` has knobs for
the faults that tests want to see.
"""

import asyncio
import base64
import contextlib
import json
import os
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cbor2
import uvicorn
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse

from starproof.demo.layout import free_ports
from telemetry import head, keys, proof
from telemetry.clock import mono_ms, now_ms
from telemetry.messages import Certificate, Challenge, Echo, certified
from telemetry.mqtt import BrokerSettings, Incoming, Session
from telemetry.points import Machine
from telemetry.seal import Header, ItemKind, seal
from telemetry.topics import Address, Channel
from tests.plant import eventually
from verifier.plan import sign_points
from verifier.readers.base import Reader, steady_clock
from verifier.readers.opcua import Credentials
from verifier.readers.open import reader_for

ENTERPRISE, EDGE, TOKEN = "91320200MA1XAMPLE7", "edge-1", "let-me-in"
PERIOD_S = 0.5


def free_port() -> int:
    return free_ports(1)[0]


@contextlib.asynccontextmanager
async def broker(folder: Path) -> AsyncGenerator[int]:
    """The embedded broker in a process of its own."""
    port = free_port()
    config = folder / "broker.yaml"
    config.write_text(f"port: {port}\n")
    command = "import sys, pathlib; from telemetry import settings; from starproof import broker; "
    command += "broker.run(settings.load(pathlib.Path(sys.argv[1]), broker.BrokerFile))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", command, str(config), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await eventually(lambda: _listens(port), within_s=15, what="broker")
        yield port
    finally:
        process.kill()
        await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@dataclass
class Toy:
    """`skew_ms` shifts the cloud's clock; `swap` shows one machine's values under another's name; `mute` keeps the nonce
    from the frames."""

    machines: tuple[Machine, ...]
    port: int = field(default_factory=free_port)
    skew_ms: int = 0
    swap: dict[str, str] = field(default_factory=dict[str, str])
    mute: bool = False

    def __post_init__(self) -> None:
        self.edge_key, self.head_key, self.command, self.inspector, self.owner = (
            keys.signing_key(Ed25519PrivateKey.generate()) for _ in range(5)
        )
        self.address = Address(ENTERPRISE, EDGE)
        self.rows: dict[str, dict[str, list[list[Any]]]] = {m.uid: {} for m in self.machines}
        self.plates: dict[str, dict[str, str]] = {}
        self.leaves: list[bytes] = []
        self.entries: dict[tuple[str, int], tuple[int, bytes]] = {}
        self.viewers: set[asyncio.Queue[tuple[str, list[Any]]]] = set()
        self.nonces: list[bytes] = []
        self.stream = os.urandom(16)
        self.sequence = 0

    # ---- the edge

    async def read_machines(self, reader: Reader, uid: str) -> None:
        self.plates[uid] = dict((await reader.identity()).nameplate)
        while True:
            scan = await reader.scan()
            at = now_ms()
            values = {tag: read.value for tag, read in scan.reads.items() if read.value is not None}
            fresh = [[tag, at, value, 0] for tag, value in values.items()]
            shown = self.swap.get(uid, uid)
            for tag, value in values.items():
                self.rows[shown].setdefault(tag, []).append([at, value, 0])
            for viewer in self.viewers:
                viewer.put_nowait((shown, fresh))
            await asyncio.sleep(PERIOD_S)

    async def send_frames(self, session: Session) -> None:
        while True:
            await asyncio.sleep(0.3)
            nonces, self.nonces = tuple(self.nonces), []
            header = Header(
                ItemKind.DATA,
                self.stream,
                self.sequence,
                bytes(16),
                bytes(16),
                bytes(8),
                nonces=() if self.mute else nonces,
            )
            topic = self.address.topic(Channel.UP)
            sealed = seal(b"frame", header, epoch_key=bytes(32), signer=self.edge_key, topic=topic)
            session.publish(topic, sealed)
            entry = cbor2.dumps([now_ms() + self.skew_ms, topic, sealed])
            self.entries[self.stream.hex(), self.sequence] = (len(self.leaves), entry)
            self.leaves.append(proof.leaf_hash(entry))
            self.sequence += 1

    def challenged(self, session: Session, message: Incoming) -> None:
        challenge, _ = certified(
            message.payload,
            Challenge,
            command_key=keys.verifying_key(self.command.public),
            topic=message.topic,
            now_ms=now_ms(),
            enterprise=ENTERPRISE,
        )
        self.nonces.append(challenge.nonce)
        echo = Echo(
            nonce=challenge.nonce,
            edge=EDGE,
            boot=bytes(16),
            wall_ms=now_ms(),
            mono_ms=mono_ms(),
            synchronised=False,
            stream=self.stream,
            sequence=self.sequence,
        )
        topic = self.address.topic(Channel.ECHO)
        session.publish(topic, echo.sign(self.edge_key, topic))

    # ---- the cloud

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.middleware("http")
        async def guard(request: Request, call_next: Any) -> Any:
            if request.headers.get("authorization") != f"Bearer {TOKEN}":
                return JSONResponse({"error": {"code": "no_token"}}, 401)
            return await call_next(request)

        @app.get("/api/v1/time")
        def time() -> Any:
            return {"now_ms": now_ms() + self.skew_ms}

        @app.get("/api/v1/devices")
        def devices() -> Any:
            return {"server_ms": now_ms(), "devices": [self.device(m) for m in self.machines]}

        @app.get("/api/v1/devices/{uid}/latest")
        def latest(uid: str) -> Any:
            values = {tag: dict(zip("tvq", rows[-1], strict=True)) for tag, rows in self.rows[uid].items()}
            return {"device": uid, "values": values}

        @app.get("/api/v1/devices/{uid}/history")
        def history(uid: str, tag: str, request: Request) -> Any:
            start, end = int(request.query_params["from"]), int(request.query_params["to"])
            return {"rows": [r for r in self.rows[uid].get(tag, []) if start <= r[0] < end], "more": False}

        @app.get("/api/v1/ledger/proof")
        def prove(edge: str, stream: str, sequence: int) -> Any:
            if (stream, sequence) not in self.entries:
                return JSONResponse({"error": {"code": "unknown"}}, 404)
            leaf, entry = self.entries[stream, sequence]
            leaves = list(self.leaves)
            root = proof.root_of(leaves)
            shard, size = self.address.shard, len(leaves)
            signed = head.sign(head.make(now_ms(), {shard: (size, root)}), self.head_key)
            path = proof.inclusion(leaf, size, proof.in_memory(leaves))
            return {
                "shard": shard,
                "leaf": leaf,
                "size": size,
                "entry": b64(entry),
                "path": [b64(x) for x in path],
                "head": b64(signed),
            }

        app.websocket("/api/v1/live")(self.live)
        return app

    async def live(self, socket: WebSocket) -> None:
        await socket.accept()
        queue: asyncio.Queue[tuple[str, list[Any]]] = asyncio.Queue()
        self.viewers.add(queue)
        ids: dict[str, str] = {}
        counts: dict[str, int] = {}

        async def push() -> None:
            while True:
                uid, rows = await queue.get()
                for name in [n for n, device in ids.items() if device == uid]:
                    counts[name] += 1
                    message = {"type": "data", "id": name, "seq": counts[name], "device": uid, "rows": rows}
                    await socket.send_json(message)

        task = asyncio.create_task(push(), name="toy live feed")
        try:
            while True:
                asked = json.loads(await socket.receive_text())
                if asked["op"] == "subscribe":
                    counts[asked["id"]] = 1
                    snapshot = {"type": "snapshot", "id": asked["id"], "seq": 1, "rows": []}
                    await socket.send_json(snapshot)
                    ids[asked["id"]] = asked["devices"][0]
                else:
                    ids.pop(asked["id"], None)
        except WebSocketDisconnect:
            pass
        finally:
            task.cancel()
            self.viewers.discard(queue)

    def device(self, machine: Machine) -> dict[str, Any]:
        tags = [
            {"id": p.tag, "kind": 1, "resolution": None, "period_ms": 500, "source_time": False, "deadband": 0.0}
            for p in machine.points
        ]
        plate = self.plates.get(machine.uid, {})
        return {
            "uid": machine.uid,
            "type": machine.type,
            "edge": EDGE,
            "simulated": True,
            "nameplate": plate,
            "tags": tags,
        }

    # ---- what the inspector is given

    def write_plan(self, folder: Path, broker_port: int, own: Credentials, **changes: Any) -> Path:
        folder.mkdir(exist_ok=True)
        points = {"enterprise": ENTERPRISE, "machines": [m.model_dump(mode="json") for m in self.machines]}
        (folder / "points.yaml").write_text(yaml.safe_dump(points, allow_unicode=True), encoding="utf-8")
        (folder / "points.sig").write_bytes(sign_points((folder / "points.yaml").read_bytes(), self.owner))
        (folder / "token").write_text(TOKEN + "\n")
        private = Ed25519PrivateKey.generate()
        self.inspector = keys.signing_key(private)
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "inspector.pem").write_bytes(pem)
        certificate = Certificate(
            public=self.inspector.public,
            name="inspector",
            enterprise=ENTERPRISE,
            not_before_ms=now_ms() - 1000,
            not_after_ms=now_ms() + 3_600_000,
        )
        (folder / "inspector.cert").write_bytes(certificate.sign(self.command, Certificate.TOPIC))
        plan = {
            "enterprise": ENTERPRISE,
            "cloud": {
                "url": f"http://127.0.0.1:{self.port}",
                "token_file": "token",
                "head_key": keys.to_text(self.head_key.public),
            },
            "broker": {"host": "127.0.0.1", "port": broker_port},
            "inspector": {"key_file": "inspector.pem", "certificate_file": "inspector.cert"},
            "points": {
                "file": "points.yaml",
                "signature_file": "points.sig",
                "public_key": keys.to_text(self.owner.public),
            },
            "edges": [{"edge": EDGE, "public_key": keys.to_text(self.edge_key.public)}],
            "opcua": {"certificate": own.certificate, "private_key": own.private_key},
            "criteria": ["device.mon.realtime"],
            "window_s": 5,
            **changes,
        }
        (folder / "plan.yaml").write_text(yaml.safe_dump(plan, allow_unicode=True), encoding="utf-8")
        return folder / "plan.yaml"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@contextlib.asynccontextmanager
async def running(toy: Toy, broker_port: int, own: Credentials) -> AsyncGenerator[Toy]:
    """Edge and cloud at work, the first samples in."""
    server = uvicorn.Server(
        uvicorn.Config(toy.app(), host="127.0.0.1", port=toy.port, log_level="error", ws="websockets-sansio")
    )
    session = Session(
        BrokerSettings(host="127.0.0.1", port=broker_port),
        client_id="toy-edge",
        subscriptions=((toy.address.topic(Channel.CHALLENGE), 1),),
    )
    session.on_message = lambda message: toy.challenged(session, message)
    readers = {m.uid: reader_for(m, steady_clock(), own) for m in toy.machines}
    async with session:
        tasks = [asyncio.create_task(server.serve(), name="toy cloud")]
        tasks += [asyncio.create_task(toy.read_machines(r, uid), name=f"toy edge {uid}") for uid, r in readers.items()]
        tasks.append(asyncio.create_task(toy.send_frames(session), name="toy frames"))
        try:
            await eventually(
                lambda: server.started and all(toy.rows.values()) and session.connected.is_set(), within_s=15
            )
            yield toy
        finally:
            server.should_exit = True
            await asyncio.wait({tasks[0]}, timeout=5)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for reader in readers.values():
                await reader.close()
