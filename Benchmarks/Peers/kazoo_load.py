"""kazoo's LockingQueue, which is its way to lose nothing: kazoo_load.py HOST MESSAGES BYTES"""
import json
import sys
import time

from kazoo.client import KazooClient

host, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def measured(phase, work):
    start = time.monotonic()
    for _ in range(count):
        work()
    print(json.dumps({"phase": phase, "messages": count, "seconds": time.monotonic() - start}), flush=True)


client = KazooClient(hosts=host)
client.start()
queue = client.LockingQueue("/kazoo")


def take():
    queue.get(timeout=10)
    queue.consume()


measured("put", lambda: queue.put(b"x" * size))
measured("take", take)
client.stop()
