"""NFC: how a virtual disk is read (and written) over the network without a lease, as ESXi serves it on TCP 902.

    SOAP        service.py        NfcService issues a ticket (tickets.py)
    TCP         server.py         one port, limits.py, statistics.py
                authd.py          banner, TLS, SESSION/BANNER/THUMBPRINT_SHA2/PROXY
                channel.py        the clear or TLS stream that NFC then runs on
                disk_session.py   classic handshake and AIO messages (messages.py)
                reads.py          fragments, several requests in flight;  writes.py
                volume.py         what a path and a ticket open: a disk, or its image under a snapshot
    tests       faultpoints.py    where fault rules reach in

Written from the facts page and the OpenVixDiskLib documents behind it, without a look at the client: each checks
the other. What the facts leave open is read literally and said in the docstring of the module that decides it.
"""

from engine.lab.nfc.start import start_nfc

__all__ = ["start_nfc"]
