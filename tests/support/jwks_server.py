#!/usr/bin/env python3
"""An issuer of keys that behaves, or doesn't, as the file `mode` in its folder says.

    jwks_server.py FOLDER

writes `port` once it listens and, for each request, a line with the path into `hits` when it comes and one with the mode
into `modes` once that is read. With a file `tls` in the folder
it speaks TLS with tls.pem. Modes: `set FILE`, `status N`,
`hang`, `huge`, `trickle`, `garbage`, `redirect URL`.
"""
import http.server
import pathlib
import ssl
import sys
import threading

FOLDER = pathlib.Path(sys.argv[1])
FOREVER = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        with open(FOLDER / "hits", "a") as hits:
            hits.write(self.path + "\n")
        text = (FOLDER / "mode").read_text()
        with open(FOLDER / "modes", "a") as modes:
            modes.write(text + "\n")
        mode, _, argument = text.partition(" ")
        if mode == "set":
            self.answer(200, (FOLDER / argument).read_bytes())
        elif mode == "status":
            self.answer(int(argument), (FOLDER / "set_ed2.json").read_bytes())
        elif mode == "redirect":
            self.answer(302, Location=argument)
        elif mode == "garbage":
            self.answer(200, b"<html>")
        elif mode == "huge":
            self.answer(200, b" " * (2 << 20) + (FOLDER / "set_ed2.json").read_bytes())
        elif mode == "trickle":
            self.send_response(200)
            self.end_headers()
            while not FOREVER.wait(0.1):
                self.wfile.write(b" ")
                self.wfile.flush()
        else:
            FOREVER.wait()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def get_request(self):
        """Over TLS, connections count whether a request comes or not."""
        try:
            return super().get_request()
        finally:
            if isinstance(self.socket, ssl.SSLSocket):
                with open(FOLDER / "hits", "a") as hits:
                    hits.write("tls\n")


server = Server(("127.0.0.1", 0), Handler)
if (FOLDER / "tls").exists():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / "tls.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
(FOLDER / "port.new").write_text(str(server.server_address[1]))
(FOLDER / "port.new").rename(FOLDER / "port")
server.serve_forever()
