"""Pictures, and what pretends to be one."""
import base64
import os
import struct
import zlib

# One grey pixel, from an encoder.
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAAMCAgICAgMCAgIDAwMDBAYEBAQEBAgGBgUGCQgKCgkICQkKDA8MCgsOCwkJDRENDg8QEBEQCgwSExIQEw8QEBD/"
    "yQALCAABAAEBAREA/8wABgAQEAX/2gAIAQEAAD8A0s8g/9k=")


def png(width=1, height=1, colour=(200, 30, 30), padding=0):
    """A picture of one colour, with as many bytes that mean nothing behind its header."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = (b"\0" + bytes(colour) * width) * height
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + (chunk(b"juNk", os.urandom(padding)) if padding else b"") + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def parts(stream):
    """The parts of a multipart/x-mixed-replace stream as they come: headers, body. `stream` has read(n) and readline()."""
    boundary = stream.readline().rstrip(b"\r\n")
    assert boundary.startswith(b"--"), boundary
    while True:
        headers = {}
        while (line := stream.readline().rstrip(b"\r\n")):
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        if not headers:
            return
        body = stream.read(int(headers["content-length"]))
        if len(body) < int(headers["content-length"]):
            return
        assert stream.readline() == b"\r\n" and stream.readline().rstrip(b"\r\n") == boundary
        yield headers, body
