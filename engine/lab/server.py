"""HTTPS on loopback: /sdk (SOAP), /sdk/vimServiceVersions.xml, /folder (datastore files, Range), /nfc (leases)."""
import hashlib
import http.server
import os
import re
import socket
import ssl
import sys
import threading
import time
import traceback
import urllib.parse
import uuid
from datetime import datetime, timedelta, timezone
from http.cookies import SimpleCookie
from pathlib import Path

from pyVmomi import vim, vmodl

from engine.lab import wire
from engine.lab.inventory import Entity

RESTRICTED = ("Snapshot", "Reconfig", "Power", "Export", "Import", "Create", "Destroy", "Consolidate", "Remove")
OPEN = {"Login", "RetrieveServiceContent", "LoginBySSPI", "LoginByToken"}        # no session needed


class Session:
    def __init__(self, user, key):
        self.user, self.key, self.used, self.objects, self.dead = user, key, time.monotonic(), [], False
        t = datetime.now(timezone.utc)
        self.user_session = vim.UserSession(key=key, userName=user, fullName=user, loginTime=t, lastActiveTime=t, locale="en", messageLocale="en", extensionSession=False,
                                            ipAddress="127.0.0.1", userAgent="", callCount=0)

    def kill(self, lab):
        with lab.cond:
            self.dead = True
            lab.sessions.pop(self.key, None)
            for o in self.objects:
                lab.objects.pop(o.id, None)
            lab.cond.notify_all()


class Ctx:
    def __init__(self, lab, session, host):
        self.lab, self.session, self.host, self.cookie = lab, session, host, None

    def new_session(self, user):
        self.session = Session(user, str(uuid.uuid4()))
        self.lab.sessions[self.session.key] = self.session
        self.cookie = f'vmware_soap_session="{self.session.key}"; Path=/; HttpOnly; Secure;'


