// A complete subscriber of banklink's events, with amqplib and SQLite.
//
// It declares a durable queue of its own and the dead-letter queue behind it, catches up once from the stream of events, and then
// consumes its queue. Each event is handled in one transaction, which also remembers its id; the event is acknowledged after the
// commit. So an event that arrives again changes nothing, and a process that is killed loses nothing.
//
//     npm install amqplib        # Node 22.13 or later, for node:sqlite
//     AMQP_URL=amqp://guest:guest@127.0.0.1:5672/%2f SUBSCRIBER_DATABASE=links.db node subscriber.js
//
// Environment: AMQP_URL; BANKLINK_NAMESPACE (banklink); SUBSCRIBER_QUEUE (accounts.bank-links); SUBSCRIBER_DATABASE (a file).
'use strict';

const amqp = require('amqplib');
const { DatabaseSync } = require('node:sqlite');

const namespace = process.env.BANKLINK_NAMESPACE || 'banklink';
const queue = process.env.SUBSCRIBER_QUEUE || 'accounts.bank-links';
const dead = `${queue}.dead`;
const log = `${namespace}.events.log`;
const PREFETCH = 100;
// How long a pause in what a stream delivers is.
const PAUSE_MS = 1000;
// RabbitMQ counts the events of a stream every 5 s.
const COUNT_MS = 6000;
// A pause is no end of the stream: RabbitMQ may be slow. One of that length is a failure.
const SILENCE_MS = 60000;

// In this file, a commit is on disk when it returns.
const database = new DatabaseSync(process.env.SUBSCRIBER_DATABASE || 'subscriber.db');
database.exec(`
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  CREATE TABLE IF NOT EXISTS handled_events (id TEXT PRIMARY KEY, at INTEGER NOT NULL);
  CREATE INDEX IF NOT EXISTS handled_events_at ON handled_events (at);
  CREATE TABLE IF NOT EXISTS caught_up (at INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS links (
    entity_id TEXT PRIMARY KEY, customer_id TEXT NOT NULL, revision INTEGER NOT NULL, permissions TEXT, data TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS actions (
    entity_id TEXT NOT NULL, event_type TEXT NOT NULL, times INTEGER NOT NULL, PRIMARY KEY (entity_id, event_type));
`);
const remember = database.prepare('INSERT INTO handled_events VALUES (?, unixepoch()) ON CONFLICT DO NOTHING');
// A month later an event no longer comes again.
const forget = database.prepare('DELETE FROM handled_events WHERE at < unixepoch() - 30 * 86400');
const act = database.prepare('INSERT INTO actions VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET times = times + 1');
const store = database.prepare(`
  INSERT INTO links VALUES (?, ?, ?, ?, ?) ON CONFLICT (entity_id) DO UPDATE SET
    customer_id = excluded.customer_id, revision = excluded.revision, permissions = excluded.permissions, data = excluded.data
  WHERE excluded.revision >= links.revision`);

