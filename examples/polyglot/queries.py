"""The functions whose values both programs keep. main.go has the other half."""

import json
import time

from dogpile.cache import make_region

region = make_region(
    # What dogpile.cache stores by default, pickles, Go can read but not write.
    serializer=lambda value: json.dumps(value).encode(),
    deserializer=json.loads,
)
slow = 0.0  # how long it takes to load a user, in seconds


def configure(url):
    region.configure(
        "dogpile.cache.redis",
        expiration_time=300,
        arguments={
            "url": url,
            "redis_expiration_time": 3600,
            "distributed_lock": True,
            "lock_timeout": 30,  # or a process that dies holds up everybody, for ever
            "thread_local_lock": False,
        },
    )


@region.cache_on_arguments()  # its keys are "queries:load_user|42"
def load_user(id):
    time.sleep(slow)  # the query
    return {"id": id, "name": f"user {id}", "loaded_by": "Python"}
