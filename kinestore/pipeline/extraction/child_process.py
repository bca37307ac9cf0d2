"""The child process of a Dask worker: loads the extractors once and embeds clips on request.

A video can hang a decoder, fill the memory or crash the process, and only a process can be stopped
from outside: so clips are decoded and embedded here, and `supervisor.Supervisor` watches.
"""

import contextlib
from multiprocessing.connection import Connection

import cv2
import torch

from kinestore.pipeline.extraction.decode_and_embed import embed_clips
from kinestore.pipeline.extraction.ipc import ClipDone, IpcConnection
from kinestore.store import KinestoreError


def serve(handle: int, memory: int) -> None:
    """Embed the requested clips until the connection ends.

    The first message received holds the outputs by name and the number of decoding threads; the
    answer is each output's specification, or the error that prevents it. Then each list of
    requests is answered by messages until every request has its outcome.

    Args:
        handle: File descriptor of the connection.
        memory: File descriptor of the shared memory for frames.
    """
    _use_one_thread()
    connection = IpcConnection(Connection(handle), memory)
    with contextlib.closing(connection), contextlib.suppress(EOFError, BrokenPipeError):
        outputs, num_decoders = connection.receive()
        try:
            producers = {name: output.load() for name, output in outputs.items()}
        except KinestoreError as error:
            connection.send(error)
            return
        connection.send({name: producer.spec for name, producer in producers.items()})
        while True:
            requests = connection.receive()
            connection.clear_memory()
            for index, outcome in embed_clips(
                requests, producers=producers, num_decoders=num_decoders, report=connection.send
            ):
                connection.send(ClipDone(index, outcome))


def _use_one_thread() -> None:
    """Limit libraries to one thread: workers fill the cores, and results stay bit-identical."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
