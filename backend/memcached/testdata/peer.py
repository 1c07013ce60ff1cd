"""A program with dogpile.cache on the server argv[1], told what to do by lines of JSON.

Locks have the lock_timeout argv[2]. A line {"op": …} is answered with one line."""
import json
import sys
import threading
import time

from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE

region = make_region(
    serializer=lambda value: json.dumps(value).encode(),
    deserializer=json.loads,
).configure(
    "dogpile.cache.pymemcache",
    expiration_time=3600,
    arguments={"url": [sys.argv[1]], "distributed_lock": True, "lock_timeout": int(sys.argv[2])},
)
writing = threading.Lock()


def say(answer):
    with writing:
        print(json.dumps(answer), flush=True)


def create(order):
    def creator():
        say({"creating": order["key"]})
        time.sleep(order.get("takes", 0))
        return order["value"]

    return region.get_or_create(order["key"], creator)


def get(order):
    value = region.get(order["key"])
    return None if value is NO_VALUE else value


ops = {
    "get": get,
    "set": lambda order: region.set(order["key"], order["value"]),
    "delete": lambda order: region.delete(order["key"]),
    "is locked": lambda order: region.key_is_locked(order["key"]),
    "lock": lambda order: region.backend.get_mutex(order["key"]).acquire(False),
    "unlock": lambda order: region.backend.get_mutex(order["key"]).release(),
    "create": create,
}
say({"ready": True})
for line in sys.stdin:
    order = json.loads(line)
    say({"answer": ops[order["op"]](order)})