// Declares what this subscriber owns. What may fail is never dropped: it goes to the dead-letter queue.
async function declare(channel) {
  await channel.assertExchange(dead, 'fanout', { durable: true });
  await channel.assertQueue(dead, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  await channel.bindQueue(dead, dead, '');
  await channel.assertQueue(queue, {
    durable: true,
    arguments: {
      'x-queue-type': 'quorum',
      'x-delivery-limit': 20,
      'x-dead-letter-exchange': dead,
      'x-dead-letter-strategy': 'at-least-once',
      'x-overflow': 'reject-publish',
    },
  });
  await channel.bindQueue(queue, `${namespace}.events`, 'customer.*');
}

// Handles one event in one transaction. `version` exceeds what a number holds exactly, so the data is kept without it.
function handle(body) {
  const event = JSON.parse(body.toString('utf8'));
  const { version, ...link } = event.data;
  database.exec('BEGIN IMMEDIATE');
  try {
    if (remember.run(event.id).changes > 0) {
      forget.run();
      // The work of this subscriber: here, once per event. In a real one: send a welcome, refresh the balance.
      act.run(link.entity_id, event.type);
      // The data is the whole link as of its revision, so an event that was overtaken changes nothing.
      store.run(link.entity_id, link.customer_id, link.revision, JSON.stringify(link.permissions), JSON.stringify(link));
    }
    database.exec('COMMIT');
  } catch (error) {
    database.exec('ROLLBACK');
    throw error;
  }
}

// Handles one message, unless this code cannot read it. An error of SQLite ends the process, and the event comes again.
function isHandled(message) {
  try {
    handle(message.content);
    return true;
  } catch (error) {
    if (error.code === 'ERR_SQLITE_ERROR') throw error;
    console.error(`rejected a message: ${error.name}`);
    return false;
  }
}

// Reads a stream from there on: `read` gets each message, and null after each pause, until it returns true.
async function readStream(connection, offset, prefetch, read) {
  const channel = await connection.createChannel();
  await channel.prefetch(prefetch);
  let pause;
  try {
    await new Promise((resolve, reject) => {
      let silence = 0;
      const next = (message) => {
        clearTimeout(pause);
        pause = setTimeout(next, PAUSE_MS, undefined);
        silence = message === undefined ? silence + PAUSE_MS : 0;
        if (message === null || silence > SILENCE_MS) return reject(new Error(`${log} is not delivered`));
        Promise.resolve(read(message || null, channel)).then((done) => done && resolve()).catch(reject);
      };
      pause = setTimeout(next, PAUSE_MS, undefined);
      channel.consume(log, next, { arguments: { 'x-stream-offset': offset } }).catch(reject);
    });
  } finally {
    clearTimeout(pause);
  }
  await channel.close();
}

// The offset of the newest event of the stream, however late it arrives; undefined if there is none.
async function endOfStream(connection) {
  const started = Date.now();
  let end;
  // RabbitMQ sends the last chunk of events and, as nothing is acknowledged, no more than that.
  await readStream(connection, 'last', 1, async (message, channel) => {
    if (message) {
      end = message.properties.headers['x-stream-offset'];
      return false;
    }
    if (end !== undefined) return true;
    return (await channel.checkQueue(log)).messageCount === 0 && Date.now() - started > COUNT_MS;
  });
  return end;
}

// Reads the stream from its beginning to its present end.
async function catchUp(connection) {
  const end = await endOfStream(connection);
  if (end === undefined) return;
  let done = false;
  await readStream(connection, 'first', PREFETCH, (message, channel) => {
    if (message && !done) {
      // What this code cannot read cannot be rejected here: a stream refuses that, and keeps it anyway.
      isHandled(message);
      channel.ack(message);
      done = message.properties.headers['x-stream-offset'] >= end;
    }
    return done;
  });
}

async function main() {
  const connection = await amqp.connect(process.env.AMQP_URL);
  // A lost connection ends the process; whatever runs it starts it again.
  connection.on('error', fail);
  connection.on('close', () => fail(new Error('the connection is closed')));
  const channel = await connection.createChannel();
  await channel.prefetch(PREFETCH);
  // First the queue, so that no event falls between the stream and the queue; what comes both ways has one id.
  await declare(channel);
  if (database.prepare('SELECT count(*) AS n FROM caught_up').get().n === 0) {
    await catchUp(connection);
    database.prepare('INSERT INTO caught_up VALUES (?)').run(Date.now());
  }
  await channel.consume(queue, (message) => {
    if (message === null) return fail(new Error('RabbitMQ ended the consumer'));
    if (isHandled(message)) channel.ack(message);
    // To the dead-letter queue.
    else channel.nack(message, false, false);
  });
  console.log('consuming', queue);
}

function fail(error) {
  console.error(error.message);
  process.exit(1);
}

process.on('SIGTERM', () => process.exit(0));
main().catch(fail);
