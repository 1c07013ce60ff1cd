"""A worker of package pythontest: real dogpile.cache regions at the other end of a pipe.

A request is a line of JSON {"id", "op", ...} on the standard input. Each is served by a
thread of its own and answered by a line {"id", "result"} or {"id", "error"} on the
standard output. Lines {"id", "event", "keys"} tell meanwhile what a creator does.
The process ends when its standard input does.
"""

import base64
import concurrent.futures
import inspect
import json
import os
import pickle
import pkgutil
import re
import sys
import threading
import time
import warnings

import dogpile
import dogpile.cache
from dogpile.cache import util as dogpile_util
from dogpile.cache.api import NO_VALUE

# Lines have the standard output to themselves; whoever prints goes to the log.
out = os.fdopen(os.dup(1), "wb", buffering=0)
os.dup2(2, 1)
sys.stdout = sys.stderr
out_lock = threading.Lock()


def send(message):
    line = json.dumps(message).encode() + b"\n"
    with out_lock:
        while line:  # a pipe may take less than all
            line = line[out.write(line):]


# Values. A test gives JSON, or {"$py": source} for what JSON has no words for.

def value_of(v):
    if isinstance(v, dict):
        if set(v) == {"$py"}:
            import datetime
            import decimal
            return eval(v["$py"], {"datetime": datetime, "decimal": decimal, "NO_VALUE": NO_VALUE})
        return {k: value_of(e) for k, e in v.items()}
    if isinstance(v, list):
        return [value_of(e) for e in v]
    return v


def shown(v):
    """What a test is told of a value: its repr, its type, and its JSON if it has some."""
    if v is NO_VALUE:
        return {"missing": True, "repr": "NO_VALUE", "type": "NoValue"}
    told = {"repr": repr(v), "type": type(v).__name__}
    try:
        told["json"] = json.dumps(v, allow_nan=False)
    except (TypeError, ValueError):
        pass
    if isinstance(v, bytes):
        told["bytes"] = base64.b64encode(v).decode()
    return told


# Creators.

class Failed(Exception):
    """What a creator raises when the test wants it to fail."""


class Hold:
    """Creators of one call wait here until the test lets them go."""

    def __init__(self):
        self.free = threading.Event()
        self.answer = None


holds = {}
holds_lock = threading.Lock()


def create(request, keys):
    """Runs what the request says of its creator. Returns a value, or one for each key."""
    spec = request.get("creator") or {}
    send({"id": request["id"], "event": "creating", "keys": keys})
    hold = holds.get(request["id"])
    if hold is not None:
        hold.free.wait()
        spec = {**spec, **(hold.answer or {})}
    time.sleep(spec.get("seconds", 0))
    if spec.get("fail"):
        send({"id": request["id"], "event": "failed", "keys": keys})
        raise Failed(spec["fail"])
    result = value_of(spec.get("value"))
    send({"id": request["id"], "event": "created", "keys": keys})
    return result


# Regions.

def serializers(name):
    name, _, argument = name.partition(":")
    if name == "json":
        return lambda v: json.dumps(v).encode(), json.loads
    if name == "pickle":
        protocol = int(argument) if argument else pickle.DEFAULT_PROTOCOL
        return lambda v: pickle.dumps(v, protocol), pickle.loads
    if name == "msgpack":
        import msgpack
        return msgpack.packb, msgpack.unpackb
    if name == "raw":
        return (lambda v: v), (lambda v: v)
    raise ValueError("no serializer %r" % name)


def mangler(name):
    name, _, argument = name.partition(":")
    if name == "sha1":
        return dogpile.cache.util.sha1_mangle_key
    if name == "length":
        return dogpile_util.length_conditional_mangler(int(argument), dogpile_util.sha1_mangle_key)
    if name == "prefix":
        return lambda key: argument + key
    raise ValueError("no key mangler %r" % name)


regions = {}
functions = {}
locks = {}


