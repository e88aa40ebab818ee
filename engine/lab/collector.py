"""PropertyCollector, views: selection, retrieval with paging, filters and WaitForUpdatesEx."""
import itertools
import time

from pyVmomi import VmomiSupport as VS, vim, vmodl

from engine.lab.registry import MO

PC = vmodl.query.PropertyCollector


def select(lab, object_set):
    """Every managed object that the object set reaches, each once, in order."""
    out = {}

    def walk(mo, skip, select_set, named, seen):
        if not skip:
            out.setdefault(mo.id, mo)
        for s in select_set or ():
            s = named.get(s.name, s) if type(s) is PC.SelectionSpec else s
            if not isinstance(s, PC.TraversalSpec) or not issubclass(mo.vim, s.type) or (mo.id, id(s)) in seen:
                continue
            seen.add((mo.id, id(s)))
            _, val = mo.get(s.path)
            for ref in (val if isinstance(val, list) else [val] if val is not None else []):
                nxt = lab.objects.get(ref._moId)
                if nxt is not None:
                    walk(nxt, s.skip, s.selectSet, named, seen)

    def names(select_set, acc):
        for s in select_set or ():
            if isinstance(s, PC.TraversalSpec):
                if s.name and s.name not in acc:
                    acc[s.name] = s
                names(s.selectSet, acc)
        return acc

    for os_ in object_set:
        walk(lab.find(os_.obj), os_.skip, os_.selectSet, names(os_.selectSet, {}), set())
    return out


def paths_for(mo, prop_set):
    paths = {}
    for ps in prop_set:
        if issubclass(mo.vim, ps.type):
            for p in ([i.name for i in mo.vim._GetPropertyList()] if ps.all else ps.pathSet):
                paths.setdefault(p)
    return list(paths)


def wanted(mo, prop_set):
    return any(issubclass(mo.vim, ps.type) for ps in prop_set)


class PropertyFilter(MO):
    vim, prefix = PC.Filter, "filter"

    def __init__(self, collector, spec, partial):
        super().__init__(collector.lab, spec=spec, partialUpdates=partial)
        self.collector, self.spec, self.partial = collector, spec, partial

    def DestroyPropertyFilter(self, ctx):
        self.collector.filters.remove(self)
        self.lab.remove(self)


