"""Writes .wtl checkpoints from the layout in models/include/wattle/checkpoint.h alone,
without wattle's code: what reads them has been checked against a second hand."""
import json
import struct
import zlib

import numpy as np

MAGIC = b"WATTLE\r\n"


def align(offset):
    return (offset + 63) // 64 * 64


def header_of(net_text, tensors, header_length):
    """The JSON header if it is padded to header_length bytes."""
    offset = align(24 + header_length)
    entries = []
    for name, values in tensors.items():
        payload = values.tobytes()
        entries.append({
            "name": name, "type": "f32", "shape": list(values.shape), "encoding": "dense",
            "offset": offset, "bytes": len(payload), "crc32": zlib.crc32(payload)})
        offset = align(offset + len(payload))
    return json.dumps({"format": "wattle-checkpoint", "version": 1, "net": net_text,
                       "tensors": entries}).encode()


def write(path, net_text, tensors):
    """tensors: name -> array; written as little-endian float32."""
    tensors = {name: np.ascontiguousarray(values, dtype="<f4")
               for name, values in tensors.items()}
    # Offsets only get longer as they grow, so the header fits what the largest would need.
    length = len(header_of(net_text, tensors, 0)) + 8 * len(tensors)
    header = header_of(net_text, tensors, length).ljust(length)
    assert len(header) == length
    with open(path, "wb") as file:
        file.write(MAGIC + struct.pack("<IIQ", 1, zlib.crc32(header), length) + header)
        file.write(b"\0" * (align(file.tell()) - file.tell()))
        for values in tensors.values():
            file.write(b"\0" * (align(file.tell()) - file.tell()))
            file.write(values.tobytes())
