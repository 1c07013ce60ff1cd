"""The same program as main.go, in Python. Run it with --help to see how."""

import argparse

import queries

parser = argparse.ArgumentParser()
parser.add_argument("--url", default="redis://127.0.0.1:6379/0", help="the server that both share")
parser.add_argument("--slow", type=float, default=0, help="how many seconds it takes to load a user")
parser.add_argument("--forget", action="store_true", help="delete the user from the cache")
parser.add_argument("ids", type=int, nargs="*")
options = parser.parse_args()

queries.slow = options.slow
queries.configure(options.url)
for id in options.ids:
    if options.forget:
        queries.load_user.invalidate(id)
        print(f"Python forgets user {id}")
    else:
        user = queries.load_user(id)
        print(f"Python has {user['name']}, loaded by {user['loaded_by']}")
