"""Every option: its default, what it takes and what it refuses."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.config.option_types import Floor
from engine.config.options import OPTIONS, Settings
from engine.errors import ConfigError
from engine.secret import Secret

VCB_DEFAULTS = {
    "HOST": "",
    "PORT": 443,
    "USERNAME": "",
    "PASSWORD": None,
    "TRANSPORT_MODE": "san",
    "LOGLEVEL": 3,
    "SNAPSHOT_POLICY": "automatic",
    "VM_LOOKUP_METHOD": "ipaddr",
    "PREEXISTING_MOUNTPOINT": "fail",
    "PREEXISTING_VCB_SNAPSHOT": "fail",
    "MAX_RETRIES": 0,
    "BACKOFF_TIME": 10,
}

GOOD: dict[str, Sequence[tuple[object, object]]] = {
    "BACKUPROOT": [("/srv/vcb", Path("/srv/vcb")), (Path("/a"), Path("/a")), ("x/y", Path.cwd() / "x/y")],
    "KEEP_FREE": [("10 GiB", Floor(10 << 30)), ("5%", Floor(percent=5)), (0, Floor()), ("512m", Floor(512 << 20))],
    "HOST": [(" vc.example.com ", "vc.example.com"), ("10.0.0.1", "10.0.0.1"), ("fe80::1%eth0", "fe80::1%eth0")],
    "PORT": [("902", 902), (8443, 8443)],
    "USERNAME": [("vcb@vsphere.local", "vcb@vsphere.local"), ("DOM\\vcb", "DOM\\vcb")],
    "PASSWORD": [("", None), ("geheim-1", Secret("geheim-1"))],
    "PASSWORD_FILE": [("", None), ("/etc/vcb/pw", Path("/etc/vcb/pw"))],
    "CA_FILE": [("~/ca.pem", Path.home() / "ca.pem")],
    "THUMBPRINT": [("", None), ("ab" * 32, ":".join(["AB"] * 32)), (":".join(["0F"] * 32), ":".join(["0F"] * 32))],
    "HTTP_TIMEOUT": [("30", 30)],
    "TRANSPORT_MODE": [(mode, mode) for mode in ("san", "nbd", "nbdssl", "hotadd", "https")] + [("NBDSSL", "nbdssl")],
    "TRANSPORT_FALLBACK": [("", ()), ("nbdssl, https", ("nbdssl", "https")), (["https", "https"], ("https",))],
    "SAN_DEVICES": [("/dev/mapper", Path("/dev/mapper")), ("/base/links", Path("/base/links"))],
    "HOTADD_PROXY": [("4237A1B2-0000-1111-2222-333344445555", "4237A1B2-0000-1111-2222-333344445555")],
    "HOTADD_DEVICES": [("/dev/mapper", Path("/dev/mapper"))],
    "NFC_CONNECTIONS": [("1", 1), (8, 8)],
    "NFC_BUFFER": [("65536", 65536), ("1 MiB", 1 << 20), ("64k", 65536)],
    "NFC_REQUESTS": [("16", 16)],
    "LOGLEVEL": [(str(level), level) for level in range(7)],
    "SNAPSHOT_POLICY": [(word, word) for word in ("automatic", "manual", "createonly", "deleteonly")],
    "QUIESCE": [(word, word) for word in ("auto", "required", "off")],
    "QUIESCE_TIMEOUT": [("5", 5), ("240", 240)],
    "VM_LOOKUP_METHOD": [("ipaddr", "ipaddr"), ("name", "name")],
    "EXCLUDE_DISKS": [("scsi0:1, Hard disk 3", ("scsi0:1", "Hard disk 3")), (["scsi0:1"], ("scsi0:1",))],
    "PREEXISTING_MOUNTPOINT": [("fail", "fail"), ("delete", "delete")],
    "PREEXISTING_VCB_SNAPSHOT": [("fail", "fail"), ("delete", "delete")],
    "MAX_RETRIES": [("0", 0), ("100", 100)],
    "BACKOFF_TIME": [("0", 0), ("3600", 3600)],
    "BACKUP_TYPE": [(word, word) for word in ("auto", "full", "incremental")],
    "CHANGE_TRACKING": [(word, word) for word in ("on", "off", "enable")],
    "FULL_EVERY": [("1", 1), (0, 0), ("30", 30)],
    "CHAIN_LENGTH": [("7", 7), (0, 0), ("1000", 1000)],
    "CBT_AUDIT": [("0.5%", 0.005), ("0 %", 0.0), ("100%", 1.0), ("0.125%", 0.00125), (0.005, 0.005)],
    "CBT_AUDIT_LIMIT": [("256 MiB", 256 << 20), ("1 GiB", 1 << 30)],
    "EXPORT_FORMAT": [("compact", "compact"), ("sparse", "sparse"), ("flat", "flat")],
    "COMPRESSION_THREADS": [("0", 0), ("4", 4)],
    "KEEP_LAST": [("0", 0), ("14", 14)],
    "KEEP_DAILY": [("0", 0), ("7", 7)],
    "KEEP_WEEKLY": [("0", 0), ("5", 5)],
    "KEEP_MONTHLY": [("0", 0), ("12", 12)],
    "KEEP_YEARLY": [("0", 0), ("10000", 10000)],
}

BAD: dict[str, Sequence[tuple[object, str]]] = {
    "BACKUPROOT": [("c:\\mnt", "Windows path"), ("", "must be a path"), (3, "must be a path")],
    "KEEP_FREE": [("lots", "such as 10 GiB"), ("100%", "such as 10 GiB"), (-1, "such as 10 GiB")],
    "HOST": [("https://vc/sdk", 'write "vc"'), ("vc:443", "443 in PORT"), ("a b", "DNS name"), (1, "DNS name")],
    "PORT": [("0", "1 to 65535"), ("65536", "1 to 65535"), ("https", '"https" is not'), (True, "whole number")],
    "USERNAME": [(7, "must be a text")],
    "PASSWORD": [(7, "must be a text")],
    "PASSWORD_FILE": [("\\\\server\\share", "Windows path")],
    "CA_FILE": [(1, "path of a file")],
    "THUMBPRINT": [("ab" * 20, "SHA-1"), ("xyz", "64 hex digits"), (5, "64 hex digits")],
    "HTTP_TIMEOUT": [("4", "5 to 3600 seconds")],
    "TRANSPORT_MODE": [
        ("nbdsl", "did you mean nbdssl?"),
        ("", "one of san, nbd, nbdssl, hotadd, https"),
        (1, "one of"),
    ],
    "TRANSPORT_FALLBACK": [("nbdssl,lan", "a list of san"), (3, "a list of san")],
    "SAN_DEVICES": [("", "must be a path"), (3, "must be a path")],
    "HOTADD_PROXY": [(3, "must be")],
    "HOTADD_DEVICES": [("", "must be a path"), (3, "must be a path")],
    "NFC_CONNECTIONS": [("0", "1 to 8"), ("9", "1 to 8")],
    "NFC_BUFFER": [("4 MiB", "64 KiB to 2 MiB"), ("1", "64 KiB to 2 MiB"), ("big", "64 KiB to 2 MiB")],
    "NFC_REQUESTS": [("17", "1 to 16")],
    "LOGLEVEL": [("7", "0 to 6"), ("-1", "0 to 6"), ("3.5", "0 to 6"), (3.0, "0 to 6")],
    "SNAPSHOT_POLICY": [("auto", "did you mean automatic?")],
    "QUIESCE": [("yes", "auto, required, off")],
    "QUIESCE_TIMEOUT": [("4", "5 to 240 minutes"), ("241", "5 to 240 minutes")],
    "VM_LOOKUP_METHOD": [("ip", "ipaddr, name")],
    "EXCLUDE_DISKS": [([1], "list of texts"), (2, "list of texts")],
    "PREEXISTING_MOUNTPOINT": [("remove", "fail, delete")],
    "PREEXISTING_VCB_SNAPSHOT": [("deleted", "did you mean delete?")],
    "MAX_RETRIES": [("101", "0 to 100")],
    "BACKOFF_TIME": [("10s", "0 to 86400 seconds")],
    "BACKUP_TYPE": [("differential", "auto, full, incremental")],
    "CHANGE_TRACKING": [("yes", "on, enable, off")],
    "FULL_EVERY": [("-1", "0 to 1000 points"), ("1001", "0 to 1000 points")],
    "CHAIN_LENGTH": [("-1", "0 to 1000 points"), ("1001", "0 to 1000 points")],
    "CBT_AUDIT": [("0.5", "such as 0.5%"), ("101%", "0% to 100%"), (5, "0% to 100%"), ("much", "0% to 100%")],
    "CBT_AUDIT_LIMIT": [("1 KiB", "64 KiB to 1 TiB")],
    "EXPORT_FORMAT": [("thin", "compact, sparse, flat")],
    "COMPRESSION_THREADS": [("-1", "0 to 256")],
    "KEEP_LAST": [("-1", "0 to 10000 points"), ("all", "0 to 10000 points")],
    "KEEP_DAILY": [("-1", "0 to 10000 days"), ("all", "0 to 10000 days")],
    "KEEP_WEEKLY": [("-1", "0 to 10000 weeks"), ("all", "0 to 10000 weeks")],
    "KEEP_MONTHLY": [("-1", "0 to 10000 months"), ("all", "0 to 10000 months")],
    "KEEP_YEARLY": [("-1", "0 to 10000 years"), ("all", "0 to 10000 years")],
}


@pytest.mark.parametrize(("name", "default"), VCB_DEFAULTS.items())
def test_vcb_options_keep_vcb_defaults(name: str, default: object) -> None:
    assert OPTIONS[name].since == "VCB"
    assert OPTIONS[name].default == default


def test_the_samples_of_this_test_cover_every_option() -> None:
    assert list(GOOD) == list(OPTIONS)
    assert list(BAD) == list(OPTIONS)


@pytest.mark.parametrize(("name", "given", "value"), [(n, g, v) for n, pairs in GOOD.items() for g, v in pairs])
def test_good_value(name: str, given: object, value: object) -> None:
    settings = Settings.of(**{name: given})
    assert getattr(settings, name) == value
    assert str(settings.origin(name)) == "program"


@pytest.mark.parametrize(("name", "given", "said"), [(n, g, s) for n, pairs in BAD.items() for g, s in pairs])
def test_bad_value(name: str, given: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.of(**{name: given})
    assert caught.value.sentence.startswith(f"{name} ")
    assert said in caught.value.sentence


@pytest.mark.parametrize("name", [name for name in OPTIONS if not OPTIONS[name].secret])
def test_text_of_a_value_reads_back(name: str) -> None:
    option = OPTIONS[name]
    for value in [option.default, *(value for _, value in GOOD[name])]:
        assert option.read(option.text(value), Path.cwd()) == value if option.text(value) else not value


@pytest.mark.parametrize("option", OPTIONS.values(), ids=list(OPTIONS))
def test_help_is_there(option) -> None:
    assert len(option.help) > 20
    assert option.help.endswith(".")
    assert option.section
    assert option.allowed


@pytest.mark.parametrize("name", ["TRANSPORT_MODE", "LOGLEVEL", "NFC_CONNECTIONS", "EXPORT_FORMAT", "PASSWORD"])
def test_what_costs_something_says_so(name: str) -> None:
    assert OPTIONS[name].cost.endswith(".")


def test_unknown_option_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"BACKUP_ROOT is not an option; did you mean BACKUPROOT\?"):
        Settings.of(BACKUP_ROOT="/x")


def test_settings_are_read_only() -> None:
    with pytest.raises(AttributeError):
        Settings.of().PORT = 1


def test_repr_never_shows_the_password() -> None:
    settings = Settings.of(PASSWORD="correct horse", HOST="vc")
    assert "horse" not in repr(settings)
    assert "PASSWORD='***'" in repr(settings)


def test_but_keeps_the_rest() -> None:
    settings = Settings.of(HOST="vc", PORT=1).but(PORT="2")
    assert (settings.HOST, settings.PORT) == ("vc", 2)


def test_floor() -> None:
    assert Floor(percent=5).bytes_of(1000) == 50
    assert Floor(size=7).bytes_of(1000) == 7