def op_region(q):
    options = {}
    if q.get("serializer"):
        options["serializer"], options["deserializer"] = serializers(q["serializer"])
    if q.get("key_mangler"):
        options["key_mangler"] = mangler(q["key_mangler"])
    arguments = value_of(q.get("arguments") or {})
    region = dogpile.cache.make_region(name=q["region"], **options)
    region.configure(q["backend"], expiration_time=q.get("expiration_time"), arguments=arguments)
    # Backends take no notice of arguments that they do not know.
    if "lock_prefix" in arguments and not hasattr(region.backend, "lock_template"):
        raise NotImplementedError("dogpile.cache %s has no lock_prefix, which came with 1.5.0" % dogpile.__version__)
    regions[q["region"]] = region


def region_of(q):
    return regions[q["region"]]


def mangled(region, key):
    return region.key_mangler(key) if region.key_mangler else key


def expiring(q):
    return {"expiration_time": q["expiration_time"]} if "expiration_time" in q else {}


def reading(q):
    return {**expiring(q), **({"ignore_expiration": True} if q.get("ignore_expiration") else {})}


def should_cache(q):
    return {"should_cache_fn": lambda v: False} if q.get("never_cache") else {}


def op_get(q):
    return shown(region_of(q).get(q["key"], **reading(q)))


def op_get_multi(q):
    return [shown(v) for v in region_of(q).get_multi(q["keys"], **reading(q))]


def op_set(q):
    region_of(q).set(q["key"], value_of(q["value"]))


def op_set_multi(q):
    region_of(q).set_multi({k: value_of(v) for k, v in q["values"].items()})


def op_delete(q):
    region_of(q).delete(q["key"])


def op_delete_multi(q):
    region_of(q).delete_multi(q["keys"])


def op_get_or_create(q):
    return shown(region_of(q).get_or_create(
        q["key"], lambda: create(q, [q["key"]]), **expiring(q), **should_cache(q)))


def op_get_or_create_multi(q):
    def creator(*keys):
        values = create(q, list(keys))
        return [values[k] for k in keys]

    return [shown(v) for v in region_of(q).get_or_create_multi(
        q["keys"], creator, **expiring(q), **should_cache(q))]


def op_key_is_locked(q):
    return bool(region_of(q).key_is_locked(q["key"]))


def op_get_value_metadata(q):
    region = region_of(q)
    if not hasattr(region, "get_value_metadata"):
        raise NotImplementedError(
            "dogpile.cache %s has no get_value_metadata, which came with 1.3" % dogpile.__version__)
    found = region.get_value_metadata(q["key"], **reading(q))
    if found is None:
        return None
    return {"value": shown(found.payload), "metadata": found.metadata,
            "cached_time": found.cached_time, "age": found.age}


def op_invalidate(q):
    region_of(q).invalidate(hard=q["hard"])


def op_mangle(q):
    return mangled(region_of(q), q["key"])


# Decorated functions.

class Function:
    def __init__(self, q):
        self.region = region_of(q)
        self.current = threading.local()
        generator = {
            "": dogpile_util.function_key_generator,
            "kwarg": dogpile_util.kwarg_function_key_generator,
            "multi": dogpile_util.function_multi_key_generator,
        }["multi" if q.get("multi") else q.get("key_generator", "")]

        def remember(namespace, fn, to_str=str):
            self.key = generator(namespace, fn, to_str=to_str)
            return self.key

        # The signature has to be the one that the test gives: generators look at it.
        scope = {"body": self.body}
        params = q.get("params", "*args")
        exec("def %s(%s): return body(locals())" % (q["name"], params), scope)
        self.plain = scope[q["name"]]
        self.plain.__module__ = q["module"]
        options = expiring(q)
        options["to_str"] = {"": str, "str": str, "repr": repr}[q.get("to_str", "")]
        if q.get("multi"):
            self.decorated = self.region.cache_multi_on_arguments(
                q.get("namespace"), asdict=bool(q.get("asdict")),
                function_multi_key_generator=remember, **options)(self.plain)
        else:
            self.decorated = self.region.cache_on_arguments(
                q.get("namespace"), function_key_generator=remember, **options)(self.plain)
        self.multi, self.asdict = q.get("multi"), q.get("asdict")

    def body(self, arguments):
        request = self.current.request
        if not self.multi:
            return create(request, [])
        ids = [a for v in arguments.values() for a in (v if isinstance(v, tuple) else (v,))]
        values = create(request, [str(i) for i in ids])
        if self.asdict:
            return {i: values[str(i)] for i in ids if str(i) in values}
        return [values[str(i)] for i in ids]