class PropertyCollector(MO):
    vim, prefix = PC, "propertyCollector"

    def __init__(self, lab, moid=None):
        super().__init__(lab, moid)
        self.filters, self.pages, self.gen = [], {}, 0
        self.states = {"": {}}              # version token -> {(filter id, object id): lab version reported}
        self.serial, self.dead = itertools.count(1), False
        self.props["filter"] = lambda: [f.ref for f in self.filters]

    # -- one-shot retrieval
    def _content(self, spec_set):
        out = []
        for spec in spec_set:
            for mo in select(self.lab, spec.objectSet).values():
                if wanted(mo, spec.propSet):
                    oc = PC.ObjectContent(obj=mo.ref)
                    for p in paths_for(mo, spec.propSet):
                        _, v = mo.get(p)
                        if v is not None:
                            oc.propSet.append(vmodl.DynamicProperty(name=p, val=v))
                    out.append(oc)
        return out

    def RetrieveProperties(self, ctx, specSet):
        return self._content(specSet)

    def RetrievePropertiesEx(self, ctx, specSet, options=None):
        return self._page(self._content(specSet), options and options.maxObjects)

    def _page(self, objs, size):
        if not objs:
            return None
        res = PC.RetrieveResult(objects=objs[:size] if size else objs)
        if size and len(objs) > size:
            res.token = str(next(self.serial))
            self.pages[res.token] = (objs[size:], size)
        return res

    def ContinueRetrievePropertiesEx(self, ctx, token):
        if token not in self.pages:
            raise vmodl.fault.InvalidArgument(invalidProperty="token")
        return self._page(*self.pages.pop(token))

    def CancelRetrievePropertiesEx(self, ctx, token):
        self.pages.pop(token, None)

    # -- live updates
    def CreateFilter(self, ctx, spec, partialUpdates):
        for mo in select(self.lab, spec.objectSet).values():
            for p in paths_for(mo, spec.propSet):
                mo.get(p)                               # InvalidProperty now, as a real server
        f = PropertyFilter(self, spec, partialUpdates)
        self.filters.append(f)
        return f.ref

    def CreatePropertyCollector(self, ctx):
        pc = PropertyCollector(self.lab)
        ctx.session.objects.append(pc)
        return pc.ref

    def DestroyPropertyCollector(self, ctx):
        with self.lab.cond:
            self.dead = True
            for f in list(self.filters):
                f.DestroyPropertyFilter(ctx)
            self.lab.remove(self)

    def CancelWaitForUpdates(self, ctx):
        with self.lab.cond:
            self.gen += 1
            self.lab.cond.notify_all()

    def _diff(self, version, limit):
        old = self.states[version]
        new, fsets, n, truncated = dict(old), [], 0, False
        for f in self.filters:
            fu, now = PC.FilterUpdate(filter=f.ref), select(self.lab, f.spec.objectSet)
            for mo in now.values():
                if not wanted(mo, f.spec.propSet):
                    continue
                if limit and n >= limit:
                    truncated = True
                    break
                key, paths = (f.id, mo.id), paths_for(mo, f.spec.propSet)
                seen = old.get(key)
                if seen is None:
                    ups = [(p, mo.get(p)[1]) for p in paths]
                    ou = PC.ObjectUpdate(kind="enter", obj=mo.ref, changeSet=[PC.Change(name=p, op="assign", val=v) for p, v in ups if v is not None])
                else:
                    hot = [p for p in paths if mo.last_change(p) > seen]
                    if not hot:
                        new[key] = self.lab.version
                        continue
                    ou = PC.ObjectUpdate(kind="modify", obj=mo.ref, changeSet=[PC.Change(name=p, op="assign", val=mo.get(p)[1]) for p in hot])
                new[key] = self.lab.version
                fu.objectSet.append(ou)
                n += 1
            for key in [k for k in old if k[0] == f.id and k[1] not in now]:
                typ = getattr(VS, "ManagedObject")
                fu.objectSet.append(PC.ObjectUpdate(kind="leave", obj=self._gone.get(key[1], typ(key[1]))))
                new.pop(key)
                n += 1
            for mo in now.values():
                self._gone[mo.id] = mo.ref
            if fu.objectSet:
                fsets.append(fu)
        if not fsets:
            return None
        token = str(next(self.serial))
        self.states = {"": {}, version: old, token: new}       # the last token may be asked for again
        return PC.UpdateSet(version=token, filterSet=fsets, truncated=truncated or None)

    _gone = {}

    def WaitForUpdatesEx(self, ctx, version=None, options=None):
        version, gen = version or "", self.gen
        wait = options.maxWaitSeconds if options and options.maxWaitSeconds is not None else 86400
        limit, deadline = options and options.maxObjectUpdates, time.monotonic() + wait
        with self.lab.cond:
            if version not in self.states:
                raise vmodl.query.InvalidCollectorVersion()
            while True:
                if self.dead or self.gen != gen or ctx.session.dead:
                    raise vmodl.fault.RequestCanceled(msg="The task was canceled by a user.")
                res = self._diff(version, limit)
                left = deadline - time.monotonic()
                if res is not None or left <= 0:
                    return res
                self.lab.cond.wait(min(left, 30))

    def CheckForUpdates(self, ctx, version=None):
        with self.lab.cond:
            return self._diff(version or "", None)

    def WaitForUpdates(self, ctx, version=None):
        return self.WaitForUpdatesEx(ctx, version)


class ContainerView(MO):
    vim, prefix = vim.view.ContainerView, "session[view]"

    def __init__(self, lab, container, types, recursive):
        super().__init__(lab, container=container.ref, type=types, recursive=recursive)
        self.root, self.types, self.recursive = container, types, recursive
        self.props["view"] = self.view

    def view(self):
        out, stack, seen = [], list(self.root.children()), set()
        while stack:
            mo = stack.pop(0)
            if mo.id in seen:
                continue
            seen.add(mo.id)
            if not self.types or any(issubclass(mo.vim, t) for t in self.types):
                out.append(mo.ref)
            if self.recursive:
                stack.extend(mo.children())
        return vim.ManagedEntity.Array(out)

    def DestroyView(self, ctx):
        self.lab.remove(self)


class ViewManager(MO):
    vim = vim.view.ViewManager

    def CreateContainerView(self, ctx, container, recursive, type=None):
        v = ContainerView(self.lab, self.lab.find(container), type or [], recursive)
        ctx.session.objects.append(v)
        return v.ref