class Drop(Exception):
    """cut the connection"""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm, wbufsize, server_version = "HTTP/1.1", True, 1 << 16, "lab"

    def setup(self):
        self.request.settimeout(600)
        self.request = self.server.ctx.wrap_socket(self.request, server_side=True) if self.server.ctx else self.request
        super().setup()

    def log_message(self, *a):
        pass

    # -- plumbing
    def reply(self, status, body=b"", headers=(), ctype="text/xml; charset=utf-8"):
        self.send_response(status)
        self.send_header("Content-Type", ctype)
        self.send_header("Content-Length", str(len(body)))
        for k, v in headers:
            self.send_header(k, v)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def session(self):
        lab, jar = self.server.lab, SimpleCookie(self.headers.get("Cookie", ""))
        s = lab.sessions.get(jar["vmware_soap_session"].value) if "vmware_soap_session" in jar else None
        if s and time.monotonic() - s.used > lab.SESSION_IDLE:
            s.kill(lab)
            s = None
        if s:
            s.used = time.monotonic()
        return s

    def body(self):
        """The request body; Go clients send it chunked, which http.server does not decode."""
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        out = []
        while n := int(self.rfile.readline(64).split(b";")[0], 16):
            out.append(self.rfile.read(n))
            self.rfile.readline(8)
        while self.rfile.readline(1024) not in (b"\r\n", b"\n", b""):
            pass
        return b"".join(out)

    # -- SOAP
    def do_POST(self):
        if self.path.startswith("/nfc/"):
            return self.nfc_put()
        body = self.body()
        lab, version, info = self.server.lab, wire.VERSION, None
        ctx = Ctx(lab, self.session(), self.headers.get("Host", f"127.0.0.1:{self.server.server_port}"))
        try:
            req, version = wire.decode(body, self.headers.get("SOAPAction"))
            info = req.info
            out, status = wire.encode(info, self.dispatch(ctx, info, req), version), 200
        except vmodl.MethodFault as e:
            out, status = wire.encode_fault(e, version), 500
        except Drop:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        except Exception as e:
            traceback.print_exc(file=sys.stderr)
            print(body.decode(errors='replace')[:1500], file=sys.stderr)
            out, status = wire.encode_fault(vmodl.fault.SystemError(reason=repr(e)), version, f"{info and info.wsdlName}: {e!r}"), 500
        self.reply(status, out, [("Set-Cookie", ctx.cookie)] if ctx.cookie else ())

    def dispatch(self, ctx, info, req):
        lab, name = ctx.lab, info.wsdlName
        lab.caller.session = ctx.session
        special = name == "Fetch" and req.this._moId in ("SessionManager", "ServiceInstance")
        if ctx.session is None and name not in OPEN and not special:
            raise vim.fault.NotAuthenticated(object=req.this, privilegeId="System.View", msg="The session is not authenticated.")
        mo = lab.find(req.this)
        kind = lab.faults.hit(name, "call", mo)
        if kind == "drop":
            raise Drop
        if lab.free and any(w in name for w in RESTRICTED) and isinstance(mo, Entity) and name != "CreateContainerView":
            raise vim.fault.RestrictedVersion(msg="Current license or ESXi version prohibits execution of the requested operation.")
        if ctx.session is not None and name not in OPEN:
            for target, priv in mo.privilege_checks(info):
                if priv not in lab.privileges(ctx.session.user):
                    raise vim.fault.NoPermission(object=target.ref, privilegeId=priv, msg="Permission to perform this operation was denied.")
        fn = getattr(mo, name, None)
        if fn is None:
            raise vmodl.fault.MethodNotFound(receiver=req.this, method=name)
        return fn(ctx, **req.args)

    # -- files
    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path.rstrip("/").endswith("/vimServiceVersions.xml"):
            return self.reply(200, wire.service_versions())
        if url.path.startswith("/folder/"):
            return self.folder(url)
        if url.path.startswith("/nfc/"):
            return self.nfc(url)
        self.reply(404)

    do_HEAD = do_GET

    def folder(self, url):
        lab, q = self.server.lab, urllib.parse.parse_qs(url.query)
        if self.session() is None:
            return self.reply(401, headers=[("WWW-Authenticate", 'Basic realm="VMware HTTP server"')])
        rel = urllib.parse.unquote(url.path[len("/folder/"):])
        path = (lab.ds.root / rel).resolve()
        if q.get("dsName") != [lab.ds.props["name"]] or lab.ds.root.resolve() not in path.parents or not path.is_file() or path.name.endswith("-delta.vmdk"):
            return self.reply(404)
        vm = lab.by_dir.get(rel.split("/")[0])
        if vm is not None:
            for d in vm.disks.values():
                if d.layers[-1].path.name == path.name and vm.props["runtime"].powerState == "poweredOn":
                    return self.reply(500, b"file locked", ctype="text/plain")         # the running VM holds it
        size, start, end, status = path.stat().st_size, 0, None, 200
        end = size - 1
        m = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if m:
            start, status = int(m[1]), 206
            end = min(int(m[2]) if m[2] else size - 1, size - 1)
            if start > end:
                return self.reply(416, headers=[("Content-Range", f"bytes */{size}")])
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end - start + 1))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
        self.end_headers()
        if self.command != "HEAD":
            fd = os.open(path, os.O_RDONLY)
            try:
                while start <= end:
                    b = os.pread(fd, min(1 << 20, end + 1 - start), start)
                    self.wfile.write(b)
                    start += len(b)
            finally:
                os.close(fd)

    def lease(self, url):
        _, _, secret, name = url.path.split("/", 3)
        le = self.server.lab.leases.get(secret)
        return le, le and le.files.get(name)

    def nfc(self, url):
        le, f = self.lease(url)
        if not f:
            return self.reply(404)
        disk, level = f
        self.send_response(200)
        self.send_header("Content-Type", "application/x-vnd.vmware-streamVmdk")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command == "HEAD":
            return
        for b in disk.stream_vmdk(level):
            if le.props["state"] != "ready":                    # lease gone: cut, as a host does
                self.close_connection = True
                return
            if b:
                self.wfile.write(b"%x\r\n" % len(b) + b + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def nfc_put(self):
        self.reply(501)

    def do_PUT(self):
        self.reply(501)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 128

    def __init__(self, lab, port=0, host="127.0.0.1"):
        self.lab = lab
        super().__init__((host, port), Handler)
        certificate = lab.authority.issue("vcenter.lab")
        self.ctx = certificate.server_context()
        lab.thumbprint = certificate.sha1

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError, TimeoutError, OSError)):
            super().handle_error(request, client_address)

    def start(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": .1}, name="lab", daemon=True).start()
        return self

    def stop(self):
        self.shutdown()
        self.server_close()