def op_function(q):
    functions[q["function"]] = Function(q)


def op_call(q):
    f = functions[q["function"]]
    f.current.request = q
    args = [value_of(a) for a in q.get("args") or []]
    kwargs = value_of(q.get("kwargs") or {})
    way = q.get("way", "")
    if way == "set":
        if f.multi:
            result = f.decorated.set({a: value_of(v) for a, v in zip(args, q["values"])})
        else:
            result = f.decorated.set(value_of(q["value"]), *args)
    elif way == "key":
        keys = f.key(*args, **kwargs)
        keys = keys if isinstance(keys, list) else [keys]
        return {"keys": keys, "mangled": [mangled(f.region, k) for k in keys]}
    elif way == "":
        result = f.decorated(*args, **kwargs)
    elif way == "original" and f.multi:
        result = f.plain(*args, **kwargs)
    else:  # get, invalidate, refresh, original
        result = getattr(f.decorated, way)(*args, **kwargs)
    if f.multi and result is not None:
        if isinstance(result, dict):
            return {"by_id": {str(k): shown(v) for k, v in result.items()}}
        return {"list": [shown(v) for v in result]}
    return {"value": shown(result)}


# Mutexes. They are taken and released in different threads, as the commands come.

def op_lock(q):
    region = region_of(q)
    if q.get("raw"):
        # As a program takes it that has never heard of dogpile: redis-py's own lock.
        lock = region.backend.writer_client.lock(
            q["key"], timeout=q.get("timeout"), thread_local=False)
        taken = lock.acquire(blocking=q["wait"])
    else:
        lock = region.backend.get_mutex(mangled(region, q["key"]))
        if lock is None:
            raise ValueError("the region has no distributed_lock")
        taken = lock.acquire(q["wait"])
    if taken:
        locks[q["lock"]] = lock
    return bool(taken)


def op_unlock(q):
    locks.pop(q["lock"]).release()


# What is installed.

def op_info(q):
    versions = {"python": "%d.%d.%d" % sys.version_info[:3], "dogpile.cache": dogpile.__version__}
    for name in ("redis", "pymemcache", "msgpack"):
        try:
            module = __import__(name)
        except ImportError:
            continue
        version = getattr(module, "__version__", None) or ".".join(map(str, module.version))
        versions[name] = version
    return versions


