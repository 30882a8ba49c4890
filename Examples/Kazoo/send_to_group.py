#!/usr/bin/env python3
"""Sends messages to a message group with kazoo, as the wire format describes it.

    send_to_group.py SERVERS QUEUE KEY MESSAGE...

The messages of a group are delivered one after the other, in the order in which they were stored. A message whose
reply is lost can be stored twice. A producer that must not do that also sets a node of its own in each transaction:
see the article "How it works".
"""
import struct
import sys
from urllib.parse import quote

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError

CHANGED = (NodeExistsError, NoNodeError, BadVersionError)


def envelope(key, payload):
    """Returns the data of a message of the group: the magic, version 1, kind 1, and the field with tag 2."""
    key = key.encode()
    field = struct.pack(">BI", 2, len(key)) + key
    return b"\x8fZKQ" + struct.pack(">BBI", 1, 1, len(field)) + field + payload


def node_name(key):
    """Returns the name of the group's node: ASCII letters, digits, "-" and "_" stay, other bytes become %XX."""
    return quote(key, safe="-_").replace(".", "%2E").replace("~", "%7E")


def send(client, queue, key, payload, priority=100):
    """Stores a message, and returns the path of its node."""
    groups = queue + "/groups"
    group = groups + "/" + node_name(key)
    data = envelope(key, payload)
    while True:
        transaction = client.transaction()
        try:
            state, stat = client.get(group)
        except NoNodeError:
            if client.exists(groups) is None:
                try:
                    client.create(groups, acl=client.get_acls(queue + "/items")[0])
                except NodeExistsError:
                    pass  # Another client was faster.
            transaction.create(group)
            parent = queue + "/items"
        else:
            if state == b"idle":
                transaction.set_data(group, b"", version=stat.version)
                parent = queue + "/items"
            elif state == b"counted":
                # Each follower must raise the version: see the wire format.
                transaction.set_data(group, b"counted", version=stat.version)
                parent = group
            else:
                # The head of the group is somewhere in the queue. This message waits for it.
                transaction.check(group, version=stat.version)
                parent = group
        transaction.create(parent + "/item-%03d-" % priority, data, sequence=True)
        results = transaction.commit()
        if isinstance(results[0], CHANGED):
            continue  # The group has begun or ended since it was read.
        for result in results:
            if isinstance(result, Exception):
                raise result
        return results[-1]


def main():
    servers, queue, key, *messages = sys.argv[1:]
    client = KazooClient(hosts=servers)
    client.start()
    try:
        for message in messages:
            print(send(client, queue, key, message.encode()))
    finally:
        client.stop()
        client.close()


if __name__ == "__main__":
    main()
