#!/usr/bin/env python3
"""A complete subscriber of banklink's events, with pika and SQLite.

It declares a durable queue of its own and the dead-letter queue behind it, catches up once from the stream of events, and then
consumes its queue. Each event is handled in one transaction, which also remembers its id; the event is acknowledged after the
commit. So an event that arrives again changes nothing, and a process that is killed loses nothing.

    pip install pika
    AMQP_URL=amqp://guest:guest@127.0.0.1:5672/%2f SUBSCRIBER_DATABASE=links.db python3 subscriber.py

Environment: AMQP_URL; BANKLINK_NAMESPACE (banklink); SUBSCRIBER_QUEUE (accounts.bank-links); SUBSCRIBER_DATABASE (a file).
"""

import json
import os
import signal
import sqlite3
import sys
import time

import pika

NAMESPACE = os.environ.get("BANKLINK_NAMESPACE", "banklink")
QUEUE = os.environ.get("SUBSCRIBER_QUEUE", "accounts.bank-links")
DEAD = f"{QUEUE}.dead"
PREFETCH = 100
# How long a pause in what a stream delivers is.
PAUSE_SECONDS = 1
# RabbitMQ counts the events of a stream every 5 s.
COUNT_SECONDS = 6
# A pause is no end of the stream: RabbitMQ may be slow. One of so many seconds is a failure.
SILENCE_SECONDS = 60

SCHEMA = """
CREATE TABLE IF NOT EXISTS handled_events (id TEXT PRIMARY KEY, at INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS handled_events_at ON handled_events (at);
CREATE TABLE IF NOT EXISTS caught_up (at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS links (
    entity_id TEXT PRIMARY KEY, customer_id TEXT NOT NULL, revision INTEGER NOT NULL, permissions TEXT, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS actions (
    entity_id TEXT NOT NULL, event_type TEXT NOT NULL, times INTEGER NOT NULL, PRIMARY KEY (entity_id, event_type));
"""


def open_database():
    """Opens the file, in which a commit is on disk when it returns."""
    database = sqlite3.connect(os.environ.get("SUBSCRIBER_DATABASE", "subscriber.db"), isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.executescript(SCHEMA)
    return database


def declare(channel):
    """Declares what this subscriber owns. What may fail is never dropped: it goes to the dead-letter queue."""
    channel.exchange_declare(DEAD, "fanout", durable=True)
    channel.queue_declare(DEAD, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(DEAD, DEAD)
    channel.queue_declare(QUEUE, durable=True, arguments={
        "x-queue-type": "quorum",
        "x-delivery-limit": 20,
        "x-dead-letter-exchange": DEAD,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    })
    channel.queue_bind(QUEUE, f"{NAMESPACE}.events", routing_key="customer.*")


def handle(database, body):
    """Handles one event in one transaction."""
    event = json.loads(body)
    link = event["data"]
    database.execute("BEGIN IMMEDIATE")
    try:
        new = database.execute(
            "INSERT INTO handled_events VALUES (?, unixepoch()) ON CONFLICT DO NOTHING", (event["id"],)).rowcount
        if new:
            # A month later an event no longer comes again.
            database.execute("DELETE FROM handled_events WHERE at < unixepoch() - 30 * 86400")
            # The work of this subscriber: here, once per event. In a real one: send a welcome, refresh the balance.
            database.execute(
                "INSERT INTO actions VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET times = times + 1",
                (link["entity_id"], event["type"]))
            # The data is the whole link as of its revision, so an event that was overtaken changes nothing.
            database.execute(
                "INSERT INTO links VALUES (?, ?, ?, ?, ?) ON CONFLICT (entity_id) DO UPDATE SET "
                "customer_id = excluded.customer_id, revision = excluded.revision, permissions = excluded.permissions, "
                "data = excluded.data WHERE excluded.revision >= links.revision",
                (link["entity_id"], link["customer_id"], link["revision"], json.dumps(link["permissions"]), json.dumps(link)))
        database.execute("COMMIT")
    except BaseException:
        database.execute("ROLLBACK")
        raise


def is_handled(database, body):
    """Handles one message, unless this code cannot read it. An error of the database ends the process, and the event comes again."""
    try:
        handle(database, body)
    except (ValueError, KeyError, TypeError) as error:
        print(f"rejected a message: {type(error).__name__}", file=sys.stderr, flush=True)
        return False
    return True


def read(channel, stream, offset):
    """The messages of a stream from there on; None for each pause."""
    silent = 0
    for method, properties, body in channel.consume(
            stream, arguments={"x-stream-offset": offset}, inactivity_timeout=PAUSE_SECONDS):
        silent = silent + PAUSE_SECONDS if method is None else 0
        if silent > SILENCE_SECONDS:
            raise TimeoutError(f"{stream} is not delivered")
        yield None if method is None else (method, properties, body)


def end_of(connection, stream):
    """The offset of the newest event of a stream, however late it arrives; None if there is none."""
    # RabbitMQ sends the last chunk of events and, as nothing is acknowledged, no more than that.
    with connection.channel() as channel:
        channel.basic_qos(prefetch_count=1)
        end, pauses = None, 0
        for message in read(channel, stream, "last"):
            if message is not None:
                end = message[1].headers["x-stream-offset"]
                continue
            if end is not None:
                return end
            pauses += 1
            count = channel.queue_declare(stream, passive=True).method.message_count
            if count == 0 and pauses * PAUSE_SECONDS > COUNT_SECONDS:
                return None


def catch_up(connection, database, stream):
    """Reads the stream from its beginning to its present end."""
    end = end_of(connection, stream)
    if end is None:
        return
    done = False
    with connection.channel() as channel:
        channel.basic_qos(prefetch_count=PREFETCH)
        for message in read(channel, stream, "first"):
            if message is None and done:
                return
            # Behind the end, nothing is acknowledged, so that RabbitMQ stops: pika rejects what it holds, which a stream refuses.
            if message is None or done:
                continue
            method, properties, body = message
            # Nor can what this code cannot read be rejected. The stream keeps it anyway.
            is_handled(database, body)
            channel.basic_ack(method.delivery_tag)
            done = properties.headers["x-stream-offset"] >= end


def main():
    database = open_database()
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=PREFETCH)
    # First the queue, so that no event falls between the stream and the queue; what comes both ways has one id.
    declare(channel)
    if database.execute("SELECT count(*) FROM caught_up").fetchone()[0] == 0:
        catch_up(connection, database, f"{NAMESPACE}.events.log")
        database.execute("INSERT INTO caught_up VALUES (?)", (time.time(),))
    print("consuming", QUEUE, flush=True)
    for method, _, body in channel.consume(QUEUE):
        if is_handled(database, body):
            channel.basic_ack(method.delivery_tag)
        else:
            # To the dead-letter queue.
            channel.basic_nack(method.delivery_tag, requeue=False)


if __name__ == "__main__":
    STARTED = time.time()
    # SIGTERM ends the process between two events or within a transaction, which is then rolled back.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    main()
