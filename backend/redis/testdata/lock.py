"""Takes and releases locks of redis-py, and uses a region of dogpile.cache, as it is told
line by line: a command and its arguments, as JSON."""
import json
import sys
import time

import redis
from dogpile.cache import make_region

host, port, lock_prefix, timeout = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]) or None
client = redis.Redis(host=host, port=port)
locks = {}


def acquire(name):
    lock = client.lock(lock_prefix + name, timeout=timeout, sleep=0.1, thread_local=False)
    locks[name] = lock
    return lock.acquire()


def release(name):
    began = time.time()
    locks.pop(name).release()
    return began


def get_or_create(key):
    region = make_region(
        serializer=lambda v: json.dumps(v).encode(), deserializer=json.loads
    ).configure("dogpile.cache.redis", arguments={
        "host": host, "port": port, "distributed_lock": True, "thread_local_lock": False})
    return region.get_or_create(key, lambda: "made in Python")


commands = {"acquire": acquire, "release": release, "get_or_create": get_or_create}
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    name, *args = json.loads(line)
    print(json.dumps(commands[name](*args)), flush=True)