def op_public(q):
    """Every public name of dogpile.cache, with the parameters of what can be called."""
    found = {}
    skipped = []

    def params(f):
        try:
            parameters = list(inspect.signature(f).parameters.values())
        except (TypeError, ValueError):
            return []
        return [p.name for p in parameters
                if p.name not in ("self", "cls") and not p.name.startswith("_")
                and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]

    def note(name, kind, parameters=()):
        found.setdefault(name, {"name": name, "kind": kind, "params": list(parameters)})

    def note_class(name, cls):
        own = "__init__" in vars(cls)
        note(name, "class", params(cls.__init__) if own else ())
        for attribute, v in vars(cls).items():
            inherited = any(attribute in vars(base) for base in cls.__mro__[1:]
                            if base.__module__.startswith("dogpile."))
            if attribute.startswith("_") or inherited:
                continue
            if isinstance(v, (classmethod, staticmethod)):
                v = v.__func__
            if inspect.isfunction(v):
                note(name + "." + attribute, "method", params(v))
            else:
                note(name + "." + attribute, "attribute")
        if cls.__module__.startswith("dogpile.cache.backends."):
            # What a backend takes as arguments, it takes out of a dict of that name.
            taken = re.findall(r'\barguments(?:\.pop|\.get)?[(\[]\s*"(\w+)"', inspect.getsource(cls))
            for argument in re.findall(r":param (\w+):", cls.__doc__ or "") + taken:
                note(name + ".arguments." + argument, "argument")

    # Logs and the names of __future__ are nobody's interface. Nor is what dogpile's own
    # tests are made of, and what covers the differences of old Pythons.
    nobodys = {"log", "TYPE_CHECKING", "annotations", "absolute_import", "with_statement"}
    for module in pkgutil.walk_packages(dogpile.__path__, "dogpile."):
        if module.name.rpartition(".")[2].startswith("_"):
            continue
        if module.name.startswith("dogpile.testing") or module.name == "dogpile.util.compat":
            continue
        try:
            __import__(module.name)
        except ImportError as e:
            skipped.append("%s: %s" % (module.name, e))
            continue
        m = sys.modules[module.name]
        for name, v in vars(m).items():
            if name.startswith("_") or name in nobodys or inspect.ismodule(v) or v is None:
                continue
            home = getattr(v, "__module__", None)
            if inspect.isclass(v):
                if home == module.name:
                    note_class("%s.%s" % (module.name, name), v)
            elif inspect.isfunction(v):
                if home == module.name:
                    note("%s.%s" % (module.name, name), "function", params(v))
            elif home in (None, module.name, "typing", "builtins") or str(home).startswith("dogpile"):
                # Constants and aliases of types, of which nobody can tell where they are at home.
                if not (home == "typing" and name in vars(__import__("typing"))):
                    note("%s.%s" % (module.name, name), "constant")
    loader = dogpile.cache.backends._backend_loader
    for name in {**loader._unloaded, **loader.impls} if hasattr(loader, "_unloaded") else loader.impls:
        note(name, "backend")
    region = dogpile.cache.make_region().configure("dogpile.cache.null")
    for name in vars(region):
        if not name.startswith("_"):
            note("dogpile.cache.region.CacheRegion." + name, "attribute")

    @region.cache_on_arguments()
    def one(a):
        return a

    @region.cache_multi_on_arguments()
    def many(*a):
        return a

    for name in ("set", "get", "invalidate", "refresh", "original"):
        if hasattr(one, name):
            note("decorated." + name, "method")
        if hasattr(many, name):
            note("decorated." + name, "method")
    return {"names": sorted(found.values(), key=lambda n: n["name"]), "skipped": skipped}


def serve(q):
    try:
        result = globals()["op_" + q["op"]](q)
        send({"id": q["id"], "result": result})
    except BaseException as e:
        name = type(e).__qualname__
        if type(e).__module__ not in ("builtins", "__main__"):
            name = "%s.%s" % (type(e).__module__, name)
        send({"id": q["id"], "error": {"class": name, "message": str(e)}})
    finally:
        with holds_lock:
            holds.pop(q["id"], None)


def main():
    warnings.simplefilter("once")
    # Threads are used again, as in a server: memcached's clients belong to a thread.
    threads = concurrent.futures.ThreadPoolExecutor(max_workers=256)
    send({"id": 0, "result": op_info(None)})
    for line in sys.stdin.buffer:
        q = json.loads(line)
        if q["op"] == "release":
            # What comes when the call is over already is for nobody.
            with holds_lock:
                hold = holds.get(q["call"])
            if hold is not None:
                hold.answer = q.get("creator")
                hold.free.set()
            continue
        if (q.get("creator") or {}).get("hold"):
            with holds_lock:
                holds[q["id"]] = Hold()
        threads.submit(serve, q)
    os._exit(0)


main()
