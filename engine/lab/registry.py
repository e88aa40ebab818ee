"""Managed objects: a Python class per vim type, methods carrying the wsdl names, props a dict of data objects."""
import itertools
import re
import threading

from pyVmomi import VmomiSupport as VS, vim, vmodl

from engine.lab.wire import coerce

SEG = re.compile(r"([A-Za-z_]\w*)(?:\[\"?([^\]\"]+)\"?\])?")


class MO:
    """One managed object. `vim` is its pyVmomi class; `ref` its wire identity (a pyVmomi object without a stub)."""
    vim = VS.ManagedObject
    prefix = "obj"
    cached = ()

    def __init__(self, lab, moid=None, **props):
        self.lab = lab
        self.ref = self.vim(moid or lab.new_id(self.prefix))
        self.props, self.changed, self.memo, self.stamp = props, {}, {}, 0
        self.born = lab.version
        lab.register(self)

    @property
    def id(self):
        return self.ref._moId

    # -- properties ---------------------------------------------------------------------------------
    def get(self, path):
        """(declared type, value); raises InvalidProperty for a path that the type does not have."""
        typ, val, cls = None, None, self.vim
        for n, seg in enumerate(path.split(".")):
            m = SEG.fullmatch(seg)
            if not m:
                raise vmodl.query.InvalidProperty(name=path)
            try:
                info = cls._GetPropertyInfo(m[1])
            except AttributeError:
                raise vmodl.query.InvalidProperty(name=path)
            typ = info.type
            if n == 0:
                val = self.props.get(m[1])
                if callable(val):
                    val = self.computed(m[1], val)
            else:
                val = getattr(val, m[1], None) if val is not None else None
            if m[2] is not None:
                typ = typ.Item
                val = next((x for x in val or () if str(getattr(x, "key", None)) == m[2]), None)
            cls = type(val) if isinstance(val, VS.DataObject) else typ
        return typ, coerce(typ, val)

    def computed(self, name, fn):
        """A computed property: made once per change of this object for the names in `cached`, else every time."""
        if name not in self.cached:
            return fn()
        hit = self.memo.get(name)
        if hit is None or hit[0] != self.stamp:
            hit = self.memo[name] = (self.stamp, fn())
        return hit[1]

    def set(self, path, value):
        """The one way to change a property: sets it and stamps the path, so that every waiter sees it."""
        with self.lab.cond:
            head, _, rest = path.partition(".")
            if rest:
                obj = self.props[head]
                *mid, last = rest.split(".")
                for s in mid:
                    obj = getattr(obj, s)
                setattr(obj, last, value)
            else:
                self.props[head] = value
            self.touch(path)

    def touch(self, *paths):
        with self.lab.cond:
            self.lab.version += 1
            self.stamp = self.lab.version
            for p in paths:
                self.changed[p] = self.lab.version
            self.lab.cond.notify_all()

    def last_change(self, path):
        return max((v for p, v in self.changed.items()
                    if p == path or p.startswith(path + ".") or path.startswith(p + ".")), default=0)

    # every managed object answers Fetch (pyVmomi's attribute access)
    def Fetch(self, ctx, prop):
        return self.get(prop)[1]

    def privilege_checks(self, info):
        return [(self, info.privId)] if info.privId else []


class Lab:
    """Registry, change clock and lock of one simulated vCenter or ESXi."""

    def __init__(self):
        self.cond = threading.Condition(threading.RLock())
        self.version, self.objects, self._ids = 1, {}, {}
        self.sessions, self.leases = {}, {}

    def new_id(self, prefix):
        return f"{prefix}-{next(self._ids.setdefault(prefix, itertools.count(1)))}"

    def register(self, mo):
        with self.cond:
            self.objects[mo.id] = mo
            self.version += 1
            mo.born = self.version
            self.cond.notify_all()

    def remove(self, mo):
        with self.cond:
            self.objects.pop(mo.id, None)
            self.version += 1
            self.cond.notify_all()

    def find(self, ref):
        mo = self.objects.get(ref._moId)
        if mo is None or not issubclass(mo.vim, type(ref)) and type(ref) is not VS.ManagedObject:
            raise vmodl.fault.ManagedObjectNotFound(obj=ref, msg="The object has already been deleted or has not been completely created")
        return mo

    def all_of(self, *types):
        """Managed objects of these vim types, in order of their making."""
        return [o for o in self.objects.values() if issubclass(o.vim, types)]

    def all(self, *classes):
        return [o for o in self.objects.values() if isinstance(o, classes)]
